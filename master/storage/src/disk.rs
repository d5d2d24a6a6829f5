//! `Disk`: the store of a running master, a log of batches beside files of snapshots.

use std::collections::{BTreeMap, VecDeque};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use master_raft::{Image, Persist, Recovered, Snapshot};

use crate::error::io_error;
use crate::facts::{self, AllFacts};
use crate::lock::{self, Lock};
use crate::record::{self, Pointer};
use crate::replay::replay;
use crate::segment::{self, Highest, Segment};
use crate::{Error, Fatal, Group, LogStore, Snapshots};

/// How long a file of the log gets: a few of them hold what a master keeps between two snapshots, so that what is
/// needless goes soon, and a new one is begun seldom.
const FILE_BYTES: u64 = 8 << 20;

/// Memory kept between batches. A larger batch is rare, and gives it back.
const BUFFER_BYTES: usize = 1 << 20;

/// The store of a running master: one directory, locked while it is open.
#[derive(Debug)]
pub struct Disk {
    log: PathBuf,
    file_bytes: u64,
    segment: Segment,
    /// The files before it that are needed, oldest first.
    sealed: VecDeque<Sealed>,
    facts: AllFacts,
    /// Up to where entries are not needed any more.
    needless: BTreeMap<Group, u64>,
    snapshots: Snapshots,
    given_up: bool,
    /// Kept for their memory only.
    body: Vec<u8>,
    buffer: Vec<u8>,
    _lock: Lock,
}

#[derive(Debug)]
struct Sealed {
    number: u64,
    highest: Highest,
}

impl Disk {
    /// Opens the directory, or makes it. Reads and checks the whole log.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(dir, FILE_BYTES)
    }

    /// The same with another length of files.
    pub fn open_with(dir: &Path, file_bytes: u64) -> Result<Self, Error> {
        let earlier = dir.join("log.redb");
        if earlier.exists() {
            return Err(Error::EarlierBuild { path: earlier });
        }
        let new = !dir.exists();
        let log = dir.join("log");
        DirBuilder::new().recursive(true).mode(0o700).create(&log).map_err(io_error("make", &log))?;
        let lock = lock::take(&dir.join("lock"))?;
        let mut found = replay(&log, None)?;
        let last = std::mem::take(&mut found.last);
        let segment = match found.files.pop() {
            Some(read) => Segment::resume(read.path, read.header, &last, read.end, read.highest)?,
            None => Segment::create(&log, 1, 1, 0, &[])?,
        };
        segment::sync_dir(&log)?;
        segment::sync_dir(dir)?;
        if let Some(parent) = dir.parent().filter(|parent| new && !parent.as_os_str().is_empty()) {
            segment::sync_dir(parent)?;
        }
        let sealed = found.files.into_iter();
        let sealed =
            sealed.map(|read| Sealed { number: read.header.number, highest: read.highest }).collect();
        let snapshots = Snapshots::open(dir.join("snapshots"))?;
        let pointers = found.facts.iter();
        let keep: Vec<_> =
            pointers.filter_map(|(group, facts)| Some((*group, facts.snapshot.as_ref()?.index))).collect();
        snapshots.sweep(&keep);
        Ok(Self {
            log,
            file_bytes,
            segment,
            sealed,
            needless: found.facts.iter().map(|(group, facts)| (*group, facts.covered())).collect(),
            facts: found.facts,
            snapshots,
            given_up: false,
            body: Vec::new(),
            buffer: Vec::new(),
            _lock: lock,
        })
    }

    fn write(&mut self, batch: &[(Group, Persist)]) -> Result<(), Error> {
        let pointers = self.file_images(batch)?;
        self.body.clear();
        for ((group, persist), pointer) in batch.iter().zip(&pointers) {
            encode(*group, persist, pointer.as_ref(), &mut self.body);
        }
        if !self.body.is_empty() {
            if !self.segment.takes(self.body.len(), self.file_bytes) {
                self.begin_file()?;
            }
            self.segment.append(&self.body, &mut self.buffer)?;
        }
        self.body.shrink_to(BUFFER_BYTES);
        self.buffer.shrink_to(BUFFER_BYTES);
        for ((group, persist), pointer) in batch.iter().zip(pointers) {
            self.remember(*group, persist, pointer);
        }
        Ok(())
    }

    /// Snapshots go to their files first; only a pointer in the log makes them count.
    fn file_images(&self, batch: &[(Group, Persist)]) -> Result<Vec<Option<Pointer>>, Error> {
        let file = |(group, persist): &(Group, Persist)| {
            let Some(snapshot) = &persist.snapshot else { return Ok(None) };
            let header = match &snapshot.image {
                Image::Bytes(bytes) => self.snapshots.put(*group, snapshot.index, bytes)?,
                Image::Filed { .. } => self.snapshots.reader(*group, snapshot.index)?.header(),
            };
            Ok(Some(Pointer {
                index: snapshot.index,
                term: snapshot.term,
                bytes: header.bytes,
                crc: header.crc,
                conf_state: snapshot.conf_state.clone(),
            }))
        };
        batch.iter().map(file).collect()
    }

    /// Begins the next file, and removes those that hold only what is needless. They go from the oldest on: one that
    /// says which entries of an older one are void stays as long as that.
    fn begin_file(&mut self) -> Result<(), Error> {
        let number = self.segment.header.number;
        let highest = std::mem::take(&mut self.segment.highest);
        self.sealed.push_back(Sealed { number, highest });
        let needless = |group: &Group| self.needless.get(group).copied().unwrap_or_default();
        let is_needless =
            |sealed: &&Sealed| sealed.highest.iter().all(|(group, last)| *last <= needless(group));
        let obsolete: Vec<_> =
            self.sealed.iter().take_while(is_needless).map(|sealed| sealed.number).collect();
        self.sealed.drain(..obsolete.len());
        let oldest = self.sealed.front().map_or(number + 1, |sealed| sealed.number);
        let facts = facts::batch(&self.facts);
        self.segment = Segment::create(&self.log, number + 1, oldest, self.segment.end, &facts)?;
        // The new file says, durably, that they are not needed: they need not go in order, nor durably.
        obsolete.iter().for_each(|number| segment::remove(&segment::path(&self.log, *number)));
        Ok(())
    }

    /// What has become durable.
    fn remember(&mut self, group: Group, persist: &Persist, pointer: Option<Pointer>) {
        let facts = self.facts.entry(group).or_default();
        facts.hard_state = persist.hard_state.or(facts.hard_state);
        if let Some(members) = &persist.conf_state {
            facts.members = Some(members.clone());
        }
        let needless = self.needless.entry(group).or_default();
        *needless = persist.compact_to.unwrap_or_default().max(*needless);
        if let Some(pointer) = pointer {
            *needless = pointer.index.max(*needless);
            let index = pointer.index;
            let before = facts.snapshot.replace(pointer);
            if let Some(before) = before.filter(|before| before.index != index) {
                self.snapshots.remove(group, before.index);
            }
        }
        if let Some(last) = persist.entries.last() {
            let highest = self.segment.highest.entry(group).or_default();
            *highest = last.index.max(*highest);
        }
    }

    fn read_snapshot(&self, group: Group, pointer: Pointer) -> Result<Snapshot, Error> {
        let Pointer { index, term, bytes, crc, conf_state } = pointer;
        let image = self.snapshots.read(group, index)?;
        if image.len() as u64 != bytes || crc32fast::hash(&image) != crc {
            let header = self.snapshots.reader(group, index)?;
            return Err(header.not_the_one());
        }
        Ok(Snapshot { index, term, conf_state, image: Image::Bytes(image.into()) })
    }
}

