//! Tries that change the pool: reservations, offers, tasks and agents.

use std::sync::Arc;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::attributes::{AttributeValue, Attributes, Predicate};
use proto::explain::{RemedyKind, RemedyStep, Verdict};
use proto::id::{AgentId, FrameworkId};
use proto::ranges::Ranges;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto_machine::Instant;

use super::super::ask::{Ask, Lift};
use super::super::outside::{Absent, Away, TaskUse};
use super::{Try, step, unreserve_command};
use crate::Allocator;
use crate::agents::Holding;
use crate::change::{Account, Change, Transform};

/// Agents that are looked at for one kind of change.
const AGENTS_MAX: usize = 2;

/// Endings of tasks that are tried.
const ENDS_MAX: usize = 2;

/// For how long somebody is assumed to decline.
const DECLINE: Duration = Duration::from_secs(60);

/// The id of an agent that is not there.
const NEW_AGENT: &str = "one-more-agent";

impl Allocator {
    pub(super) fn try_reservations(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        for agent in self.fitting(ask, Lift { reservations: true, ..Lift::NOTHING }).take(AGENTS_MAX) {
            tries.extend(self.unreserve(ask.now, agent, |kept| !ask.role.is_within(kept)));
        }
    }

    /// What is free on an agent and reserved for some roles is kept for nobody.
    pub(in super::super) fn unreserve(
        &self,
        at: Instant,
        agent: u32,
        of: impl Fn(&Role) -> bool,
    ) -> Option<Try> {
        let row = &self.agents.rows[agent];
        let id = row.id.clone()?;
        let (mut changes, mut steps) = (Vec::new(), Vec::new());
        for portion in row.free.portions().iter().filter(|portion| portion.volume.is_none()) {
            let Some(kept) = portion.reservation.as_ref().filter(|kept| of(kept)) else { continue };
            let (mut from, mut to) = (Resources::EMPTY, Resources::EMPTY);
            from.add_portion(portion);
            to.add_portion(&Portion { reservation: None, ..portion.clone() });
            changes.push(Change::Transformed { agent: id.clone(), transform: Transform { from, to } });
            let host = self.hostname(agent);
            let words = format!("when what is free on {host} is reserved no more for role {kept}");
            steps.push(RemedyStep {
                command: unreserve_command(&id, kept, &portion.amount),
                agent: Some(id.clone()),
                role: Some(kept.clone()),
                amount: portion.amount.clone(),
                ..step(RemedyKind::Unreserve, words)
            });
        }
        (!steps.is_empty()).then_some(Try { steps, changes, at, on_before: false })
    }

    pub(super) fn try_own_offers(&self, ask: &Ask<'_>, framework: &FrameworkId, tries: &mut Vec<Try>) {
        let owner = self.clients.clients[ask.client].framework;
        tries.extend(self.declines_all(ask.now, owner, framework, "when it declines the offers it holds"));
    }

    /// A framework declines every offer it holds.
    pub(in super::super) fn declines_all(
        &self,
        at: Instant,
        owner: u32,
        framework: &FrameworkId,
        words: &str,
    ) -> Option<Try> {
        let mut changes = Vec::new();
        for (agent, row) in self.agents.rows.iter() {
            for (node, client) in &self.clients.frameworks[owner].clients {
                let holding = row.holding(*client);
                if let (Some(holding), Some(role)) = (holding, &self.roles.nodes[*node].role) {
                    changes.extend(self.declines(at, agent, framework, role, holding));
                }
            }
        }
        let said = RemedyStep { framework: Some(framework.clone()), ..step(RemedyKind::Decline, words) };
        (!changes.is_empty()).then(|| Try::new(at, said, changes))
    }

