//! `Output`: everything a member wants done, in order; nothing behind a `Persist` leaves before it is on disk.

use bytes::Bytes;
use master_store::{Space, SpaceId};
use proto::id::MasterId;
use proto::store::{Reply, WatchReply};

use crate::input::{Ticket, WatchId};

/// What the shell has to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make durable; nothing behind it is done before.
    Persist(master_raft::Persist),
    /// Send to another member.
    ToPeer {
        /// The peer.
        to: master_raft::NodeId,
        /// The message.
        bytes: Bytes,
    },
    /// Send the newest snapshot to another member, and report how it ended.
    SnapshotToPeer {
        /// The peer.
        to: master_raft::NodeId,
        /// The message that announces it.
        bytes: Bytes,
        /// Under which the store has it.
        index: u64,
    },
    /// Answer a call.
    Reply {
        /// Its ticket.
        ticket: Ticket,
        /// The answer.
        reply: Reply,
    },
    /// All that the store holds; `None`: no leader confirmed in time what is committed.
    Saved {
        /// Of whoever asked for it.
        ticket: Ticket,
        /// What.
        saved: Option<Saved>,
    },
    /// Tell a watch.
    ToWatch {
        /// Which.
        watch: WatchId,
        /// What.
        reply: WatchReply,
    },
    /// End a watch, after what was told.
    CloseWatch {
        /// Which.
        watch: WatchId,
    },
    /// The part this member plays.
    Part {
        /// In this term.
        term: u64,
        /// Whether it leads.
        leads: bool,
        /// Who leads, as far as it knows.
        leader: Option<MasterId>,
    },
    /// How this group stands on the way to its members, as far as this member knows.
    Members(master_raft::Bearing),
    /// The store stands at this index now.
    Applied(u64),
    /// How a space that changed stands now.
    Stands(Standing),
    /// A note for the log: something an operator would act on.
    Note(Note),
}

/// A state machine as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Up to where of the log.
    pub index: u64,
    /// The term of the member that gives it.
    pub term: u64,
    /// As in a snapshot.
    pub image: Bytes,
}

/// How a space stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub space: SpaceId,
    /// Its revision.
    pub revision: u64,
    /// What was replaced before this is forgotten.
    pub compacted: u64,
    /// Keys there are.
    pub keys: u64,
    /// What they take.
    pub live_bytes: u64,
    /// What is remembered of what was replaced.
    pub history_bytes: u64,
    /// Leases there are.
    pub leases: u64,
}

impl Standing {
    pub(crate) fn of(id: &SpaceId, space: &Space) -> Standing {
        Standing {
            space: id.clone(),
            revision: space.revision(),
            compacted: space.compacted(),
            keys: space.live_keys(),
            live_bytes: space.live_bytes(),
            history_bytes: space.history_bytes(),
            leases: space.lease_count(),
        }
    }
}

/// Something an operator would act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A call was refused to somebody who has no business here.
    Denied {
        /// Who called.
        caller: String,
        /// What was wrong.
        message: String,
    },
    /// A peer's message was refused.
    Peer {
        /// Who sent it.
        from: u64,
        /// Why.
        why: String,
    },
    /// A committed entry could not be read: this member must not go on.
    Unreadable {
        /// Where in the log.
        index: u64,
        /// Why.
        why: String,
    },
}