/// In the order in which it is to be performed.
fn encode(group: Group, persist: &Persist, pointer: Option<&Pointer>, to: &mut Vec<u8>) {
    if let Some(pointer) = pointer {
        record::put_snapshot(to, group, pointer);
    }
    if let Some(from) = persist.truncate_from {
        record::put_truncate_from(to, group, from);
    }
    for entry in &persist.entries {
        record::put_entry(to, group, entry);
    }
    if let Some(state) = &persist.hard_state {
        record::put_hard_state(to, group, state);
    }
    if let Some((index, conf_state)) = &persist.conf_state {
        record::put_members(to, group, *index, conf_state);
    }
}

impl LogStore for Disk {
    fn recover(&mut self, group: Group) -> Result<Recovered, Error> {
        let mut found = replay(&self.log, Some(group))?;
        let facts = found.facts.remove(&group).unwrap_or_default();
        let snapshot = facts.snapshot.map(|pointer| self.read_snapshot(group, pointer)).transpose()?;
        Ok(Recovered {
            hard_state: facts.hard_state.unwrap_or_default(),
            conf_state: facts.members,
            snapshot,
            entries: found.entries,
            applied: 0,
        })
    }

    fn persist(&mut self, batch: &[(Group, Persist)]) -> Result<(), Fatal> {
        if self.given_up {
            return Err(Fatal(Error::GivenUp { path: self.log.clone() }));
        }
        if batch.is_empty() {
            return Ok(());
        }
        // Also if this panics half-way, nothing may be promised any more.
        self.given_up = true;
        self.write(batch)?;
        self.given_up = false;
        Ok(())
    }

    fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }
}

#[cfg(test)]
mod crash_tests;
