//! All targets.

mod agents;
pub mod disks;
mod images;
mod jobs;
mod keeper;
mod machines;
mod sandbox;
mod shells;
pub mod wire;
mod words;

use crate::target::Target;

/// Everything that is fuzzed.
pub const ALL: &[Target] = &[
    wire::SCHEDULER,
    wire::AGENT,
    wire::OPERATOR,
    wire::STORE,
    wire::DISKS,
    wire::MASTERS,
    images::REGISTRY,
    images::STORE,
    images::BACKUP,
    disks::LOG,
    disks::SNAPSHOT,
    agents::LEDGER,
    keeper::PROTOCOL,
    keeper::LOG,
    jobs::JOURNAL,
    jobs::TOML,
    jobs::YAML,
    jobs::CRON,
    words::RESOURCES,
    words::CONSTRAINT,
    words::WORDS,
    words::CREDENTIALS,
    words::TAPE,
    words::TERMINAL,
    sandbox::OUTPUT,
    sandbox::PATHS,
    shells::SETTINGS,
    shells::ARGUMENTS,
    machines::RAFT,
    machines::MEMBER,
    machines::MASTER,
    machines::AGENT,
    machines::JOBS,
];
