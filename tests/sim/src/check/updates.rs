//! P4: the updates of a run come to its framework in order and without gaps, in each life of the framework, the next only
//! when the one before is taken in; until then that one may come again.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::{RunId, TaskId};
use proto::scheduler::Acknowledge;
use proto::task::{TaskState, TaskStatus};

use super::{Verdict, broken};
use crate::node::Node;

type Key = (Option<RunId>, u64, Option<TaskState>);

/// The first and the last update of each run that each life of each framework was told.
#[derive(Debug, Default)]
pub struct Updates {
    between: BTreeMap<(Node, u32, RunId), (u64, u64)>,
    /// What each life was told of each task and has not taken in.
    open: BTreeMap<(Node, u32, TaskId), Key>,
    /// What was taken in, in any life and by any instance of its framework: one may acknowledge for those it succeeds.
    taken: BTreeSet<(RunId, u64)>,
    told: u64,
}

impl Updates {
    /// A framework is told a status. An agent whose machine lost its power may have forgotten what was acknowledged,
    /// and then tells a stream from its beginning.
    pub fn told(&mut self, framework: Node, life: u32, status: &TaskStatus, lost_power: bool) -> Verdict {
        self.told += 1;
        let this = key(status);
        let open = self.open.entry((framework, life, status.task.clone())).or_insert(this);
        if *open != this {
            let (task, this, open) = (&status.task, (status.sequence, status.state.as_str()), *open);
            let how = format!("{framework} was told {this:?} of {task} and has not yet taken in {open:?}");
            return broken("P4 one at a time", how);
        }
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

    /// A framework has taken a status in.
    pub fn taken_in(&mut self, framework: Node, life: u32, status: &TaskStatus) {
        self.taken.extend(status.run.map(|run| (run, status.sequence)));
        let of = (framework, life, status.task.clone());
        if self.open.get(&of) == Some(&key(status)) {
            self.open.remove(&of);
        }
    }

    /// A framework acknowledges a status: whoever does has taken it in.
    pub fn acknowledged(&self, framework: Node, call: &Acknowledge) -> Verdict {
        if self.taken.contains(&(call.run, call.sequence)) {
            return Ok(());
        }
        let Acknowledge { task, sequence, .. } = call;
        let how = format!("{framework} acknowledged #{sequence} of {task} and has not taken it in");
        broken("P4 acknowledged when taken in", how)
    }

    /// How many statuses were told.
    pub fn count(&self) -> u64 {
        self.told
    }
}

/// One update is another when it has another place in its run's stream, or has none and says something else.
fn key(status: &TaskStatus) -> Key {
    (status.run, status.sequence, Some(status.state).filter(|_| status.sequence == 0))
}
