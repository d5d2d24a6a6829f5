//! A member of the store's group as a machine: calls of frameworks and messages of peers in, replies and durable steps out.
//!
//! It is a second Raft group beside the registry's, with a log, a leader and a thread of its own: what frameworks write
//! never stands before a launch. The leader of one need not be the leader of the other.
//!
//! - **Changes** go through the log, many at once, and are answered when they are committed.
//! - **Reads** are linearizable: any member answers them once the leader has confirmed what was committed before they came.
//! - **Watches** are served by any member from what it has applied.
//! - **Leases** run out by the leader's clock alone. Keeping one alive is the leader's memory and not in the log (as in
//!   etcd), confirmed like a read, so that one who was deposed unawares does not answer. A new leader gives each its
//!   whole time again. That one has run out is committed before it is so.
//!
//! # Files
//!
//! `member` the switchboard · `input`, `output` · `config` · `batch` what waits for the log · `reads` what waits for the leader's word ·
//! `leases` the leader's timers · `watches` who wants to hear of changes.

mod batch;
mod config;
mod input;
mod leases;
mod member;
mod output;
mod reads;
mod restore;
mod watches;

pub use config::{Config, WATCH_TOLD_REVISIONS, WATCHES_MAX};
pub use input::{Input, Ticket, WatchId};
pub use master_raft::Unfit;
pub use member::Member;
pub use output::{Note, Output, Saved, Standing};
pub use restore::restored;
