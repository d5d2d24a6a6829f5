//! An instance that is several tasks: how it stands as a whole, and when what one of them did is what becomes of all.

use std::time::Duration;

use framework_sdk::Now;
use framework_sdk::desired::{Counts, InstanceName, Revision};
use framework_sdk::id::TaskId;
use framework_sdk::reconciler::Follows;
use framework_sdk::task::{TaskState as Known, TaskStatus};

use super::Jobs;
use super::group::{in_order, task_of};
use super::progress::{Next, not_before, state_of};
use super::work::{JobName, is_live};
use crate::spec::JobSpec;
use crate::store::{Instance, Job, Part};
use crate::wire::TaskState;

// === impl Part ===

impl Part {
    /// It stands so by what the master says.
    fn take(&mut self, status: &TaskStatus, ends: bool) {
        self.state = state_of(self.state, status, ends);
        self.exit = status.exit.or(self.exit);
        self.at_ms = status.at_ms;
        self.message.clone_from(&status.message);
    }
}

// === impl Instance ===

impl Instance {
    /// One of its tasks stands otherwise; whether none of them lives any more. How it stands as a whole is what the one does
    /// that is least far.
    pub(super) fn take_part(&mut self, status: &TaskStatus, ends: bool) -> bool {
        let its = self.parts.iter_mut().find(|part| part.task == status.task && is_live(part.state));
        if let Some(part) = its {
            part.take(status, ends);
        }
        let live = self.parts.iter().map(|part| part.state).filter(|state| is_live(*state));
        let least = live.min_by_key(|state| far(*state));
        if let Some(state) = least.filter(|_| is_live(self.state)) {
            self.state = if self.decided.is_some() { TaskState::TaskKilling } else { state };
            self.at_ms = status.at_ms;
        }
        least.is_none()
    }

    /// Its tasks that may be alive.
    pub(super) fn live_tasks(&self) -> Vec<TaskId> {
        if self.parts.is_empty() {
            return self.task.iter().cloned().collect();
        }
        self.parts.iter().filter(|part| is_live(part.state)).map(|part| part.task.clone()).collect()
    }

    /// It ended with this task, and for people so.
    pub(super) fn ended_with(&mut self, status: &TaskStatus) {
        self.exit = status.exit;
        self.message.clone_from(&status.message);
        if let Some(part) = self.parts.iter().find(|part| part.task == status.task) {
            self.message = match self.message.as_str() {
                "" => format!("{} {}", part.name, part.state.word()),
                why => format!("{}: {why}", part.name),
            };
        }
    }
}

fn far(state: TaskState) -> u8 {
    match state {
        TaskState::TaskUnreachable => 0,
        TaskState::TaskKilling => 1,
        TaskState::TaskStaging => 2,
        TaskState::TaskStarting => 3,
        TaskState::Unspecified
        | TaskState::TaskWaiting
        | TaskState::TaskRunning
        | TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => 4,
    }
}

/// What people call a task of an instance: the leader as the instance, the others with their names behind that.
pub(super) fn part_name(instance_name: &str, instance: &Instance, task: &TaskId) -> String {
    let all = std::iter::once(instance).chain(&instance.earlier).flat_map(|of| of.parts.iter().skip(1));
    let beside = all.into_iter().find(|part| part.task == *task);
    beside.map_or_else(|| instance_name.to_owned(), |part| format!("{instance_name}/{}", part.name))
}

/// The parts that an attempt has of which the first task is known: that one; none of an instance that is one task.
pub(super) fn first_part(job: &Job, status: &TaskStatus) -> Vec<Part> {
    let number = InstanceName::part_of_launch(&status.task).map_or(0, |(_, number)| number);
    let names = in_order(spec_of(job, &status.task));
    let known = usize::try_from(number).ok().and_then(|at| names.get(at));
    known.into_iter().map(|part| new_part(part.name.clone(), status)).collect()
}

/// The spec that a task was started from: what runs before a change, and after one that failed, is the one before.
fn spec_of<'a>(job: &'a Job, task: &TaskId) -> &'a JobSpec {
    let revision = Revision::of_task(task);
    let before =
        job.before.as_deref().filter(|before| !before.tasks.is_empty() || !job.spec.tasks.is_empty());
    before.filter(|before| Some(task_of(before).revision()) == revision).unwrap_or(&job.spec)
}

