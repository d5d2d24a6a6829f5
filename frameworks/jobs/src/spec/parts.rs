//! The parts of a job that are more than one value: checks, restarts, changes, spreading, cron, tasks of a group, volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Command;
use crate::cron::{Schedule, Zone};
use framework_sdk::task::Artifact;

/// Something that the agent asks of a running task again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// From the start of the task to the first check.
    pub delay: Duration,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// What takes longer has failed.
    pub timeout: Duration,
    /// From the start of the task: failures in it do not count, until the first success.
    pub grace: Duration,
    /// So many failures in a row decide.
    pub failures: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// That a command ends with code 0.
    Command(Command),
    /// That GET is answered by a status of 200 to 399.
    Http {
        /// With its leading slash.
        path: String,
        /// The name of a port of the task.
        port: String,
        /// By https; the certificate is not verified.
        https: bool,
    },
    /// That a connection opens.
    Tcp {
        /// The name of a port of the task.
        port: String,
    },
}

/// When an instance of a service that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// However it ended.
    Always,
    /// Unless it ended well.
    OnFailure,
    /// Not once it may have begun.
    Never,
}

/// An instance that is started again too often has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiveUp {
    /// So often; at least 1.
    pub attempts: u32,
    /// Within this time.
    pub window: Duration,
}

/// How a changed service is brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// So many new instances at most are started before what they replace is ended.
    pub max_surge: u32,
    /// So many instances at most are out of service at once for it. Not 0 together with `max_surge`.
    pub max_unavailable: u32,
    /// A new instance counts once it has been ready for so long.
    pub min_healthy: Duration,
    /// Without progress for so long, it has failed.
    pub progress_deadline: Duration,
    /// What ran before comes back when it fails.
    pub rollback: bool,
    /// So many instances are changed first, and the others when somebody says so; 0: none.
    pub canary: u32,
}

/// Over what the instances are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// An attribute of agents; or `agent`, or `hostname`.
    pub by: String,
    /// More than so many with one value rather wait; `None`: evenly if it can be.
    pub at_most: Option<u32>,
}

/// What happens when a run is due while another goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Both run.
    Allow,
    /// The new one is left out.
    Forbid,
    /// The old one is ended first.
    Replace,
}

/// When a cron job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// At these times.
    pub schedule: Schedule,
    /// By the clocks there.
    pub timezone: Zone,
    /// When the run before goes on.
    pub overlap: Overlap,
    /// A run that could not be started in time is started so late at most.
    pub missed: Duration,
    /// So many runs that are over are remembered.
    pub history: u32,
    /// No run is started.
    pub paused: bool,
}

/// One of several tasks that share the fate of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTask {
    /// Unique in the job.
    pub name: String,
    /// Its end is the end of the instance. Exactly one task is.
    pub leader: bool,
    /// What it runs.
    pub command: Command,
    /// In thousandths of a cpu.
    pub cpus_milli: u64,
    /// Of it alone.
    pub mem_bytes: u64,
    /// Of it alone.
    pub disk_bytes: u64,
    /// Names of its dynamic ports: no two of a job are equal.
    pub ports: Vec<String>,
    /// With that of the job; its own goes before.
    pub env: BTreeMap<String, String>,
    /// Files to fetch first.
    pub artifacts: Vec<Artifact>,
    /// Secrets that it finds as files, by the name of the file.
    pub secrets: BTreeMap<String, String>,
    /// Whether it is well.
    pub health: Option<Check>,
    /// Whether it can serve.
    pub readiness: Option<Check>,
}

/// Disk of an instance that outlives its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Unique in the job.
    pub name: String,
    /// How large.
    pub size_bytes: u64,
    /// An instance that was kept from its volumes for so long begins anew elsewhere; `None`: it waits.
    pub anew_after: Option<Duration>,
}

// === impl Check ===

impl Check {
    /// A check with the usual times: those of Mesos, but the first comes at once, because failures of a start do not
    /// count anyway and a service that is ready early should be known to be.
    pub fn of(kind: CheckKind) -> Check {
        Check {
            kind,
            delay: Duration::ZERO,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(20),
            grace: Duration::from_secs(10),
            failures: 3,
        }
    }
}

// === impl Volume ===

impl Volume {
    /// The variable in which a task finds the path of it.
    pub fn variable(&self) -> String {
        framework_sdk::desired::VolumeSpec::variable_of(&self.name)
    }
}

// === impl RestartPolicy ===

impl RestartPolicy {
    /// All of them.
    pub const ALL: [RestartPolicy; 3] =
        [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];

    /// The word in job files.
    pub const fn as_str(self) -> &'static str {
        match self {
            RestartPolicy::Always => "always",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Never => "never",
        }
    }
}

// === impl GiveUp ===

impl GiveUp {
    /// The window when only the attempts are said.
    pub const WINDOW_DEFAULT: Duration = Duration::from_secs(600);
}

// === impl Update ===

impl Update {
    /// One after another in place, as soon as each runs.
    pub const DEFAULT: Update = Update {
        max_surge: 0,
        max_unavailable: 1,
        min_healthy: Duration::ZERO,
        progress_deadline: Duration::from_secs(600),
        rollback: false,
        canary: 0,
    };
}

// === impl Overlap ===

impl Overlap {
    /// All of them.
    pub const ALL: [Overlap; 3] = [Overlap::Allow, Overlap::Forbid, Overlap::Replace];

    /// The word in job files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Overlap::Allow => "allow",
            Overlap::Forbid => "forbid",
            Overlap::Replace => "replace",
        }
    }
}

// === impl Cron ===

impl Cron {
    /// Long enough that another framework has taken over.
    pub const MISSED_DEFAULT: Duration = Duration::from_secs(60);
    /// As Kubernetes keeps of jobs that ended well.
    pub const HISTORY_DEFAULT: u32 = 3;

    /// By universal time, everything else as by default.
    pub fn of(schedule: Schedule) -> Cron {
        Cron {
            schedule,
            timezone: Zone::utc(),
            overlap: Overlap::Allow,
            missed: Cron::MISSED_DEFAULT,
            history: Cron::HISTORY_DEFAULT,
            paused: false,
        }
    }

    /// When a run is due next; `None` while it is paused.
    pub fn next(&self, after_ms: u64) -> Option<u64> {
        if self.paused { None } else { self.schedule.next(&self.timezone, after_ms) }
    }
}
