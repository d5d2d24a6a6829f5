//! `Reconciler`: a scheduler that is told what should run, and gets it there.
//!
//! It is level-triggered: whatever happened, it compares what is wanted with what is there and takes the next step. What
//! is there it reads from the tasks that the master lists, whose ids say whose they are; so a new life of the framework
//! goes on where the last one stopped, with hardly anything remembered.
//!
//! Demands are derived from what waits, and with nothing waiting nothing is demanded: then no offers come.

mod demands;
mod drains;
mod edition;
mod event;
mod index;
mod learn;
mod level;
mod meet;
mod memory;
mod parts;
mod place;
mod progress;
mod resume;
mod rollout;
mod slot;
mod table;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proto::agent::{AgentInfo, AgentState};
use proto::demand::{Demand, Filter};
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, DemandId, OfferId, TaskId, VolumeId};
use proto::offer::Offer;
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::scheduler::{CallKind, Outcome, RescindReason};
use proto::task::TaskStatus;
use proto_machine::{Deadlines, Instant, Now};

pub use self::event::{
    Asked, Change, Event, Follows, Order, Output, RolloutStep, TaskEvent, Ticket, VolumeStep, WhyBack,
    remembered_framework,
};
pub use self::resume::{KeptVolume, Past, PastTask, VolumeIs};
pub use self::table::Sums;

use self::learn::LEARNING;
use self::memory::Memory;
use self::place::Ask;
use self::table::Table;
use self::volumes::Kept;
use crate::calls::{Calls, Update};
use crate::desired::{Group, GroupName, InstanceName, Life, Numbers};
use crate::scheduler::{Answered, Draining, Scheduler, Session};

/// A task that was asked to end and has not is asked again so often. Seldom: the master's log remembers a kill, so this
/// is for a kill that was refused.
const KILL_AGAIN: Duration = Duration::from_secs(300);
/// The first wait before an event that was not taken in is told again, and the longest.
const TELL_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How much is known of what earlier lives of the framework left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    New,
    /// It was asked for an entry in the log: behind it is all that earlier lives asked for.
    Fencing,
    /// It was asked for every task there is.
    Listing,
    /// All of it.
    Ready,
}

/// Something that is due at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The pause of an instance is over.
    Rested(InstanceName),
    /// An instance has waited for its home for long enough.
    Homeless(InstanceName),
    /// Those of a group that wait have waited for an even spread for long enough.
    Relax(GroupName),
    /// A task has run for so long that it is in service.
    InService(TaskId),
    /// No instance more has come into service for too long, in a change of this group.
    Deadline(GroupName),
    /// A task was out of sight for too long.
    GiveUp(TaskId),
    /// The work of a task should be taken away by now.
    Drained(TaskId),
    /// A task should have ended by now.
    KillAgain(TaskId),
    /// An event is told again.
    Tell(Ticket),
    /// What gangs gave back is asked for again.
    Gather,
    /// What earlier lives left is asked for again.
    Learn,
}

/// An event that the author has not taken in.
#[derive(Debug)]
struct Open {
    update: Update,
    event: Event,
    again: Duration,
}

/// The scheduler that gets there what is stated.
#[derive(Debug)]
pub struct Reconciler {
    info: FrameworkInfo,
    /// That of groups that name none.
    role: Role,
    memory: Memory,
    life: Life,
    /// Of the next launch in this life.
    serial: u64,
    /// Whether there was an earlier life.
    has_past: bool,
    stage: Stage,
    connected: bool,
    /// A session stands. While it is broken nothing is heard of agents.
    in_session: bool,
    groups: BTreeMap<GroupName, Table>,
    tasks: BTreeMap<TaskId, InstanceName>,
    /// Tasks of groups that nobody has stated yet.
    unclaimed: BTreeMap<GroupName, BTreeMap<TaskId, TaskStatus>>,
    /// Ends of such tasks that the author is told once the group is stated or withdrawn, and that are acknowledged only then.
    unheard: BTreeMap<GroupName, Vec<Update>>,
    /// Nothing but what is stated should be.
    exactly: bool,
    /// The author remembers each task that may live.
    knows_all: bool,
    /// Machines that were offered, for their names and attributes.
    agents: BTreeMap<AgentId, Arc<AgentInfo>>,
    due: Deadlines<Due>,
    /// Roles that the master knows of; demands in others would be refused.
    granted: BTreeSet<Role>,
    /// Demands as last declared, if they were and not refused; and what each was declared for.
    demanded: Option<Vec<Demand>>,
    asks: BTreeMap<DemandId, Ask>,
    demands_changed: bool,
    /// Volumes that are to be destroyed, each with those made with it, under the first of them; those of them for which
    /// that is asked; and those that an offer of their agent lacked.
    purges: BTreeMap<VolumeId, Kept>,
    purging: BTreeSet<VolumeId>,
    unseen: BTreeSet<VolumeId>,
    purge_asks: BTreeMap<DemandId, VolumeId>,
    /// Agents that are to be empty.
    draining: BTreeSet<AgentId>,
    /// Roles in which gangs gave offers back.
    held_off: BTreeSet<Role>,
    /// A role was added to `info` that the master was not told of.
    info_changed: bool,
    /// Events are acknowledged when the author has taken them in, and not before.
    by_ticket: bool,
    tickets: u64,
    open: BTreeMap<Ticket, Open>,

