//! A new life of the framework takes up what the one before it stored.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::desired::Counts;
use framework_sdk::id::TaskId;
use framework_sdk::reconciler::{Order, Past, PastTask};
use framework_sdk::task::TaskState as Ended;
use framework_sdk::{Calls, Instant, Now, Scheduler};

use super::dependencies::may_begin;
use super::group::{group_of, name_of};
use super::work::{JobName, Sums, Work, is_over};
use super::{Due, Jobs, key};
use crate::spec::Kind;
use crate::store::{Instance, Job};
use crate::wire::TaskState;

impl Jobs {
    /// Takes up what was stored, as far as that needs no time.
    pub(super) fn recover(&mut self) {
        for (name, stored) in &self.state.jobs {
            let work = Work { sums: Sums::of(stored), ..Work::default() };
            let job = key(name);
            self.touched.insert(job.clone());
            self.work.insert(job, work);
        }
        self.due.set(Due::Begin, Instant::default());
    }

    /// The tasks that may be alive, by what was stored: the master is asked for each.
    pub fn believed(&self) -> Vec<TaskId> {
        let instances = self.state.jobs.values().flat_map(|job| job.instances.values());
        instances.flat_map(tasks_of).flat_map(|(_, of)| of.live_tasks()).collect()
    }

    /// Takes up the rest, once: jobs that are not over go on from how their instances stand.
    pub(super) fn begin(&mut self, now: Now) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.due.cancel(&Due::Begin);
        // These want nothing of the master until the batch is settled.
        let mut nothing = Calls::default();
        let jobs: Vec<JobName> = self.work.keys().cloned().collect();
        let (mut waiting, mut scheduled) = (Vec::new(), Vec::new());
        for job in jobs {
            let (Some(stored), Some(work)) = (self.state.jobs.get(&*job), self.work.get_mut(&job)) else {
                continue;
            };
            if stored.purge {
                // Before it is forgotten.
                let purge = name_of(&stored.spec.name).map(Order::Purge);
                purge.into_iter().for_each(|purge| self.reconciler.input(now, purge, &mut nothing));
            }
            if is_over(stored, &work.sums) {
                continue;
            }
            if stored.spec.kind == Kind::Cron {
                scheduled.push(job);
                continue;
            }
            if !may_begin(stored) {
                waiting.push(job);
                continue;
            }
            let Some(group) = group_of(stored) else { continue };
            let past = |instance: &Instance| (instance.number, past_of(now, stored, instance));
            let past: BTreeMap<u32, Past> = stored.instances.values().map(past).collect();
            let name = group.name().clone();
            self.reconciler.input(now, Order::Resume(group, past), &mut nothing);
            if stored.stopped {
                self.reconciler.input(now, Order::Withdraw(name), &mut nothing);
            }
            work.stated = !stored.stopped;
        }
        for job in waiting {
            self.await_others(now, &job);
        }
        for job in scheduled {
            self.tick(now, &job);
        }
    }
}

/// What the reconciler goes on with.
fn past_of(now: Now, job: &Job, instance: &Instance) -> Past {
    let tasks = tasks_of(instance).map(|(task, of)| PastTask {
        task,
        agent: of.agent.clone(),
        is_current: of.revision == job.revision,
        began: of.state != TaskState::TaskStaging,
        parts: of.parts.iter().map(|part| (part.task.clone(), end_of(part.state))).collect(),
        abandoned: of.state.is_terminal(),
        ending: of.decided.is_some(),
    });
    let tasks: Vec<PastTask> = tasks.collect();
    let rests = instance.not_before_ms.saturating_sub(now.wall.as_millis());
    let waits = instance.state == TaskState::TaskWaiting || instance.decided.is_some();
    Past {
        tasks,
        counts: Counts { failures: instance.failures, retries: instance.retries, drops: 0 },
        // A clock that was set back makes nobody wait longer than the longest pause.
        rests: Duration::from_millis(if waits && !job.stopped { rests } else { 0 }).min(job.spec.restart.max),
        over: end_of(instance.decided.unwrap_or(instance.state)).filter(|_| instance.last),
    }
}

/// How a task ended, if it did.
fn end_of(state: TaskState) -> Option<Ended> {
    state.known().filter(|state| state.is_terminal())
}

/// The tasks of an instance that the master may know as alive, oldest first.
fn tasks_of(instance: &Instance) -> impl Iterator<Item = (TaskId, &Instance)> {
    // Earlier ones stay there until the master says that they ended, whatever people were told.
    let earlier = instance.earlier.iter();
    let latest = std::iter::once(instance).filter(|instance| super::work::is_live(instance.state));
    earlier.chain(latest).filter_map(|of| Some((of.task.clone()?, of)))
}