    pub(super) fn try_offers(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        for agent in self.fitting(ask, Lift { offers: true, ..Lift::NOTHING }).take(AGENTS_MAX) {
            for holding in self.agents.rows[agent].holdings.iter().filter(|h| !h.offered.is_empty()) {
                let other = &self.clients.clients[holding.client];
                let (Some(id), Some(role)) = (&other.id, &self.roles.nodes[other.node].role) else {
                    continue;
                };
                let changes = self.declines(ask.now, agent, id, role, holding);
                let host = self.hostname(agent);
                let words = match holding.client == ask.client {
                    true => format!("when it declines its other offers of {host}"),
                    false => format!("when {} declines its offers of {host}", (ask.outside.name)(id)),
                };
                let said = RemedyStep {
                    agent: self.agents.rows[agent].id.clone(),
                    framework: Some(id.clone()),
                    role: Some(role.clone()),
                    ..step(RemedyKind::Decline, words)
                };
                tries.push(Try::new(ask.now, said, changes));
            }
        }
    }

    /// Every open offer of a holding is declined.
    fn declines(
        &self,
        at: Instant,
        agent: u32,
        framework: &FrameworkId,
        role: &Role,
        holding: &Holding,
    ) -> Vec<Change> {
        let Some(id) = self.agents.rows[agent].id.clone() else { return Vec::new() };
        let mut plain = holding.offered.clone();
        let decline = |resources: Resources, demand| Change::Declined {
            framework: framework.clone(),
            role: role.clone(),
            agent: id.clone(),
            resources,
            demand,
            until: at + DECLINE,
        };
        let mut all = Vec::new();
        for grant in &holding.grants {
            plain = plain.saturating_sub(&grant.resources);
            all.push(decline(grant.resources.clone(), Some(grant.demand.clone())));
        }
        if !plain.is_empty() {
            all.push(decline(plain, None));
        }
        all
    }

