//! An author with simple habits, and how its framework is started.

use framework_sdk_core::harness::{Harness, agent, config, resources};
use framework_sdk_core::{Answered, Calls, Room, Scheduler, Session, Update, task};
use proto::demand::{Demand, Filter};
use proto::id::{DemandId, OfferId, TaskId};
use proto::offer::Offer;
use proto::operation::Operation;
use proto::quantities::Quantities;
use proto::refusal::Refusal;
use proto::resources::Amount;
use proto::role::Role;
use proto::scheduler::{CallKind, RescindReason};
use proto::task::{TaskState, TaskStatus};
use proto_machine::Now;

/// What a test tells the author.
#[derive(Debug)]
pub enum Order {
    Start(&'static str),
    Operate(Vec<Operation>),
    Kill(&'static str),
    Hold,
    Demand(u64),
    Refuse,
    TakeInLate,
    Done,
    Teardown,
}

/// An author that starts what it is told to, and remembers what it is told.
#[derive(Debug, Default)]
pub struct Author {
    pub queue: Vec<TaskId>,
    /// To be done with the next offer.
    pub operations: Vec<Operation>,
    pub hold: bool,
    pub held: Vec<Offer>,
    pub refuse: bool,
    pub refused: Vec<Update>,
    /// Takes updates in when it settles.
    pub late: bool,
    pub updates: Vec<TaskStatus>,
    pub sessions: Vec<Session>,
    pub rescinded: Vec<(OfferId, RescindReason)>,
    pub answers: Vec<Answered>,
    pub ended: Option<Refusal>,
}

pub fn shape() -> Amount {
    Amount::scalars(Quantities::of(100, 1 << 20))
}

impl Author {
    pub fn states(&self, name: &str) -> Vec<TaskState> {
        self.updates.iter().filter(|s| s.task.as_str() == name).map(|s| s.state).collect()
    }
}

impl Scheduler for Author {
    type Input = Order;
    type Output = String;

    fn subscribed(&mut self, _now: Now, session: &Session, out: &mut Calls<String>) {
        out.emit(format!("subscribed resumed={}", session.resumed));
        self.sessions.push(session.clone());
    }

    fn offers(&mut self, _now: Now, offers: Vec<Offer>, out: &mut Calls<String>) {
        for offer in offers {
            if self.hold {
                out.hold(&offer);
                self.held.push(offer);
                continue;
            }
            let mut room = Room::new(offer);
            while let Some(id) = self.queue.first() {
                if room.place(&shape(), task::shell(id.clone(), "true")).is_err() {
                    break;
                }
                self.queue.remove(0);
            }
            self.operations.drain(..).for_each(|operation| room.operate(operation));
            if !room.is_unused() {
                out.emit("intent".to_owned());
                out.accept([room], Filter::DEFAULT);
            }
        }
    }

    fn update(&mut self, _now: Now, update: Update, out: &mut Calls<String>) {
        self.updates.push(update.status().clone());
        if self.refuse {
            self.refused.push(update);
        } else {
            out.done(update);
        }
    }

    fn rescinded(&mut self, _now: Now, offer: OfferId, why: RescindReason, _out: &mut Calls<String>) {
        self.rescinded.push((offer, why));
    }

    fn answered(&mut self, _now: Now, answered: &Answered, _out: &mut Calls<String>) {
        self.answers.push(answered.clone());
    }

    fn ended(&mut self, _now: Now, why: &Refusal, out: &mut Calls<String>) {
        self.ended = Some(why.clone());
        out.emit("ended".to_owned());
    }

    fn settle(&mut self, _now: Now, out: &mut Calls<String>) {
        if self.late {
            self.refused.drain(..).for_each(|update| out.done(update));
        }
    }

    fn input(&mut self, _now: Now, order: Order, out: &mut Calls<String>) {
        match order {
            Order::Start(name) => self.queue.push(id(name)),
            Order::Operate(operations) => self.operations = operations,
            Order::Kill(name) => out.kill(id(name), None),
            Order::Hold => self.hold = true,
            Order::Demand(count) => out.demand(vec![demand(count)]),
            Order::Refuse => self.refuse = true,
            Order::TakeInLate => (self.refuse, self.late) = (true, true),
            Order::Done => self.refused.drain(..).for_each(|update| out.done(update)),
            Order::Teardown => out.teardown(),
        }
    }
}

pub fn id(name: &str) -> TaskId {
    TaskId::new(name).expect("a task id")
}

pub fn demand(count: u64) -> Demand {
    Demand {
        id: DemandId::new("d").expect("an id"),
        role: Role::default_role(),
        shape: shape(),
        count,
        constraints: Default::default(),
        priority: 0,
    }
}

pub fn start() -> Harness<Author> {
    let mut harness = Harness::new(config("test"), Author::default()).expect("a good configuration");
    harness.master.add_agent(agent("a1", resources(4000, 4 << 30)));
    harness.run();
    harness
}

pub fn started(name: &'static str) -> Harness<Author> {
    let mut harness = start();
    harness.input(Order::Start(name));
    harness.offer();
    assert_eq!(harness.alive(), [name]);
    harness
}

pub fn subscribes(harness: &Harness<Author>) -> Vec<(bool, Option<u64>)> {
    let all = harness.calls.iter().filter_map(|call| match call {
        CallKind::Subscribe(s) => Some((s.id.is_some(), s.resume.map(|r| r.sequence))),
        _ => None,
    });
    all.collect()
}

pub fn count(harness: &Harness<Author>, which: impl Fn(&CallKind) -> bool) -> usize {
    harness.calls.iter().filter(|call| which(call)).count()
}