    // ---- gathered within a batch ----
    touched: BTreeSet<GroupName>,
    offers: Vec<Offer>,
    kills: Vec<TaskId>,
    done: Vec<Update>,
    tellings: Vec<Telling>,
}

/// Something to be told.
#[derive(Debug)]
enum Telling {
    Event(Event),
    /// The event that is open under this ticket.
    Open(Ticket),
}

impl Reconciler {
    /// A framework that says this of itself; its first role is that of groups which name none. `memory` is what
    /// [`Output::Save`] saved over its lives, and `random` is different in each of them.
    pub fn new(mut info: FrameworkInfo, memory: BTreeMap<String, String>, random: u64) -> Self {
        let role = info.roles.first().cloned().unwrap_or_else(Role::default_role);
        if info.roles.is_empty() {
            info.roles.push(role.clone());
        }
        let has_past = remembered_framework(&memory).is_some();
        let memory = Memory::new(memory);
        let purges: BTreeMap<VolumeId, Kept> =
            memory.purges().into_iter().filter_map(|kept| Some((kept.first()?.clone(), kept))).collect();
        // Where nothing else runs in its role, a volume is destroyed all the same.
        for kept in purges.values() {
            if info.roles.len() < demands::ROLES_MAX && !info.roles.contains(&kept.role) {
                info.roles.push(kept.role.clone());
            }
        }
        let info_roles = info.roles.iter().cloned().collect();
        Reconciler {
            info,
            role,
            has_past,
            memory,
            life: Life::drawn(random),
            serial: 0,
            stage: Stage::New,
            connected: false,
            in_session: false,
            groups: BTreeMap::new(),
            tasks: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            unheard: BTreeMap::new(),
            exactly: false,
            knows_all: false,
            agents: BTreeMap::new(),
            due: Deadlines::new(),
            granted: info_roles,
            demanded: None,
            asks: BTreeMap::new(),
            demands_changed: true,
            purges,
            purging: BTreeSet::new(),
            unseen: BTreeSet::new(),
            purge_asks: BTreeMap::new(),
            draining: BTreeSet::new(),
            held_off: BTreeSet::new(),
            info_changed: false,
            by_ticket: false,
            tickets: 0,
            open: BTreeMap::new(),
            touched: BTreeSet::new(),
            offers: Vec::new(),
            kills: Vec::new(),
            done: Vec::new(),
            tellings: Vec::new(),
        }
    }

    /// The author says of each change of a task that it has taken it in, and it is acknowledged only then. Otherwise it
    /// is acknowledged once what follows from it is saved.
    pub fn acknowledged_by_author(mut self) -> Self {
        self.by_ticket = true;
        self
    }

    /// How the instances of a group stand.
    pub fn sums(&self, group: &GroupName) -> Option<Sums> {
        self.groups.get(group).map(Table::sums)
    }

