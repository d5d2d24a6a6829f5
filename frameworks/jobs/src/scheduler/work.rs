//! `Work`: what the scheduler knows of one job besides what is stored: the sums, and whether the reconciler has it.

use std::sync::Arc;

use framework_sdk::reconciler::RolloutStep;

use super::report::Totals;
use crate::spec::Kind;
use crate::store::{Instance, Job};
use crate::wire::TaskState;

/// The name of a job, shared by all that points at it.
pub(super) type JobName = Arc<str>;

/// What of a job need not be stored.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The reconciler was told of it, and not to let it be.
    pub stated: bool,
    /// How far the latest change of a service is, in this life of the framework.
    pub change: Option<RolloutStep>,
    pub sums: Sums,
    /// What it adds to the totals, as last counted.
    pub counted: Totals,
}

/// How many instances stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub running: u32,
    pub finished: u32,
    pub failed: u32,
    /// With a task that has not ended.
    pub live: u32,
    pub restarts: u64,
}

/// How an instance counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    running: bool,
    finished: bool,
    failed: bool,
    live: bool,
    restarts: u64,
}

// === impl Sums ===

impl Sums {
    /// Of a job as it is stored.
    pub fn of(job: &Job) -> Self {
        let mut sums = Sums::default();
        job.instances.values().for_each(|instance| sums.add(Counted::of(Some(instance))));
        sums
    }

    pub fn add(&mut self, counted: Counted) {
        self.running += u32::from(counted.running);
        self.finished += u32::from(counted.finished);
        self.failed += u32::from(counted.failed);
        self.live += u32::from(counted.live);
        self.restarts = self.restarts.saturating_add(counted.restarts);
    }

    pub fn sub(&mut self, counted: Counted) {
        self.running = self.running.saturating_sub(u32::from(counted.running));
        self.finished = self.finished.saturating_sub(u32::from(counted.finished));
        self.failed = self.failed.saturating_sub(u32::from(counted.failed));
        self.live = self.live.saturating_sub(u32::from(counted.live));
        self.restarts = self.restarts.saturating_sub(counted.restarts);
    }
}

// === impl Counted ===

impl Counted {
    pub fn of(instance: Option<&Instance>) -> Self {
        let Some(instance) = instance else {
            return Counted { running: false, finished: false, failed: false, live: false, restarts: 0 };
        };
        let over = instance.last && instance.state.is_terminal();
        let finished = over && instance.state == TaskState::TaskFinished;
        let any = |holds: fn(TaskState) -> bool| {
            holds(instance.state) || instance.earlier.iter().any(|earlier| holds(earlier.state))
        };
        Counted {
            running: any(|state| state == TaskState::TaskRunning),
            finished,
            failed: over && !finished,
            live: any(is_live),
            restarts: instance.restarts,
        }
    }
}

/// Whether a task in this state may still run.
pub(super) fn is_live(state: TaskState) -> bool {
    !state.is_terminal() && state != TaskState::TaskWaiting
}

/// Whether nothing of the job runs and nothing will.
pub(super) fn is_over(job: &Job, sums: &Sums) -> bool {
    if sums.live > 0 {
        return false;
    }
    let ended = sums.finished.saturating_add(sums.failed);
    job.stopped || job.failed.is_some() || (job.spec.kind == Kind::Batch && ended >= job.spec.instances)
}
