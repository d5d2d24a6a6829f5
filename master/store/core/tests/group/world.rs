//! `World`: three members, their disks and the network between them, on a clock that is turned by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use master_raft::NodeId;
use master_store_core::{Config, Input, Member, Note, Output, Saved, Ticket, WatchId};
use proto::caller::Caller;
use proto::id::MasterId;
use proto::roster::Roster;
use proto::store::{Bytes, Call, CallKind, Event, Put, Range, Reply, ReplyKind, Watch, WatchReply};
use proto_machine::{Dice, Instant, Machine, Now, Outbox, WallTime};

use crate::disk::Disk;

pub const MEMBERS: [u64; 3] = [1, 2, 3];

/// How long a message travels, and how finely the clock is turned.
const TURN: Duration = Duration::from_millis(5);

/// Three members and all that is between them.
pub struct World {
    pub now: Instant,
    pub dice: Dice,
    members: BTreeMap<u64, Member>,
    disks: BTreeMap<u64, Disk>,
    mailboxes: BTreeMap<u64, VecDeque<Input>>,
    /// On their way: they arrive with the next turn.
    travelling: Vec<(u64, u64, Input)>,
    /// Cut off from the others.
    pub alone: BTreeSet<u64>,
    /// One message in so many is lost; 0 for none.
    pub loses: u64,
    next: u64,
    pub replies: BTreeMap<Ticket, Reply>,
    pub told: BTreeMap<WatchId, Vec<WatchReply>>,
    pub closed: BTreeSet<WatchId>,
    pub saved: Vec<Option<Saved>>,
    pub denied: usize,
    pub installed: usize,
    members_change: bool,
    snapshot_after_bytes: u64,
}

pub fn jobs() -> Caller {
    Caller::Framework("jobs".to_owned())
}

pub fn call(kind: CallKind) -> Call {
    Call { space: String::new(), epoch: None, kind }
}

pub fn put(key: &str, value: impl Into<Bytes>) -> CallKind {
    CallKind::Put(Put { key: key.to_owned().into(), value: value.into(), ..Put::default() })
}

pub fn get(key: &str) -> CallKind {
    CallKind::Range(Range { key: key.to_owned().into(), ..Range::default() })
}

