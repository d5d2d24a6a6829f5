//! The durable home of what consensus remembers: log, hard state, members and snapshots of the groups of one master.
//!
//! [`LogStore`] is the narrow door; [`Disk`] stands behind it with redb for the log and files for the snapshots.
//!
//! # The directory
//!
//! - `log.redb`: table `about` (the format), table `meta` (per group: hard state, members, the newest snapshot),
//!   table `log` (per group and index: one entry). Everything a batch changes changes in one transaction, which ends in
//!   one `fdatasync` (two when the file has to grow). Each value carries a CRC-32 of itself and of its key, since redb looks at its own page checksums
//!   only when it opens a file.
//! - `snapshots/`: one file for each group's newest snapshot, with a header and CRC-32. A file counts from the moment
//!   `meta` points at it; others are swept at the next start.
//!
//! # What is promised
//!
//! When [`LogStore::persist`] has returned `Ok`, everything in the batch survives a crash of process and machine, as
//! far as the disk tells the truth about `fdatasync`; before that, all of the batch or nothing is there. A batch that
//! was under way in a crash is found whole or not at all. Damage is reported with the file and what it hit, never
//! repaired by dropping entries, with one exception that cannot be told apart from an interrupted batch: after a crash
//! redb falls back from a newest commit that does not check to the one before.

mod disk;
mod error;
mod record;
mod snapshots;
mod store;

pub use disk::Disk;
pub use error::{Error, Fatal};
pub use snapshots::{Reader, Snapshots};
pub use store::{Group, LogStore};
