//! What an agent writes down before it acts.

use std::time::Duration;

use crate::id::{Epoch, FrameworkId, RunId};
use crate::task::{StatusReason, TaskInfo, TaskStatus};
use crate::volume::Volume;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A run was taken on; written before anything of it starts.
    RunTaken(RunTaken),
    /// A status was reached; written before it is sent.
    Reached(Reached),
    /// The framework has every update up to this one.
    Acknowledged(Acknowledged),
    /// Somebody wants the run to end.
    KillTaken(KillTaken),
    /// The run is over and acknowledged.
    Forgotten(Forgotten),
    /// A newer leader was obeyed.
    EpochSeen(Epoch),
    /// The command of a run that is watched was executed.
    Started(Started),
}

/// A run was taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTaken {
    /// Which.
    pub run: RunId,
    /// Whose.
    pub framework: FrameworkId,
    /// What.
    pub task: TaskInfo,
    /// Who registered the framework; empty in ledgers of before it was kept.
    pub principal: String,
    /// The volumes among its resources.
    pub volumes: Vec<Volume>,
}

/// A status was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whose.
    pub framework: FrameworkId,
    /// The status; its run and sequence are set.
    pub status: TaskStatus,
}

/// The framework has every update up to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Of which run.
    pub run: RunId,
    /// Up to which.
    pub sequence: u64,
}

/// Somebody wants the run to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillTaken {
    /// Which.
    pub run: RunId,
    /// Time between TERM and KILL.
    pub grace: Duration,
    /// Why, when the agent itself wants it; `None` when somebody asked for it.
    pub reason: StatusReason,
    /// The same for people.
    pub message: String,
}

/// The command of a run that is watched, by its longest run time or by checks, was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Which.
    pub run: RunId,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The run is over and acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Which.
    pub run: RunId,
}
