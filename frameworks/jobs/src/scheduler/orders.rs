//! What people order, and what they are answered.

use std::sync::Arc;

use framework_sdk::Now;
use framework_sdk::reconciler::{Order as Wish, RolloutStep};
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::role::Role;

use super::dependencies::may_begin;
use super::group::{group_of, name_of, task_of};
use super::report::Note;
use super::work::{JobName, Work, is_live, is_over};
use super::{JOBS_MAX, Jobs, Output, key};
use crate::spec::{JobSpec, Kind};
use crate::store::{Instance, Job, Record};
use crate::wire;

/// The master's own limit for the roles of one framework.
pub(super) const ROLES_MAX: usize = 64;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Who watches a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watcher(pub u64);

/// An order.
#[derive(Debug)]
pub enum Order {
    /// Take a job on.
    Submit {
        /// Who waits.
        ticket: Ticket,
        /// The same id is carried out once.
        request: String,
        /// As asked for.
        spec: Arc<JobSpec>,
        /// Forgotten some time after it is over.
        ephemeral: bool,
        /// A job of that name takes on the new spec.
        replace: bool,
    },
    /// Show jobs; an empty name means all.
    Get {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        name: String,
        /// With their tasks.
        tasks: bool,
    },
    /// End a job.
    Stop {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        name: String,
        /// Forget it then.
        purge: bool,
    },
    /// The canaries of a changed service do well.
    Promote {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        name: String,
    },
    /// A service takes on again what ran before.
    Rollback {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        name: String,
    },
    /// Say what of a job waits, and why.
    Explain {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        name: String,
    },
    /// Tell every change of a job.
    Watch {
        /// Whom.
        watcher: Watcher,
        /// Of which job.
        name: String,
        /// Until it is over.
        until_over: bool,
    },
    /// The watcher has gone.
    Unwatch(Watcher),
}

/// An answer.
#[derive(Debug)]
pub enum Reply {
    /// The job is stored.
    Submitted(wire::SubmitReply),
    /// Jobs.
    Got(wire::GetReply),
    /// The job ends.
    Stopped(wire::StopReply),
    /// The others follow the canaries.
    Promoted(wire::PromoteReply),
    /// The job goes back.
    RolledBack(wire::RollbackReply),
    /// What waits.
    Explained(wire::ExplainReply),
    /// No.
    Refused(Refusal),
}

