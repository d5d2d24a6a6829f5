//! Operators: people who now and then kill a task, set a quota or a weight, or give an agent up.

use std::collections::BTreeSet;
use std::time::Duration;

use master_core::{Input, OperatorCall, Ticket};
use proto::agent::AgentState;
use proto::caller::Caller;
use proto::id::AgentId;
use proto::log::AgentRecord;
use proto::operation::{Operation, Reserve, Unreserve};
use proto::operator::{
    DrainAgent, KillTask, MarkAgentGone, OperateAgent, ReplyKind, ResumeAgent, SetQuota, SetWeight,
    TeardownFramework,
};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::resources::{Amount, Portion};
use proto::role::{Role, Weight};

use crate::frameworks::FrameworkNode;
use crate::node::Node;
use crate::options::{MS, SECOND};
use crate::world::{Event, World};

/// So often, a second apart, nothing must be found kept.
const LOOKS: u32 = 10;

/// The role that operators reserve for: no framework takes offers in it.
fn own_role() -> Role {
    Role::new("operators").expect("it is a role")
}

/// What there is to ask for, so that an agent is everybody's again.
fn to_give_back(record: &AgentRecord) -> Option<OperatorCall> {
    let agent = record.info.id.clone();
    if record.state == AgentState::Gone {
        return None;
    }
    if record.drain.is_some() {
        return Some(OperatorCall::ResumeAgent(ResumeAgent { agent }));
    }
    let own = |portion: &&Portion| portion.reservation == Some(own_role());
    let amount = record.total.portions().iter().find(own)?.amount.clone();
    let operations = vec![Operation::Unreserve(Unreserve { role: own_role(), amount })];
    Some(OperatorCall::OperateAgent(OperateAgent { agent, operations }))
}

/// What people have asked and want to ask.
#[derive(Debug, Default)]
pub struct Operator {
    tickets: u64,
    /// Roles whose quota must be lifted, in calm times.
    limited: BTreeSet<Role>,
    lifting: Option<Ticket>,
    /// How often still nothing must be found reserved for operators before it is taken for so: what was asked late may come
    /// late.
    keeping: u32,
    /// How many wishes were carried out.
    pub done: u64,
}

impl Operator {
    /// From now on nobody is limited, and nothing is kept for operators.
    pub fn lift_limits(&mut self, frameworks: &[FrameworkNode], keeps: bool) {
        self.keeping = if keeps { LOOKS } else { 0 };
        self.limited.extend(frameworks.iter().map(|framework| framework.role.clone()));
    }

    /// Whether everybody's limits are lifted, and nothing is kept.
    pub fn has_lifted(&self) -> bool {
        self.limited.is_empty() && self.keeping == 0
    }
}

impl World {
    pub(crate) fn plan_wish(&mut self) {
        if self.options.operator_every > 0 {
            let at = self.now + self.dice.below(2 * self.options.operator_every) + 1;
            self.queue.push(at, Event::Wish);
        }
    }

    pub(crate) fn wish(&mut self) {
        if self.calm {
            return self.lift();
        }
        if self.options.ends_frameworks && self.dice.chance(1, 8) {
            let at = self.dice.below(self.frameworks.len() as u64) as usize;
            if let Some(framework) = self.frameworks[at].memory.framework.clone() {
                let master = self.some_master();
                self.ask(master, OperatorCall::TeardownFramework(TeardownFramework { framework }));
            }
            return self.plan_wish();
        }
        if self.options.operates_agents && self.dice.chance(1, 3) {
            self.earmark();
            return self.plan_wish();
        }
        if self.options.drains && self.dice.chance(1, 4) {
            self.drain();
            return self.plan_wish();
        }
        if self.options.limits_roles && self.dice.chance(2, 3) {
            let (role, limits) = (self.some_role(), self.some_limits());
            let quota = Quota { guarantees: Quantities::ZERO, limits };
            let master = self.some_master();
            self.ask(master, OperatorCall::SetQuota(SetQuota { role, quota }));
            return self.plan_wish();
        }
        let call = match self.dice.below(if self.options.gives_up_agents { 12 } else { 11 }) {
            0..5 => {
                let running: Vec<_> = self.running().into_iter().collect();
                match self.dice.pick(&running) {
                    Some((framework, task)) => {
                        self.checks.launches.killed(framework, task);
                        let framework = framework.to_string();
                        let call = KillTask { framework, task: task.clone(), grace: None };
                        Some(OperatorCall::KillTask(call))
                    }
                    None => None,
                }
            }
            5..8 => {
                let role = self.some_role();
                let quota = Quota { guarantees: self.some_quantities(), limits: self.some_limits() };
                Some(OperatorCall::SetQuota(SetQuota { role, quota }))
            }
            8..11 => {
                let weight = Weight::from_milli(1 + self.dice.below(3000) as u32);
                let role = self.some_role();
                weight.map(|weight| OperatorCall::SetWeight(SetWeight { role, weight }))
            }
            _ => {
                // Somebody must be left to do the work.
                let agent = self.dice.below(self.agents.len() as u64 - 1) as usize + 1;
                let agent = self.agents.get(agent).map(|agent| agent.info.id.clone());
                agent.map(|agent| OperatorCall::MarkAgentGone(MarkAgentGone { agent }))
            }
        };
        if let Some(call) = call {
            let master = self.some_master();
            self.ask(master, call);
        }
        self.plan_wish();
    }

