//! The scheduler of jobs: implements the SDK's trait, without clock, disk or network.
//!
//! What should run it states to the SDK's [`Reconciler`], which it contains: each job that is at work is one group of that
//! name. It keeps what people see of jobs, and what has to be durable, the memory of the reconciler with it. Everything
//! that is decided within one batch is stored in one sync, and only then are the master and people told. A launch is
//! stored before it is asked for: after a crash the master says what became of it.

mod cron;
mod dependencies;
mod group;
mod orders;
mod parts;
mod progress;
mod recover;
pub mod report;
#[cfg(test)]
mod tests;
mod views;
mod volumes;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::agent::AgentState;
use framework_sdk::conversation::RescindReason;
use framework_sdk::demand::Demand;
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{AgentId, OfferId, TaskId};
use framework_sdk::offer::Offer;
use framework_sdk::reconciler::{self, remembered_framework};
use framework_sdk::refusal::Refusal;
use framework_sdk::role::Role;
use framework_sdk::{
    Answered, Calls, Deadlines, Draining, Instant, Now, Reconciler, Scheduler, Session, Update,
};

pub(crate) use self::group::task_of;
pub use self::orders::{Order, Reply, Ticket, Watcher};
use self::views::Watches;
use self::work::{JobName, Sums, Work, is_over};
use crate::store::{Record, State};
use crate::wire;

/// A job of `stoa run` is forgotten so long after it is over: whoever ran it has seen the end by then.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// So many jobs at once: each is a few kilobytes here and in the journal.
const JOBS_MAX: usize = 10_000;
/// Under this key the reconciler remembers the framework's id; the journal has a record of its own for that.
const FRAMEWORK: &str = "framework";

/// What the scheduler wants of its shell.
#[derive(Debug)]
pub enum Output {
    /// Make this durable, in one sync, before anything after it is done.
    Store(Vec<Record>),
    /// The answer to an order.
    Reply(Ticket, Reply),
    /// An event for a watcher.
    Tell(Watcher, wire::JobEvent),
    /// The watcher's stream is over: well, or because of this.
    WatchOver(Watcher, Option<Refusal>),
    /// A note for the log.
    Note(report::Note),
    /// How many of each there are, when that has changed.
    Totals(report::Totals),
}

/// Something that is due at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// What was stored is taken up.
    Begin,
    /// A job that is over is forgotten.
    Forget(JobName),
    /// A run of a cron job may be due.
    Cron(JobName),
}

/// The scheduler.
#[derive(Debug)]
pub struct Jobs {
    /// The role of jobs that name none.
    role: Role,
    state: State,
    work: BTreeMap<JobName, Work>,
    reconciler: Reconciler,
    due: Deadlines<Due>,
    /// What was stored is taken up.
    has_begun: bool,
    /// A session stands.
    connected: bool,
    watches: Watches,
    /// Who comes after a job that has not ended.
    awaited: BTreeMap<JobName, BTreeSet<JobName>>,

    // ---- gathered within a batch ----
    /// What the reconciler is to be told when the batch is over.
    wishes: Vec<reconciler::Order>,
    records: Vec<Record>,
    done: Vec<Update>,
    /// Tasks of which nobody knows whose they are.
    strays: Vec<TaskId>,
    outputs: Vec<Output>,
    /// Jobs of which something changed.
    touched: BTreeSet<JobName>,

    // ---- for metrics ----
    totals: report::Totals,
    /// As last told.
    told: report::Totals,
}

impl Jobs {
    /// Goes on from what was stored. `info` is what the framework says of itself but for its roles, `role` that of jobs
    /// that name none; `random` is different in each life of the framework.
    pub fn new(mut info: FrameworkInfo, role: Role, state: State, random: u64) -> Self {
        let at_work = state.jobs.values().filter(|job| !is_over(job, &Sums::of(job)));
        let others: BTreeSet<&Role> = at_work.filter_map(|job| job.spec.role.as_ref()).collect();
        let roles = std::iter::once(&role).chain(others.into_iter().filter(|r| **r != role));
        // With one more than it allows the master would take none.
        info.roles = roles.take(orders::ROLES_MAX).cloned().collect();
        let mut memory = state.memory.clone();
        memory.extend(state.framework.iter().map(|id| (FRAMEWORK.to_owned(), id.to_string())));
        let mut jobs = Jobs {
            role,
            state,
            work: BTreeMap::new(),
            reconciler: Reconciler::new(info, memory, random).remembered_by_author(),
            due: Deadlines::new(),
            has_begun: false,
            connected: false,
            watches: Watches::default(),
            awaited: BTreeMap::new(),
            wishes: Vec::new(),
            records: Vec::new(),
            done: Vec::new(),
            strays: Vec::new(),
            outputs: Vec::new(),
            touched: BTreeSet::new(),
            totals: report::Totals::default(),
            told: report::Totals::default(),
        };
        jobs.recover();
        jobs
    }

    /// What the framework says of itself.
    pub fn info(&self) -> &FrameworkInfo {
        self.reconciler.info()
    }

    /// Changes the state and remembers that it must be stored.
    fn record(&mut self, record: Record) {
        self.state.apply(record.clone());
        self.records.push(record);
    }

    /// Stores what was recorded, if anything.
    fn store(&mut self, out: &mut Calls<Output>) {
        if !self.records.is_empty() {
            out.emit(Output::Store(std::mem::take(&mut self.records)));
        }
    }

