//! What people see of jobs: as they stand when asked, and as they change when watched.

use std::collections::{BTreeMap, BTreeSet};

use framework_sdk::reconciler::{RolloutStep, WhyBack};
use framework_sdk::refusal::{Code, Refusal};

use super::orders::Watcher;
use super::parts::part_name;
use super::work::{JobName, Work, is_live, is_over};
use super::{Jobs, Output};
use crate::contract::exit_to_wire;
use crate::spec::Kind;
use crate::store::{Instance, Job, Part};
use crate::wire;

/// Who watches what, and what there is to tell.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_watcher: BTreeMap<Watcher, JobName>,
    /// Whether the watcher wants no more than the end.
    by_job: BTreeMap<JobName, BTreeMap<Watcher, bool>>,
    news: BTreeMap<JobName, News>,
}

/// What changed of one job within a batch.
#[derive(Debug, Default)]
struct News {
    tasks: Vec<wire::Task>,
    /// Where the latest of an attempt to run an instance stands.
    latest: BTreeMap<(u32, u32, String), usize>,
}

// === impl Watches ===

impl Watches {
    pub fn add(&mut self, watcher: Watcher, job: JobName, until_over: bool) {
        self.by_watcher.insert(watcher, job.clone());
        self.by_job.entry(job).or_default().insert(watcher, until_over);
    }

    pub fn remove(&mut self, watcher: Watcher) {
        let Some(job) = self.by_watcher.remove(&watcher) else { return };
        if let Some(watchers) = self.by_job.get_mut(&job) {
            watchers.remove(&watcher);
            if watchers.is_empty() {
                self.by_job.remove(&job);
                self.news.remove(&job);
            }
        }
    }

    fn take_job(&mut self, job: &JobName) -> Vec<Watcher> {
        let watchers: Vec<Watcher> = self.by_job.get(job).into_iter().flatten().map(|(w, _)| *w).collect();
        watchers.iter().for_each(|watcher| self.remove(*watcher));
        watchers
    }
}

impl News {
    fn add(&mut self, task: wire::Task) {
        let attempt = (task.instance, task.attempt, task.part.clone());
        let before = self.latest.get(&attempt).and_then(|at| self.tasks.get_mut(*at));
        match before {
            // Of an attempt that goes on only the latest is of interest.
            Some(before) if !before.state().is_terminal() => *before = task,
            _ => {
                self.latest.insert(attempt, self.tasks.len());
                self.tasks.push(task);
            }
        }
    }
}

impl Jobs {
    /// An instance changed, or an earlier task of it: remembered for those who watch its job.
    pub(super) fn note(&mut self, job: &JobName, instance: &Instance) {
        if !self.watches.by_job.contains_key(job) {
            return;
        }
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        // Of several tasks the others stand as they were told.
        let known = stored.instances.get(&instance.number);
        let known = known.into_iter().flat_map(|known| std::iter::once(known).chain(&known.earlier));
        let told: Vec<&Part> = known.flat_map(|known| &known.parts).collect();
        let news = rows(stored, instance, |part| !told.contains(&part));
        let all = self.watches.news.entry(job.clone()).or_default();
        news.into_iter().for_each(|task| all.add(task));
    }

    /// Tells watchers what changed in this batch.
    pub(super) fn tell_watchers(&mut self) {
        let mut over = BTreeSet::new();
        for job in &self.touched {
            let Some(watchers) = self.watches.by_job.get(job) else { continue };
            let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get(job)) else {
                continue;
            };
            let news = self.watches.news.remove(job).unwrap_or_default();
            let event = wire::JobEvent {
                name: job.to_string(),
                revision: stored.revision,
                tasks: news.tasks,
                summary: Some(summary(stored, work)),
                framework_id: self.framework_id(),
            };
            let ends = is_over(stored, &work.sums);
            for (watcher, until_over) in watchers {
                self.outputs.push(Output::Tell(*watcher, event.clone()));
                if ends && *until_over {
                    over.insert(*watcher);
                }
            }
        }
        for watcher in over {
            self.watches.remove(watcher);
            self.outputs.push(Output::WatchOver(watcher, None));
        }
    }

    /// The job is forgotten, so there is nothing more to tell.
    pub(super) fn end_watches(&mut self, job: &JobName) {
        for watcher in self.watches.take_job(job) {
            self.outputs.push(Output::WatchOver(watcher, None));
        }
    }

    /// Somebody watches from now on: first all as it stands.
    pub(super) fn watch(&mut self, watcher: Watcher, name: &str, until_over: bool) {
        let Some((job, work)) = self.work.get_key_value(name) else {
            let refusal = Refusal::new(Code::NotFound, format!("there is no job {name}"));
            self.outputs.push(Output::WatchOver(watcher, Some(refusal)));
            return;
        };
        let Some(stored) = self.state.jobs.get(name) else { return };
        let event = wire::JobEvent {
            name: name.to_owned(),
            revision: stored.revision,
            tasks: tasks(stored),
            summary: Some(summary(stored, work)),
            framework_id: self.framework_id(),
        };
        self.outputs.push(Output::Tell(watcher, event));
        if until_over && is_over(stored, &work.sums) {
            self.outputs.push(Output::WatchOver(watcher, None));
        } else {
            self.watches.add(watcher, job.clone(), until_over);
        }
    }

    pub(super) fn framework_id(&self) -> String {
        self.state.framework.as_ref().map_or_else(String::new, ToString::to_string)
    }

    pub(super) fn view(&self, name: &str, with_tasks: bool) -> Option<wire::JobView> {
        let (stored, work) = (self.state.jobs.get(name)?, self.work.get(name)?);
        Some(wire::JobView {
            spec: Some(stored.spec.to_wire()),
            revision: stored.revision,
            summary: Some(summary(stored, work)),
            created_ms: stored.created_ms,
            tasks: if with_tasks { tasks(stored) } else { Vec::new() },
            ephemeral: stored.ephemeral,
            parent: stored.parent.clone().unwrap_or_default(),
            volumes: self.volumes(name, stored),
        })
    }
}

