//! What an author tells a reconciler, and what it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use proto::id::{AgentId, FrameworkId, TaskId, VolumeId};
use proto::refusal::Refusal;
use proto::task::{TaskState, TaskStatus};

use super::resume::Past;
use crate::desired::{ElasticSet, Group, GroupName, InstanceName, Revision};
use crate::scheduler::{Draining, Session};

/// What an author wants of a reconciler.
#[derive(Clone, Debug)]
pub enum Order {
    /// A group should be as stated here. Tasks that an earlier life of the framework left of it go on.
    Submit(Group),
    /// The same, of a group that an earlier life stated, with what its author remembers of the instances: see
    /// [`super::Reconciler::remembered_by_author`].
    Resume(Group, BTreeMap<u32, Past>),
    /// Instances of a group that have no task begin anew: those that are over, that rest, that were tried in vain.
    Renew(GroupName),
    /// An instance that rests after an end is not started again: it is over, having ended so.
    GiveUp(InstanceName, TaskState),
    /// Exactly these groups should be, and no others.
    Exactly(Vec<Group>),
    /// A group should not be. It is an order, too, about groups of which only earlier lives knew.
    Withdraw(GroupName),
    /// An elastic group aims at something else.
    Aim(GroupName, ElasticSet),
    /// A member of an elastic group is not needed any more, and the group aims at one less.
    Release(InstanceName),
    /// The work of a task that is drained is taken away: it can be ended.
    Drained(TaskId),
    /// A group should not be, and its volumes should not be either: they are destroyed with what is on them.
    Purge(GroupName),
    /// The canaries of a changed group do well: the others follow.
    Promote(GroupName),
    /// A change of a group is not wanted any more: it goes back to the spec before.
    Abandon(GroupName),
    /// What became of an event that was told with this ticket: taken in, or to be told again.
    TakenIn(Ticket, bool),
    /// The framework and all its tasks should end.
    Finish,
}

/// What a reconciler wants of its shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make this durable, in one step and before anything after it is done. The framework ends when it cannot be.
    Save(Vec<Change>),
    /// Tell the author. With a ticket it is told until [`Order::TakenIn`] says so, and acknowledged only then.
    Tell(Event, Option<Ticket>),
}

/// Which event is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A change of what is remembered over the lives of a framework: little, since most is read from the tasks themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is remembered: a short path such as `home/web.0`.
    pub key: String,
    /// A line of text; `None` when it is forgotten.
    pub value: Option<String>,
}

impl Change {
    /// Makes it in all that is remembered.
    pub fn apply_to(self, known: &mut BTreeMap<String, String>) {
        match self.value {
            Some(value) => drop(known.insert(self.key, value)),
            None => drop(known.remove(&self.key)),
        }
    }
}

/// What an author is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session stands.
    Session(Session),
    /// The state of a task changed.
    Task(TaskEvent),
    /// A task will be ended: its owner has so long to take its work away.
    Drain {
        /// Of which instance.
        instance: InstanceName,
        /// Which.
        task: TaskId,
        /// So long at most.
        grace: Duration,
    },
    /// An instance was out of sight for too long, and goes on without this task.
    GivenUp {
        /// Which instance.
        instance: InstanceName,
        /// The task; it is ended if it comes back.
        task: TaskId,
    },
    /// A change of a group's spec is one step further.
    Rollout {
        /// Which group.
        group: GroupName,
        /// The spec that it changes to.
        revision: Revision,
        /// What came about.
        step: RolloutStep,
    },
    /// The volume of an instance has come, or gone.
    Volume {
        /// Whose.
        instance: InstanceName,
        /// Which.
        volume: VolumeId,
        /// What came about.
        step: VolumeStep,
    },
    /// Every instance of the group is in service, or over.
    AsStated(GroupName),
    /// Every instance of the group is over for good.
    Over(GroupName),
    /// A withdrawn group: nothing of it is left.
    Withdrawn(GroupName),
    /// Tasks of a group that nobody has stated. They are left alone until it is stated, or withdrawn.
    Unclaimed(GroupName),
    /// An agent on which the framework has something is to be empty. Groups that start their instances again for ever move
    /// them off it, within the limits of their changes; others are left to end by themselves or at the deadline.
    AgentDraining(Draining),
    /// It takes work again.
    AgentResumed(AgentId),
    /// A master did not do something.
    Refused {
        /// What was asked.
        what: Asked,
        /// Why not.
        refusal: Refusal,
    },
    /// The session is over for good.
    Ended(Refusal),
}

/// How a change of a group's spec comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutStep {
    /// It has begun.
    Begun,
    /// The canaries are in service. The others wait for [`Order::Promote`] or [`Order::Abandon`].
    CanaryWaits,
    /// The others follow.
    Promoted,
    /// Every instance runs the new spec: it is the one that a later change goes back to.
    Done,
    /// It failed, and goes back to the spec before. The new one is not tried again until the group is stated otherwise.
    GoesBack(WhyBack),
    /// Every instance runs the spec before again.
    RolledBack(WhyBack),
    /// It failed and stays as it is: the group does not go back, or nobody said what to go back to
    /// ([`Group::previous`]).
    Stopped(WhyBack),
}

/// What came about with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeStep {
    /// It is made.
    Made,
    /// Its instance begins anew without it. It is destroyed when its agent is seen again.
    LeftBehind,
    /// It is destroyed, and what was reserved with it is given back.
    Destroyed,
}

