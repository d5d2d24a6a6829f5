//! `State`: what the framework must not forget; `Record`: one change of it. Applying is pure and takes any record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::spec::{JobSpec, Kind};
use crate::wire::TaskState;
use framework_sdk::id::{AgentId, FrameworkId, TaskId};
use framework_sdk::task::Exit;

/// So many requests are remembered for each job: whoever repeats one does so within seconds.
const REQUESTS_MAX: usize = 16;

/// An instance of a job: its latest attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// From 0.
    pub number: u32,
    /// From 1.
    pub attempt: u32,
    /// The task of the attempt; `None` before the first.
    pub task: Option<TaskId>,
    /// The revision of the job that the task was made from.
    pub revision: u64,
    /// How it stands.
    pub state: TaskState,
    /// Where it runs or ran.
    pub agent: Option<AgentId>,
    /// The name of that machine.
    pub hostname: String,
    /// `host:port` of that agent's door.
    pub agent_address: String,
    /// How its command ended.
    pub exit: Option<Exit>,
    /// For people.
    pub message: String,
    /// When it came to stand so, in milliseconds since 1970.
    pub at_ms: u64,
    /// Ends in a row: what the back-off counts.
    pub failures: u32,
    /// Starts that were tries again, over its whole life.
    pub retries: u32,
    /// When it was started again, as far back as its job bounds that; in milliseconds since 1970.
    pub started_again_ms: Vec<u64>,
    /// The highest attempt that was made so far.
    pub made: u32,
    /// Earlier attempts whose tasks the master may know as alive, oldest first: the one that it replaces, while that
    /// serves on, and those that it went on without.
    pub earlier: Vec<Instance>,
    /// How often it was started again.
    pub restarts: u64,
    /// Not started again before this time; 0: at once.
    pub not_before_ms: u64,
    /// No other attempt follows.
    pub last: bool,
    /// Its tasks, if it is several: the leader, whose id is `task`, and those beside it. How they stand together is `state`.
    pub parts: Vec<Part>,
    /// How one of them ended that ends all of them, while others are on their way out: what follows is decided.
    pub decided: Option<TaskState>,
}

/// One task of an instance that is several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// In the job.
    pub name: String,
    /// Which.
    pub task: TaskId,
    /// How it stands.
    pub state: TaskState,
    /// How its command ended.
    pub exit: Option<Exit>,
    /// For people.
    pub message: String,
    /// When it came to stand so, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Instance {
    /// One that waits for its first attempt.
    pub fn waiting(number: u32, revision: u64) -> Instance {
        Instance {
            number,
            attempt: 1,
            task: None,
            revision,
            state: TaskState::TaskWaiting,
            agent: None,
            hostname: String::new(),
            agent_address: String::new(),
            exit: None,
            message: String::new(),
            at_ms: 0,
            failures: 0,
            retries: 0,
            started_again_ms: Vec::new(),
            made: 0,
            earlier: Vec::new(),
            restarts: 0,
            not_before_ms: 0,
            last: false,
            parts: Vec::new(),
            decided: None,
        }
    }

    /// Whether a task is its latest one, or one of its latest ones.
    pub fn has(&self, task: &TaskId) -> bool {
        self.task.as_ref() == Some(task) || self.parts.iter().any(|part| part.task == *task)
    }
}

/// A job as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// As asked for.
    pub spec: Arc<JobSpec>,
    /// From 1.
    pub revision: u64,
    /// The latest requests for it and the revision each made, oldest first.
    pub requests: Vec<(String, u64)>,
    /// When it was submitted first, in milliseconds since 1970.
    pub created_ms: u64,
    /// Forgotten some time after it is over.
    pub ephemeral: bool,
    /// Somebody asked for its end.
    pub stopped: bool,
    /// Forgotten once its tasks have ended.
    pub purge: bool,
    /// What was in service as a whole before the present spec: a change goes back to it.
    pub before: Option<Arc<JobSpec>>,
    /// It is in service as a whole, with the present spec.
    pub settled: bool,
    /// Of a run of a cron job: which one.
    pub parent: Option<String>,
    /// Those that it comes after and that have ended well.
    pub met: BTreeSet<String>,
    /// Why it has failed without having begun.
    pub failed: Option<String>,
    /// Of a cron job: what was due until then was started, or left out; in milliseconds since 1970. Never before
    /// `created_ms`.
    pub handled_ms: u64,
    /// By number. An instance that was never stored waits for its first attempt.
    pub instances: BTreeMap<u32, Instance>,
}

impl Job {
    /// Whether it begins anew when it is submitted as it is: it was stopped, or has failed without having begun.
    pub fn begins_anew(&self) -> bool {
        self.stopped || self.failed.is_some()
    }
}

