//! How instances go on: what the master tells of their tasks, and what time brings.

use std::time::Duration;

use framework_sdk::id::TaskId;
use framework_sdk::task::{TaskState, TaskStatus};
use framework_sdk::{Instant, Now};

use super::places::key;
use super::work::{Counted, JobName, Work, is_live, is_over};
use super::{Due, FORGET_AFTER, Jobs, KILL_AGAIN};
use crate::reconcile::{Counts, End, Next, UNREACHABLE_LIMIT, after, to_replace};
use crate::store::{Instance, Record};
use crate::wire;

impl Jobs {
    /// Takes up what was stored, as far as that needs no time.
    pub(super) fn recover(&mut self) {
        for (name, stored) in &self.state.jobs {
            let job = key(name);
            let mut work = Work::new(&stored.spec);
            work.rolling = true;
            for instance in stored.instances.values() {
                work.sums.add(Counted::of(Some(instance)));
                if let Some(task) = instance.task.clone().filter(|_| is_live(instance.state)) {
                    self.tasks.insert(task, (job.clone(), instance.number));
                }
            }
            self.work.insert(job.clone(), work);
            self.touched.insert(job);
        }
        self.due.set(Due::Begin, Instant::default());
    }

    /// Takes up the rest: who waits, and which tasks should have ended.
    pub(super) fn begin(&mut self, now: Now) {
        let removed = self.state.framework.is_none();
        let jobs: Vec<JobName> = self.work.keys().cloned().collect();
        for job in jobs {
            let Some(stored) = self.state.jobs.get(&*job) else { continue };
            let unwanted = |number: u32| stored.stopped || number >= stored.spec.instances;
            let live = stored.instances.values().filter(|instance| is_live(instance.state));
            let live: Vec<(u32, bool)> = live.map(|i| (i.number, unwanted(i.number))).collect();
            for (number, unwanted) in live {
                if removed {
                    // The framework that ran it was torn down, and every task with it.
                    self.end(now, &job, number, TaskState::Gone, "the framework was removed", None);
                } else if unwanted {
                    self.kill_instance(now, &job, number);
                }
            }
            self.wake_waiting(now, &job);
        }
    }

