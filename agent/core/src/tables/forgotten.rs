//! How the runs that were forgotten last ended: a launch that comes late must not start one of them again.

use std::collections::{BTreeMap, VecDeque};

use proto::agent_link::Update;
use proto::id::RunId;

/// So many are kept. A launch is said again only to an agent that has just registered, so what can come late is what
/// was on its way then.
const KEPT: usize = 1024;

/// The last terminal update of each of the runs forgotten last.
#[derive(Default)]
pub(crate) struct Table {
    by_run: BTreeMap<RunId, Update>,
    /// Oldest first; the same runs as in `by_run`.
    order: VecDeque<RunId>,
}

impl Table {
    /// Keeps one, and lets the oldest go.
    pub fn keep(&mut self, run: RunId, update: Update) {
        if self.by_run.insert(run, update).is_none() {
            self.order.push_back(run);
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_run.remove(&oldest);
        }
    }

    /// How a run ended.
    pub fn get(&self, run: RunId) -> Option<&Update> {
        self.by_run.get(&run)
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (RunId, &Update)> + '_ {
        self.order.iter().filter_map(|run| self.by_run.get(run).map(|update| (*run, update)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut table = Table::default();
        for n in 0..KEPT as u64 + 1 {
            let update =
                Update { framework: fixtures::framework(), status: fixtures::status(RunId::at(n, 0)) };
            table.keep(RunId::at(n, 0), update);
        }
        assert!(table.get(RunId::at(0, 0)).is_none());
        assert!(table.get(RunId::at(1, 0)).is_some());
        assert_eq!(table.iter().count(), KEPT);
    }
}
