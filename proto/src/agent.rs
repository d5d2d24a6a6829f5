//! What an agent says of itself, and how it stands with the master.

use crate::attributes::Attributes;
use crate::id::AgentId;
use crate::resources::Resources;

/// What an agent says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its id, for its whole life; its certificate names the same.
    pub id: AgentId,
    /// The name people know the machine by.
    pub hostname: String,
    /// `host:port` of the agent's own door (logs), reachable by operators.
    pub address: String,
    /// All it has, before anything is reserved.
    pub resources: Resources,
    /// What it is like.
    pub attributes: Attributes,
    /// The version of its software.
    pub version: String,
}

/// How an agent stands with the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// Connected: it is offered.
    Active,
    /// Admitted but not connected (just lost, or not yet back after a failover): not offered, tasks presumed running.
    Disconnected,
    /// Silent for too long: its tasks are unreachable.
    Unreachable,
    /// An operator said that it is gone for good.
    Gone,
}

impl AgentState {
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentState::Active => "active",
            AgentState::Disconnected => "disconnected",
            AgentState::Unreachable => "unreachable",
            AgentState::Gone => "gone",
        }
    }
}
