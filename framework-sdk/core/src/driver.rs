//! `Driver`: the machine between a framework's author and the wire: what was asked is asked until it is answered, what
//! is told is told once.

mod wants;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::demand::{DeclineReason, Filter};
use proto::framework::FrameworkInfo;
use proto::id::{OfferId, TaskId};
use proto::refusal::{Code, Refusal};
use proto::scheduler::{
    Acknowledge, Answer, Call, CallKind, Decline, Event, EventKind, Kill, Outcome, Reconcile, RescindReason,
    UpdateDemands, UpdateFramework,
};
use proto::task::{TaskState, TaskStatus};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Deadlines, Haste, Instant, Machine, Now, Outbox, Pulse};

use crate::calls::{Calls, Update};
use crate::config::{
    BadConfig, Config, GATHER_WHEN_BUSY, TASKS_WHEN_BUSY, UPDATES_WHEN_BUSY, UPDATES_WITHIN,
};
use crate::line::{Heard, Line, Link};
use crate::pending::{Pending, Purpose, Waiting, launched_by};
use crate::refused::{never_started, passes};
use crate::scheduler::{Answered, Draining, Scheduler, Session};
use crate::tracker::{News, Tracker};

/// The first wait before a call that was refused for a passing reason is sent again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The first wait before the master is asked again for tasks it said nothing of, and the longest.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So many tasks are asked for in one call.
const RECONCILE_MAX: usize = 10_000;

/// What can happen to a framework.
#[derive(Debug)]
pub enum Input<I> {
    /// The master says something.
    Event {
        /// Over which link.
        link: Link,
        /// What.
        event: Event,
    },
    /// A link broke, or could not be made.
    Lost {
        /// Which.
        link: Link,
    },
    /// From the author's own shell.
    Author(I),
}

/// What a framework wants done.
#[derive(Debug)]
pub enum Output<O> {
    /// Open a session there; end an earlier one. Calls for this link may follow at once.
    Connect {
        /// Its name from now on.
        link: Link,
        /// `host:port`.
        master: String,
    },
    /// Send a call.
    Send {
        /// Over which link; nothing if it is not the latest one.
        link: Link,
        /// What.
        call: Call,
    },
    /// End the session.
    Disconnect {
        /// Which.
        link: Link,
    },
    /// The session is over for good.
    Ended {
        /// Why.
        why: Refusal,
        /// Whether the framework asked for it.
        by_itself: bool,
    },
    /// For the author's own shell.
    Author(O),
}

/// Keeps the session for a [`Scheduler`].
#[derive(Debug)]
pub struct Driver<S: Scheduler> {
    scheduler: S,
    line: Line,
    pending: Pending,
    retries: Deadlines<u64>,
    tracker: Tracker,
    updates: Pulse,
    /// Updates that are due now that the ones before them are taken in.
    due: VecDeque<TaskStatus>,
    /// Offers of the event that the scheduler is looking at.
    open: BTreeSet<OfferId>,
    /// Offers that it keeps for later.
    held: Deadlines<OfferId>,
    /// Tasks in accepts without an answer.
    launching: BTreeSet<TaskId>,
    /// Those of them that are to end at once. A kill that overtook its launch in the log would kill nothing.
    to_kill: BTreeMap<TaskId, (Option<Duration>, Purpose)>,
    acknowledged: VecDeque<Acknowledge>,
    /// Tasks believed alive of which the last snapshot said nothing.
    unresolved: BTreeSet<TaskId>,
    ask_again: Option<(Instant, Duration)>,
    /// The scheduler believes that a session stands.
    in_session: bool,
    /// What the masters last took of what the framework says of itself, while more was said. Should they refuse that, a
    /// session must not begin with it.
    agreed: Option<FrameworkInfo>,
}

// === impl Driver ===

impl<S: Scheduler> Driver<S> {
    /// Drives a scheduler; connects when it is first woken.
    pub fn new(config: Config, scheduler: S) -> Result<Self, BadConfig> {
        if config.masters.is_empty() {
            return Err(BadConfig::NoMasters);
        }
        let mut tracker = Tracker::default();
        for task in config.believed {
            tracker.expect(task);
        }
        let mut line = Line::new(config.info, config.id, config.masters, config.seed);
        line.demands = scheduler.demands().map(|demands| UpdateDemands { demands, demand_driven: true });
        Ok(Driver {
            scheduler,
            line,
            pending: Pending::new(&config.operation_prefix).map_err(BadConfig::Prefix)?,
            retries: Deadlines::new(),
            tracker,
            updates: Pulse::new(UPDATES_WHEN_BUSY, UPDATES_WITHIN),
            due: VecDeque::new(),
            open: BTreeSet::new(),
            held: Deadlines::new(),
            launching: BTreeSet::new(),
            to_kill: BTreeMap::new(),
            acknowledged: VecDeque::new(),
            unresolved: BTreeSet::new(),
            ask_again: None,
            in_session: false,
            agreed: None,
        })
    }

