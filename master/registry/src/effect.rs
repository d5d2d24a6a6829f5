//! What applying an entry did, as far as the one who proposed it needs to know.

use proto::caller::Caller;
use proto::id::{FrameworkId, RunId, TaskId};
use proto::log::TaskRecord;

/// A task by framework and id.
pub type TaskKey = (FrameworkId, TaskId);

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Facts changed; look them up.
    Done,
    /// Nothing changed: it was done before, or what it speaks of is not there any more.
    Nothing,
    /// Nothing changed: a later instance of the framework, this one, was there before it.
    Fenced(u64),
    /// The accept was carried out.
    Launched {
        /// These tasks are new, in the order of the accept.
        runs: Vec<(TaskKey, RunId)>,
        /// These ended at once, because their agent was lost before them in the log; they stand among the ended ones.
        dropped: Vec<TaskRecord>,
    },
    /// This operation was carried out before, at this index.
    Repeated(u64),
    /// These tasks are out of sight.
    OutOfSight(Vec<TaskKey>),
    /// These tasks ended; they stand among the ended ones.
    Ended(Vec<TaskRecord>),
    /// A token was used, and this principal may now what it said.
    Granted(Caller),
    /// These tasks are to be killed.
    ToKill(Vec<TaskKey>),
}
