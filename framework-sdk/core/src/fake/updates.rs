//! What the pretend agents and the pretend master say of tasks, each until it is acknowledged.

use std::time::Duration;

use proto::id::{RunId, TaskId};
use proto::scheduler::EventKind;
use proto::task::{Exit, StatusReason, StatusSource, TaskState, TaskStatus};

use super::{Fake, Task};

impl Fake {
    pub(super) fn acknowledge(&mut self, id: &TaskId, run: RunId, sequence: u64) {
        let Some(task) = self.tasks.get_mut(id).filter(|task| task.run == run) else { return };
        if task.stream.front().is_some_and(|head| head.sequence == sequence) {
            task.stream.pop_front();
            let agent = task.agent.clone();
            if let Some(next) = task.stream.front().cloned()
                && !self.is_away(&agent)
            {
                self.tell(EventKind::Update(next));
            }
        }
    }

    /// An agent reports a task's new state.
    pub fn report(&mut self, id: &TaskId, state: TaskState, exit: Option<Exit>) {
        self.say_of(id, state, exit, StatusReason::None);
        let group = self.tasks.get(id).and_then(|task| task.info.group.clone());
        if let Some(group) = group.filter(|_| state.is_terminal() && state != TaskState::Finished) {
            let with = self.tasks.iter().filter(|(_, task)| task.info.group.as_ref() == Some(&group));
            let others: Vec<TaskId> = with.map(|(other, _)| other.clone()).collect();
            for other in others {
                self.say_of(&other, TaskState::Killed, None, StatusReason::GroupEnded);
            }
        }
    }

    fn say_of(&mut self, id: &TaskId, state: TaskState, exit: Option<Exit>, reason: StatusReason) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.latest.state.is_terminal() {
            return;
        }
        let runs = state == TaskState::Running;
        task.latest.state = state;
        task.latest.exit = exit;
        task.latest.reason = reason;
        (task.latest.healthy, task.latest.grace) = (None, None);
        // Not before its first success.
        task.latest.ready = (runs && task.info.checks.readiness.is_some()).then_some(false);
        self.report_latest(id);
    }

    /// A task is being ended, and has so long before it is killed.
    pub fn report_killing(&mut self, id: &TaskId, grace: Duration) {
        let Some(task) = self.tasks.get_mut(id).filter(|task| !task.latest.state.is_terminal()) else {
            return;
        };
        task.latest.state = TaskState::Killing;
        task.latest.reason = StatusReason::KillRequested;
        (task.latest.healthy, task.latest.ready, task.latest.grace) = (None, None, Some(grace));
        self.report_latest(id);
    }

    /// What the checks of a running task say has changed; `None` for a check that it does not have.
    pub fn report_checks(&mut self, id: &TaskId, healthy: Option<bool>, ready: Option<bool>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.latest.state != TaskState::Running {
            return;
        }
        task.latest.reason = StatusReason::CheckChanged;
        task.latest.healthy = healthy;
        task.latest.ready = ready;
        self.report_latest(id);
    }

    /// The agent tells the latest status of a task, as a new one.
    fn report_latest(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.sequence += 1;
        task.latest.source = StatusSource::Agent;
        let state = task.latest.state;
        let mut status = task.latest.clone();
        status.sequence = task.sequence;
        task.stream.push_back(status.clone());
        let only = task.stream.len() == 1;
        let (agent, resources) = (task.agent.clone(), task.info.resources.clone());
        if state.is_terminal() {
            self.give_back(&agent, &resources);
        }
        if only && !self.is_away(&agent) {
            self.tell(EventKind::Update(status));
        }
    }

    /// The master says something of a task by itself, such as that it is unreachable.
    pub fn declare(&mut self, id: &TaskId, state: TaskState) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let mut status = TaskStatus::by_master(id.clone(), state, StatusReason::AgentUnreachable, "", 0);
        status.run = Some(task.run);
        status.agent = Some(task.agent.clone());
        if state.is_terminal() {
            task.latest = status.clone();
        }
        self.tell(EventKind::Update(status));
        if state == TaskState::Unreachable {
            self.out_of_sight.entry(id.clone()).or_default();
        } else if self.out_of_sight.remove(id) == Some(true) {
            self.report(id, TaskState::Killed, None);
        }
    }

    /// Agents send the latest of each task again, also what was acknowledged: they did not hear of it.
    pub fn repeat(&mut self) {
        let told = self.tasks.values().filter(|task| task.sequence > 0 && task.stream.is_empty());
        let latest: Vec<TaskStatus> =
            told.map(|task| TaskStatus { sequence: task.sequence, ..task.latest.clone() }).collect();
        for status in latest {
            self.tell(EventKind::Update(status));
        }
    }

    /// Agents send again what is not acknowledged.
    pub fn redeliver(&mut self) {
        let near = self.tasks.values().filter(|task| !self.is_away(&task.agent));
        let heads: Vec<TaskStatus> = near.filter_map(|task| task.stream.front().cloned()).collect();
        for head in heads {
            self.tell(EventKind::Update(head));
        }
    }
}

impl Task {
    /// The status in the order of acknowledgements: a framework is never told more than its next update.
    pub(super) fn acknowledged(&self) -> TaskStatus {
        self.stream.front().unwrap_or(&self.latest).clone()
    }
}
