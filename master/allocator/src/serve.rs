//! Serving one client: which agent, and what of it.

use std::ops::ControlFlow;

use proto::quantities::{Quantities, Scalar};
use proto::resources::Resources;

use crate::Allocator;
use crate::allocate::{Choice, Pass};
use crate::bits::Bits;
use crate::capacity::First;
use crate::carve;
use crate::clients::Want;
use crate::quota::{Purse, Stage, Without};
use crate::shapes::Shape;

/// So many agents that fit are compared; the best of them is taken.
const SAMPLE: usize = 16;

/// Up to so many changed agents are looked at one by one; for more the grid is searched, which finds them too.
const LISTED: usize = 64;

/// Nobody.
static NONE: Bits = Bits::NONE;

/// How a want is placed.
struct Search<'a> {
    client: u32,
    shape: &'a Shape,
    purse: Purse,
    first: First,
    second: bool,
    /// Only agents where something is reserved come into question: the purse allows nothing else.
    reserved_only: bool,
    /// The best so far: how good, the agent.
    best: Option<(u64, u32)>,
    seen: usize,
    /// Some agent would fit, were it not for filters.
    fits: bool,
}

impl Allocator {
    /// Which agents to look at for the client: all that can be offered, or those that have changed.
    fn range(&self, client: u32) -> &Bits {
        if self.clients.clients[client].dirty { &self.offerable } else { &self.work.agents }
    }

    fn fill_purse(&self, node: u32, stage: Stage) -> Purse {
        Purse::fill(&self.roles, node, &self.room, stage, Without::default())
    }

    /// Notes what quota kept the client from having, so that it is asked again when there is more.
    fn note_hits(&mut self, client: u32, purse: &Purse) {
        let row = &mut self.clients.clients[client];
        if purse.headroom_hit && !std::mem::replace(&mut row.headroom_hit, true) {
            self.work.headroom.push(client);
        }
        if purse.limit_hit {
            let mut at = row.node;
            while at != crate::roles::ROOT {
                let row = &mut self.roles.nodes[at];
                row.limit_hit |= !row.limits.is_unbounded();
                at = row.parent;
            }
        }
    }

    fn note_hold(&mut self, client: u32) {
        if !std::mem::replace(&mut self.clients.clients[client].hold_hit, true) {
            self.work.held.push(client);
        }
    }

    /// Whether what the stage allows fulfils some of a guarantee: in the first stage nothing else is given.
    fn fulfils(&self, node: u32, stage: Stage, scalars: &Quantities) -> bool {
        stage == Stage::Fair || !self.roles.credit(node).min(scalars).is_zero()
    }

    // --- without demands ---

    /// A whole agent, the first in the order of indices that has enough and was not declined.
    pub(crate) fn choose_plain(&mut self, client: u32, pass: Pass) -> Option<Choice> {
        let stamp = self.work.stamp;
        let from = self.clients.clients[client].turn(stamp).agent;
        // First of all whether there is any: most who are asked have declined what there is.
        let mut next = self.next_plain(client, from, pass);
        if next.is_some() && !self.may_hold(self.clients.clients[client].framework) {
            self.note_hold(client);
            return None;
        }
        let mut purse = None;
        while let Some(agent) = next {
            let purse = match &purse {
                Some(purse) => purse,
                None => {
                    let mut fresh = self.fill_purse(self.clients.clients[client].node, pass.stage);
                    if !self.is_worth(&fresh) {
                        // Which bound it was makes no difference to the agents: note all that may have been.
                        fresh.how_many(&Quantities::of(self.config.min_cpus_milli.max(1), 0), 1);
                        fresh.how_many(&Quantities::of(0, self.config.min_mem_bytes.max(1)), 1);
                        self.note_hits(client, &fresh);
                        return self.choose_reserved(client, pass, &fresh);
                    }
                    &*purse.insert(fresh)
                }
            };
            if let Some(choice) = self.try_plain(client, agent, pass, purse) {
                // What is left of the agent after a chop may be given once more: stay here.
                self.clients.clients[client].turn(stamp).agent = agent;
                return Some(choice);
            }
            next = self.next_plain(client, agent + 1, pass);
        }
        self.clients.clients[client].turn(stamp).agent = u32::MAX;
        None
    }

