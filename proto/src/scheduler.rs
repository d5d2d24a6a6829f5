//! The conversation of a framework with the master.

use std::time::Duration;

use crate::agent::AgentState;
use crate::demand::{DeclineReason, Demand, Filter};
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, Epoch, FrameworkId, OfferId, OperationId, RunId, TaskId};
use crate::offer::Offer;
use crate::operation::Operation;
use crate::refusal::Refusal;
use crate::role::Role;
use crate::roster::Masters;
use crate::task::TaskStatus;

/// What a framework asks, with the id under which it is carried out at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Absent for Subscribe, Acknowledge and Heartbeat.
    pub operation: Option<OperationId>,
    /// What.
    pub kind: CallKind,
}

/// What a framework can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Starts or takes up a session.
    Subscribe(Subscribe),
    /// Uses offers.
    Accept(Accept),
    /// Gives offers back.
    Decline(Decline),
    /// Wants no offers in these roles; none named: all.
    Suppress(Suppress),
    /// Wants offers again; forgets the filters.
    Revive(Revive),
    /// Replaces all it wants.
    UpdateDemands(UpdateDemands),
    /// Ends a task.
    Kill(Kill),
    /// An update was taken in.
    Acknowledge(Acknowledge),
    /// Asks for states.
    Reconcile(Reconcile),
    /// Changes what it says of itself.
    UpdateFramework(UpdateFramework),
    /// Ends itself and all its tasks.
    Teardown,
    /// Is still there.
    Heartbeat,
}

impl CallKind {
    /// The word for it, in logs and in the audit log.
    pub fn word(&self) -> &'static str {
        match self {
            CallKind::Subscribe(_) => "subscribe",
            CallKind::Accept(_) => "accept",
            CallKind::Decline(_) => "decline",
            CallKind::Suppress(_) => "suppress",
            CallKind::Revive(_) => "revive",
            CallKind::UpdateDemands(_) => "update-demands",
            CallKind::Kill(_) => "kill",
            CallKind::Acknowledge(_) => "acknowledge",
            CallKind::Reconcile(_) => "reconcile",
            CallKind::UpdateFramework(_) => "update-framework",
            CallKind::Teardown => "teardown",
            CallKind::Heartbeat => "heartbeat",
        }
    }
}

/// Starts or takes up a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What it says of itself.
    pub framework: FrameworkInfo,
    /// Absent at the very first subscribe.
    pub id: Option<FrameworkId>,
    /// Where the last session stopped.
    pub resume: Option<Resume>,
    /// Roles that want no offers for now.
    pub suppressed_roles: Vec<Role>,
    /// What it wants; absent: plain offers, or when the session is resumed what was said before.
    pub demands: Option<UpdateDemands>,
    /// Which of several instances this is; later ones have greater numbers. 0 for a framework of one instance.
    pub fence: u64,
}

/// The last event seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Of that leader.
    pub epoch: Epoch,
    /// That event.
    pub sequence: u64,
}

/// Some offers of one agent and what to do with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptPart {
    /// Offers of one agent and role.
    pub offers: Vec<OfferId>,
    /// In order.
    pub operations: Vec<Operation>,
}

/// Uses offers; answered after it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// One for each agent.
    pub parts: Vec<AcceptPart>,
    /// Every part or none. Otherwise a part with a fault is dropped and the others go on; but when it holds a reservation
    /// or a volume, all is refused, since only the answer can tell what became of it.
    pub all_or_nothing: bool,
    /// For what is left over.
    pub filter: Filter,
}

/// Gives offers back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    /// Which.
    pub offers: Vec<OfferId>,
    /// Why.
    pub reason: DeclineReason,
    /// Not again for how long.
    pub filter: Filter,
}

/// Wants no offers in these roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppress {
    /// None named: all its roles.
    pub roles: Vec<Role>,
}

/// Wants offers again in these roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revive {
    /// None named: all its roles.
    pub roles: Vec<Role>,
}

/// Replaces all it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateDemands {
    /// All of it.
    pub demands: Vec<Demand>,
    /// Offers for demands only from now on.
    pub demand_driven: bool,
}

/// Ends a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Which.
    pub task: TaskId,
    /// Instead of the task's own grace.
    pub grace: Option<Duration>,
}

/// An update was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// Of which task.
    pub task: TaskId,
    /// Of which run.
    pub run: RunId,
    /// Which.
    pub sequence: u64,
}

/// Asks for the state of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// None named: all.
    pub tasks: Vec<TaskId>,
}

/// Changes what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFramework {
    /// The new word.
    pub framework: FrameworkInfo,
}

/// What the master tells a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place in this leader's stream for this framework, from 1; 0: outside of it (heartbeats, redirects).
    pub sequence: u64,
    /// What.
    pub kind: EventKind,
}

/// What the master can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The session stands.
    Subscribed(Subscribed),
    /// New offers.
    Offers(Offers),
    /// An offer is void.
    Rescind(Rescind),
    /// A status.
    Update(TaskStatus),
    /// The answer to a call.
    Answer(Answer),
    /// An agent is lost.
    Failure(Failure),
    /// The session ends with a fault of the framework.
    Fault(Fault),
    /// Another master leads.
    Redirect(Redirect),
    /// Is still there. An event of a kind that this version does not know is read as this, in its place in the stream.
    Heartbeat,
    /// An agent is to be empty.
    AgentDraining(AgentDraining),
    /// It takes work again.
    AgentResumed(AgentResumed),
    /// Where the masters are now.
    Masters(Masters),
}

/// The session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The framework's id from now on.
    pub framework: FrameworkId,
    /// The leader.
    pub epoch: Epoch,
    /// How often something is said at least.
    pub heartbeat_interval: Duration,
    /// True: what follows goes on after the resume point. False: `tasks` is everything.
    pub resumed: bool,
    /// The state of every task the master knows of this framework.
    pub tasks: Vec<TaskStatus>,
}

/// New offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    /// They.
    pub offers: Vec<Offer>,
}

/// Why an offer ended without the framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RescindReason {
    /// Unanswered for too long.
    Expired,
    /// The agent is lost.
    AgentLost,
    /// The agent's resources changed.
    ResourcesChanged,
    /// The framework does not want it any more.
    DemandChanged,
    /// An operator's change needs it.
    Operator,
}

/// An offer is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescind {
    /// Which.
    pub offer: OfferId,
    /// Why.
    pub reason: RescindReason,
}

/// The one answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call.
    pub operation: OperationId,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; in the log at this index (0: nothing had to be logged).
    Committed(u64),
    /// Not done.
    Refused(Refusal),
}

/// An agent is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub agent: AgentId,
    /// How.
    pub state: AgentState,
}

/// An operator wants an agent empty, on which this framework has tasks or something reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentDraining {
    /// Which.
    pub agent: AgentId,
    /// What still runs there then is ended, in milliseconds since 1970; 0: what runs may end by itself.
    pub deadline_ms: u64,
    /// For people; may be empty.
    pub reason: String,
}

/// The agent takes work again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentResumed {
    /// Which.
    pub agent: AgentId,
}

/// The session ends with a fault of the framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub refusal: Refusal,
}

/// Another master leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `host:port`; empty: nobody known yet.
    pub leader_address: String,
}