    fn some_role(&mut self) -> Role {
        let at = self.dice.below(self.frameworks.len() as u64) as usize;
        self.frameworks[at].role.clone()
    }

    fn some_quantities(&mut self) -> Quantities {
        Quantities::of(500 * self.dice.below(6), (1 << 29) * self.dice.below(4))
    }

    fn some_limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        if self.dice.chance(1, 2) {
            limits.0.insert(Scalar::named("cpus"), 500 * self.dice.below(12));
        }
        limits
    }

    /// Asks a master; whether it is there to hear is not known before.
    pub fn ask(&mut self, master: Node, call: OperatorCall) -> Ticket {
        self.operator.tickets += 1;
        let ticket = Ticket(self.operator.tickets);
        self.trace.line(self.now, || format!("operator -> {master} {call:?}"));
        if self.life(master).1 {
            let caller = Caller::User("ada".to_owned());
            self.masters[master.index()].mailbox.push_back(Input::Operator { ticket, caller, call });
            self.plan(master);
        }
        ticket
    }

    /// Reserves something of an agent for a role that no framework has, or gives some of it back.
    fn earmark(&mut self) {
        let agents: Vec<AgentId> = self.agents.iter().map(|agent| agent.info.id.clone()).collect();
        let Some(agent) = self.dice.pick(&agents).cloned() else { return };
        let amount = Amount::scalars(Quantities::of(500 * (1 + self.dice.below(4)), 0));
        let operation = match self.dice.chance(2, 3) {
            true => Operation::Reserve(Reserve { role: own_role(), amount }),
            false => Operation::Unreserve(Unreserve { role: own_role(), amount }),
        };
        let master = self.some_master();
        self.ask(master, OperatorCall::OperateAgent(OperateAgent { agent, operations: vec![operation] }));
    }

    /// Wants an agent empty, within a while or when it comes to be; or gives it work again.
    fn drain(&mut self) {
        let agents: Vec<AgentId> = self.agents.iter().map(|agent| agent.info.id.clone()).collect();
        let Some(agent) = self.dice.pick(&agents).cloned() else { return };
        let master = self.some_master();
        if self.dice.chance(1, 3) {
            self.ask(master, OperatorCall::ResumeAgent(ResumeAgent { agent }));
            return;
        }
        let within = self.dice.chance(2, 3).then(|| Duration::from_secs(1 + self.dice.below(30)));
        if within.is_some() {
            self.checks.alive.drains(&agent);
        }
        self.mark("an agent was to be drained");
        let reason = "its time has come".to_owned();
        self.ask(master, OperatorCall::DrainAgent(DrainAgent { agent, within, reason }));
    }

    /// Gives back what is still kept for operators, agent by agent.
    fn give_back(&mut self) {
        if self.operator.keeping == 0 {
            return;
        }
        let kept = self.leaders().first().copied().map(|leader| {
            let registry = self.master_machine(leader).map(master_core::Master::registry);
            (leader, registry.and_then(|registry| registry.agents().find_map(to_give_back)))
        });
        match kept {
            Some((leader, Some(call))) => {
                self.operator.keeping = LOOKS;
                self.ask(leader, call);
            }
            Some((_, None)) => self.operator.keeping -= 1,
            None => {}
        }
        let at = self.now + SECOND;
        self.queue.push(at, Event::Wish);
    }

    /// Lifts one limit after the other, and again until it is done.
    fn lift(&mut self) {
        let Some(role) = self.operator.limited.first().cloned() else { return self.give_back() };
        if let Some(leader) = self.leaders().first().copied() {
            let call = OperatorCall::SetQuota(SetQuota { role, quota: Quota::default() });
            self.operator.lifting = Some(self.ask(leader, call));
        }
        let at = self.now + SECOND;
        self.queue.push(at, Event::Wish);
    }

    pub(crate) fn replied(&mut self, ticket: Ticket, kind: &ReplyKind) {
        if self.operator_of_masters_hears(ticket, kind) {
            return;
        }
        if !matches!(kind, ReplyKind::Done(_)) {
            return;
        }
        self.operator.done += 1;
        if self.operator.lifting == Some(ticket) {
            self.operator.limited.pop_first();
            self.operator.lifting = None;
            let at = self.now + MS;
            self.queue.push(at, Event::Wish);
        }
    }
}
