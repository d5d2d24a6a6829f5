//! `World`: the loop. It pops the next event, lets the node it is for act, and routes what comes of it.

use std::collections::BTreeMap;

use proto::id::FrameworkId;
use proto::volume::Volume;
use proto_machine::{Dice, Machine};

use crate::agents::{AgentNode, KeeperEvent};
use crate::check::{Broken, Checks, Verdict};
use crate::clock::Clock;
use crate::faults::{Came, Fault, Schedule};
use crate::frameworks::{FrameworkNode, Part};
use crate::instances::Change;
use crate::masters::MasterNode;
use crate::members::{Members, MembersEvent};
use crate::network::{Down, End, Network, Up};
use crate::node::{Node, Process};
use crate::operator::Operator;
use crate::options::{MS, Options};
use crate::queue::Queue;
use crate::replay::Replay;
use crate::shell::Shell;
use crate::store::Store;
use crate::store_events::StoreEvent;
use crate::story::Transcript;
use crate::trace::Trace;
use crate::trim::Trim;
use crate::workload::Word;

/// What can happen in a world.
#[derive(Debug)]
pub enum Event {
    /// A process looks into its mailbox, by the plan of this number.
    Turn(Node, u64),
    /// What a process in this life has waited for is on its disk.
    Stored(Node, u32),
    /// There may be room again on an agent's disk.
    Room(Node),
    /// Something arrives at the master's end of a stream.
    Up(u64, Up),
    /// Something arrives at the client's end of a stream.
    Down(u64, Down),
    /// One end of a broken stream notices it.
    Noticed(u64, End),
    /// A datagram between masters.
    Datagram {
        /// The sender.
        from: Node,
        /// The receiver.
        to: Node,
        /// What arrives.
        input: Box<master_raft::Input>,
    },
    /// How the transfer of a snapshot ended, for the life that sent it.
    Report {
        /// Who sent it.
        to: Node,
        /// In which life.
        life: u32,
        /// To whom.
        peer: master_raft::NodeId,
        /// Whether it arrived.
        delivered: bool,
    },
    /// Something happens in a container, on this boot of the agent's machine.
    Keeper {
        /// Whose.
        agent: Node,
        /// The boot.
        boot: u32,
        /// What.
        event: KeeperEvent,
    },
    /// What was on a volume is deleted, if the agent's process still lives that began to.
    VolumeGone {
        /// Whose.
        agent: Node,
        /// In which life.
        life: u32,
        /// Which volume.
        volume: Volume,
    },
    /// A node that died after this life begins anew.
    Begin(Node, u32),
    /// Something goes wrong that is drawn now.
    Fault,
    /// This goes wrong.
    Given(Fault),
    /// A partition ends.
    Unblock(Node, Node),
    /// An operator wants something.
    Wish,
    /// There is more for frameworks to do, by the plan of this number.
    Work(u64),
    /// Something of the frameworks' state.
    Store(StoreEvent),
    /// An instance of a framework goes or comes.
    Instance(Change),
    /// Something about who the masters are.
    Members(MembersEvent),
}

/// A whole world.
pub struct World {
    /// What it is made of.
    pub seed: u64,
    /// What it does.
    pub options: Options,
    /// The true time, in nanoseconds since it began.
    pub now: u64,
    /// What will happen.
    pub queue: Queue<Event>,
    /// All randomness there is.
    pub dice: Dice,
    /// The masters, in the order of their numbers.
    pub masters: Vec<MasterNode>,
    /// The agents.
    pub agents: Vec<AgentNode>,
    /// The frameworks.
    pub frameworks: Vec<FrameworkNode>,
    /// The people.
    pub operator: Operator,
    /// What frameworks keep on the masters, and who uses it.
    pub store: Store,
    /// Who wants other masters, and what was seen of them.
    pub members: Members,
    /// The network.
    pub network: Network,
    /// The promises.
    pub checks: Checks,
    /// What happened, folded.
    pub trace: Trace,
    /// What happened, for people, if somebody wants to read it.
    pub transcript: Option<Transcript>,
    /// Nothing goes wrong any more.
    pub calm: bool,
    /// What is left out of it.
    pub trim: Trim,
    /// What went wrong, and what is to.
    pub faults: Schedule,
    /// Which framework has which id.
    pub owners: BTreeMap<FrameworkId, Node>,
    /// How often what happened that is worth counting.
    pub marks: BTreeMap<&'static str, u64>,
    /// Counts the plans for more work.
    pub(crate) work_plans: u64,
    /// Who is shown every step.
    pub(crate) replay: Option<Replay>,
}