fn new_part(name: String, status: &TaskStatus) -> Part {
    Part {
        name,
        task: status.task.clone(),
        state: status.state.into(),
        exit: status.exit,
        message: status.message.clone(),
        at_ms: status.at_ms,
    }
}

impl Jobs {
    /// A task that is heard of for the first time belongs to an attempt that is known by its first one. False when it does
    /// not.
    pub(super) fn joins(&mut self, job: &JobName, name: &InstanceName, status: &TaskStatus) -> bool {
        let Some((first, number)) = InstanceName::part_of_launch(&status.task) else { return false };
        let Some(stored) = self.state.jobs.get(&**job) else { return false };
        let Some(mut instance) = stored.instances.get(&name.number).cloned() else { return false };
        let known = |of: &Instance| of.parts.iter().any(|part| part.task == status.task);
        let is_known = known(&instance) || instance.earlier.iter().any(known);
        if is_known || instance.task.as_ref() != Some(&first) || instance.parts.is_empty() {
            return false;
        }
        let names = in_order(spec_of(stored, &first));
        let named = usize::try_from(number).ok().and_then(|at| names.get(at));
        let part = named.map_or_else(|| number.to_string(), |part| part.name.clone());
        // The leader stands first, whichever is heard of first.
        let at = if number == 0 { 0 } else { instance.parts.len() };
        instance.parts.insert(at, new_part(part, status));
        self.put(job, instance);
        true
    }

    /// One task of an instance that is several stands otherwise.
    pub(super) fn part_moved(
        &mut self,
        now: Now,
        name: &InstanceName,
        mut instance: Instance,
        status: &TaskStatus,
        follows: Follows,
    ) {
        let ends = status.state.is_terminal() || status.state == Known::Unknown;
        let Some(part) = instance.parts.iter().find(|part| part.task == status.task) else { return };
        // That it was accepted is news only if its agent was out of sight.
        let is_old = status.state == Known::Staging && part.state != TaskState::TaskUnreachable;
        if !is_live(part.state) || is_old {
            return;
        }
        let job = super::key(name.group.as_str());
        let is_over = instance.take_part(status, ends);
        match (is_over, instance.decided) {
            (true, Some(cause)) => {
                instance.state = cause;
                self.end_decided(now, name, instance);
            }
            (true, None) => self.end(now, name, instance, status, follows),
            (false, None) if follows != Follows::Nothing => {
                let cause = instance.parts.iter().find(|part| part.task == status.task);
                instance.decided = cause.map(|part| part.state);
                instance.state = TaskState::TaskKilling;
                self.decide(now, name, instance, status, follows);
            }
            (false, _) if ends => self.put(&job, instance),
            (false, _) => self.replace(&job, instance),
        }
    }

    /// One of several tasks has ended all of an attempt: what follows is stored, and done when the others have ended.
    fn decide(
        &mut self,
        now: Now,
        name: &InstanceName,
        mut ending: Instance,
        status: &TaskStatus,
        follows: Follows,
    ) {
        let Some(next) = self.next(name, &ending, follows) else { return };
        ending.ended_with(status);
        // What gives up asks how it ended.
        let stands = std::mem::replace(&mut ending.state, ending.decided.unwrap_or(TaskState::TaskFailed));
        let next = self.bound(now, name, &mut ending, next);
        ending.state = stands;
        match next {
            Next::Again(pause, counts) => {
                ending.not_before_ms = not_before(now, pause);
                (ending.failures, ending.retries) = (counts.failures, counts.retries);
            }
            Next::Over => ending.last = true,
            Next::Back | Next::Dropped => {}
        }
        let job = super::key(name.group.as_str());
        self.put(&job, ending);
    }

    /// All tasks of an attempt have ended of which it was decided what follows.
    fn end_decided(&mut self, now: Now, name: &InstanceName, mut ended: Instance) {
        ended.decided = None;
        let follows = match std::mem::take(&mut ended.last) {
            true => Follows::Over,
            false => {
                let left_ms = ended.not_before_ms.saturating_sub(now.wall.as_millis());
                Follows::Again(Duration::from_millis(left_ms))
            }
        };
        let job = super::key(name.group.as_str());
        let Some(next) = self.next(name, &ended, follows) else { return };
        let next = match next {
            Next::Again(pause, counts) => {
                let (failures, retries) = (ended.failures, ended.retries);
                Next::Again(pause, Counts { failures, retries, ..counts })
            }
            other => other,
        };
        self.go_on(now, &job, ended, next);
    }
}
