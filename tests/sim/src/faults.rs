//! What goes wrong, and when.

use std::fmt;

use crate::check::Verdict;
use crate::disk::Harm;
use crate::members::Group;
use crate::node::Node;
use crate::options::{Faults, MS, SECOND};
use crate::world::{Event, World};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CrashMaster,
    CrashAgent,
    RebootAgent,
    CrashFramework,
    CutStream,
    Partition,
    IsolateMaster,
    Pause,
    Usurp,
    Outage,
    FullDisk,
    FailedSync,
    SlowDisk,
    SetClock,
    HarmDisk,
}

/// Something that goes wrong, with whom it hits and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process dies and comes back.
    Crash(Node),
    /// A machine loses its power.
    Reboot(Node),
    /// A stream breaks, of this client, and each end notices within so long.
    Cut(u64, Node, u64),
    /// One cannot reach the other for so long, and perhaps not the other way round either.
    Block(Node, Node, u64, bool),
    /// A master hears nobody, or nobody hears it, for so long.
    Isolate {
        /// Which.
        master: Node,
        /// It hears nobody.
        deaf: bool,
        /// Nobody hears it.
        mute: bool,
        /// For how long.
        lasts: u64,
    },
    /// A process is not run for so long.
    Sleep(Node, u64),
    /// A leader sleeps until another leads.
    Usurp,
    /// A process dies and is away for so long.
    Outage(Node, u64),
    /// Nothing more can be written to a disk for so long.
    FullDisk(Node, u64),
    /// The next sync of a disk fails.
    FailedSync(Node),
    /// Syncs of a disk take half a second and more for so long.
    SlowDisk(Node, u64),
    /// The clock of a machine is set by so many milliseconds.
    SetClock(Node, i64),
    /// A master dies, and this becomes of what it has stored for a group.
    HarmDisk(Node, Group, Harm),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        match *self {
            Fault::Crash(node) => write!(f, "{node} dies"),
            Fault::Reboot(node) => write!(f, "the machine of {node} loses its power"),
            Fault::Cut(_, client, _) => write!(f, "a stream of {client} breaks"),
            Fault::Block(from, to, lasts, both) => {
                let back = if both { ", nor the other way round," } else { "" };
                write!(f, "{from} cannot reach {to}{back} for {:.1}s", seconds(lasts))
            }
            Fault::Isolate { master, deaf, mute, lasts } => {
                let how = match (deaf, mute) {
                    (true, true) => "is cut off",
                    (true, false) => "hears nobody",
                    (false, _) => "is heard by nobody",
                };
                write!(f, "{master} {how} for {:.1}s", seconds(lasts))
            }
            Fault::Sleep(node, lasts) => write!(f, "{node} sleeps for {:.1}s", seconds(lasts)),
            Fault::Usurp => write!(f, "the leader sleeps until another leads"),
            Fault::Outage(node, lasts) => write!(f, "{node} dies, for {:.1}s", seconds(lasts)),
            Fault::FullDisk(node, lasts) => {
                write!(f, "the disk of {node} is full for {:.1}s", seconds(lasts))
            }
            Fault::FailedSync(node) => write!(f, "the next sync of {node} fails"),
            Fault::SlowDisk(node, lasts) => {
                write!(f, "the disk of {node} is slow for {:.1}s", seconds(lasts))
            }
            Fault::SetClock(node, by_ms) => write!(f, "the clock of {node} is set by {by_ms}ms"),
            Fault::HarmDisk(node, group, harm) => {
                let what = match harm {
                    Harm::Flipped => "a bit flips in",
                    Harm::Gone => "nothing is left of",
                };
                write!(f, "{node} dies, and {what} its log of {group}")
            }
        }
    }
}

/// A fault that came: in which wave, and how long after that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// The wave.
    pub wave: u64,
    /// How long after it began.
    pub after: u64,
    /// What.
    pub fault: Fault,
}

/// The faults of a run: those that came, and, where it is not the seed that decides, those that are to come.
#[derive(Debug, Default)]
pub struct Schedule {
    /// Which have come.
    pub came: Vec<Came>,
    given: Option<Vec<Came>>,
    /// The wave that is now, and when it began.
    wave: u64,
    since: u64,
}

impl Schedule {
    /// With these to come, or with whatever the seed draws.
    pub fn new(given: Option<Vec<Came>>) -> Self {
        Schedule { given, ..Schedule::default() }
    }
}