    /// Says which of several instances of the framework this is: once a later one, of a greater number, has had a session,
    /// the masters end this one's and give it no other.
    pub fn fenced(mut self, fence: u64) -> Self {
        self.line.fence = fence;
        self
    }

    /// The scheduler.
    pub fn scheduler(&self) -> &S {
        &self.scheduler
    }

    /// Whether a session stands.
    pub fn is_connected(&self) -> bool {
        self.line.stands()
    }

    /// Calls the author and carries out what it wants; then tells it the updates that waited for what it took in.
    /// Whether there were any.
    fn author(
        &mut self,
        now: Now,
        out: &mut Outbox<Output<S::Output>>,
        call: impl FnOnce(&mut S, &mut Calls<S::Output>),
    ) -> bool {
        let mut more = false;
        let mut calls = Calls::default();
        call(&mut self.scheduler, &mut calls);
        loop {
            for (tag, want) in calls.wants {
                self.carry_out(now, want, Purpose::Author { tag }, out);
            }
            // Only behind all that it wanted: what it wants of the next one comes after that.
            let Some(status) = self.due.pop_front() else { return more };
            more = true;
            calls = Calls::default();
            self.scheduler.update(now, Update { status }, &mut calls);
        }
    }

    fn hear(&mut self, now: Now, event: EventKind, out: &mut Outbox<Output<S::Output>>) {
        match event {
            EventKind::Offers(offers) => {
                let ids: Vec<OfferId> = offers.offers.iter().map(|offer| offer.id).collect();
                self.open.extend(ids.iter().copied());
                self.author(now, out, |s, calls| s.offers(now, offers.offers, calls));
                let unused: Vec<OfferId> = ids.into_iter().filter(|id| self.open.remove(id)).collect();
                if !unused.is_empty() {
                    let (reason, filter) = (DeclineReason::Unused, Filter::DEFAULT);
                    self.say(now, CallKind::Decline(Decline { offers: unused, reason, filter }), out);
                }
            }
            EventKind::Rescind(rescind) => {
                if self.held.cancel(&rescind.offer).is_some() {
                    self.author(now, out, |s, calls| s.rescinded(now, rescind.offer, rescind.reason, calls));
                }
            }
            EventKind::Update(status) => self.update(now, status, out),
            EventKind::Answer(answer) => self.answer(now, answer, out),
            EventKind::Failure(failure) => {
                self.author(now, out, |s, calls| s.failure(now, &failure.agent, failure.state, calls));
            }
            EventKind::AgentDraining(notice) => {
                let notice = Draining::of(notice);
                self.author(now, out, |s, calls| s.draining(now, &notice, calls));
            }
            EventKind::AgentResumed(notice) => {
                self.author(now, out, |s, calls| s.resumed(now, &notice.agent, calls));
            }
            // The line keeps these to itself.
            EventKind::Subscribed(_)
            | EventKind::Fault(_)
            | EventKind::Redirect(_)
            | EventKind::Masters(_)
            | EventKind::Heartbeat => {}
        }
    }

    fn update(&mut self, now: Now, status: TaskStatus, out: &mut Outbox<Output<S::Output>>) {
        self.updates.beat(now.monotonic);
        // An update that waited for its acknowledgement may be older than the end that the task has in the log.
        if status.sequence == 0 || status.state.is_terminal() {
            self.unresolved.remove(&status.task);
        }
        if status.state == TaskState::Unknown && self.launching.contains(&status.task) {
            return; // The answer of its accept says more.
        }
        match self.tracker.observe(&status) {
            News::Fresh => {
                if mutants::is(Mutant::AcknowledgeEarly) {
                    self.acknowledge(now, &status, out);
                }
                self.author(now, out, |s, calls| s.update(now, Update { status }, calls));
            }
            News::Again => self.acknowledge(now, &status, out),
            News::Waits | News::Stale => {}
        }
    }

