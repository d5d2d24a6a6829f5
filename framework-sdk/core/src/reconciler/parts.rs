//! An instance that is several tasks: how it stands as a whole follows from how each of them does.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::TaskId;
use proto::task::{StatusReason, TaskState, TaskStatus};

/// The tasks of an attempt that is several; empty for one that is a single task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    states: BTreeMap<TaskId, TaskState>,
    /// Those whose checks say that they do not serve.
    idle: BTreeSet<TaskId>,
    /// The end that ended all.
    cause: Option<TaskState>,
}

// === impl Parts ===

impl Parts {
    pub fn of(tasks: impl Iterator<Item = TaskId>) -> Self {
        Parts { states: tasks.map(|task| (task, TaskState::Staging)).collect(), ..Parts::default() }
    }

    /// As an author remembers them: with how those ended that did.
    pub fn resumed(tasks: impl Iterator<Item = (TaskId, Option<TaskState>)>) -> Self {
        let states = tasks.map(|(task, end)| (task, end.unwrap_or(TaskState::Staging))).collect();
        Parts { states, ..Parts::default() }
    }

    /// One more of them is met, as after a new start of the framework.
    pub fn join(&mut self, task: TaskId, state: TaskState) {
        self.states.entry(task).or_insert(state);
    }

    pub fn has(&self, task: &TaskId) -> bool {
        self.states.contains_key(task)
    }

    pub fn is_single(&self) -> bool {
        self.states.is_empty()
    }

    pub fn tasks(&self) -> impl Iterator<Item = &TaskId> {
        self.states.keys()
    }

    /// Those that have not ended.
    pub fn live(&self) -> impl Iterator<Item = &TaskId> {
        self.states.iter().filter(|(_, state)| !is_over(**state)).map(|(task, _)| task)
    }

    /// Whether the first of them is not there: it ended in an earlier life, and the others should have ended with it.
    pub fn are_orphans_of(&self, first: &TaskId) -> bool {
        !self.states.is_empty() && !self.states.contains_key(first)
    }

    /// One of them stands so now: the status of all as that of the first, and how that ended all of them, if it did while
    /// others still run.
    pub fn fold(&mut self, first: &TaskId, status: &TaskStatus) -> (TaskStatus, Option<TaskState>) {
        self.states.insert(status.task.clone(), status.state);
        if status.ready == Some(false) || status.healthy == Some(false) {
            self.idle.insert(status.task.clone());
        } else {
            self.idle.remove(&status.task);
        }
        let is_first = status.task == *first;
        let ended_well = status.state == TaskState::Finished;
        // Who was ended because of another one is no cause.
        let may_be_cause = is_over(status.state) && status.reason != StatusReason::GroupEnded;
        let is_cause = self.cause.is_none() && may_be_cause && (is_first || !ended_well);
        if is_cause {
            self.cause = Some(status.state);
        }
        let others_live = self.live().next().is_some();
        let state = match self.cause {
            _ if !others_live => self.cause.unwrap_or(TaskState::Failed),
            Some(_) => TaskState::Killing,
            None => self.least(),
        };
        let run = if is_first { status.run } else { None };
        let serves = self.live().all(|task| !self.idle.contains(task));
        let (ready, healthy) = (Some(serves), Some(serves));
        let whole = TaskStatus { task: first.clone(), state, run, ready, healthy, ..status.clone() };
        (whole, self.cause.filter(|_| is_cause && others_live))
    }

    /// How the one of them stands that is least far.
    fn least(&self) -> TaskState {
        let live = self.states.values().copied().filter(|state| !is_over(*state));
        let far = |state: &TaskState| match state {
            TaskState::Unreachable => 0,
            TaskState::Killing => 1,
            TaskState::Staging => 2,
            TaskState::Starting => 3,
            TaskState::Running
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => 4,
        };
        live.min_by_key(far).unwrap_or(TaskState::Staging)
    }
}

fn is_over(state: TaskState) -> bool {
    state.is_terminal() || state == TaskState::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        TaskId::new(text).expect("an id")
    }

    fn told(
        parts: &mut Parts,
        task: &str,
        state: TaskState,
        reason: StatusReason,
    ) -> (TaskState, Option<TaskState>) {
        let status = TaskStatus::by_master(id(task), state, reason, "", 0);
        let (whole, cause) = parts.fold(&id("t"), &status);
        assert_eq!(whole.task, id("t"));
        (whole.state, cause)
    }

    fn two() -> Parts {
        Parts::of([id("t"), id("t.1")].into_iter())
    }

    #[test]
    fn it_runs_when_all_run() {
        let mut parts = two();
        assert_eq!(told(&mut parts, "t", TaskState::Running, StatusReason::None).0, TaskState::Staging);
        assert_eq!(told(&mut parts, "t.1", TaskState::Running, StatusReason::None).0, TaskState::Running);
        assert_eq!(
            told(&mut parts, "t.1", TaskState::Unreachable, StatusReason::None).0,
            TaskState::Unreachable
        );
    }

    #[test]
    fn a_bad_end_of_any_is_the_end_of_all_and_its_cause() {
        let mut parts = two();
        assert_eq!(told(&mut parts, "t.1", TaskState::Failed, StatusReason::None).0, TaskState::Killing);
        let last = told(&mut parts, "t", TaskState::Killed, StatusReason::GroupEnded);
        assert_eq!(last, (TaskState::Failed, None));
    }

    #[test]
    fn a_good_end_of_the_first_ends_the_others_and_that_of_another_does_not() {
        let mut parts = two();
        told(&mut parts, "t", TaskState::Running, StatusReason::None);
        assert_eq!(told(&mut parts, "t.1", TaskState::Finished, StatusReason::None).0, TaskState::Running);
        assert_eq!(told(&mut parts, "t", TaskState::Finished, StatusReason::None).0, TaskState::Finished);
        let mut parts = two();
        told(&mut parts, "t.1", TaskState::Running, StatusReason::None);
        let first = told(&mut parts, "t", TaskState::Finished, StatusReason::None);
        assert_eq!(first, (TaskState::Killing, Some(TaskState::Finished)));
        assert_eq!(told(&mut parts, "t.1", TaskState::Killed, StatusReason::None).0, TaskState::Finished);
    }
}
