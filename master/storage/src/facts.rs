//! Facts: what the log says of a group besides entries. Each new file of the log begins with those of all groups.

use std::collections::BTreeMap;

use master_raft::{ConfState, HardState};

use crate::Group;
use crate::record::{self, Pointer};

/// The facts of all groups ever heard of.
pub(crate) type AllFacts = BTreeMap<Group, Facts>;

/// The newest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub hard_state: Option<HardState>,
    pub members: Option<(u64, ConfState)>,
    pub snapshot: Option<Pointer>,
}

impl Facts {
    /// The last entry that the snapshot contains.
    pub(crate) fn covered(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |pointer| pointer.index)
    }

    fn put(&self, to: &mut Vec<u8>, group: Group) {
        if let Some(state) = &self.hard_state {
            record::put_hard_state(to, group, state);
        }
        if let Some((index, conf_state)) = &self.members {
            record::put_members(to, group, *index, conf_state);
        }
        if let Some(pointer) = &self.snapshot {
            record::put_snapshot(to, group, pointer);
        }
    }
}

/// The batch that says all of it again.
pub(crate) fn batch(facts: &AllFacts) -> Vec<u8> {
    let mut batch = Vec::new();
    facts.iter().for_each(|(group, facts)| facts.put(&mut batch, *group));
    batch
}