fn draws(faults: &Faults) -> [(Kind, u64); 15] {
    [
        (Kind::CrashMaster, faults.crash_master),
        (Kind::CrashAgent, faults.crash_agent),
        (Kind::RebootAgent, faults.reboot_agent),
        (Kind::CrashFramework, faults.crash_framework),
        (Kind::CutStream, faults.cut_stream),
        (Kind::Partition, faults.partition),
        (Kind::IsolateMaster, faults.isolate_master),
        (Kind::Pause, faults.pause),
        (Kind::Usurp, faults.usurp),
        (Kind::Outage, faults.outage),
        (Kind::FullDisk, faults.full_disk),
        (Kind::FailedSync, faults.failed_sync),
        (Kind::SlowDisk, faults.slow_disk),
        (Kind::SetClock, faults.set_clock),
        (Kind::HarmDisk, faults.harm_disk),
    ]
}

impl World {
    /// From now on faults are of this wave.
    pub(crate) fn faults_begin(&mut self, wave: u64) {
        (self.faults.wave, self.faults.since) = (wave, self.now);
        match &self.faults.given {
            None => self.plan_fault(),
            Some(given) => {
                for came in given.iter().filter(|came| came.wave == wave) {
                    self.queue.push(self.now + came.after, Event::Given(came.fault));
                }
            }
        }
    }

    fn plan_fault(&mut self) {
        if self.options.fault_every > 0 && !self.calm {
            let at = self.now + self.dice.below(2 * self.options.fault_every) + 1;
            self.queue.push(at, Event::Fault);
        }
    }

    pub(crate) fn fault(&mut self) -> Verdict {
        if self.calm {
            return Ok(());
        }
        let draws = draws(&self.options.faults);
        let all = draws.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.below(all);
        let drawn = draws.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        if let Some(fault) = drawn.and_then(|(kind, _)| self.draw(*kind)) {
            self.go_wrong(fault);
        }
        self.plan_fault();
        Ok(())
    }

    fn draw(&mut self, kind: Kind) -> Option<Fault> {
        Some(match kind {
            Kind::CrashMaster => Fault::Crash(self.some_master()),
            Kind::CrashAgent => Fault::Crash(self.some_agent()),
            Kind::RebootAgent => Fault::Reboot(self.some_agent()),
            Kind::CrashFramework => {
                Fault::Crash(Node::Framework(1 + self.dice.below(self.frameworks.len() as u64) as usize))
            }
            Kind::CutStream => {
                let streams = self.network.all();
                let id = self.dice.pick(&streams).copied()?;
                let client = self.network.stream(id)?.client;
                let most = if self.dice.chance(1, 4) { 20 * SECOND } else { 500 * MS };
                Fault::Cut(id, client, most)
            }
            Kind::Partition => {
                let (from, to) = (self.some_node(), self.some_node());
                let both = self.dice.chance(1, 2);
                Fault::Block(from, to, self.dice.below(15 * SECOND), both)
            }
            Kind::IsolateMaster => {
                let master = self.some_master();
                let (deaf, mute) = [(true, true), (true, false), (false, true)][self.dice.below(3) as usize];
                Fault::Isolate { master, deaf, mute, lasts: self.dice.below(10 * SECOND) }
            }
            Kind::Pause => {
                let node = self.some_node();
                if self.process(node).paused_until == u64::MAX {
                    return None;
                }
                let most = if self.dice.chance(1, 3) { 30 * SECOND } else { 2 * SECOND };
                Fault::Sleep(node, self.dice.below(most))
            }
            Kind::Usurp => Fault::Usurp,
            Kind::Outage => Fault::Outage(self.some_node(), 20 * SECOND + self.dice.below(120 * SECOND)),
            Kind::FullDisk => Fault::FullDisk(self.some_disk(), self.dice.below(20 * SECOND)),
            Kind::FailedSync => Fault::FailedSync(self.some_disk()),
            Kind::SlowDisk => Fault::SlowDisk(self.some_disk(), self.dice.below(20 * SECOND)),
            Kind::SetClock => Fault::SetClock(self.some_node(), self.some_step()),
            Kind::HarmDisk => {
                let node = self.some_master();
                let group = [Group::Registry, Group::Store][self.dice.below(2) as usize];
                let harm = [Harm::Flipped, Harm::Gone][self.dice.below(2) as usize];
                Fault::HarmDisk(node, group, harm)
            }
        })
    }

