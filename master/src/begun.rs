//! The note in a data directory that a group has a log there: a master that finds the note and no log must not go on.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::perform::Fault;

const TEXT: &[u8] = b"this directory has held a log: without it this master must not go on\n";

/// Whether the note is there, and what writes it. It is not in the log's own directory, which may be what goes away.
pub(crate) struct Begun {
    path: PathBuf,
    noted: bool,
}

impl Begun {
    /// Of the group that has its note there.
    pub fn new(path: PathBuf) -> Begun {
        Begun { noted: path.exists(), path }
    }

    /// Whether a log was begun.
    pub fn is_noted(&self) -> bool {
        self.noted
    }

    /// To be called when something was stored, before anybody is told of it: a log that goes away in the first life of a
    /// master may have been counted on, too.
    pub fn note(&mut self) -> Result<(), Fault> {
        if !self.noted {
            write(&self.path).map_err(|source| Fault::Note { path: self.path.clone(), source })?;
            self.noted = true;
        }
        Ok(())
    }
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(TEXT)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
