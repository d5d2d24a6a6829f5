//! An allocation: who has waited is asked, in the order of fair share, about what has changed.
//!
//! The promise that makes it cheap: **after an allocation nothing can be given to anybody.** So the next one need only
//! look at agents that have more since, for everybody, and at clients that want or may have more since, on every agent.
//! Whatever takes a change in must note it in [`Work`](crate::work::Work); an oracle in the tests checks the promise
//! against a pass over everything.

use proto::id::{AgentId, DemandId, FrameworkId};
use proto::resources::Resources;
use proto::role::Role;
use proto_machine::Instant;
use proto_machine::mutants::{self, Mutant};

use crate::Allocator;
use crate::accounts::Held;
use crate::agents::OpenGrant;
use crate::quota::Stage;

/// Up to so many woken clients are sorted by themselves; for more the orders of all clients are walked.
const FEW: usize = 64;

/// Up to so many changed agents are looked at beforehand: does anybody want anything of that size at all?
const SCREENED: usize = 16;

/// With more shapes than that, asking everybody in turn is as fast.
const SCREENED_SHAPES: usize = 256;

/// Room is made beforehand for so many grants.
const GRANTS_AT_ONCE: usize = 1024;

/// What was given: it is charged as offered already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// The demand it was made for.
    pub demand: Option<DemandId>,
    /// How many times the demand's shape it holds; 0 without a demand.
    pub units: u64,
}

/// What a client is to be given.
#[derive(Debug)]
pub(crate) struct Choice {
    pub agent: u32,
    /// `None`: all that is free of it, which is kept for nobody.
    pub resources: Option<Resources>,
    /// The place of the want among the client's, and the units.
    pub want: Option<(usize, u64)>,
}

/// One round of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub stage: Stage,
    /// Also agents that others were to have first.
    pub second: bool,
}

impl Allocator {
    /// Gives out what can be given out, in order. Guarantees that are not fulfilled come first, then whoever has the
    /// smallest share. Each grant is charged as offered at once.
    pub fn allocate(&mut self, now: Instant) -> Vec<Grant> {
        self.end_filters(now);
        if self.work.is_idle() {
            return Vec::new();
        }
        self.prepare();
        let mut grants = Vec::with_capacity(self.work.agents.count().min(GRANTS_AT_ONCE));
        loop {
            (self.work.rival_left, self.work.slack_grew) = (false, false);
            if !self.all_passes(&mut grants) {
                break;
            }
            // A grant has made room for those who were held back: they go on, each in its place.
            self.wake_held();
            self.wake_headroom();
        }
        self.settle();
        grants
    }

    /// When [`Allocator::allocate`] should be called if nothing is applied before: a filter ends.
    pub fn wake_at(&self) -> Option<Instant> {
        self.filters.wake_at()
    }

    /// Filters that have ended: their clients are asked again.
    fn end_filters(&mut self, now: Instant) {
        for (client, agent) in self.filters.expire(now) {
            self.wake(client);
            // On the move, it has not been to everybody else yet: they come first when it is back.
            if self.work.agents.has(agent) || !self.offerable.has(agent) {
                self.filters.ask_others_first(client, agent);
            }
        }
    }

    fn prepare(&mut self) {
        self.work.number = self.work.number.wrapping_add(1).max(1);
        if std::mem::take(&mut self.work.touched) {
            self.wake_held();
            if self.has_more_slack() {
                self.wake_headroom();
            }
        }
        self.roles.credit_grew = false;
        for node in std::mem::take(&mut self.work.nodes) {
            for below in self.roles.below(node) {
                for at in 0..self.roles.nodes[below].clients.len() {
                    let client = self.roles.nodes[below].clients[at];
                    if self.clients.clients[client].eligible {
                        self.wake(client);
                    }
                }
            }
        }
        self.reorder();
        self.queues.resize_with(self.roles.nodes.bound().max(self.queues.len()), Default::default);
        if self.work.agents.count() <= SCREENED {
            self.screen();
        }
    }

    fn wake_held(&mut self) {
        for client in std::mem::take(&mut self.work.held) {
            self.clients.clients[client].hold_hit = false;
            self.wake(client);
        }
    }

    fn wake_headroom(&mut self) {
        for client in std::mem::take(&mut self.work.headroom) {
            self.clients.clients[client].headroom_hit = false;
            self.wake(client);
        }
    }

