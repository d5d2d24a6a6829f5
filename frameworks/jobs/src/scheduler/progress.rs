//! How instances go on: what the reconciler tells of their tasks, and when jobs are over.

use std::collections::BTreeSet;
use std::time::Duration;

use framework_sdk::Now;
use framework_sdk::desired::{Counts, InstanceName};
use framework_sdk::id::TaskId;
use framework_sdk::reconciler::{Event, Follows, Order, RolloutStep, TaskEvent};
use framework_sdk::task::{TaskState, TaskStatus};

use super::report::Note;
use super::work::{Counted, JobName, is_live, is_over};
use super::{Due, FORGET_AFTER, Jobs, key};
use crate::spec::{Kind, show_duration};
use crate::store::{Instance, Job, Record};
use crate::wire;

/// What follows the end of a task.
pub(super) enum Next {
    /// Another attempt after a pause.
    Again(Duration, Counts),
    /// Nothing: the instance is over.
    Over,
    /// The attempt before it, which it was to replace, goes on.
    Back,
    /// The instance is no part of the job any more.
    Dropped,
}

impl Jobs {
    /// The reconciler tells what happened.
    pub(super) fn told(&mut self, now: Now, event: Event) {
        match event {
            Event::Task(event) => self.task_moved(now, event),
            Event::GivenUp { instance, task } => self.given_up(now, &instance, &task),
            Event::Volume { instance, volume, step } => self.volume_moved(&instance, volume, step),
            Event::Rollout { group, step, .. } => self.change_moved(group.as_str(), step),
            Event::AsStated(group) => self.settled(group.as_str()),
            Event::Session(_)
            | Event::Drain { .. }
            | Event::AgentDraining(_)
            | Event::AgentResumed(_)
            | Event::Over(_)
            | Event::Withdrawn(_)
            | Event::Unclaimed(_)
            | Event::Refused { .. }
            | Event::Ended(_) => {}
        }
    }

    /// A change of a service is one step further.
    fn change_moved(&mut self, name: &str, step: RolloutStep) {
        let Some((job, _)) = self.work.get_key_value(name) else { return };
        let job = job.clone();
        let what = match step {
            RolloutStep::Begun | RolloutStep::Promoted => None,
            RolloutStep::Done => {
                self.settled(name);
                None
            }
            RolloutStep::CanaryWaits => Some("has canaries in service, and waits for a word"),
            RolloutStep::GoesBack(_) => Some("goes back, because its change failed"),
            RolloutStep::RolledBack(_) => Some("runs again what it ran before"),
            RolloutStep::Stopped(_) => Some("stays as it is, because its change failed"),
        };
        if let Some(what) = what {
            self.report(Note::Job { job: name.to_owned(), what });
        }
        if let Some(work) = self.work.get_mut(&job) {
            work.change = Some(step);
        }
        self.touched.insert(job);
    }

    /// A service is in service as a whole: a later change may go back to this.
    fn settled(&mut self, name: &str) {
        let service = |job: &&Job| job.spec.kind == Kind::Service && !job.settled;
        let failed = self.work.get(name).and_then(|work| work.change).is_some_and(has_failed);
        if self.state.jobs.get(name).filter(service).is_some() && !failed {
            self.record(Record::JobSettled { name: name.to_owned() });
            self.touched.extend(self.work.get_key_value(name).map(|(job, _)| job.clone()));
        }
    }

    /// Replaces an instance, and counts it anew. Recorded only where it must outlive the process.
    pub(super) fn put(&mut self, job: &JobName, instance: Instance) {
        self.replace(job, instance.clone());
        self.records.push(Record::InstanceStored { job: job.to_string(), instance });
    }

    pub(super) fn replace(&mut self, job: &JobName, instance: Instance) {
        self.note(job, &instance);
        let (Some(stored), Some(work)) = (self.state.jobs.get_mut(&**job), self.work.get_mut(job)) else {
            return;
        };
        self.touched.insert(job.clone());
        work.sums.add(Counted::of(Some(&instance)));
        let number = instance.number;
        let before = stored.instances.insert(number, instance);
        work.sums.sub(Counted::of(before.as_ref()));
    }

