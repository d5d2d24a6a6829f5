//! All that waits, by reason: each kind of demand is looked into once, and one change is sought that serves most.

use std::collections::{BTreeMap, BTreeSet};

use proto::demand::Demand;
use proto::explain::{Remedy, RemedyKind, RemedyStep, Verdict, Waiting, WaitingGroup};
use proto::quota::{Limits, Quota};
use proto_machine::Instant;

use super::ask::{Ask, Lift};
use super::outside::Outside;
use super::tries::{Try, quota_command, step};
use super::verdict::{About, Said};
use super::{Pictures, Question};
use crate::Allocator;
use crate::change::Change;

/// Agents that are looked at for all verdicts together, counting an agent once for each kind of demand: a thousand kinds
/// of demands in a pool of a thousand agents. `tests-bench explain` measures what that costs.
const LOOKS_MAX: usize = 1_000_000;

/// Changes that are tried for all that waits.
const CHANGES_MAX: usize = 6;

/// A demand that is not met.
#[derive(Clone, Copy)]
pub(super) struct Waiter<'p> {
    pub framework: u32,
    /// `None`: the framework takes no offers in the demand's role.
    pub client: Option<u32>,
    pub demand: &'p Demand,
    /// Units that are neither offered nor about to be.
    pub missing: u64,
    pub since: Option<Instant>,
}

/// Demands with one of these are answered alike: of one client, or, where nothing of the client's own stands between, of
/// one role; of one shape.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    OfClient(u32, u32),
    OfRole(u32, u32),
    /// In a role in which the framework takes no offers.
    Nowhere(u32),
}

/// One kind of demand: who waits, and why if it was looked into.
pub(super) struct Looked<'p> {
    pub waiters: Vec<Waiter<'p>>,
    pub said: Option<Said>,
}

impl Allocator {
    /// All that waits. Its cost is bounded like that of one explanation: kinds of demands beyond the bound are counted
    /// and not looked into.
    pub fn waiting(&self, outside: &Outside<'_>, now: Instant) -> Waiting {
        self.with_pictures(outside, now, |pictures, question| pictures.all_waiting(question))
    }
}

