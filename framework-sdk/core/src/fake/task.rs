//! `Task`: one task as the pretend agents have it.

use std::collections::VecDeque;

use proto::id::{AgentId, RunId};
use proto::task::{TaskInfo, TaskState, TaskStatus};

/// One task as the pretend agents have it.
#[derive(Debug)]
pub struct Task {
    /// As launched.
    pub info: TaskInfo,
    /// Its run.
    pub run: RunId,
    pub(super) agent: AgentId,
    pub(super) latest: TaskStatus,
    /// Updates that are not acknowledged, oldest first.
    pub(super) stream: VecDeque<TaskStatus>,
    pub(super) sequence: u64,
}

impl Task {
    /// How it stands at its agent.
    pub fn state(&self) -> TaskState {
        self.latest.state
    }

    /// Where it runs.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// How many of its updates were not taken in.
    pub fn unacknowledged(&self) -> usize {
        self.stream.len()
    }
}
