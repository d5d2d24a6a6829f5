//! Consensus as a machine: messages and time in, messages and durable steps out.
//!
//! [`Raft`] wraps the `raft` crate so that it cannot wait, fail, touch a disk, read a clock or draw a random number
//! of its own. Entries and snapshots are opaque bytes. The same machine runs in production and in the simulator; a
//! seed reproduces a run.
//!
//! # What the order of outputs promises
//!
//! **Outputs are performed in order, and nothing behind a [`Persist`] leaves before that `Persist` is on disk.** The
//! driver may merge all `Persist`s of a batch into one fsync at the place of the first, and it may go on stepping
//! while it performs; it may not reorder, and after a crash none of what was behind an unfinished `Persist` may have
//! happened.
//!
//! On that rule rests that this machine tells the library "it is stored" as soon as it has *said* `Persist`, without
//! waiting for it. What follows from being stored (a vote, an acknowledgement, an entry that is committed because
//! this member counts) is said behind that `Persist`, in this batch or a later one, and so cannot be seen before it
//! is true. Some output stands before the `Persist` of the same round, because it does not depend on it:
//!
//! - appends and heartbeats of a leader, so that followers write while the leader writes;
//! - `Commit`s of entries that an *earlier* `Persist` contains, and reads that see no others;
//! - `Role`, and the ends of what was not proposed.
//!
//! **Whoever acts on a `Commit` must say so behind it, in the same ordered output.** A reply to a client that takes
//! another road than the outbox (a lock, a channel that the driver does not order) breaks the promise: after a crash
//! the member may not have what the client was told.
//!
//! A disk that hangs stops all that is behind it, heartbeats too: the others elect a new leader. That is meant. One that is slow and
//! does not hang for so long lets a leader hand over by itself.
//!
//! # The life of a proposal
//!
//! Every tag ends exactly once, in [`Output::Commit`] or [`Output::Dropped`]. Followers do not forward: they say who
//! leads. When the lead is lost all pending tags end in [`Why::LeadershipLost`] before the new [`Role`] is said; such
//! an entry may commit later and then comes without a tag. A [`Role::Leader`] is said only when every entry of
//! earlier terms has been handed out.
//!
//! # Files
//!
//! `log` what is stored · `input`, `output` · `config` the constants · `raft` the machine · `ready` how a batch is
//! settled · `members` changes of members · `course` which ones · `room` a full disk · `slow` a slow one · `snapshots` cutting the log · `reads` · `pace` ticks and timeouts ·
//! `memory` the log as the library reads it · `admit` the gate before the library · `batch` fewer appends · `codec` · `recover` the start.

mod admit;
mod batch;
mod codec;
mod config;
mod course;
mod input;
mod log;
mod members;
mod memory;
mod output;
mod pace;
mod raft;
mod reads;
mod ready;
mod recover;
mod room;
mod slow;
mod snapshots;

pub use crate::raft::{Progress, Raft, Status};
pub use config::{
    CAMPAIGN_TICKS_MAX, CAMPAIGN_TICKS_MIN, Config, ELECTION_TICKS, HEARTBEAT_TICKS, LATE_TICKS_MAX,
    MAX_APPEND_BYTES, MAX_INFLIGHT, MAX_PROPOSAL_BYTES, MAX_UNCOMMITTED_BYTES, READ_LIMIT_TICKS, TICK,
};
pub use course::{Aim, Bearing};
pub use input::{Input, MemberChange};
pub use log::{ConfState, Entry, EntryKind, HardState, Image, NodeId, Persist, Recovered, Snapshot};
pub use output::{Output, Refusal, Role, Why};
pub use recover::Unfit;
pub use room::Room;
