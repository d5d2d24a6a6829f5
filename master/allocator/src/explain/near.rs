//! The nearest misses: the agents that lack least, and what else stands in the way there.

use proto::explain::{NearMiss, Verdict};
use proto::quantities::{Quantities, Scalar};
use proto::ranges::Ranges;
use proto::resources::Amount;

use super::ask::{Ask, Lift};
use crate::Allocator;

/// Misses shown.
const NEAREST_MAX: usize = 3;

/// Added to the distance of an agent that is away: among equals those that may be offered come first.
const AWAY: u64 = 1 << 31;

/// Added to the distance of an agent that would lack something even if it were empty.
const NEVER: u64 = 1 << 32;

impl Allocator {
    /// The agents that lack least; those that lack nothing are held back by another rule, which is named. Where the
    /// verdict is that even empty agents are too small, they are measured empty.
    pub(super) fn nearest(&self, ask: &Ask<'_>, verdict: Verdict) -> Vec<NearMiss> {
        if ask.candidates.is_empty() && ask.away.is_empty() {
            return self.nearly_meet(ask);
        }
        let least = ask.least(self);
        let mut nearest: Vec<(u64, u32, Amount)> = Vec::new();
        for agent in ask.candidates.iter().chain(ask.away.iter()) {
            let row = &self.agents.rows[*agent];
            let whole = self.missing(ask, &self.usable(ask, &row.total));
            let never = !whole.is_empty();
            let missing = match verdict {
                Verdict::TooLarge => whole,
                _ => self.missing(ask, &self.usable(ask, &row.free)),
            };
            let distance = distance(&missing, &least).saturating_add(match (never, row.active) {
                (true, _) => NEVER,
                (false, false) => AWAY,
                (false, true) => 0,
            });
            // Candidates come by id: among equals the smaller one stays.
            let at = nearest.partition_point(|(other, ..)| *other <= distance);
            if at < NEAREST_MAX {
                nearest.truncate(NEAREST_MAX - 1);
                nearest.insert(at, (distance, *agent, missing));
            }
        }
        let told = nearest.into_iter().filter_map(|(_, agent, lacking)| {
            let rule = self.rule(ask, agent, &lacking, verdict);
            self.miss(agent, lacking, rule)
        });
        told.collect()
    }

    /// Connected agents that fail the fewest constraints.
    fn nearly_meet(&self, ask: &Ask<'_>) -> Vec<NearMiss> {
        let mut agents: Vec<(usize, u32)> =
            ask.agents.active.iter().map(|agent| (ask.refusals(self, *agent).count(), *agent)).collect();
        agents.sort_by_key(|(failed, _)| *failed);
        let told = agents.into_iter().take(NEAREST_MAX).filter_map(|(_, agent)| {
            let unmet: Vec<String> = ask.refusals(self, agent).map(ToString::to_string).collect();
            self.miss(agent, Amount::default(), format!("constraint {}", unmet.join(", ")))
        });
        told.collect()
    }

    fn miss(&self, agent: u32, lacking: Amount, rule: String) -> Option<NearMiss> {
        let id = self.agents.rows[agent].id.clone()?;
        Some(NearMiss { agent: id, hostname: self.hostname(agent), lacking, rule })
    }

    /// What is missing of what is asked for.
    pub(super) fn missing(&self, ask: &Ask<'_>, have: &Amount) -> Amount {
        match ask.demand {
            Some(demand) => lacking(have, &demand.shape),
            None if self.config.is_enough(&have.scalars) => Amount::default(),
            None => Amount::scalars(have.scalars.lacking(&ask.least(self))),
        }
    }

    /// What stands in the way on one agent, in words.
    fn rule(&self, ask: &Ask<'_>, agent: u32, lacking: &Amount, verdict: Verdict) -> String {
        if verdict == Verdict::TooLarge {
            return "even when it is empty".to_owned();
        }
        let row = &self.agents.rows[agent];
        if let Some(id) = row.id.as_ref().filter(|_| !row.active) {
            return format!("it {}", (ask.outside.away)(id).words());
        }
        if let Some(until) = self.declined_until(ask, agent) {
            return format!("declined by the framework for {} s more", until.since(ask.now).as_secs() + 1);
        }
        if !lacking.is_empty() {
            let holdings = &self.agents.rows[agent].holdings;
            let ids = holdings.iter().filter_map(|holding| self.clients.clients[holding.client].id.as_ref());
            let mut names: Vec<String> = ids.map(ask.outside.name).collect();
            names.sort();
            names.dedup();
            names.truncate(3);
            return match names.is_empty() {
                true => "that is all it has for the role".to_owned(),
                false => format!("held by {}", names.join(", ")),
            };
        }
        let may_hold = self.may_hold(self.clients.clients[ask.client].framework);
        let does = |lift: Lift| self.would_do(ask, agent, lift);
        let rule = match () {
            () if !may_hold => "the framework holds as much as it may",
            () if does(Lift { limits: true, ..Lift::NOTHING }) => "a limit of the role, or of one above",
            () if does(Lift { headroom: true, ..Lift::NOTHING }) => "kept for guarantees",
            () => "several rules at once",
        };
        rule.to_owned()
    }
}

/// What `have` lacks of a shape, in which ranges mean "so many".
pub(super) fn lacking(have: &Amount, shape: &Amount) -> Amount {
    let mut lacking = Amount::scalars(have.scalars.lacking(&shape.scalars));
    for (name, wanted) in shape.ranges() {
        let missing = wanted.count().saturating_sub(have.range(name).count());
        if missing > 0 {
            lacking.set_range(name, Ranges::single(1, missing));
        }
    }
    for (name, items) in shape.sets() {
        let have = have.sets().iter().find(|(found, _)| found == name).map(|(_, have)| have);
        let missing = items.iter().filter(|item| !have.is_some_and(|have| have.contains(*item)));
        lacking.set_set(name, missing.cloned().collect());
    }
    lacking
}

/// How far from enough: the largest part that is missing, in millionths of what is wanted; ports and items count half.
fn distance(missing: &Amount, wanted: &Quantities) -> u64 {
    let part = |(scalar, amount): (Scalar, u64)| {
        let part = u128::from(amount) * 1_000_000 / u128::from(wanted.get(&scalar).max(1));
        u64::try_from(part).unwrap_or(u64::MAX >> 8)
    };
    let scalars = missing.scalars.iter().map(part).max().unwrap_or(0);
    let others = missing.ranges().len() + missing.sets().len();
    scalars.saturating_add(others as u64 * 500_000)
}
