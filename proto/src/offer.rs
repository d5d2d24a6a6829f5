//! Offers: exclusive leases on some of an agent.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentInfo;
use crate::id::{DemandId, OfferId};
use crate::resources::Resources;
use crate::role::Role;

/// An exclusive lease on some of an agent, for one role of one framework. It ends exactly once: accepted, declined,
/// rescinded or expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whose resources.
    pub agent: Arc<AgentInfo>,
    /// The role it is made to.
    pub role: Role,
    /// What is offered.
    pub resources: Resources,
    /// For how long it stands.
    pub expires_in: Duration,
    /// The demand it was made for.
    pub demand: Option<DemandId>,
}