    /// The groups there are.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().map(|table| &table.group)
    }

    fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    fn role_of<'a>(&'a self, group: &'a Group) -> &'a Role {
        group.role.as_ref().unwrap_or(&self.role)
    }

    fn tell(&mut self, event: Event) {
        self.tellings.push(Telling::Event(event));
    }

    fn save(&mut self, out: &mut Calls<Output>) {
        let changes = self.memory.take();
        if !changes.is_empty() {
            out.emit(Output::Save(changes));
        }
    }

    fn open_event(&mut self, update: Update, event: Event) {
        let status = update.status();
        let same = |open: &&Open| {
            let of = open.update.status();
            of.task == status.task
                && of.run == status.run
                && of.sequence == status.sequence
                && of.state == status.state
        };
        // It came again before it was taken in; the author has it already.
        if self.open.values().any(|open| same(&open)) {
            return;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.open.insert(ticket, Open { update, event, again: TELL_AGAIN.0 });
        self.tellings.push(Telling::Open(ticket));
    }

    fn hear(&mut self, now: Now, update: Update) {
        let event = self.take_in(now, update.status());
        if self.by_ticket
            && let Some(group) = self.unstated_group(update.status())
        {
            let unheard = self.unheard.entry(group).or_default();
            unheard.retain(|other| other.status().task != update.status().task);
            return unheard.push(update);
        }
        match event {
            Some(event) if self.by_ticket => self.open_event(update, event),
            event => {
                event.into_iter().for_each(|event| self.tell(event));
                self.done.push(update);
            }
        }
    }

    fn taken_in(&mut self, now: Now, ticket: Ticket, well: bool) {
        if well {
            self.due.cancel(&Due::Tell(ticket));
            self.done.extend(self.open.remove(&ticket).map(|open| open.update));
        } else if let Some(open) = self.open.get_mut(&ticket) {
            self.due.set(Due::Tell(ticket), now.monotonic + open.again);
            open.again = (open.again * 2).min(TELL_AGAIN.1);
        }
    }

    fn order(&mut self, now: Now, order: Order, out: &mut Calls<Output>) {
        match order {
            Order::Submit(group) => self.submit(now, group),
            Order::Resume(group, past) => self.resume(now, group, past),
            Order::Renew(name) => self.renew(&name),
            Order::GiveUp(instance, state) => self.give_up_resting(&instance, state),
            Order::Exactly(groups) => {
                self.exactly = true;
                let named: BTreeSet<GroupName> = groups.iter().map(|group| group.name.clone()).collect();
                groups.into_iter().for_each(|group| self.submit(now, group));
                let known = self.groups.keys().chain(self.unclaimed.keys()).chain(self.unheard.keys());
                let others: Vec<GroupName> = known.filter(|name| !named.contains(*name)).cloned().collect();
                others.iter().for_each(|name| self.withdraw(now, name));
            }
            Order::Withdraw(name) => self.withdraw(now, &name),
            Order::Aim(name, set) => {
                if let Some(table) = self.groups.get_mut(&name)
                    && let Numbers::Elastic(elastic) = &mut table.group.numbers
                {
                    *elastic = set;
                    self.touched.insert(name);
                }
            }
            Order::Release(instance) => {
                if self.groups.get_mut(&instance.group).is_some_and(|table| table.release(instance.number)) {
                    self.touched.insert(instance.group);
                }
            }
            Order::Purge(name) => {
                self.withdraw(now, &name);
                self.purge(&name);
            }
            Order::Promote(name) => self.promote(now, &name),
            Order::Abandon(name) => self.abandon(now, &name),
            Order::Drained(task) => self.drained(now, &task),
            Order::TakenIn(ticket, well) => self.taken_in(now, ticket, well),
            Order::Finish => out.teardown(),
        }
    }
}

impl Scheduler for Reconciler {
    type Input = Order;
    type Output = Output;

    fn demands(&self) -> Option<Vec<Demand>> {
        // What waits is known once it is known what is there.
        Some(Vec::new())
    }

    fn subscribed(&mut self, now: Now, session: &Session, out: &mut Calls<Output>) {
        (self.connected, self.in_session) = (true, true);
        self.demands_changed = true;
        if !session.resumed {
            self.offers.clear();
            self.forget_drains(now);
        }
        self.memory.framework(&session.framework);
        self.save(out);
        self.tell(Event::Session(session.clone()));
        if self.stage == Stage::New {
            if self.has_past && !self.knows_all { self.learn(out) } else { self.begin() }
        }
        self.await_homes(now);
    }

    fn disconnected(&mut self, _now: Now) {
        self.in_session = false;
    }

    fn offers(&mut self, _now: Now, offers: Vec<Offer>, out: &mut Calls<Output>) {
        for offer in offers {
            // Placed when the batch is over, together with all that comes in it.
            out.hold(&offer);
            self.offers.push(offer);
        }
    }

    fn update(&mut self, now: Now, update: Update, _out: &mut Calls<Output>) {
        self.hear(now, update);
    }

    fn rescinded(&mut self, _now: Now, offer: OfferId, _why: RescindReason, _out: &mut Calls<Output>) {
        self.offers.retain(|held| held.id != offer);
    }