    fn answer(&mut self, now: Now, answer: Answer, out: &mut Outbox<Output<S::Output>>) {
        let Some(number) = self.pending.find(&answer.operation) else { return };
        if let Outcome::Refused(refusal) = &answer.outcome
            && let Some(waiting) = self.pending.get_mut(number)
            && passes(refusal.code, waiting.refusals)
        {
            let wait = RETRY.0.saturating_mul(1 << waiting.refusals.min(10)).min(RETRY.1);
            waiting.refusals += 1;
            self.retries.set(number, now.monotonic + wait);
            return;
        }
        self.retries.cancel(&number);
        let Some(Waiting { call, purpose, .. }) = self.pending.remove(number) else { return };
        match purpose {
            Purpose::Fence => self.ask_unresolved(now, out),
            Purpose::Settle => {
                if !self.unresolved.is_empty() {
                    let wait = self.ask_again.map_or(ASK_AGAIN.0, |(_, wait)| (wait * 2).min(ASK_AGAIN.1));
                    self.ask_again = Some((now.monotonic + wait, wait));
                }
            }
            Purpose::Author { tag } => {
                let answered = Answered { call, outcome: answer.outcome, tag };
                if let (CallKind::UpdateDemands(said), Outcome::Committed(_)) =
                    (&answered.call, &answered.outcome)
                {
                    self.line.demands = Some(said.clone());
                }
                if let CallKind::UpdateFramework(_) = &answered.call
                    && let (Some(agreed), Outcome::Refused(_)) = (self.agreed.take(), &answered.outcome)
                {
                    self.line.info = agreed;
                }
                self.author(now, out, |s, calls| s.answered(now, &answered, calls));
                for task in launched_by(&answered.call) {
                    self.launching.remove(task);
                }
                for task in launched_by(&answered.call) {
                    self.launched(now, task, &answered.outcome, out);
                }
                if matches!((&answered.call, &answered.outcome), (CallKind::Teardown, Outcome::Committed(_)))
                {
                    let why = Refusal::new(Code::FrameworkRemoved, "the framework tore itself down");
                    self.end(now, why, true, out);
                }
            }
        }
    }

    /// The accept with this task is answered.
    fn launched(&mut self, now: Now, task: &TaskId, outcome: &Outcome, out: &mut Outbox<Output<S::Output>>) {
        let to_kill = self.to_kill.remove(task);
        let kill = |grace| CallKind::Kill(Kill { task: task.clone(), grace });
        match (outcome, to_kill) {
            (Outcome::Committed(_), None) => {}
            (Outcome::Committed(_), Some((grace, purpose))) => self.ask(now, kill(grace), purpose, out),
            (Outcome::Refused(refusal), to_kill) => {
                self.update(now, never_started(now, task, refusal), out);
                if let Some((grace, Purpose::Author { tag })) = to_kill {
                    let answered = Answered { call: kill(grace), outcome: Outcome::Committed(0), tag };
                    self.author(now, out, |s, calls| s.answered(now, &answered, calls));
                }
            }
        }
    }

    fn end(&mut self, now: Now, why: Refusal, by_itself: bool, out: &mut Outbox<Output<S::Output>>) {
        self.line.end(out);
        self.author(now, out, |s, calls| s.ended(now, &why, calls));
        out.push(Output::Ended { why, by_itself });
    }

    fn stands(
        &mut self,
        now: Now,
        session: Session,
        tasks: Vec<TaskStatus>,
        out: &mut Outbox<Output<S::Output>>,
    ) {
        let resumed = session.resumed;
        if !resumed {
            self.held = Deadlines::new();
            self.pending.retain(|waiting| matches!(waiting.purpose, Purpose::Author { .. }));
            self.unresolved.clear();
            self.ask_again = None;
        }
        let before = self.pending.numbers();
        if !resumed {
            self.find_missing(&tasks);
        }
        self.in_session = true;
        // The author first: what it stores of the session must be durable before anything is asked in it.
        self.author(now, out, |s, calls| s.subscribed(now, &session, calls));
        for acknowledge in &self.acknowledged {
            let kind = CallKind::Acknowledge(acknowledge.clone());
            self.line.send(now, Call { operation: None, kind }, out);
        }
        for number in before {
            self.retries.cancel(&number);
            if !mutants::is(Mutant::ForgetPending) {
                self.send_pending(now, number, out);
            }
        }
        if resumed {
            return;
        }
        for status in tasks {
            self.update(now, status, out);
        }
        if !self.unresolved.is_empty() {
            // This is logged, and before it everything that was asked in earlier lives. Only behind it does "unknown"
            // mean that a task was never accepted, and not that it is about to be.
            let framework = self.line.info.clone();
            self.ask(now, CallKind::UpdateFramework(UpdateFramework { framework }), Purpose::Fence, out);
        }
    }

