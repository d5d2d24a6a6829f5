//! What would come of demands that nobody has declared: they are declared on a copy of the picture, which allocates, and
//! whatever it gives the framework is taken, until it gives nothing more.

use std::collections::{BTreeMap, BTreeSet};

use proto::demand::Demand;
use proto::explain::{Explanation, RemedyKind, RemedyStep, Verdict};
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::role::Role;
use proto_machine::Instant;

use super::ask::Agents;
use super::outside::Outside;
use super::remedies::{Budget, Tried};
use super::verdict::Said;
use super::{Pictures, Question, plain};
use crate::Allocator;
use crate::allocate::Grant;
use crate::change::Change;

/// One framework may hold a part of the pool unanswered; so many answers in a row give it all there is to have.
const ROUNDS_MAX: usize = 32;

/// What is said where the last round still gave something.
const ROUNDS_SPENT: &str =
    "the work allowed for one question was spent while there was still something to have: more of it may fit";

/// What a framework was given on a copy.
#[derive(Default)]
struct Came {
    /// Of each demand.
    units: BTreeMap<(Role, DemandId), u64>,
    /// Where.
    on: BTreeSet<AgentId>,
    /// It was still given something when the work was spent.
    spent: bool,
}

// === impl Came ===

impl Came {
    /// That what it took were given back is no help: nobody has it.
    fn without_what_it_took(&self, framework: &FrameworkId, mut answer: Explanation) -> Explanation {
        let is_taken = |step: &RemedyStep| {
            step.kind == RemedyKind::TasksEnd.code()
                && step.framework.as_ref() == Some(framework)
                && step.agent.as_ref().is_some_and(|agent| self.on.contains(agent))
        };
        answer.tried.retain(|remedy| !remedy.steps.iter().any(is_taken));
        let tried = Tried { remedies: answer.tried, untried: answer.untried };
        answer.help = tried.help();
        Explanation { tried: tried.remedies, ..answer }
    }
}

impl Allocator {
    /// What a framework would be told that declared these demands besides its own, in their order; each with how many of it
    /// came. They compete with each other and with all that waits. It is as if each offer were accepted whole, and as if the
    /// framework took offers in the roles of the demands. Empty when the framework is not known.
    ///
    /// The picture is copied once for that, and then as for [`Allocator::explain`].
    pub fn explain_supposed(
        &self,
        framework: &FrameworkId,
        supposed: &[Demand],
        outside: &Outside<'_>,
        now: Instant,
    ) -> Vec<Explanation> {
        let Some(index) = self.clients.find(framework).filter(|index| self.clients.frameworks[*index].here)
        else {
            return Vec::new();
        };
        let mut copy = self.clone();
        copy.suppose(index, framework, supposed, now);
        let came = copy.take_all(framework, now);
        let agents = Agents::of(&copy);
        let budget = Budget::of(&copy);
        let pictures = Pictures { before: &copy, settled: &copy, grants: &[], budget: &budget };
        let question = Question { agents: &agents, outside, now };
        let told = supposed.iter().map(|demand| {
            let fits = came.units.get(&(demand.role.clone(), demand.id.clone())).copied().unwrap_or(0);
            let mut answer = pictures.explain_rest(index, demand, fits, question);
            if came.spent && fits < demand.count {
                answer.notes.push(ROUNDS_SPENT.to_owned());
            }
            came.without_what_it_took(framework, answer)
        });
        told.collect()
    }

    /// Has the framework declare demands besides its own.
    fn suppose(&mut self, index: u32, framework: &FrameworkId, supposed: &[Demand], now: Instant) {
        let row = &self.clients.frameworks[index];
        let mut roles = BTreeMap::new();
        for (node, client) in &row.clients {
            let who = &self.clients.clients[*client];
            if let Some(role) = self.roles.nodes[*node].role.as_ref().filter(|_| who.subscribed) {
                roles.insert(role.clone(), who.suppressed);
            }
        }
        let mut demands = row.demands.clone();
        for stated in &mut demands {
            // What was taken since it was stated stays taken.
            let client = self.roles.find(&stated.role).and_then(|node| self.clients.find_client(index, node));
            let want = client.and_then(|client| {
                let who = &self.clients.clients[client];
                who.wants.get(*who.by_demand.get(&stated.id)? as usize)
            });
            stated.count = want.map_or(stated.count, |want| want.count);
        }
        demands.extend(supposed.iter().cloned());
        // Who wants something in a role takes offers there.
        roles.extend(supposed.iter().map(|demand| (demand.role.clone(), false)));
        let suppressed: Vec<Role> =
            roles.iter().filter(|(_, suppressed)| **suppressed).map(|(role, _)| role.clone()).collect();
        let id = framework.clone();
        let roles = roles.into_keys().collect();
        self.apply(now, Change::FrameworkRoles { id: id.clone(), roles, suppressed });
        self.apply(now, Change::Demands { framework: id, demands, demand_driven: true });
    }

    /// Allocates and takes what the framework is given, until that is nothing.
    fn take_all(&mut self, framework: &FrameworkId, now: Instant) -> Came {
        let mut came = Came::default();
        for _ in 0..ROUNDS_MAX {
            let grants = self.allocate(now);
            let mut any = false;
            for grant in grants.into_iter().filter(|grant| grant.framework == *framework) {
                any = true;
                if let Some(demand) = &grant.demand {
                    *came.units.entry((grant.role.clone(), demand.clone())).or_default() += grant.units;
                }
                came.on.insert(grant.agent.clone());
                self.take_up(grant, now);
            }
            if !any {
                return came;
            }
        }
        came.spent = true;
        came
    }

    /// Tasks use a grant from now on, as if its offer had been accepted whole.
    fn take_up(&mut self, grant: Grant, now: Instant) {
        let Grant { framework, role, agent, resources, demand, .. } = grant;
        let (whose, offered) = (framework.clone(), resources.clone());
        let taken = Change::Taken { framework, role: role.clone(), agent: agent.clone(), resources, demand };
        self.apply(now, taken);
        let used = offered.clone();
        let accepted = Change::Accepted {
            framework: whose,
            role,
            agent,
            offered,
            transforms: Vec::new(),
            used,
            until: now,
        };
        self.apply(now, accepted);
    }
}

impl Pictures<'_> {
    /// How many of a supposed demand fit, and what stands in the way of the rest.
    fn explain_rest(&self, index: u32, demand: &Demand, fits: u64, question: Question<'_>) -> Explanation {
        let count = demand.count;
        let fits = fits.min(count);
        if fits == count {
            let words = if count == 1 { "it fits now".to_owned() } else { format!("all {count} fit now") };
            let said = Said::new(Verdict::Served, words);
            return Explanation { fits, ..plain(self.subject(index, demand, question), said) };
        }
        let mut answer = self.explain_stated(index, demand, question);
        answer.subject = self.subject(index, demand, question);
        if fits > 0 {
            answer.verdict = format!("{fits} of {count} fit now; for the rest: {}", answer.verdict);
        }
        Explanation { fits, waiting_ms: 0, ..answer }
    }
}