/// Why a change failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyBack {
    /// For too long no instance more came into service.
    Deadline,
    /// Too many tasks of the new spec ended badly in a row.
    Failures,
    /// The author abandoned it.
    Abandoned,
}

impl fmt::Display for WhyBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WhyBack::Deadline => "no instance more came into service in time",
            WhyBack::Failures => "too many of its tasks failed in a row",
            WhyBack::Abandoned => "it was abandoned",
        })
    }
}

impl fmt::Display for RolloutStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RolloutStep::Begun => f.write_str("has begun"),
            RolloutStep::CanaryWaits => f.write_str("waits: its canaries are in service"),
            RolloutStep::Promoted => f.write_str("is promoted"),
            RolloutStep::Done => f.write_str("is done"),
            RolloutStep::GoesBack(why) => write!(f, "goes back: {why}"),
            RolloutStep::RolledBack(why) => write!(f, "is rolled back: {why}"),
            RolloutStep::Stopped(why) => write!(f, "has stopped: {why}"),
        }
    }
}

/// What a master did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Tell the tasks that earlier lives may have left.
    Tasks,
    /// Take demands.
    Demands,
    /// Take the roles that the framework is in.
    Roles,
    /// End a task.
    Kill,
    /// Start a gang.
    Gang,
    /// End the framework.
    Teardown,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Asked::Tasks => "list of tasks",
            Asked::Demands => "demands",
            Asked::Roles => "roles",
            Asked::Kill => "kill",
            Asked::Gang => "gang",
            Asked::Teardown => "teardown",
        })
    }
}

/// The state of a task changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// Whose task.
    pub instance: InstanceName,
    /// How it stands now.
    pub status: TaskStatus,
    /// The name of its machine; empty when it is not known.
    pub hostname: String,
    /// What follows an end that was not asked for.
    pub follows: Follows,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing of note.
    Nothing,
    /// Another start after a pause.
    Again(Duration),
    /// The instance is over for good.
    Over,
}

// === impl Event ===

impl Event {
    /// The group that it is about.
    pub fn group(&self) -> Option<&GroupName> {
        match self {
            Event::Task(task) => Some(&task.instance.group),
            Event::Drain { instance, .. }
            | Event::GivenUp { instance, .. }
            | Event::Volume { instance, .. } => Some(&instance.group),
            Event::Rollout { group, .. }
            | Event::AsStated(group)
            | Event::Over(group)
            | Event::Withdrawn(group)
            | Event::Unclaimed(group) => Some(group),
            Event::Session(_)
            | Event::AgentDraining(_)
            | Event::AgentResumed(_)
            | Event::Refused { .. }
            | Event::Ended(_) => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Session(session) => write!(f, "the session of {} stands", session.framework),
            Event::Task(task) => write!(f, "{task}"),
            Event::Drain { instance, grace, .. } => write!(f, "{instance} is drained for {grace:?}"),
            Event::GivenUp { instance, .. } => write!(f, "{instance} was out of sight for too long"),
            Event::Rollout { group, revision, step } => {
                write!(f, "the change of {group} to {revision} {step}")
            }
            Event::Volume { volume, step, .. } => {
                let step = match step {
                    VolumeStep::Made => "made",
                    VolumeStep::LeftBehind => "left behind",
                    VolumeStep::Destroyed => "destroyed",
                };
                write!(f, "volume {volume} is {step}")
            }
            Event::AsStated(group) => write!(f, "{group} is as stated"),
            Event::Over(group) => write!(f, "{group} is over"),
            Event::Withdrawn(group) => write!(f, "{group} is withdrawn"),
            Event::Unclaimed(group) => write!(f, "{group} has tasks and is not stated"),
            Event::AgentDraining(notice) => {
                write!(f, "agent {} is to be empty", notice.agent)?;
                if notice.reason.is_empty() { Ok(()) } else { write!(f, ": {}", notice.reason) }
            }
            Event::AgentResumed(agent) => write!(f, "agent {agent} takes work again"),
            Event::Refused { what, refusal } => write!(f, "{what} refused: {refusal}"),
            Event::Ended(refusal) => write!(f, "ended: {refusal}"),
        }
    }
}

// === impl TaskEvent ===

impl fmt::Display for TaskEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.instance, self.status.state.as_str())?;
        match &self.status.agent {
            Some(_) if !self.hostname.is_empty() => write!(f, " on {}", self.hostname)?,
            Some(agent) => write!(f, " on {agent}")?,
            None => {}
        }
        if let Some(grace) = self.status.grace {
            write!(f, ", for {grace:?} at most")?;
        }
        match self.follows {
            Follows::Nothing => {}
            Follows::Again(pause) if pause.is_zero() => f.write_str(", and starts again")?,
            Follows::Again(pause) => write!(f, ", and starts again in {pause:?}")?,
            Follows::Over => f.write_str(", and is over")?,
        }
        if !self.status.message.is_empty() {
            write!(f, ": {}", self.status.message)?;
        }
        Ok(())
    }
}

/// The framework's id, as it is remembered.
pub fn remembered_framework(memory: &BTreeMap<String, String>) -> Option<FrameworkId> {
    memory.get(super::memory::FRAMEWORK).and_then(|id| FrameworkId::new(id).ok())
}
