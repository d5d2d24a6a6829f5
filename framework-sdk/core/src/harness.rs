//! `Harness`: a scheduler, its driver and a pretend master on a pretend clock, for an author's tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::attributes::Attributes;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, Epoch, FrameworkId, OfferId, TaskId};
use proto::offer::Offer;
use proto::quantities::Quantities;
use proto::refusal::Refusal;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{Call, CallKind, Event};
use proto::task::{Exit, TaskState};
use proto_machine::{Instant, Machine, Now, Outbox, WallTime};

use crate::config::{BadConfig, Config};
use crate::driver::{Driver, Input, Output};
pub use crate::fake::Fake;
use crate::fake::offers::plain_offer;
use crate::line::Link;
use crate::scheduler::Scheduler;
use crate::tape::{Entry, Tape};

/// A scheduler under test. Messages are on their way until [`Harness::run`] delivers them, so a test can lose them.
#[derive(Debug)]
pub struct Harness<S: Scheduler> {
    driver: Driver<S>,
    /// The pretend master: offer, report, fail over.
    pub master: Fake,
    now: Now,
    link: Option<Link>,
    to_master: VecDeque<Call>,
    /// Every call that was sent, in order.
    pub calls: Vec<CallKind>,
    /// What the scheduler wanted of its shell, in order.
    pub outputs: Vec<S::Output>,
    /// Addresses that were dialled.
    pub dialled: Vec<String>,
    /// Why the session is over for good.
    pub ended: Option<Refusal>,
    /// While true nothing can be connected.
    pub unreachable: bool,
    /// The process dies after so many more outputs: what it wanted done behind them is not done.
    pub dies_after: Option<usize>,
    /// While true the master sends no heartbeats (otherwise one a second).
    pub silent: bool,
    heartbeat_at: Instant,
    /// What the driver hears and says, if it is recorded.
    pub tape: Option<Tape>,
}

/// A framework with the default role and one master, for tests.
pub fn config(name: &str) -> Config {
    Config {
        info: FrameworkInfo {
            name: name.to_owned(),
            roles: vec![Role::default_role()],
            failover_timeout: FrameworkInfo::FAILOVER_TIMEOUT_DEFAULT,
            address: String::new(),
            labels: Default::default(),
        },
        id: None,
        operation_prefix: "test".to_owned(),
        masters: vec!["master:1".to_owned()],
        seed: 7,
        believed: Vec::new(),
    }
}

/// An agent with these resources.
///
/// # Panics
/// When the name is no agent id.
pub fn agent(name: &str, resources: Resources) -> AgentInfo {
    AgentInfo {
        id: AgentId::new(name).expect("a test names its agents well"),
        hostname: name.to_owned(),
        address: format!("{name}:1"),
        resources,
        attributes: Attributes::default(),
        version: String::new(),
    }
}

/// Unreserved cpus (in thousandths) and memory (in bytes).
pub fn resources(cpus_milli: u64, mem_bytes: u64) -> Resources {
    Resources::unreserved(Amount::scalars(Quantities::of(cpus_milli, mem_bytes)))
}

/// An offer of everything an agent has.
pub fn offer_of(agent: &AgentInfo, number: u64) -> Offer {
    let mut offer = plain_offer(Arc::new(agent.clone()), &Role::default_role(), agent.resources.clone());
    offer.id = OfferId { epoch: Epoch(1), number };
    offer
}

// === impl Harness ===

impl<S: Scheduler> Harness<S> {
    /// A scheduler and a master without agents; nothing is connected yet.
    pub fn new(config: Config, scheduler: S) -> Result<Self, BadConfig> {
        Harness::with_master(config, scheduler, Fake::new())
    }

    /// A scheduler (after a restart, say) and a master that has seen others.
    pub fn with_master(config: Config, scheduler: S, mut master: Fake) -> Result<Self, BadConfig> {
        master.disconnect();
        Ok(Harness {
            driver: Driver::new(config, scheduler)?,
            master,
            now: Now { monotonic: Instant::default(), wall: WallTime::from_millis(1_700_000_000_000) },
            link: None,
            to_master: VecDeque::new(),
            calls: Vec::new(),
            outputs: Vec::new(),
            dialled: Vec::new(),
            ended: None,
            unreachable: false,
            dies_after: None,
            silent: false,
            heartbeat_at: Instant::default(),
            tape: None,
        })
    }

    /// The scheduler.
    pub fn scheduler(&self) -> &S {
        self.driver.scheduler()
    }

    /// The same process at another time of day: after a restart, say.
    pub fn at(mut self, wall: WallTime) -> Self {
        self.now.wall = wall;
        self
    }

    /// The same process on a clock that goes on from there.
    pub fn since(mut self, now: Now) -> Self {
        self.now = now;
        self.heartbeat_at = now.monotonic;
        self
    }

    /// The process dies: what is left is the master, which notices.
    pub fn crash(mut self) -> Fake {
        self.master.disconnect();
        self.master
    }

    /// The same, but what it asked last is on its way into the log: the master knows of it only behind its next entry.
    pub fn crash_late(mut self) -> Fake {
        self.master.hear_late(std::mem::take(&mut self.to_master));
        self.crash()
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.now
    }

    /// When something is due next, if nothing is delivered before.
    pub fn next_at(&self) -> Instant {
        self.driver.wake_at().map_or(self.heartbeat_at, |at| at.min(self.heartbeat_at))
    }

    /// The next call on its way is lost, and the link with it: a stream loses nothing before its end. False when none is
    /// on its way.
    pub fn lose_call(&mut self) -> bool {
        let lost = self.to_master.pop_front().is_some();
        if lost {
            self.break_link();
        }
        lost
    }