    /// Instances that wait and do not rest may be placed.
    pub(super) fn wake_waiting(&mut self, now: Now, job: &JobName) {
        let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get_mut(job)) else {
            return;
        };
        if stored.stopped {
            work.ready.clear();
            return;
        }
        self.demands_changed = true;
        for number in 0..stored.spec.instances {
            let rest = match stored.instances.get(&number) {
                None => 0,
                Some(instance) if instance.state != wire::TaskState::TaskWaiting || instance.last => continue,
                Some(instance) => instance.not_before_ms.saturating_sub(now.wall.as_millis()),
            };
            if rest == 0 {
                work.ready.insert(number);
            } else {
                // A clock that was set back makes nobody wait longer than the longest pause.
                let rest = Duration::from_millis(rest).min(stored.spec.restart.max);
                self.due.set(Due::Rested(job.clone(), number), now.monotonic + rest);
            }
        }
    }

    /// Replaces an instance, and counts it anew. Recorded only where it must outlive the process.
    pub(super) fn put(&mut self, job: &JobName, instance: Instance) {
        self.replace(job, instance.clone());
        self.records.push(Record::InstanceStored { job: job.to_string(), instance });
    }

    fn replace(&mut self, job: &JobName, instance: Instance) {
        let (Some(stored), Some(work)) = (self.state.jobs.get_mut(&**job), self.work.get_mut(job)) else {
            return;
        };
        self.touched.insert(job.clone());
        work.sums.add(Counted::of(Some(&instance)));
        let number = instance.number;
        let before = stored.instances.insert(number, instance);
        work.sums.sub(Counted::of(before.as_ref()));
        self.note(job, number);
    }

    /// The master tells how a task stands.
    pub(super) fn progress(&mut self, now: Now, status: &TaskStatus) {
        let Some((job, number)) = self.tasks.get(&status.task).cloned() else {
            // Of an attempt that was given up, or of a job that is forgotten: nobody wants it to run.
            if !status.state.is_terminal() && status.state != TaskState::Unknown {
                self.kill(now, status.task.clone());
            } else {
                self.due.cancel(&Due::Kill(status.task.clone()));
            }
            return;
        };
        match status.state {
            TaskState::Staging => self.in_sight(&job, number),
            TaskState::Starting | TaskState::Running | TaskState::Killing => {
                self.moved(now, &job, number, status)
            }
            TaskState::Unreachable => {
                self.moved(now, &job, number, status);
                self.due.set(Due::GivenUp(job, number), now.monotonic + UNREACHABLE_LIMIT);
            }
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => {
                self.end(now, &job, number, status.state, &status.message, Some(status));
            }
        }
    }

    /// A task of which nothing is known but that it was accepted: news only if its agent was out of sight.
    fn in_sight(&mut self, job: &JobName, number: u32) {
        let instance = self.state.jobs.get(&**job).and_then(|stored| stored.instances.get(&number));
        let Some(instance) = instance.filter(|i| i.state == wire::TaskState::TaskUnreachable) else { return };
        let instance = Instance { state: wire::TaskState::TaskStaging, ..instance.clone() };
        self.replace(job, instance);
        self.due.cancel(&Due::GivenUp(job.clone(), number));
    }

    /// A task stands otherwise and lives.
    fn moved(&mut self, now: Now, job: &JobName, number: u32, status: &TaskStatus) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let Some(instance) = stored.instances.get(&number) else { return };
        let (stopped, beyond) = (stored.stopped, number >= stored.spec.instances);
        let mut instance = instance.clone();
        instance.state = status.state.into();
        instance.at_ms = status.at_ms;
        instance.message.clone_from(&status.message);
        if let Some(work) = self.work.get_mut(job)
            && status.state != TaskState::Unreachable
        {
            work.fresh.remove(&number);
            work.drops.remove(&number);
            if status.state == TaskState::Running {
                work.since.entry(number).or_insert(status.at_ms);
            }
            self.due.cancel(&Due::GivenUp(job.clone(), number));
        }
        // Not stored: the master tells it again.
        self.replace(job, instance);
        let condemned = self.due.get(&Due::Kill(status.task.clone())).is_some();
        if (stopped || beyond) && !condemned && status.state != TaskState::Unreachable {
            self.kill(now, status.task.clone());
        }
    }

    /// An attempt is over.
    fn end(
        &mut self,
        now: Now,
        job: &JobName,
        number: u32,
        state: TaskState,
        message: &str,
        status: Option<&TaskStatus>,
    ) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let Some(instance) = stored.instances.get(&number) else { return };
        let (spec, stopped) = (stored.spec.clone(), stored.stopped);
        let mut ended = instance.clone();
        let task = ended.task.clone();
        let Some(work) = self.work.get_mut(job) else { return };
        let at_ms = status.map_or(ended.at_ms, |status| status.at_ms);
        let ran = work.since.get(&number).map_or(0, |since| at_ms.saturating_sub(*since));
        // What an earlier life of the framework launched may have begun, unless the master never knew it.
        let unseen = ended.state == wire::TaskState::TaskStaging;
        let began = if state == TaskState::Unknown { !unseen } else { !work.fresh.contains(&number) };
        let end = End { state, began, ran: Duration::from_millis(ran) };
        let replacing = work.replacing.contains(&number);
        let counts =
            Counts { failures: ended.failures, drops: work.drops.get(&number).copied().unwrap_or_default() };
        work.clear(number);
        if let Some(task) = &task {
            self.tasks.remove(task);
            self.due.cancel(&Due::Kill(task.clone()));
        }
        self.due.cancel(&Due::GivenUp(job.clone(), number));

        // To people an attempt that nobody knows of is one that never was.
        ended.state = match state {
            TaskState::Unknown if began => TaskState::Lost.into(),
            TaskState::Unknown => TaskState::Dropped.into(),
            known => known.into(),
        };
        ended.exit = status.and_then(|status| status.exit);
        ended.message = message.to_owned();
        ended.at_ms = at_ms;
        if number >= spec.instances {
            // The job got smaller.
            ended.last = true;
            self.replace(job, ended);
            self.drop_instance(job, number);
            return;
        }
        let next = match after(&spec, counts, end) {
            _ if stopped => Next::Over,
            // It was ended to come back otherwise: that is no failure.
            _ if replacing => Next::Again { pause: Duration::ZERO, counts: Counts::default() },
            next => next,
        };
        let note = super::report::ended(job, &ended, matches!(next, Next::Again { .. }));
        self.outputs.extend(note.map(super::Output::Note));
        match next {
            Next::Over => {
                ended.last = true;
                self.put(job, ended);
            }
            Next::Again { pause, counts } => self.again(now, job, ended, pause, counts),
        }
    }

    /// Another attempt follows after a pause.
    fn again(&mut self, now: Now, job: &JobName, ended: Instance, pause: Duration, counts: Counts) {
        let number = ended.number;
        // Watchers see the end before the instance waits again.
        self.replace(job, ended.clone());
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let not_before_ms = if millis == 0 { 0 } else { now.wall.as_millis().saturating_add(millis) };
        let waits = Instance {
            attempt: ended.attempt.saturating_add(1),
            task: None,
            state: wire::TaskState::TaskWaiting,
            agent: None,
            hostname: String::new(),
            agent_address: String::new(),
            failures: counts.failures,
            restarts: ended.restarts.saturating_add(u64::from(counts.drops == 0)),
            not_before_ms,
            at_ms: now.wall.as_millis(),
            ..ended
        };
        self.restarts += u64::from(counts.drops == 0);
        self.put(job, waits);
        let Some(work) = self.work.get_mut(job) else { return };
        if counts.drops > 0 {
            work.drops.insert(number, counts.drops);
        }
        if pause.is_zero() {
            work.ready.insert(number);
            self.demands_changed = true;
        } else {
            self.due.set(Due::Rested(job.clone(), number), now.monotonic + pause);
        }
    }

    /// Its pause is over.
    pub(super) fn rested(&mut self, job: &JobName, number: u32) {
        let Some(stored) = self.state.jobs.get(&**job).filter(|stored| !stored.stopped) else { return };
        let waits = stored
            .instances
            .get(&number)
            .is_some_and(|instance| instance.state == wire::TaskState::TaskWaiting && !instance.last);
        if let Some(work) = self.work.get_mut(job).filter(|_| waits) {
            work.ready.insert(number);
            self.demands_changed = true;
        }
    }

    /// Its agent was out of sight for too long: a service goes on elsewhere.
    pub(super) fn give_up(&mut self, now: Now, job: &JobName, number: u32) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let service = stored.spec.kind == crate::spec::Kind::Service;
        let unreachable = stored
            .instances
            .get(&number)
            .is_some_and(|instance| instance.state == wire::TaskState::TaskUnreachable);
        if service && unreachable {
            let message =
                "its agent was out of sight for too long; it is replaced, and ended if it comes back";
            self.end(now, job, number, TaskState::Gone, message, None);
        }
    }

    /// Has a task end, and asks again if it does not.
    pub(super) fn kill(&mut self, now: Now, task: TaskId) {
        self.due.set(Due::Kill(task.clone()), now.monotonic + KILL_AGAIN);
        self.kills.push(task);
    }

    /// Kills the task of an instance, if it has one.
    pub(super) fn kill_instance(&mut self, now: Now, job: &JobName, number: u32) -> bool {
        let instance = self.state.jobs.get(&**job).and_then(|stored| stored.instances.get(&number));
        let task =
            instance.filter(|instance| is_live(instance.state)).and_then(|instance| instance.task.clone());
        let Some(task) = task else { return false };
        self.kill(now, task);
        true
    }

    /// The instance is no part of the job any more.
    pub(super) fn drop_instance(&mut self, job: &JobName, number: u32) {
        let (Some(stored), Some(work)) = (self.state.jobs.get_mut(&**job), self.work.get_mut(job)) else {
            return;
        };
        let Some(instance) = stored.instances.remove(&number) else { return };
        work.sums.sub(Counted::of(Some(&instance)));
        work.clear(number);
        work.drops.remove(&number);
        self.due.cancel(&Due::Rested(job.clone(), number));
        self.records.push(Record::InstanceForgotten { job: job.to_string(), number });
        self.touched.insert(job.clone());
    }

    /// Services that changed are brought to their present revision, one instance at a time.
    pub(super) fn roll(&mut self, now: Now) {
        let jobs: Vec<JobName> = self.touched.iter().cloned().collect();
        for job in jobs {
            let rolls = self.work.get(&job).is_some_and(|work| work.rolling && work.replacing.is_empty());
            let Some(stored) = self.state.jobs.get(&*job).filter(|stored| rolls && !stored.stopped) else {
                continue;
            };
            if stored.spec.kind != crate::spec::Kind::Service {
                continue;
            }
            let next = to_replace(stored);
            let behind = stored.instances.values().any(|i| i.revision < stored.revision && is_live(i.state));
            if let Some(work) = self.work.get_mut(&job) {
                work.rolling = behind;
                if let Some(number) = next {
                    work.replacing.insert(number);
                }
            }
            if let Some(number) = next {
                self.kill_instance(now, &job, number);
            }
        }
    }

    /// Jobs that came to their end are forgotten, at once or in time.
    pub(super) fn summarize(&mut self, now: Now) {
        self.tell_watchers();
        for job in std::mem::take(&mut self.touched) {
            let (Some(stored), Some(work)) = (self.state.jobs.get(&*job), self.work.get(&job)) else {
                continue;
            };
            let due = Due::Forget(job.clone());
            if !is_over(stored, &work.sums) {
                self.due.cancel(&due);
            } else if stored.stopped && stored.purge {
                self.forget(&job);
            } else if stored.ephemeral && self.due.get(&due).is_none() {
                self.due.set(due, now.monotonic + FORGET_AFTER);
            }
        }
    }

    /// Forgets a job that is over.
    pub(super) fn forget(&mut self, job: &JobName) {
        let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get(job)) else { return };
        if !is_over(stored, &work.sums) {
            return;
        }
        let numbers: Vec<u32> = stored.instances.keys().copied().collect();
        for number in numbers {
            self.due.cancel(&Due::Rested(job.clone(), number));
        }
        self.due.cancel(&Due::Forget(job.clone()));
        self.work.remove(job);
        self.record(Record::JobForgotten { name: job.to_string() });
        self.demands_changed = true;
        // Nothing is left to summarize, but it counts no more.
        self.touched.insert(job.clone());
        self.end_watches(job);
    }
}
