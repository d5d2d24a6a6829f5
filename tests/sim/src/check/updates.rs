//! P4: the updates of a run come to its framework in order, without gaps, in each life of the framework.

use std::collections::BTreeMap;

use proto::id::RunId;
use proto::task::TaskStatus;

use super::{Verdict, broken};
use crate::node::Node;

/// The last update of each run that each life of each framework was told.
#[derive(Debug, Default)]
pub struct Updates {
    last: BTreeMap<(Node, u32, RunId), u64>,
    told: u64,
}

impl Updates {
    /// A framework is told a status.
    pub fn told(&mut self, framework: Node, life: u32, status: &TaskStatus) -> Verdict {
        self.told += 1;
        let Some(run) = status.run.filter(|_| status.sequence > 0) else { return Ok(()) };
        let last = self.last.entry((framework, life, run)).or_insert(status.sequence);
        if status.sequence < *last || status.sequence > *last + 1 {
            let (task, sequence) = (&status.task, status.sequence);
            return broken("P4 in order", format!("{framework} was told #{sequence} of {task} after #{last}"));
        }
        *last = status.sequence;
        Ok(())
    }

    /// How many statuses were told.
    pub fn count(&self) -> u64 {
        self.told
    }
}
