//! The funnel: how many agents each rule leaves over, with names behind each number.

use std::collections::BTreeMap;

use proto::explain::FunnelStep;
use proto::resources::Amount;

use super::ask::{Ask, Lift};
use super::near::lacking;
use crate::Allocator;

/// The agents that are left, and the steps so far.
struct Funnel<'a> {
    picture: &'a Allocator,
    left: Vec<u32>,
    steps: Vec<FunnelStep>,
}

/// Some of the names, and how many more there are.
pub(super) fn some<T: Copy>(all: &[T], name: impl Fn(T) -> String) -> (Vec<String>, u64) {
    let shown = all.iter().take(FunnelStep::NAMES_MAX).map(|one| name(*one)).collect();
    (shown, all.len().saturating_sub(FunnelStep::NAMES_MAX) as u64)
}

// === impl Funnel ===

impl Funnel<'_> {
    fn step(&mut self, name: &str, stays: impl Fn(u32) -> bool) {
        let (left, gone): (Vec<u32>, Vec<u32>) = self.left.iter().copied().partition(|agent| stays(*agent));
        self.left = left;
        let (fell_out, more) = some(&gone, |agent| self.picture.hostname(agent));
        let (names, _) = some(&self.left, |agent| self.picture.hostname(agent));
        let (name, left) = (name.to_owned(), self.left.len() as u64);
        self.steps.push(FunnelStep { name, left, fell_out, more, names });
    }
}

impl Allocator {
    /// How many agents each rule leaves over, in the order `all`, `alive`, `not-draining`, `role`, `filters`,
    /// `constraints`, then each resource of the shape (`room` for plain offers), then `quota` and `hold` if some agent
    /// came so far.
    pub(super) fn funnel(&self, ask: &Ask<'_>) -> Vec<FunnelStep> {
        let mut all: Vec<u32> = ask.agents.active.iter().chain(&ask.agents.away).copied().collect();
        all.sort_by(|a, b| self.agents.rows[*a].id.cmp(&self.agents.rows[*b].id));
        let mut funnel = Funnel { picture: self, left: all, steps: Vec::new() };
        let away = |agent: u32| {
            let row = &self.agents.rows[agent];
            row.id.as_ref().filter(|_| !row.active).map(|id| (ask.outside.away)(id))
        };
        funnel.step("all", |_| true);
        // Which of the two keeps an agent away that is connected and does not drain, nobody has said yet.
        funnel.step("alive", |agent| away(agent).is_none_or(|away| away.linked && away.drains));
        self.count_absent(ask, &mut funnel.steps);
        funnel.step("not-draining", |agent| away(agent).is_none());
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
        if !ask.constraints().0.is_empty() {
            funnel.step("constraints", |agent| ask.refusals(self, agent).next().is_none());
        }
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

    /// Agents out of sight are in no picture, and people count them: they are known, and not alive.
    fn count_absent(&self, ask: &Ask<'_>, steps: &mut [FunnelStep]) {
        let [all, alive] = steps else { return };
        let absent = ask.outside.absent;
        all.left += absent.len() as u64;
        for agent in absent {
            let name = &agent.info.hostname;
            if all.names.len() < FunnelStep::NAMES_MAX {
                all.names.push(name.clone());
            }
            match alive.fell_out.len() < FunnelStep::NAMES_MAX {
                true => alive.fell_out.push(name.clone()),
                false => alive.more += 1,
            }
        }
    }
}
