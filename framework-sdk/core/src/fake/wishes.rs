//! What a framework wants that takes time: for whoever gives the pretend master a clock.

use std::time::Duration;

use proto::framework::FrameworkInfo;
use proto::id::{AgentId, TaskId};
use proto::role::Role;

use super::Fake;

/// Something that takes time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No offers of this agent for a while.
    Refuse {
        /// Which.
        agent: AgentId,
        /// How long.
        refuse: Duration,
    },
    /// Offers of every agent again.
    Revive,
    /// The end of a task. Only with [`Fake::kills_take_time`].
    Kill {
        /// Which.
        task: TaskId,
        /// Instead of the task's own.
        grace: Option<Duration>,
    },
}

impl Fake {
    /// The oldest wish that nobody has taken up.
    pub fn next_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// What the framework said of itself; `None` before it was ever there.
    pub fn framework_info(&self) -> Option<&FrameworkInfo> {
        self.info.as_ref()
    }

    /// Whether a session stands.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn suppress(&mut self, roles: Vec<Role>) {
        let named = if roles.is_empty() { self.roles.clone() } else { roles };
        self.suppressed.extend(named);
    }

    pub(super) fn revive(&mut self, roles: &[Role]) {
        if roles.is_empty() {
            self.suppressed.clear();
        }
        self.suppressed.retain(|role| !roles.contains(role));
        self.wishes.push_back(Wish::Revive);
    }
}
