//! `Slot`: one instance of a group: the tasks it has, and what became of those it had.

use proto::id::{AgentId, RunId, TaskId};
use proto::task::TaskState;

use crate::desired::{Counts, Revision, Standing};

/// One task of an instance.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub task: TaskId,
    pub revision: Revision,
    pub state: TaskState,
    pub run: Option<RunId>,
    pub place: Option<Home>,
    /// Whether its command may have been started.
    pub began: bool,
    /// Since when it runs, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// It runs, for as long as it takes to count as in service.
    pub ready: bool,
    pub leaving: Leaving,
}

/// Whether a task is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// Its owner takes its work away.
    Draining,
    /// The master was asked to end it.
    Ending,
    /// Out of sight for too long: its instance goes on without it. It was asked to end, should it come back.
    Abandoned,
}

/// Where an instance runs, or ran last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub agent: AgentId,
    /// What the agent has of the attribute that the group is spread by.
    pub value: String,
}

/// One instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// One, while it is replaced two; those that were abandoned besides.
    pub attempts: Vec<Attempt>,
    /// Its successor starts before it is ended.
    pub surging: bool,
    /// A pause after an end.
    pub resting: bool,
    /// It waits for its home, and not yet for any agent.
    pub homing: bool,
    pub counts: Counts,
    /// It is over, for this revision.
    pub over: Option<(Revision, TaskState)>,
    pub home: Option<Home>,
}

/// What a slot is to its group, for the group's indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    pub wanted: bool,
    /// It wants a task started.
    pub waits: bool,
    pub available: bool,
    pub running: bool,
    pub over: bool,
    pub resting: bool,
    pub leaving: bool,
    pub surging: bool,
    /// It has tasks and should have none.
    pub surplus: bool,
    /// It has more tasks than it should.
    pub doubled: bool,
    /// Its successor is in service.
    pub turns: bool,
    /// It runs an earlier revision, in service and without a successor.
    pub old_in_service: bool,
    /// It has a task of an earlier revision that serves nobody.
    pub old_idle: bool,
}

// === impl Attempt ===

impl Attempt {
    pub fn stays(&self) -> bool {
        self.leaving == Leaving::No
    }

    pub fn in_sight(&self) -> bool {
        self.state != TaskState::Unreachable
    }
}

// === impl Slot ===

impl Slot {
    pub fn attempt_mut(&mut self, task: &TaskId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.task == *task)
    }

    pub fn staying(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.stays())
    }

    /// Whether there is nothing to remember of it.
    pub fn is_blank(&self) -> bool {
        self.attempts.is_empty()
    }

    pub fn classify(&self, wanted: bool, revision: Revision) -> Class {
        let of = |old: bool| self.staying().filter(move |attempt| (attempt.revision != revision) == old);
        let (old, new) = (of(true).count(), of(false).count());
        let is_over = self.over.is_some();
        let present = self.attempts.iter().filter(|attempt| attempt.leaving != Leaving::Abandoned).count();
        let first = present == 0;
        let successor = self.surging && present == 1 && old == 1;
        let pair = self.surging && old == 1 && new == 1;
        let in_service = self.staying().any(|attempt| attempt.ready);
        Class {
            wanted,
            waits: wanted && !is_over && !self.resting && (first || successor),
            available: wanted && in_service,
            running: wanted && self.staying().any(|attempt| attempt.state == TaskState::Running),
            over: wanted && is_over,
            resting: wanted && self.resting,
            leaving: self.attempts.iter().any(|a| matches!(a.leaving, Leaving::Draining | Leaving::Ending)),
            surging: wanted && self.surging,
            surplus: !wanted && old + new > 0,
            doubled: wanted && old + new > 1 && !pair,
            turns: wanted && pair && of(false).any(|attempt| attempt.ready),
            old_in_service: wanted && !self.surging && of(true).any(|attempt| attempt.ready),
            old_idle: wanted && of(true).any(|attempt| !attempt.ready && attempt.in_sight()),
        }
    }

    /// How it stands as a member of an elastic group.
    pub fn standing(&self) -> Standing {
        let of = |attempt: &Attempt| match attempt.state {
            TaskState::Running => Standing::Running,
            TaskState::Unreachable => Standing::OutOfSight,
            _ => Standing::Starting,
        };
        self.staying().map(of).max().unwrap_or(Standing::Waiting)
    }
}
