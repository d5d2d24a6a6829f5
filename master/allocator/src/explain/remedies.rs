//! What would help: each change is made on a copy of the picture, which then allocates. Only where the offer came it helps.

use std::cell::Cell;

use proto::demand::Demand;
use proto::explain::{NearMiss, Remedy, RemedyStep, Verdict};
use proto_machine::Instant;

use super::Pictures;
use super::ask::{Agents, Ask};
use super::tries::Try;
use super::verdict::Said;
use crate::Allocator;
use crate::allocate::Grant;

/// Tries at most, for all demands of one question together.
const TRIES_MAX: usize = 8;

/// Each try copies the whole picture, and the leader does nothing else meanwhile: all tries together copy so many agents at
/// most, so that a question never costs the lead.
const COPIED_MAX: usize = 20_000;

/// So many filters cost a try as much as one agent.
const FILTERS_AS_AGENT: usize = 8;

/// Changes that are made one after another where none helps alone.
const TOGETHER_MAX: usize = 3;

/// How many tries one question still has.
pub(super) struct Budget(Cell<usize>);

/// A try that did not help: the copy with the change made, and what stands in the way there.
struct Failed {
    copy: Allocator,
    steps: Vec<RemedyStep>,
    at: Instant,
    code: String,
}

/// Everything that was tried for one answer.
#[derive(Default)]
pub(super) struct Tried {
    pub remedies: Vec<Remedy>,
    /// How much more there was to try when the budget was spent.
    pub untried: u64,
}

// === impl Budget ===

impl Budget {
    /// As many tries as may be made of a picture: in a large pool few, in a huge one none.
    pub fn of(picture: &Allocator) -> Self {
        let weight = picture.agents.rows.count() + picture.filters.all_count() / FILTERS_AS_AGENT;
        Budget(Cell::new(TRIES_MAX.min(COPIED_MAX / weight.max(1))))
    }

    /// Spends one try, if there is one.
    pub fn spend(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

// === impl Tried ===

impl Tried {
    /// What helps, in words.
    pub fn help(&self) -> Vec<String> {
        let helps = self.remedies.iter().filter(|remedy| remedy.helps);
        helps.map(|remedy| format!("{}: then {}", remedy.change(), remedy.outcome)).collect()
    }

    fn helps(&self) -> bool {
        self.remedies.iter().any(|remedy| remedy.helps)
    }
}

impl Pictures<'_> {
    /// Everything that might help by itself, the smallest change first, as far as the budget goes. Where nothing does,
    /// what it leaves in the way is changed too.
    pub(super) fn remedies(&self, ask: &Ask<'_>, said: &Said, nearest: &[NearMiss]) -> Tried {
        let mut tried = Tried::default();
        let tries = self.tries(ask, said, nearest);
        let mut failed = self.try_all((self.settled, ask), tries, &[], &mut tried);
        for _ in 1..TOGETHER_MAX {
            if tried.helps() {
                break;
            }
            // Whoever still meets the same rule has not come nearer.
            failed.retain(|one| one.code != said.verdict.code());
            let Some(next) = failed.into_iter().next() else { break };
            failed = self.go_on(ask, &next, &mut tried);
        }
        tried
    }

    /// Tries what might help after a change that did not.
    fn go_on(&self, ask: &Ask<'_>, from: &Failed, tried: &mut Tried) -> Vec<Failed> {
        let agents = Agents::of(&from.copy);
        let Some(ask) = asked_again(&from.copy, &agents, ask, from.at) else { return Vec::new() };
        let pictures = Pictures { before: &from.copy, settled: &from.copy, grants: &[], budget: self.budget };
        let said = pictures.verdict(&ask);
        let nearest = from.copy.nearest(&ask, said.verdict);
        let tries = pictures.tries(&ask, &said, &nearest);
        self.try_all((&from.copy, &ask), tries, &from.steps, tried)
    }

    fn try_all(
        &self,
        (settled, ask): (&Allocator, &Ask<'_>),
        tries: Vec<Try>,
        before: &[RemedyStep],
        tried: &mut Tried,
    ) -> Vec<Failed> {
        let mut failed = Vec::new();
        let count = tries.len();
        for (at, attempt) in tries.into_iter().enumerate() {
            if !self.budget.spend() {
                tried.untried += (count - at) as u64;
                break;
            }
            let base = if attempt.on_before { self.before } else { settled };
            let steps: Vec<RemedyStep> = before.iter().cloned().chain(attempt.steps).collect();
            let Some((copy, grant)) = try_out(base, ask, attempt.changes, attempt.at) else { continue };
            if let Some(grant) = grant {
                let host =
                    copy.agents.find(&grant.agent).map(|agent| copy.hostname(agent)).unwrap_or_default();
                let (outcome, code) = (format!("it is offered {host}"), Verdict::Served.code().to_owned());
                tried.remedies.push(Remedy { steps, helps: true, outcome, code });
                if !before.is_empty() {
                    break;
                }
                continue;
            }
            let agents = Agents::of(&copy);
            let said = asked_again(&copy, &agents, ask, attempt.at).map(|ask| {
                Pictures { before: &copy, settled: &copy, grants: &[], budget: self.budget }.verdict(&ask)
            });
            let (code, outcome) =
                said.map_or_else(Default::default, |said| (said.verdict.code().to_owned(), said.words));
            tried.remedies.push(Remedy { steps: steps.clone(), helps: false, outcome, code: code.clone() });
            // One copy is enough to go on from.
            if failed.is_empty() {
                failed.push(Failed { copy, steps, at: attempt.at, code });
            }
        }
        failed
    }
}

/// The same question on a copy, where the demand may have been changed.
fn asked_again<'a>(copy: &'a Allocator, agents: &'a Agents, ask: &Ask<'a>, at: Instant) -> Option<Ask<'a>> {
    let owner = copy.clients.clients[ask.client].framework;
    let demands = &copy.clients.frameworks[owner].demands;
    let same = |stated: &&Demand| ask.demand.is_some_and(|demand| demand.id == stated.id);
    let demand = demands.iter().find(same);
    if demand.is_none() && ask.demand.is_some() {
        return None;
    }
    Ask::new(copy, agents, (ask.client, demand), ask.outside, at)
}

/// Applies changes to a copy and allocates there; the grant that answers the ask. `None` when a change does not fit the
/// picture.
fn try_out(
    base: &Allocator,
    ask: &Ask<'_>,
    changes: Vec<crate::Change>,
    at: Instant,
) -> Option<(Allocator, Option<Grant>)> {
    let who = &base.clients.clients[ask.client];
    let framework = who.id.clone()?;
    let mut copy = base.clone();
    if !changes.into_iter().all(|change| copy.apply(at, change)) {
        return None;
    }
    let demand = ask.demand.map(|demand| &demand.id);
    let mine = |grant: &Grant| {
        grant.framework == framework && grant.role == ask.role && grant.demand.as_ref() == demand
    };
    let grant = copy.allocate(at).into_iter().find(mine);
    Some((copy, grant))
}
