//! The keeper's log on disk: written ahead, committed in groups, rewritten when most of it is forgotten.
//!
//! Space is filled with zeros a chunk at a time before it is used. Overwriting it then changes no metadata, and an
//! `fdatasync` need not wait for the file system's journal: about half the time, and no other file is dragged along.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::LOG_NAME;
use crate::record::Record;

const CHUNK_BYTES: u64 = 1024 * 1024;

/// The open log of this keeper.
pub(crate) struct Log {
    dir: PathBuf,
    file: File,
    /// Where the next record goes.
    end: u64,
    /// Up to where the file is filled.
    filled: u64,
    /// Records not yet written.
    pending: Vec<u8>,
    /// Whether written or pending records are to be on disk before anybody hears of them.
    sync_due: bool,
}

impl Log {
    /// Puts a log with these records in the place of the present one, whole or not at all.
    ///
    /// # Errors
    /// Those of creating, writing, syncing and renaming the file.
    pub(crate) fn create(dir: &Path, records: impl IntoIterator<Item = Record>) -> io::Result<Log> {
        let mut bytes = Vec::new();
        records.into_iter().for_each(|record| record.encode(&mut bytes));
        let end = bytes.len() as u64;
        let filled = (end + 1).next_multiple_of(CHUNK_BYTES);

        let fresh = dir.join(format!("{LOG_NAME}.new"));
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all_at(&bytes, 0)?;
        fill(&file, end, filled)?;
        file.sync_all()?;
        fs::rename(&fresh, dir.join(LOG_NAME))?;
        File::open(dir)?.sync_all()?;
        Ok(Log { dir: dir.to_owned(), file, end, filled, pending: Vec::new(), sync_due: false })
    }

    /// Adds a record to the next write.
    pub(crate) fn append(&mut self, record: &Record) {
        record.encode(&mut self.pending);
        match record {
            Record::Exited { .. } | Record::Failed { .. } => self.sync_due = true,
            // Nobody relies on these over a crash of the machine: what was started is gone with it, and what was
            // forgotten is told once more and forgotten again.
            Record::Started { .. } | Record::Forgotten { .. } | Record::Head { .. } => {}
        }
    }

    /// Hands what was appended to the kernel: from here on it survives the death of this process.
    ///
    /// # Errors
    /// Those of writing; the records stay pending.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let end = self.end + self.pending.len() as u64;
        while self.filled < end {
            fill(&self.file, self.filled, self.filled + CHUNK_BYTES)?;
            self.filled += CHUNK_BYTES;
        }
        self.file.write_all_at(&self.pending, self.end)?;
        self.end = end;
        self.pending.clear();
        Ok(())
    }

    /// Puts what was written on disk, if anything in it must be there.
    ///
    /// # Errors
    /// Those of `fdatasync`. What the kernel then still holds is unknown: only [`Log::rewrite`] helps.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.sync_due {
            self.file.sync_data()?;
            self.sync_due = false;
        }
        Ok(())
    }

    /// Whether the log is so long that it should be rewritten with the `live` records it takes to say the same.
    pub(crate) fn wants_rewrite(&self, live: usize) -> bool {
        const RECORD_BYTES: u64 = 80;
        self.end > CHUNK_BYTES / 2 && self.end > live as u64 * RECORD_BYTES * 4
    }

    /// Replaces the log by these records, which must say everything that is known, pending records included.
    ///
    /// # Errors
    /// Those of [`Log::create`]; the present log then stays in use.
    pub(crate) fn rewrite(&mut self, records: impl IntoIterator<Item = Record>) -> io::Result<()> {
        *self = Log::create(&self.dir, records)?;
        Ok(())
    }
}

/// Writes zeros. In small pieces from the stack: whatever the keeper's heap grows to, each child is given a copy of its map.
fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let mut at = from;
    while at < to {
        let piece = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all_at(ZEROS.get(..piece).unwrap_or_default(), at)?;
        at += piece as u64;
    }
    Ok(())
}