impl World {
    /// A world in which everybody is about to begin.
    pub fn new(options: Options, seed: u64) -> World {
        World::trimmed(options, seed, Trim::default(), None)
    }

    /// The same without some of what goes wrong, and perhaps with these faults instead of those that the seed draws.
    pub fn trimmed(mut options: Options, seed: u64, trim: Trim, given: Option<Vec<Came>>) -> World {
        trim.spare(&mut options);
        let mut dice = Dice::new(seed ^ trim.shuffle.rotate_left(40));
        let clock = Clock::new(0, 0, 0, &mut dice);
        let masters = (1..=options.masters)
            .map(|_| MasterNode::new(Process::new(clock), Shell::founder(options.masters)))
            .collect();
        let mut agents: Vec<AgentNode> =
            (1..=options.agents).map(|n| AgentNode::new(n, Process::new(clock), &mut dice)).collect();
        if options.frameworks.iter().any(|plan| plan.habits.reserves) {
            agents.iter_mut().for_each(|agent| agent.set_disk(20));
        }
        let plans = options.frameworks.iter().zip(1..);
        let frameworks =
            plans.map(|(plan, n)| FrameworkNode::new(n, *plan, Process::new(clock), &mut dice)).collect();
        let store = Store::new(options.masters, options.store_clients, seed);
        let mut world = World {
            seed,
            options,
            now: 0,
            queue: Queue::default(),
            dice,
            masters,
            agents,
            frameworks,
            operator: Operator::default(),
            store,
            members: Members::new(seed),
            network: Network::default(),
            checks: Checks::default(),
            trace: Trace::default(),
            transcript: None,
            calm: false,
            faults: Schedule::new(given),
            trim,
            owners: BTreeMap::new(),
            marks: BTreeMap::new(),
            work_plans: 0,
            replay: None,
        };
        world.checks.conservation.disk_shrinks = world.options.changing_agents;
        for node in world.nodes() {
            let after = if matches!(node, Node::Master(_)) { 0 } else { world.options.others_begin };
            let at = after + world.dice.below(5) * MS;
            world.queue.push(at, Event::Begin(node, 0));
        }
        if world.options.lives == 0 {
            world.faults_begin(1);
        }
        world.plan_wish();
        world.begin_clients();
        world.plan_instances();
        world.plan_members_wish();
        world
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Node> {
        let masters = (1..=self.masters.len()).map(Node::Master);
        let agents = (1..=self.agents.len()).map(Node::Agent);
        let frameworks = (1..=self.frameworks.len()).map(Node::Framework);
        masters.chain(agents).chain(frameworks).collect()
    }

    /// Counts something.
    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    /// Does everything that happens up to `end`.
    pub fn run_until(&mut self, end: u64) -> Verdict {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.one()?;
        }
        self.now = end;
        Ok(())
    }

    /// Does the next thing.
    pub fn one(&mut self) -> Verdict {
        let Some((at, event)) = self.queue.pop() else { return Ok(()) };
        self.now = at;
        self.checks.effort.happens(at)?;
        let before = if self.replay.is_some() { self.before(&event) } else { None };
        let verdict = self.happens(event);
        before.into_iter().for_each(|before| self.after(before));
        verdict
    }

    fn happens(&mut self, event: Event) -> Verdict {
        match event {
            Event::Turn(node, plan) => self.turn(node, plan),
            Event::Stored(node, life) => self.stored(node, life),
            Event::Room(node) => {
                self.agent_sees_room(node);
                Ok(())
            }
            Event::Up(stream, up) => self.arrives_up(stream, up),
            Event::Down(stream, down) => self.arrives_down(stream, down),
            Event::Noticed(stream, end) => self.noticed(stream, end),
            Event::Datagram { from, to, input } => self.datagram(from, to, *input),
            Event::Report { to, life, peer, delivered } => self.report(to, life, peer, delivered),
            Event::Keeper { agent, boot, event } => self.keeper_event(agent, boot, event),
            Event::VolumeGone { agent, life, volume } => self.volume_gone(agent, life, volume),
            Event::Begin(node, life) => self.begin(node, life),
            Event::Fault => self.fault(),
            Event::Given(fault) => {
                self.go_wrong(fault);
                Ok(())
            }
            Event::Unblock(from, to) => {
                self.network.unblock(from, to);
                Ok(())
            }
            Event::Wish => {
                self.wish();
                Ok(())
            }
            Event::Work(plan) => {
                self.work(plan);
                Ok(())
            }
            Event::Store(event) => self.store_event(event),
            Event::Instance(change) => {
                self.instances_change(change);
                Ok(())
            }
            Event::Members(event) => {
                self.members_event(event);
                Ok(())
            }
        }
    }