/// Everything the framework must not forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Begins the ids of operations.
    pub prefix: String,
    /// The framework's id at the masters.
    pub framework: Option<FrameworkId>,
    /// Serial numbers below this are used up. Tasks of earlier versions were named by them.
    pub serials_below: u64,
    /// What the reconciler remembers.
    pub memory: BTreeMap<String, String>,
    /// By name.
    pub jobs: BTreeMap<String, Job>,
    /// Each remembered request and the job that it was for: one, unless the journal is not of our making.
    requests: BTreeSet<(String, String)>,
}

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The first of a journal.
    Header {
        /// The version of the layout.
        format: u32,
        /// Begins the ids of operations.
        prefix: String,
    },
    /// The master gave the framework its id, or took it away.
    Framework(Option<FrameworkId>),
    /// A job is new or has a new spec; if it was stopped, it runs again.
    JobStored {
        /// As asked for.
        spec: Arc<JobSpec>,
        /// From 1.
        revision: u64,
        /// The latest requests for it, oldest first.
        requests: Vec<(String, u64)>,
        /// When it was submitted first.
        created_ms: u64,
        /// Forgotten some time after it is over.
        ephemeral: bool,
        /// What a change goes back to.
        before: Option<Arc<JobSpec>>,
        /// Of a run of a cron job: which one.
        parent: Option<String>,
    },
    /// A service is in service as a whole.
    JobSettled {
        /// Which.
        name: String,
    },
    /// One of those that a job comes after has ended well.
    DependencyMet {
        /// Which job.
        name: String,
        /// Comes after which.
        dependency: String,
    },
    /// A job has failed without having begun.
    JobFailed {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
    /// What was due of a cron job until then was started, or left out.
    CronHandled {
        /// Which.
        name: String,
        /// In milliseconds since 1970.
        until_ms: u64,
    },
    /// A job is to end.
    JobStopped {
        /// Which.
        name: String,
        /// Forget it then.
        purge: bool,
    },
    /// A job is forgotten with its instances.
    JobForgotten {
        /// Which.
        name: String,
    },
    /// An instance as it stands.
    InstanceStored {
        /// Of which job.
        job: String,
        /// It.
        instance: Instance,
    },
    /// An instance is forgotten.
    InstanceForgotten {
        /// Of which job.
        job: String,
        /// Which.
        number: u32,
    },
    /// Something that the reconciler remembers, or forgets.
    Remembered {
        /// What it is about.
        key: String,
        /// `None`: nothing any more.
        value: Option<String>,
    },
    /// Serial numbers below this are used up.
    SerialsReserved {
        /// The first that is not.
        below: u64,
    },
}

// === impl State ===

