//! `Disk`: the store of a running master, on redb.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use master_raft::{Image, Persist, Recovered, Snapshot};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use crate::record::{self, Fact, Pointer};
use crate::snapshots::io_error;
use crate::{Error, Fatal, Group, LogStore, Snapshots};

const ABOUT: TableDefinition<&str, u64> = TableDefinition::new("about");
const META: TableDefinition<(u8, u8), &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("log");

/// Memory redb may use for pages: the tail of the log is in memory anyway, and is read from disk only at the start.
const CACHE_BYTES: usize = 4 << 20;

/// Entries a batch removes behind a snapshot, besides twice as many as it appends: a cut of ten thousand entries must
/// not hold up the heartbeats behind it.
const COMPACT_STEP: u64 = 64;

/// The store of a running master: one directory, locked while it is open.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    database: Database,
    snapshots: Snapshots,
    groups: BTreeMap<Group, Cut>,
    given_up: bool,
    /// Reused for each record.
    scratch: Vec<u8>,
}

/// Where a group's log on disk begins, and where it could.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    first: u64,
    needless_to: u64,
    snapshot: Option<u64>,
}

impl Disk {
    /// Opens the directory, or makes it. Checks every page of the database.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io_error("make", dir))?;
        let path = dir.join("log.redb");
        let created = builder().create(&path);
        let database = created.map_err(|error| open_error(&path, error))?;
        let sync_dir = || File::open(dir)?.sync_all();
        sync_dir().map_err(io_error("sync", dir))?;
        Self::with_database(path, database, Snapshots::open(dir.join("snapshots"))?)
    }

    fn with_database(path: PathBuf, database: Database, snapshots: Snapshots) -> Result<Self, Error> {
        let mut disk =
            Self { path, database, snapshots, groups: BTreeMap::new(), given_up: false, scratch: Vec::new() };
        disk.check_format()?;
        disk.find_groups()?;
        let keep: Vec<_> =
            disk.groups.iter().filter_map(|(group, cut)| Some((*group, cut.snapshot?))).collect();
        disk.snapshots.sweep(&keep);
        Ok(disk)
    }

    fn check_format(&mut self) -> Result<(), Error> {
        let look = || -> Result<Option<u64>, redb::Error> {
            let write = self.database.begin_write()?;
            let found = {
                let mut about = write.open_table(ABOUT)?;
                write.open_table(META)?;
                write.open_table(LOG)?;
                let found = about.get("format")?.map(|value| value.value());
                if found.is_none() {
                    about.insert("format", record::FORMAT)?;
                }
                found
            };
            if found.is_none() {
                write.commit()?;
            }
            Ok(found)
        };
        match look().map_err(|error| database_error("read the format of", &self.path, error))? {
            Some(found) if found != record::FORMAT => {
                Err(Error::Format { path: self.path.clone(), found, known: record::FORMAT })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn find_groups(&mut self) -> Result<(), Error> {
        let look = || -> Result<BTreeMap<Group, Option<Vec<u8>>>, redb::Error> {
            let read = self.database.begin_read()?;
            let meta = read.open_table(META)?;
            let mut groups = BTreeMap::new();
            for fact in meta.iter()? {
                let (key, value) = fact?;
                let (group, fact) = key.value();
                let pointer: &mut Option<Vec<u8>> = groups.entry(Group(group)).or_default();
                if fact == Fact::Snapshot as u8 {
                    *pointer = Some(value.value().to_vec());
                }
            }
            Ok(groups)
        };
        let found = look().map_err(|error| database_error("read", &self.path, error))?;
        for (group, pointer) in found {
            let pointer = pointer.map(|bytes| record::read_pointer(group, &bytes)).transpose();
            let pointer = pointer.map_err(|_| self.damaged_fact(group, Fact::Snapshot))?;
            let snapshot = pointer.map(|pointer| pointer.index);
            let first = self.first_entry(group)?.unwrap_or_default();
            // A restarted member begins at its snapshot; what it kept for followers a little behind goes.
            self.groups.insert(group, Cut { first, needless_to: snapshot.unwrap_or_default(), snapshot });
        }
        Ok(())
    }

    fn first_entry(&self, group: Group) -> Result<Option<u64>, Error> {
        let look = || -> Result<Option<u64>, redb::Error> {
            let log = self.database.begin_read()?.open_table(LOG)?;
            let first = log.range((group.0, 0)..=(group.0, u64::MAX))?.next();
            Ok(first.transpose()?.map(|(key, _)| key.value().1))
        };
        look().map_err(|error| database_error("read", &self.path, error))
    }

    fn damaged_fact(&self, group: Group, fact: Fact) -> Error {
        let what = match fact {
            Fact::HardState => "the hard state",
            Fact::Members => "the members",
            Fact::Snapshot => "the place of the snapshot",
        };
        Error::DamagedFact { path: self.path.clone(), group, what }
    }

    fn fact<T>(
        &self,
        group: Group,
        fact: Fact,
        read: impl Fn(Group, &[u8]) -> Result<T, record::Damaged>,
    ) -> Result<Option<T>, Error> {
        let look = || -> Result<Option<Vec<u8>>, redb::Error> {
            let meta = self.database.begin_read()?.open_table(META)?;
            Ok(meta.get((group.0, fact as u8))?.map(|value| value.value().to_vec()))
        };
        let record = look().map_err(|error| database_error("read", &self.path, error))?;
        record.map(|bytes| read(group, &bytes)).transpose().map_err(|_| self.damaged_fact(group, fact))
    }

    fn entries(&self, group: Group, after: u64) -> Result<Vec<master_raft::Entry>, Error> {
        let fail = |error: redb::Error| database_error("read", &self.path, error);
        let log = self.database.begin_read().map_err(|error| fail(error.into()))?;
        let log = log.open_table(LOG).map_err(|error| fail(error.into()))?;
        let range = log.range((group.0, after + 1)..=(group.0, u64::MAX));
        let mut entries = Vec::new();
        for (expected, item) in (after + 1..).zip(range.map_err(|error| fail(error.into()))?) {
            let (key, value) = item.map_err(|error| fail(error.into()))?;
            let (_, index) = key.value();
            if index != expected {
                return Err(Error::MissingEntry { path: self.path.clone(), group, index: expected });
            }
            let entry = record::read_entry(group, index, value.value());
            let damaged = |_| Error::DamagedEntry { path: self.path.clone(), group, index };
            entries.push(entry.map_err(damaged)?);
        }
        Ok(entries)
    }

    fn write(&mut self, batch: &[(Group, Persist)]) -> Result<(), Error> {
        let pointers = self.file_images(batch)?;
        let mut cuts = self.groups.clone();
        let path = self.path.clone();
        self.commit(batch, &pointers, &mut cuts).map_err(|error| database_error("write", &path, error))?;
        let before = std::mem::replace(&mut self.groups, cuts);
        for (group, cut) in before {
            let now = self.groups.get(&group).and_then(|cut| cut.snapshot);
            if let Some(old) = cut.snapshot.filter(|old| Some(*old) != now) {
                self.snapshots.remove(group, old);
            }
        }
        Ok(())
    }

    /// Snapshots go to their files first; only a committed pointer makes them count.
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

    fn commit(
        &mut self,
        batch: &[(Group, Persist)],
        pointers: &[Option<Pointer>],
        cuts: &mut BTreeMap<Group, Cut>,
    ) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut log = write.open_table(LOG)?;
            let mut meta = write.open_table(META)?;
            for ((group, persist), pointer) in batch.iter().zip(pointers) {
                let cut = cuts.entry(*group).or_default();
                if let Some(pointer) = pointer {
                    let record = record::pointer(*group, pointer);
                    meta.insert((group.0, Fact::Snapshot as u8), record.as_slice())?;
                    cut.snapshot = Some(pointer.index);
                }
                if let Some(from) = persist.truncate_from {
                    log.retain_in((group.0, from)..=(group.0, u64::MAX), |_, _| false)?;
                }
                cut.needless_to = cut.needless_to.max(persist.compact_to.unwrap_or_default());
                if let Some(first) = persist.entries.first() {
                    if cut.first == 0 {
                        cut.first = first.index;
                    }
                    let mut end = log.upper_bound_mut(Bound::Included((group.0, u64::MAX)))?;
                    for entry in &persist.entries {
                        record::write_entry(*group, entry, &mut self.scratch);
                        end.insert_before((group.0, entry.index), self.scratch.as_slice())?;
                    }
                    end.close()?;
                }
                if cut.first != 0 && cut.first <= cut.needless_to {
                    let step = COMPACT_STEP + 2 * persist.entries.len() as u64;
                    let to = cut.needless_to.min(cut.first.saturating_add(step - 1));
                    log.retain_in((group.0, cut.first)..=(group.0, to), |_, _| false)?;
                    cut.first = to + 1;
                }
                if let Some(state) = &persist.hard_state {
                    let record = record::hard_state(*group, state);
                    meta.insert((group.0, Fact::HardState as u8), record.as_slice())?;
                }
                if let Some((index, conf_state)) = &persist.conf_state {
                    let record = record::members(*group, *index, conf_state);
                    meta.insert((group.0, Fact::Members as u8), record.as_slice())?;
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl LogStore for Disk {
    fn recover(&mut self, group: Group) -> Result<Recovered, Error> {
        let hard_state = self.fact(group, Fact::HardState, record::read_hard_state)?;
        let conf_state = self.fact(group, Fact::Members, record::read_members)?;
        let pointer = self.fact(group, Fact::Snapshot, record::read_pointer)?;
        let snapshot = pointer.map(|pointer| self.read_snapshot(group, pointer)).transpose()?;
        let entries = self.entries(group, snapshot.as_ref().map_or(0, |snapshot| snapshot.index))?;
        Ok(Recovered {
            hard_state: hard_state.unwrap_or_default(),
            conf_state,
            snapshot,
            entries,
            applied: 0,
        })
    }

    fn persist(&mut self, batch: &[(Group, Persist)]) -> Result<(), Fatal> {
        if self.given_up {
            return Err(Fatal(Error::GivenUp { path: self.path.clone() }));
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

impl Disk {
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

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    // A plain open trusts a file that was closed properly; the log is small enough to be looked at.
    builder.set_check_integrity_on_open(true);
    builder
}

fn open_error(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse { path },
        error => database_error("open", &path, error.into()),
    }
}

fn database_error(operation: &'static str, path: &Path, error: redb::Error) -> Error {
    let path = path.to_path_buf();
    match error {
        redb::Error::Corrupted(what) => Error::Damaged { path, what },
        // So redb says that the file is none of its own.
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Error::Damaged { path, what: error.to_string() }
        }
        error => Error::Database { operation, path, source: Box::new(error) },
    }
}

#[cfg(test)]
mod crash_tests;
