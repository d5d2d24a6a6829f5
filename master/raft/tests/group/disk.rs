//! `Disk`: what a member has stored, as a store is told to keep it.

use std::collections::BTreeMap;

use master_raft::{ConfState, Entry, HardState, Persist, Recovered, Snapshot};

#[derive(Clone, Debug, Default)]
pub struct Disk {
    hard_state: HardState,
    conf_state: Option<(u64, ConfState)>,
    pub snapshot: Option<Snapshot>,
    entries: BTreeMap<u64, Entry>,
    /// A store may put off the removal of compacted entries.
    lazy: bool,
    sequence: u64,
}

impl Disk {
    pub fn new(lazy: bool) -> Self {
        Self { lazy, ..Self::default() }
    }

    pub fn store(&mut self, persist: &Persist) {
        assert_eq!(persist.sequence, self.sequence + 1, "a persist is missing");
        self.sequence = persist.sequence;
        if let Some(snapshot) = &persist.snapshot {
            let before = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
            assert!(snapshot.index > before, "an older snapshot");
            self.snapshot = Some(snapshot.clone());
        }
        if let Some(from) = persist.truncate_from {
            self.entries.split_off(&from);
        }
        if let Some(to) = persist.compact_to
            && !self.lazy
        {
            let snapshot = self.snapshot.as_ref().expect("entries go only after a snapshot");
            assert!(to <= snapshot.index);
            self.entries = self.entries.split_off(&(to + 1));
        }
        for entry in &persist.entries {
            let covered = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
            if let Some((last, _)) = self.entries.last_key_value().filter(|(last, _)| **last > covered) {
                assert_eq!(entry.index, last + 1, "a gap, or an overlap that was not truncated");
            }
            self.entries.insert(entry.index, entry.clone());
        }
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "terms never go back");
            assert!(hard_state.commit >= self.hard_state.commit, "what is committed stays so");
            let voted = self.hard_state.vote.filter(|_| hard_state.term == self.hard_state.term);
            assert!(voted.is_none() || voted == hard_state.vote, "a vote was taken back");
            self.hard_state = hard_state;
        }
        if let Some((index, conf_state)) = &persist.conf_state {
            assert!(*index <= self.hard_state.commit, "members of an entry not known to be committed");
            self.conf_state = Some((*index, conf_state.clone()));
        }
    }

    pub fn recover(&mut self) -> Recovered {
        self.sequence = 0;
        Recovered {
            hard_state: self.hard_state,
            conf_state: self.conf_state.clone(),
            snapshot: self.snapshot.clone(),
            entries: self.entries.values().cloned().collect(),
            applied: 0,
        }
    }
}
