//! Who is offered what, and why not: the allocator, a pure machine fed with [`Change`]s.
//!
//! The map: [`change`] is every fact it is told, `apply/` takes them in, [`allocate`] gives out what can be given out,
//! `serve` finds an agent for one client, [`explain`] says why somebody waits. Below stand the tables: `agents`,
//! `clients` (frameworks in roles), `roles` (quota, weights), `filters`, `shapes` (what demands ask for); `accounts`
//! keeps them in step. `fair_share`, `order` and `share` say who comes next; `capacity` where there is room.
//!
//! # Order
//! Roles form a tree. At each level whoever has the smallest dominant share (used and offered, of the pool's total,
//! divided by the weight) comes first; among equals the smaller path or id. A role's own frameworks stand together as
//! one child of the role. Before that, roles whose guarantee is not fulfilled are served up to the guarantee. The order
//! is exact: shares are compared as fractions of integers.
//!
//! # What is given
//! A framework **without demands** is offered whole agents: all that is free and that its role may have, if that is at
//! least [`Config::min_cpus_milli`] or [`Config::min_mem_bytes`]. Scalars are chopped to limits and headroom, ports,
//! sets and volumes are not.
//!
//! A framework **with demands** is offered units of their shapes, highest priority first, never more than it wants, with
//! ports picked in turn, and with the free volumes of its role on that agent. Several units are spread: over the agents
//! with the most room, as evenly as they have it. A single unit goes where it leaves the least room over, so that large
//! ones find a place later.
//!
//! What is reserved for the role, deepest first, is used before what is kept for nobody.
//!
//! # Quota
//! A role consumes what is reserved for it and below, held or not, plus what is held by clients below of anything that
//! is not. It never passes a limit, its own or one above. What is missing of all guarantees stays free: nobody is given
//! what would go below, except to fulfil his own.
//!
//! # Fair turns
//! Offers are exclusive. A declined agent goes to everybody else before it comes back to whoever declined it, even when
//! the filter ends meanwhile: nobody starves behind frameworks that decline. What one framework may hold unanswered is
//! bounded while others want something ([`Config::hold_share_milli`]).

mod accounts;
mod agents;
mod allocate;
mod apply;
mod bits;
mod capacity;
mod carve;
mod change;
mod check;
mod clients;
mod config;
mod explain;
mod fair_share;
mod filters;
mod order;
mod quota;
mod roles;
mod serve;
mod shapes;
mod share;
mod slots;
mod views;
mod work;

pub use allocate::Grant;
pub use change::{Account, Change, Transform};
pub use config::Config;
pub use explain::{Absent, Away, Outside, TaskUse};
pub use views::{AgentPicture, ClientPicture, RolePicture, Surplus};

use proto::quantities::Quantities;

use crate::bits::Bits;
use crate::share::Scale;

/// Its own small picture of the pool, and what to do next. Cloning it copies the picture: for dry runs.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    config: Config,
    agents: agents::Table,
    clients: clients::Table,
    roles: roles::Tree,
    filters: filters::Table,
    shapes: shapes::Table,
    grid: capacity::Grid,
    /// One for each role node: who comes next there.
    queues: Vec<fair_share::Queues>,
    /// Active agents with enough free for a plain offer.
    offerable: Bits,
    /// All that all agents have.
    totals: Quantities,
    /// The totals, prepared for shares; may be older until the next allocation.
    scale: Scale,
    /// What is free on active agents and kept for nobody.
    room: Quantities,
    work: work::Work,
}

impl Allocator {
    /// An empty pool.
    pub fn new(config: Config) -> Self {
        Allocator { config, ..Allocator::default() }
    }
}
