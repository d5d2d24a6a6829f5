//! `Rehearsal`: a scheduler, a pretend pool and a pretend clock, for an author's tests: agents are values, tasks behave as
//! they are told to, and everything that can go wrong does so on request.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::attributes::AttributeValue;
use proto::id::{AgentId, TaskId};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::task::TaskState;
use proto_machine::Now;

use crate::config::{BadConfig, Config};
use crate::fake::Fake;
pub use crate::fake::Mishap;
use crate::harness::{self, Harness};
use crate::life::Life;
pub use crate::life::{Behaviour, Pace};
use crate::scheduler::Scheduler;
use crate::tape::{Entry, Tape};

/// A pretend agent, as a value.
#[derive(Clone, Debug)]
pub struct Agent(AgentInfo);

// === impl Agent ===

impl Agent {
    /// With so many thousandths of a cpu and so many bytes of memory.
    ///
    /// # Panics
    /// When the name is no agent id.
    pub fn new(name: &str, cpus_milli: u64, mem_bytes: u64) -> Self {
        Agent(harness::agent(name, harness::resources(cpus_milli, mem_bytes)))
    }

    /// And these ports, both included.
    #[must_use]
    pub fn ports(mut self, first: u64, last: u64) -> Self {
        self.0
            .resources
            .add(&Resources::unreserved(Amount::default().with_ports(Ranges::single(first, last))));
        self
    }

    /// And whatever else; reserved for a role, say.
    #[must_use]
    pub fn with(mut self, more: &Resources) -> Self {
        self.0.resources.add(more);
        self
    }

    /// It is like this: `zone=b`.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.0.insert(name.to_owned(), AttributeValue::Text(value.to_owned()));
        self
    }
}

impl From<Agent> for AgentInfo {
    fn from(agent: Agent) -> Self {
        agent.0
    }
}

/// A scheduler that plays in a pretend pool. After each step the rules of the conversation are checked: a task that is
/// launched twice, or an operation id that is used for two calls, fails the test.
pub struct Rehearsal<S: Scheduler> {
    harness: Harness<S>,
    life: Life,
    config: Config,
    restarts: u32,
}

// === impl Rehearsal ===

impl<S: Scheduler> Rehearsal<S> {
    /// A scheduler in the default role, and a pool without agents.
    ///
    /// # Panics
    /// When the name makes no framework.
    pub fn new(name: &str, scheduler: S) -> Self {
        Rehearsal::of(harness::config(name), scheduler).expect("a test names its framework well")
    }

    /// The same with a configuration of its own: other roles, or an earlier life.
    pub fn of(config: Config, scheduler: S) -> Result<Self, BadConfig> {
        let mut harness = Harness::new(config.clone(), scheduler)?;
        harness.tape = Some(Tape::default());
        Ok(Rehearsal { harness, life: Life::at(Pace::default()), config, restarts: 0 })
    }

    /// With this agent too.
    #[must_use]
    pub fn agent(mut self, agent: Agent) -> Self {
        self.add_agent(agent);
        self
    }

    /// Tasks whose id begins so behave so; the longest beginning counts, and the empty one means all others.
    #[must_use]
    pub fn tasks(mut self, prefix: &str, behaviour: Behaviour) -> Self {
        self.behave(prefix, behaviour);
        self
    }

    /// An agent joins.
    pub fn add_agent(&mut self, agent: Agent) {
        self.harness.master.add_agent(agent.into());
    }

    /// From now on tasks whose id begins so behave so.
    pub fn behave(&mut self, prefix: &str, behaviour: Behaviour) {
        self.life.behave(prefix, behaviour);
    }

    // --- time ---

