//! Demands: what a framework wants and does not have; filters: what it declined.

use std::time::Duration;

use crate::attributes::Constraints;
use crate::id::DemandId;
use crate::resources::Amount;
use crate::role::Role;

/// What a framework wants and does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Chosen by the framework.
    pub id: DemandId,
    /// The role in which it wants it.
    pub role: Role,
    /// What one task needs of one agent. Ranges stand for "so many of them": which integers they hold does not matter.
    pub shape: Amount,
    /// How many of that shape.
    pub count: u64,
    /// What the agent must be like.
    pub constraints: Constraints,
    /// Higher first within the framework.
    pub priority: i32,
}

/// For how long a declined agent is not offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Zero: offer it again at once.
    pub refuse: Duration,
}

impl Filter {
    /// Five seconds, as in Mesos (`Filters.refuse_seconds`).
    pub const DEFAULT: Filter = Filter { refuse: Duration::from_secs(5) };
    /// The longest that is honoured: 365 days, as in Mesos.
    pub const MAX: Duration = Duration::from_secs(365 * 24 * 3600);
}

/// Why offers were declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclineReason {
    /// Nothing to run.
    Unused,
    /// Less than the next task needs.
    TooSmall,
    /// The agent does not meet the framework's constraints.
    Constraints,
    /// It has what it needs on this agent.
    EnoughHere,
    /// Held back on purpose.
    BackOff,
}
