//! `Raft`: the machine, and what it does with each input.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Dice, Instant, Machine, Now, Outbox};
use raft::{RawNode, SnapshotStatus, StateRole};

use crate::admit::{Verdict, admit};
use crate::config::SNAPSHOT_LIMIT_TICKS;
use crate::memory::{MemoryLog, Place};
use crate::pace::{Pace, Stage};
use crate::reads::Reads;
use crate::slow::Syncs;
use crate::{
    Aim, ConfState, Config, HardState, Image, Input, MemberChange, NodeId, Output, Persist, Refusal, Role,
    Room, codec,
};

/// One member of a group, as a machine. See the crate's page for the promises its outputs make.
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) node: RawNode<MemoryLog>,
    pub(crate) pace: Pace,
    pub(crate) reads: Reads,
    /// Gathered since the last settle.
    pub(crate) proposals: Vec<(u64, Bytes)>,
    pub(crate) changes: Vec<(u64, MemberChange)>,
    pub(crate) taken: Option<(u64, Image)>,
    /// Images that came with snapshot messages since the last settle.
    pub(crate) images: Vec<(Place, Image)>,
    /// Proposals in the log, by rising index, all of one term.
    pub(crate) pending: VecDeque<Pending>,
    /// The change of members in the log.
    pub(crate) changing: Option<Change>,
    /// The change of members that is applied here and not yet known to a majority.
    pub(crate) settling: Option<Settling>,
    /// The members that are wanted, if anybody said so; and the tick from which the next step to them is taken.
    pub(crate) aim: Option<Aim>,
    pub(crate) steer_at: u64,
    /// How much room there is on the disk, and the tick from which a leader without hands over.
    pub(crate) room: Room,
    pub(crate) make_way_at: u64,
    /// How long its own syncs take while it leads.
    pub(crate) syncs: Syncs,
    /// The members at the newest snapshot and at each later change that was handed out, by rising index.
    pub(crate) members: Vec<(u64, ConfState)>,
    /// Snapshots on their way, with the tick at which they are given up.
    pub(crate) sending: BTreeMap<NodeId, u64>,
    /// The state machine to begin with; goes out first.
    pub(crate) birth: Option<Birth>,
    /// The last entry handed out.
    pub(crate) handed: u64,
    /// What the entries handed out since the newest snapshot cost, and at what cost a snapshot is wanted.
    pub(crate) cost: u64,
    pub(crate) want_at: u64,
    /// The last entry handed out when a snapshot was last wanted, and the tick.
    pub(crate) asked: (u64, u64),
    /// How large the newest snapshot is.
    pub(crate) image_bytes: u64,
    /// The term whose first entry has been handed out.
    pub(crate) opened: Option<u64>,
    pub(crate) announced: Option<Role>,
    /// Since the last settle there is somebody else to ask for reads.
    pub(crate) new_answerer: bool,
    /// The hard state of the last `Persist`.
    pub(crate) written: HardState,
    pub(crate) sequence: u64,
    pub(crate) stored: u64,
}

/// A proposal or change of members in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub place: Place,
    pub tag: u64,
}

/// A change of members in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub place: Place,
    /// Of whoever asked for it.
    pub tag: Option<u64>,
    /// Whether this member will be no voter behind it.
    pub leaves: bool,
}

/// A change of members that is complete here, on the leader of `term`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settling {
    pub index: u64,
    pub term: u64,
    pub tag: Option<u64>,
}

/// What a machine says before anything else.
pub(crate) struct Birth {
    pub persist: Option<Persist>,
    pub install: Option<Output>,
}

/// A view for metrics and operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The part it plays.
    pub role: Role,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry it knows to be committed.
    pub commit: u64,
    /// The newest snapshot's last entry.
    pub snapshot_index: u64,
    /// The first entry still in memory.
    pub first_index: u64,
    /// Persists asked for and not yet told to be stored.
    pub unstored: u64,
    /// The members.
    pub conf_state: ConfState,
    /// On a leader: how far each member is, by id.
    pub progress: Vec<Progress>,
}

/// How far a member is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The member.
    pub id: NodeId,
    /// The last entry it is known to have.
    pub matched: u64,
    /// Whether it was heard from lately.
    pub active: bool,
    /// Whether it is being sent a snapshot.
    pub snapshot: bool,
}

impl Machine for Raft {
    type Input = Input;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Propose { tag, data } => self.proposals.push((tag, data)),
            // What it says may have to be stored.
            Input::Peer { .. } | Input::PeerSnapshot { .. } if self.room == Room::None => {}
            Input::Peer { from, bytes } => self.receive(from, bytes, None, out),
            Input::PeerSnapshot { from, bytes, image } => self.receive(from, bytes, Some(image), out),
            Input::Stored { sequence } => {
                self.stored = self.stored.max(sequence);
                self.syncs.end(now, sequence);
            }
            Input::SnapshotTaken { index, image } => self.taken = Some((index, image)),
            Input::ChangeMembers { tag, change } => self.changes.push((tag, change)),
            Input::Aim(aim) => self.aim = Some(aim),
            Input::Room(room) => self.room = room,
            Input::TransferLeader { to } => {
                // A follower would forward it, and the leader's own shell could not tell who asked.
                if self.leads() {
                    self.node.transfer_leader(to.0);
                    self.pin(false);
                }
            }
            Input::ReadIndex { tag } => self.reads.add(tag, self.pace.ticks()),
            Input::Unreachable { peer } => self.node.report_unreachable(peer.0),
            Input::SnapshotReport { peer, delivered } => self.end_sending(peer, delivered),
        }
    }

    fn wake(&mut self, now: Now, out: &mut Outbox<Output>) {
        for _ in 0..self.pace.due(now) {
            self.node.tick();
            // The library counts from zero again when it campaigns, also where the stage stays the same.
            let raft = &self.node.raft;
            let campaigned = raft.state != StateRole::Leader && raft.election_elapsed == 0;
            self.pin(campaigned);
        }
        let tick = self.pace.ticks();
        if !self.reads.is_empty() {
            out.extend(self.reads.overdue(tick).into_iter().map(|tag| Output::ReadDropped { tag }));
            self.ask_again(false);
        }
        while let Some(peer) = self.sending.iter().find(|(_, limit)| **limit <= tick).map(|(peer, _)| *peer) {
            self.end_sending(peer, false);
        }
    }

    fn settle(&mut self, now: Now, out: &mut Outbox<Output>) {
        self.pace.start(now);
        self.settle_all(out);
        self.time_sync(now);
    }

    fn wake_at(&self) -> Option<Instant> {
        Some(self.pace.wake_at())
    }
}

