//! The durable home of what consensus remembers: log, hard state, members and snapshots of the groups of one master.
//!
//! [`LogStore`] is the narrow door; [`Disk`] stands behind it with a write-ahead log and files for the snapshots.
//!
//! # The directory
//!
//! - `log/`: files of about 8 MiB, numbered, each the continuation of the one before. They grow by zeros ahead of what
//!   is written, and a batch is one frame, one write, one `fdatasync` (`frame.rs` has the format). A file begins with
//!   hard state, members and newest snapshot of each group, so that older files can go as soon as every entry in them
//!   is in a snapshot.
//! - `snapshots/`: one file for each group's newest snapshot, with a header and CRC-32. A file counts from the moment
//!   the log points at it; others are swept at the next start.
//! - `lock`: locked by the process that has it open, with its pid.
//!
//! The log is read at the start and never again: what is in use of it is in the memory of the machine.
//!
//! # What is promised
//!
//! When [`LogStore::persist`] has returned `Ok`, everything in the batch survives a crash of process and machine, as
//! far as the disk tells the truth about `fdatasync`. A batch that was under way in a crash is found whole or not at
//! all, as far as the disk writes a sector of 512 bytes whole or from its beginning on.
//!
//! Damage is reported with the file and the place, and never mended by dropping batches. What was lost cannot be told
//! from what was never there in two cases: a sector of the newest batch turned to zeros, and the end of the newest file
//! cut off or all of it gone.

mod disk;
mod error;
mod facts;
mod frame;
mod lock;
mod record;
mod replay;
mod segment;
mod snapshots;
mod store;

pub use disk::Disk;
pub use error::{Error, Fatal};
pub use snapshots::{Reader, Snapshots};
pub use store::{Group, LogStore};
