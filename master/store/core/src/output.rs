//! `Output`: everything a member wants done, in order; nothing behind a `Persist` leaves before it is on disk.

use bytes::Bytes;
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
    /// The store stands at this index now.
    Applied(u64),
    /// A note for the log: something an operator would act on.
    Note(Note),
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
