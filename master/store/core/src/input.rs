//! `Input`: everything that can happen to a member.

use std::sync::Arc;

use proto::caller::Caller;
use proto::roster::Roster;
use proto::store::{Call, Watch};

/// One call; the reply carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One watch; the shell numbers them and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// Everything that can happen. Deadlines come through `Machine::wake`.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something for consensus: a peer's message, a finished snapshot transfer.
    Raft(master_raft::Input),
    /// A framework asks. Ends exactly once, in `Output::Reply`.
    Ask {
        /// Comes back with the reply.
        ticket: Ticket,
        /// Its certificate says so.
        caller: Caller,
        /// What.
        call: Call,
    },
    /// Somebody wants all that the store holds, as of now or later. Ends exactly once, in `Output::Saved`.
    Save {
        /// Comes back with it.
        ticket: Ticket,
    },
    /// The registry's log has this list of masters: this group goes there, too.
    Roster(Arc<Roster>),
    /// A framework wants to hear of changes.
    Watch {
        /// On this stream.
        watch: WatchId,
        /// Its certificate says so.
        caller: Caller,
        /// Of which.
        ask: Watch,
    },
    /// Nobody listens to a watch any more.
    WatchClosed {
        /// Which.
        watch: WatchId,
    },
}
