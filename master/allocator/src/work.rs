//! What has changed since the last allocation: the next one looks at nothing else.

use proto::quantities::Quantities;
use proto_machine::Instant;

use crate::bits::Bits;

/// What the next allocation must look at. With nothing in it, an allocation is over at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Agents that have more free than before, or may be offered to more: everybody is asked about them.
    pub agents: Bits,
    /// Clients that want more than before, or may have more: they are asked about every agent.
    pub clients: Vec<u32>,
    /// Roles whose limits held somebody back and now leave more.
    pub nodes: Vec<u32>,
    /// Clients that the hold bound held back.
    pub held: Vec<u32>,
    /// Clients that the headroom held back.
    pub headroom: Vec<u32>,
    /// Any change was applied.
    pub touched: bool,
    /// When the last change was told.
    pub told_at: Instant,
    /// What was free and kept for nobody, and what had to stay so, when `headroom` was last looked at.
    pub room_seen: Quantities,
    pub required_seen: Quantities,
    /// Who stands in an order under an old share.
    pub stale_clients: Vec<u32>,
    pub stale_nodes: Vec<u32>,
    /// The pool has another total: every share is another.
    pub rescale: bool,
    /// Somebody who competed for held agents wants nothing any more.
    pub rival_left: bool,
    /// A grant fulfilled a guarantee with something that was reserved: there is more headroom.
    pub slack_grew: bool,
    /// Client and agent of grants after which others come first no more. Only once the allocation is over: within it
    /// whoever still waits for the agent is not overtaken by whoever just had of it.
    pub answered: Vec<(u32, u32)>,
    /// Counts allocations.
    pub number: u32,
    /// Counts passes.
    pub stamp: u32,
    /// Counts grants, so that equal agents take turns.
    pub turn: u32,
}

// === impl Work ===

impl Work {
    /// Whether an allocation would find nothing to do.
    pub fn is_idle(&self) -> bool {
        let waiting = self.touched && (!self.held.is_empty() || !self.headroom.is_empty());
        self.agents.is_empty() && self.clients.is_empty() && self.nodes.is_empty() && !waiting
    }
}
