//! The scheduler of jobs: implements the SDK's trait, without clock, disk or network.
//!
//! Everything it decides within one batch is stored in one sync, and only then are the master and people told. A launch
//! is stored before it is asked for: after a crash the master says what became of it.

mod orders;
mod places;
mod progress;
pub mod report;
#[cfg(test)]
mod tests;
mod views;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use framework_sdk::agent::AgentState;
use framework_sdk::conversation::{CallKind, Outcome, RescindReason};
use framework_sdk::demand::Demand;
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{AgentId, OfferId, TaskId};
use framework_sdk::offer::Offer;
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::role::Role;
use framework_sdk::{Answered, Calls, Deadlines, Instant, Now, Scheduler, Session, Update};

pub use self::orders::{Order, Reply, Ticket, Watcher};
use self::views::Watches;
use self::work::{JobName, Work};
use crate::store::{Record, State};
use crate::wire;

/// A task that was asked to end and has not is asked again so often. Seldom: the master's log remembers a kill, so this
/// is for a kill that was refused.
const KILL_AGAIN: Duration = Duration::from_secs(300);
/// A job of `stoa run` is forgotten so long after it is over: whoever ran it has seen the end by then.
const FORGET_AFTER: Duration = Duration::from_secs(600);

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
    /// The pause of an instance is over.
    Rested(JobName, u32),
    /// An instance's agent was out of sight for too long.
    GivenUp(JobName, u32),
    /// A task should have ended by now.
    Kill(TaskId),
    /// A job that is over is forgotten.
    Forget(JobName),
}

/// The scheduler.
#[derive(Debug)]
pub struct Jobs {
    /// What the framework says of itself, with every role that a job was ever in.
    info: FrameworkInfo,
    /// The role of jobs that name none.
    role: Role,
    state: State,
    work: BTreeMap<JobName, Work>,
    /// The tasks of the attempts that have not ended.
    tasks: BTreeMap<TaskId, (JobName, u32)>,
    due: Deadlines<Due>,
    /// The next serial number; those below `state.serials_below` may be used without storing.
    serial: u64,
    /// Roles that the master knows of; demands in others would be refused.
    granted: BTreeSet<Role>,
    connected: bool,
    watches: Watches,
    /// Demands as last declared.
    demanded: Vec<Demand>,
    demands_changed: bool,
    /// Demands were declared; the driver says them again to every new leader.
    said_demands: bool,
    /// A role was added to `info` that the master was not told of.
    info_changed: bool,

    // ---- gathered within a batch ----
    offers: Vec<Offer>,
    records: Vec<Record>,
    done: Vec<Update>,
    kills: Vec<TaskId>,
    outputs: Vec<Output>,
    /// Jobs of which something changed.
    touched: BTreeSet<JobName>,

    // ---- for metrics ----
    /// Starts after an end, in this life of the framework.
    restarts: u64,
    /// As last told.
    totals: report::Totals,
}

impl Jobs {
    /// Goes on from what was stored. `info` is what the framework says of itself but for its roles, `role` that of jobs
    /// that name none.
    pub fn new(mut info: FrameworkInfo, role: Role, state: State) -> Self {
        let mut roles: Vec<Role> = vec![role.clone()];
        for job in state.jobs.values() {
            roles.extend(job.spec.role.clone());
        }
        roles.sort();
        roles.dedup();
        info.roles = roles;
        let mut jobs = Jobs {
            info,
            role,
            serial: state.serials_below,
            state,
            work: BTreeMap::new(),
            tasks: BTreeMap::new(),
            due: Deadlines::new(),
            granted: BTreeSet::new(),
            connected: false,
            watches: Watches::default(),
            demanded: Vec::new(),
            demands_changed: true,
            said_demands: false,
            info_changed: false,
            offers: Vec::new(),
            records: Vec::new(),
            done: Vec::new(),
            kills: Vec::new(),
            outputs: Vec::new(),
            touched: BTreeSet::new(),
            restarts: 0,
            totals: report::Totals::default(),
        };
        jobs.recover();
        jobs
    }

    /// What the framework says of itself.
    pub fn info(&self) -> &FrameworkInfo {
        &self.info
    }

