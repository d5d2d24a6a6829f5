//! Tasks: what to run, and how it stands.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::Checks;
use crate::id::{AgentId, GroupId, RunId, TaskId};
use crate::resources::Resources;
use crate::secret::SecretFile;

/// A file to fetch into the sandbox before the task starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// `file://`, `http://` or `https://`.
    pub uri: String,
    /// Hex SHA-256 of the content; empty: not checked.
    pub sha256: String,
    /// Whether it may be executed.
    pub executable: bool,
    /// Its name in the sandbox; empty: the last part of the uri's path.
    pub name: String,
}

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandInfo {
    /// The program and its arguments; with `shell`, one argument: a script for `/bin/sh -c`.
    pub argv: Vec<String>,
    /// Whether `argv` is a script.
    pub shell: bool,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// The user to run as; empty: the agent's default.
    pub user: String,
    /// Files to fetch first.
    pub artifacts: Vec<Artifact>,
    /// Secrets that it finds as files.
    pub secrets: Vec<SecretFile>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Unique within its framework for as long as the master remembers it.
    pub id: TaskId,
    /// The name people know it by.
    pub name: String,
    /// What to run.
    pub command: CommandInfo,
    /// What it takes of the accepted offers.
    pub resources: Resources,
    /// Time between TERM and KILL.
    pub kill_grace: Duration,
    /// Anything else, for people.
    pub labels: BTreeMap<String, String>,
    /// The group it shares its fate with.
    pub group: Option<GroupId>,
    /// What the agent asks of it while it runs.
    pub checks: Checks,
    /// A task that runs for longer is ended.
    pub longest_run: Option<Duration>,
}

impl TaskInfo {
    /// Three seconds, as Mesos' built-in executors.
    pub const KILL_GRACE_DEFAULT: Duration = Duration::from_secs(3);
}

/// Where a task stands. Frameworks are always partition-aware, so nothing becomes LOST that is merely out of sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Accepted and in the log; not yet started.
    Staging,
    /// The agent has it.
    Starting,
    /// It runs.
    Running,
    /// It is being ended.
    Killing,
    /// It ended well.
    Finished,
    /// It ended badly.
    Failed,
    /// It was ended on request.
    Killed,
    /// It could never run as given: trying again unchanged is useless.
    Error,
    /// The agent had it and cannot say how it ended.
    Lost,
    /// It never started, for a passing reason: trying again is safe.
    Dropped,
    /// Its agent is out of sight; it may still run.
    Unreachable,
    /// It ran and certainly does not any more.
    Gone,
    /// An operator said that its agent will never be back.
    GoneByOperator,
    /// The master knows neither it nor its agent (only in answers to Reconcile).
    Unknown,
}

impl TaskState {
    /// Whether it is over for good.
    pub fn is_terminal(self) -> bool {
        match self {
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator => true,
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Unreachable
            | TaskState::Unknown => false,
        }
    }

    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Staging => "staging",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Killing => "killing",
            TaskState::Finished => "finished",
            TaskState::Failed => "failed",
            TaskState::Killed => "killed",
            TaskState::Error => "error",
            TaskState::Lost => "lost",
            TaskState::Dropped => "dropped",
            TaskState::Unreachable => "unreachable",
            TaskState::Gone => "gone",
            TaskState::GoneByOperator => "gone-by-operator",
            TaskState::Unknown => "unknown",
        }
    }
}

