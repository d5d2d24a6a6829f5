//! The rules as the documentation states them, for one client and one agent at a time: what the oracle judges by.

use std::collections::{BTreeMap, BTreeSet};

use proto::demand::Demand;
use proto::id::AgentId;
use proto::quantities::{Quantities, Scalar};
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;

use crate::model::{Client, Model};
use crate::precedence::unreserved;

/// A round of turns: guarantees or fair share, and whether agents count that others were to have first.
pub type Round = (bool, bool);

pub const ROUNDS: [Round; 4] = [(true, false), (true, true), (false, false), (false, true)];

/// What may still be taken: bounds on what is not reserved at a depth, and on what is kept for nobody.
struct Budget {
    limits: Vec<(usize, BTreeMap<Scalar, u64>)>,
    headroom: BTreeMap<Scalar, u64>,
}

impl Budget {
    fn take(&mut self, depth: usize, wanted: &Quantities) -> Quantities {
        let mut taken = wanted.clone();
        let headroom = (depth == 0).then_some(&mut self.headroom);
        let levels = self.limits.iter_mut().filter(|(at, _)| *at > depth).map(|(_, bounds)| bounds);
        let mut bounds: Vec<&mut BTreeMap<Scalar, u64>> = levels.chain(headroom).collect();
        for (scalar, amount) in wanted.iter() {
            let least = bounds.iter().filter_map(|b| b.get(&scalar)).min().copied().unwrap_or(u64::MAX);
            taken.set(&scalar, amount.min(least));
            for bound in bounds.iter_mut().filter_map(|b| b.get_mut(&scalar)) {
                *bound -= amount.min(least);
            }
        }
        taken
    }

    fn has(&self, depth: usize, wanted: &Quantities) -> bool {
        let copy = Budget { limits: self.limits.clone(), headroom: self.headroom.clone() };
        { copy }.take(depth, wanted) == *wanted
    }
}

fn depth(portion: &Portion) -> usize {
    portion.reservation.as_ref().map_or(0, |role| role.names().count())
}

impl Model {
    fn budget(&self, role: &Role, roles: &BTreeSet<Role>, guarantees_only: bool) -> Budget {
        let path = std::iter::successors(Some(role.clone()), Role::parent);
        let limits = path.filter_map(|at| {
            let quota = self.quotas.get(&at)?;
            let consumed = self.consumed(&at, None);
            let left =
                quota.limits.0.iter().map(|(s, limit)| (s.clone(), limit.saturating_sub(consumed.get(s))));
            Some((at.names().count(), left.collect()))
        });
        Budget { limits: limits.collect(), headroom: self.headroom(role, roles, guarantees_only) }
    }