    /// Time passes, and everything due in it happens at its time.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now().monotonic + time;
        self.settle();
        loop {
            let next = self.life.next_at().min(self.harness.next_at());
            if next > until {
                break;
            }
            self.harness.advance(next - self.now().monotonic);
            self.settle();
        }
        self.harness.advance(until - self.now().monotonic);
        self.settle();
    }

    /// Time passes until something holds; how much it was.
    ///
    /// # Panics
    /// When it does not hold within `limit`.
    pub fn until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let start = self.now().monotonic;
        self.settle();
        while !holds(self) {
            let now = self.now().monotonic;
            assert!(
                now - start < limit,
                "it does not come to that within {limit:?}; tasks: {:?}",
                self.states()
            );
            let next = self.life.next_at().min(self.harness.next_at());
            self.harness.advance(next - now);
            self.settle();
        }
        self.now().monotonic - start
    }

    /// Everything that is due now happens, and everything that follows from it at once.
    fn settle(&mut self) {
        loop {
            self.life.attend(self.now().monotonic, &mut self.harness.master);
            let before = (self.harness.calls.len(), self.harness.master.accepted.len());
            self.harness.run();
            let master = &self.harness.master;
            assert!(master.doubled.is_empty(), "launched twice: {:?}", master.doubled);
            assert!(master.reused.is_empty(), "one id for two calls: {:?}", master.reused);
            if before == (self.harness.calls.len(), master.accepted.len())
                && self.life.next_at() > self.now().monotonic
            {
                return;
            }
        }
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.harness.now()
    }

    // --- what goes wrong ---

    /// The next event of the master is lost. The framework notices at the one after it.
    pub fn drop_next(&mut self) {
        self.harness.master.befall(Mishap::Drop);
    }

    /// The next update of a task comes twice.
    pub fn duplicate_next(&mut self) {
        self.harness.master.befall(Mishap::Duplicate);
    }

    /// The next update of a task comes after the event that follows it.
    pub fn reorder_next(&mut self) {
        self.harness.master.befall(Mishap::Reorder);
    }

    /// The link breaks, and what is on its way is lost.
    pub fn break_link(&mut self) {
        self.harness.break_link();
    }

    /// The leader dies and another takes over: what was committed is kept.
    pub fn fail_over(&mut self) {
        self.harness.fail_over();
    }

    /// No master can be reached any more.
    pub fn partition(&mut self) {
        self.harness.unreachable = true;
        self.harness.silent = true;
        self.harness.break_link();
    }

    /// The masters can be reached again.
    pub fn heal(&mut self) {
        self.harness.unreachable = false;
        self.harness.silent = false;
    }

    /// The master does not hear an agent any more; its tasks run on, out of sight.
    ///
    /// # Panics
    /// When the name is no agent id.
    pub fn lose_agent(&mut self, name: &str) {
        self.harness.master.lose_agent(&agent_id(name));
    }

    /// The master hears it again.
    ///
    /// # Panics
    /// When the name is no agent id.
    pub fn return_agent(&mut self, name: &str) {
        self.harness.master.return_agent(&agent_id(name));
    }

    /// An operator wants it empty within so long; what runs there then is ended.
    ///
    /// # Panics
    /// When the name is no agent id.
    pub fn drain_agent(&mut self, name: &str, within: Duration) {
        let (agent, now) = (agent_id(name), self.now());
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.harness.master.drain_agent(&agent, now.wall.as_millis().saturating_add(within_ms));
        self.life.empty(&agent, Some(now.monotonic + within));
    }

    /// It takes work again.
    ///
    /// # Panics
    /// When the name is no agent id.
    pub fn resume_agent(&mut self, name: &str) {
        let agent = agent_id(name);
        self.harness.master.resume_agent(&agent);
        self.life.empty(&agent, None);
    }

    /// Its machine is gone for good.
    ///
    /// # Panics
    /// When the name is no agent id.
    pub fn give_up_agent(&mut self, name: &str) {
        self.harness.master.give_up_agent(&agent_id(name));
    }

    /// The process dies, and another starts with what the scheduler kept: its framework's id, and the tasks that it
    /// believes to be alive.
    ///
    /// # Panics
    /// When there is no session yet: then there is no id to keep.
    #[must_use]
    pub fn restart(self, scheduler: S, believed: Vec<TaskId>) -> Self {
        let Rehearsal { harness, life, mut config, restarts } = self;
        let (wall, tape) = (harness.now(), harness.tape.clone());
        assert!(harness.master.framework_info().is_some(), "it has never subscribed");
        config.id = harness::framework_id();
        config.believed = believed;
        let restarts = restarts + 1;
        // Ids of operations are never used twice, by whatever process.
        config.operation_prefix = format!("test{restarts}");
        let harness = Harness::with_master(config.clone(), scheduler, harness.crash());
        let mut harness = harness.expect("the same configuration as before").since(wall);
        // The old process' tape ends here: what plays again is one life.
        harness.tape = tape.map(|_| Tape::default());
        Rehearsal { harness, life, config, restarts }
    }

    // --- what there is to see ---

    /// The scheduler.
    pub fn scheduler(&self) -> &S {
        self.harness.scheduler()
    }

    /// The pretend master, for whatever has no method here.
    pub fn master(&mut self) -> &mut Fake {
        &mut self.harness.master
    }

    /// The harness: calls that were sent, outputs, redials.
    pub fn harness(&mut self) -> &mut Harness<S> {
        &mut self.harness
    }

    /// Whether a session stands.
    pub fn is_connected(&self) -> bool {
        self.harness.is_connected()
    }

    /// How a task stands at its agent; `None` when it was never launched.
    pub fn state(&self, task: &str) -> Option<TaskState> {
        self.harness.master.task(task).map(|task| task.state())
    }

    /// How every task stands.
    pub fn states(&self) -> BTreeMap<String, TaskState> {
        self.harness.master.tasks().map(|(id, task)| (id.to_string(), task.state())).collect()
    }

    /// How many tasks stand so.
    pub fn count(&self, state: TaskState) -> usize {
        self.harness.master.tasks().filter(|(_, task)| task.state() == state).count()
    }

    /// Where a task was launched.
    pub fn place(&self, task: &str) -> Option<String> {
        self.harness.master.task(task).map(|task| task.agent().to_string())
    }

    /// Offers without an answer: a scheduler that keeps some keeps them from others.
    pub fn open_offers(&self) -> usize {
        self.harness.master.open_offers().count()
    }

    /// What was heard and said so far, to be kept as text and replayed ([`Tape::replay`]).
    pub fn tape(&self) -> &Tape {
        static NONE: Tape = Tape { entries: Vec::new() };
        self.harness.tape.as_ref().unwrap_or(&NONE)
    }
}

impl<S: Scheduler> Rehearsal<S>
where
    S::Input: Debug,
{
    /// The scheduler's own shell says something. On the tape it is what `{:?}` makes of it.
    pub fn tell(&mut self, input: S::Input) {
        let now = self.now();
        if let Some(tape) = &mut self.harness.tape {
            tape.write(now, Entry::Told(format!("{input:?}")));
        }
        self.harness.input(input);
        self.settle();
    }
}

fn agent_id(name: &str) -> AgentId {
    AgentId::new(name).expect("a test names its agents well")
}
