//! The keys of job files: one table that the parser, the suggestions, the JSON schema and the guide's check are made from.

use super::check::{
    ARTIFACTS_MAX, CPUS_MILLI_MAX, CPUS_MILLI_MIN, FAILURES_MAX, HISTORY_MAX, INSTANCES_MAX, MEM_BYTES_MIN,
    NAME_BYTES_MAX, PORTS_MAX, PRIORITY_MAX, RETRIES_MAX, TASKS_MAX, VOLUME_BYTES_MIN, VOLUME_NAME_BYTES_MAX,
    VOLUMES_MAX,
};
use super::{Overlap, RestartPolicy};
use framework_sdk::secret::TASK_SECRETS_MAX;

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand there.
    pub takes: Takes,
    /// What holds without it, as it would be written; empty: nothing, or it depends.
    pub default: &'static str,
    /// One sentence for editors.
    pub about: &'static str,
    /// Whether the table is wrong without it.
    pub required: bool,
}

/// What may stand at a key.
#[derive(Debug)]
pub(crate) enum Takes {
    /// A text; numbers and truth values are taken as what they look like.
    Text,
    /// A text that matches this pattern.
    Pattern(&'static str),
    /// True or false.
    Bool,
    /// A whole number between these.
    Whole(i64, i64),
    /// Cpus with up to three decimals, between these thousandths.
    Cpus(u64, u64),
    /// An amount of bytes with its unit, at least so many.
    Bytes(u64),
    /// A duration with its unit.
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of at most so many of these.
    List(&'static Takes, usize),
    /// Any name, with a text each.
    Texts,
    /// A table of these keys.
    Table(&'static [Key]),
    /// One of these.
    Either(&'static [Takes]),
}

/// Words of `kind`.
pub(crate) const KINDS: &[&str] = &["service", "batch", "cron"];
/// Words of `restart.policy`.
pub(crate) const POLICIES: &[&str] =
    &[RestartPolicy::Always.as_str(), RestartPolicy::OnFailure.as_str(), RestartPolicy::Never.as_str()];
/// Words of `overlap`.
pub(crate) const OVERLAPS: &[&str] =
    &[Overlap::Allow.as_str(), Overlap::Forbid.as_str(), Overlap::Replace.as_str()];

const fn key(name: &'static str, takes: Takes, default: &'static str, about: &'static str) -> Key {
    Key { name, takes, default, about, required: false }
}

const fn needed(name: &'static str, takes: Takes, about: &'static str) -> Key {
    Key { name, takes, default: "", about, required: true }
}

const NAME: Takes = Takes::Pattern("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$");
const COMMAND: Takes = Takes::Either(&[Takes::Text, Takes::List(&Takes::Text, usize::MAX)]);
const PORTS: Takes = Takes::Either(&[
    Takes::Whole(0, PORTS_MAX as i64),
    Takes::List(&Takes::Pattern("^[A-Za-z0-9_.-]{1,64}$"), PORTS_MAX),
]);
const RULES: Takes = Takes::Either(&[Takes::Text, Takes::List(&Takes::Text, usize::MAX)]);
const SECRETS: Takes = Takes::Either(&[Takes::List(&Takes::Text, TASK_SECRETS_MAX), Takes::Texts]);
const NAMES: Takes = Takes::Either(&[NAME, Takes::List(&NAME, usize::MAX)]);
const CPUS: Takes = Takes::Cpus(CPUS_MILLI_MIN, CPUS_MILLI_MAX);
const ARTIFACTS: Takes = Takes::List(&Takes::Either(&[Takes::Text, Takes::Table(ARTIFACT)]), ARTIFACTS_MAX);

/// Of one artifact.
pub(crate) const ARTIFACT: &[Key] = &[
    needed("uri", Takes::Pattern("^(file|https?)://."), "Where it is: file://, http:// or https://."),
    key(
        "sha256",
        Takes::Pattern("^([0-9A-Fa-f]{64})?$"),
        "",
        "Hex SHA-256 of the content; checked, if given.",
    ),
    key("executable", Takes::Bool, "false", "Whether it may be run."),
    key("name", Takes::Text, "", "Its name in the sandbox; by default the last part of the address."),
];

/// Of `health` and `readiness`.
pub(crate) const CHECK: &[Key] = &[
    key("command", COMMAND, "", "Run beside the task; exit code 0 is good."),
    key(
        "http",
        Takes::Either(&[Takes::Pattern("^/"), Takes::Table(HTTP)]),
        "",
        "A GET to the task; a status of 200 to 399 is good. A text is the path.",
    ),
    key(
        "tcp",
        Takes::Either(&[Takes::Text, Takes::Table(TCP)]),
        "",
        "A connection to the task; that it opens is good. A text is the port.",
    ),
    key("interval", Takes::Duration, "10s", "From the end of one check to the next."),
    key("timeout", Takes::Duration, "20s", "What takes longer has failed."),
    key("failures", Takes::Whole(1, FAILURES_MAX as i64), "3", "So many failures in a row decide."),
    key("delay", Takes::Duration, "0s", "From the start of the task to the first check."),
    key("grace", Takes::Duration, "10s", "Failures so soon after the start do not count."),
];

/// Of `http` in a check.
pub(crate) const HTTP: &[Key] = &[
    key("path", Takes::Pattern("^/"), "/", "The path, with its leading slash."),
    key("port", Takes::Text, "", "The name of a port of the task; by default the first."),
    key("https", Takes::Bool, "false", "By https; the certificate is not verified."),
];

/// Of `tcp` in a check.
pub(crate) const TCP: &[Key] =
    &[key("port", Takes::Text, "", "The name of a port of the task; by default the first.")];

/// Of `restart`.
pub(crate) const RESTART: &[Key] = &[
    key(
        "policy",
        Takes::Word(POLICIES),
        "always",
        "Of a service: when an instance that ended is started again.",
    ),
    key("initial", Takes::Duration, "1s", "The first pause before that; doubled with each end in a row."),
    key("max", Takes::Duration, "60s", "The longest pause."),
    key(
        "attempts",
        Takes::Whole(0, RETRIES_MAX as i64),
        "0",
        "Of a service: an instance started again so often within `window` has failed for good; 0: never.",
    ),
    key("window", Takes::Duration, "10m", "See `attempts`."),
];

/// Of `update`.
pub(crate) const UPDATE: &[Key] = &[
    key(
        "max_surge",
        Takes::Whole(0, INSTANCES_MAX as i64),
        "0",
        "So many new instances at most are started before what they replace is ended.",
    ),
    key(
        "max_unavailable",
        Takes::Whole(0, INSTANCES_MAX as i64),
        "1",
        "So many instances at most are out of service at once for the change.",
    ),
    key("min_healthy", Takes::Duration, "0s", "A new instance counts once it has been ready for so long."),
    key("progress_deadline", Takes::Duration, "10m", "A change without progress for so long has failed."),
    key("rollback", Takes::Bool, "false", "Whether what ran before comes back when a change fails."),
    key(
        "canary",
        Takes::Whole(0, INSTANCES_MAX as i64),
        "0",
        "So many instances are changed first, and the others when somebody says so.",
    ),
];

/// Of `spread`.
pub(crate) const SPREAD: &[Key] = &[
    needed("by", Takes::Text, "An attribute of agents, or agent, or hostname."),
    key(
        "at_most",
        Takes::Whole(0, INSTANCES_MAX as i64),
        "0",
        "More than so many with one value rather wait; 0: evenly if it can be.",
    ),
];

/// Of one volume.
pub(crate) const VOLUME: &[Key] = &[
    needed("name", Takes::Pattern("^[A-Za-z0-9][A-Za-z0-9_-]{0,29}$"), "Its name, unique in the job."),
    needed("size", Takes::Bytes(VOLUME_BYTES_MIN), "How large it is."),
    key(
        "anew_after",
        Takes::Duration,
        "",
        "An instance kept from its volumes for so long begins anew elsewhere; by default it waits.",
    ),
];

/// Of one task of a group.
pub(crate) const TASK: &[Key] = &[
    needed("name", NAME, "Its name, unique in the job."),
    needed("command", COMMAND, "A script for /bin/sh -c, or a program and its arguments."),
    key("leader", Takes::Bool, "", "Its end is the end of the instance; by default the first task's is."),
    key("cpus", CPUS, "0.1", "Cpus of it."),
    key("mem", Takes::Bytes(MEM_BYTES_MIN), "64MiB", "Memory of it."),
    key("disk", Takes::Bytes(0), "0", "Disk of it."),
    key("ports", PORTS, "", "How many dynamic ports, or their names."),
    key("env", Takes::Texts, "", "Its environment, besides that of the job."),
    key("artifacts", ARTIFACTS, "", "Files to fetch before it starts."),
    key("secrets", SECRETS, "", "Secrets that it finds as files: names, or file names with a secret each."),
    key("health", Takes::Table(CHECK), "", "Whether it is well: a task that fails is ended."),
    key("readiness", Takes::Table(CHECK), "", "Whether it can serve: what an update waits for."),
];

/// Of a job.
pub(crate) const JOB: &[Key] = &[
    needed("name", NAME, "Unique within the framework."),
    key("command", COMMAND, "", "A script for /bin/sh -c, or a program and its arguments."),
    key(
        "kind",
        Takes::Word(KINDS),
        "service",
        "A service runs for ever, a batch to its end, a cron when its schedule says.",
    ),
    key(
        "instances",
        Takes::Whole(1, INSTANCES_MAX as i64),
        "1",
        "How many at once (service) or in all (batch).",
    ),
    key("cpus", CPUS, "0.1", "Cpus of each instance."),
    key("mem", Takes::Bytes(MEM_BYTES_MIN), "64MiB", "Memory of each instance."),
    key("disk", Takes::Bytes(0), "0", "Disk of each instance."),
    key("ports", PORTS, "", "How many dynamic ports of each instance, or their names."),
    key("env", Takes::Texts, "", "The environment."),
    key("artifacts", ARTIFACTS, "", "Files to fetch before the start."),
    key("secrets", SECRETS, "", "Secrets found as files: names, or file names with a secret each."),
    key("constraints", RULES, "", "What the machine must be like, such as zone=b."),
    key("prefer", RULES, "", "Rules like constraints; machines of which more hold are taken first."),
    key(
        "spread",
        Takes::Either(&[Takes::Text, Takes::Table(SPREAD)]),
        "",
        "Over what the instances are spread. A text is the attribute.",
    ),
    key("priority", Takes::Whole(-(PRIORITY_MAX as i64), PRIORITY_MAX as i64), "0", "Higher goes first."),
    key("role", Takes::Text, "", "The role in which offers are taken; by default the framework's."),
    key("user", Takes::Text, "", "The user to run as; by default the agent's."),
    key("kill_grace", Takes::Duration, "3s", "Time between TERM and KILL."),
    key("health", Takes::Table(CHECK), "", "Whether an instance is well: one that fails is ended."),
    key("readiness", Takes::Table(CHECK), "", "Whether an instance can serve: what an update waits for."),
    key("restart", Takes::Table(RESTART), "", "When an instance that ended is started again."),
    key("update", Takes::Table(UPDATE), "", "How a changed service is brought about."),
    key(
        "retries",
        Takes::Whole(0, RETRIES_MAX as i64),
        "0",
        "Of a batch or cron: how often an instance that failed, or was lost, is tried again.",
    ),
    key(
        "parallel",
        Takes::Whole(0, INSTANCES_MAX as i64),
        "0",
        "Of a batch or cron: so many instances at most run at once; 0: all.",
    ),
    key(
        "time_limit",
        Takes::Duration,
        "",
        "Of a batch or cron: an attempt that takes longer is ended, and has failed.",
    ),
    key("after", NAMES, "", "Of a batch: it begins once all these jobs have ended well."),
    key("schedule", Takes::Text, "", "Of a cron: five fields as in crontab(5), or @daily and the like."),
    key("timezone", Takes::Text, "UTC", "Of a cron: a name such as Europe/Berlin."),
    key(
        "overlap",
        Takes::Word(OVERLAPS),
        "allow",
        "Of a cron: what happens when a run is due while another goes on.",
    ),
    key(
        "missed",
        Takes::Duration,
        "1m",
        "Of a cron: a run that could not be started in time is started so late at most.",
    ),
    key(
        "history",
        Takes::Whole(0, HISTORY_MAX as i64),
        "3",
        "Of a cron: so many runs that are over are remembered.",
    ),
    key("paused", Takes::Bool, "false", "Of a cron: no run is started."),
    key(
        "volumes",
        Takes::List(&Takes::Table(VOLUME), VOLUMES_MAX),
        "",
        "Disk of each instance that outlives its tasks.",
    ),
    key(
        "task",
        Takes::List(&Takes::Table(TASK), TASKS_MAX),
        "",
        "Several tasks of each instance that share its fate.",
    ),
];

/// The key under which a file that holds nothing else lists its jobs.
pub(crate) const LIST: &str = "job";

/// The keys that only cron jobs have.
pub(crate) const CRON: [&str; 6] = ["schedule", "timezone", "overlap", "missed", "history", "paused"];

/// The names of a table's keys.
pub(crate) fn names(table: &'static [Key]) -> Vec<&'static str> {
    table.iter().map(|key| key.name).collect()
}

const _: () = assert!(NAME_BYTES_MAX == 64, "the pattern of names says 64");
const _: () = assert!(VOLUME_NAME_BYTES_MAX == 30, "the pattern of volumes says 30");