    /// Something goes wrong.
    pub(crate) fn go_wrong(&mut self, fault: Fault) {
        if self.calm {
            return;
        }
        let Schedule { wave, since, .. } = self.faults;
        self.faults.came.push(Came { wave, after: self.now - since, fault });
        self.trace.line(self.now, || format!("fault: {fault}"));
        match fault {
            Fault::Crash(node) => {
                self.mark(match node {
                    Node::Master(_) => "a master died",
                    Node::Agent(_) => "an agent died",
                    Node::Framework(_) => "a framework died",
                });
                self.crash(node);
            }
            Fault::Reboot(node) => {
                if !self.agents[node.index()].left {
                    self.agent_reboots(node);
                    let life = self.life(node).0;
                    let at = self.now + self.dice.below(10 * SECOND);
                    self.queue.push(at, Event::Begin(node, life));
                }
            }
            Fault::Cut(id, client, most) => {
                let of = |id: &u64| self.network.stream(*id).is_some_and(|stream| stream.client == client);
                if let Some(id) = Some(id).filter(of).or_else(|| self.network.streams_of(client).pop()) {
                    self.mark("a stream broke");
                    self.cut(id, most);
                }
            }
            Fault::Block(from, to, lasts, both) => {
                self.mark("two nodes could not speak");
                let until = self.now + lasts;
                self.block(from, to, until);
                if both {
                    self.block(to, from, until);
                }
            }
            Fault::Isolate { master, deaf, mute, lasts } => {
                self.mark("a master was cut off");
                let until = self.now + lasts;
                for node in self.nodes() {
                    if deaf {
                        self.block(node, master, until);
                    }
                    if mute {
                        self.block(master, node, until);
                    }
                }
            }
            Fault::Usurp => self.usurp(),
            Fault::Outage(node, lasts) => {
                self.mark("a process was away for long");
                self.crash_for(node, lasts);
            }
            Fault::FullDisk(node, lasts) => self.disk_fills(node, lasts),
            Fault::FailedSync(node) => self.process(node).hardware.fails_sync = true,
            Fault::SlowDisk(node, lasts) => {
                self.mark("a disk was slow");
                self.process(node).hardware.slow_until = self.now + lasts;
            }
            Fault::SetClock(node, by_ms) => self.set_clock(node, by_ms),
            Fault::HarmDisk(node, group, harm) => self.harm_disk(node, group, harm),
            Fault::Sleep(node, lasts) => {
                if self.process(node).paused_until != u64::MAX {
                    self.mark("a process slept");
                    self.process(node).paused_until = self.now + lasts;
                }
            }
        }
    }

    /// First a leader falls asleep; once another leads, agents lose that one, and may come to the sleeper's door.
    fn usurp(&mut self) {
        let awake = |world: &World, node: Node| world.masters[node.index()].process.paused_until <= world.now;
        let (awake, asleep): (Vec<Node>, Vec<Node>) =
            self.leaders().into_iter().partition(|node| awake(self, *node));
        let Some(leader) = awake.first().copied() else { return };
        if asleep.is_empty() {
            self.mark("a leader slept");
            let until = self.now + 3 * SECOND + self.dice.below(5 * SECOND);
            self.process(leader).paused_until = until;
            return;
        }
        self.mark("agents lost a leader while an earlier one slept");
        for id in self.network.streams_of(leader) {
            self.cut(id, 200 * MS);
        }
    }

    /// A master that may be met.
    pub(crate) fn some_master(&mut self) -> Node {
        let there = |node: &Node| !self.stays_away(*node);
        let masters: Vec<Node> = (1..=self.masters.len()).map(Node::Master).filter(there).collect();
        match masters.is_empty() {
            true => Node::Master(1),
            false => masters[self.dice.below(masters.len() as u64) as usize],
        }
    }

    fn some_agent(&mut self) -> Node {
        Node::Agent(1 + self.dice.below(self.agents.len() as u64) as usize)
    }

    /// The disk of a master, as often as that of an agent.
    fn some_disk(&mut self) -> Node {
        if self.dice.chance(1, 2) { self.some_master() } else { self.some_agent() }
    }

    fn some_node(&mut self) -> Node {
        let nodes = self.nodes();
        nodes[self.dice.below(nodes.len() as u64) as usize]
    }

    fn block(&mut self, from: Node, to: Node, until: u64) {
        if from != to {
            self.network.block(from, to);
            self.queue.push(until, Event::Unblock(from, to));
        }
    }

    /// A process dies and comes back later.
    pub fn crash(&mut self, node: Node) {
        if self.crashes(node) {
            let most = if self.dice.chance(1, 3) { 20 * SECOND } else { 2 * SECOND };
            let lasts = self.dice.below(most);
            self.begins_within(node, lasts);
        }
    }

    fn crash_for(&mut self, node: Node, lasts: u64) {
        if self.crashes(node) {
            self.begins_within(node, lasts);
        }
    }

    fn begins_within(&mut self, node: Node, lasts: u64) {
        let life = self.life(node).0;
        self.queue.push(self.now + lasts, Event::Begin(node, life));
    }

    /// One that waits for its successor neither dies nor begins anew meanwhile.
    fn crashes(&mut self, node: Node) -> bool {
        let dies = self.life(node).1 && self.process(node).paused_until != u64::MAX;
        if dies {
            self.die(node);
        }
        dies
    }
}
