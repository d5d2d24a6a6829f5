//! Runs that are forgotten here and not yet at the keeper: it must remember how they ended until the ledger's last words
//! of them are on disk.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::id::RunId;
use proto_machine::Instant;

/// How long the first of them waits for others. One sync serves all, so an agent that ends many tasks makes one a
/// second for this and not one for each.
const WAIT: Duration = Duration::from_secs(1);
/// So many wait at most: each is an entry of the keeper's and a few cgroups.
const WAITING_MAX: usize = 256;

/// Runs whose last records may not be on disk.
#[derive(Default)]
pub(crate) struct Table {
    runs: BTreeSet<RunId>,
    due: Option<Instant>,
}

impl Table {
    /// One more.
    pub fn add(&mut self, run: RunId, now: Instant) {
        self.runs.insert(run);
        let due = if self.runs.len() < WAITING_MAX { now + WAIT } else { now };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether a run is among them.
    pub fn has(&self, run: RunId) -> bool {
        self.runs.contains(&run)
    }

    /// When they have waited long enough.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes all of them.
    pub fn take(&mut self) -> BTreeSet<RunId> {
        self.due = None;
        std::mem::take(&mut self.runs)
    }
}