    fn task_moved(&mut self, now: Now, event: TaskEvent) {
        let TaskEvent { instance: name, status, hostname, follows } = event;
        let Some((job, _)) = self.work.get_key_value(name.group.as_str()) else { return };
        let job = job.clone();
        if self.joins(&job, &name, &status) {
            return;
        }
        let Some(stored) = self.state.jobs.get(&*job) else { return };
        let instance = stored.instances.get(&name.number);
        let is = |of: &Instance| of.has(&status.task);
        // Nobody knows it, so to the job it is over.
        let ends = status.state.is_terminal() || status.state == TaskState::Unknown;
        match instance {
            Some(instance) if is(instance) && is_live(instance.state) => {
                let instance = instance.clone();
                if !instance.parts.is_empty() {
                    self.part_moved(now, &name, instance, &status, follows)
                } else if ends {
                    self.end(now, &name, instance, &status, follows)
                } else {
                    self.moved(instance, &job, &status)
                }
            }
            Some(instance) if instance.earlier.iter().any(is) => {
                let instance = instance.clone();
                self.earlier_moved(&job, instance, &status, ends);
            }
            _ if ends => {}
            before => {
                let waiting = || Instance::waiting(name.number, stored.revision);
                let before = before.cloned().unwrap_or_else(waiting);
                self.launched(&job, before, &status, &hostname);
            }
        }
    }