    /// Whether there is more headroom than at the last allocation, or somebody is owed more himself.
    fn has_more_slack(&self) -> bool {
        if self.work.headroom.is_empty() {
            return false;
        }
        let (required, seen) = (self.roles.required(), &self.work.required_seen);
        let mut slack = self.room.clone();
        slack.add(seen);
        let mut slack_seen = self.work.room_seen.clone();
        slack_seen.add(required);
        self.roles.credit_grew || !slack_seen.contains(&slack)
    }

    /// Drops changed agents that nobody wants.
    fn screen(&mut self) {
        let agents: Vec<u32> = self.work.agents.iter().filter(|agent| self.is_unwanted(*agent)).collect();
        for agent in agents {
            self.work.agents.remove(agent);
        }
    }

    /// Whether what is free of an agent is certainly of no use: too little for a plain offer and for every demand.
    fn is_unwanted(&self, agent: u32) -> bool {
        let row = &self.agents.rows[agent];
        let takes_plain = |client: u32| {
            let who = &self.clients.clients[client];
            who.eligible && !self.clients.frameworks[who.framework].demand_driven
        };
        let plain = self.clients.plain > 0
            && self.offerable.has(agent)
            && !self.filters.all_blocked(agent, self.clients.plain, takes_plain);
        let demands = self.clients.driven > 0;
        let mut shapes = self.shapes.shapes.iter().filter(|(_, shape)| shape.waiting > 0);
        !plain
            && (!demands
                || row.simple
                    && self.shapes.shapes.count() <= SCREENED_SHAPES
                    && !shapes.any(|(_, shape)| {
                        row.room.contains(&shape.scalars) && self.shapes.allows(shape, agent)
                    }))
    }

    /// All stages over what there is to do; true when it must begin again, because a grant made room for somebody who
    /// was held back.
    fn all_passes(&mut self, grants: &mut Vec<Grant>) -> bool {
        let guarantees = !self.roles.required().is_zero();
        for stage in [Stage::Guarantees, Stage::Fair] {
            if stage == Stage::Guarantees && !guarantees {
                continue;
            }
            for second in [false, true] {
                if self.run(Pass { stage, second }, grants) {
                    return true;
                }
            }
        }
        false
    }

    fn run(&mut self, pass: Pass, grants: &mut Vec<Grant>) -> bool {
        self.work.stamp = self.work.stamp.wrapping_add(1).max(1);
        let mut woken = self.woken_left();
        let mut few: Option<Vec<u32>> = None;
        loop {
            // Once no changed agent is left, only those that were woken need be asked.
            let next = match self.work.agents.is_empty() {
                true if woken == 0 => None,
                true if self.work.clients.len() <= FEW => self.next_of_few(&mut few, pass.stage),
                true | false => self.next(pass.stage),
            };
            let Some(client) = next else { return false };
            let dirty = self.clients.clients[client].dirty;
            match self.choose(client, pass) {
                Some(choice) => {
                    grants.extend(self.grant(client, choice));
                    woken -= usize::from(dirty && !self.clients.clients[client].eligible);
                    if let Some(few) = &mut few {
                        // Its share grew, and that of its roles: everybody in them may stand elsewhere.
                        few.push(client);
                        self.sort_few(few, pass.stage);
                    }
                    let freed = self.work.rival_left && !self.work.held.is_empty();
                    if freed || (self.work.slack_grew && !self.work.headroom.is_empty()) {
                        return true;
                    }
                }
                None => {
                    woken -= usize::from(dirty);
                    self.pass_over(client);
                }
            }
        }
    }

    /// The next of those that were woken, from a list of its own.
    fn next_of_few(&self, few: &mut Option<Vec<u32>>, stage: Stage) -> Option<u32> {
        let few = few.get_or_insert_with(|| {
            let mut few = self.work.clients.clone();
            self.sort_few(&mut few, stage);
            few
        });
        few.pop()
    }

    /// The next one last.
    fn sort_few(&self, few: &mut Vec<u32>, stage: Stage) {
        few.retain(|client| self.is_able(*client, stage));
        few.sort_by(|a, b| self.precedence(*b, *a, stage));
    }

