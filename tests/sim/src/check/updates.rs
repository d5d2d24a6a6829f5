//! P4: the updates of a run come to its framework in order and without gaps, in each life of the framework; what was not
//! taken in yet may come again.

use std::collections::BTreeMap;

use proto::id::RunId;
use proto::task::TaskStatus;

use super::{Verdict, broken};
use crate::node::Node;

/// The first and the last update of each run that each life of each framework was told.
#[derive(Debug, Default)]
pub struct Updates {
    between: BTreeMap<(Node, u32, RunId), (u64, u64)>,
    told: u64,
}

impl Updates {
    /// A framework is told a status. An agent whose machine lost its power may have forgotten what was acknowledged,
    /// and then tells a stream from its beginning.
    pub fn told(&mut self, framework: Node, life: u32, status: &TaskStatus, lost_power: bool) -> Verdict {
        self.told += 1;
        let Some(run) = status.run.filter(|_| status.sequence > 0) else { return Ok(()) };
        let sequence = status.sequence;
        let (first, last) = self.between.entry((framework, life, run)).or_insert((sequence, sequence));
        if sequence > *last + 1 || (sequence < *first && !lost_power) {
            let task = &status.task;
            return broken(
                "P4 in order",
                format!("{framework} was told #{sequence} of {task} after #{first} to #{last}"),
            );
        }
        *first = sequence.min(*first);
        *last = sequence.max(*last);
        Ok(())
    }

    /// How many statuses were told.
    pub fn count(&self) -> u64 {
        self.told
    }
}
