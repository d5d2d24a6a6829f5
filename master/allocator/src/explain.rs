//! Why somebody waits: one verdict, the agents that fall out at each rule, the nearest misses, and what would help.
//!
//! Nothing here is guessed. A verdict names a rule without which an agent would do, found by leaving that rule out of the
//! same arithmetic that allocates. Each remedy was tried on a copy of the picture: the change was applied, the copy
//! allocated, and the grant came or did not. People ask for this, so it may walk over all agents; allocations never do.

mod agent;
mod ask;
mod funnel;
mod near;
mod outside;
mod remedies;
mod role;
mod supposed;
mod tries;
mod verdict;
mod waiting;

pub use outside::{Absent, Away, Outside, TaskUse};

use std::collections::BTreeMap;

use proto::demand::Demand;
use proto::explain::{Explanation, Verdict};
use proto::id::{DemandId, FrameworkId};
use proto::role::Role;
use proto_machine::Instant;

use crate::Allocator;
use crate::allocate::Grant;
use ask::{Agents, Ask};
use remedies::Budget;
use verdict::Said;

/// The pictures an answer is read from.
struct Pictures<'a> {
    /// As it is.
    before: &'a Allocator,
    /// With everything allocated that had changed; the same picture when nothing had.
    settled: &'a Allocator,
    /// What that gave.
    grants: &'a [Grant],
    /// What may be tried for the whole question.
    budget: &'a Budget,
}

/// What goes with every question.
#[derive(Clone, Copy)]
struct Question<'a> {
    agents: &'a Agents,
    outside: &'a Outside<'a>,
    now: Instant,
}

/// Demands of one framework that are told in full; who asks for one demand gets it so in any case.
const DETAILED_MAX: usize = 16;

/// What is said of the others.
const IN_SHORT: &str = "in short, because many wait: `stoa explain demand` has the rest of it";

/// What is said of a demand that the next allocation is the first to look at.
const TOO_NEW: &str = "it is newer than the last allocation: the answer says what the next one gives";

impl Allocator {
    /// Why a framework waits: for one of its demands, or for each; without demands, in each of its roles. Empty when
    /// the framework, or the demand, is not known, or the framework takes offers in no role. The answer holds from the
    /// next allocation on: what that will give is said as given.
    ///
    /// It runs on the thread that allocates, so its cost is bounded: the picture is copied at most nine times, once to
    /// settle what is due and eight times to try what would help, less in large pools, however many demands there are;
    /// who has many and wants all the help asks for one of them. Besides, each of the first sixteen demands that wait walks
    /// the agents, thirty times or so at worst; of the others each kind does once.
    pub fn explain(
        &self,
        framework: &FrameworkId,
        demand: Option<&DemandId>,
        outside: &Outside<'_>,
        now: Instant,
    ) -> Vec<Explanation> {
        let Some(index) = self.clients.find(framework).filter(|index| self.clients.frameworks[*index].here)
        else {
            return Vec::new();
        };
        self.with_pictures(outside, now, |pictures, question| {
            pictures.explain_framework(index, demand, question)
        })
    }

    /// Sets up the pictures for one question.
    fn with_pictures<T>(
        &self,
        outside: &Outside<'_>,
        now: Instant,
        answer: impl FnOnce(&Pictures<'_>, Question<'_>) -> T,
    ) -> T {
        let (mut copy, mut grants) = (None, Vec::new());
        if !self.work.is_idle() || self.wake_at().is_some_and(|at| at <= now) {
            grants = copy.insert(self.clone()).allocate(now);
        }
        let settled = copy.as_ref().unwrap_or(self);
        let budget = Budget::of(settled);
        let agents = Agents::of(settled);
        let pictures = Pictures { before: self, settled, grants: &grants, budget: &budget };
        answer(&pictures, Question { agents: &agents, outside, now })
    }
}

