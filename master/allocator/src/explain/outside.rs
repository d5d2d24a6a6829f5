//! What people know and the picture does not hold: names, why agents are away, tasks, agents out of sight.

use std::sync::Arc;

use proto::agent::AgentInfo;
use proto::id::{AgentId, FrameworkId, TaskId};
use proto::resources::Resources;
use proto::role::Role;

/// What the asker adds to the picture.
pub struct Outside<'a> {
    /// What a framework is called: people know names, the allocator knows ids.
    pub name: &'a dyn Fn(&FrameworkId) -> String,
    /// Why an agent of the picture may not be offered.
    pub away: &'a dyn Fn(&AgentId) -> Away,
    /// The tasks that use something of an agent.
    pub tasks: &'a dyn Fn(&AgentId) -> Vec<TaskUse>,
    /// Agents that are known and not in the picture: they are out of sight.
    pub absent: &'a [Absent],
}

/// Why an agent may not be offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Away {
    /// It is connected.
    pub linked: bool,
    /// It is to get no new work.
    pub drains: bool,
}

/// What one task uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskUse {
    /// Whose task.
    pub framework: FrameworkId,
    /// Which.
    pub task: TaskId,
    /// In which role.
    pub role: Role,
    /// What.
    pub resources: Resources,
}

/// An agent out of sight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// What it said of itself.
    pub info: Arc<AgentInfo>,
    /// All it has.
    pub total: Resources,
    /// What runs there as far as is known.
    pub used: Vec<TaskUse>,
    /// It would get no new work if it were back.
    pub drains: bool,
}

// === impl Absent ===

impl Absent {
    pub(super) fn free(&self) -> Resources {
        let mut used = Resources::EMPTY;
        self.used.iter().for_each(|task| used.add(&task.resources));
        self.total.saturating_sub(&used)
    }
}

// === impl Away ===

impl Away {
    /// As words that follow "the agent".
    pub(super) fn words(self) -> &'static str {
        match (self.linked, self.drains) {
            (true, true) => "drains",
            (false, true) => "drains and is not connected",
            (_, false) => "is not connected",
        }
    }
}
