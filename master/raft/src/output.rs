//! `Output`: what consensus wants done, in order.

use bytes::Bytes;

use crate::{ConfState, Image, NodeId, Persist};

/// What consensus wants done. The crate's page says what the order promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send to a peer. May be lost, doubled or late; order between two peers does not matter.
    Send {
        /// The peer.
        to: NodeId,
        /// The message, in the wire encoding `stoa.v1.raft.Message`.
        bytes: Bytes,
    },
    /// Send to a peer, followed by the image of the snapshot at `index` from the disk. The end is to be told with
    /// `Input::SnapshotReport`; if a newer snapshot has taken its place by now, the end is a failure, and the newer
    /// one is sent next. It belongs on a stream of its own, since it may be long.
    SendSnapshot {
        /// The peer.
        to: NodeId,
        /// The message, without the image.
        bytes: Bytes,
        /// The snapshot's index, under which the store has the image.
        index: u64,
    },
    /// Make durable. Nothing behind it may be performed before that.
    Persist(Persist),
    /// The next entry is committed: apply it.
    Commit {
        /// Its place; rises, but not by one: entries of consensus itself are not handed out.
        index: u64,
        /// The term it was proposed in.
        term: u64,
        /// The tag, if it was proposed here since the last loss of the lead.
        tag: Option<u64>,
        /// What was proposed.
        data: Bytes,
    },
    /// Forget the state machine and take this state instead. An empty image is a state machine as it is born.
    InstallSnapshot {
        /// The last entry it contains.
        index: u64,
        /// That entry's term.
        term: u64,
        /// The state.
        image: Image,
    },
    /// The part this member plays has changed.
    Role(Role),
    /// This proposal or change of members will get no other answer.
    Dropped {
        /// Its tag.
        tag: u64,
        /// The reason.
        why: Why,
    },
    /// A read may be served: all entries it must see have been handed out before this output.
    ReadReady {
        /// Its tag.
        tag: u64,
        /// What it must see.
        index: u64,
    },
    /// No leader confirmed the read in time (`READ_LIMIT_TICKS`).
    ReadDropped {
        /// Its tag.
        tag: u64,
    },
    /// The members have changed.
    Members {
        /// The entry that changed them.
        index: u64,
        /// Who they are now.
        conf_state: ConfState,
    },
    /// The change of members that was asked for here is complete, and a majority of those who stay knows it for good:
    /// who has left may be switched off.
    MembersChanged {
        /// Its tag.
        tag: u64,
    },
    /// The log has grown, or a new member waits: answer with `Input::SnapshotTaken` of this index and the state after
    /// all outputs before this one, or of a later `Commit`'s index and the state after that.
    SnapshotWanted {
        /// The last entry handed out; it may be one of consensus itself, behind the last `Commit`.
        index: u64,
    },
    /// A message was not taken. For logs and metrics; a peer that is often refused is broken or hostile.
    Refused {
        /// Who sent it.
        from: NodeId,
        /// The reason.
        why: Refusal,
    },
}

/// The part a member plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads and is ready: every entry of earlier terms has been handed out before this output, so the state
    /// machine above is complete.
    Leader {
        /// The term it leads; no other member ever leads in it.
        term: u64,
    },
    /// It follows.
    Follower {
        /// Whom; `None` while that is not known.
        leader: Option<NodeId>,
        /// The term.
        term: u64,
    },
    /// It wants to lead, or was elected and has not yet committed an entry of its term.
    Candidate {
        /// The newest term it knows.
        term: u64,
    },
}

/// Why a proposal or a change of members was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Not the leader, or not yet ready. It was not proposed; ask `leader`.
    NotLeader {
        /// Who leads, if known.
        leader: Option<NodeId>,
    },
    /// The lead was lost while it was in the log. It **may still commit**; then it comes without a tag.
    LeadershipLost,
    /// Too much is waiting to be committed (`MAX_UNCOMMITTED_BYTES`). It was not proposed; try again later.
    Full,
    /// Larger than `MAX_PROPOSAL_BYTES`, or empty. It was not proposed.
    Size,
    /// The lead is being handed over, or this leader is about to leave the group. It was not proposed.
    Transferring,
    /// There is no room for it on this leader's disk. It was not proposed.
    NoRoom,
    /// Another change of members is under way, or not yet known to a majority. It was not proposed.
    Busy,
    /// The members cannot be changed so: it names nobody, somebody twice, or would leave no voter.
    Invalid,
}

/// Why a peer's message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not decode, or carries what its kind cannot carry.
    Malformed,
    /// It is for another member, or its sender is not who the link says.
    Misaddressed,
    /// Its sender is no member, and it answers a question only members are asked.
    Stranger,
    /// It rests on entries this member, or that peer, does not have though it once acknowledged them: one of the
    /// two has lost its disk and must be removed and join again under a new id.
    Forgotten,
    /// It contradicts what is committed here. The log of one of the two is damaged.
    Contradiction,
}
