//! `Input`: what can happen to consensus.

use bytes::Bytes;

use crate::{Aim, Image, NodeId, Room};

/// What can happen. Deadlines come through `Machine::wake`.
#[derive(Clone, Debug)]
pub enum Input {
    /// The state machine above wants `data` committed. Ends exactly once, in `Output::Commit` or
    /// `Output::Dropped` with the same tag; tags in flight must differ.
    Propose {
        /// Names the proposal in its end.
        tag: u64,
        /// What to commit; not empty.
        data: Bytes,
    },
    /// A peer's `Output::Send` has arrived.
    Peer {
        /// Who the shell has authenticated on that link.
        from: NodeId,
        /// What it sent.
        bytes: Bytes,
    },
    /// A peer's `Output::SendSnapshot` has arrived, together with the image that was streamed behind it.
    PeerSnapshot {
        /// Who the shell has authenticated on that link.
        from: NodeId,
        /// The message itself.
        bytes: Bytes,
        /// The image, whole and verified.
        image: Image,
    },
    /// The `Persist` of this sequence, and all before it, are on disk. The machine does not wait for it, the order of
    /// outputs does; it is how `Status::unstored` knows.
    Stored {
        /// The sequence of the newest one.
        sequence: u64,
    },
    /// The answer to `Output::SnapshotWanted`: the state machine as it stood after `index`.
    /// Ignored when `index` is not newer than the newest snapshot, or was never handed out.
    SnapshotTaken {
        /// The last entry it contains.
        index: u64,
        /// The state, or that it is filed already.
        image: Image,
    },
    /// An operator wants other members. Ends exactly once, in `Output::MembersChanged` or
    /// `Output::Dropped`.
    ChangeMembers {
        /// Names the change in its end; shares its numbers with proposals.
        tag: u64,
        /// What is to change.
        change: MemberChange,
    },
    /// These are the members that are wanted from now on: whoever leads changes them until they are. To be said on every
    /// member, as it follows from the log; nothing else changes members then.
    Aim(Aim),
    /// How much room there is for what is to be stored, whenever that changes.
    Room(Room),
    /// The leader should hand over to this voter. Ignored by others; given up after an election timeout.
    TransferLeader {
        /// The voter that shall lead.
        to: NodeId,
    },
    /// Somebody wants to read what was committed before now. Works on followers too. Ends exactly once, in
    /// `Output::ReadReady` or `Output::ReadDropped`.
    ReadIndex {
        /// Names the read in its end; reads have numbers of their own.
        tag: u64,
    },
    /// Messages to this peer were lost: the link is down.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// How an `Output::SendSnapshot` ended. Until it is reported the peer gets nothing else.
    SnapshotReport {
        /// The peer.
        peer: NodeId,
        /// Whether it has received all of it.
        delivered: bool,
    },
}

/// A change of members. A member stands in one list at most. More than one change goes through a joint
/// configuration, which the leader leaves by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberChange {
    /// New voters, or learners that become voters.
    pub add_voters: Vec<NodeId>,
    /// New learners, or voters that become learners.
    pub add_learners: Vec<NodeId>,
    /// Who leaves.
    pub remove: Vec<NodeId>,
}
