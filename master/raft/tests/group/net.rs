//! `Net`: the world, in microseconds that pass only when told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use master_raft::{Config, Image, Input, MemberChange, NodeId, Output, Persist, Raft};
use proto_machine::{Dice, Instant, Machine, Now, Outbox, WallTime};

use crate::disk::Disk;
use crate::witness::{Applied, Witness};

pub const MS: u64 = 1_000;
pub const SECOND: u64 = 1_000_000;

/// How bad the network is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Of a thousand messages, so many are lost.
    pub loss: u64,
    /// Of a thousand messages, so many come twice.
    pub double: u64,
    /// At most so many microseconds on the way, on top of 100.
    pub delay: u64,
    /// At most so many microseconds for a sync, on top of 100.
    pub sync: u64,
}

pub struct Net {
    pub now: u64,
    pub dice: Dice,
    pub nodes: BTreeMap<NodeId, Node>,
    pub witness: Witness,
    pub weather: Weather,
    /// Disks whose syncs take so many microseconds more.
    pub slow: BTreeMap<NodeId, u64>,
    /// Links that are down, in one direction.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Changes messages on their way.
    pub mangle: Option<fn(&mut Dice, Bytes) -> Bytes>,
    /// Of snapshots on their way, how many are still to be lost.
    pub lose_snapshots: u64,
    pub snapshots_sent: u64,
    pub sends: u64,
    trace: Option<std::hash::DefaultHasher>,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    snapshot_after: u64,
}

pub struct Node {
    pub config: Config,
    pub machine: Option<Raft>,
    pub applied: Applied,
    pub disk: Disk,
    /// Which life of the member it is; events of earlier lives mean nothing.
    pub life: u64,
    inbox: Vec<Input>,
    running: bool,
    outputs: VecDeque<Output>,
    writing: Vec<Persist>,
    wakes: BTreeSet<u64>,
}

enum Event {
    Arrive { to: NodeId, input: Input },
    Run { id: NodeId, life: u64 },
    Wake { id: NodeId, life: u64 },
    Synced { id: NodeId, life: u64 },
}

impl Net {
    pub fn new(seed: u64, voters: u64, snapshot_after: u64) -> Self {
        let mut net = Net {
            now: 0,
            dice: Dice::new(seed),
            nodes: BTreeMap::new(),
            witness: Witness::default(),
            weather: Weather { delay: 400, sync: 400, ..Weather::default() },
            slow: BTreeMap::new(),
            cut: BTreeSet::new(),
            mangle: None,
            lose_snapshots: 0,
            snapshots_sent: 0,
            sends: 0,
            trace: None,
            events: BTreeMap::new(),
            count: 0,
            snapshot_after,
        };
        let ids: Vec<_> = (1..=voters).map(NodeId).collect();
        for id in &ids {
            net.add(*id, &ids);
        }
        net
    }

    pub fn traced(mut self) -> Self {
        self.trace = Some(std::hash::DefaultHasher::new());
        self
    }

    pub fn trace(&self) -> u64 {
        self.trace.as_ref().map_or(0, |trace| trace.clone().finish())
    }

    /// A new member, with an empty disk.
    pub fn add(&mut self, id: NodeId, voters: &[NodeId]) {
        let mut config = Config::new(id, voters, 0);
        config.snapshot_after_bytes = self.snapshot_after;
        let disk = Disk::new(self.dice.chance(1, 3));
        let node = Node {
            config,
            machine: None,
            applied: Applied::default(),
            disk,
            life: 0,
            inbox: Vec::new(),
            running: false,
            outputs: VecDeque::new(),
            writing: Vec::new(),
            wakes: BTreeSet::new(),
        };
        self.nodes.insert(id, node);
        self.start(id);
    }

    pub fn start(&mut self, id: NodeId) {
        let seed = self.dice.next_u64();
        let node = self.nodes.get_mut(&id).expect("a member");
        assert!(node.machine.is_none());
        node.config.seed = seed;
        node.applied = Applied::default();
        let machine = Raft::recover(node.config.clone(), node.disk.recover());
        node.machine = Some(machine.expect("what was stored is fit to start from"));
        self.run(id);
    }

    /// What was not performed has not happened; a sync under way may have come through or not.
    pub fn crash(&mut self, id: NodeId) {
        let through = self.dice.chance(1, 2);
        let node = self.nodes.get_mut(&id).expect("a member");
        let writing = std::mem::take(&mut node.writing);
        if through {
            writing.iter().for_each(|persist| node.disk.store(persist));
        }
        node.machine = None;
        node.life += 1;
        node.inbox.clear();
        node.running = false;
        node.outputs.clear();
        node.wakes.clear();
        self.witness.forget(id);
    }