    /// A task is about to be asked for, or was found that this framework asked for and forgot.
    fn launched(&mut self, job: &JobName, before: Instance, status: &TaskStatus, hostname: &str) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let agent = status.agent.as_ref().and_then(|id| self.reconciler.agent(id));
        let address = agent.map(|agent| agent.address.clone()).unwrap_or_default();
        let attempt = before.made.saturating_add(1);
        let first = InstanceName::part_of_launch(&status.task).map(|(first, _)| first);
        let parts = super::parts::first_part(stored, status);
        let mut instance = Instance {
            attempt,
            made: attempt,
            task: Some(first.unwrap_or_else(|| status.task.clone())),
            revision: stored.revision,
            state: status.state.into(),
            agent: status.agent.clone(),
            hostname: hostname.to_owned(),
            agent_address: address,
            exit: None,
            message: status.message.clone(),
            at_ms: status.at_ms,
            not_before_ms: 0,
            last: false,
            parts,
            decided: None,
            ..before.clone()
        };
        if is_live(before.state) {
            // Its predecessor serves until it is in service itself.
            instance.earlier.push(Instance { earlier: Vec::new(), ..before });
        }
        if let Some(agent) = status.agent.clone() {
            self.report(Note::Launch { job: job.to_string(), task: status.task.clone(), agent });
        }
        self.put(job, instance);
    }

    /// A task stands otherwise and lives. Not stored: the master tells it again.
    fn moved(&mut self, mut instance: Instance, job: &JobName, status: &TaskStatus) {
        // That it was accepted is news only if its agent was out of sight.
        if status.state == TaskState::Staging && instance.state != wire::TaskState::TaskUnreachable {
            return;
        }
        instance.state = status.state.into();
        instance.at_ms = status.at_ms;
        instance.message.clone_from(&status.message);
        self.replace(job, instance);
    }

    /// The same of a task whose successor was started already.
    fn earlier_moved(&mut self, job: &JobName, mut instance: Instance, status: &TaskStatus, ends: bool) {
        let is = |of: &Instance| of.has(&status.task);
        let Some(at) = instance.earlier.iter().position(is) else { return };
        let earlier = &mut instance.earlier[at];
        // People were told its end when its instance went on without it.
        let was_live = is_live(earlier.state);
        let is_over = match earlier.parts.is_empty() {
            true => ends,
            false => earlier.take_part(status, ends),
        };
        if was_live {
            if earlier.parts.is_empty() || is_over {
                set_state(earlier, status, ends);
            }
            let earlier = earlier.clone();
            self.note(job, &earlier);
        }
        if !is_over {
            match ends {
                // What has ended is not told again.
                true => self.put(job, instance),
                false => self.replace(job, instance),
            }
            return;
        }
        instance.earlier.remove(at);
        let shrunk = self.state.jobs.get(&**job).is_some_and(|job| instance.number >= job.spec.instances);
        let (number, is_left) = (instance.number, is_live(instance.state) || !instance.earlier.is_empty());
        self.put(job, instance);
        if shrunk && !is_left {
            self.drop_instance(job, number);
        }
    }

    /// An attempt is over.
    pub(super) fn end(
        &mut self,
        now: Now,
        name: &InstanceName,
        mut ended: Instance,
        status: &TaskStatus,
        follows: Follows,
    ) {
        let job = key(name.group.as_str());
        let Some(next) = self.next(name, &ended, follows) else { return };
        set_state(&mut ended, status, true);
        ended.ended_with(status);
        let next = self.bound(now, name, &mut ended, next);
        self.go_on(now, &job, ended, next);
    }

    /// What follows an end, by what the reconciler says.
    pub(super) fn next(&self, name: &InstanceName, ended: &Instance, follows: Follows) -> Option<Next> {
        let stored = self.state.jobs.get(name.group.as_str())?;
        Some(match follows {
            _ if stored.stopped => Next::Over,
            // One above the number is nobody in particular: another of its number begins anew.
            _ if name.number >= stored.spec.instances => Next::Dropped,
            Follows::Over => Next::Over,
            Follows::Again(pause) => Next::Again(pause, self.reconciler.counts(name)),
            Follows::Nothing if ended.earlier.iter().any(|earlier| is_live(earlier.state)) => Next::Back,
            // It was ended to come back otherwise: that is no failure.
            Follows::Nothing => Next::Again(Duration::ZERO, Counts::default()),
        })
    }

    /// An instance that was started again as often as its job allows within some time has failed for good. That a machine
    /// was lost counts for nothing: then there is no pause.
    pub(super) fn bound(&mut self, now: Now, name: &InstanceName, ended: &mut Instance, next: Next) -> Next {
        let stored = self.state.jobs.get(name.group.as_str());
        let Some(limit) = stored.and_then(|job| job.spec.give_up) else { return next };
        let Some(state) = ended.state.known() else { return next };
        if !matches!(next, Next::Again(pause, _) if !pause.is_zero()) {
            return next;
        }
        let now_ms = now.wall.as_millis();
        let within = |at: &u64| Duration::from_millis(now_ms.saturating_sub(*at)) < limit.window;
        ended.started_again_ms.retain(within);
        if ended.started_again_ms.len() < limit.attempts as usize {
            ended.started_again_ms.push(now_ms);
            return next;
        }
        let (attempts, window) = (limit.attempts, show_duration(limit.window));
        let why = format!("it was started again {attempts} times within {window}");
        ended.message = if ended.message.is_empty() { why } else { format!("{}; {why}", ended.message) };
        self.wishes.push(Order::GiveUp(name.clone(), state));
        Next::Over
    }

    fn given_up(&mut self, now: Now, name: &InstanceName, task: &TaskId) {
        let job = key(name.group.as_str());
        let Some(stored) = self.state.jobs.get(&*job) else { return };
        let Some(instance) = stored.instances.get(&name.number) else { return };
        let mut ended = instance.clone();
        let message = "its agent was out of sight for too long; it is replaced, and ended if it comes back";
        let gone = |of: &mut Instance| {
            of.state = wire::TaskState::TaskGone;
            of.message = message.to_owned();
        };
        if instance.task.as_ref() != Some(task) {
            let is = |of: &&mut Instance| of.task.as_ref() == Some(task);
            let Some(earlier) = ended.earlier.iter_mut().find(is) else { return };
            gone(earlier);
            let earlier = earlier.clone();
            self.note(&job, &earlier);
            self.put(&job, ended);
            return;
        }
        gone(&mut ended);
        let next = if self.reconciler.is_over(name) {
            Next::Over
        } else {
            Next::Again(Duration::ZERO, self.reconciler.counts(name))
        };
        // It may come back, and must be known then.
        ended.earlier.push(Instance { earlier: Vec::new(), ..ended.clone() });
        self.go_on(now, &job, ended, next);
    }

    /// The latest attempt of an instance has ended, as it stands in `ended`.
    pub(super) fn go_on(&mut self, now: Now, job: &JobName, mut ended: Instance, next: Next) {
        let note = super::report::ended(job, &ended, matches!(next, Next::Again(..)));
        let number = ended.number;
        match next {
            Next::Over => {
                self.outputs.extend(note.map(super::Output::Note));
                ended.last = true;
                self.put(job, ended);
            }
            Next::Dropped => {
                ended.last = true;
                let is_left = !ended.earlier.is_empty();
                self.put(job, ended);
                if !is_left {
                    self.drop_instance(job, number);
                }
            }
            Next::Back => {
                self.outputs.extend(note.map(super::Output::Note));
                self.replace(job, ended.clone());
                let Some(at) = ended.earlier.iter().rposition(|earlier| is_live(earlier.state)) else {
                    return;
                };
                let serves = ended.earlier.remove(at);
                let (made, restarts, earlier) = (ended.made, ended.restarts, ended.earlier);
                self.put(job, Instance { made, restarts, earlier, ..serves });
            }
            Next::Again(pause, counts) => {
                self.outputs.extend(note.map(super::Output::Note));
                self.again(now, job, ended, pause, counts);
            }
        }
    }

    /// Another attempt follows after a pause.
    fn again(&mut self, now: Now, job: &JobName, ended: Instance, pause: Duration, counts: Counts) {
        // Watchers see the end before the instance waits again.
        self.replace(job, ended.clone());
        let not_before_ms = not_before(now, pause);
        self.totals.restarts += u64::from(counts.drops == 0);
        let waits = Instance {
            attempt: ended.made.saturating_add(1),
            task: None,
            state: wire::TaskState::TaskWaiting,
            agent: None,
            hostname: String::new(),
            agent_address: String::new(),
            failures: counts.failures,
            retries: counts.retries,
            restarts: ended.restarts.saturating_add(u64::from(counts.drops == 0)),
            not_before_ms,
            at_ms: now.wall.as_millis(),
            parts: Vec::new(),
            ..ended
        };
        self.put(job, waits);
    }

    /// The instance is no part of the job any more.
    pub(super) fn drop_instance(&mut self, job: &JobName, number: u32) {
        let (Some(stored), Some(work)) = (self.state.jobs.get_mut(&**job), self.work.get_mut(job)) else {
            return;
        };
        let Some(instance) = stored.instances.remove(&number) else { return };
        work.sums.sub(Counted::of(Some(&instance)));
        self.records.push(Record::InstanceForgotten { job: job.to_string(), number });
        self.touched.insert(job.clone());
    }

    /// Batches that came to their end need no more of the reconciler.
    pub(super) fn withdraw_what_is_over(&mut self) {
        let ended = |job: &&JobName| match (self.state.jobs.get(&***job), self.work.get(*job)) {
            (Some(stored), Some(work)) => {
                work.stated && stored.spec.kind == Kind::Batch && is_over(stored, &work.sums)
            }
            _ => false,
        };
        let ended: Vec<JobName> = self.touched.iter().filter(ended).cloned().collect();
        ended.iter().for_each(|job| self.withdraw(job));
    }

    /// The reconciler is to let a job be, if it was told of it.
    pub(super) fn withdraw(&mut self, job: &JobName) {
        if let Some(work) = self.work.get_mut(job)
            && std::mem::take(&mut work.stated)
        {
            self.wishes.extend(super::group::name_of(job).map(Order::Withdraw));
        }
    }

    /// Jobs that came to their end are forgotten, at once or in time.
    pub(super) fn summarize(&mut self, now: Now) {
        self.tell_watchers();
        // Cron jobs of which a run changed.
        let mut parents = BTreeSet::new();
        for job in std::mem::take(&mut self.touched) {
            self.count(&job);
            let (Some(stored), Some(work)) = (self.state.jobs.get(&*job), self.work.get(&job)) else {
                continue;
            };
            if let Some(parent) = stored.parent.clone() {
                parents.insert(key(&parent));
            }
            let due = Due::Forget(job.clone());
            if !is_over(stored, &work.sums) {
                self.due.cancel(&due);
            } else if stored.stopped && stored.purge {
                self.forget(&job);
            } else if stored.ephemeral && self.due.get(&due).is_none() {
                self.due.set(due, now.monotonic + FORGET_AFTER);
            }
        }
        for parent in parents {
            self.forget_old_runs(&parent);
        }
    }

    /// Forgets a job that is over.
    pub(super) fn forget(&mut self, job: &JobName) {
        let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get(job)) else { return };
        if !is_over(stored, &work.sums) {
            return;
        }
        self.due.cancel(&Due::Forget(job.clone()));
        self.due.cancel(&Due::Cron(job.clone()));
        if let Some(work) = self.work.remove(job) {
            self.totals.sub(&work.counted);
        }
        self.record(Record::JobForgotten { name: job.to_string() });
        self.end_watches(job);
    }
}

