//! What can go wrong with the disk, told by what was attempted and on which file.

use std::io;
use std::path::{Path, PathBuf};

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
    /// Another process works on this directory.
    #[error("{path} is in use by {}; stop it, or give this one another directory", holder(*.pid))]
    InUse {
        /// The locked file.
        path: PathBuf,
        /// Which process, as far as the file says.
        pid: Option<u32>,
    },
    /// Written by another version of this program.
    #[error("{path} has format {found}, this program reads and writes format {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A log of the time when it was a database.
    #[error(
        "{path} is the log of an earlier build, which this one cannot read: start with a new, empty directory, or \
         go on with the build that wrote it"
    )]
    EarlierBuild {
        /// The file.
        path: PathBuf,
    },
    /// What was once durable does not check any more.
    #[error("{path} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file is not there, though those before and behind it belong together.
    #[error("{path} is missing, and the log goes on behind it")]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// An entry is not there, though later ones are.
    #[error("{path} is damaged: entry {index} of group {group} is missing")]
    MissingEntry {
        /// The file, or the directory of files.
        path: PathBuf,
        /// The group.
        group: Group,
        /// The entry.
        index: u64,
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

impl Error {
    /// Whether something is missing or changed that was once durable: whoever goes on without it may break what it has
    /// promised.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Damaged { .. }
            | Error::MissingFile { .. }
            | Error::MissingEntry { .. }
            | Error::DamagedSnapshot { .. }
            | Error::NoSnapshot { .. } => true,
            Error::Io { .. }
            | Error::InUse { .. }
            | Error::Format { .. }
            | Error::EarlierBuild { .. }
            | Error::GivenUp { .. } => false,
        }
    }
}

pub(crate) fn io_error(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { operation, path: path.clone(), source }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
