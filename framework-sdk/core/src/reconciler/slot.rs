//! `Slot`: one instance of a group: the tasks it has, and what became of those it had.

use proto::id::{AgentId, RunId, TaskId};
use proto::task::TaskState;

use super::parts::Parts;
use super::volumes::Kept;
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
    /// Since when it runs and its checks, as far as it has any, say that it serves.
    pub serves_since_ms: Option<u64>,
    /// It serves, for as long as it takes to count as in service.
    pub ready: bool,
    pub leaving: Leaving,
    /// Its agent is to be empty.
    pub draining: bool,
    /// How each stands of those that it is, when it is several tasks.
    pub parts: Parts,
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
    /// One; those that were abandoned besides.
    pub attempts: Vec<Attempt>,
    /// A pause after an end.
    pub resting: bool,
    /// It waits for its home, and not yet for any agent.
    pub homing: bool,
    pub counts: Counts,
    /// It is over, as far as this revision is what it should run.
    pub over: Option<(Revision, TaskState)>,
    pub home: Option<Home>,
    /// The volume that it comes back to.
    pub kept: Option<Kept>,
}

/// What an instance is to its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// One of those that there should be.
    Member,
    /// One above their number, while they change.
    Extra,
    /// It should not be.
    #[default]
    None,
}

/// What a slot is to its group, for the group's indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    pub member: bool,
    /// One above the number, with a task.
    pub extra: bool,
    /// It wants a task started.
    pub waits: bool,
    /// A member in service.
    pub available: bool,
    /// One above the number in service.
    pub spare: bool,
    pub running: bool,
    pub over: bool,
    /// It is over and should not be.
    pub over_badly: bool,
    /// In service with the spec as stated, or over with it.
    pub changed: bool,
    pub resting: bool,
    pub leaving: bool,
    /// It has tasks and should have none.
    pub surplus: bool,
    /// It has more tasks than it should.
    pub doubled: bool,
    /// It has tasks that should have ended with the first of them.
    pub orphaned: bool,
    /// A member with a task of another revision than it should have.
    pub old: bool,
    /// The same, in service.
    pub old_in_service: bool,
    /// It has a task of another revision that serves nobody.
    pub old_idle: bool,
}

// === impl Attempt ===

impl Attempt {
    /// A task of which nothing is known but where it is to be.
    pub fn new(task: TaskId, revision: Revision, place: Option<Home>) -> Self {
        Attempt {
            task,
            revision,
            state: TaskState::Staging,
            run: None,
            place,
            began: false,
            since_ms: None,
            serves_since_ms: None,
            ready: false,
            leaving: Leaving::No,
            draining: false,
            parts: Parts::default(),
        }
    }

    pub fn stays(&self) -> bool {
        self.leaving == Leaving::No
    }

    /// Whether its instance goes on without it.
    pub fn is_abandoned(&self) -> bool {
        self.leaving == Leaving::Abandoned
    }

    /// Whether it is on its way out and has not ended.
    pub fn is_leaving(&self) -> bool {
        matches!(self.leaving, Leaving::Draining | Leaving::Ending)
    }

    /// Whether its instance should run something else; `aim` is `None` when whatever it runs is right.
    pub fn is_wrong(&self, aim: Option<Revision>) -> bool {
        aim.is_some_and(|aim| self.revision != aim)
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

    /// Whether it is over, when it should run this; `None`: when whatever it runs is right.
    pub fn is_over(&self, aim: Option<Revision>) -> bool {
        self.over.is_some_and(|(of, _)| aim.is_none_or(|aim| aim == of))
    }

    /// What it is, when it should run `aim` (`None`: whatever it runs is right), the spec as stated is `stated`, and it
    /// moves off agents that are to be empty or does not.
    pub fn classify(&self, part: Part, aim: Option<Revision>, stated: Revision, moves: bool) -> Class {
        let wrong = |attempt: &Attempt| attempt.is_wrong(aim) || moves && attempt.draining;
        let (member, extra) = (part == Part::Member, part == Part::Extra);
        let is_over = self.is_over(aim);
        let over_well =
            |(_, state): (Revision, TaskState)| matches!(state, TaskState::Finished | TaskState::Killed);
        let ended_well = is_over && self.over.is_some_and(over_well);
        let changed_over = ended_well && self.over.is_some_and(|(of, _)| of == stated);
        let present = self.attempts.iter().filter(|attempt| attempt.leaving != Leaving::Abandoned).count();
        let in_service = self.staying().any(|attempt| attempt.ready);
        Class {
            member,
            extra: extra && present > 0,
            waits: (member || extra) && !is_over && !self.resting && present == 0,
            available: member && in_service,
            spare: extra && in_service,
            running: member && self.staying().any(|attempt| attempt.state == TaskState::Running),
            over: member && is_over,
            over_badly: member && is_over && !ended_well,
            changed: member && (changed_over || self.staying().any(|a| a.ready && a.revision == stated)),
            resting: member && self.resting,
            leaving: self.attempts.iter().any(Attempt::is_leaving),
            surplus: part == Part::None && self.staying().next().is_some(),
            orphaned: self.staying().any(|a| a.parts.are_orphans_of(&a.task)),
            doubled: part != Part::None && self.staying().count() > 1,
            old: member && self.staying().any(wrong),
            old_in_service: member && self.staying().any(|a| wrong(a) && a.ready),
            old_idle: part != Part::None && self.staying().any(|a| wrong(a) && !a.ready && a.in_sight()),
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