    /// Tasks on a near agent end: one that is enough, the smallest first; else all of one framework; else all.
    pub(super) fn try_ends(&self, ask: &Ask<'_>, near: &[u32], tries: &mut Vec<Try>) {
        let enough = |agent: u32, freed: &Resources| {
            let mut free = self.agents.rows[agent].free.clone();
            free.add(freed);
            self.missing(ask, &self.usable(ask, &free)).is_empty()
        };
        let size = |freed: &Resources| self.scale.share(&freed.quantities(), 1000).millionths();
        let mut near: Vec<u32> =
            near.iter().copied().filter(|agent| self.agents.rows[*agent].active).collect();
        // The nearest may lack something for ever; some agent would do if it were empty.
        let roomy = self.fits(ask, Lift { offers: true, used: true, ..Lift::NOTHING });
        near.extend(roomy.filter(|agent| !near.contains(agent)));
        let (mut single, mut whole, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for agent in near {
            let row = &self.agents.rows[agent];
            let Some(id) = &row.id else { continue };
            let tasks = (ask.outside.tasks)(id);
            for task in tasks.iter().filter(|task| enough(agent, &task.resources)) {
                single.push((size(&task.resources), agent, vec![task.clone()]));
            }
            for holding in row.holdings.iter().filter(|h| enough(agent, &h.used)) {
                let other = &self.clients.clients[holding.client];
                let (Some(framework), Some(role)) = (&other.id, &self.roles.nodes[other.node].role) else {
                    continue;
                };
                whole.push((
                    size(&holding.used),
                    agent,
                    framework.clone(),
                    role.clone(),
                    holding.used.clone(),
                ));
            }
            let mut sum = Resources::EMPTY;
            row.holdings.iter().for_each(|holding| sum.add(&holding.used));
            if enough(agent, &sum) {
                all.push((size(&sum), agent, sum));
            }
        }
        single.sort_by_key(|(size, agent, _)| (*size, *agent));
        single.dedup();
        whole.sort_by_key(|(size, agent, ..)| (*size, *agent));
        all.sort_by_key(|(size, agent, _)| (*size, *agent));
        let some = !single.is_empty() || !whole.is_empty();
        for (_, agent, tasks) in single.into_iter().take(ENDS_MAX) {
            tries.extend(tasks.iter().filter_map(|task| self.ends(ask, agent, task)));
        }
        for (_, agent, framework, role, used) in whole.into_iter().take(ENDS_MAX) {
            tries.extend(self.all_end(ask, agent, &framework, &role, &used));
        }
        if !some && let Some((_, agent, used)) = all.into_iter().next() {
            tries.extend(self.everything_ends(ask, agent, &used));
        }
    }

    fn ends(&self, ask: &Ask<'_>, agent: u32, task: &TaskUse) -> Option<Try> {
        let id = self.agents.rows[agent].id.clone()?;
        let name = (ask.outside.name)(&task.framework);
        let (host, freed) = (self.hostname(agent), task.resources.quantities());
        let said = RemedyStep {
            agent: Some(id.clone()),
            framework: Some(task.framework.clone()),
            task: Some(task.task.clone()),
            role: Some(task.role.clone()),
            ..step(RemedyKind::TaskEnds, format!("when task {name}/{} on {host} ends ({freed})", task.task))
        };
        let change = recovered(&task.framework, &task.role, id, task.resources.clone());
        Some(Try::new(ask.now, said, vec![change]))
    }

    fn all_end(
        &self,
        ask: &Ask<'_>,
        agent: u32,
        framework: &FrameworkId,
        role: &Role,
        used: &Resources,
    ) -> Option<Try> {
        let id = self.agents.rows[agent].id.clone()?;
        let own = self.clients.clients[ask.client].id.as_ref() == Some(framework);
        let whose = match own {
            true => "its own tasks".to_owned(),
            false => format!("the tasks of {}", (ask.outside.name)(framework)),
        };
        let words = format!("when {whose} on {} end ({})", self.hostname(agent), used.quantities());
        let said = RemedyStep {
            agent: Some(id.clone()),
            framework: Some(framework.clone()),
            role: Some(role.clone()),
            ..step(RemedyKind::TasksEnd, words)
        };
        Some(Try::new(ask.now, said, vec![recovered(framework, role, id, used.clone())]))
    }

    fn everything_ends(&self, ask: &Ask<'_>, agent: u32, used: &Resources) -> Option<Try> {
        let row = &self.agents.rows[agent];
        let id = row.id.clone()?;
        let changes = row.holdings.iter().filter(|holding| !holding.used.is_empty()).filter_map(|holding| {
            let other = &self.clients.clients[holding.client];
            let role = self.roles.nodes[other.node].role.as_ref()?;
            Some(recovered(other.id.as_ref()?, role, id.clone(), holding.used.clone()))
        });
        let words = format!("when all tasks on {} end ({})", self.hostname(agent), used.quantities());
        let said = RemedyStep { agent: Some(id.clone()), ..step(RemedyKind::TasksEnd, words) };
        Some(Try::new(ask.now, said, changes.collect()))
    }

    /// Agents that would do are resumed, or come back.
    pub(super) fn try_away(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        let mut away: Vec<u32> = self.fitting_away(ask, Lift::NOTHING).take(AGENTS_MAX).collect();
        let mut absent: Vec<&Absent> = self.fitting_absent(ask, Lift::NOTHING).take(AGENTS_MAX).collect();
        // With no agent at hand even one that would have to be emptied is a beginning.
        if away.is_empty() && absent.is_empty() && ask.candidates.is_empty() {
            away.extend(self.fitting_away(ask, Lift::ALL).next());
            absent.extend(self.fitting_absent(ask, Lift::ALL).next());
        }
        for agent in away {
            let Some(id) = self.agents.rows[agent].id.clone() else { continue };
            let why = (ask.outside.away)(&id);
            tries.push(self.back(ask.now, id, &self.hostname(agent), why, None));
        }
        for agent in absent {
            let why = Away { linked: false, drains: agent.drains };
            let id = agent.info.id.clone();
            tries.push(self.back(ask.now, id, &agent.info.hostname, why, Some(agent)));
        }
    }

    /// An agent may be offered again; one out of sight comes back with what runs there.
    pub(in super::super) fn back(
        &self,
        at: Instant,
        id: AgentId,
        host: &str,
        why: Away,
        absent: Option<&Absent>,
    ) -> Try {
        let mut steps = Vec::new();
        if !why.linked {
            let words = format!("when {host} comes back");
            steps.push(RemedyStep { agent: Some(id.clone()), ..step(RemedyKind::AgentReturns, words) });
        }
        if why.drains {
            let words = format!("when {host} is resumed");
            let command = format!("stoa agent resume {id}");
            steps.push(RemedyStep {
                agent: Some(id.clone()),
                command,
                ..step(RemedyKind::ResumeAgent, words)
            });
        }
        let mut changes = Vec::new();
        match absent {
            None => changes.push(Change::AgentActive { agent: id, active: true }),
            Some(absent) => {
                let (info, total) = (absent.info.clone(), absent.total.clone());
                changes.push(Change::AgentAdded { info, total, active: true });
                changes.extend(absent.used.iter().map(|task| Change::Charged {
                    framework: task.framework.clone(),
                    role: task.role.clone(),
                    agent: id.clone(),
                    resources: task.resources.clone(),
                }));
            }
        }
        Try { steps, changes, at, on_before: false }
    }

    /// One more agent joins: like one that would do if it were empty, or, where there is none, with what is asked for.
    pub(super) fn try_one_more(&self, ask: &Ask<'_>, verdict: Verdict, tries: &mut Vec<Try>) {
        match verdict {
            Verdict::NoRoom
            | Verdict::QuotaHeadroom
            | Verdict::Offered
            | Verdict::Reserved
            | Verdict::FairShare => {
                let like = self.fits(ask, Lift::ALL);
                tries.extend(like.and_then(|agent| self.one_like(ask.now, agent)));
            }
            Verdict::NoAgents | Verdict::Constraints | Verdict::TooLarge => {
                tries.extend(self.one_with_that(ask));
            }
            _ => {}
        }
    }

    pub(in super::super) fn one_like(&self, at: Instant, agent: u32) -> Option<Try> {
        let row = &self.agents.rows[agent];
        let has = row.total.flatten();
        let words = format!("with one more agent like {} ({has})", self.hostname(agent));
        self.one_more(at, row.info.as_ref()?.attributes.clone(), has, words)
    }

    pub(in super::super) fn one_with_that(&self, ask: &Ask<'_>) -> Option<Try> {
        let mut has = Amount::scalars(ask.least(self));
        let mut attributes = Attributes::default();
        let mut told = Vec::new();
        if let Some(demand) = ask.demand {
            for (name, wanted) in demand.shape.ranges() {
                has.set_range(name, Ranges::single(1, wanted.count()));
            }
            for (name, items) in demand.shape.sets() {
                has.set_set(name, items.clone());
            }
            for constraint in &demand.constraints.0 {
                let value = match &constraint.predicate {
                    Predicate::Exists => AttributeValue::Text("any".to_owned()),
                    Predicate::In(words) => AttributeValue::Text(words.first()?.clone()),
                    Predicate::AtLeast(milli) | Predicate::AtMost(milli) => AttributeValue::Scalar(*milli),
                    Predicate::NotExists | Predicate::NotIn(_) => continue,
                };
                // Who asks for one machine by name wants no other.
                if constraint.attribute == "hostname" || constraint.attribute == "agent" {
                    return None;
                }
                told.push(constraint.to_string());
                let any_value = constraint.predicate == Predicate::Exists;
                // Where any value will do, so does one that another constraint asks for.
                if !any_value || !attributes.0.contains_key(&constraint.attribute) {
                    attributes.0.insert(constraint.attribute.clone(), value);
                }
            }
        }
        let like = if told.is_empty() { String::new() } else { format!(" and {}", told.join(", ")) };
        let words = format!("with an agent of {has}{like}");
        self.one_more(ask.now, attributes, has, words)
    }

    fn one_more(&self, at: Instant, attributes: Attributes, has: Amount, words: String) -> Option<Try> {
        let id = AgentId::new(NEW_AGENT).ok().filter(|id| self.agents.find(id).is_none())?;
        let info = AgentInfo {
            id,
            hostname: "the new agent".to_owned(),
            address: String::new(),
            resources: Resources::unreserved(has.clone()),
            attributes,
            version: String::new(),
        };
        let total = info.resources.clone();
        let said = RemedyStep { amount: has, ..step(RemedyKind::AddAgent, words) };
        Some(Try::new(at, said, vec![Change::AgentAdded { info: Arc::new(info), total, active: true }]))
    }
}

fn recovered(framework: &FrameworkId, role: &Role, agent: AgentId, resources: Resources) -> Change {
    Change::Recovered {
        framework: framework.clone(),
        role: role.clone(),
        agent,
        resources,
        from: Account::Used,
        demand: None,
    }
}
