//! Between what the framework thinks in and what its door speaks: states and ends. Jobs are in `spec::contract`.

use crate::wire;
use framework_sdk::task::{Exit, TaskState};

// === impl wire::TaskState ===

impl From<TaskState> for wire::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Staging => wire::TaskState::TaskStaging,
            TaskState::Starting => wire::TaskState::TaskStarting,
            TaskState::Running => wire::TaskState::TaskRunning,
            TaskState::Killing => wire::TaskState::TaskKilling,
            TaskState::Finished => wire::TaskState::TaskFinished,
            TaskState::Failed => wire::TaskState::TaskFailed,
            TaskState::Killed => wire::TaskState::TaskKilled,
            TaskState::Error => wire::TaskState::TaskError,
            TaskState::Lost => wire::TaskState::TaskLost,
            TaskState::Dropped => wire::TaskState::TaskDropped,
            TaskState::Unreachable => wire::TaskState::TaskUnreachable,
            TaskState::Gone => wire::TaskState::TaskGone,
            TaskState::GoneByOperator => wire::TaskState::TaskGoneByOperator,
            // Nobody knows it: as far as the job goes, it waits for news.
            TaskState::Unknown => wire::TaskState::TaskUnreachable,
        }
    }
}

impl wire::TaskState {
    /// As the cluster's state; `None` for a task that waits for an agent.
    pub fn known(self) -> Option<TaskState> {
        match self {
            wire::TaskState::Unspecified | wire::TaskState::TaskWaiting => None,
            wire::TaskState::TaskStaging => Some(TaskState::Staging),
            wire::TaskState::TaskStarting => Some(TaskState::Starting),
            wire::TaskState::TaskRunning => Some(TaskState::Running),
            wire::TaskState::TaskKilling => Some(TaskState::Killing),
            wire::TaskState::TaskFinished => Some(TaskState::Finished),
            wire::TaskState::TaskFailed => Some(TaskState::Failed),
            wire::TaskState::TaskKilled => Some(TaskState::Killed),
            wire::TaskState::TaskError => Some(TaskState::Error),
            wire::TaskState::TaskLost => Some(TaskState::Lost),
            wire::TaskState::TaskDropped => Some(TaskState::Dropped),
            wire::TaskState::TaskUnreachable => Some(TaskState::Unreachable),
            wire::TaskState::TaskGone => Some(TaskState::Gone),
            wire::TaskState::TaskGoneByOperator => Some(TaskState::GoneByOperator),
        }
    }

    /// Whether the attempt is over.
    pub fn is_terminal(self) -> bool {
        self.known().is_some_and(TaskState::is_terminal)
    }

    /// The word users see.
    pub fn word(self) -> &'static str {
        self.known().map_or("waiting", TaskState::as_str)
    }
}

// === impl wire::Task ===

impl wire::Task {
    /// Sets how its command ended.
    pub fn set_exit(&mut self, exit: Option<Exit>) {
        (self.exit_code, self.exit_signal) = exit_to_wire(exit);
    }
}

/// `(exit_code, exit_signal)`, at most one of them there.
pub fn exit_to_wire(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        None => (None, None),
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
    }
}