/// The job in numbers.
pub(super) fn summary(job: &Job, work: &Work) -> wire::Summary {
    let wanted = match job.spec.kind {
        Kind::Service if job.stopped => 0,
        // Its runs are jobs of their own.
        Kind::Cron => 0,
        Kind::Service | Kind::Batch => job.spec.instances,
    };
    // None of those that have not ended well ever will.
    let never = if job.failed.is_some() { wanted.saturating_sub(work.sums.finished) } else { 0 };
    wire::Summary {
        wanted,
        running: work.sums.running,
        finished: work.sums.finished,
        failed: work.sums.failed.max(never),
        restarts: work.sums.restarts,
        over: is_over(job, &work.sums),
        stopped: job.stopped,
        progress: progress(job, work).into(),
        setback: setback(work).into(),
    }
}

/// How far what was asked of a service last is brought about.
fn progress(job: &Job, work: &Work) -> wire::Progress {
    if job.spec.kind != Kind::Service || job.stopped {
        return wire::Progress::Unspecified;
    }
    match work.change {
        Some(RolloutStep::CanaryWaits) => wire::Progress::CanaryWaits,
        Some(RolloutStep::GoesBack(_)) => wire::Progress::GoesBack,
        Some(RolloutStep::RolledBack(_)) => wire::Progress::RolledBack,
        Some(RolloutStep::Stopped(_)) => wire::Progress::Stopped,
        Some(RolloutStep::Begun | RolloutStep::Promoted | RolloutStep::Done) | None => match job.settled {
            true => wire::Progress::Done,
            false => wire::Progress::UnderWay,
        },
    }
}

fn setback(work: &Work) -> wire::Setback {
    let why = match work.change {
        Some(RolloutStep::GoesBack(why) | RolloutStep::RolledBack(why) | RolloutStep::Stopped(why)) => why,
        Some(RolloutStep::Begun | RolloutStep::CanaryWaits | RolloutStep::Promoted | RolloutStep::Done)
        | None => return wire::Setback::Unspecified,
    };
    match why {
        WhyBack::Deadline => wire::Setback::Deadline,
        WhyBack::Failures => wire::Setback::Failures,
        WhyBack::Abandoned => wire::Setback::Abandoned,
    }
}

/// The latest task of each instance, and before it those that it is about to replace.
fn tasks(job: &Job) -> Vec<wire::Task> {
    let all = job.instances.values().flat_map(|instance| {
        let earlier = instance.earlier.iter().filter(|earlier| is_live(earlier.state));
        earlier.chain([instance])
    });
    all.flat_map(|instance| rows(job, instance, |_| true)).collect()
}

/// An instance as people see it: a task, or several of which these are shown.
fn rows(job: &Job, instance: &Instance, shown: impl Fn(&Part) -> bool) -> Vec<wire::Task> {
    let whole = task(job, instance);
    if instance.parts.is_empty() {
        return vec![whole];
    }
    let row = |part: &Part| {
        let (exit_code, exit_signal) = exit_to_wire(part.exit);
        wire::Task {
            task_id: part.task.to_string(),
            name: part_name(&whole.name, instance, &part.task),
            part: part.name.clone(),
            state: part.state.into(),
            exit_code,
            exit_signal,
            message: part.message.clone(),
            at_ms: part.at_ms,
            ..whole.clone()
        }
    };
    instance.parts.iter().filter(|part| shown(part)).map(row).collect()
}

fn task(job: &Job, instance: &Instance) -> wire::Task {
    let (exit_code, exit_signal) = exit_to_wire(instance.exit);
    wire::Task {
        task_id: instance.task.as_ref().map_or_else(String::new, ToString::to_string),
        name: job.spec.instance_name(instance.number),
        instance: instance.number,
        attempt: instance.attempt,
        state: instance.state.into(),
        agent_id: instance.agent.as_ref().map_or_else(String::new, ToString::to_string),
        hostname: instance.hostname.clone(),
        agent_address: instance.agent_address.clone(),
        exit_code,
        exit_signal,
        message: instance.message.clone(),
        at_ms: instance.at_ms,
        last: instance.last,
        part: String::new(),
    }
}