    fn answered(&mut self, now: Now, answered: &Answered, out: &mut Calls<Output>) {
        if let (CallKind::UpdateFramework(update), Outcome::Committed(_)) =
            (&answered.call, &answered.outcome)
        {
            self.granted = update.framework.roles.iter().cloned().collect();
            self.demands_changed = true;
        }
        if let (CallKind::UpdateFramework(_), Outcome::Refused(_)) = (&answered.call, &answered.outcome) {
            // Stating a group in such a role anew asks for it anew; without it the others get what they need.
            let granted = &self.granted;
            self.info.roles.retain(|role| granted.contains(role));
        }
        if answered.tag == LEARNING {
            return self.learnt(now, answered, out);
        }
        if let CallKind::Accept(accept) = &answered.call {
            self.volumes_answered(accept, &answered.outcome);
        }
        let Outcome::Refused(refusal) = &answered.outcome else { return };
        let what = match &answered.call {
            CallKind::UpdateDemands(_) => {
                // Whatever the reason was, the next change says all of it again.
                self.demanded = None;
                Asked::Demands
            }
            CallKind::UpdateFramework(_) => Asked::Roles,
            CallKind::Kill(_) => Asked::Kill,
            CallKind::Teardown => Asked::Teardown,
            // Its tasks come as updates that say why.
            CallKind::Accept(_) => return,
            CallKind::Subscribe(_)
            | CallKind::Decline(_)
            | CallKind::Suppress(_)
            | CallKind::Revive(_)
            | CallKind::Acknowledge(_)
            | CallKind::Reconcile(_)
            | CallKind::Heartbeat => return,
        };
        self.tell(Event::Refused { what, refusal: refusal.clone() });
    }

    fn failure(&mut self, _now: Now, agent: &AgentId, state: AgentState, _out: &mut Calls<Output>) {
        if state == AgentState::Gone {
            self.draining.remove(agent);
            self.volumes_lost(agent);
        }
    }

    fn draining(&mut self, now: Now, notice: &Draining, _out: &mut Calls<Output>) {
        self.drains(now, &notice.agent, true);
        self.tell(Event::AgentDraining(notice.clone()));
    }

    fn resumed(&mut self, now: Now, agent: &AgentId, _out: &mut Calls<Output>) {
        self.drains(now, agent, false);
        self.tell(Event::AgentResumed(agent.clone()));
    }

    fn ended(&mut self, _now: Now, why: &Refusal, out: &mut Calls<Output>) {
        self.connected = false;
        if why.code == Code::FrameworkRemoved {
            // The id is dead, and its tasks are with it. The next start begins as a new framework.
            self.memory.forget_all();
            self.save(out);
        }
        self.tell(Event::Ended(why.clone()));
    }

    fn input(&mut self, now: Now, order: Order, out: &mut Calls<Output>) {
        self.order(now, order, out);
    }

    fn wake(&mut self, now: Now, out: &mut Calls<Output>) {
        while let Some(due) = self.due.pop_due(now.monotonic) {
            match due {
                Due::Rested(instance) => self.rested(now, &instance),
                Due::Homeless(instance) => self.homeless(&instance),
                Due::Relax(group) => self.relax(&group),
                Due::Deadline(group) => drop(self.touched.insert(group)),
                Due::InService(task) => self.in_service(&task),
                Due::GiveUp(task) => self.give_up(now, &task),
                Due::Drained(task) => self.drained(now, &task),
                Due::KillAgain(task) => self.end_task(now, task),
                Due::Tell(ticket) => self.tellings.push(Telling::Open(ticket)),
                Due::Gather => self.gather(out),
                Due::Learn => self.learn(out),
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.due.next()
    }

    fn settle(&mut self, now: Now, out: &mut Calls<Output>) {
        if self.exactly && self.is_ready() {
            let others = self.unclaimed.keys().chain(self.unheard.keys());
            let others: BTreeSet<GroupName> = others.cloned().collect();
            others.iter().for_each(|name| self.withdraw(now, name));
        }
        self.level(now);
        let placed = self.place(now, out);
        self.level(now);
        self.save(out);
        for rooms in placed.each {
            out.accept(rooms, Filter { refuse: Duration::ZERO });
        }
        for room in placed.apart {
            out.accept([room], Filter { refuse: Duration::ZERO });
        }
        for rooms in placed.together {
            out.accept_together(rooms, Filter { refuse: Duration::ZERO });
        }
        for task in std::mem::take(&mut self.kills) {
            out.kill(task, None);
        }
        for telling in std::mem::take(&mut self.tellings) {
            match telling {
                Telling::Event(event) => out.emit(Output::Tell(event, None)),
                Telling::Open(ticket) => {
                    if let Some(open) = self.open.get(&ticket) {
                        out.emit(Output::Tell(open.event.clone(), Some(ticket)));
                    }
                }
            }
        }
        for update in std::mem::take(&mut self.done) {
            out.done(update);
        }
        if std::mem::take(&mut self.info_changed) {
            out.update_framework(self.info.clone());
        }
        self.demand(now, out);
    }
}

#[cfg(test)]
mod tests;