    // === processes ===

    /// The process of a node.
    pub fn process(&mut self, node: Node) -> &mut Process {
        match node {
            Node::Master(_) => &mut self.masters[node.index()].process,
            Node::Agent(_) => &mut self.agents[node.index()].process,
            Node::Framework(_) => &mut self.frameworks[node.index()].process,
        }
    }

    /// In which life a node is, and whether it lives.
    pub fn life(&self, node: Node) -> (u32, bool) {
        let process = match node {
            Node::Master(_) => &self.masters[node.index()].process,
            Node::Agent(_) => &self.agents[node.index()].process,
            Node::Framework(_) => &self.frameworks[node.index()].process,
        };
        (process.life, process.up)
    }

    /// A clock for a new process.
    pub fn clock(&mut self) -> Clock {
        Clock::new(self.now, self.options.skew_ms, self.options.drift_ppm, &mut self.dice)
    }

    fn begin(&mut self, node: Node, life: u32) -> Verdict {
        if self.life(node) != (life, false) || self.stays_away(node) {
            return Ok(());
        }
        self.trace.event(self.now, node.number(), 1);
        self.tell(node, |_| "starts".to_owned());
        match node {
            Node::Master(_) => self.begin_master(node)?,
            Node::Agent(_) => self.begin_agent(node),
            Node::Framework(_) => self.begin_framework(node)?,
        }
        self.plan(node);
        Ok(())
    }

    /// A node dies; its streams break at once on its side, and the others notice.
    pub fn die(&mut self, node: Node) {
        if matches!(node, Node::Master(_)) && self.life(node).1 {
            self.mark_who_dies(node);
        }
        self.trace.event(self.now, node.number(), 2);
        self.tell(node, |_| "dies".to_owned());
        self.process(node).die();
        match node {
            Node::Master(_) => self.master_dies(node),
            Node::Agent(_) => self.agent_dies(node),
            Node::Framework(_) => self.framework_dies(node),
        }
        for id in self.network.streams_of(node) {
            let Some(stream) = self.network.stream(id) else { continue };
            if stream.client == node {
                self.send_up(id, Up::Close);
                self.network.close(id, End::Client);
            } else {
                self.send_down(id, Down::Close);
                self.network.close(id, End::Master);
            }
        }
    }

    /// Decides when a node looks into its mailbox next.
    pub fn plan(&mut self, node: Node) {
        let (mail, wake) = match node {
            Node::Master(_) => {
                let master = &self.masters[node.index()];
                (!master.mailbox.is_empty(), master.machine.as_ref().and_then(Machine::wake_at))
            }
            Node::Agent(_) => {
                let agent = &self.agents[node.index()];
                (!agent.mailbox.is_empty(), agent.machine.as_ref().and_then(Machine::wake_at))
            }
            Node::Framework(_) => {
                let framework = &self.frameworks[node.index()];
                (!framework.mailbox.is_empty(), framework.driver.as_ref().and_then(Machine::wake_at))
            }
        };
        let now = self.now;
        let attention = if mail { self.dice.below(self.options.attention + 1) } else { 0 };
        let process = self.process(node);
        if !process.up || process.busy {
            return;
        }
        let mail_at = mail.then_some(now + attention);
        let wake_at = wake.map(|at| process.clock.when(at).max(now));
        let Some(at) = mail_at.into_iter().chain(wake_at).min() else { return };
        let at = at.max(process.paused_until);
        if process.turn.is_some_and(|(planned, _)| planned <= at) {
            return;
        }
        process.plans += 1;
        process.turn = Some((at, process.plans));
        let plan = process.plans;
        self.queue.push(at, Event::Turn(node, plan));
    }