    pub fn alive(&self) -> BTreeSet<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.machine.is_some()).map(|(id, _)| *id).collect()
    }

    pub fn machine(&self, id: NodeId) -> &Raft {
        self.nodes[&id].machine.as_ref().expect("it is alive")
    }

    // === what a caller does ===

    pub fn propose(&mut self, id: NodeId, data: impl Into<Bytes>) -> u64 {
        let tag = self.tag();
        let data = data.into();
        self.witness.open.entry(id).or_default().insert(tag, data.clone());
        self.input(id, Input::Propose { tag, data });
        tag
    }

    pub fn change(&mut self, id: NodeId, change: MemberChange) -> u64 {
        let tag = self.tag();
        self.witness.open.entry(id).or_default().insert(tag, Bytes::new());
        self.input(id, Input::ChangeMembers { tag, change });
        tag
    }

    pub fn read(&mut self, id: NodeId) -> u64 {
        let tag = self.tag();
        let floor = self.witness.last();
        self.witness.reads.entry(id).or_default().insert(tag, floor);
        self.input(id, Input::ReadIndex { tag });
        tag
    }

    pub fn input(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.machine.is_some()) else { return };
        node.inbox.push(input);
        if !node.running {
            node.running = true;
            let life = node.life;
            self.after(30, Event::Run { id, life });
        }
    }

    pub fn isolate(&mut self, id: NodeId) {
        for other in self.nodes.keys().filter(|other| **other != id) {
            self.cut.insert((id, *other));
            self.cut.insert((*other, id));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    // === time ===

    pub fn run_for(&mut self, micros: u64) {
        let until = self.now + micros;
        while self.step_until(until) {}
        self.now = until;
    }

    /// Runs until it is so, at most for so long; returns whether it came to be so.
    pub fn run_until(&mut self, micros: u64, mut so: impl FnMut(&Net) -> bool) -> bool {
        let until = self.now + micros;
        loop {
            if so(self) {
                return true;
            }
            if !self.step_until(until) {
                self.now = until;
                return so(self);
            }
        }
    }

    /// Runs until somebody leads.
    pub fn elect(&mut self) -> NodeId {
        assert!(self.run_until(10 * SECOND, |net| net.witness.leader().is_some()), "nobody leads");
        self.witness.leader().expect("just seen")
    }

    /// Runs until all these members have applied all that is committed, and everything has ended.
    pub fn converge(&mut self, members: &[NodeId]) {
        let done = self.run_until(20 * SECOND, |net| {
            let last = net.witness.last();
            let ended = |id: &NodeId| net.witness.open.get(id).is_none_or(BTreeMap::is_empty);
            members.iter().all(|id| net.nodes[id].applied.index >= last && ended(id))
        });
        let state: Vec<_> = members.iter().map(|id| (id, self.nodes[id].applied.index)).collect();
        assert!(done, "no agreement: {state:?}, ledger {}", self.witness.last());
    }

    fn step_until(&mut self, until: u64) -> bool {
        let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) else {
            return false;
        };
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        match event {
            Event::Arrive { to, input } => self.input(to, input),
            Event::Run { id, life } if self.nodes[&id].life == life => self.run(id),
            Event::Wake { id, life } if self.nodes[&id].life == life => self.wake(id, at),
            Event::Synced { id, life } if self.nodes[&id].life == life => self.synced(id),
            Event::Run { .. } | Event::Wake { .. } | Event::Synced { .. } => {}
        }
        true
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + micros, self.count), event);
    }

    fn tag(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    // === one member ===

    fn now(&self) -> Now {
        Now {
            monotonic: Instant::from_nanos(self.now * 1_000),
            wall: WallTime::from_millis(self.now / 1_000),
        }
    }

    fn run(&mut self, id: NodeId) {
        self.drive(id, false);
    }

    fn wake(&mut self, id: NodeId, at: u64) {
        self.nodes.get_mut(&id).expect("a member").wakes.remove(&at);
        self.drive(id, true);
    }

    fn drive(&mut self, id: NodeId, wake: bool) {
        let now = self.now();
        let mut out = Outbox::new();
        let node = self.nodes.get_mut(&id).expect("a member");
        let Some(machine) = &mut node.machine else { return };
        node.running = false;
        for input in node.inbox.drain(..) {
            machine.step(now, input, &mut out);
        }
        if wake {
            machine.wake(now, &mut out);
        }
        machine.settle(now, &mut out);
        let wake_at = machine.wake_at().map(|at| (at.as_nanos() / 1_000).max(self.now + 1));
        if let Some(trace) = &mut self.trace {
            for output in out.iter() {
                (self.now, id, format!("{output:?}")).hash(trace);
            }
        }
        node.outputs.extend(out.take());
        let life = node.life;
        if let Some(at) = wake_at.filter(|at| node.wakes.insert(*at)) {
            self.after(at - self.now, Event::Wake { id, life });
        }
        self.perform(id);
    }

    fn perform(&mut self, id: NodeId) {
        while let Some(output) = self.next_output(id) {
            let node = self.nodes.get_mut(&id).expect("a member");
            self.witness.see(id, &mut node.applied, &output);
            match output {
                Output::Persist(persist) => {
                    node.writing.push(persist);
                    // A driver may take the later persists into the same sync.
                    if self.dice.chance(1, 2) {
                        for output in std::mem::take(&mut node.outputs) {
                            match output {
                                Output::Persist(persist) => node.writing.push(persist),
                                output => node.outputs.push_back(output),
                            }
                        }
                    }
                    let life = node.life;
                    let slow = self.slow.get(&id).copied().unwrap_or_default();
                    let sync = 100 + self.dice.below(self.weather.sync + 1) + slow;
                    self.after(sync, Event::Synced { id, life });
                }
                Output::Send { to, bytes } => {
                    self.send(id, to, bytes, None);
                }
                Output::SendSnapshot { to, bytes, index } => self.send_snapshot(id, to, bytes, index),
                Output::SnapshotWanted { index } => {
                    // It is encoded and written beside the work.
                    let input = Input::SnapshotTaken { index, image: node.applied.image() };
                    let delay = self.dice.below(20 * MS);
                    self.after(delay, Event::Arrive { to: id, input });
                }
                Output::Commit { .. }
                | Output::InstallSnapshot { .. }
                | Output::Role(_)
                | Output::Dropped { .. }
                | Output::ReadReady { .. }
                | Output::ReadDropped { .. }
                | Output::Members { .. }
                | Output::MembersChanged { .. }
                | Output::Refused { .. } => {}
            }
        }
    }

    fn next_output(&mut self, id: NodeId) -> Option<Output> {
        let node = self.nodes.get_mut(&id)?;
        if node.writing.is_empty() { node.outputs.pop_front() } else { None }
    }

    fn synced(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a member");
        for persist in std::mem::take(&mut node.writing) {
            node.disk.store(&persist);
            node.inbox.push(Input::Stored { sequence: persist.sequence });
        }
        self.perform(id);
    }

    fn send(&mut self, from: NodeId, to: NodeId, bytes: Bytes, image: Option<Image>) -> bool {
        self.sends += 1;
        let lost = self.cut.contains(&(from, to)) || self.dice.chance(self.weather.loss, 1000);
        if lost || !self.nodes.contains_key(&to) {
            return false;
        }
        let copies = 1 + u64::from(self.dice.chance(self.weather.double, 1000));
        for _ in 0..copies {
            let mut bytes = bytes.clone();
            if let Some(mangle) = self.mangle {
                bytes = mangle(&mut self.dice, bytes);
            }
            let delay = 100 + self.dice.below(self.weather.delay + 1);
            let input = match image.clone() {
                Some(image) => Input::PeerSnapshot { from, bytes, image },
                None => Input::Peer { from, bytes },
            };
            self.after(delay, Event::Arrive { to, input });
        }
        true
    }

    fn send_snapshot(&mut self, from: NodeId, to: NodeId, bytes: Bytes, index: u64) {
        let snapshot = self.nodes[&from].disk.snapshot.clone().expect("it was stored before");
        assert!(snapshot.index >= index, "it is stored before it is sent");
        self.snapshots_sent += 1;
        let lost = self.lose_snapshots > 0 || snapshot.index > index;
        self.lose_snapshots = self.lose_snapshots.saturating_sub(1);
        let delivered = !lost && self.send(from, to, bytes, Some(snapshot.image));
        let delay = 500 + self.dice.below(self.weather.delay + 1);
        let input = Input::SnapshotReport { peer: to, delivered };
        self.after(delay, Event::Arrive { to: from, input });
    }
}
