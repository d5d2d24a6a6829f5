//! What can go wrong with the ledger, told by what was attempted and on which file.

use std::io;
use std::path::PathBuf;

use proto::wire::Malformed;

/// A record could not be made durable. **The process must stop**, leaving its tasks alone.
///
/// Nobody knows what is on disk: after a failed fsync the kernel may have thrown the pages away and may report success
/// next time. Nothing behind the record may be performed, and the ledger refuses everything after it. The next start
/// finds out what is there.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be written, this process must stop; its tasks go on without it")]
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
    /// Another process works on this directory.
    #[error("{path} is in use by {}; stop it, or give this agent another work_dir", holder(*.pid))]
    InUse {
        /// The locked file.
        path: PathBuf,
        /// Which process, as far as the file says.
        pid: Option<u32>,
    },
    /// Written by another version of this program.
    #[error(
        "{path} has format {found}, this program reads and writes format {known}; start the version that wrote it"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// What was once synced does not check any more.
    #[error(
        "{path} is damaged at byte {offset}: {what}; restore the file, or move the work directory away and join again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A record is whole but says nothing that this program understands.
    #[error(
        "{path} holds at byte {offset} a record that cannot be read: {source}; start the version that wrote it"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        source: Malformed,
    },
    /// A record is larger than any that would be read again.
    #[error("a record of {bytes} bytes does not fit into {path}, which takes {max} at most")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The process was to end while it waited for room.
    #[error("there was no room for what was to be written to {path}; make room on its disk")]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// An earlier write failed.
    #[error("{path} is given up since an earlier write failed")]
    GivenUp {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether a write found no room: the disk is full, or what this user may have of it is used up. A sync that says so is
    /// another matter: nobody knows what it left behind.
    pub(super) fn is_no_room(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(
            self,
            Error::Io { operation: "write" | "create", source, .. }
                if matches!(source.kind(), StorageFull | QuotaExceeded)
        )
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
