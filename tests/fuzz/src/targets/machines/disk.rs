//! The disk of a member, and what must be true of all that is written to it.

use std::collections::BTreeMap;

use master_raft::{EntryKind, NodeId, Persist, Recovered};

use crate::target::ensure;

/// What was persisted, and what that promises.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) holds: Recovered,
    sequence: u64,
    votes: BTreeMap<u64, NodeId>,
}

// === impl Disk ===

impl Disk {
    /// The machine is started again: its steps are counted anew.
    pub(super) fn restarted(&mut self) -> Recovered {
        self.sequence = 0;
        self.holds.clone()
    }

    /// Whether the entry there is one of consensus itself, which no state machine is given.
    pub(super) fn is_of_consensus(&self, index: u64) -> bool {
        let entry = self.holds.entries.iter().find(|entry| entry.index == index);
        entry.is_some_and(|entry| entry.kind != EntryKind::Normal || entry.data.is_empty())
    }

    /// Writes a step down. The number of it.
    pub(super) fn keep(&mut self, persist: Persist) -> Result<u64, String> {
        let holds = &mut self.holds;
        ensure(persist.sequence == self.sequence + 1, || {
            format!("step {} after {}", persist.sequence, self.sequence)
        })?;
        self.sequence = persist.sequence;
        if let Some(snapshot) = persist.snapshot {
            let before = holds.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
            ensure(snapshot.index >= before, || format!("a snapshot of {} after {before}", snapshot.index))?;
            holds.snapshot = Some(snapshot);
        }
        if let Some(from) = persist.truncate_from {
            let committed = holds.hard_state.commit;
            ensure(from > committed, || format!("{committed} is committed, and {from} is void"))?;
            holds.entries.retain(|entry| entry.index < from);
        }
        let covered = holds.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let needless = persist.compact_to.unwrap_or_default().min(covered);
        holds.entries.retain(|entry| entry.index > needless);
        for entry in persist.entries {
            let last = holds.entries.last().map_or(covered, |entry| entry.index.max(covered));
            ensure(entry.index == last + 1, || format!("entry {} behind {last}", entry.index))?;
            holds.entries.push(entry);
        }
        if let Some(state) = persist.hard_state {
            let before = holds.hard_state;
            ensure(state.term >= before.term, || format!("term {} after {}", state.term, before.term))?;
            ensure(state.commit >= before.commit, || {
                format!("commit {} after {}", state.commit, before.commit)
            })?;
            if let Some(vote) = state.vote {
                let given = *self.votes.entry(state.term).or_insert(vote);
                ensure(given == vote, || format!("votes for {given} and for {vote} in term {}", state.term))?;
            }
            holds.hard_state = state;
        }
        holds.conf_state = persist.conf_state.or(holds.conf_state.take());
        Ok(persist.sequence)
    }
}
