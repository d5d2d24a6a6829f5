//! What the scheduler says for logs and metrics, and the lines and numbers that its shell makes of it.

use framework_sdk::id::{AgentId, TaskId, VolumeId};
use framework_sdk::reconciler::VolumeStep;
use tracing::{debug, info};

use super::work::{JobName, Sums, is_live, is_over};
use super::{Jobs, Output};
use crate::spec::Kind;
use crate::store::Job;
use crate::wire::TaskState;

/// A note for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Something happened to a job that people did.
    Job {
        /// Which.
        job: String,
        /// What.
        what: &'static str,
    },
    /// A task was asked for.
    Launch {
        /// Of which job.
        job: String,
        /// Which.
        task: TaskId,
        /// Where.
        agent: AgentId,
    },
    /// A task ended.
    Ended {
        /// Of which job.
        job: String,
        /// Which.
        task: TaskId,
        /// How.
        state: TaskState,
        /// In words.
        message: String,
        /// Whether another attempt follows.
        again: bool,
    },
    /// A volume has come, or gone.
    Volume {
        /// Of which job.
        job: String,
        /// Which.
        volume: VolumeId,
        /// What came about.
        step: VolumeStep,
    },
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Jobs that are at work.
    pub active: u64,
    /// Jobs that are over.
    pub over: u64,
    /// Jobs that were stopped and have not ended yet.
    pub stopping: u64,
    /// Instances without a task that will get one.
    pub waiting: u64,
    /// Instances whose task does not run yet, or not any more.
    pub starting: u64,
    /// Instances that run.
    pub running: u64,
    /// Instances that ended well for good.
    pub finished: u64,
    /// Instances that ended otherwise for good.
    pub failed: u64,
    /// Starts after an end, in this life of the framework.
    pub restarts: u64,
}

// === impl Note ===

impl Note {
    /// Writes its line. What goes well with an ordinary task is said at `debug`.
    pub fn log(&self) {
        match self {
            Note::Job { job, what } => info!(job, what, "job"),
            Note::Launch { job, task, agent } => debug!(job, task_id = %task, agent_id = %agent, "launch"),
            Note::Volume { job, volume, step } => {
                let what = match step {
                    VolumeStep::Made => "made",
                    VolumeStep::LeftBehind => "left behind: its instance begins anew without it",
                    VolumeStep::Destroyed => "destroyed",
                };
                info!(job, volume_id = %volume, what, "volume");
            }
            Note::Ended { job, task, state, message, again } => {
                let state_name = state.as_str_name();
                if *state == TaskState::TaskFinished || *state == TaskState::TaskKilled {
                    debug!(job, task_id = %task, state = state_name, again, "task ended");
                } else {
                    info!(job, task_id = %task, state = state_name, message, again, "task ended badly");
                }
            }
        }
    }
}

// === impl Totals ===

impl Totals {
    /// What one job adds to them. Its restarts are those of its whole life, and count for nothing here.
    pub(super) fn of(job: &Job, sums: &Sums) -> Totals {
        let over = is_over(job, sums);
        let (running, live) = (u64::from(sums.running), u64::from(sums.live));
        let (finished, failed) = (u64::from(sums.finished), u64::from(sums.failed));
        let none = job.stopped || job.failed.is_some() || job.spec.kind == Kind::Cron;
        let wanted = if none { 0 } else { u64::from(job.spec.instances) };
        Totals {
            active: u64::from(!over && !job.stopped),
            over: u64::from(over),
            stopping: u64::from(!over && job.stopped),
            waiting: wanted.saturating_sub(live + finished + failed),
            starting: live.saturating_sub(running),
            running,
            finished,
            failed,
            restarts: 0,
        }
    }

    pub(super) fn add(&mut self, other: &Totals) {
        self.each(other, |mine, others| *mine += others);
    }

    pub(super) fn sub(&mut self, other: &Totals) {
        self.each(other, |mine, others| *mine = mine.saturating_sub(others));
    }

    fn each(&mut self, other: &Totals, act: impl Fn(&mut u64, u64)) {
        let Totals { active, over, stopping, waiting, starting, running, finished, failed, restarts } = self;
        act(active, other.active);
        act(over, other.over);
        act(stopping, other.stopping);
        act(waiting, other.waiting);
        act(starting, other.starting);
        act(running, other.running);
        act(finished, other.finished);
        act(failed, other.failed);
        act(restarts, other.restarts);
    }

    /// Sets the metrics.
    pub fn show(&self) {
        for (state, count) in [("active", self.active), ("over", self.over), ("stopping", self.stopping)] {
            metrics::gauge!("jobs_known", "state" => state).set(count as f64);
        }
        for (state, count) in [
            ("waiting", self.waiting),
            ("starting", self.starting),
            ("running", self.running),
            ("finished", self.finished),
            ("failed", self.failed),
        ] {
            metrics::gauge!("jobs_instances", "state" => state).set(count as f64);
        }
        metrics::counter!("jobs_restarts_total").absolute(self.restarts);
    }
}

// === impl Jobs ===

impl Jobs {
    pub(super) fn report(&mut self, note: Note) {
        self.outputs.push(Output::Note(note));
    }

    /// A job changed: what it adds to the totals is counted anew.
    pub(super) fn count(&mut self, job: &JobName) {
        let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get_mut(job)) else {
            return;
        };
        let counted = Totals::of(stored, &work.sums);
        self.totals.sub(&std::mem::replace(&mut work.counted, counted));
        self.totals.add(&counted);
    }

    /// Tells how many of each there are, if that has changed.
    pub(super) fn total(&mut self) {
        if self.totals != self.told {
            self.told = self.totals;
            self.outputs.push(Output::Totals(self.totals));
        }
    }
}

/// What a note says of an end: nothing of one that people asked for.
pub(super) fn ended(job: &str, instance: &crate::store::Instance, again: bool) -> Option<Note> {
    let task = instance.task.clone().filter(|_| !is_live(instance.state))?;
    Some(Note::Ended {
        job: job.to_owned(),
        task,
        state: instance.state,
        message: instance.message.clone(),
        again,
    })
}