/// What a reply of a range holds of its one key.
pub fn value(reply: &Reply) -> Option<Bytes> {
    match &reply.kind {
        ReplyKind::Range(range) => range.kvs.first().map(|kv| kv.value.clone()),
        kind => panic!("not a range: {kind:?}"),
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with_snapshots(seed, master_raft::Config::SNAPSHOT_AFTER_BYTES)
    }

    pub fn with_snapshots(seed: u64, snapshot_after_bytes: u64) -> World {
        let mut world = World {
            now: Instant::default(),
            dice: Dice::new(seed),
            members: BTreeMap::new(),
            disks: MEMBERS.map(|id| (id, Disk::default())).into(),
            mailboxes: MEMBERS.map(|id| (id, VecDeque::new())).into(),
            travelling: Vec::new(),
            alone: BTreeSet::new(),
            loses: 0,
            next: 0,
            replies: BTreeMap::new(),
            told: BTreeMap::new(),
            closed: BTreeSet::new(),
            saved: Vec::new(),
            denied: 0,
            installed: 0,
            members_change: false,
            snapshot_after_bytes,
        };
        MEMBERS.into_iter().for_each(|id| world.begin(id));
        world
    }

    pub fn begin(&mut self, id: u64) {
        let addresses = MEMBERS.map(|id| (MasterId(id), format!("master-{id}:5050"))).into();
        let mut config = Config::new(MasterId(id), addresses, self.dice.next_u64());
        config.snapshot_after_bytes = self.snapshot_after_bytes;
        config.founds = MEMBERS.contains(&id);
        let member = Member::recover(config, self.disks[&id].recover()).expect("its own disk fits");
        self.members.insert(id, member);
        self.step(id);
    }

    /// A member that comes into the group with nothing.
    pub fn join(&mut self, id: u64) {
        self.members_change = true;
        self.disks.insert(id, Disk::default());
        self.mailboxes.insert(id, VecDeque::new());
        self.begin(id);
    }

    /// The registry in a member's process has this list.
    pub fn tell_roster(&mut self, at: u64, roster: Roster) {
        self.mailboxes.entry(at).or_default().push_back(Input::Roster(Arc::new(roster)));
    }

    pub fn kill(&mut self, id: u64) {
        self.members.remove(&id);
        self.mailboxes.insert(id, VecDeque::new());
    }

    pub fn member(&self, id: u64) -> &Member {
        &self.members[&id]
    }

    pub fn leader(&self) -> Option<u64> {
        let leads = |(_, member): &(&u64, &Member)| member.leads();
        let newest = |(_, member): &(&u64, &Member)| member.raft_status().last_index;
        self.members.iter().filter(leads).max_by_key(newest).map(|(id, _)| *id)
    }

    /// Turns the clock until something is so; what it waited for if it never is.
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&World) -> bool) {
        for _ in 0..20_000 {
            if so(self) {
                return;
            }
            self.turn();
        }
        panic!("{what} never came");
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.turn();
        }
    }

    pub fn elect(&mut self) -> u64 {
        self.until("a leader among those who can hear each other", |world| {
            world.leader().is_some_and(|id| !world.alone.contains(&id))
        });
        self.leader().unwrap()
    }

    pub fn turn(&mut self) {
        self.now = self.now + TURN;
        for (from, to, input) in std::mem::take(&mut self.travelling) {
            let apart = self.alone.contains(&from) || self.alone.contains(&to);
            let lost = self.loses > 0 && self.dice.chance(1, self.loses);
            if !apart && !lost && self.members.contains_key(&to) {
                self.mailboxes.entry(to).or_default().push_back(Input::Raft(raft(input)));
            }
        }
        let ids: Vec<u64> = self.members.keys().copied().collect();
        ids.into_iter().for_each(|id| self.step(id));
    }

    fn step(&mut self, id: u64) {
        let now = Now { monotonic: self.now, wall: WallTime::default() };
        let Some(member) = self.members.get_mut(&id) else { return };
        let mut out = Outbox::new();
        for input in self.mailboxes.entry(id).or_default().drain(..) {
            member.step(now, input, &mut out);
        }
        if member.wake_at().is_some_and(|at| at <= now.monotonic) {
            member.wake(now, &mut out);
        }
        member.settle(now, &mut out);
        for output in out.take() {
            self.perform(id, output);
        }
    }

    fn perform(&mut self, id: u64, output: Output) {
        match output {
            Output::Persist(persist) => {
                let disk = self.disks.get_mut(&id).unwrap();
                disk.store(&persist);
                let stored = master_raft::Input::Stored { sequence: persist.sequence };
                self.mailboxes.entry(id).or_default().push_back(Input::Raft(stored));
            }
            Output::ToPeer { to, bytes } => {
                let input = master_raft::Input::Peer { from: NodeId(id), bytes };
                self.travelling.push((id, to.0, Input::Raft(input)));
            }
            Output::SnapshotToPeer { to, bytes, index } => {
                let image = self.disks[&id].image(index).filter(|_| {
                    !self.alone.contains(&id)
                        && !self.alone.contains(&to.0)
                        && self.members.contains_key(&to.0)
                });
                let report = master_raft::Input::SnapshotReport { peer: to, delivered: image.is_some() };
                self.mailboxes.entry(id).or_default().push_back(Input::Raft(report));
                if let Some(image) = image {
                    self.installed += 1;
                    let input = master_raft::Input::PeerSnapshot { from: NodeId(id), bytes, image };
                    self.mailboxes.entry(to.0).or_default().push_back(Input::Raft(input));
                }
            }
            Output::Reply { ticket, reply } => {
                let twice = self.replies.insert(ticket, reply);
                assert!(twice.is_none(), "{ticket:?} was answered twice");
            }
            Output::ToWatch { watch, reply } => self.told.entry(watch).or_default().push(reply),
            Output::CloseWatch { watch } => drop(self.closed.insert(watch)),
            Output::Note(Note::Unreadable { index, why }) => panic!("entry {index}: {why}"),
            Output::Note(Note::Denied { .. }) => self.denied += 1,
            // Whoever has left may not know it yet.
            Output::Note(Note::Peer { why, .. }) if self.members_change && why == "Stranger" => {}
            Output::Note(Note::Peer { from, why }) => panic!("{id} refused a message of {from}: {why}"),
            Output::Part { .. } | Output::Applied(_) | Output::Stands(_) | Output::Members(_) => {}
            Output::Saved { saved, .. } => self.saved.push(saved),
        }
    }

    /// Wants all there is, and waits for it.
    pub fn save(&mut self, at: u64) -> Option<Saved> {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.mailboxes.entry(at).or_default().push_back(Input::Save { ticket });
        self.until("it is saved or not", |world| !world.saved.is_empty());
        self.saved.pop().flatten()
    }

    /// Asks and does not wait.
    pub fn ask(&mut self, at: u64, caller: Caller, call: Call) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.mailboxes.entry(at).or_default().push_back(Input::Ask { ticket, caller, call });
        ticket
    }

    /// Asks, and waits for the answer.
    pub fn asks(&mut self, at: u64, kind: CallKind) -> Reply {
        let ticket = self.ask(at, jobs(), call(kind));
        self.answered(ticket)
    }

    pub fn answered(&mut self, ticket: Ticket) -> Reply {
        self.until("an answer", |world| world.replies.contains_key(&ticket));
        self.replies[&ticket].clone()
    }

    pub fn watch(&mut self, at: u64, ask: Watch) -> WatchId {
        self.next += 1;
        let watch = WatchId(self.next);
        self.mailboxes.entry(at).or_default().push_back(Input::Watch { watch, caller: jobs(), ask });
        watch
    }

    /// Everything a watch was told.
    pub fn events(&self, watch: WatchId) -> Vec<Event> {
        self.told.get(&watch).into_iter().flatten().flat_map(|reply| reply.events.clone()).collect()
    }
}

fn raft(input: Input) -> master_raft::Input {
    match input {
        Input::Raft(input) => input,
        other => panic!("members send each other nothing else: {other:?}"),
    }
}