impl Pictures<'_> {
    fn explain_framework(
        &self,
        index: u32,
        demand: Option<&DemandId>,
        question: Question<'_>,
    ) -> Vec<Explanation> {
        let settled = self.settled;
        let row = &settled.clients.frameworks[index];
        let name = self.name(index, question);
        if !row.demand_driven {
            if demand.is_some() {
                return Vec::new();
            }
            let mut clients: Vec<(&Role, u32)> = (row.clients.iter())
                .filter(|(_, client)| settled.clients.clients[*client].subscribed)
                .filter_map(|(node, client)| Some((settled.roles.nodes[*node].role.as_ref()?, *client)))
                .collect();
            clients.sort_unstable();
            return clients
                .into_iter()
                .filter_map(|(_, client)| self.explain_plain(client, question))
                .collect();
        }
        if row.demands.is_empty() && demand.is_none() {
            let said = Said::new(Verdict::WantsNothing, "it declares no demand");
            return vec![plain(format!("framework {name}"), said)];
        }
        let asked: Vec<&Demand> =
            row.demands.iter().filter(|stated| demand.is_none_or(|id| stated.id == *id)).collect();
        if asked.len() <= DETAILED_MAX {
            return asked.into_iter().map(|stated| self.explain_stated(index, stated, question)).collect();
        }
        self.explain_many(index, &asked, question)
    }

    /// Of many demands only some are told with all that belongs to it; the others get their verdict as far as the work
    /// allowed for one question goes.
    fn explain_many(&self, index: u32, asked: &[&Demand], question: Question<'_>) -> Vec<Explanation> {
        let looked = self.look_into(self.waiters(|framework, _| framework == index), question);
        let mut verdicts = BTreeMap::new();
        for one in &looked {
            let waiters = one.waiters.iter().map(|waiter| (&waiter.demand.role, &waiter.demand.id));
            verdicts.extend(waiters.map(|waiter| (waiter, one.said.as_ref())));
        }
        let (mut all, mut detailed, mut left_out) = (Vec::new(), 0, 0);
        for stated in asked {
            match verdicts.get(&(&stated.role, &stated.id)) {
                Some(said) if detailed >= DETAILED_MAX => match said {
                    Some(said) => {
                        let mut answer = plain(self.subject(index, stated, question), (*said).clone());
                        answer.notes.push(IN_SHORT.to_owned());
                        all.push(answer);
                    }
                    None => left_out += 1,
                },
                waits => {
                    detailed += usize::from(waits.is_some());
                    all.push(self.explain_stated(index, stated, question));
                }
            }
        }
        if let Some(first) = all.first_mut().filter(|_| left_out > 0) {
            first
                .notes
                .push(format!("{left_out} more demands of the framework wait and were not looked into"));
        }
        all
    }

    fn subject(&self, framework: u32, demand: &Demand, question: Question<'_>) -> String {
        let Demand { id, role, shape, count, .. } = demand;
        format!("demand {id} of {}: {count} x {shape} in role {role}", self.name(framework, question))
    }

    fn name(&self, framework: u32, question: Question<'_>) -> String {
        let id = self.settled.clients.frameworks[framework].id.as_ref();
        id.map(question.outside.name).unwrap_or_default()
    }

    /// The client that a demand is of, if the framework takes offers in its role.
    fn client_of(&self, framework: u32, demand: &Demand) -> Option<u32> {
        let node = self.settled.roles.find(&demand.role)?;
        self.settled.clients.find_client(framework, node)
    }

    fn explain_stated(&self, framework: u32, demand: &Demand, question: Question<'_>) -> Explanation {
        let settled = self.settled;
        let subject = self.subject(framework, demand, question);
        let client = self.client_of(framework, demand);
        let ask = client.and_then(|client| {
            Ask::new(settled, question.agents, (client, Some(demand)), question.outside, question.now)
        });
        match ask {
            Some(ask) => self.explain_demand(&ask, demand, subject),
            None => {
                let words = format!("the framework takes no offers in role {}", demand.role);
                plain(subject, Said::new(Verdict::Suppressed, words))
            }
        }
    }

    fn explain_demand(&self, ask: &Ask<'_>, demand: &Demand, subject: String) -> Explanation {
        let told = |verdict, words: String| plain(subject.clone(), Said::new(verdict, words));
        // A demand for nothing is no want at all.
        let want = ask.want(self.settled).filter(|_| demand.count > 0 && !demand.shape.is_empty());
        let Some(want) = want else { return told(Verdict::WantsNothing, "it asks for nothing".to_owned()) };
        let (count, open) = (want.count, want.open);
        let waiting_ms = u64::try_from(ask.now.since(want.since).as_millis()).unwrap_or(u64::MAX);
        let mut answer = if self.grants.iter().any(|grant| self.is_for(grant, ask)) {
            told(Verdict::Served, "an offer for it is about to be made".to_owned())
        } else if count == 0 {
            return told(Verdict::Served, "it has all it asked for".to_owned());
        } else if open >= count {
            told(Verdict::Served, format!("offers for all {count} are open: the framework is to answer them"))
        } else {
            let mut answer = self.explain_ask(ask, subject);
            if open > 0 {
                answer.verdict = format!("{open} of {count} are offered; for the rest: {}", answer.verdict);
            }
            answer
        };
        // Served or not, a want that no allocation has looked at is answered from a copy.
        if self.before.work.clients.contains(&ask.client) {
            answer.notes.push(TOO_NEW.to_owned());
        }
        Explanation { waiting_ms, ..answer }
    }

    fn explain_plain(&self, client: u32, question: Question<'_>) -> Option<Explanation> {
        let ask = Ask::new(self.settled, question.agents, (client, None), question.outside, question.now)?;
        let who = &self.settled.clients.clients[client];
        let name = who.id.as_ref().map(question.outside.name).unwrap_or_default();
        let subject = format!("framework {name} in role {}", ask.role);
        let mut answer = if self.grants.iter().any(|grant| self.is_for(grant, &ask)) {
            plain(subject, Said::new(Verdict::Served, "an offer is about to be made"))
        } else if !who.offered.is_zero() {
            let words = format!("it has open offers of {} to answer", who.offered);
            plain(subject, Said::new(Verdict::Served, words))
        } else {
            self.explain_ask(&ask, subject)
        };
        answer.notes.push(
            "the framework declares no demands: what it waits for, or whether it does, is not known; the answer is why \
             it is offered nothing"
                .to_owned(),
        );
        Some(answer)
    }

    /// Whether a grant is one that is asked for.
    fn is_for(&self, grant: &Grant, ask: &Ask<'_>) -> bool {
        self.settled.clients.clients[ask.client].id.as_ref() == Some(&grant.framework)
            && grant.role == ask.role
            && grant.demand.as_ref() == ask.demand.map(|demand| &demand.id)
    }

    /// The whole answer for somebody who is offered nothing, or not enough.
    fn explain_ask(&self, ask: &Ask<'_>, subject: String) -> Explanation {
        let said = self.verdict(ask);
        let nearest = self.settled.nearest(ask, said.verdict);
        let tried = self.remedies(ask, &said, &nearest);
        let (funnel, help) = (self.settled.funnel(ask), tried.help());
        let untried = tried.untried;
        Explanation { funnel, nearest, help, tried: tried.remedies, untried, ..plain(subject, said) }
    }
}

/// Without funnel, misses and help: there is nothing to look for.
fn plain(subject: String, said: Said) -> Explanation {
    Explanation {
        subject,
        code: said.verdict.code().to_owned(),
        verdict: said.words,
        ..Explanation::default()
    }
}