    fn turn(&mut self, node: Node, plan: u64) -> Verdict {
        let now = self.now;
        let process = self.process(node);
        if process.turn.is_none_or(|(_, planned)| planned != plan) {
            return Ok(());
        }
        process.turn = None;
        if !process.up || process.busy {
            return Ok(());
        }
        if process.paused_until > now {
            self.plan(node);
            return Ok(());
        }
        match node {
            Node::Master(_) => self.master_turn(node)?,
            Node::Agent(_) => self.agent_turn(node)?,
            Node::Framework(_) => self.framework_turn(node)?,
        }
        self.plan(node);
        Ok(())
    }

    fn stored(&mut self, node: Node, life: u32) -> Verdict {
        if self.life(node) != (life, true) {
            return Ok(());
        }
        self.process(node).busy = false;
        if self.disk_fails(node) {
            return self.stops_at_its_disk(node);
        }
        match node {
            Node::Master(_) => self.master_stored(node)?,
            Node::Agent(_) => self.agent_stored(node)?,
            Node::Framework(_) => {}
        }
        self.plan(node);
        Ok(())
    }

    /// How long a sync takes now.
    pub fn sync_time(&mut self, node: Node) -> u64 {
        let hardware = self.process(node).hardware;
        let longer = hardware.delay(self.now, &mut self.dice);
        let (least, most) = self.options.sync;
        let slow = !self.calm && self.dice.chance(self.options.slow_sync_permille, 1000);
        let most = if slow { 1000 * MS } else { most };
        longer + least + self.dice.below(most - least + 1)
    }

    /// Nothing goes wrong any more, and whoever is down comes back.
    pub fn heal(&mut self) {
        self.calm = true;
        self.options.work_every = 0;
        self.network.heal();
        self.hardware_heals();
        self.instances_calm_down();
        for node in self.nodes() {
            let (life, up) = self.life(node);
            self.process(node).paused_until = 0;
            if up && matches!(node, Node::Framework(_)) {
                self.framework_hears_of(node, Word::Calm);
            }
            if !up && !self.stays_away(node) {
                let at = self.now + self.dice.below(200) * MS;
                self.queue.push(at, Event::Begin(node, life));
            }
            // A plan that waited for the end of a pause.
            self.process(node).turn = None;
            self.plan(node);
            if matches!(node, Node::Master(_)) {
                self.plan_member_anew(node);
            }
        }
        let keeps = self.options.operates_agents || self.options.drains;
        self.operator.lift_limits(&self.frameworks, keeps);
        self.queue.push(self.now, Event::Wish);
    }

    /// Whether a node does not come back.
    pub(crate) fn stays_away(&self, node: Node) -> bool {
        match node {
            Node::Agent(_) => self.agents[node.index()].left,
            Node::Framework(_) => self.frameworks[node.index()].part != Part::Plays,
            Node::Master(_) => self.masters[node.index()].shell.stays_away(),
        }
    }

    /// Notes what a node does, for whoever reads.
    pub fn tell(&mut self, node: Node, what: impl Fn(&World) -> String) {
        if self.transcript.is_none() && !self.trace.loud {
            return;
        }
        let name = self.name(node);
        let text = what(self);
        self.trace.line(self.now, || format!("{name} {text}"));
        if let Some(transcript) = &mut self.transcript {
            transcript.does(self.now, &name, &text);
        }
    }

    /// Notes what one says to another, for whoever reads.
    pub fn say(&mut self, from: Node, to: Node, what: impl Fn(&World) -> String) {
        if self.transcript.is_none() && !self.trace.loud {
            return;
        }
        let (from, name) = (self.name(from), self.name(to));
        let lost = if self.life(to).1 { String::new() } else { format!("   (lost: {name} is down)") };
        let text = what(self) + &lost;
        self.trace.line(self.now, || format!("{from} -> {name} {text}"));
        if let Some(transcript) = &mut self.transcript {
            transcript.says(self.now, &from, &name, &text);
        }
    }

    /// What a node is called in transcripts.
    pub fn name(&self, node: Node) -> String {
        match node {
            Node::Framework(_) => self.frameworks[node.index()].name.clone(),
            Node::Master(_) | Node::Agent(_) => node.to_string(),
        }
    }
}

/// A machine that must not say a thing has said it.
pub fn fault_of(node: Node, how: String) -> Verdict {
    Err(Broken { promise: "a machine's own books", how: format!("{node}: {how}") })
}
