//! `Followed`: what a client knows of a job it follows. Pure: events in; what to read, and in the end the exit code, out.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{JobEvent, Summary, Task, TaskState};

/// What a client knows of a job it follows. Events may repeat what is known: a watch that broke begins again.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub summary: Summary,
    pub framework_id: String,
    /// By task id.
    tasks: BTreeMap<String, Task>,
    /// The latest attempt of each instance that has had one.
    latest: BTreeMap<u32, Task>,
    /// Tasks whose output is being read, or was.
    read: BTreeSet<String>,
    pub over: bool,
}

// === impl Followed ===

impl Followed {
    /// Takes an event in; the tasks that changed.
    pub fn take(&mut self, event: JobEvent) -> Vec<Task> {
        if !event.framework_id.is_empty() {
            self.framework_id = event.framework_id;
        }
        if let Some(summary) = event.summary {
            self.over = summary.over;
            self.summary = summary;
        }
        let mut changed = Vec::new();
        for task in event.tasks {
            if task.task_id.is_empty() {
                continue;
            }
            // Over for good is over: what was on its way when it ended comes too late.
            let stale = self.tasks.get(&task.task_id).is_some_and(|known| {
                *known == task || (known.state().is_terminal() && !task.state().is_terminal())
            });
            if stale {
                continue;
            }
            let newest = self.latest.get(&task.instance).is_none_or(|known| known.attempt <= task.attempt);
            if newest {
                self.latest.insert(task.instance, task.clone());
            }
            self.tasks.insert(task.task_id.clone(), task.clone());
            changed.push(task);
        }
        changed
    }

    /// Whether a task's output can be read now and is not yet: said once for each task.
    pub fn begins_output(&mut self, task: &Task) -> bool {
        has_output(task) && self.read.insert(task.task_id.clone())
    }

    /// Whether anything has run.
    pub fn has_run(&self) -> bool {
        self.tasks.values().any(has_output)
    }

    /// The exit code of the job: the highest of its instances' latest tasks.
    pub fn exit_code(&self) -> u8 {
        let tasks = self.latest.values().map(exit_code).max();
        let missing = (self.latest.len() as u64) < u64::from(self.summary.wanted);
        tasks.unwrap_or(0).max(u8::from(missing))
    }

    /// Tasks that ended badly otherwise than by an exit code of their own: whoever waits must be told.
    pub fn mishaps(&self) -> impl Iterator<Item = &Task> {
        self.latest.values().filter(|task| {
            let state = task.state();
            state.is_terminal() && state != TaskState::TaskFinished && task.exit_code.is_none()
        })
    }
}

/// Whether the task got as far as running, so that there is output of it.
fn has_output(task: &Task) -> bool {
    let ended = task.exit_code.is_some() || task.exit_signal.is_some();
    let reachable = !task.agent_id.is_empty() || !task.agent_address.is_empty();
    reachable
        && match task.state() {
            TaskState::TaskRunning
            | TaskState::TaskKilling
            | TaskState::TaskFinished
            | TaskState::TaskFailed => true,
            // These may never have started.
            TaskState::TaskKilled | TaskState::TaskError => ended,
            TaskState::TaskUnreachable
            | TaskState::TaskLost
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
            | TaskState::TaskDropped
            | TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskWaiting
            | TaskState::Unspecified => false,
        }
}

/// As a shell has it: the code, or 128 and the signal. A task that ended badly without either is 1, and so is one that
/// was ended from outside and left with 0: what it was to do is not done.
fn exit_code(task: &Task) -> u8 {
    let bad = u8::from(task.state() != TaskState::TaskFinished);
    let own = match (task.exit_code, task.exit_signal) {
        // Exit codes are a byte; whatever else is reported must not pass for success.
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(signal).unwrap_or(127).saturating_add(128),
        (None, None) => 0,
    };
    own.max(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, instance: u32, attempt: u32, state: TaskState) -> Task {
        Task {
            task_id: id.into(),
            instance,
            attempt,
            state: state.into(),
            agent_address: "a:1".into(),
            ..Task::default()
        }
    }

    fn event(tasks: Vec<Task>) -> JobEvent {
        JobEvent { tasks, ..JobEvent::default() }
    }

    fn ended(id: &str, instance: u32, attempt: u32, code: Option<i32>, signal: Option<i32>) -> Task {
        let state = if code == Some(0) { TaskState::TaskFinished } else { TaskState::TaskFailed };
        Task { exit_code: code, exit_signal: signal, ..task(id, instance, attempt, state) }
    }

    #[test]
    fn output_is_read_once_however_often_it_is_told() {
        let mut job = Followed::default();
        let running = task("t", 0, 1, TaskState::TaskRunning);
        assert_eq!(job.take(event(vec![running.clone()])).len(), 1);
        assert!(job.begins_output(&running) && !job.begins_output(&running));
        assert!(job.take(event(vec![running.clone()])).is_empty());
        let done = ended("t", 0, 1, Some(0), None);
        assert_eq!(job.take(event(vec![done.clone()])).len(), 1);
        assert!(!job.begins_output(&done));
        assert!(job.take(event(vec![running])).is_empty(), "comes too late");
    }

    #[test]
    fn a_task_that_ended_before_anybody_looked_is_read_too() {
        let mut job = Followed::default();
        let done = ended("t", 0, 1, Some(3), None);
        job.take(event(vec![done.clone()]));
        assert!(job.begins_output(&done));
        let dropped = task("u", 1, 1, TaskState::TaskDropped);
        assert!(!job.begins_output(&dropped), "it never started");
    }

    #[test]
    fn the_exit_code_is_the_highest_of_the_latest_attempts() {
        let mut job =
            Followed { summary: Summary { wanted: 2, ..Summary::default() }, ..Followed::default() };
        assert_eq!(job.exit_code(), 1, "nothing has run");
        job.take(event(vec![ended("a1", 0, 1, Some(9), None), ended("b1", 1, 1, Some(0), None)]));
        assert_eq!(job.exit_code(), 9);
        job.take(event(vec![ended("a2", 0, 2, Some(0), None)]));
        assert_eq!(job.exit_code(), 0, "tried again, and well");
        job.take(event(vec![ended("b2", 1, 2, None, Some(9))]));
        assert_eq!(job.exit_code(), 137);
        assert_eq!(job.mishaps().count(), 1);
    }

    #[test]
    fn nothing_but_a_good_end_is_zero() {
        for (state, code, expected) in [
            (TaskState::TaskKilled, Some(0), 1),
            (TaskState::TaskKilled, Some(3), 3),
            (TaskState::TaskError, None, 1),
            (TaskState::TaskLost, None, 1),
            (TaskState::TaskFailed, Some(256), 1),
            (TaskState::TaskFailed, Some(-1), 1),
            (TaskState::TaskFinished, Some(0), 0),
        ] {
            let task = Task { exit_code: code, ..task("t", 0, 1, state) };
            assert_eq!(exit_code(&task), expected, "{state:?} {code:?}");
        }
    }
}