    /// The next agent to try for a plain offer.
    fn next_plain(&self, client: u32, from: u32, pass: Pass) -> Option<u32> {
        let asked = if pass.second { &NONE } else { self.filters.asked(client) };
        self.range(client).next_outside(from, [self.filters.blocked(client), asked])
    }

    /// Whether a purse holds enough for any plain offer of what is kept for nobody.
    fn is_worth(&self, purse: &Purse) -> bool {
        purse.open
            || purse.bound(&Scalar::Cpus) >= self.config.min_cpus_milli.max(1)
            || purse.bound(&Scalar::Mem) >= self.config.min_mem_bytes.max(1)
    }

    /// Only what is reserved: on few agents, found through the role.
    fn choose_reserved(&mut self, client: u32, pass: Pass, purse: &Purse) -> Option<Choice> {
        for agent in self.reserved_agents(client) {
            let asked = !pass.second && self.filters.asked(client).has(agent);
            if asked || !self.range(client).has(agent) || self.filters.blocked(client).has(agent) {
                continue;
            }
            if let Some(choice) = self.try_plain(client, agent, pass, purse) {
                return Some(choice);
            }
        }
        None
    }

    /// The agents with something reserved for the client's role or one above.
    fn reserved_agents(&self, client: u32) -> Vec<u32> {
        let path = self.roles.path(self.clients.clients[client].node);
        let mut agents: Vec<u32> =
            path.flat_map(|node| &self.roles.nodes[node].reserved_on).copied().collect();
        agents.sort_unstable();
        agents.dedup();
        agents
    }

    /// The offer of one agent; `None` when it is too little, declined, or not what the stage is for.
    fn try_plain(&mut self, client: u32, agent: u32, pass: Pass, purse: &Purse) -> Option<Choice> {
        let (row, who) = (&self.agents.rows[agent], &self.clients.clients[client]);
        let role = self.roles.nodes[who.node].role.as_ref()?;
        let is_declined = |offer: &Resources| {
            self.filters.declined(client, agent).any(|(declined, _)| declined.contains(offer))
        };
        if purse.open && row.simple {
            let good = row.active
                && self.config.is_enough(&row.room)
                && !row.room.is_zero()
                && !is_declined(&row.free);
            return good.then_some(Choice { agent, resources: None, want: None });
        }
        let mut purse = purse.clone();
        let offer = carve::whole(&row.free, role, &mut purse);
        let scalars = offer.quantities();
        let good = row.active
            && self.config.is_enough(&scalars)
            && !scalars.is_zero()
            && (pass.stage == Stage::Fair || self.fulfils(who.node, pass.stage, &unreserved(&offer)))
            && !is_declined(&offer);
        if purse.limit_hit || purse.headroom_hit {
            self.note_hits(client, &purse);
        }
        good.then_some(Choice { agent, resources: Some(offer), want: None })
    }

    // --- the hold bound ---

    /// Whether a framework may be offered more while it has not answered what it holds. Its offers are below the bound
    /// before the last one, so that the bound needs no look at agents, and a pool of one agent can be offered at all.
    pub(crate) fn may_hold(&self, framework: u32) -> bool {
        self.config.hold_share_milli >= 1000
            || self.is_below_hold(&self.clients.frameworks[framework].offered)
            || !self.has_rival(framework)
    }

    fn is_below_hold(&self, held: &Quantities) -> bool {
        let share = u128::from(self.config.hold_share_milli);
        let below =
            |amount: u64, total: u64| amount == 0 || u128::from(amount) * 1000 < u128::from(total) * share;
        held.fixed().iter().zip(self.totals.fixed()).all(|(amount, total)| below(*amount, *total))
            && held
                .custom()
                .iter()
                .all(|(name, amount)| below(*amount, self.totals.get(&Scalar::Custom(name.clone()))))
    }

