//! Why nobody uses an agent: of all that waits, which rule keeps each from it.

use std::collections::BTreeMap;

use proto::explain::{Explanation, FunnelStep, Remedy, Verdict};
use proto::id::AgentId;
use proto::resources::Resources;
use proto_machine::Instant;

use super::ask::Agents;
use super::funnel::some;
use super::outside::Outside;
use super::verdict::Said;
use super::{Pictures, Question, plain};
use crate::Allocator;
use crate::change::Change;

impl Allocator {
    /// Why nobody uses what is free of an agent; `None` when the picture does not hold it. The funnel is of demands, not of
    /// agents: how many are left after those that each verdict keeps from this agent.
    pub fn explain_agent(&self, id: &AgentId, outside: &Outside<'_>, now: Instant) -> Option<Explanation> {
        let agent = self.agents.find(id)?;
        Some(
            self.with_pictures(outside, now, |pictures, question| {
                pictures.explain_agent(id, agent, question)
            }),
        )
    }
}

impl Pictures<'_> {
    fn explain_agent(&self, id: &AgentId, agent: u32, question: Question<'_>) -> Explanation {
        let settled = self.settled;
        let row = &settled.agents.rows[agent];
        let host = settled.hostname(agent);
        let subject = format!("agent {host}");
        if !row.active {
            return self.of_away(id, subject, question);
        }
        let mut to = self.grants.iter().filter(|grant| grant.agent == *id);
        if let Some(grant) = to.next() {
            let words = format!(
                "an offer of it is about to be made to {}",
                (question.outside.name)(&grant.framework)
            );
            return plain(subject, Said::new(Verdict::Served, words));
        }
        let held = self.holders(agent, question);
        let free = row.free.quantities();
        // Only this agent comes into question: each verdict is of this agent.
        let only = Agents { active: vec![agent], away: Vec::new() };
        let question = Question { agents: &only, ..question };
        let looked = self.look_into(self.waiters(|_, _| true), question);
        let waiting: usize = looked.iter().map(|one| one.waiters.len()).sum();
        let mut codes: BTreeMap<Verdict, Vec<(u32, String)>> = BTreeMap::new();
        for one in &looked {
            let Some(said) = &one.said else { continue };
            let names = one.waiters.iter().map(|waiter| (waiter.framework, waiter.demand.id.to_string()));
            codes.entry(said.verdict).or_default().extend(names);
        }
        let mut codes: Vec<(Verdict, Vec<(u32, String)>)> = codes.into_iter().collect();
        codes.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
        let undeclared = settled.clients.plain;
        if free.is_zero() {
            let words = format!("all of it is held: {held}");
            return plain(subject, Said::new(Verdict::NoRoom, words));
        }
        let left = if held.is_empty() { String::new() } else { format!("; {held}") };
        let Some((most, _)) = codes.first() else {
            let words = match undeclared {
                0 => format!("{free} are free, and nobody waits for anything{left}"),
                _ => format!("{free} are free, and nobody has declared that it waits for anything{left}"),
            };
            return plain(subject, Said::new(Verdict::WantsNothing, words));
        };
        let parts: Vec<String> =
            codes.iter().map(|(code, names)| format!("{} {}", names.len(), code.code())).collect();
        let words = match waiting {
            1 => format!(
                "{free} are free; the one demand that waits is kept from it: {}{left}",
                parts.join(", ")
            ),
            _ => format!(
                "{free} are free; {waiting} demands wait and are kept from it: {}{left}",
                parts.join(", ")
            ),
        };
        let mut answer = plain(subject, Said::new(*most, words));
        answer.funnel = self.demands_by_rule(&codes, question);
        answer
    }

    fn demands_by_rule(
        &self,
        codes: &[(Verdict, Vec<(u32, String)>)],
        question: Question<'_>,
    ) -> Vec<FunnelStep> {
        let mut left: u64 = codes.iter().map(|(_, names)| names.len() as u64).sum();
        let mut steps = vec![FunnelStep { name: "all".to_owned(), left, ..FunnelStep::default() }];
        for (code, names) in codes {
            left -= names.len() as u64;
            let places: Vec<usize> = (0..names.len()).collect();
            let (fell_out, more) = some(&places, |at| {
                let (framework, demand) = &names[at];
                format!("{}/{demand}", self.name(*framework, question))
            });
            let name = code.code().to_owned();
            steps.push(FunnelStep { name, left, fell_out, more, names: Vec::new() });
        }
        steps
    }

    /// Who holds what of an agent.
    fn holders(&self, agent: u32, question: Question<'_>) -> String {
        let mut parts = Vec::new();
        for holding in &self.settled.agents.rows[agent].holdings {
            let who = &self.settled.clients.clients[holding.client];
            let name = who.id.as_ref().map(question.outside.name).unwrap_or_default();
            let mut open = holding.offered.clone();
            open.add(&holding.taken);
            let part = |verb: &str, what: &Resources| format!("{name} {verb} {}", what.quantities());
            parts.extend((!holding.used.is_empty()).then(|| part("uses", &holding.used)));
            parts.extend((!open.is_empty()).then(|| part("is offered", &open)));
        }
        parts.sort();
        parts.join(", ")
    }

    /// An agent that may not be offered: would anybody take it?
    fn of_away(&self, id: &AgentId, subject: String, question: Question<'_>) -> Explanation {
        let why = (question.outside.away)(id);
        let verdict = if why.drains { Verdict::AgentDraining } else { Verdict::AgentDisconnected };
        let mut answer = plain(subject, Said::new(verdict, format!("it {}", why.words())));
        let host = self.settled.agents.find(id).map(|agent| self.settled.hostname(agent)).unwrap_or_default();
        let change = self.settled.back(question.now, id.clone(), &host, why, None);
        if !self.budget.spend() {
            answer.untried = 1;
            return answer;
        }
        let mut copy = self.settled.clone();
        let back = Change::AgentActive { agent: id.clone(), active: true };
        if !copy.apply(question.now, back) {
            return answer;
        }
        let to = copy.allocate(question.now).into_iter().find(|grant| grant.agent == *id);
        let (helps, outcome, code) = match &to {
            Some(grant) => {
                let words = format!("it is offered to {}", (question.outside.name)(&grant.framework));
                (true, words, Verdict::Served)
            }
            None => (false, "nobody wants it".to_owned(), Verdict::WantsNothing),
        };
        let remedy = Remedy { steps: change.steps, helps, outcome, code: code.code().to_owned() };
        if helps {
            answer.help.push(format!("{}: then {}", remedy.change(), remedy.outcome));
        }
        answer.tried.push(remedy);
        answer
    }
}
