//! What befalls the pretend agents, and the master's memory of their tasks.

use proto::agent::AgentState;
use proto::id::{AgentId, OfferId, RunId, TaskId};
use proto::scheduler::{AgentDraining, AgentResumed, EventKind, Failure, Rescind, RescindReason};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};

use super::{Fake, Task};

impl Fake {
    pub(super) fn is_away(&self, agent: &AgentId) -> bool {
        self.agents.get(agent).is_none_or(|agent| agent.away)
    }

    fn tasks_on(&self, agent: &AgentId) -> Vec<TaskId> {
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
        for id in here {
            if self.out_of_sight.remove(&id) == Some(true) {
                self.report(&id, TaskState::Killed, None);
            }
        }
    }

    /// An operator wants an agent empty: nothing of it is offered any more, and the framework is told if it has tasks
    /// there. What runs there at the deadline is for the test to end.
    pub fn drain_agent(&mut self, id: &AgentId, deadline_ms: u64) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let notice = AgentDraining { agent: id.clone(), deadline_ms, reason: String::new() };
        agent.drain = Some(notice);
        let void: Vec<OfferId> = self.open_offers().filter(|(_, of)| *of == id).map(|(id, _)| id).collect();
        for offer in void {
            if let Some((agent, resources)) = self.offers.remove(&offer) {
                self.give_back(&agent, &resources);
            }
            self.tell(EventKind::Rescind(Rescind { offer, reason: RescindReason::Operator }));
        }
        self.tell_drains();
    }

    /// The agent takes work again.
    pub fn resume_agent(&mut self, id: &AgentId) {
        if self.agents.get_mut(id).is_some_and(|agent| agent.drain.take().is_some()) {
            self.tell(EventKind::AgentResumed(AgentResumed { agent: id.clone() }));
        }
    }

    pub(super) fn tell_drains(&mut self) {
        let drains: Vec<AgentDraining> =
            self.agents.values().filter_map(|agent| agent.drain.clone()).collect();
        for notice in drains {
            if !self.tasks_on(&notice.agent).is_empty() {
                self.tell(EventKind::AgentDraining(notice));
            }
        }
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
