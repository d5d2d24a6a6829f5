//! Where the framework's state is kept: a [`State`] that records change, and the journal that remembers the records.

mod convert;
mod journal;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use self::journal::{Journal, JournalError};
pub use self::state::{Instance, Job, Part, Record, State};
pub use self::writer::{Commit, Stopped, Writer};

use std::path::{Path, PathBuf};

use crate::token::random_hex;
use crate::wire;

/// The version of the records' layout. In the first one the framework kept by itself what its reconciler keeps now; in the
/// second each instance was one task, without volumes.
const FORMAT: u32 = 3;
/// Below this the journal is never rewritten: it costs nothing to read.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// The journal is rewritten when it is so many times as large as what it says.
const COMPACT_FACTOR: u64 = 4;

/// Why the state cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record makes no sense.
    #[error(
        "record {number} of {path} makes no sense: {why}; restore the file from a backup, or move it away to begin anew"
    )]
    Record {
        /// The journal.
        path: PathBuf,
        /// Which record, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// A later version wrote it.
    #[error("{path} was written by a later version (format {found}, this one knows {FORMAT}); upgrade")]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no randomness.
    #[error("cannot read /dev/urandom for the prefix of ids")]
    Random(#[source] std::io::Error),
}

/// The state on disk: the journal, and what it says.
#[derive(Debug)]
pub struct Store {
    journal: Journal<wire::journal::Record>,
    state: State,
    /// The size of the journal right after it was written anew.
    base_bytes: u64,
}

// === impl Store ===

impl Store {
    /// Opens the state kept in a directory, or begins one; makes the directory. Holds it against a second instance
    /// until dropped.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let (journal, records) = Journal::open(dir)?;
        if records.is_empty() {
            let prefix = random_hex(4).map_err(StoreError::Random)?;
            let mut store = Store { journal, state: State::default(), base_bytes: 0 };
            store.append(vec![Record::Header { format: FORMAT, prefix }])?;
            return Ok(store);
        }
        let mut state = State::default();
        let mut written_in = FORMAT;
        for (at, record) in records.into_iter().enumerate() {
            let record = Record::from_wire(record).map_err(|why| StoreError::Record {
                path: journal.path().to_owned(),
                number: at + 1,
                why,
            })?;
            match &record {
                Record::Header { format, .. } if *format > FORMAT => {
                    return Err(StoreError::Newer { path: journal.path().to_owned(), found: *format });
                }
                Record::Header { format, .. } => {
                    written_in = *format;
                    state.apply(record);
                }
                _ => state.apply(record),
            }
        }
        let base_bytes = Journal::<wire::journal::Record>::size_of(&wire_of(state.image(FORMAT)));
        let mut store = Store { journal, state, base_bytes };
        if written_in < FORMAT {
            store.state.migrate(written_in);
            // An earlier version must not go on with it: it would read only half of it.
            store.compact()?;
        }
        Ok(store)
    }

    /// What it says now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Makes records durable, in one sync, and applies them. After an error nothing more can be appended: what is on
    /// the disk is not known any more, and only opening it again tells.
    pub fn append(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let messages: Vec<wire::journal::Record> = records.iter().map(Record::to_wire).collect();
        self.journal.append(&messages)?;
        for record in records {
            self.state.apply(record);
        }
        if self.journal.bytes() >= COMPACT_BYTES_MIN.max(self.base_bytes.saturating_mul(COMPACT_FACTOR)) {
            self.compact()?;
        }
        Ok(())
    }

    /// Writes the journal anew, as short as can be.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.journal.rewrite(&wire_of(self.state.image(FORMAT)))?;
        self.base_bytes = self.journal.bytes();
        Ok(())
    }
}

fn wire_of(records: Vec<Record>) -> Vec<wire::journal::Record> {
    records.iter().map(Record::to_wire).collect()
}
