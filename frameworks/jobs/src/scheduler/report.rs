//! What the scheduler says for logs and metrics, and the lines and numbers that its shell makes of it.

use framework_sdk::id::{AgentId, TaskId};
use tracing::{debug, info};

use super::work::{is_live, is_over};
use super::{Jobs, Output};
use crate::spec::Kind;
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
    /// Starts after an end.
    pub restarts: u64,
}

// === impl Note ===

impl Note {
    /// Writes its line. What goes well with an ordinary task is said at `debug`.
    pub fn log(&self) {
        match self {
            Note::Job { job, what } => info!(job, what, "job"),
            Note::Launch { job, task, agent } => debug!(job, task_id = %task, agent_id = %agent, "launch"),
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

    /// Tells how many of each there are, if that has changed.
    pub(super) fn total(&mut self) {
        let mut totals = Totals { restarts: self.restarts, ..Totals::default() };
        for (name, work) in &self.work {
            let Some(job) = self.state.jobs.get(&**name) else { continue };
            let sums = &work.sums;
            let count = match (is_over(job, sums), job.stopped) {
                (true, _) => &mut totals.over,
                (false, true) => &mut totals.stopping,
                (false, false) => &mut totals.active,
            };
            *count += 1;
            let (running, live) = (u64::from(sums.running), u64::from(sums.live));
            let ended = u64::from(sums.finished) + u64::from(sums.failed);
            let none = job.stopped || job.failed.is_some() || job.spec.kind == Kind::Cron;
            let wanted = if none { 0 } else { u64::from(job.spec.instances) };
            totals.running += running;
            totals.starting += live.saturating_sub(running);
            totals.finished += u64::from(sums.finished);
            totals.failed += u64::from(sums.failed);
            totals.waiting += wanted.saturating_sub(live + ended);
        }
        if totals != self.totals {
            self.totals = totals;
            self.outputs.push(Output::Totals(totals));
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
