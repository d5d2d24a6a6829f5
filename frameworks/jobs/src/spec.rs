//! `JobSpec`: what a user may ask for, from a job file or from `stoa run`.

mod check;
mod contract;
mod fault;
mod keys;
mod lines;
mod nested;
mod parts;
mod read;
mod schema;
mod toml;
mod tree;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::check::{CPUS_MILLI_MIN, INSTANCES_MAX, MEM_BYTES_MIN, PORTS_MAX};
pub(crate) use self::fault::meant;
pub use self::fault::{Fault, Faults};
pub use self::lines::Difference;
pub use self::parts::{
    Check, CheckKind, Cron, GiveUp, GroupTask, Overlap, RestartPolicy, Spread, Update, Volume,
};
pub use self::read::{FILE_BYTES_MAX, parse_file};
pub use self::schema::{schema, schema_text};
use framework_sdk::attributes::Constraints;
pub use framework_sdk::desired::BackOff;
pub use framework_sdk::duration::{parse_duration, show_duration};
use framework_sdk::role::Role;
use framework_sdk::task::{Artifact, TaskInfo};

/// What kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Runs for ever: an instance that ends is started again.
    Service,
    /// Runs to its end.
    Batch,
    /// Runs as a batch whenever its schedule says.
    Cron,
}

impl Kind {
    /// The word in job files.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Batch => "batch",
            Kind::Cron => "cron",
        }
    }
}

/// What an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A script for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments; never empty.
    Argv(Vec<String>),
}

impl Command {
    /// `(argv, shell)`, as contracts have it.
    pub fn to_argv(&self) -> (Vec<String>, bool) {
        match self {
            Command::Shell(script) => (vec![script.clone()], true),
            Command::Argv(argv) => (argv.clone(), false),
        }
    }
}

/// A job as asked for, defaults filled in and every field checked: there is no other way to make one than
/// [`parse_file`], [`JobSpec::checked`] and the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Unique within the framework.
    pub name: String,
    /// What kind.
    pub kind: Kind,
    /// How many at once (service) or in all (batch); at least 1.
    pub instances: u32,
    /// What each runs. With `tasks` this, the amounts, ports, artifacts, secrets and checks are empty: each task has its own.
    pub command: Command,
    /// Of each, in thousandths of a cpu.
    pub cpus_milli: u64,
    /// Of each.
    pub mem_bytes: u64,
    /// Of each.
    pub disk_bytes: u64,
    /// Names of the dynamic ports of each, for `PORT_<NAME>`: upper case, no two equal.
    pub ports: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Files to fetch first.
    pub artifacts: Vec<Artifact>,
    /// Secrets that each finds as files, by the name of the file.
    pub secrets: BTreeMap<String, String>,
    /// What an agent must be like.
    pub constraints: Constraints,
    /// The role to take offers in; `None`: the framework's default.
    pub role: Option<Role>,
    /// The user to run as; empty: the agent's default.
    pub user: String,
    /// Time between TERM and KILL.
    pub kill_grace: Duration,
    /// Of a batch: how often an instance that failed, or was lost after it may have begun, is tried again. An attempt
    /// that certainly never began does not count.
    pub retries: u32,
    /// The pause before an instance is started again.
    pub restart: BackOff,
    /// Of a service: when an instance that ended is started again.
    pub restart_policy: RestartPolicy,
    /// Of a service: when it is not started again any more.
    pub give_up: Option<GiveUp>,
    /// Higher first among the jobs of the framework.
    pub priority: i32,
    /// Rules that need not hold: agents of which more hold are taken first.
    pub prefer: Constraints,
    /// Over what the instances are spread.
    pub spread: Option<Spread>,
    /// Whether an instance is well.
    pub health: Option<Check>,
    /// Whether an instance can serve.
    pub readiness: Option<Check>,
    /// Of a service: how a change is brought about.
    pub update: Update,
    /// Of a batch: it begins once all these jobs have ended well.
    pub after: Vec<String>,
    /// Of a batch or cron: so many instances at most run at once; `None`: all.
    pub parallel: Option<u32>,
    /// Of a batch or cron: an attempt that takes longer is ended, and has failed.
    pub time_limit: Option<Duration>,
    /// Of a cron, and only there.
    pub cron: Option<Cron>,
    /// The tasks of each instance, if it has several.
    pub tasks: Vec<GroupTask>,
    /// Of each instance.
    pub volumes: Vec<Volume>,
}

impl JobSpec {
    /// A tenth of a cpu, enough to start.
    pub const CPUS_MILLI_DEFAULT: u64 = 100;
    /// 64 MiB.
    pub const MEM_BYTES_DEFAULT: u64 = 64 << 20;

    /// A job of one instance, everything else as by default. Not yet checked: see [`JobSpec::checked`].
    pub fn new(name: &str, kind: Kind, command: Command) -> JobSpec {
        JobSpec {
            name: name.to_owned(),
            kind,
            instances: 1,
            command,
            cpus_milli: JobSpec::CPUS_MILLI_DEFAULT,
            mem_bytes: JobSpec::MEM_BYTES_DEFAULT,
            disk_bytes: 0,
            ports: Vec::new(),
            env: BTreeMap::new(),
            artifacts: Vec::new(),
            secrets: BTreeMap::new(),
            constraints: Constraints::default(),
            role: None,
            user: String::new(),
            kill_grace: TaskInfo::KILL_GRACE_DEFAULT,
            retries: 0,
            restart: BackOff::DEFAULT,
            restart_policy: RestartPolicy::Always,
            give_up: None,
            priority: 0,
            prefer: Constraints::default(),
            spread: None,
            health: None,
            readiness: None,
            update: Update::DEFAULT,
            after: Vec::new(),
            parallel: None,
            time_limit: None,
            cron: None,
            tasks: Vec::new(),
            volumes: Vec::new(),
        }
    }

    /// Whether volumes that were made for this job can be those of another spec of it.
    pub fn shares_volumes(&self, other: &JobSpec) -> bool {
        let said = |spec: &JobSpec| -> Vec<(String, u64)> {
            spec.volumes.iter().map(|volume| (volume.name.clone(), volume.size_bytes)).collect()
        };
        said(self) == said(other) && self.role == other.role
    }

    /// The name of an instance for people: the job's alone when there is but one.
    pub fn instance_name(&self, instance: u32) -> String {
        if self.instances == 1 { self.name.clone() } else { format!("{}.{instance}", self.name) }
    }
}

#[cfg(test)]
mod tests;