impl Raft {
    /// Whether it leads and is ready to take proposals.
    pub fn is_leader(&self) -> bool {
        matches!(self.role(), Role::Leader { .. })
    }

    /// Whether it leads and would take a proposal: it does not while the lead is being handed over.
    pub fn takes_proposals(&self) -> bool {
        self.unready().is_none()
    }

    /// The members, as far as their changes were handed out.
    pub fn members(&self) -> &ConfState {
        self.conf_state()
    }

    /// The part it plays.
    pub fn role(&self) -> Role {
        let term = self.node.raft.term;
        match self.node.raft.state {
            StateRole::Leader if self.opened == Some(term) || mutants::is(Mutant::LeadTooSoon) => {
                Role::Leader { term }
            }
            StateRole::Leader | StateRole::Candidate | StateRole::PreCandidate => Role::Candidate { term },
            StateRole::Follower => Role::Follower { leader: self.leader(), term },
        }
    }

    /// The last entry handed out.
    pub fn handed_out(&self) -> u64 {
        self.handed
    }

    /// A view for metrics and operators; walks the members.
    pub fn status(&self) -> Status {
        let raft = &self.node.raft;
        let mut progress = Vec::new();
        if raft.state == StateRole::Leader {
            progress.extend(raft.prs().iter().map(|(id, progress)| Progress {
                id: NodeId(*id),
                matched: progress.matched,
                active: progress.recent_active || *id == raft.id,
                snapshot: progress.state == raft::ProgressState::Snapshot,
            }));
            progress.sort_unstable_by_key(|each| each.id);
        }
        Status {
            role: self.role(),
            last_index: raft.raft_log.last_index(),
            commit: raft.raft_log.committed,
            snapshot_index: self.node.store().snapshot_index(),
            first_index: self.node.store().first(),
            unstored: self.sequence - self.stored.min(self.sequence),
            conf_state: self.members.last().map(|(_, conf)| conf.clone()).unwrap_or_default(),
            progress,
        }
    }

    /// Whether the library leads, ready or not.
    pub(crate) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leader = self.node.raft.leader_id;
        (leader != raft::INVALID_ID).then_some(NodeId(leader))
    }

    pub(crate) fn new_parts(config: &Config) -> (Pace, Reads) {
        let mut dice = Dice::new(config.seed ^ config.id.0.rotate_left(32));
        let reads = Reads::new(config.id, dice.next_u64());
        (Pace::new(dice), reads)
    }

    /// To be called after every call that lets the library change its stage.
    pub(crate) fn pin(&mut self, campaigned: bool) {
        let raft = &mut self.node.raft;
        let stage = Stage { term: raft.term, leader: raft.leader_id, role: raft.state };
        raft.set_randomized_election_timeout(self.pace.campaign_ticks(stage, campaigned));
    }

    pub(crate) fn ask_again(&mut self, all: bool) {
        for mark in self.reads.ask_again(self.pace.ticks(), all) {
            self.node.read_index(mark);
        }
    }

    fn receive(&mut self, from: NodeId, bytes: Bytes, image: Option<Image>, out: &mut Outbox<Output>) {
        let mut message = match codec::decode(bytes) {
            Ok(message) => message,
            Err(codec::Malformed) => {
                return out.push(Output::Refused { from, why: Refusal::Malformed });
            }
        };
        // An image belongs to a snapshot message, and the other way round.
        let snapshot = message.has_snapshot().then(|| {
            let meta = message.get_snapshot().get_metadata();
            Place { index: meta.index, term: meta.term }
        });
        let paired = match (snapshot, image) {
            (Some(place), Some(image)) => {
                self.images.push((place, image));
                true
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let why = match admit(&self.node.raft, from, &mut message) {
            Ok(Verdict::Step) if paired => match self.node.step(message) {
                Ok(()) => None,
                // The only error a message that was let in can meet.
                Err(_) => Some(Refusal::Stranger),
            },
            Ok(Verdict::Step) => Some(Refusal::Malformed),
            Ok(Verdict::Stale) => None,
            Err(why) => Some(why),
        };
        self.pin(false);
        out.extend(why.map(|why| Output::Refused { from, why }));
    }

    fn end_sending(&mut self, peer: NodeId, delivered: bool) {
        self.sending.remove(&peer);
        let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(peer.0, status);
    }

    pub(crate) fn track_sending(&mut self, peer: NodeId) {
        self.sending.insert(peer, self.pace.ticks() + SNAPSHOT_LIMIT_TICKS);
    }
}