    fn tell_break(&mut self, now: Now) {
        if self.in_session && !self.line.stands() {
            self.in_session = false;
            self.scheduler.disconnected(now);
        }
    }

    /// Tasks believed alive that are neither in the snapshot nor in an accept without an answer.
    fn find_missing(&mut self, tasks: &[TaskStatus]) {
        let told: BTreeSet<&TaskId> = tasks.iter().map(|status| &status.task).collect();
        self.unresolved = self
            .tracker
            .alive()
            .map(|(task, _)| task)
            .filter(|task| !told.contains(task) && !self.launching.contains(*task))
            .cloned()
            .collect();
    }

    fn ask_unresolved(&mut self, now: Now, out: &mut Outbox<Output<S::Output>>) {
        let tasks: Vec<TaskId> = self.unresolved.iter().cloned().collect();
        for some in tasks.chunks(RECONCILE_MAX) {
            let call = CallKind::Reconcile(Reconcile { tasks: some.to_vec() });
            self.ask(now, call, Purpose::Settle, out);
        }
    }
}

impl<S: Scheduler> Machine for Driver<S> {
    type Input = Input<S::Input>;
    type Output = Output<S::Output>;

    fn step(&mut self, now: Now, input: Self::Input, out: &mut Outbox<Self::Output>) {
        match input {
            Input::Event { link, event } => match self.line.hear(now, link, event, out) {
                Heard::Nothing => {}
                Heard::Stands { session, tasks } => self.stands(now, session, tasks, out),
                Heard::Ended(why) => self.end(now, why, false, out),
                Heard::Event(event) => self.hear(now, event, out),
            },
            Input::Lost { link } => self.line.lost(now, link, out),
            Input::Author(input) => {
                self.author(now, out, |s, calls| s.input(now, input, calls));
            }
        }
        self.tell_break(now);
    }

    fn wake(&mut self, now: Now, out: &mut Outbox<Self::Output>) {
        self.line.wake(now, out);
        self.tell_break(now);
        if self.line.stands() {
            while let Some(number) = self.retries.pop_due(now.monotonic) {
                self.send_pending(now, number, out);
            }
            if let Some((at, wait)) = self.ask_again
                && at <= now.monotonic
            {
                // Not due again until this one is answered.
                self.ask_again = Some((Instant::from_nanos(u64::MAX), wait));
                self.ask_unresolved(now, out);
            }
        }
        while let Some(offer) = self.held.pop_due(now.monotonic) {
            self.author(now, out, |s, calls| s.rescinded(now, offer, RescindReason::Expired, calls));
        }
        if self.scheduler.wake_at().is_some_and(|at| at <= now.monotonic) {
            self.author(now, out, |s, calls| s.wake(now, calls));
        }
    }

    fn settle(&mut self, now: Now, out: &mut Outbox<Self::Output>) {
        // An author that takes updates in when it settles is told the next ones then, and has to settle those too.
        while self.author(now, out, |s, calls| s.settle(now, calls)) {}
    }

    fn wake_at(&self) -> Option<Instant> {
        let standing = self.line.stands();
        let ask_again = self.ask_again.map(|(at, _)| at);
        [
            self.line.wake_at(),
            self.retries.next().filter(|_| standing),
            ask_again.filter(|_| standing),
            self.held.next(),
            self.scheduler.wake_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What is said of tasks can wait; offers and answers never wait behind it.
    fn haste(input: &Self::Input) -> Haste {
        match input {
            Input::Event { event: Event { kind: EventKind::Update(_), .. }, .. } => Haste::Waits,
            Input::Event { .. } | Input::Lost { .. } | Input::Author(_) => Haste::Now,
        }
    }

    fn gathers_for(&self, now: Instant) -> Duration {
        let busy = self.tracker.alive_count() > TASKS_WHEN_BUSY && self.updates.is_fast(now);
        if busy { GATHER_WHEN_BUSY } else { Duration::ZERO }
    }
}
