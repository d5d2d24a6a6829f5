//! Watching: what changed from a revision on, in whole revisions.

use proto::store::{Event, KeyValue, Keys};

use crate::{Fault, Space};

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In order.
    pub events: Vec<Event>,
    /// From where to go on: all wanted changes before it are told.
    pub next: u64,
}

impl Space {
    /// What changed of these keys from a revision on. Stops, between two revisions, when about `bytes` have gathered; then
    /// `next` is not behind the present revision. A revision that does not exist yet has no changes.
    pub fn changes(&self, keys: &Keys, from: u64, prev_kv: bool, bytes: u64) -> Result<Changes, Fault> {
        if from < self.compacted {
            return Err(Fault::Compacted { compacted: self.compacted });
        }
        let mut changes = Changes { events: Vec::new(), next: from.max(self.revision + 1) };
        let first = self.history.partition_point(|version| version.mod_revision < from);
        let mut gathered = 0;
        let mut last = 0;
        for version in self.history.range(first..).filter(|version| keys.contains(&version.key)) {
            if gathered >= bytes && version.mod_revision != last {
                changes.next = version.mod_revision;
                break;
            }
            last = version.mod_revision;
            let before = match prev_kv {
                true => self.before(&version.key, version.mod_revision),
                false => None,
            };
            gathered += version.cost() + before.as_ref().map_or(0, |before| before.value.len() as u64);
            changes.events.push(Event {
                kv: version.to_kv(),
                deleted: version.is_tombstone(),
                prev_kv: before,
            });
        }
        Ok(changes)
    }

    /// The key as it was before a revision, if it was there and is remembered.
    fn before(&self, key: &[u8], revision: u64) -> Option<KeyValue> {
        Some(self.chains.get(key)?.at(revision.checked_sub(1)?)?.to_kv())
    }
}
