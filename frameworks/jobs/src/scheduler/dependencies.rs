//! Jobs that come after others: they begin once all of those have ended well, and fail when one has not.

use std::collections::BTreeSet;

use framework_sdk::Now;
use framework_sdk::refusal::{Code, Refusal};

use super::report::Note;
use super::work::{JobName, is_over};
use super::{Jobs, key};
use crate::spec::{JobSpec, Kind};
use crate::store::{Job, Record};

/// Whether nothing that a job comes after is outstanding.
pub(super) fn may_begin(job: &Job) -> bool {
    job.spec.after.iter().all(|dependency| job.met.contains(dependency))
}

/// How one that a job comes after stands.
enum Outcome {
    Open,
    Well,
    Badly(String),
}

impl Jobs {
    /// Whether a job may come after those that it names.
    pub(super) fn check_after(&self, spec: &JobSpec) -> Result<(), Refusal> {
        for name in &spec.after {
            let Some(other) = self.state.jobs.get(name) else {
                let message = format!("job {} comes after {name}, and there is no such job", spec.name);
                let help = "apply that one first; in one file, write it above";
                return Err(Refusal::new(Code::NotFound, message).with_help(help));
            };
            if other.spec.kind != Kind::Batch {
                let kind = other.spec.kind.as_str();
                let message =
                    format!("job {} comes after {name}, which is a {kind} and has no end", spec.name);
                return Err(Refusal::new(Code::Conflict, message).with_help("name batch jobs only"));
            }
        }
        let mut seen = BTreeSet::new();
        let mut others: Vec<&str> = spec.after.iter().map(String::as_str).collect();
        while let Some(name) = others.pop() {
            if name == spec.name {
                let message =
                    format!("job {name} would come after itself, by way of {}", spec.after.join(", "));
                return Err(Refusal::new(Code::Conflict, message).with_help("leave one of the two out"));
            }
            if seen.insert(name) {
                let other = self.state.jobs.get(name);
                others.extend(other.into_iter().flat_map(|job| job.spec.after.iter().map(String::as_str)));
            }
        }
        Ok(())
    }

    /// A job that is not over waits for those it comes after, and looks at once how they stand.
    pub(super) fn await_others(&mut self, now: Now, job: &JobName) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let open: Vec<String> =
            stored.spec.after.iter().filter(|name| !stored.met.contains(*name)).cloned().collect();
        for name in open {
            self.awaited.entry(key(&name)).or_default().insert(job.clone());
            self.dependency_moved(now, &key(&name));
        }
    }

    /// Tells those that come after the jobs of this batch that are over.
    pub(super) fn release_others(&mut self, now: Now) {
        if self.awaited.is_empty() {
            return;
        }
        let mut moved: Vec<JobName> =
            self.touched.iter().filter(|job| self.awaited.contains_key(*job)).cloned().collect();
        // One that fails makes those fail that come after it.
        while let Some(job) = moved.pop() {
            moved.extend(self.dependency_moved(now, &job));
        }
    }

    /// Those that moved with it.
    fn dependency_moved(&mut self, now: Now, name: &JobName) -> Vec<JobName> {
        let mut moved = Vec::new();
        if !self.awaited.contains_key(name) {
            return moved;
        }
        let outcome = match (self.state.jobs.get(&**name), self.work.get(name)) {
            (Some(job), Some(work)) if !is_over(job, &work.sums) => Outcome::Open,
            (Some(job), Some(_)) if job.failed.is_some() => Outcome::Badly(format!("job {name} failed")),
            (Some(job), Some(work)) if work.sums.finished >= job.spec.instances => Outcome::Well,
            (Some(job), Some(_)) if job.stopped => Outcome::Badly(format!("job {name} was stopped")),
            (Some(_), Some(work)) => {
                Outcome::Badly(format!("{} instances of job {name} failed", work.sums.failed))
            }
            _ => Outcome::Badly(format!("job {name} was forgotten before it ended")),
        };
        if matches!(outcome, Outcome::Open) {
            return moved;
        }
        for job in self.awaited.remove(name).unwrap_or_default() {
            let Some(stored) = self.state.jobs.get(&*job) else { continue };
            if stored.stopped || stored.failed.is_some() || !stored.spec.after.iter().any(|of| **of == **name)
            {
                continue;
            }
            self.touched.insert(job.clone());
            moved.push(job.clone());
            match &outcome {
                Outcome::Open => {}
                Outcome::Well => {
                    let dependency = name.to_string();
                    self.record(Record::DependencyMet { name: job.to_string(), dependency });
                    if self.state.jobs.get(&*job).is_some_and(may_begin) {
                        self.state_anew(now, &job);
                    }
                }
                Outcome::Badly(why) => {
                    self.record(Record::JobFailed { name: job.to_string(), why: why.clone() });
                    self.report(Note::Job {
                        job: job.to_string(),
                        what: "failed: one that it comes after did",
                    });
                }
            }
        }
        moved
    }
}
