//! The funnel: how many agents each rule leaves over, with names behind each number.

use std::collections::BTreeMap;

use proto::explain::FunnelStep;
use proto::resources::{Amount, Resources};

use super::ask::{Ask, Lift};
use super::near::lacking;
use crate::Allocator;
use crate::carve;

/// The agents that are left, and the steps so far.
struct Funnel<'a> {
    picture: &'a Allocator,
    left: Vec<u32>,
    steps: Vec<FunnelStep>,
}

// === impl Funnel ===

impl Funnel<'_> {
    fn step(&mut self, name: &str, stays: impl Fn(u32) -> bool) {
        let mut fell_out = Vec::new();
        let picture = self.picture;
        self.left.retain(|agent| {
            let stays = stays(*agent);
            if !stays && fell_out.len() < FunnelStep::NAMES_MAX {
                fell_out.push(picture.hostname(*agent));
            }
            stays
        });
        self.steps.push(FunnelStep { name: name.to_owned(), left: self.left.len() as u64, fell_out });
    }
}

impl Allocator {
    /// How many agents each rule leaves over, in the order `all`, `active`, `constraints`, `role`, `filters`, then each
    /// resource of the shape (`room` for plain offers), then `quota` and `hold` if some agent came so far.
    pub(super) fn funnel(&self, ask: &Ask<'_>) -> Vec<FunnelStep> {
        let all = self.agents.by_id.values().copied().collect();
        let mut funnel = Funnel { picture: self, left: all, steps: Vec::new() };
        funnel.step("all", |_| true);
        funnel.step("active", |agent| self.agents.rows[agent].active);
        if ask.demand.is_some_and(|demand| !demand.constraints.0.is_empty()) {
            funnel.step("constraints", |agent| ask.refusals(self, agent).next().is_none());
        }
        // Who falls out here is large enough but for what is reserved for others.
        funnel.step("role", |agent| {
            let total = &self.agents.rows[agent].total;
            let whole = self.usable(ask, total);
            match ask.demand {
                Some(demand) => {
                    lacking(&whole, &demand.shape).is_empty()
                        || !lacking(&total.flatten(), &demand.shape).is_empty()
                }
                None => self.config.is_enough(&whole.scalars) || !self.config.is_enough(&total.quantities()),
            }
        });
        funnel.step("filters", |agent| !self.is_declined(ask, agent));
        let free: BTreeMap<u32, Amount> = funnel
            .left
            .iter()
            .map(|agent| (*agent, self.usable(ask, &self.agents.rows[*agent].free)))
            .collect();
        match ask.demand {
            Some(demand) => {
                for (scalar, wanted) in demand.shape.scalars.iter() {
                    funnel.step(scalar.name(), |agent| free[&agent].scalars.get(&scalar) >= wanted);
                }
                for (name, wanted) in demand.shape.ranges() {
                    funnel.step(name, |agent| free[&agent].range(name).count() >= wanted.count());
                }
                for (name, items) in demand.shape.sets() {
                    let has =
                        |all: &Amount| all.sets().iter().any(|(n, have)| n == name && items.is_subset(have));
                    funnel.step(name, |agent| has(&free[&agent]));
                }
            }
            None => funnel.step("room", |agent| self.config.is_enough(&free[&agent].scalars)),
        }
        if !funnel.left.is_empty() {
            funnel.step("quota", |agent| self.would_do(ask, agent, Lift::NOTHING));
        }
        if !funnel.left.is_empty() {
            let may_hold = self.may_hold(self.clients.clients[ask.client].framework);
            funnel.step("hold", |_| may_hold);
        }
        funnel.steps
    }

    /// What the role may have of some resources; for demands without volumes, which come on top of what is asked for.
    pub(super) fn usable(&self, ask: &Ask<'_>, resources: &Resources) -> Amount {
        let mut sum = Amount::default();
        let counts = |volume: bool| !volume || ask.demand.is_none();
        for portion in resources.portions().iter().filter(|portion| counts(portion.volume.is_some())) {
            if portion.reservation.as_ref().is_none_or(|kept| ask.role.is_within(kept)) {
                sum.add(&portion.amount);
            }
        }
        sum
    }

    /// Whether the framework declined what is asked for.
    pub(super) fn is_declined(&self, ask: &Ask<'_>, agent: u32) -> bool {
        let declined = self.filters.declined(ask.client, agent).filter(|(_, until)| *until > ask.now);
        declined.is_some_and(|(declined, _)| match ask.demand {
            Some(_) => carve::covers(declined, &ask.shape),
            None => carve::all_declined(&self.agents.rows[agent].free, Some(&ask.role), declined),
        })
    }
}