impl Pictures<'_> {
    fn all_waiting(&self, question: Question<'_>) -> Waiting {
        let looked = self.look_into(self.waiters(|_, _| true), question);
        let age = |since: Option<Instant>| {
            since.map_or(0, |at| u64::try_from(question.now.since(at).as_millis()).unwrap_or(u64::MAX))
        };
        let mut all = Waiting::default();
        let mut by_code: BTreeMap<Verdict, Vec<&Looked<'_>>> = BTreeMap::new();
        let (mut by_framework, mut by_role) = (Tally::default(), Tally::default());
        for one in &looked {
            for waiter in &one.waiters {
                all.demands += 1;
                all.units += waiter.missing;
                all.oldest_ms = all.oldest_ms.max(age(waiter.since));
                by_framework.add(self.name(waiter.framework, question), waiter.missing);
                by_role.add(waiter.demand.role.to_string(), waiter.missing);
            }
            match &one.said {
                Some(said) => by_code.entry(said.verdict).or_default().push(one),
                None => all.unexamined += one.waiters.len() as u64,
            }
        }
        (all.worst_framework, all.worst_role) = (by_framework.most(), by_role.most());
        all.groups =
            by_code.iter().map(|(verdict, kinds)| self.group(*verdict, kinds, question, age)).collect();
        all.groups.sort_by(|a, b| b.units.cmp(&a.units).then_with(|| a.code.cmp(&b.code)));
        let clients = &self.settled.clients;
        let undeclared = clients.frameworks.iter().filter(|(_, row)| row.active && !row.demand_driven);
        all.undeclared = undeclared.count() as u64;
        self.seek_best(&looked, question, &mut all);
        all
    }

    /// The demands that miss something after the next allocation, of those that are asked about.
    pub(super) fn waiters(&self, asked: impl Fn(u32, &Demand) -> bool) -> Vec<Waiter<'_>> {
        let clients = &self.settled.clients;
        let mut all = Vec::new();
        for framework in clients.by_id.values().copied() {
            let row = &clients.frameworks[framework];
            if !row.here || !row.demand_driven {
                continue;
            }
            for demand in row.demands.iter().filter(|demand| asked(framework, demand)) {
                let client = self.client_of(framework, demand);
                let want = client.and_then(|client| {
                    let who = &clients.clients[client];
                    who.by_demand.get(&demand.id).and_then(|at| who.wants.get(*at as usize))
                });
                let taken = client.is_some_and(|client| clients.clients[client].subscribed);
                let (missing, since) = match want {
                    Some(want) => (want.missing(), Some(want.since)),
                    None if taken => (0, None),
                    None => (demand.count, None),
                };
                if missing > 0 && !demand.shape.is_empty() {
                    let client = client.filter(|_| want.is_some());
                    all.push(Waiter { framework, client, demand, missing, since });
                }
            }
        }
        all
    }

    /// Finds the verdict of each kind of demand, those that miss most first.
    pub(super) fn look_into<'p>(&self, waiters: Vec<Waiter<'p>>, question: Question<'_>) -> Vec<Looked<'p>> {
        let mut kinds: BTreeMap<Kind, Vec<Waiter<'p>>> = BTreeMap::new();
        for waiter in waiters {
            kinds.entry(self.kind(&waiter)).or_default().push(waiter);
        }
        let mut kinds: Vec<Vec<Waiter<'p>>> = kinds.into_values().collect();
        let units = |waiters: &Vec<Waiter<'_>>| waiters.iter().map(|waiter| waiter.missing).sum::<u64>();
        kinds.sort_by_key(|waiters| std::cmp::Reverse(units(waiters)));
        let agents = question.agents.active.len() + question.agents.away.len();
        let most = LOOKS_MAX / agents.max(1);
        let looked = kinds.into_iter().enumerate().map(|(at, waiters)| {
            let first = waiters.first().copied().filter(|_| at < most);
            let said = first.map(|first| self.why(&first, question));
            Looked { waiters, said }
        });
        looked.collect()
    }

    fn kind(&self, waiter: &Waiter<'_>) -> Kind {
        let settled = self.settled;
        let Some(client) = waiter.client else { return Kind::Nowhere(waiter.framework) };
        let who = &settled.clients.clients[client];
        let shape = who.by_demand.get(&waiter.demand.id).and_then(|at| who.wants.get(*at as usize));
        let shape = shape.map_or(u32::MAX, |want| want.shape);
        let own = settled.filters.count(client) > 0
            || !who.eligible
            || !who.offered.is_zero()
            || self.grants.iter().any(|grant| who.id.as_ref() == Some(&grant.framework))
            || !settled.may_hold(waiter.framework);
        if own { Kind::OfClient(client, shape) } else { Kind::OfRole(who.node, shape) }
    }

    fn why(&self, waiter: &Waiter<'_>, question: Question<'_>) -> Said {
        let ask = self.ask(waiter, question);
        ask.map_or_else(
            || {
                let words = format!("the framework takes no offers in role {}", waiter.demand.role);
                Said::new(Verdict::Suppressed, words)
            },
            |ask| self.verdict(&ask),
        )
    }

    fn ask<'a>(&self, waiter: &Waiter<'a>, question: Question<'a>) -> Option<Ask<'a>> {
        let client = waiter.client?;
        let Question { agents, outside, now } = question;
        Ask::new(self.settled, agents, (client, Some(waiter.demand)), outside, now)
    }

    fn group(
        &self,
        verdict: Verdict,
        kinds: &[&Looked<'_>],
        question: Question<'_>,
        age: impl Fn(Option<Instant>) -> u64,
    ) -> WaitingGroup {
        let all = || kinds.iter().flat_map(|one| one.waiters.iter().map(move |waiter| (*one, waiter)));
        let (mut by_framework, mut by_role) = (Tally::default(), Tally::default());
        for (_, waiter) in all() {
            by_framework.add(self.name(waiter.framework, question), waiter.missing);
            by_role.add(waiter.demand.role.to_string(), waiter.missing);
        }
        let oldest = all().max_by_key(|(_, waiter)| age(waiter.since));
        let frameworks: BTreeSet<u32> = all().map(|(_, waiter)| waiter.framework).collect();
        WaitingGroup {
            code: verdict.code().to_owned(),
            demands: all().count() as u64,
            units: all().map(|(_, waiter)| waiter.missing).sum(),
            frameworks: frameworks.len() as u64,
            oldest_ms: all().map(|(_, waiter)| age(waiter.since)).max().unwrap_or(0),
            framework: by_framework.most(),
            role: by_role.most(),
            example: oldest.map_or_else(String::new, |(_, waiter)| {
                format!("{}/{}", self.name(waiter.framework, question), waiter.demand.id)
            }),
            verdict: oldest
                .and_then(|(one, _)| one.said.as_ref())
                .map_or_else(String::new, |said| said.words.clone()),
        }
    }

    /// Tries one change for each reason, those that hold up most first, and keeps the one that serves most.
    fn seek_best(&self, looked: &[Looked<'_>], question: Question<'_>, all: &mut Waiting) {
        let mut reasons: BTreeMap<(Verdict, &About), (u64, &Looked<'_>)> = BTreeMap::new();
        for one in looked {
            let Some(said) = &one.said else { continue };
            let units: u64 = one.waiters.iter().map(|waiter| waiter.missing).sum();
            // Kinds come with the largest first: it stands for the others of its reason.
            reasons.entry((said.verdict, &said.about)).or_insert((0, one)).0 += units;
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, (units, _))| std::cmp::Reverse(*units));
        for ((verdict, about), (_, one)) in reasons.into_iter().take(CHANGES_MAX) {
            let ask = one.waiters.first().and_then(|waiter| self.ask(waiter, question));
            let Some(change) = self.change_for(verdict, about, ask.as_ref(), question) else { continue };
            if !self.budget.spend() {
                return;
            }
            let mut copy = self.settled.clone();
            if !change.changes.into_iter().all(|one| copy.apply(change.at, one)) {
                continue;
            }
            all.tried += 1;
            let grants = copy.allocate(change.at);
            let served = grants.iter().filter_map(|grant| Some((&grant.framework, grant.demand.as_ref()?)));
            let demands = served.collect::<BTreeSet<_>>().len() as u64;
            let units: u64 = grants.iter().map(|grant| grant.units).sum();
            if units > all.best_units {
                let (steps, helps) = (change.steps, true);
                let outcome = format!("{units} units of {demands} demands are offered");
                let code = Verdict::Served.code().to_owned();
                all.best = Some(Remedy { steps, helps, outcome, code });
                (all.best_demands, all.best_units) = (demands, units);
            }
        }
    }

    /// The change that would take a reason away for everybody.
    fn change_for(
        &self,
        verdict: Verdict,
        about: &About,
        ask: Option<&Ask<'_>>,
        question: Question<'_>,
    ) -> Option<Try> {
        let (settled, now) = (self.settled, question.now);
        match (verdict, about) {
            (Verdict::QuotaLimit, About::Role(role)) => {
                let row = &settled.roles.nodes[settled.roles.find(role)?];
                let quota = Quota { guarantees: row.guarantee.clone(), limits: Limits::default() };
                let said = RemedyStep {
                    command: quota_command(role, &quota),
                    role: Some(role.clone()),
                    ..step(RemedyKind::Limit, format!("without the limits of role {role}"))
                };
                Some(Try::new(now, said, vec![Change::QuotaSet { role: role.clone(), quota }]))
            }
            (Verdict::QuotaHeadroom, About::Role(role)) => {
                Some(settled.without_guarantee(now, role, settled.roles.find(role)?))
            }
            (Verdict::Reserved, About::Role(role)) => {
                let on = settled.roles.nodes[settled.roles.find(role)?].reserved_on.iter();
                let all = on.filter_map(|agent| settled.unreserve(now, *agent, |kept| kept == role));
                let changes: Vec<Change> = all.flat_map(|one| one.changes).collect();
                let words = format!("when what is free and reserved for role {role} is reserved no more");
                let said = RemedyStep { role: Some(role.clone()), ..step(RemedyKind::Unreserve, words) };
                (!changes.is_empty()).then(|| Try::new(now, said, changes))
            }
            (Verdict::AgentDraining | Verdict::AgentDisconnected, About::Agent(id)) => {
                let host = settled.hostname(settled.agents.find(id)?);
                Some(settled.back(now, id.clone(), &host, (question.outside.away)(id), None))
            }
            (Verdict::AgentUnreachable, About::Agent(id)) => {
                let absent = question.outside.absent.iter().find(|absent| absent.info.id == *id)?;
                let why = super::outside::Away { linked: false, drains: absent.drains };
                Some(settled.back(now, id.clone(), &absent.info.hostname, why, Some(absent)))
            }
            (
                Verdict::Disconnected
                | Verdict::Suppressed
                | Verdict::Filtered
                | Verdict::Offered
                | Verdict::HoldsTooMuch,
                About::Framework(id),
            ) => {
                let name = (question.outside.name)(id);
                let about = |kind, words| RemedyStep { framework: Some(id.clone()), ..step(kind, words) };
                Some(match verdict {
                    Verdict::Disconnected => Try::new(
                        now,
                        about(RemedyKind::Connect, format!("when {name} connects")),
                        vec![Change::FrameworkActive { id: id.clone(), active: true }],
                    ),
                    Verdict::Offered | Verdict::HoldsTooMuch => {
                        let words = format!("when {name} declines the offers it holds");
                        settled.declines_all(now, settled.clients.find(id)?, id, &words)?
                    }
                    _ => Try::new(
                        now,
                        about(RemedyKind::Revive, format!("when {name} revives its roles")),
                        vec![Change::Revive { framework: id.clone(), roles: Vec::new() }],
                    ),
                })
            }
            (Verdict::NoRoom, _) => settled.one_like(now, settled.fits(ask?, Lift::ALL)?),
            (Verdict::NoAgents | Verdict::Constraints | Verdict::TooLarge, _) => settled.one_with_that(ask?),
            _ => None,
        }
    }
}

/// Sums by name.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

// === impl Tally ===

impl Tally {
    fn add(&mut self, name: String, units: u64) {
        *self.0.entry(name).or_default() += units;
    }

    /// The name with the largest sum, the first of them by name; empty when there is none.
    fn most(&self) -> String {
        let largest = self.0.values().max();
        let of_that = self.0.iter().find(|(_, units)| Some(*units) == largest);
        of_that.map_or_else(String::new, |(name, _)| name.clone())
    }
}
