//! The table of frameworks, and of clients: a framework in one role.

use std::collections::BTreeMap;

use proto::demand::Demand;
use proto::id::{DemandId, FrameworkId};
use proto::quantities::Quantities;
use proto_machine::Instant;

use crate::order::Entry;
use crate::share::Share;
use crate::slots::Slots;

/// Every framework and every client, under dense indices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub frameworks: Slots<Framework>,
    pub by_id: BTreeMap<FrameworkId, u32>,
    pub clients: Slots<Client>,
    /// Frameworks with a client that is eligible.
    pub wanting: usize,
    /// Eligible clients that take plain offers.
    pub plain: usize,
    /// Eligible clients with demands.
    pub driven: usize,
    /// Labels changed: entries that stand in orders have old ones.
    pub relabelled: bool,
    /// The serial of the next demand.
    pub next_serial: u64,
}

/// One framework. It stays while it is there or holds something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Framework {
    /// `None` only in the row of a freed index.
    pub id: Option<FrameworkId>,
    /// Smaller where the id is: ties are decided without reading ids.
    pub label: u64,
    /// Not removed, and announced: not only known from what it holds.
    pub here: bool,
    pub active: bool,
    pub demand_driven: bool,
    /// Pairs of role node and client.
    pub clients: Vec<(u32, u32)>,
    /// Its unanswered offers, in all roles.
    pub offered: Quantities,
    /// How many of its clients are eligible.
    pub eligible: u32,
    /// All it says it wants, for explanations.
    pub demands: Vec<Demand>,
}

/// A framework in one role: what takes its turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// `None` only in the row of a freed index.
    pub id: Option<FrameworkId>,
    pub framework: u32,
    /// [`Framework::label`].
    pub label: u64,
    /// Its role.
    pub node: u32,
    /// The framework takes offers in the role.
    pub subscribed: bool,
    pub suppressed: bool,
    /// It may be offered something: it stands in its role's order.
    pub eligible: bool,
    /// All it holds, on every account.
    pub held: Quantities,
    pub offered: Quantities,
    pub taken: Quantities,
    /// The share under which it stands in the order.
    pub share: Share,
    /// `held` has changed since.
    pub stale: bool,
    /// Agents of which it holds something.
    pub holdings: u32,
    /// Agents with open offers for its demands, and how many.
    pub open_on: BTreeMap<u32, u32>,
    /// What it wants in this role: by priority, highest first, then by id.
    pub wants: Vec<Want>,
    pub by_demand: BTreeMap<DemandId, u32>,
    /// How many of its wants are not met.
    pub unmet: u32,
    /// It wants or may more than at the last allocation: every agent is looked at for it, not only changed ones.
    pub dirty: bool,
    /// It stands in the list of those that the headroom held back.
    pub headroom_hit: bool,
    /// It stands in the list of those that the hold bound held back.
    pub hold_hit: bool,
    /// Of the pass `stamp`: where to go on looking.
    pub turn: Turn,
}

/// How far a client has come in a pass of an allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub stamp: u32,
    /// Agents below are done.
    pub agent: u32,
    /// Wants before are done.
    pub want: u32,
    /// It has had its turn.
    pub over: bool,
}

/// A demand: what a client wants and how far it is offered.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub id: DemandId,
    /// Never used again, so that offers for an older demand of the same id are told apart.
    pub serial: u64,
    pub shape: u32,
    pub count: u64,
    /// Units in open offers.
    pub open: u64,
    /// When it was declared: for explanations.
    pub since: Instant,
    pub priority: i32,
}

// === impl Table ===

impl Table {
    /// The index of a framework.
    pub fn find(&self, id: &FrameworkId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// The client of a framework in a role.
    pub fn find_client(&self, framework: u32, node: u32) -> Option<u32> {
        self.frameworks[framework].clients.iter().find(|(n, _)| *n == node).map(|(_, client)| *client)
    }

    /// The exact order of two clients of one role.
    pub fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        let (a, b) = (&self.clients[a], &self.clients[b]);
        a.share.compare(&b.share).then(a.label.cmp(&b.label))
    }

    /// A label for a new framework, between those of its neighbours; when there is none all get new ones, which changes
    /// nobody's order.
    pub fn label_for(&mut self, id: &FrameworkId) -> u64 {
        let label =
            |framework: Option<(&FrameworkId, &u32)>| framework.map(|(_, at)| self.frameworks[*at].label);
        let below = label(self.by_id.range::<FrameworkId, _>(..id).next_back()).unwrap_or(0);
        let above = label(self.by_id.range::<FrameworkId, _>(id..).next());
        // At the end, steps leave as much room as there is anywhere.
        let between = above.map_or(below.saturating_add(1 << 32), |above| below + (above - below) / 2);
        if between > below && between < u64::MAX {
            return between;
        }
        for (n, framework) in (1u64..).zip(self.by_id.values()) {
            let row = &mut self.frameworks[*framework];
            row.label = n << 32;
            for (_, client) in &row.clients {
                self.clients[*client].label = row.label;
            }
        }
        self.relabelled = true;
        self.label_for(id)
    }
}

// === impl Client ===

impl Client {
    /// The turn in the pass `stamp`.
    pub fn turn(&mut self, stamp: u32) -> &mut Turn {
        if self.turn.stamp != stamp {
            self.turn = Turn { stamp, ..Turn::default() };
        }
        &mut self.turn
    }

    /// It, standing in its role's order.
    pub fn entry(&self, client: u32) -> Entry {
        Entry::labelled(client, &self.share, self.label)
    }

    /// Whether it has had its turn in the pass `stamp`.
    pub fn is_over(&self, stamp: u32) -> bool {
        self.turn.stamp == stamp && self.turn.over
    }
}

// === impl Want ===

impl Want {
    /// How many more may be offered.
    pub fn missing(&self) -> u64 {
        self.count.saturating_sub(self.open)
    }
}
