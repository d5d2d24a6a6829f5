//! `Work`: what the scheduler knows of one job besides what is stored: who waits, who runs since when, and the sums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use framework_sdk::resources::Amount;
use framework_sdk::task::TaskInfo;

use crate::spec::{JobSpec, Kind};
use crate::store::{Instance, Job};
use crate::wire::TaskState;

/// The name of a job, shared by all that points at it.
pub(super) type JobName = Arc<str>;

/// What of a job changes too often to be stored.
#[derive(Debug)]
pub(super) struct Work {
    /// What one instance needs.
    pub shape: Amount,
    /// About what a task of it takes in a message, in bytes.
    pub task_bytes: usize,
    /// Instances that wait for an offer.
    pub ready: BTreeSet<u32>,
    /// Attempts in a row that were never started, where there were any.
    pub drops: BTreeMap<u32, u32>,
    /// Attempts launched in this life of the framework that were not seen to begin.
    pub fresh: BTreeSet<u32>,
    /// Since when an instance runs, in milliseconds since 1970.
    pub since: BTreeMap<u32, u64>,
    /// Instances that are ended to come back in the present revision.
    pub replacing: BTreeSet<u32>,
    /// There are instances of an earlier revision.
    pub rolling: bool,
    pub sums: Sums,
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

// === impl Work ===

impl Work {
    pub fn new(spec: &JobSpec) -> Self {
        Work {
            shape: spec.shape(),
            task_bytes: task_bytes(spec),
            ready: BTreeSet::new(),
            drops: BTreeMap::new(),
            fresh: BTreeSet::new(),
            since: BTreeMap::new(),
            replacing: BTreeSet::new(),
            rolling: false,
            sums: Sums::default(),
        }
    }

    /// The spec changed.
    pub fn respec(&mut self, spec: &JobSpec) {
        self.shape = spec.shape();
        self.task_bytes = task_bytes(spec);
    }

    /// Nothing is known of the present attempt of an instance any more.
    pub fn clear(&mut self, number: u32) {
        self.ready.remove(&number);
        self.fresh.remove(&number);
        self.since.remove(&number);
        self.replacing.remove(&number);
    }
}

// === impl Sums ===

impl Sums {
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
        Counted {
            running: instance.state == TaskState::TaskRunning,
            finished,
            failed: over && !finished,
            live: is_live(instance.state),
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
    job.stopped || (job.spec.kind == Kind::Batch && ended >= job.spec.instances)
}

/// About what a task takes in a message: its texts, and some for the rest.
fn task_bytes(spec: &JobSpec) -> usize {
    let any = framework_sdk::tasks::shell;
    let Ok(id) = crate::spec::task_id(&spec.name, u32::MAX, u64::MAX) else { return usize::MAX };
    let task: TaskInfo = any(id, "");
    let named = spec.task(task.id, 0, 1, task.resources);
    let texts =
        |map: &BTreeMap<String, String>| map.iter().map(|(k, v)| k.len() + v.len() + 8).sum::<usize>();
    let command = &named.command;
    let argv: usize = command.argv.iter().map(|word| word.len() + 4).sum();
    let artifacts: usize =
        command.artifacts.iter().map(|a| a.uri.len() + a.sha256.len() + a.name.len() + 16).sum();
    // Ids, resources, ports and framing.
    256 + argv + texts(&command.env) + texts(&named.labels) + artifacts + 32 * spec.ports.len()
}
