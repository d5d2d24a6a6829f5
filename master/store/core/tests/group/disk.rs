//! `Disk`: what a member has stored, as a store is told to keep it.

use std::collections::BTreeMap;

use master_raft::{ConfState, Entry, HardState, Image, Persist, Recovered, Snapshot};

#[derive(Clone, Debug, Default)]
pub struct Disk {
    hard_state: HardState,
    conf_state: Option<(u64, ConfState)>,
    snapshot: Option<Snapshot>,
    entries: BTreeMap<u64, Entry>,
}

impl Disk {
    pub fn store(&mut self, persist: &Persist) {
        if let Some(snapshot) = &persist.snapshot {
            self.snapshot = Some(snapshot.clone());
        }
        if let Some(from) = persist.truncate_from {
            self.entries.split_off(&from);
        }
        if let Some(to) = persist.compact_to {
            self.entries = self.entries.split_off(&(to + 1));
        }
        self.entries.extend(persist.entries.iter().map(|entry| (entry.index, entry.clone())));
        self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
        if let Some(conf_state) = &persist.conf_state {
            self.conf_state = Some(conf_state.clone());
        }
    }

    pub fn recover(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            conf_state: self.conf_state.clone(),
            snapshot: self.snapshot.clone(),
            entries: self.entries.values().cloned().collect(),
            applied: 0,
        }
    }

    pub fn image(&self, index: u64) -> Option<Image> {
        self.snapshot
            .as_ref()
            .filter(|snapshot| snapshot.index == index)
            .map(|snapshot| snapshot.image.clone())
    }
}
