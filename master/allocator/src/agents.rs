//! The table of agents: what each has, what is free of it, and who holds the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::agent::AgentInfo;
use proto::id::{AgentId, DemandId};
use proto::quantities::Quantities;
use proto::resources::Resources;

use crate::change::Account;
use crate::slots::Slots;

/// Every agent, under a dense index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub rows: Slots<Agent>,
    pub by_id: BTreeMap<AgentId, u32>,
}

/// One agent. Always: `total = free + all held`, unless it is `over`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agent {
    /// `None` only in the row of a freed index.
    pub id: Option<AgentId>,
    pub info: Option<Arc<AgentInfo>>,
    pub total: Resources,
    pub free: Resources,
    /// The free scalars that are kept for nobody.
    pub room: Quantities,
    /// One for each client that holds something, in no order.
    pub holdings: Vec<Holding>,
    pub active: bool,
    /// More is held than there is: free is what is certainly there.
    pub over: bool,
    /// Nothing in `free` is reserved or a volume.
    pub simple: bool,
    /// Whether `room` is counted in the pool's free room.
    pub counted: bool,
    /// Integers of ranges (ports) are picked from here on.
    pub pick_from: u64,
}

/// What one client holds of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    pub client: u32,
    pub offered: Resources,
    pub taken: Resources,
    pub used: Resources,
    /// The offers that were made for demands, in the order they were made; part of `offered`.
    pub grants: Vec<OpenGrant>,
}

/// An offer that was made for a demand and is not answered.
#[derive(Clone, Debug)]
pub(crate) struct OpenGrant {
    /// [`Want::serial`](crate::clients::Want::serial).
    pub serial: u64,
    pub demand: DemandId,
    /// How many of the demand's shape are in it.
    pub units: u64,
    pub resources: Resources,
}

/// What an offer that ends was made for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MadeFor<'a> {
    /// It was a plain offer.
    Nothing,
    /// For that demand.
    Demand(&'a DemandId),
    /// Several offers may end together: which, the amounts must tell.
    Unknown,
}

// === impl Table ===

impl Table {
    /// The index of an agent.
    pub fn find(&self, id: &AgentId) -> Option<u32> {
        self.by_id.get(id).copied()
    }
}

// === impl Agent ===

impl Agent {
    /// What a client holds here.
    pub fn holding(&self, client: u32) -> Option<&Holding> {
        self.holdings.iter().find(|h| h.client == client)
    }

    /// What a client holds here, to change it; a new one when there is none.
    pub fn holding_mut(&mut self, client: u32) -> &mut Holding {
        let at = self.holdings.iter().position(|h| h.client == client).unwrap_or_else(|| {
            self.holdings.push(Holding { client, ..Holding::default() });
            self.holdings.len() - 1
        });
        &mut self.holdings[at]
    }

    /// Drops the holding of a client if nothing is left in it; whether it did.
    pub fn drop_empty(&mut self, client: u32) -> bool {
        let at = self.holdings.iter().position(|h| h.client == client && h.is_empty());
        at.map(|at| self.holdings.swap_remove(at)).is_some()
    }

    /// All that is held, by everybody.
    pub fn held(&self) -> Resources {
        let mut all = Resources::EMPTY;
        for holding in &self.holdings {
            all.add(&holding.offered);
            all.add(&holding.taken);
            all.add(&holding.used);
        }
        all
    }

    /// Puts something back into what is free.
    pub fn give_back(&mut self, resources: &Resources) {
        if self.over {
            self.recount();
        } else {
            self.free.add(resources);
        }
    }

    /// Computes what is free from the total and what is held.
    pub fn recount(&mut self) {
        let held = self.held();
        self.over = !self.total.contains(&held);
        self.free = self.total.saturating_sub(&held);
    }
}

// === impl Holding ===

impl Holding {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.offered.is_empty() && self.taken.is_empty() && self.used.is_empty()
    }

    /// What stands on an account.
    pub fn account_mut(&mut self, account: Account) -> &mut Resources {
        match account {
            Account::Offered => &mut self.offered,
            Account::Taken => &mut self.taken,
            Account::Used => &mut self.used,
        }
    }

    /// Closes the open grants that leave with `resources`; what it returns is closed.
    pub fn close(&mut self, resources: &Resources, made_for: MadeFor<'_>) -> Vec<OpenGrant> {
        if self.grants.is_empty() {
            return Vec::new();
        }
        match made_for {
            MadeFor::Nothing => return Vec::new(),
            MadeFor::Demand(id) => {
                let exact = |grant: &OpenGrant| grant.resources == *resources && grant.demand == *id;
                if let Some(at) = self.grants.iter().position(exact) {
                    return vec![self.grants.remove(at)];
                }
            }
            MadeFor::Unknown => {}
        }
        let mut rest = resources.clone();
        let (closed, open) =
            std::mem::take(&mut self.grants).into_iter().partition(|g| rest.try_sub(&g.resources));
        self.grants = open;
        closed
    }
}

// === impl MadeFor ===

impl<'a> From<Option<&'a DemandId>> for MadeFor<'a> {
    fn from(demand: Option<&'a DemandId>) -> Self {
        demand.map_or(MadeFor::Nothing, MadeFor::Demand)
    }
}
