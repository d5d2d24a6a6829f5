//! Frameworks: a workload on the SDK's driver, with a memory that outlives its process.

use std::collections::VecDeque;
use std::time::Duration;

use framework_sdk_core::{Config, Driver, Input, Link, Output};
use proto::framework::FrameworkInfo;
use proto::operation::Operation;
use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::refusal::Code;
use proto::resources::Amount;
use proto::role::Role;
use proto::scheduler::{CallKind, EventKind};
use proto::task::TaskStatus;
use proto_machine::{Dice, Machine, Outbox};

use crate::check::{Verdict, broken};
use crate::clock::Clock;
use crate::network::{Down, End, Up};
use crate::node::{Node, Process};
use crate::options::{FrameworkPlan, Personality, SECOND};
use crate::words;
use crate::workload::{Memory, Note, Word, Workload};
use crate::world::{Event, World, fault_of};

const MIB: u64 = 1 << 20;

/// Whether a framework has a part in what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It has.
    Plays,
    /// Not yet: it is an instance that will take over.
    Waits,
    /// Another instance has taken over; this one may not know yet.
    Succeeded,
    /// It is not coming back.
    Gone,
}

/// A framework and its pretended surroundings.
pub struct FrameworkNode {
    /// Its process.
    pub process: Process,
    /// What people call it.
    pub name: String,
    /// How it behaves.
    pub plan: FrameworkPlan,
    /// Its role.
    pub role: Role,
    /// What one of its tasks takes.
    pub shape: Amount,
    /// The session and the brain, while it lives.
    pub driver: Option<Driver<Workload>>,
    /// What it has not yet seen.
    pub mailbox: VecDeque<Input<Word>>,
    /// What it will not forget.
    pub memory: Memory,
    /// Which instance of the framework it is.
    pub fence: u64,
    /// Whether it has a part in what happens.
    pub part: Part,
    pub(crate) stream: Option<(Link, u64)>,
    /// The masters that it was started with.
    pub masters: Vec<String>,
}

impl FrameworkNode {
    /// A framework that never ran.
    pub fn new(number: u64, plan: FrameworkPlan, process: Process, dice: &mut Dice) -> Self {
        let roles = ["eng", "eng/web", "ops"];
        let role = Role::new(roles[dice.below(3) as usize]).expect("a role");
        let scalars = Quantities::of(100 * (1 + dice.below(15)), 64 * MIB * (1 + dice.below(16)));
        let mut shape = Amount::scalars(scalars);
        if dice.chance(1, 3) {
            // "One of them": which it is does not matter.
            shape = shape.with_ports(Ranges::single(1, 1));
        }
        let name = match plan.personality {
            Personality::Demanding => format!("jobs-{number}"),
            Personality::Greedy => format!("greedy-{number}"),
            Personality::Declining => format!("idle-{number}"),
            Personality::Slow => format!("slow-{number}"),
            Personality::Silent => format!("silent-{number}"),
            Personality::Picky => format!("picky-{number}"),
            Personality::Wrong => format!("wrong-{number}"),
        };
        let idle = matches!(plan.personality, Personality::Declining | Personality::Silent);
        let jobs = if idle { 0 } else { plan.jobs };
        let memory = Memory::new(jobs);
        FrameworkNode {
            process,
            name,
            plan,
            role,
            shape,
            driver: None,
            mailbox: VecDeque::new(),
            memory,
            fence: 0,
            part: Part::Plays,
            stream: None,
            masters: Vec::new(),
        }
    }
}