    fn usable<'a>(&self, free: &'a Resources, role: &Role) -> Vec<&'a Portion> {
        let mine = |p: &&Portion| p.reservation.as_ref().is_none_or(|kept| role.is_within(kept));
        free.portions().iter().rev().filter(mine).collect()
    }

    /// The plain offer a client would get of an agent, whatever it declined.
    fn plain_offer(
        &self,
        role: &Role,
        agent: &AgentId,
        roles: &BTreeSet<Role>,
        guarantees: bool,
    ) -> Resources {
        let (free, mut budget) = (self.free(agent), self.budget(role, roles, guarantees));
        let mut offer = Resources::EMPTY;
        for portion in self.usable(&free, role) {
            let mut part = portion.clone();
            if part.volume.is_none() {
                part.amount.scalars = budget.take(depth(portion), &portion.amount.scalars);
            } else if budget.has(depth(portion), &portion.amount.scalars) {
                budget.take(depth(portion), &portion.amount.scalars);
            } else {
                continue;
            }
            offer.add_portion(&part);
        }
        offer
    }

    fn helps(&self, role: &Role, roles: &BTreeSet<Role>, scalars: &Quantities) -> bool {
        let required = self.missing(None, roles, None);
        scalars.iter().any(|(scalar, _)| {
            let mut extra = Quantities::ZERO;
            extra.set(&scalar, u64::MAX / 4);
            self.missing(None, roles, Some((role, &extra))).get(&scalar) < required.get(&scalar)
        })
    }

    /// The plain offer that is due to a client in a round.
    pub fn due_plain(
        &self,
        client: &Client,
        roles: &BTreeSet<Role>,
        round: Round,
    ) -> Option<(AgentId, Resources)> {
        let (guarantees, second) = round;
        if !self.may_hold(client, &Quantities::ZERO) {
            return None;
        }
        for agent in self.slots.iter().flatten() {
            let key = (client.clone(), agent.clone());
            if !self.agents[agent].active || (!second && self.asked.contains(&key)) {
                continue;
            }
            let offer = self.plain_offer(&client.1, agent, roles, guarantees);
            let scalars = offer.quantities();
            let declined = self
                .filters
                .get(&key)
                .is_some_and(|pieces| pieces.iter().any(|(declined, _)| declined.contains(&offer)));
            let open = unreserved(&offer).into_iter().fold(Quantities::ZERO, |mut all, q| {
                all.add(&q);
                all
            });
            if !self.is_enough(&scalars) || declined || (guarantees && !self.helps(&client.1, roles, &open)) {
                continue;
            }
            return Some((agent.clone(), offer));
        }
        None
    }

    /// Whether a framework may be offered more when it holds so much more than it does.
    pub fn may_hold(&self, client: &Client, more: &Quantities) -> bool {
        let mut sum = self.offered(&client.0);
        sum.add(more);
        let totals = self.totals();
        let share = u128::from(self.config.hold_share_milli);
        let below =
            sum.iter().all(|(s, amount)| u128::from(amount) * 1000 < u128::from(totals.get(&s)) * share);
        below || share >= 1000 || !self.has_rival(client)
    }

    pub fn has_rival(&self, client: &Client) -> bool {
        self.clients().iter().any(|other| {
            let declined = self.filters.keys().filter(|(c, _)| c == other).count();
            other.0 != client.0
                && self.is_eligible(other)
                && (self.frameworks[&other.0].driven || declined < self.agents.len())
        })
    }

    /// Whether an agent could hold one unit of a demand for a client now; `units` of it exactly.
    pub fn fits(
        &self,
        client: &Client,
        demand: &Demand,
        agent: &AgentId,
        roles: &BTreeSet<Role>,
        units: u64,
    ) -> bool {
        let row = &self.agents[agent];
        let mut budget = self.budget(&client.1, roles, false);
        let free = self.free(agent);
        let mut missing = demand.shape.scalars.times(units);
        let mut all = Amount::default();
        for portion in self.usable(&free, &client.1).into_iter().filter(|p| p.volume.is_none()) {
            let taken = budget.take(depth(portion), &missing.min(&portion.amount.scalars));
            missing.sub(&taken);
            all.add(&portion.amount);
        }
        let has = |name: &str, n: u64| all.range(name).count() >= n * units;
        row.active
            && demand.constraints.allow(&row.info)
            && missing.is_zero()
            && demand.shape.ranges().iter().all(|(name, ranges)| has(name, ranges.count()))
            && demand.shape.sets().iter().all(|(name, items)| {
                units == 1 && all.sets().iter().any(|(n, have)| n == name && items.is_subset(have))
            })
    }

    /// Whether the client would take units of a demand from the agent in this round.
    pub fn is_refused(&self, client: &Client, demand: &Demand, agent: &AgentId, round: Round) -> bool {
        let key = (client.clone(), agent.clone());
        let covers = |declined: &Resources| {
            let all = declined.flatten();
            all.scalars.contains(&demand.shape.scalars)
                && demand.shape.ranges().iter().all(|(n, r)| all.range(n).count() >= r.count())
                && demand.shape.sets().iter().all(|(n, items)| {
                    all.sets().iter().any(|(name, have)| name == n && items.is_subset(have))
                })
        };
        (!round.1 && self.asked.contains(&key))
            || self.filters.get(&key).is_some_and(|pieces| pieces.iter().any(|(d, _)| covers(d)))
    }

    /// The demand that a client is due to be served for in a round, with the agents that would do.
    pub fn due_demand(
        &self,
        client: &Client,
        roles: &BTreeSet<Role>,
        round: Round,
    ) -> Option<(Demand, u64, u64, Vec<AgentId>)> {
        for (want, missing) in self.wants(client) {
            let demand = &want.demand;
            let stage = !round.0 || self.helps(&client.1, roles, &demand.shape.scalars);
            if missing == 0 || !stage || !self.may_hold(client, &Quantities::ZERO) {
                continue;
            }
            let good = |agent: &&AgentId| {
                self.fits(client, demand, agent, roles, 1) && !self.is_refused(client, demand, agent, round)
            };
            let agents: Vec<AgentId> = self.agents.keys().filter(good).cloned().collect();
            if !agents.is_empty() {
                return Some((demand.clone(), want.serial, missing, agents));
            }
        }
        None
    }
}