    /// Whether a session stands.
    pub fn is_connected(&self) -> bool {
        self.driver.is_connected()
    }

    /// Something from the scheduler's own shell.
    pub fn input(&mut self, input: S::Input) {
        self.step(Input::Author(input));
        self.run();
    }

    /// The same, but nothing is delivered yet.
    pub fn input_only(&mut self, input: S::Input) {
        self.step(Input::Author(input));
    }

    /// Whether it has died: from then on it does nothing and hears nothing. See [`Harness::crash`].
    pub fn is_dead(&self) -> bool {
        self.dies_after == Some(0)
    }

    fn step(&mut self, input: Input<S::Input>) {
        if self.is_dead() {
            return;
        }
        if let Some(tape) = &mut self.tape {
            match &input {
                Input::Event { event, .. } => tape.write(self.now, Entry::Heard(event.clone())),
                Input::Lost { .. } => tape.write(self.now, Entry::Lost),
                // Whoever knows its type has written it.
                Input::Author(_) => {}
            }
        }
        let mut out = Outbox::new();
        self.driver.step(self.now, input, &mut out);
        self.driver.settle(self.now, &mut out);
        self.perform(out);
    }

    fn wake(&mut self) {
        if self.is_dead() {
            return;
        }
        if let Some(tape) = &mut self.tape {
            tape.write(self.now, Entry::Woke);
        }
        let mut out = Outbox::new();
        self.driver.wake(self.now, &mut out);
        self.driver.settle(self.now, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, mut out: Outbox<Output<S::Output>>) {
        let outputs = out.take();
        if let Some(tape) = &mut self.tape {
            // All of them before the first is performed: that may make more happen at once.
            for output in &outputs {
                if let Output::Send { call, .. } = output {
                    tape.write(self.now, Entry::Said(call.clone()));
                }
            }
        }
        for output in outputs {
            match &mut self.dies_after {
                Some(0) => return,
                Some(left) => *left -= 1,
                None => {}
            }
            match output {
                Output::Connect { link, master } => {
                    self.dialled.push(master);
                    self.to_master.clear();
                    self.link = Some(link);
                    if self.unreachable {
                        self.link = None;
                        self.step(Input::Lost { link });
                    }
                }
                Output::Send { link, call } => {
                    if self.link == Some(link) {
                        self.calls.push(call.kind.clone());
                        self.to_master.push_back(call);
                    }
                }
                Output::Disconnect { link } => {
                    if self.link == Some(link) {
                        self.link = None;
                        self.to_master.clear();
                        self.master.disconnect();
                    }
                }
                Output::Ended { why, .. } => self.ended = Some(why),
                Output::Author(output) => self.outputs.push(output),
            }
        }
    }

    /// Delivers one message; false when none is on its way.
    pub fn deliver_one(&mut self) -> bool {
        if let Some(call) = self.to_master.pop_front() {
            self.master.hear(call);
            return true;
        }
        if let (Some(link), Some(event)) = (self.link, self.master.next_event()) {
            self.step(Input::Event { link, event });
            return true;
        }
        false
    }

    /// Delivers the oldest event before any call that is on its way.
    pub fn deliver_event(&mut self) -> Option<Event> {
        let (link, event) = (self.link?, self.master.next_event()?);
        self.step(Input::Event { link, event: event.clone() });
        Some(event)
    }

    /// Lets everything that is due happen and delivers everything.
    pub fn run(&mut self) {
        loop {
            if self.is_dead() {
                break;
            }
            if self.driver.wake_at().is_some_and(|at| at <= self.now.monotonic) {
                self.wake();
            }
            if !self.deliver_one() {
                break;
            }
        }
    }

    /// Time passes, and everything due in it happens at its time.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        self.run();
        loop {
            if self.is_dead() {
                break;
            }
            let next = self.next_at();
            if next > until {
                break;
            }
            self.pass(next - self.now.monotonic);
            if self.heartbeat_at <= self.now.monotonic {
                self.heartbeat_at = self.now.monotonic + Duration::from_secs(1);
                if !self.silent {
                    self.master.heartbeat();
                }
            }
            self.run();
        }
        self.pass(until - self.now.monotonic);
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { monotonic: self.now.monotonic + time, wall: self.now.wall + time };
    }

    /// The link breaks: what is on its way is lost in both directions.
    pub fn break_link(&mut self) {
        self.to_master.clear();
        self.master.disconnect();
        if let Some(link) = self.link.take() {
            self.step(Input::Lost { link });
        }
    }

    /// The leader dies and another takes over; what was on its way is lost.
    pub fn fail_over(&mut self) {
        self.to_master.clear();
        self.master.elect();
        if let Some(link) = self.link.take() {
            self.step(Input::Lost { link });
        }
    }

    /// The master offers what is free, and all of it is answered.
    pub fn offer(&mut self) {
        self.run();
        self.master.make_offers();
        self.run();
    }

    /// An agent reports a state, and it is delivered.
    ///
    /// # Panics
    /// When the name is no task id.
    pub fn report(&mut self, task: &str, state: TaskState, exit: Option<Exit>) {
        let id = TaskId::new(task).expect("a test names its tasks well");
        self.master.report(&id, state, exit);
        self.run();
    }

    /// Every task that is accepted and not over, by name.
    pub fn alive(&self) -> Vec<String> {
        let alive = self.master.tasks().filter(|(_, task)| !task.state().is_terminal());
        alive.map(|(id, _)| id.to_string()).collect()
    }
}

/// The id of the framework that [`Fake`] gives.
pub fn framework_id() -> Option<FrameworkId> {
    FrameworkId::new("F1").ok()
}
