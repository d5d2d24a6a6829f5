//! Cron jobs: each run is a batch job of its own, named after the minute that it was due.
//!
//! What was due is dealt with in the same sync as the job that it became, so no restart and no failover leaves a run out or
//! makes it two.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::Now;

use super::report::Note;
use super::work::{JobName, Work, is_over};
use super::{Due, JOBS_MAX, Jobs, key};
use crate::spec::{Cron, JobSpec, Kind, Overlap};
use crate::store::{Job, Record};

/// The clock on the wall may be set: it is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// So late is in time: nobody starts anything at the very moment.
const IN_TIME: Duration = Duration::from_secs(1);

/// A minute of universal time as it stands in names: `20260131T0405`. Runs that are due in one hour that comes twice
/// differ in it.
pub(super) fn stamp(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map(|at| at.strftime("%Y%m%dT%H%M").to_string()).unwrap_or_default()
}

/// When a cron job runs next, if it does.
pub(super) fn next_run(job: &Job) -> Option<u64> {
    let cron = job.spec.cron.as_ref().filter(|cron| !cron.paused && !job.stopped)?;
    cron.schedule.next(&cron.timezone, job.handled_ms)
}

impl Jobs {
    /// Looks whether a cron job is due, and when to look again.
    pub(super) fn tick(&mut self, now: Now, job: &JobName) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let Some(cron) = stored.spec.cron.clone().filter(|cron| !cron.paused && !stored.stopped) else {
            return;
        };
        let now_ms = now.wall.as_millis();
        // Of those that were missed the latest alone counts.
        if let Some(at_ms) = cron.schedule.latest(&cron.timezone, stored.handled_ms, now_ms) {
            self.record(Record::CronHandled { name: job.to_string(), until_ms: at_ms });
            self.due_run(now, job, &cron, at_ms);
        }
        self.await_next_run(now, job);
    }

    fn await_next_run(&mut self, now: Now, job: &JobName) {
        let Some(next_ms) = self.state.jobs.get(&**job).and_then(next_run) else { return };
        let wait = Duration::from_millis(next_ms.saturating_sub(now.wall.as_millis()));
        self.due.set(Due::Cron(job.clone()), now.monotonic + wait.min(LOOK_EVERY));
    }

    /// A cron job was taken on, or changed: what was due before is over and done with.
    pub(super) fn begin_schedule(&mut self, now: Now, job: &JobName) {
        let until_ms = now.wall.as_millis();
        self.record(Record::CronHandled { name: job.to_string(), until_ms });
        self.due.cancel(&Due::Cron(job.clone()));
        self.await_next_run(now, job);
    }

    fn due_run(&mut self, now: Now, job: &JobName, cron: &Cron, at_ms: u64) {
        let late = Duration::from_millis(now.wall.as_millis().saturating_sub(at_ms));
        if late > cron.missed.max(IN_TIME) {
            return self.report(Note::Job { job: job.to_string(), what: "left a run out: it was missed" });
        }
        let under_way: Vec<JobName> =
            self.runs_of(job).filter(|run| !self.is_run_over(run)).map(|run| key(&run.spec.name)).collect();
        match cron.overlap {
            Overlap::Forbid if !under_way.is_empty() => {
                let what = "left a run out: the one before goes on";
                return self.report(Note::Job { job: job.to_string(), what });
            }
            Overlap::Replace => under_way.iter().for_each(|run| self.end_run(run, false)),
            Overlap::Forbid | Overlap::Allow => {}
        }
        self.start_run(now, job, at_ms);
    }

    fn start_run(&mut self, now: Now, job: &JobName, at_ms: u64) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let name = format!("{job}-{}", stamp(at_ms));
        let refused = if self.state.jobs.contains_key(&name) {
            Some("left a run out: another job has its name")
        } else if self.state.jobs.len() >= JOBS_MAX {
            Some("left a run out: there are too many jobs")
        } else {
            None
        };
        if let Some(what) = refused {
            return self.report(Note::Job { job: job.to_string(), what });
        }
        let spec = JobSpec { name, kind: Kind::Batch, cron: None, ..JobSpec::clone(&stored.spec) };
        let run = key(&spec.name);
        self.record(Record::JobStored {
            spec: Arc::new(spec),
            revision: 1,
            requests: Vec::new(),
            created_ms: now.wall.as_millis(),
            ephemeral: false,
            before: None,
            parent: Some(job.to_string()),
        });
        self.work.insert(run.clone(), Work::default());
        self.touched.extend([run.clone(), job.clone()]);
        self.report(Note::Job { job: run.to_string(), what: "created by its schedule" });
        self.state_anew(now, &run);
    }

    /// The runs of a cron job that are remembered, oldest first.
    pub(super) fn runs_of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Job> {
        let first = format!("{job}-");
        let named = self.state.jobs.range::<str, _>((Bound::Included(first.as_str()), Bound::Unbounded));
        let named: Vec<&Job> =
            named.take_while(|(name, _)| name.starts_with(&first)).map(|(_, job)| job).collect();
        named.into_iter().filter(move |run| run.parent.as_deref() == Some(job))
    }

    pub(super) fn is_run_over(&self, run: &Job) -> bool {
        self.work.get(run.spec.name.as_str()).is_none_or(|work| is_over(run, &work.sums))
    }

    fn end_run(&mut self, run: &JobName, purge: bool) {
        self.record(Record::JobStopped { name: run.to_string(), purge });
        self.withdraw(run);
        self.touched.insert(run.clone());
    }

    /// The cron job ends: its runs with it.
    pub(super) fn end_runs(&mut self, job: &JobName, purge: bool) {
        self.due.cancel(&Due::Cron(job.clone()));
        let runs: Vec<JobName> = self.runs_of(job).map(|run| key(&run.spec.name)).collect();
        for run in runs {
            let over = self.state.jobs.get(&*run).is_none_or(|run| self.is_run_over(run));
            if purge || !over {
                self.end_run(&run, purge);
            }
        }
    }

    /// Of the runs that are over, only so many are remembered.
    pub(super) fn forget_old_runs(&mut self, job: &JobName) {
        let Some(cron) = self.state.jobs.get(&**job).and_then(|stored| stored.spec.cron.as_ref()) else {
            return;
        };
        let over: Vec<JobName> =
            self.runs_of(job).filter(|run| self.is_run_over(run)).map(|run| key(&run.spec.name)).collect();
        let surplus = over.len().saturating_sub(cron.history as usize);
        for run in over.iter().take(surplus) {
            self.forget(run);
        }
    }
}
