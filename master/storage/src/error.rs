//! What can go wrong with the disk, told by what was attempted and on which file.

use std::io;
use std::path::PathBuf;

use crate::Group;

/// A batch could not be made durable. **The process must stop.**
///
/// Nobody knows which parts are on disk: after a failed fsync the kernel may have thrown the pages away and may report
/// success next time. To go on would be to promise what may be lost. Nothing behind the batch in the machine's output
/// may be performed. At its next start the process finds out what is there; if that looks whole while the disk keeps
/// failing, the machine, not the process, is what to look at. The store refuses everything after it.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be written, this process must stop")]
pub struct Fatal(#[from] pub Error);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the operating system failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed.
    #[error("cannot {operation} {path}")]
    Database {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: Box<redb::Error>,
    },
    /// Another process works on this directory.
    #[error("{path} is in use by another process")]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    /// Written by another version of this program.
    #[error("{path} has format {found}, this program reads and writes format {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// The database itself does not check.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database found.
        what: String,
    },
    /// An entry does not match its checksum.
    #[error("{path} is damaged: entry {index} of group {group}")]
    DamagedEntry {
        /// The file.
        path: PathBuf,
        /// The group.
        group: Group,
        /// The entry.
        index: u64,
    },
    /// An entry is not there, though later ones are.
    #[error("{path} is damaged: entry {index} of group {group} is missing")]
    MissingEntry {
        /// The file.
        path: PathBuf,
        /// The group.
        group: Group,
        /// The entry.
        index: u64,
    },
    /// A fact that is not an entry does not match its checksum.
    #[error("{path} is damaged: {what} of group {group}")]
    DamagedFact {
        /// The file.
        path: PathBuf,
        /// The group.
        group: Group,
        /// Which fact.
        what: &'static str,
    },
    /// A snapshot file is cut short, does not match its checksum, or is another's.
    #[error("{path} is damaged: {what}")]
    DamagedSnapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no such snapshot: a newer one has taken its place, or it was never written.
    #[error("there is no snapshot {path}")]
    NoSnapshot {
        /// The file.
        path: PathBuf,
    },
    /// An earlier batch failed.
    #[error("{path} is given up since an earlier batch failed")]
    GivenUp {
        /// The file.
        path: PathBuf,
    },
}
