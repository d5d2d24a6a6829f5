//! What the containerizer tells its agent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_keeper::protocol::{self, Loss, RunId, Rusage};
use rustix::io::Errno;

/// Something happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// First of all events: what the keeper knew when this process came. Ends in it are not told again.
    Recovered(Vec<Recovered>),
    /// The command was executed.
    Started {
        /// The run.
        run_id: RunId,
        /// Its first process.
        pid: i32,
        /// When that started, in clock ticks since boot: with pid and boot id its identity.
        start_time: u64,
    },
    /// The command was not executed and will not be.
    StartFailed {
        /// The run.
        run_id: RunId,
        /// Why.
        failure: StartFailure,
    },
    /// The run is over. The keeper has that on disk until `destroy`.
    Exited {
        /// The run.
        run_id: RunId,
        /// How.
        exit: Exit,
    },
}

/// A run found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The run.
    pub run_id: RunId,
    /// Where it stands.
    pub state: RecoveredState,
}

/// Where a run found at start stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredState {
    /// On its way; Started or StartFailed will follow.
    Starting,
    /// Running.
    Running {
        /// Its first process.
        pid: i32,
        /// When that started, in clock ticks since boot.
        start_time: u64,
    },
    /// Over.
    Exited(Exit),
    /// Never executed.
    StartFailed(StartFailure),
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub how: How,
    /// The kernel killed at least one of its processes for memory.
    pub oom: bool,
    /// What it used, descendants that it or its init reaped included.
    pub rusage: Rusage,
    /// When, by the wall clock.
    pub at: SystemTime,
}

impl Exit {
    pub(crate) fn new(exit: &protocol::Exit, oom: bool) -> Exit {
        let how = match exit.how {
            protocol::How::Code(code) => How::Code(code),
            protocol::How::Signal(signal) => How::Signal(signal),
            protocol::How::Lost(loss) => How::Lost(loss),
        };
        Exit { how, oom, rusage: exit.rusage, at: UNIX_EPOCH + Duration::from_millis(exit.at_ms) }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It returned this exit code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Nobody saw how: the machine was restarted, or the keeper died.
    Lost(Loss),
}

/// Why a command was not executed; `Display` gives a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartFailure {
    /// `kill` came first.
    #[error("killed before it started")]
    Canceled,
    /// The user is not known here.
    #[error("user {0:?} is not known on this node")]
    UnknownUser(String),
    /// It would run as root, and may not.
    #[error(
        "it would run as root, which this agent does not allow; name another user, or start the agent with \
         --allow-root-tasks and name root"
    )]
    RootForbidden,
    /// The launch requires isolation that this node does not have.
    #[error("{isolation} is required, and this node cannot enforce it: {why}")]
    NotIsolated {
        /// What is missing.
        isolation: &'static str,
        /// Why.
        why: String,
    },
    /// The sandbox could not be made.
    #[error("sandbox: {0}")]
    Sandbox(String),
    /// A volume could not be made or shown.
    #[error("volume: {0}")]
    Volume(String),
    /// An artifact could not be brought.
    #[error("artifact {uri}: {why}")]
    Artifact {
        /// Which.
        uri: String,
        /// Why.
        why: String,
    },
    /// Its secrets could not be brought, or not be kept from others.
    #[error("secrets: {0}")]
    Secrets(String),
    /// Its cgroups could not be made.
    #[error("cgroup: {0}")]
    Cgroup(String),
    /// A command beside it: it does not run.
    #[error("the task does not run")]
    NotRunning,
    /// A command beside it: nobody can say where it runs.
    #[error("the keeper of the tasks cannot be reached; try again in a moment")]
    KeeperAway,
    /// A command beside it: its keeper cannot say where it runs.
    #[error(
        "the task was started under an older version, which knows no commands beside tasks; start it anew"
    )]
    KeeperOld,
    /// A command beside it could not be begun, or its end not be seen.
    #[error("running a command beside the task: {0}")]
    Visit(String),
    /// Command and environment together are too long.
    #[error("command and environment are too long: {bytes} bytes")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// The system refused a step on the way to the command.
    #[error("{}: {}", failure.stage.describe(), std::io::Error::from_raw_os_error(failure.errno))]
    Keeper {
        /// Which step, and the error number.
        failure: Failure,
    },
}

/// The keeper's account of a failure; for comparison, its text is in [`StartFailure`].
pub type Failure = protocol::Failure;

impl StartFailure {
    /// Whether it lies with the command itself, so that it would fail so on every machine like this one.
    pub fn is_of_the_command(&self) -> bool {
        match self {
            StartFailure::TooLong { .. } => true,
            StartFailure::Keeper { failure } => {
                let is_short = [Errno::NOMEM, Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::IO];
                failure.stage == protocol::Stage::Exec
                    && !is_short.iter().any(|short| short.raw_os_error() == failure.errno)
            }
            StartFailure::Canceled
            | StartFailure::UnknownUser(_)
            | StartFailure::RootForbidden
            | StartFailure::NotIsolated { .. }
            | StartFailure::Sandbox(_)
            | StartFailure::Volume(_)
            | StartFailure::Artifact { .. }
            | StartFailure::Secrets(_)
            | StartFailure::Cgroup(_)
            | StartFailure::NotRunning
            | StartFailure::KeeperAway
            | StartFailure::KeeperOld
            | StartFailure::Visit(_) => false,
        }
    }

    pub(crate) fn of(failure: protocol::Failure) -> StartFailure {
        match failure.stage {
            protocol::Stage::Canceled => StartFailure::Canceled,
            protocol::Stage::Secrets => {
                let why = std::io::Error::from_raw_os_error(failure.errno);
                StartFailure::Secrets(format!("{}: {why}", failure.stage.describe()))
            }
            _ => StartFailure::Keeper { failure },
        }
    }
}

/// What a run uses at the moment; `None` where no cgroup tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time so far, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory now, bytes, page cache included.
    pub memory_bytes: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_not_the_fault_of_a_command() {
        let keeper = |stage, errno: Errno| StartFailure::Keeper {
            failure: Failure { stage, index: 0, errno: errno.raw_os_error() },
        };
        use protocol::Stage;
        for own in [
            keeper(Stage::Exec, Errno::NOENT),
            keeper(Stage::Exec, Errno::ACCESS),
            StartFailure::TooLong { bytes: 9 },
        ] {
            assert!(own.is_of_the_command(), "{own}");
        }
        for other in [
            keeper(Stage::Exec, Errno::NOMEM),
            keeper(Stage::Clone, Errno::AGAIN),
            keeper(Stage::Enter, Errno::NOENT),
            StartFailure::UnknownUser("nobody".into()),
            StartFailure::KeeperAway,
            StartFailure::KeeperOld,
            StartFailure::Visit("no space".into()),
        ] {
            assert!(!other.is_of_the_command(), "{other}");
        }
    }
}