    /// The tasks that may be alive, by what was stored: the master is asked for each.
    pub fn believed(&self) -> Vec<TaskId> {
        self.tasks.keys().cloned().collect()
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
}

impl Scheduler for Jobs {
    type Input = Order;
    type Output = Output;

    fn subscribed(&mut self, _now: Now, session: &Session, out: &mut Calls<Output>) {
        self.connected = true;
        self.granted = self.info.roles.iter().cloned().collect();
        self.demands_changed = true;
        if !session.resumed {
            self.offers.clear();
        }
        if self.state.framework.as_ref() != Some(&session.framework) {
            self.record(Record::Framework(Some(session.framework.clone())));
            self.store(out);
        }
    }

    fn demands(&self) -> Option<Vec<Demand>> {
        // What waits is known once the session stands; until then nothing is wanted.
        Some(Vec::new())
    }

    fn offers(&mut self, _now: Now, offers: Vec<Offer>, out: &mut Calls<Output>) {
        for offer in offers {
            // Placed when the batch is over, together with all that comes in it.
            out.hold(&offer);
            self.offers.push(offer);
        }
    }

    fn update(&mut self, now: Now, update: Update, out: &mut Calls<Output>) {
        self.progress(now, update.status());
        if update.status().state.is_terminal() {
            // Once the end is stored.
            self.done.push(update);
        } else {
            // The next session says again how a task stands that is alive.
            out.done(update);
        }
    }

    fn rescinded(&mut self, _now: Now, offer: OfferId, _why: RescindReason, _out: &mut Calls<Output>) {
        self.offers.retain(|held| held.id != offer);
    }

    fn answered(&mut self, _now: Now, answered: &Answered, _out: &mut Calls<Output>) {
        match (&answered.call, &answered.outcome) {
            (CallKind::UpdateFramework(update), Outcome::Committed(_)) => {
                self.granted = update.framework.roles.iter().cloned().collect();
                self.demands_changed = true;
            }
            (CallKind::UpdateFramework(_), Outcome::Refused(_)) => {
                // Subscribing with a role that it may not take would end the framework.
                let granted = &self.granted;
                self.info.roles.retain(|role| granted.contains(role));
            }
            (CallKind::UpdateDemands(_), Outcome::Refused(_)) => {
                // Whatever the reason was, the next change says all of it again.
                self.demanded = Vec::new();
            }
            _ => {}
        }
    }

    fn failure(&mut self, _now: Now, _agent: &AgentId, _state: AgentState, _out: &mut Calls<Output>) {}

    fn ended(&mut self, _now: Now, why: &Refusal, out: &mut Calls<Output>) {
        self.connected = false;
        if why.code == Code::FrameworkRemoved {
            // The id is dead, and its tasks are with it. The next start begins as a new framework.
            self.record(Record::Framework(None));
            self.store(out);
        }
    }

    fn input(&mut self, now: Now, order: Order, _out: &mut Calls<Output>) {
        self.order(now, order);
    }

    fn wake(&mut self, now: Now, _out: &mut Calls<Output>) {
        while let Some(due) = self.due.pop_due(now.monotonic) {
            match due {
                Due::Begin => self.begin(now),
                Due::Rested(job, number) => self.rested(&job, number),
                Due::GivenUp(job, number) => self.give_up(now, &job, number),
                Due::Kill(task) => self.kill(now, task),
                Due::Forget(job) => self.forget(&job),
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.due.next()
    }

    fn settle(&mut self, now: Now, out: &mut Calls<Output>) {
        let placed = self.place(now, out);
        self.roll(now);
        if !self.touched.is_empty() {
            self.total();
        }
        self.summarize(now);
        self.store(out);
        self.accept(placed, out);
        for task in std::mem::take(&mut self.kills) {
            out.kill(task, None);
        }
        for update in std::mem::take(&mut self.done) {
            out.done(update);
        }
        for output in std::mem::take(&mut self.outputs) {
            out.emit(output);
        }
        if std::mem::take(&mut self.info_changed) {
            out.update_framework(self.info.clone());
        }
        self.demand(out);
    }
}