/// Whether a change is one that was given up.
pub(super) fn has_failed(step: RolloutStep) -> bool {
    match step {
        RolloutStep::GoesBack(_) | RolloutStep::RolledBack(_) | RolloutStep::Stopped(_) => true,
        RolloutStep::Begun | RolloutStep::CanaryWaits | RolloutStep::Promoted | RolloutStep::Done => false,
    }
}

/// A pause of nothing is none.
pub(super) fn not_before(now: Now, pause: Duration) -> u64 {
    match u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) {
        0 => 0,
        millis => now.wall.as_millis().saturating_add(millis),
    }
}

/// How a task stands by what the master says, after it stood so.
pub(super) fn state_of(before: wire::TaskState, status: &TaskStatus, ends: bool) -> wire::TaskState {
    let unseen = before == wire::TaskState::TaskStaging;
    match status.state {
        // To people an attempt that nobody knows of is one that never was.
        TaskState::Unknown if ends && unseen => TaskState::Dropped.into(),
        TaskState::Unknown if ends => TaskState::Lost.into(),
        known => known.into(),
    }
}

/// The same of an attempt that is one task.
fn set_state(instance: &mut Instance, status: &TaskStatus, ends: bool) {
    instance.state = state_of(instance.state, status, ends);
    instance.at_ms = status.at_ms;
    instance.message.clone_from(&status.message);
}