impl Jobs {
    /// Carries out an order. The answer leaves when what it changed is stored.
    pub(super) fn order(&mut self, now: Now, order: Order) {
        match order {
            Order::Submit { ticket, request, spec, ephemeral, replace } => {
                let reply = self.submit(now, &request, spec, ephemeral, replace);
                self.reply(ticket, reply.map(Reply::Submitted));
            }
            Order::Get { ticket, name, tasks } => {
                let reply = self.get(&name, tasks);
                self.reply(ticket, reply.map(Reply::Got));
            }
            Order::Stop { ticket, name, purge } => {
                let reply = self.stop(&name, purge);
                self.reply(ticket, reply.map(Reply::Stopped));
            }
            Order::Promote { ticket, name } => {
                let reply = self.promote(&name);
                self.reply(ticket, reply.map(Reply::Promoted));
            }
            Order::Rollback { ticket, name } => {
                let reply = self.roll_back(now, &name);
                self.reply(ticket, reply.map(Reply::RolledBack));
            }
            Order::Explain { ticket, name } => {
                let reply = self.explain(now, &name);
                self.reply(ticket, reply.map(Reply::Explained));
            }
            Order::Watch { watcher, name, until_over } => self.watch(watcher, &name, until_over),
            Order::Unwatch(watcher) => self.watches.remove(watcher),
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: Result<Reply, Refusal>) {
        self.outputs.push(Output::Reply(ticket, reply.unwrap_or_else(Reply::Refused)));
    }

    fn submit(
        &mut self,
        now: Now,
        request: &str,
        spec: Arc<JobSpec>,
        ephemeral: bool,
        replace: bool,
    ) -> Result<wire::SubmitReply, Refusal> {
        use wire::SubmitOutcome::{SubmitCreated, SubmitUnchanged, SubmitUpdated};
        if let Some((job, revision)) = self.state.request(request) {
            let name = job.spec.name.clone();
            let outcome = if revision == 1 { SubmitCreated } else { SubmitUpdated };
            return Ok(self.submitted(name, revision, outcome));
        }
        let role = spec.role.clone().unwrap_or_else(|| self.role.clone());
        self.check_room(&spec, &role)?;
        self.check_after(&spec)?;
        self.check_volumes(&spec, ephemeral)?;
        let job = key(&spec.name);
        let before = self
            .state
            .jobs
            .get(&*job)
            .map(|stored| (stored.spec.clone(), stored.revision, stored.begins_anew()));
        let outcome = match &before {
            None => SubmitCreated,
            Some(_) if !replace => {
                let message = format!("there is a job {job} already");
                let help = "give another name, or replace it with `stoa job apply`";
                return Err(Refusal::new(Code::Conflict, message).with_help(help));
            }
            Some((old, _, false)) if **old == *spec => SubmitUnchanged,
            Some((old, ..)) => {
                self.check_replaceable(&job, old, &spec)?;
                SubmitUpdated
            }
        };
        // What is due already is a run of the spec that was there when it came due.
        self.tick(now, &job);
        let record = self.state.store_job(spec.clone(), request, now.wall.as_millis(), ephemeral);
        self.record(record);
        // At once, though it may begin much later: a later life is in the roles of all the jobs that it finds.
        self.reconciler.be_in(&role);
        self.touched.insert(job.clone());
        match before {
            None => {
                self.work.insert(job.clone(), Work::default());
                self.state_anew(now, &job);
            }
            Some(_) if outcome == SubmitUnchanged => {}
            Some((old, old_revision, _)) => {
                self.respec(&job, &old, old_revision, &spec);
                self.state_anew(now, &job);
            }
        }
        match outcome {
            SubmitCreated => self.report(Note::Job { job: job.to_string(), what: "created" }),
            SubmitUpdated => self.report(Note::Job { job: job.to_string(), what: "updated" }),
            _ => {}
        }
        let revision = self.state.jobs.get(&*job).map_or(1, |stored| stored.revision);
        Ok(self.submitted(job.to_string(), revision, outcome))
    }

    fn submitted(&self, name: String, revision: u64, outcome: wire::SubmitOutcome) -> wire::SubmitReply {
        wire::SubmitReply { name, revision, outcome: outcome.into(), framework_id: self.framework_id() }
    }

    fn check_room(&self, spec: &JobSpec, role: &Role) -> Result<(), Refusal> {
        if self.state.jobs.len() >= JOBS_MAX && !self.state.jobs.contains_key(&spec.name) {
            let message = format!("there are {JOBS_MAX} jobs already");
            return Err(
                Refusal::new(Code::TooMuch, message).with_help("stop some with `stoa job stop --purge`")
            );
        }
        let roles = &self.info().roles;
        if roles.len() >= ROLES_MAX && !roles.contains(role) {
            let message = format!("jobs are in {ROLES_MAX} roles already; {role} would be one too many");
            return Err(Refusal::new(Code::TooMuch, message).with_help("put the job into one of those roles"));
        }
        Ok(())
    }

    fn check_replaceable(&self, job: &JobName, old: &JobSpec, new: &JobSpec) -> Result<(), Refusal> {
        if old.kind != new.kind {
            let message = format!("job {job} is a {}, not a {}", old.kind.as_str(), new.kind.as_str());
            let help = format!("end it first with `stoa job stop --purge {job}`, or give another name");
            return Err(Refusal::new(Code::Conflict, message).with_help(help));
        }
        let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get(job)) else {
            return Ok(());
        };
        if new.kind == Kind::Batch && !is_over(stored, &work.sums) {
            let message = format!("batch job {job} is not over yet");
            let help = format!("wait for it, end it with `stoa job stop {job}`, or give another name");
            return Err(Refusal::new(Code::Conflict, message).with_help(help));
        }
        Ok(())
    }