impl FrameworkNode {
    /// Another instance of the same, which waits for its turn.
    pub fn successor(of: &FrameworkNode, clock: Clock) -> Self {
        FrameworkNode {
            process: Process::new(clock),
            name: of.name.clone(),
            plan: of.plan,
            role: of.role.clone(),
            shape: of.shape.clone(),
            driver: None,
            mailbox: VecDeque::new(),
            memory: of.memory.clone(),
            fence: 0,
            part: Part::Waits,
            stream: None,
            masters: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn begin_framework(&mut self, node: Node) -> Verdict {
        let clock = self.clock();
        let (seed, other) = (self.dice.next_u64(), self.dice.next_u64());
        let masters = self.doors();
        self.frameworks[node.index()].masters.clone_from(&masters);
        let failover_timeout = Duration::from_nanos(self.options.failover_timeout);
        let framework = &mut self.frameworks[node.index()];
        framework.process.begin(clock);
        framework.memory.starts += 1;
        let info = FrameworkInfo {
            name: framework.name.clone(),
            roles: vec![framework.role.clone()],
            failover_timeout,
            address: String::new(),
            labels: Default::default(),
        };
        let shape = framework.shape.clone();
        let workload = Workload::new(framework.plan, info.clone(), shape, &framework.memory, other);
        let config = Config {
            info,
            id: framework.memory.framework.clone(),
            operation_prefix: format!("{}.{}", framework.name, framework.memory.starts),
            masters,
            seed,
            believed: framework.memory.believed(),
        };
        match Driver::new(config, workload) {
            Ok(driver) => framework.driver = Some(driver.fenced(framework.fence)),
            Err(bad) => return fault_of(node, bad.to_string()),
        }
        if self.calm {
            self.framework_hears_of(node, Word::Calm);
        }
        Ok(())
    }

    /// The world around it tells a framework something.
    pub(crate) fn framework_hears_of(&mut self, node: Node, word: Word) {
        self.frameworks[node.index()].mailbox.push_back(Input::Author(word));
    }

    pub(crate) fn framework_dies(&mut self, node: Node) {
        let framework = &mut self.frameworks[node.index()];
        framework.driver = None;
        framework.mailbox.clear();
        framework.stream = None;
        self.checks.rescinds.forget(node);
    }

    pub(crate) fn framework_turn(&mut self, node: Node) -> Verdict {
        let framework = &mut self.frameworks[node.index()];
        let Some(driver) = framework.driver.as_mut() else { return Ok(()) };
        let now = framework.process.clock.now(self.now);
        let mut out = Outbox::new();
        let mut answers = Vec::new();
        for input in framework.mailbox.drain(..) {
            if let Input::Event { event, .. } = &input
                && let EventKind::Answer(answer) = &event.kind
            {
                answers.push(answer.clone());
            }
            driver.step(now, input, &mut out);
        }
        if driver.wake_at().is_some_and(|at| at <= now.monotonic) {
            driver.wake(now, &mut out);
        }
        driver.settle(now, &mut out);
        if driver.is_connected() {
            self.successor_stands(node);
        }
        let framework = &mut self.frameworks[node.index()];
        let id = framework.memory.framework.clone();
        for answer in &answers {
            if let Some(id) = &id {
                self.checks.launches.answered(id, answer)?;
            }
        }
        self.trace.event(self.now, node.number(), 9);
        self.trace.number(out.len() as u64);
        for output in out.take() {
            let dies = !self.calm && self.options.midway && self.options.faults.crash_framework > 0;
            if dies && self.dice.chance(1, 3000) {
                self.mark("a framework died midway");
                self.crash(node);
                return Ok(());
            }
            self.perform_framework(node, output)?;
        }
        Ok(())
    }

    fn perform_framework(&mut self, node: Node, output: Output<Note>) -> Verdict {
        match output {
            Output::Connect { link, master } => {
                self.framework_hangs_up(node);
                match self.connect(node, link.0, &master) {
                    Some(id) => self.frameworks[node.index()].stream = Some((link, id)),
                    None => self.frameworks[node.index()].mailbox.push_back(Input::Lost { link }),
                }
            }
            Output::Send { link, call } => {
                let newest = self.frameworks[node.index()].stream.filter(|(newest, _)| *newest == link);
                let Some((_, id)) = newest else { return Ok(()) };
                let Some(stream) = self.network.stream(id).filter(|stream| stream.client_open) else {
                    return Ok(());
                };
                let to = stream.master;
                let framework = self.frameworks[node.index()].memory.framework.clone();
                if self.frameworks[node.index()].part == Part::Succeeded {
                    self.checks.takeover.asks_late(framework.as_ref(), call.operation.as_ref());
                    self.send_up(id, Up::Call(Box::new(call)));
                    return Ok(());
                }
                if let (CallKind::Accept(accept), Some(framework), Some(operation)) =
                    (&call.kind, &framework, &call.operation)
                {
                    self.checks.launches.asked(framework, operation, accept);
                }
                self.mark_call(&call.kind);
                self.checks.rescinds.calls(node, &call.kind);
                if let CallKind::Acknowledge(call) = &call.kind {
                    self.checks.updates.acknowledged(node, call)?;
                }
                if let (CallKind::Kill(kill), Some(framework)) = (&call.kind, &framework) {
                    self.checks.launches.killed(framework, &kill.task);
                }
                if words::call(&call).is_some() {
                    self.say(node, to, |_| words::call(&call).unwrap_or_default());
                }
                self.send_up(id, Up::Call(Box::new(call)));
                let framework = &self.frameworks[node.index()];
                let stands = framework.driver.as_ref().is_some_and(Driver::is_connected);
                if stands && framework.plan.personality == Personality::Wrong && self.dice.chance(1, 4) {
                    self.says_wrong(node, id);
                }
            }
            Output::Disconnect { link } => {
                if self.frameworks[node.index()].stream.is_some_and(|(newest, _)| newest == link) {
                    self.framework_hangs_up(node);
                }
            }
            Output::Ended { .. } if self.frameworks[node.index()].part == Part::Succeeded => {
                self.mark("an instance of a framework was sent away");
                self.leaves_for_good(node);
            }
            // It is not this one's to remember any more.
            Output::Author(_) if self.frameworks[node.index()].part == Part::Succeeded => {}
            Output::Ended { why, by_itself } => {
                if by_itself && !self.frameworks[node.index()].plan.habits.tears_down {
                    return fault_of(node, "it ended itself".to_owned());
                }
                match why.code {
                    // It ended itself, or did not come back in time: whoever keeps it running starts it as a new one.
                    Code::FrameworkRemoved | Code::NotFound => {
                        self.mark(if by_itself {
                            "a framework ended itself"
                        } else {
                            "a framework was removed"
                        });
                        self.frameworks[node.index()].memory.ended_itself |= by_itself;
                        self.die(node);
                        let framework = &mut self.frameworks[node.index()];
                        framework.memory.begin_anew();
                        let at = self.now + SECOND;
                        self.queue.push(at, Event::Begin(node, framework.process.life));
                    }
                    Code::Denied
                    | Code::Invalid
                    | Code::Conflict
                    | Code::StaleOffer
                    | Code::LeaderLost
                    | Code::SessionReplaced
                    | Code::TooMuch
                    | Code::BadToken
                    | Code::AgentGone
                    | Code::Unavailable
                    | Code::Compacted
                    | Code::Fenced => {
                        return broken("P8 failover", format!("{node} was sent away: {why}"));
                    }
                }
            }
            Output::Author(note) => {
                match &note {
                    Note::Framework(id) => {
                        self.owners.insert(id.clone(), node);
                    }
                    Note::Told(status) => self.told(node, status)?,
                    Note::TakenIn(status) => {
                        let life = self.life(node).0;
                        self.checks.updates.taken_in(node, life, status);
                    }
                    Note::Unasked(offer) => {
                        let how = format!("{node} says what it wants and was offered {offer} beside that");
                        return broken("demands", how);
                    }
                    Note::Launching(_) | Note::Over(..) => {}
                }
                self.frameworks[node.index()].memory.take(&note);
            }
        }
        Ok(())
    }

    /// Counts the calls that are not everyday ones.
    fn mark_call(&mut self, call: &CallKind) {
        let CallKind::Accept(accept) = call else { return };
        if accept.all_or_nothing && accept.parts.len() > 1 {
            self.mark("several offers were used all or none");
        }
        for operation in accept.parts.iter().flat_map(|part| &part.operations) {
            match operation {
                Operation::Launch(_) => {}
                Operation::LaunchGroup(_) => self.mark("a group was to be launched"),
                Operation::Reserve(_) | Operation::Unreserve(_) => {
                    self.mark("disk was to be reserved or not")
                }
                Operation::CreateVolume(_) | Operation::DestroyVolume(_) => {
                    self.mark("a volume was to be made or destroyed");
                }
            }
        }
    }

    fn told(&mut self, node: Node, status: &TaskStatus) -> Verdict {
        let life = self.life(node).0;
        let lost_power =
            self.agents.iter().any(|agent| Some(&agent.info.id) == status.agent.as_ref() && agent.boot > 0);
        self.checks.updates.told(node, life, status, lost_power)?;
        match &self.frameworks[node.index()].memory.framework {
            Some(id) => self.checks.launches.told(id, status, &self.checks.one_place),
            None => Ok(()),
        }
    }

    pub(crate) fn framework_hangs_up(&mut self, node: Node) {
        if let Some((_, id)) = self.frameworks[node.index()].stream.take()
            && self.network.stream(id).is_some_and(|stream| stream.client_open)
        {
            self.send_up(id, Up::Close);
            self.network.close(id, End::Client);
        }
    }

    pub(crate) fn framework_hears(&mut self, node: Node, link: u64, down: Down) {
        let link = Link(link);
        let newest = self.frameworks[node.index()].stream.is_some_and(|(newest, _)| newest == link);
        if let (true, Down::Event(event)) = (newest, &down) {
            self.checks.rescinds.heard(node, self.now, &event.kind);
        }
        let input = match down {
            Down::Event(event) => Input::Event { link, event: *event },
            Down::Close => Input::Lost { link },
            Down::Opened | Down::Agent(_) => return,
        };
        self.frameworks[node.index()].mailbox.push_back(input);
    }
}