/// Why a task stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusReason {
    /// No reason beyond the state.
    None,
    /// The command ended by itself.
    CommandExited,
    /// It could not be started.
    LaunchFailed,
    /// An artifact could not be fetched.
    FetchFailed,
    /// It passed its memory limit.
    LimitMemory,
    /// Somebody asked for its end.
    KillRequested,
    /// Somebody asked for its end before it started.
    KilledDuringLaunch,
    /// Another task of its group ended badly.
    GroupEnded,
    /// Its framework was torn down or did not come back in time.
    FrameworkRemoved,
    /// The offers were not the framework's, or over.
    InvalidOffers,
    /// The task was malformed or asked for more than was offered.
    TaskInvalid,
    /// The framework may not run it so.
    TaskUnauthorized,
    /// The agent was not connected.
    AgentDisconnected,
    /// The agent was silent for too long.
    AgentUnreachable,
    /// The agent is back.
    AgentReregistered,
    /// An operator said that the agent is gone.
    AgentGone,
    /// The agent's machine was restarted.
    AgentRebooted,
    /// The process that watched over it died.
    KeeperLost,
    /// An answer to Reconcile.
    Reconciliation,
    /// The master does not know it.
    TaskUnknown,
    /// The agent is being drained.
    AgentDraining,
    /// The role would pass its limit.
    QuotaExceeded,
    /// It ran for longer than it may.
    TimeLimit,
    /// Its health check failed too often.
    Unhealthy,
    /// It runs on; what its checks say of it has changed.
    CheckChanged,
    /// It names a secret that there is not.
    SecretUnknown,
    /// A secret could not be brought to it.
    SecretFailed,
    /// The disk of the agent is full.
    AgentDiskFull,
}

impl StatusReason {
    /// The code as documented; empty when there is no reason beyond the state.
    pub fn code(self) -> &'static str {
        match self {
            StatusReason::None => "",
            StatusReason::CommandExited => "command-exited",
            StatusReason::LaunchFailed => "launch-failed",
            StatusReason::FetchFailed => "fetch-failed",
            StatusReason::LimitMemory => "limit-memory",
            StatusReason::KillRequested => "kill-requested",
            StatusReason::KilledDuringLaunch => "killed-during-launch",
            StatusReason::GroupEnded => "group-ended",
            StatusReason::FrameworkRemoved => "framework-removed",
            StatusReason::InvalidOffers => "invalid-offers",
            StatusReason::TaskInvalid => "task-invalid",
            StatusReason::TaskUnauthorized => "task-unauthorized",
            StatusReason::AgentDisconnected => "agent-disconnected",
            StatusReason::AgentUnreachable => "agent-unreachable",
            StatusReason::AgentReregistered => "agent-reregistered",
            StatusReason::AgentGone => "agent-gone",
            StatusReason::AgentRebooted => "agent-rebooted",
            StatusReason::KeeperLost => "keeper-lost",
            StatusReason::Reconciliation => "reconciliation",
            StatusReason::TaskUnknown => "task-unknown",
            StatusReason::AgentDraining => "agent-draining",
            StatusReason::QuotaExceeded => "quota-exceeded",
            StatusReason::TimeLimit => "time-limit",
            StatusReason::Unhealthy => "unhealthy",
            StatusReason::CheckChanged => "check-changed",
            StatusReason::SecretUnknown => "secret-unknown",
            StatusReason::SecretFailed => "secret-failed",
            StatusReason::AgentDiskFull => "agent-disk-full",
        }
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusSource {
    /// The master.
    Master,
    /// The agent.
    Agent,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// One status of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Why.
    pub reason: StatusReason,
    /// Who says so.
    pub source: StatusSource,
    /// For people.
    pub message: String,
    /// When the source saw it, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where it runs.
    pub agent: Option<AgentId>,
    /// The run it speaks of.
    pub run: Option<RunId>,
    /// Place in the run's stream of updates, from 1; 0: nothing to acknowledge.
    pub sequence: u64,
    /// How the command ended.
    pub exit: Option<Exit>,
    /// Process id on the agent's machine; 0 when there is none.
    pub pid: u32,
    /// What its health check said last; `None` while nothing is known, and without one.
    pub healthy: Option<bool>,
    /// What its readiness check says, false until the first success; `None` without one.
    pub ready: Option<bool>,
    /// While it is killed: so long it has from `at_ms` on. `None` otherwise, and if its agent does not say it.
    pub grace: Option<Duration>,
}

impl TaskStatus {
    /// A status said by the master, with nothing to acknowledge.
    pub fn by_master(
        task: TaskId,
        state: TaskState,
        reason: StatusReason,
        message: &str,
        at_ms: u64,
    ) -> Self {
        TaskStatus {
            task,
            state,
            reason,
            source: StatusSource::Master,
            message: message.to_owned(),
            at_ms,
            agent: None,
            run: None,
            sequence: 0,
            exit: None,
            pid: 0,
            healthy: None,
            ready: None,
            grace: None,
        }
    }
}