    /// Passes something on to the reconciler. What it wants kept is stored before what it asks for.
    fn reconcile(
        &mut self,
        now: Now,
        out: &mut Calls<Output>,
        act: impl FnOnce(&mut Reconciler, &mut Calls<reconciler::Output>),
    ) {
        let mut calls = Calls::default();
        act(&mut self.reconciler, &mut calls);
        if self.take_outputs(now, &mut calls) {
            self.store(out);
        }
        out.relay(calls, |task| self.dress(task));
    }

    /// Whether there were any.
    fn take_outputs(&mut self, now: Now, calls: &mut Calls<reconciler::Output>) -> bool {
        let outputs = calls.take_outputs();
        let any = !outputs.is_empty();
        for output in outputs {
            match output {
                reconciler::Output::Save(changes) => {
                    changes.into_iter().for_each(|change| self.remember(change))
                }
                reconciler::Output::Tell(event, _) => self.told(now, event),
            }
        }
        any
    }

    fn remember(&mut self, change: reconciler::Change) {
        let reconciler::Change { key, value } = change;
        if key == FRAMEWORK {
            let memory = value.into_iter().map(|id| (FRAMEWORK.to_owned(), id)).collect();
            self.record(Record::Framework(remembered_framework(&memory)));
        } else {
            self.record(Record::Remembered { key, value });
        }
    }
}

impl Scheduler for Jobs {
    type Input = Order;
    type Output = Output;

    fn demands(&self) -> Option<Vec<Demand>> {
        self.reconciler.demands()
    }

    fn subscribed(&mut self, now: Now, session: &Session, out: &mut Calls<Output>) {
        self.begin(now);
        self.connected = true;
        self.reconcile(now, out, |reconciler, calls| reconciler.subscribed(now, session, calls));
    }

    fn disconnected(&mut self, now: Now) {
        self.connected = false;
        self.reconciler.disconnected(now);
    }

    fn offers(&mut self, now: Now, offers: Vec<Offer>, out: &mut Calls<Output>) {
        self.reconcile(now, out, |reconciler, calls| reconciler.offers(now, offers, calls));
    }

    fn update(&mut self, now: Now, update: Update, out: &mut Calls<Output>) {
        let status = update.status();
        let is_over = status.state.is_terminal();
        if !self.reconciler.heard(now, status) && !is_over {
            self.strays.push(status.task.clone());
        }
        if is_over {
            // Once the end is stored.
            self.done.push(update);
        } else {
            // The next session says again how a task stands that is alive.
            out.done(update);
        }
    }

    fn rescinded(&mut self, now: Now, offer: OfferId, why: RescindReason, out: &mut Calls<Output>) {
        self.reconcile(now, out, |reconciler, calls| reconciler.rescinded(now, offer, why, calls));
    }

    fn answered(&mut self, now: Now, answered: &Answered, out: &mut Calls<Output>) {
        self.reconcile(now, out, |reconciler, calls| reconciler.answered(now, answered, calls));
    }

    fn failure(&mut self, now: Now, agent: &AgentId, state: AgentState, out: &mut Calls<Output>) {
        self.reconcile(now, out, |reconciler, calls| reconciler.failure(now, agent, state, calls));
    }

    fn draining(&mut self, now: Now, notice: &Draining, out: &mut Calls<Output>) {
        self.reconcile(now, out, |reconciler, calls| reconciler.draining(now, notice, calls));
    }

    fn resumed(&mut self, now: Now, agent: &AgentId, out: &mut Calls<Output>) {
        self.reconcile(now, out, |reconciler, calls| reconciler.resumed(now, agent, calls));
    }

    fn ended(&mut self, now: Now, why: &Refusal, out: &mut Calls<Output>) {
        self.connected = false;
        self.reconcile(now, out, |reconciler, calls| reconciler.ended(now, why, calls));
    }

    fn input(&mut self, now: Now, order: Order, _out: &mut Calls<Output>) {
        self.begin(now);
        self.order(now, order);
    }

    fn wake(&mut self, now: Now, out: &mut Calls<Output>) {
        while let Some(due) = self.due.pop_due(now.monotonic) {
            match due {
                Due::Begin => self.begin(now),
                Due::Forget(job) => self.forget(&job),
                Due::Cron(job) => self.tick(now, &job),
            }
        }
        self.reconcile(now, out, |reconciler, calls| reconciler.wake(now, calls));
    }

    fn wake_at(&self) -> Option<Instant> {
        self.due.next().into_iter().chain(self.reconciler.wake_at()).min()
    }

    fn settle(&mut self, now: Now, out: &mut Calls<Output>) {
        let mut calls = Calls::default();
        loop {
            for wish in std::mem::take(&mut self.wishes) {
                self.reconciler.input(now, wish, &mut calls);
            }
            self.reconciler.settle(now, &mut calls);
            // What is told of tasks may bring a job to its end.
            self.take_outputs(now, &mut calls);
            self.withdraw_what_is_over();
            self.release_others(now);
            if self.wishes.is_empty() {
                break;
            }
        }
        self.summarize(now);
        self.total();
        self.store(out);
        out.relay(calls, |task| self.dress(task));
        for task in std::mem::take(&mut self.strays) {
            out.kill(task, None);
        }
        for update in std::mem::take(&mut self.done) {
            out.done(update);
        }
        for output in std::mem::take(&mut self.outputs) {
            out.emit(output);
        }
    }
}

/// The name of a job as a key.
fn key(name: &str) -> JobName {
    Arc::from(name)
}