    fn woken_left(&self) -> usize {
        let left = |client: &&u32| self.clients.clients[**client].eligible;
        self.work.clients.iter().filter(left).count()
    }

    fn choose(&mut self, client: u32, pass: Pass) -> Option<Choice> {
        let row = &self.clients.clients[client];
        if !row.dirty && self.work.agents.is_empty() {
            return None;
        }
        if self.clients.frameworks[row.framework].demand_driven {
            self.choose_for_demands(client, pass)
        } else {
            self.choose_plain(client, pass)
        }
    }

    /// Charges a choice as offered.
    fn grant(&mut self, client: u32, choice: Choice) -> Option<Grant> {
        let Choice { agent, resources, want } = choice;
        let row = &mut self.agents.rows[agent];
        let (resources, simple) = match resources {
            None => (std::mem::take(&mut row.free), true),
            Some(resources) => {
                if !row.free.try_sub(&resources) {
                    return None;
                }
                (resources, false)
            }
        };
        let held = if simple { Held::plain(row.room.clone()) } else { Held::of(&resources) };
        let who = &mut self.clients.clients[client];
        let want =
            want.and_then(|(at, units)| who.wants.get(at).map(|w| (at, units, w.serial, w.id.clone())));
        who.offered.add(&held.scalars);
        self.clients.frameworks[who.framework].offered.add(&held.scalars);
        let first = row.holding(client).is_none();
        who.holdings += u32::from(first);
        if first && mutants::is(Mutant::OfferTwice) {
            row.free.add(&resources);
        }
        let holding = row.holding_mut(client);
        holding.offered.add(&resources);
        if let Some((_, units, serial, demand)) = &want {
            let (serial, demand, units) = (*serial, demand.clone(), *units);
            holding.grants.push(OpenGrant { serial, demand, units, resources: resources.clone() });
            *who.open_on.entry(agent).or_default() += 1;
            row.pick_from = after_picked(&resources, row.pick_from);
        }
        let (node, id) = (who.node, who.id.clone()?);
        let agent_id = row.id.clone()?;
        let empty = row.free.is_empty();
        // A guarantee may be fulfilled by what was reserved above: then more of what is kept for nobody is spare.
        // Or it counts for a role below only: then the guarantee above covers more for the others below.
        let required = held.has_reserved().then(|| self.roles.required().clone());
        self.charge(client, &held);
        self.work.slack_grew |= std::mem::take(&mut self.roles.credit_grew)
            || required.is_some_and(|required| required != *self.roles.required());
        self.touch_free(agent);
        if empty || self.is_unwanted(agent) {
            self.work.agents.remove(agent);
        }
        if self.filters.asked(client).has(agent) {
            self.work.answered.push((client, agent));
        }
        if let Some((at, units, ..)) = want {
            self.change_want(client, at, |want| want.open = want.open.saturating_add(units));
        }
        self.reorder();
        self.work.turn = self.work.turn.wrapping_add(1);
        let (units, demand) = want.map_or((0, None), |(_, units, _, demand)| (units, Some(demand)));
        let role = self.roles.nodes[node].role.clone()?;
        Some(Grant { framework: id, role, agent: agent_id, resources, demand, units })
    }

    /// Everything was looked at.
    fn settle(&mut self) {
        self.work.agents.reset();
        for client in std::mem::take(&mut self.work.clients) {
            self.clients.clients[client].dirty = false;
        }
        for (client, agent) in std::mem::take(&mut self.work.answered) {
            self.filters.offered(client, agent);
        }
        self.work.room_seen.clone_from(&self.room);
        self.work.required_seen.clone_from(self.roles.required());
    }
}

/// Where to go on picking integers: behind the last one picked, in the order of picking, which began at `from`.
fn after_picked(resources: &Resources, from: u64) -> u64 {
    let ranges = resources.portions().iter().flat_map(|portion| portion.amount.ranges());
    let pairs: Vec<(u64, u64)> = ranges.flat_map(|(_, ranges)| ranges.pairs()).copied().collect();
    let wrapped =
        pairs.iter().filter(|(first, _)| *first < from).map(|(_, last)| (*last).min(from - 1)).max();
    let last = wrapped.or_else(|| pairs.iter().map(|(_, last)| *last).max());
    last.map_or(from, |last| last.saturating_add(1))
}
