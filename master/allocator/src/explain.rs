//! Why somebody waits: one verdict, the agents that fall out at each rule, the nearest misses, and what would help.
//!
//! Nothing here is guessed. A verdict names a rule without which an agent would do, found by leaving that rule out of the
//! same arithmetic that allocates. Each line of help was tried on a copy of the picture: the change was applied, the
//! copy allocated, and the grant came. People ask for this, so it may walk over all agents; allocations never do.

mod ask;
mod funnel;
mod help;
mod near;
mod tries;
mod verdict;

use proto::demand::Demand;
use proto::explain::{Explanation, Verdict};
use proto::id::{DemandId, FrameworkId};
use proto::role::Role;
use proto_machine::Instant;

use crate::Allocator;
use crate::allocate::Grant;
use ask::Ask;
use help::Budget;

/// What frameworks are called in explanations: people know names, the allocator knows ids.
pub type Names<'a> = &'a dyn Fn(&FrameworkId) -> String;

/// A verdict and how it is said.
struct Said(Verdict, String);

/// The pictures an answer is read from.
struct Pictures<'a> {
    /// As it is.
    before: &'a Allocator,
    /// With everything allocated that had changed; the same picture when nothing had.
    settled: &'a Allocator,
    /// What that gave.
    grants: &'a [Grant],
    /// What may be tried for the whole question.
    budget: Budget,
}

impl Allocator {
    /// Why a framework waits: for one of its demands, or for each; without demands, in each of its roles. Empty when
    /// the framework, or the demand, is not known, or the framework takes offers in no role. The answer holds from the
    /// next allocation on: what that will give is said as given.
    ///
    /// It runs on the thread that allocates, so its cost is bounded: the picture is copied at most five times, once to
    /// settle what is due and four times to try what would help, less in large pools, however many demands there are; who
    /// has many and wants all the help asks for one of them. Besides, each demand walks the agents, twenty times or so at worst.
    pub fn explain(
        &self,
        framework: &FrameworkId,
        demand: Option<&DemandId>,
        names: Names<'_>,
        now: Instant,
    ) -> Vec<Explanation> {
        let Some(index) = self.clients.find(framework) else { return Vec::new() };
        let row = &self.clients.frameworks[index];
        if !row.here {
            return Vec::new();
        }
        let (mut copy, mut grants) = (None, Vec::new());
        if !self.work.is_idle() || self.wake_at().is_some_and(|at| at <= now) {
            grants = copy.insert(self.clone()).allocate(now);
        }
        let settled = copy.as_ref().unwrap_or(self);
        let pictures = Pictures { before: self, settled, grants: &grants, budget: Budget::of(settled) };
        if !row.demand_driven {
            if demand.is_some() {
                return Vec::new();
            }
            let mut clients: Vec<(&Role, u32)> = (row.clients.iter())
                .filter(|(_, client)| self.clients.clients[*client].subscribed)
                .filter_map(|(node, client)| Some((self.roles.nodes[*node].role.as_ref()?, *client)))
                .collect();
            clients.sort_unstable();
            let asks =
                clients.into_iter().filter_map(|(_, client)| Ask::new(settled, client, None, names, now));
            return asks.map(|ask| pictures.explain_plain(&ask)).collect();
        }
        if row.demands.is_empty() && demand.is_none() {
            let said = Said(Verdict::WantsNothing, "it declares no demand".to_owned());
            return vec![plain(format!("framework {}", names(framework)), said)];
        }
        let asked = row.demands.iter().filter(|stated| demand.is_none_or(|id| stated.id == *id));
        asked.map(|stated| pictures.explain_stated(index, stated, names, now)).collect()
    }
}

impl Pictures<'_> {
    fn explain_stated(&self, framework: u32, demand: &Demand, names: Names<'_>, now: Instant) -> Explanation {
        let settled = self.settled;
        let name = settled.clients.frameworks[framework].id.as_ref().map(names).unwrap_or_default();
        let Demand { id, role, shape, count, .. } = demand;
        let subject = format!("demand {id} of {name}: {count} x {shape} in role {role}");
        let client = settled.roles.find(role).and_then(|node| settled.clients.find_client(framework, node));
        let ask = client.and_then(|client| Ask::new(settled, client, Some(demand), names, now));
        match ask {
            Some(ask) => self.explain_demand(&ask, demand, subject),
            None => {
                let words = format!("the framework takes no offers in role {role}");
                plain(subject, Said(Verdict::Suppressed, words))
            }
        }
    }

    fn explain_demand(&self, ask: &Ask<'_>, demand: &Demand, subject: String) -> Explanation {
        let told = |verdict, words: String| plain(subject.clone(), Said(verdict, words));
        // A demand for nothing is no want at all.
        let want = ask.want(self.settled).filter(|_| demand.count > 0 && !demand.shape.is_empty());
        let Some(want) = want else { return told(Verdict::WantsNothing, "it asks for nothing".to_owned()) };
        let (count, open) = (want.count, want.open);
        if self.grants.iter().any(|grant| self.is_for(grant, ask)) {
            return told(Verdict::Served, "an offer for it is about to be made".to_owned());
        }
        if count == 0 {
            return told(Verdict::Served, "it has all it asked for".to_owned());
        }
        if open >= count {
            let words = format!("offers for all {count} are open: the framework is to answer them");
            return told(Verdict::Served, words);
        }
        let mut answer = self.explain_ask(ask, subject);
        if open > 0 {
            answer.verdict = format!("{open} of {count} are offered; for the rest: {}", answer.verdict);
        }
        answer
    }

    fn explain_plain(&self, ask: &Ask<'_>) -> Explanation {
        let who = &self.settled.clients.clients[ask.client];
        let subject =
            format!("framework {} in role {}", who.id.as_ref().map(ask.names).unwrap_or_default(), ask.role);
        if self.grants.iter().any(|grant| self.is_for(grant, ask)) {
            return plain(subject, Said(Verdict::Served, "an offer is about to be made".to_owned()));
        }
        if !who.offered.is_zero() {
            let words = format!("it has open offers of {} to answer", who.offered);
            return plain(subject, Said(Verdict::Served, words));
        }
        self.explain_ask(ask, subject)
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
        let nearest = self.settled.nearest(ask, said.0);
        let help = self.settled.help(ask, said.0, &nearest, &self.budget);
        let funnel = self.settled.funnel(ask);
        Explanation { funnel, nearest, help, ..plain(subject, said) }
    }
}

/// Without funnel, misses and help: there is nothing to look for.
fn plain(subject: String, Said(verdict, words): Said) -> Explanation {
    Explanation {
        subject,
        code: verdict.code().to_owned(),
        verdict: words,
        funnel: Vec::new(),
        nearest: Vec::new(),
        help: Vec::new(),
    }
}
