//! Pretend disks: what was not synced may be gone after a crash, and what was written in part is not there.

use std::collections::BTreeMap;

use master_raft::{ConfState, Entry, HardState, Image, Persist, Recovered, Snapshot};
use proto::ledger::Record;

/// A master's log and snapshot. Each step is durable as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct LogDisk {
    hard_state: HardState,
    conf_state: Option<(u64, ConfState)>,
    snapshot: Option<Snapshot>,
    entries: BTreeMap<u64, Entry>,
    /// The note beside the log that there was one.
    begun: bool,
    /// What became of it. Checkers still see what it held: that was acknowledged.
    harm: Option<Harm>,
}

/// What becomes of what was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// A bit of it is not what was written.
    Flipped,
    /// It is not there any more.
    Gone,
}

impl LogDisk {
    /// What a master finds when it starts, or why it must not start: a bit that flipped is seen by the checksum of its
    /// frame, and a log that is gone by the note that there was one.
    pub fn open(&mut self) -> Result<Recovered, Harm> {
        match self.harm {
            Some(Harm::Flipped) => Err(Harm::Flipped),
            Some(Harm::Gone) if self.begun => Err(Harm::Gone),
            Some(Harm::Gone) => {
                *self = LogDisk::default();
                Ok(self.recover())
            }
            None => Ok(self.recover()),
        }
    }

    /// Something becomes of what is there.
    pub fn suffers(&mut self, harm: Harm) {
        self.harm = Some(harm);
    }

    /// Begins anew where nothing must be begun anew: only a bug that is put in on purpose does this.
    pub fn wipe(&mut self) {
        *self = LogDisk::default();
    }

    /// Whether what was written can be read.
    pub fn is_sound(&self) -> bool {
        self.harm.is_none()
    }

    /// The members, as far as they are durable.
    pub fn members(&self) -> Option<&ConfState> {
        self.conf_state.as_ref().map(|(_, members)| members)
    }
    /// Makes a step durable; what is wrong with it if it does not fit to what is there.
    pub fn store(&mut self, persist: &Persist) -> Result<(), String> {
        if let Some(snapshot) = &persist.snapshot {
            if self.snapshot.as_ref().is_some_and(|old| old.index >= snapshot.index) {
                return Err(format!("snapshot {} is older than the one there", snapshot.index));
            }
            self.snapshot = Some(snapshot.clone());
        }
        if let Some(from) = persist.truncate_from {
            self.entries.split_off(&from);
        }
        if let Some(to) = persist.compact_to {
            if self.snapshot.as_ref().is_none_or(|snapshot| snapshot.index < to) {
                return Err(format!("entries up to {to} go without a snapshot"));
            }
            self.entries = self.entries.split_off(&(to + 1));
        }
        let covered = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        for entry in &persist.entries {
            let last = self.entries.last_key_value().map(|(last, _)| *last).filter(|last| *last > covered);
            if last.is_some_and(|last| entry.index != last + 1) {
                return Err(format!("entry {} leaves a gap or an overlap", entry.index));
            }
            self.entries.insert(entry.index, entry.clone());
        }
        if let Some(hard_state) = persist.hard_state {
            if hard_state.term < self.hard_state.term {
                return Err(format!("term {} after {}", hard_state.term, self.hard_state.term));
            }
            self.hard_state = hard_state;
        }
        if let Some(conf_state) = &persist.conf_state {
            self.conf_state = Some(conf_state.clone());
        }
        self.begun = true;
        Ok(())
    }

    /// The last entry that is there, or that the snapshot holds.
    pub fn last_index(&self) -> u64 {
        let entry = self.entries.last_key_value().map_or(0, |(last, _)| *last);
        entry.max(self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index))
    }

    /// The term that it knows of, and for whom it voted in it.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// What a master finds when it starts.
    pub fn recover(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            conf_state: self.conf_state.clone(),
            snapshot: self.snapshot.clone(),
            entries: self.entries.values().cloned().collect(),
            applied: 0,
        }
    }

    /// The image of the snapshot at an index, if that is the one there.
    pub fn image(&self, index: u64) -> Option<Image> {
        self.snapshot
            .as_ref()
            .filter(|snapshot| snapshot.index == index)
            .map(|snapshot| snapshot.image.clone())
    }
}

/// An agent's ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerDisk {
    records: Vec<Record>,
    synced: usize,
    /// How many there were when the latest batch began.
    before: usize,
}

impl LedgerDisk {
    /// Writes a record: it survives the process, and the machine once it is synced.
    pub fn write(&mut self, record: Record) {
        self.records.push(record);
    }

    /// What is written from now on belongs together.
    pub fn begin_batch(&mut self) {
        self.before = self.records.len();
    }

    /// How many records of the latest batch are not synced.
    pub fn unsynced_of_batch(&self) -> usize {
        self.records.len() - self.before.max(self.synced).min(self.records.len())
    }

    /// Everything written survives from now on.
    pub fn sync(&mut self) {
        self.synced = self.records.len();
    }

    /// Replaces everything.
    pub fn rewrite(&mut self, records: Vec<Record>) {
        self.records = records;
        self.sync();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records are not synced.
    pub fn unsynced(&self) -> usize {
        self.records.len() - self.synced
    }

    /// The last so many records, which are not synced, are gone.
    pub fn lose(&mut self, count: usize) {
        self.records.truncate(self.records.len() - count.min(self.unsynced()));
    }

    /// All records, synced, as an agent finds them when it starts.
    pub fn open(&mut self) -> Vec<Record> {
        self.sync();
        self.records.clone()
    }
}