    /// A job takes on a new spec.
    fn respec(&mut self, job: &JobName, old: &JobSpec, old_revision: u64, new: &JobSpec) {
        let Some(stored) = self.state.jobs.get(&**job) else { return };
        let revision = stored.revision;
        let instances: Vec<Instance> = stored.instances.values().cloned().collect();
        let same = task_of(old) == task_of(new);
        for instance in instances {
            let number = instance.number;
            let has_task = is_live(instance.state) || instance.earlier.iter().any(|of| is_live(of.state));
            if !has_task && instance.earlier.is_empty() {
                // Who waits or is over begins anew, without a pause.
                self.drop_instance(job, number);
            } else if !has_task {
                // The same, but what it went on without may come back, and must be known then.
                let Instance { earlier, made, .. } = instance;
                let attempt = made.saturating_add(1);
                self.put(job, Instance { attempt, made, earlier, ..Instance::waiting(number, revision) });
            } else if same && instance.revision == old_revision {
                self.put(job, Instance { revision, ..instance });
            }
        }
    }

    /// A job begins, or goes on, as it is asked for now.
    pub(super) fn state_anew(&mut self, now: Now, job: &JobName) {
        let (Some(stored), Some(work)) = (self.state.jobs.get(&**job), self.work.get_mut(job)) else {
            return;
        };
        if stored.spec.kind == Kind::Cron {
            return self.begin_schedule(now, job);
        }
        if !may_begin(stored) {
            return self.await_others(now, job);
        }
        if let Some(group) = group_of(stored) {
            (work.stated, work.change) = (true, None);
            self.wishes.push(Wish::Renew(group.name().clone()));
            self.wishes.push(Wish::Submit(group));
        }
    }

    fn promote(&mut self, name: &str) -> Result<wire::PromoteReply, Refusal> {
        let stored = self.state.jobs.get(name).ok_or_else(|| no_job(name))?;
        let change = self.work.get(name).and_then(|work| work.change);
        if change != Some(RolloutStep::CanaryWaits) {
            let message = format!("no canaries of job {name} wait for a word");
            let help = format!("see how it stands with `stoa explain job {name}`");
            return Err(Refusal::new(Code::Conflict, message).with_help(help));
        }
        let revision = stored.revision;
        self.wishes.extend(name_of(name).map(Wish::Promote));
        Ok(wire::PromoteReply { revision })
    }

    /// What ran before is a new revision, brought about as any other.
    fn roll_back(&mut self, now: Now, name: &str) -> Result<wire::RollbackReply, Refusal> {
        let stored = self.state.jobs.get(name).ok_or_else(|| no_job(name))?;
        let refused = |why: &str| {
            let help = "apply the file that it should go back to";
            Err(Refusal::new(Code::Conflict, format!("job {name} {why}")).with_help(help))
        };
        if stored.spec.kind != Kind::Service || stored.stopped {
            return refused("is not a service that runs");
        }
        let Some(before) = stored.before.clone() else {
            return refused("has nothing to go back to: no other spec of it was in service as a whole");
        };
        let (old, old_revision) = (stored.spec.clone(), stored.revision);
        let role = before.role.clone().unwrap_or_else(|| self.role.clone());
        self.check_room(&before, &role)?;
        self.check_volumes(&before, false)?;
        let (created_ms, ephemeral) = (now.wall.as_millis(), stored.ephemeral);
        let record = self.state.store_again(before.clone(), created_ms, ephemeral);
        self.record(record);
        self.reconciler.be_in(&role);
        let job = key(name);
        self.touched.insert(job.clone());
        self.respec(&job, &old, old_revision, &before);
        self.state_anew(now, &job);
        self.report(Note::Job { job: name.to_owned(), what: "rolled back" });
        let revision = self.state.jobs.get(name).map_or(old_revision, |stored| stored.revision);
        Ok(wire::RollbackReply { revision })
    }

    fn get(&self, name: &str, tasks: bool) -> Result<wire::GetReply, Refusal> {
        let jobs = if name.is_empty() {
            self.state.jobs.keys().filter_map(|name| self.view(name, tasks)).collect()
        } else {
            vec![self.view(name, tasks).ok_or_else(|| no_job(name))?]
        };
        Ok(wire::GetReply { jobs, framework_id: self.framework_id() })
    }

