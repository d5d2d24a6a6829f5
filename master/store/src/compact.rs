//! Compaction: what was replaced up to a revision is forgotten, when it is asked for or when too much gathers.

use std::collections::BTreeSet;

use proto::store::Bytes;

use crate::{Fault, HISTORY_BYTES_MAX, Space};

impl Space {
    /// Forgets what was replaced up to a revision.
    pub(crate) fn compact(&mut self, revision: u64) -> Result<(), Fault> {
        if revision <= self.compacted {
            return Err(Fault::Compacted { compacted: self.compacted });
        }
        if revision > self.revision {
            return Err(Fault::Future { revision: self.revision });
        }
        self.forget(revision);
        Ok(())
    }

    /// When more gathers than may, the older half of it goes, by revisions: a few large steps instead of one at each put.
    pub(crate) fn bound_history(&mut self) {
        if self.history_bytes() <= HISTORY_BYTES_MAX {
            return;
        }
        // What a change replaced is at most forgotten at that change; sizes of the changes themselves stand for it.
        let total: u64 = self.history.iter().map(|version| version.cost()).sum();
        let mut passed = 0;
        let middle = self.history.iter().find(|version| {
            passed += version.cost();
            passed * 2 >= total
        });
        if let Some(revision) = middle.map(|version| version.mod_revision) {
            self.forget(revision.max(self.compacted + 1).min(self.revision));
        }
        if self.history_bytes() > HISTORY_BYTES_MAX {
            self.forget(self.revision);
        }
    }

    pub(crate) fn forget(&mut self, revision: u64) {
        // A version that was replaced up to there was replaced by one that the history still has.
        let keys: BTreeSet<Bytes> = self
            .history
            .iter()
            .take_while(|version| version.mod_revision <= revision)
            .map(|version| version.key.clone())
            .collect();
        for key in keys {
            let Some(chain) = self.chains.get_mut(&key) else { continue };
            self.bytes -= chain.compact(revision);
            if chain.is_empty() {
                self.chains.remove(&key);
            }
        }
        // What changed at the revision itself can still be watched.
        let behind = self.history.partition_point(|version| version.mod_revision < revision);
        self.history.drain(..behind);
        self.compacted = revision;
    }
}
