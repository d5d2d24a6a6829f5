//! Replay: reads all files of a log in their order, and finds out what they say or what is wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use master_raft::Entry;

use crate::facts::AllFacts;
use crate::frame::{self, BadHeader, Found, Header, SECTOR};
use crate::record::{Damaged, Record, Records};
use crate::segment::{self, Highest};
use crate::{Error, Group};

/// What a log says.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub facts: AllFacts,
    /// Of the group that was asked for: those behind its snapshot, without gaps.
    pub entries: Vec<Entry>,
    /// The files, oldest first. None in a new directory.
    pub files: Vec<Read>,
    /// The bytes of the last file.
    pub last: Vec<u8>,
    keep: Option<Group>,
    /// The entries of each group behind its snapshot.
    logs: BTreeMap<Group, Range<u64>>,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub path: PathBuf,
    pub header: Header,
    /// Behind the last frame.
    pub end: u64,
    pub highest: Highest,
}

/// Reads a log. Entries are kept of one group at most.
pub(crate) fn replay(dir: &Path, keep: Option<Group>) -> Result<Replay, Error> {
    let mut replay = Replay { keep, ..Replay::default() };
    let numbers = segment::numbers(dir)?;
    let Some(last) = numbers.last() else { return Ok(replay) };
    let (_, newest) = load(dir, *last)?;
    for number in numbers.iter().filter(|number| **number < newest.oldest) {
        segment::remove(&segment::path(dir, *number));
    }
    for number in newest.oldest..=*last {
        if numbers.binary_search(&number).is_err() {
            return Err(Error::MissingFile { path: segment::path(dir, number) });
        }
        let (bytes, header) = load(dir, number)?;
        replay.check_end_of_file_before(header.before)?;
        replay.file(segment::path(dir, number), header, &bytes)?;
        replay.last = bytes;
    }
    replay.check_beginnings(dir)?;
    Ok(replay)
}

fn load(dir: &Path, number: u64) -> Result<(Vec<u8>, Header), Error> {
    let path = segment::path(dir, number);
    let bytes = fs::read(&path).map_err(crate::error::io_error("read", &path))?;
    let damaged = |what| Error::Damaged { path: path.clone(), offset: 0, what };
    let header = match Header::decode(&bytes) {
        Ok(header) => header,
        Err(BadHeader::Damaged) => return Err(damaged("it does not begin like a log")),
        Err(BadHeader::Version(found)) => {
            return Err(Error::Format { path, found, known: frame::VERSION });
        }
    };
    if header.number != number {
        return Err(damaged("it is another file than its name says"));
    }
    if header.oldest > number {
        return Err(damaged("it does not need itself"));
    }
    Ok((bytes, header))
}

impl Replay {
    /// A file was begun when the one before it had ended and was durable.
    fn check_end_of_file_before(&self, before: u64) -> Result<(), Error> {
        match self.files.last() {
            Some(read) if read.end != before => Err(Error::Damaged {
                path: read.path.clone(),
                offset: read.end.min(before),
                what: "it does not end where the next file says it did",
            }),
            _ => Ok(()),
        }
    }

    fn file(&mut self, path: PathBuf, header: Header, bytes: &[u8]) -> Result<(), Error> {
        let mut highest = Highest::new();
        let mut at = SECTOR;
        loop {
            let damaged = |what| Error::Damaged { path: path.clone(), offset: at as u64, what };
            match frame::read(bytes, header.salt, at) {
                Found::Frame { body, bytes } => {
                    self.batch(&path, at, &body, &mut highest)?;
                    at += bytes;
                }
                Found::Unfinished if (at as u64) < header.made => {
                    return Err(damaged("what the file was made with is not there"));
                }
                Found::Unfinished if frame::any_behind(bytes, header.salt, at) => {
                    return Err(damaged("a batch is not there, but a later one is"));
                }
                Found::Unfinished => break,
                Found::Damaged(what) => return Err(damaged(what)),
            }
        }
        self.files.push(Read { path, header, end: at as u64, highest });
        Ok(())
    }

    fn batch(&mut self, path: &Path, at: usize, body: &[u8], highest: &mut Highest) -> Result<(), Error> {
        let damaged = |what| Error::Damaged { path: path.to_owned(), offset: at as u64, what };
        let mut records = Records(body);
        loop {
            let (group, record) = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(()),
                Err(Damaged) => return Err(damaged("a batch says what this program does not understand")),
            };
            let keep = self.keep == Some(group);
            let log = self.logs.entry(group).or_default();
            let facts = self.facts.entry(group).or_default();
            match record {
                Record::Entry(stored) => {
                    if log.is_empty() {
                        *log = stored.index..stored.index;
                    }
                    if stored.index > log.end {
                        return Err(Error::MissingEntry { path: path.to_owned(), group, index: log.end });
                    }
                    let next = stored.index.checked_add(1).filter(|_| stored.index == log.end);
                    log.end = next.ok_or_else(|| damaged("an entry is where another was"))?;
                    let highest = highest.entry(group).or_default();
                    *highest = stored.index.max(*highest);
                    if keep {
                        self.entries.push(stored.to_entry());
                    }
                }
                Record::TruncateFrom(from) => {
                    log.end = log.end.min(from);
                    if keep {
                        self.entries.truncate(self.entries.partition_point(|entry| entry.index < from));
                    }
                }
                Record::HardState(state) => facts.hard_state = Some(state),
                Record::Members(index, conf_state) => facts.members = Some((index, conf_state)),
                Record::Snapshot(pointer) => {
                    log.start = log.start.max(pointer.index.saturating_add(1));
                    if keep {
                        let covered = self.entries.partition_point(|entry| entry.index <= pointer.index);
                        self.entries.drain(..covered);
                    }
                    facts.snapshot = Some(pointer);
                }
            }
        }
    }

    fn check_beginnings(&self, dir: &Path) -> Result<(), Error> {
        for (group, log) in self.logs.iter().filter(|(_, log)| !log.is_empty()) {
            let index = self.facts.get(group).map_or(0, |facts| facts.covered()).saturating_add(1);
            if log.start != index {
                return Err(Error::MissingEntry { path: dir.to_owned(), group: *group, index });
            }
        }
        Ok(())
    }
}