    fn stop(&mut self, name: &str, purge: bool) -> Result<wire::StopReply, Refusal> {
        let stored = self.state.jobs.get(name).ok_or_else(|| no_job(name))?;
        let (was_stopped, was_purged) = (stored.stopped, stored.purge);
        let live = |job: &Job| -> usize {
            let live = job.instances.values().filter(|instance| is_live(instance.state));
            live.map(|instance| instance.live_tasks().len()).sum()
        };
        let killing = live(stored) + self.runs_of(name).map(live).sum::<usize>();
        let job = key(name);
        if !was_stopped || (purge && !was_purged) {
            self.record(Record::JobStopped { name: name.to_owned(), purge });
            self.report(Note::Job { job: name.to_owned(), what: "stopped" });
        }
        self.withdraw(&job);
        if purge {
            self.wishes.extend(name_of(name).map(Wish::Purge));
        }
        if self.state.jobs.get(name).is_some_and(|stored| stored.spec.kind == Kind::Cron) {
            self.end_runs(&job, purge);
        }
        self.touched.insert(job);
        Ok(wire::StopReply { was_stopped, killing: u32::try_from(killing).unwrap_or(u32::MAX) })
    }

    fn explain(&self, now: Now, name: &str) -> Result<wire::ExplainReply, Refusal> {
        let stored = self.state.jobs.get(name).ok_or_else(|| no_job(name))?;
        let work = self.work.get(name).ok_or_else(|| no_job(name))?;
        let role = stored.spec.role.as_ref().unwrap_or(&self.role);
        let mut held = Vec::new();
        if stored.stopped {
            held.push("the job was stopped; apply it again to start it".to_owned());
        }
        if !self.connected {
            held.push("the framework has no session with a master".to_owned());
        } else if !self.reconciler.has_role(role) {
            held.push(format!("the master does not know yet that the framework is in role {role}"));
        }
        held.extend(self.held_back(name, stored, work));
        held.extend(self.held_by_volumes(name, stored));
        let now_ms = now.wall.as_millis();
        for instance in stored.instances.values().filter(|_| !stored.stopped) {
            if instance.state == wire::TaskState::TaskWaiting && instance.not_before_ms > now_ms {
                let seconds = (instance.not_before_ms - now_ms).div_ceil(1000);
                let why = if instance.message.is_empty() { "it ended" } else { &instance.message };
                held.push(format!(
                    "instance {} is started again in {seconds} s, after {} ends in a row ({why})",
                    instance.number, instance.failures
                ));
            } else if instance.last && instance.state.is_terminal() && stored.spec.kind == Kind::Service {
                held.push(format!(
                    "instance {} cannot run as asked for: {}",
                    instance.number, instance.message
                ));
            }
            if held.len() >= HELD_MAX {
                held.push("and more".to_owned());
                break;
            }
        }
        let demands = self.reconciler.demands_of(name);
        Ok(wire::ExplainReply {
            framework_id: self.framework_id(),
            demand_ids: demands.iter().map(ToString::to_string).collect(),
            held,
            summary: Some(super::views::summary(stored, work)),
        })
    }
}

impl Jobs {
    /// Why the job as a whole does not go on.
    fn held_back(&self, name: &str, stored: &Job, work: &Work) -> Vec<String> {
        let mut held = Vec::new();
        if let Some(why) = &stored.failed {
            held.push(format!("it has failed: {why}"));
        } else if !stored.stopped {
            let open = stored.spec.after.iter().filter(|other| !stored.met.contains(*other));
            held.extend(open.map(|other| format!("it comes after job {other}, which has not ended yet")));
        }
        if let Some(cron) = &stored.spec.cron {
            match super::cron::next_run(stored) {
                _ if cron.paused => held.push("it is paused: no run is started".to_owned()),
                Some(at_ms) => held.push(format!("its next run is due at {} UTC", super::cron::stamp(at_ms))),
                None => {}
            }
        }
        match work.change {
            Some(RolloutStep::CanaryWaits) => held.push(format!(
                "its canaries are in service; go on with `stoa job promote {name}`, or go back with `stoa job rollback {name}`"
            )),
            Some(RolloutStep::GoesBack(why) | RolloutStep::RolledBack(why)) => {
                held.push(format!("its latest change failed ({why}); it runs what it ran before"));
            }
            Some(RolloutStep::Stopped(why)) => held.push(format!(
                "its latest change failed ({why}) and stays as it is; apply another, or go back with `stoa job rollback {name}`"
            )),
            Some(RolloutStep::Begun | RolloutStep::Promoted | RolloutStep::Done) | None => {}
        }
        held
    }
}

/// So many reasons are enough for people.
pub(super) const HELD_MAX: usize = 20;

fn no_job(name: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no job {name}")).with_help("list them with `stoa job get`")
}
