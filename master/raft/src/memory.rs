//! `MemoryLog`: the log since the last compaction, as the library reads it.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb;
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::{ConfState, Entry, HardState, NodeId, codec};

/// A copy in memory of the tail of the log. The disk is behind it by what has not been performed yet; the order of
/// outputs makes up for that.
pub(crate) struct MemoryLog {
    /// The entry before the first one kept.
    base: Place,
    entries: VecDeque<Entry>,
    /// Where the newest snapshot stands, with its members; never before `base`.
    snapshot: Option<(Place, ConfState)>,
    birth: RaftState,
    /// Somebody needs a newer snapshot than there is. In a cell, since the library asks by shared reference.
    outdated: Cell<bool>,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub index: u64,
    pub term: u64,
}

impl MemoryLog {
    /// The log as found on disk: `entries` follow the snapshot without gaps.
    pub fn new(snapshot: Option<(Place, ConfState)>, entries: Vec<Entry>, hard_state: &HardState) -> Self {
        let conf = snapshot.as_ref().map(|(_, conf)| codec::library_members(conf)).unwrap_or_default();
        let birth = RaftState::new(codec::library_hard_state(hard_state), conf);
        let base = snapshot.as_ref().map(|(place, _)| *place).unwrap_or_default();
        Self { base, entries: entries.into(), snapshot, birth, outdated: Cell::new(false) }
    }

    pub fn first(&self) -> u64 {
        self.base.index + 1
    }

    pub fn last(&self) -> u64 {
        self.base.index + self.entries.len() as u64
    }

    /// Whether somebody has needed a newer snapshot than there is since this was last asked.
    pub fn take_outdated(&self) -> bool {
        self.outdated.take()
    }

    pub fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |(place, _)| place.index)
    }

    /// The term of an entry that is kept, or of the one before.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    pub fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.first())?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Appends, after voiding what is in the way. Returns from where entries were voided.
    pub fn append(&mut self, entries: &[Entry]) -> Option<u64> {
        let first = entries.first()?.index;
        let keep = first.saturating_sub(self.first()) as usize;
        let conflict = keep < self.entries.len();
        self.entries.truncate(keep);
        self.entries.extend(entries.iter().cloned());
        conflict.then_some(first)
    }

    /// A leader's snapshot takes the place of everything.
    pub fn install(&mut self, place: Place, conf: ConfState) {
        self.base = place;
        self.entries.clear();
        self.snapshot = Some((place, conf));
    }

    /// An own snapshot becomes the newest. Entries it contains stay as long as those behind them, up to the
    /// snapshot, cost no more than `retained` bytes. Returns up to where entries were dropped, if any were.
    pub fn snapshot_taken(&mut self, place: Place, conf: ConfState, retained: u64) -> Option<u64> {
        self.snapshot = Some((place, conf));
        let mut cost = 0;
        let mut keep_from = place.index + 1;
        while let Some(entry) = self.get(keep_from - 1) {
            cost += entry.cost();
            if cost > retained {
                break;
            }
            keep_from -= 1;
        }
        let drop_to = keep_from - 1;
        let term = self.term_at(drop_to)?;
        let count = drop_to.checked_sub(self.base.index).filter(|count| *count > 0)?;
        self.entries.drain(..count as usize);
        // A burst may have grown the buffer far beyond what the log holds from now on.
        if self.entries.capacity() > 4 * self.entries.len().max(1024) {
            self.entries.shrink_to(2 * self.entries.len());
        }
        self.base = Place { index: drop_to, term };
        Some(drop_to)
    }

    /// What the entries in `(after, to]` cost.
    pub fn cost(&self, after: u64, to: u64) -> u64 {
        (after + 1..=to).filter_map(|index| self.get(index)).map(Entry::cost).sum()
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.birth.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let range = (low - self.first()) as usize..(high - self.first()) as usize;
        let mut size = 0u64;
        let mut entries = Vec::new();
        for entry in self.entries.range(range) {
            size = size.saturating_add(entry.cost());
            if size > max_size && !entries.is_empty() {
                break;
            }
            entries.push(codec::library_entry(entry));
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.term_at(index).ok_or(Error::Store(if index < self.base.index {
            StorageError::Compacted
        } else {
            StorageError::Unavailable
        }))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// A member takes only a snapshot in which it is a member. One that was added since the newest has to wait for the
    /// next, and the library asks again at its next answer.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        match &self.snapshot {
            Some((place, conf)) if place.index >= request_index && conf.contains(NodeId(to)) => {
                Ok(codec::library_snapshot(place.index, place.term, conf))
            }
            Some(_) | None => {
                self.outdated.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryKind, NodeId};

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, kind: EntryKind::Normal, data: vec![0; 36].into() }
    }

    fn log() -> MemoryLog {
        let conf = ConfState::of(&[NodeId(1)]);
        let snapshot = Some((Place { index: 10, term: 2 }, conf));
        MemoryLog::new(snapshot, (11..=20).map(|index| entry(index, 3)).collect(), &HardState::default())
    }

    fn read(log: &MemoryLog, low: u64, high: u64, max: Option<u64>) -> raft::Result<Vec<u64>> {
        let entries = log.entries(low, high, max, GetEntriesContext::empty(false))?;
        Ok(entries.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn reads_know_their_bounds() {
        let log = log();
        assert_eq!(read(&log, 11, 14, None).unwrap(), [11, 12, 13]);
        assert_eq!(read(&log, 11, 21, Some(250)).unwrap(), [11, 12]);
        assert_eq!(read(&log, 11, 21, Some(0)).unwrap(), [11]);
        assert_eq!(read(&log, 10, 12, None), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(read(&log, 11, 22, None), Err(Error::Store(StorageError::Unavailable)));
        assert_eq!(log.term(9), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(log.term(10), Ok(2));
        assert_eq!(log.term(20), Ok(3));
        assert_eq!(log.term(21), Err(Error::Store(StorageError::Unavailable)));
    }

    #[test]
    fn a_conflicting_suffix_is_voided() {
        let mut log = log();
        assert_eq!(log.append(&[entry(21, 3)]), None);
        assert_eq!(log.append(&[entry(15, 4), entry(16, 4)]), Some(15));
        assert_eq!(log.last(), 16);
        assert_eq!(log.term(14), Ok(3));
        assert_eq!(log.term(16), Ok(4));
        assert_eq!(log.append(&[]), None);
    }

    #[test]
    fn a_snapshot_keeps_a_tail_for_those_a_little_behind() {
        let mut log = log();
        let place = Place { index: 18, term: 3 };
        assert_eq!(log.snapshot_taken(place, ConfState::of(&[NodeId(1)]), 300), Some(15));
        assert_eq!((log.first(), log.last(), log.snapshot_index()), (16, 20, 18));
        assert_eq!(log.term(15), Ok(3));
        let again = Place { index: 19, term: 3 };
        assert_eq!(log.snapshot_taken(again, ConfState::of(&[NodeId(1)]), 10_000), None);
        assert_eq!(log.snapshot_taken(again, ConfState::of(&[NodeId(1)]), 0), Some(19));
        assert_eq!(log.snapshot(0, 1).unwrap().get_metadata().index, 19);
        assert!(!log.take_outdated());
        assert!(log.snapshot(0, 2).is_err(), "2 is no member there");
        assert!(log.take_outdated());
        assert_eq!((log.first(), log.last()), (20, 20));
    }
}
