//! What befalls the pretend agents, and the master's memory of their tasks.

use proto::agent::AgentState;
use proto::id::{AgentId, OfferId, RunId, TaskId};
use proto::role::Role;
use proto::scheduler::{AgentDraining, AgentResumed, EventKind, Failure, Rescind, RescindReason};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};

use super::{Fake, Task, Wish};

/// An operator wants an agent empty.
#[derive(Debug)]
pub(super) struct Drain {
    pub notice: AgentDraining,
    /// Whether the framework was told.
    pub is_told: bool,
}

impl Fake {
    pub(super) fn is_away(&self, agent: &AgentId) -> bool {
        self.agents.get(agent).is_none_or(|agent| agent.away)
    }

    /// The tasks that have not ended on an agent.
    pub fn tasks_on(&self, agent: &AgentId) -> Vec<TaskId> {
        let alive =
            self.tasks.iter().filter(|(_, task)| task.agent == *agent && !task.latest.state.is_terminal());
        alive.map(|(id, _)| id.clone()).collect()
    }

    /// The master does not hear an agent any more: its offers are void, its tasks are out of sight and run on.
    pub fn lose_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id).filter(|agent| !agent.away) else { return };
        agent.away = true;
        let void: Vec<OfferId> = self.open_offers().filter(|(_, of)| *of == id).map(|(id, _)| id).collect();
        for offer in void {
            if let Some((agent, resources)) = self.offers.remove(&offer) {
                self.give_back(&agent, &resources);
            }
            self.tell(EventKind::Rescind(Rescind { offer, reason: RescindReason::AgentLost }));
        }
        self.tell(EventKind::Failure(Failure { agent: id.clone(), state: AgentState::Unreachable }));
        for task in self.tasks_on(id) {
            self.declare(&task, TaskState::Unreachable);
        }
    }

    /// The agent is back, and with it what its tasks have to say.
    pub fn return_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id).filter(|agent| agent.away) else { return };
        agent.away = false;
        let here: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.agent == *id).map(|(id, _)| id.clone()).collect();
        let mut back = Vec::new();
        for task in here.iter().filter_map(|id| self.tasks.get(id)) {
            // What waits for its acknowledgement says how the task stands, else the master says it.
            let mut status = task.acknowledged();
            if task.stream.is_empty() {
                status.sequence = 0;
                status.reason = StatusReason::AgentReregistered;
            }
            if !(task.stream.is_empty() && status.state.is_terminal()) {
                back.push(status);
            }
        }
        back.into_iter().for_each(|status| self.tell(EventKind::Update(status)));
        // What was asked of its tasks meanwhile reaches it only now.
        for task in here {
            if self.out_of_sight.remove(&task) != Some(true) {
                continue;
            }
            if self.kills_take_time {
                self.wishes.push_back(Wish::Kill { task, grace: None });
            } else {
                self.report(&task, TaskState::Killed, None);
            }
        }
    }

    /// An operator wants an agent empty: nothing of it is offered any more, and the framework is told if it has something
    /// there. What runs there at the deadline is for the test to end.
    pub fn drain_agent(&mut self, id: &AgentId, deadline_ms: u64) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let notice = AgentDraining { agent: id.clone(), deadline_ms, reason: String::new() };
        let is_told = agent.drain.take().is_some_and(|drain| drain.is_told);
        agent.drain = Some(Drain { notice, is_told });
        let void: Vec<OfferId> = self.open_offers().filter(|(_, of)| *of == id).map(|(id, _)| id).collect();
        for offer in void {
            if let Some((agent, resources)) = self.offers.remove(&offer) {
                self.give_back(&agent, &resources);
            }
            self.tell(EventKind::Rescind(Rescind { offer, reason: RescindReason::Operator }));
        }
        self.tell_drain(id);
    }

    /// The agent takes work again; who was told of the drain is told of that.
    pub fn resume_agent(&mut self, id: &AgentId) {
        let drain = self.agents.get_mut(id).and_then(|agent| agent.drain.take());
        if drain.is_some_and(|drain| drain.is_told) {
            self.tell(EventKind::AgentResumed(AgentResumed { agent: id.clone() }));
        }
    }

    /// A session begins anew, and is told of every agent that is to be empty and on which the framework has something.
    pub(super) fn tell_drains(&mut self) {
        let ids: Vec<AgentId> = self.agents.keys().cloned().collect();
        for id in ids {
            if let Some(drain) = self.agents.get_mut(&id).and_then(|agent| agent.drain.as_mut()) {
                drain.is_told = false;
            }
            self.tell_drain(&id);
        }
    }

    /// Tells that an agent is to be empty, if the framework has something there or was told before.
    fn tell_drain(&mut self, id: &AgentId) {
        let concerned = self.has_something_on(id);
        let Some(drain) = self.agents.get_mut(id).and_then(|agent| agent.drain.as_mut()) else { return };
        if !drain.is_told && !concerned {
            return;
        }
        drain.is_told = true;
        let notice = drain.notice.clone();
        self.tell(EventKind::AgentDraining(notice));
    }

    /// Whether the framework has tasks on an agent, or something is reserved there for one of its roles: volumes are.
    fn has_something_on(&self, id: &AgentId) -> bool {
        let free = self.agents.get(id).map(|agent| &agent.free);
        let offered = self.offers.values().filter(|(of, _)| of == id).map(|(_, resources)| resources);
        let mut portions = free.into_iter().chain(offered).flat_map(|resources| resources.portions());
        let is_theirs = |kept: &Role| self.roles.iter().any(|role| role.is_within(kept));
        let reserved = portions.any(|portion| portion.reservation.as_ref().is_some_and(is_theirs));
        reserved || !self.tasks_on(id).is_empty()
    }

    /// The agent's machine is gone for good, and its tasks with it.
    pub fn give_up_agent(&mut self, id: &AgentId) {
        self.lose_agent(id);
        for task in self.tasks_on(id) {
            self.declare(&task, TaskState::GoneByOperator);
        }
        self.agents.remove(id);
    }

    /// The master forgets a task, as it forgets one that ended long ago.
    pub fn forget(&mut self, id: &TaskId) {
        if let Some(task) = self.tasks.remove(id)
            && !task.latest.state.is_terminal()
        {
            self.give_back(&task.agent, &task.info.resources);
        }
    }

    /// A task of the framework that its present process need not know: one of an earlier life. `false` when no agent
    /// has room for it.
    pub fn adopt(&mut self, info: TaskInfo) -> bool {
        let resources = info.resources.clone();
        let room = self.agents.iter_mut().find_map(|(id, on)| on.free.try_sub(&resources).then_some(id));
        let Some(agent) = room else { return false };
        self.index += 1;
        let (id, run, agent) = (info.id.clone(), RunId::at(self.index, 1), agent.clone());
        let mut latest = TaskStatus::by_master(id.clone(), TaskState::Staging, StatusReason::None, "", 0);
        latest.run = Some(run);
        latest.agent = Some(agent.clone());
        self.tasks.insert(id, Task { info, run, agent, latest, stream: Default::default(), sequence: 0 });
        true
    }
}