impl State {
    /// Takes a change in. One of a job that is not there changes nothing.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Header { format: _, prefix } => self.prefix = prefix,
            Record::Framework(id) => self.framework = id,
            Record::JobStored { spec, revision, requests, created_ms, ephemeral, before, parent } => {
                let name = spec.name.clone();
                let old = self.jobs.remove(&name);
                for (id, _) in old.iter().flat_map(|job| &job.requests) {
                    self.requests.remove(&(id.clone(), name.clone()));
                }
                for (id, _) in &requests {
                    self.requests.insert((id.clone(), name.clone()));
                }
                let (stopped, purge) = (false, false);
                let mut job = Job {
                    spec,
                    revision,
                    requests,
                    created_ms,
                    ephemeral,
                    stopped,
                    purge,
                    before,
                    settled: false,
                    parent,
                    met: BTreeSet::new(),
                    failed: None,
                    handled_ms: created_ms,
                    instances: BTreeMap::new(),
                };
                if let Some(old) = old {
                    job.instances = old.instances;
                    job.handled_ms = old.handled_ms.max(created_ms);
                    if old.revision == revision {
                        (job.settled, job.met, job.failed) = (old.settled, old.met, old.failed);
                    }
                }
                self.jobs.insert(name, job);
            }
            Record::JobSettled { name } => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.settled = true;
                }
            }
            Record::DependencyMet { name, dependency } => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.met.insert(dependency);
                }
            }
            Record::JobFailed { name, why } => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.failed = Some(why);
                }
            }
            Record::CronHandled { name, until_ms } => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.handled_ms = job.handled_ms.max(until_ms);
                }
            }
            Record::JobStopped { name, purge } => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.stopped = true;
                    job.purge |= purge;
                }
            }
            Record::JobForgotten { name } => {
                for (id, _) in self.jobs.remove(&name).iter().flat_map(|job| &job.requests) {
                    self.requests.remove(&(id.clone(), name.clone()));
                }
            }
            Record::InstanceStored { job, instance } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.instances.insert(instance.number, instance);
                }
            }
            Record::InstanceForgotten { job, number } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.instances.remove(&number);
                }
            }
            Record::Remembered { key, value: Some(value) } => drop(self.memory.insert(key, value)),
            Record::Remembered { key, value: None } => drop(self.memory.remove(&key)),
            Record::SerialsReserved { below } => self.serials_below = self.serials_below.max(below),
        }
    }

    /// The job and revision that a request made, if it was carried out and is remembered.
    pub fn request(&self, id: &str) -> Option<(&Job, u64)> {
        let (_, name) =
            self.requests.range((id.to_owned(), String::new())..).next().filter(|(known, _)| known == id)?;
        let job = self.jobs.get(name)?;
        job.requests.iter().find(|(known, _)| known == id).map(|(_, revision)| (job, *revision))
    }

    /// The record that stores a job on behalf of a request: a new one, or the next revision of the one that is there
    /// (the same revision when nothing changed but the request).
    pub fn store_job(&self, spec: Arc<JobSpec>, request: &str, now_ms: u64, ephemeral: bool) -> Record {
        let before = self.jobs.get(&spec.name);
        let revision = match before {
            None => 1,
            Some(job) if job.spec == spec && !job.begins_anew() => job.revision,
            Some(job) => job.revision.saturating_add(1),
        };
        let mut requests = before.map(|job| job.requests.clone()).unwrap_or_default();
        requests.retain(|(id, _)| id != request);
        requests.push((request.to_owned(), revision));
        requests.drain(..requests.len().saturating_sub(REQUESTS_MAX));
        let created_ms = before.map_or(now_ms, |job| job.created_ms);
        let good = match before {
            // What was never in service as a whole is nothing to go back to.
            Some(job) if job.settled && job.revision != revision => Some(job.spec.clone()),
            Some(job) => job.before.clone(),
            None => None,
        };
        let good = good.filter(|good| *good != spec);
        let parent = before.and_then(|job| job.parent.clone());
        Record::JobStored { spec, revision, requests, created_ms, ephemeral, before: good, parent }
    }

    /// The record that stores a job with a spec that it had before, on behalf of nobody's submission.
    pub fn store_again(&self, spec: Arc<JobSpec>, now_ms: u64, ephemeral: bool) -> Record {
        let mut record = self.store_job(spec, "", now_ms, ephemeral);
        if let Record::JobStored { requests, .. } = &mut record {
            requests.retain(|(id, _)| !id.is_empty());
        }
        record
    }

    /// Takes up what an earlier version wrote. In the first layout the ends in a row of a batch's instance were the tries
    /// that its `retries` bound, and no instance had two tasks.
    pub(crate) fn migrate(&mut self, from: u32) {
        if from > 1 {
            return;
        }
        for job in self.jobs.values_mut() {
            let batch = job.spec.kind == Kind::Batch;
            for instance in job.instances.values_mut() {
                instance.retries = if batch { instance.failures } else { 0 };
                let waits = instance.state == TaskState::TaskWaiting;
                instance.made = if waits { instance.attempt.saturating_sub(1) } else { instance.attempt };
            }
        }
    }

    /// The fewest records that make this state of an empty one.
    pub fn image(&self, format: u32) -> Vec<Record> {
        let mut records = vec![Record::Header { format, prefix: self.prefix.clone() }];
        if self.framework.is_some() {
            records.push(Record::Framework(self.framework.clone()));
        }
        if self.serials_below > 0 {
            records.push(Record::SerialsReserved { below: self.serials_below });
        }
        for (key, value) in &self.memory {
            records.push(Record::Remembered { key: key.clone(), value: Some(value.clone()) });
        }
        for (name, job) in &self.jobs {
            records.push(Record::JobStored {
                spec: job.spec.clone(),
                revision: job.revision,
                requests: job.requests.clone(),
                created_ms: job.created_ms,
                ephemeral: job.ephemeral,
                before: job.before.clone(),
                parent: job.parent.clone(),
            });
            if job.settled {
                records.push(Record::JobSettled { name: name.clone() });
            }
            let met = |dependency: &String| Record::DependencyMet {
                name: name.clone(),
                dependency: dependency.clone(),
            };
            records.extend(job.met.iter().map(met));
            if let Some(why) = &job.failed {
                records.push(Record::JobFailed { name: name.clone(), why: why.clone() });
            }
            // Whatever it is now: it may have been a cron job before.
            if job.handled_ms > job.created_ms {
                records.push(Record::CronHandled { name: name.clone(), until_ms: job.handled_ms });
            }
            records.extend(
                job.instances
                    .values()
                    .map(|instance| Record::InstanceStored { job: name.clone(), instance: instance.clone() }),
            );
            if job.stopped {
                records.push(Record::JobStopped { name: name.clone(), purge: job.purge });
            }
        }
        records
    }
}