    /// How many units a framework may hold unanswered besides what it does: it passes the bound by less than one.
    fn units_to_hold(&self, framework: u32, unit: &Quantities, wanted: u64) -> u64 {
        if !self.may_hold(framework) {
            return 0;
        }
        let held = &self.clients.frameworks[framework].offered;
        let below = |units: u64| {
            let mut sum = held.clone();
            sum.add(&unit.times(units));
            self.is_below_hold(&sum)
        };
        let free = self.config.hold_share_milli >= 1000 || below(wanted.saturating_sub(1));
        if free || !self.has_rival(framework) {
            return wanted;
        }
        // The most whose last unit still began below the bound.
        let (mut low, mut high) = (1, wanted);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if below(middle - 1) { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// Whether another framework wants something: it has a demand that is not met, or takes plain offers and has not
    /// declined every agent.
    pub(crate) fn has_rival(&self, framework: u32) -> bool {
        let own = usize::from(self.clients.frameworks[framework].eligible > 0);
        if self.clients.wanting == own {
            return false;
        }
        let agents = self.agents.rows.count();
        self.clients.frameworks.iter().any(|(other, row)| {
            let hungry =
                |client: u32| self.clients.clients[client].eligible && self.filters.count(client) < agents;
            other != framework
                && row.eligible > 0
                && (row.demand_driven || row.clients.iter().any(|(_, client)| hungry(*client)))
        })
    }

    // --- with demands ---

    /// Some units of the first want that fits somewhere.
    pub(crate) fn choose_for_demands(&mut self, client: u32, pass: Pass) -> Option<Choice> {
        let stamp = self.work.stamp;
        let mut at = self.clients.clients[client].turn(stamp).want as usize;
        while let Some(want) = self.clients.clients[client].wants.get(at) {
            if want.missing() > 0 {
                let want = want.clone();
                if let Some(choice) = self.place_want(client, at, &want, pass) {
                    self.clients.clients[client].turn(stamp).want = at as u32;
                    return Some(choice);
                }
            }
            at += 1;
        }
        self.clients.clients[client].turn(stamp).want = at as u32;
        None
    }

    fn place_want(&mut self, client: u32, at: usize, want: &Want, pass: Pass) -> Option<Choice> {
        let who = &self.clients.clients[client];
        let (framework, node, dirty) = (who.framework, who.node, who.dirty);
        let shape = &self.shapes.shapes[want.shape];
        if !self.fulfils(node, pass.stage, &shape.scalars) {
            return None;
        }
        let number = self.work.number;
        let hopeless = shape.fits_none == number || (!dirty && shape.fits_no_change == number);
        let reserved = self.reserved_agents(client);
        if hopeless && reserved.is_empty() {
            return None;
        }
        // For demands the first stage does not chop: a unit goes out whole, whatever it adds to the guarantee.
        let mut purse = self.fill_purse(node, Stage::Fair);
        let missing = want.missing();
        let allowed = purse.how_many(&shape.scalars, missing);
        let to_hold = self.units_to_hold(framework, &shape.scalars, missing);
        let first = if want.count > 1 { First::Roomy } else { First::Tight };
        let rows = &self.agents.rows;
        self.grid.refresh(|agent| rows[agent].active.then_some(&rows[agent].room));
        let mut search = Search {
            client,
            shape,
            purse,
            first,
            second: pass.second,
            reserved_only: allowed == 0 || hopeless,
            best: None,
            seen: 0,
            fits: false,
        };
        let candidates = if to_hold > 0 { self.search(&mut search, &reserved) } else { 0 };
        let (best, fits, mut purse) = (search.best, search.fits, search.purse);
        if to_hold < missing {
            self.note_hold(client);
        }
        if purse.limit_hit || purse.headroom_hit {
            self.note_hits(client, &purse);
        }
        let Some((_, agent)) = best else {
            if to_hold > 0 && allowed > 0 && !hopeless && !fits {
                let shape = &mut self.shapes.shapes[want.shape];
                if dirty {
                    shape.fits_none = number;
                } else {
                    shape.fits_no_change = number;
                }
            }
            return None;
        };
        let (shape, row) = (&self.shapes.shapes[want.shape], &self.agents.rows[agent]);
        let role = self.roles.nodes[node].role.as_ref()?;
        let fitting = self.how_many_on(agent, role, shape, &purse);
        // Several units are spread evenly over the agents that may have room, as far as each has.
        let spread = want.count.div_ceil(candidates.max(1));
        // In the first stage no more than the guarantee asks for, but a whole unit.
        let owed = match pass.stage {
            Stage::Guarantees => {
                let credit = self.roles.credit(node);
                credit.how_many(&shape.scalars.min(&credit))
            }
            Stage::Fair => u64::MAX,
        };
        let units = missing.min(to_hold).min(fitting).min(spread).min(owed).max(1);
        let resources = carve::units(&row.free, role, shape, units, &mut purse, row.pick_from)?;
        Some(Choice { agent, resources: Some(resources), want: Some((at, units)) })
    }

    /// Looks for the best agent; returns how many may have room.
    fn search(&self, search: &mut Search, reserved: &[u32]) -> u64 {
        // What is reserved for the role is used first.
        for agent in reserved {
            if self.range_holds(search.client, *agent) && self.consider(search, *agent).is_break() {
                break;
            }
        }
        if search.best.is_some() || search.reserved_only {
            return reserved.len() as u64;
        }
        let dirty = self.clients.clients[search.client].dirty;
        let class = search.shape.class.map(|class| &self.shapes.classes[class].agents);
        if !dirty && self.work.agents.count() <= LISTED {
            for agent in self.work.agents.iter() {
                if self.consider(search, agent).is_break() {
                    break;
                }
            }
            return self.work.agents.count() as u64;
        }
        let roomy = self.grid.count(&search.shape.scalars);
        if let Some(class) = class.filter(|class| (class.count() as u64) < roomy) {
            for agent in class.iter() {
                if self.consider(search, agent).is_break() {
                    break;
                }
            }
            return class.count() as u64;
        }
        let wanted = search.shape.scalars.clone();
        self.grid.visit(&wanted, search.first, self.work.turn, |agent| self.consider(search, agent));
        roomy
    }

    fn range_holds(&self, client: u32, agent: u32) -> bool {
        self.clients.clients[client].dirty || self.work.agents.has(agent)
    }

    /// Looks at one agent; stops the search when enough were found.
    fn consider(&self, search: &mut Search, agent: u32) -> ControlFlow<()> {
        let row = &self.agents.rows[agent];
        let fits_bare = row.active
            && (!row.simple || row.room.contains(&search.shape.scalars))
            && self.shapes.allows(search.shape, agent);
        if !fits_bare {
            return ControlFlow::Continue(());
        }
        let node = self.clients.clients[search.client].node;
        let Some(role) = &self.roles.nodes[node].role else { return ControlFlow::Continue(()) };
        let units = self.how_many_on(agent, role, search.shape, &search.purse);
        if units == 0 {
            // A bound of the role is no property of the agent: others may have what this one may not.
            search.fits |= !search.purse.open && !row.simple;
            return ControlFlow::Continue(());
        }
        search.fits = true;
        if self.is_refused(search.client, agent, search.shape, search.second) {
            return ControlFlow::Continue(());
        }
        let good = match search.first {
            First::Roomy => units,
            First::Tight => u64::MAX - units,
        };
        if search.best.is_none_or(|(best, _)| good > best) {
            search.best = Some((good, agent));
        }
        search.seen += 1;
        if search.seen < SAMPLE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Whether the client declined that much of the agent, or others come first.
    fn is_refused(&self, client: u32, agent: u32, shape: &Shape, second: bool) -> bool {
        let asked = !second && self.filters.asked(client).has(agent);
        asked
            || self.filters.blocked(client).has(agent)
            || self.filters.declined(client, agent).any(|(declined, _)| carve::covers(declined, shape))
    }

    /// How many units an agent has free for the role, as far as the purse allows.
    pub(crate) fn how_many_on(
        &self,
        agent: u32,
        role: &proto::role::Role,
        shape: &Shape,
        purse: &Purse,
    ) -> u64 {
        let row = &self.agents.rows[agent];
        if !row.simple || !purse.open {
            return carve::how_many(&row.free, role, shape, purse);
        }
        let mut units = row.room.how_many(&shape.scalars);
        if units == 0 || (shape.ranges.is_empty() && shape.sets.is_empty()) {
            return units;
        }
        let Some(free) = row.free.portions().first() else { return 0 };
        for (name, n) in &shape.ranges {
            units = units.min(carve::count_of(&free.amount, name) / n);
        }
        for (name, items) in &shape.sets {
            let have = free.amount.sets().iter().find(|(found, _)| found == name);
            units = units.min(u64::from(have.is_some_and(|(_, have)| items.is_subset(have))));
        }
        units
    }
}

fn unreserved(offer: &Resources) -> Quantities {
    let mut sum = Quantities::ZERO;
    for portion in offer.portions().iter().filter(|portion| portion.reservation.is_none()) {
        sum.add(&portion.amount.scalars);
    }
    sum
}
