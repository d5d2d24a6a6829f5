//! The conversation of people, the CLI and the web UI with the masters.

mod audit;
mod happened;
mod join;
mod orders;
mod views;

pub use audit::{AuditCall, AuditLines, AuditPlace, AuditRead, AuditSeal};
pub use happened::{EVENT_KINDS, Events, Happened};
pub use join::{Join, Joined};
pub use orders::{
    CancelMasters, ChangeMasters, CreateToken, DrainAgent, KillTask, MarkAgentGone, OperateAgent,
    RemoveSecret, ResumeAgent, SetQuota, SetRights, SetSecret, SetWeight, TeardownFramework, TokenKind,
    TransferLead,
};
pub use views::{AgentView, Drain, FrameworkView, MemberView, OfferView, RoleView, SecretView, TaskView};

use std::collections::BTreeSet;
use std::time::Duration;

use crate::caller::Caller;
use crate::demand::Demand;
use crate::explain::{Explanation, Waiting};
use crate::id::{DemandId, Epoch, FrameworkId, OfferId, TaskId};
use crate::quantities::Quantities;
use crate::refusal::Refusal;
use crate::rights::Rights;
use crate::role::Role;

/// Which things to list; empty fields select all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Of this framework (id or name).
    pub framework: String,
    /// Of this agent (id or hostname).
    pub agent: String,
    /// Ended tasks too.
    pub ended: bool,
    /// A follower may answer as of its own index: without what only the leader knows, such as that a task has started.
    pub stale: bool,
    /// Of what is left, that of which the id or the name begins with one of these, or which is FRAMEWORK_ID/TASK_ID. At most
    /// [`CALLED_MAX`](List::CALLED_MAX).
    pub called: Vec<String>,
}

impl List {
    /// So many names at most are looked for at once: each thing of a list is held against each of them.
    pub const CALLED_MAX: usize = 64;

    /// Whether a thing of this id and name is called what it looks for, as far as was said.
    pub fn is_called(&self, id: &str, name: &str) -> bool {
        self.called.is_empty() || self.called.iter().any(|word| begins(word, id, name))
    }

    /// The same where some words are ids, of which nothing else is meant.
    pub fn is_called_with(&self, ids: &BTreeSet<&str>, id: &str, name: &str) -> bool {
        let means = |word: &String| match ids.contains(word.as_str()) {
            true => word == id,
            false => begins(word, id, name),
        };
        self.called.is_empty() || self.called.iter().any(means)
    }

    /// Whether a thing of a framework is called `FRAMEWORK_ID/ID`.
    pub fn is_called_in_full(&self, framework: &str, id: &str) -> bool {
        self.called.iter().any(|word| word.rsplit_once('/') == Some((framework, id)))
    }
}

/// Why does it wait?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explain {
    /// A framework, by id or name.
    Framework(String),
    /// A task.
    Task(TaskRef),
    /// A demand.
    Demand(DemandRef),
    /// A role: why what wants something in it waits.
    Role(Role),
    /// An agent, by id or hostname: why nobody uses it.
    Agent(String),
    /// All that waits, in sum.
    Summary,
    /// What would come of demands that nobody has declared.
    Supposed(Supposed),
}

/// Demands that a framework is supposed to declare now, besides its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supposed {
    /// Id or name; the one that is connected, if several have the name.
    pub framework: String,
    /// At most [`DEMANDS_MAX`](Supposed::DEMANDS_MAX), under ids that the framework does not use.
    pub demands: Vec<Demand>,
}

impl Supposed {
    /// So many are looked into at once.
    pub const DEMANDS_MAX: usize = 16;
}

/// A task by framework and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRef {
    /// Id or name; empty: any.
    pub framework: String,
    /// The task.
    pub task: TaskId,
}

/// A demand by framework and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemandRef {
    /// Id or name.
    pub framework: String,
    /// The demand.
    pub demand: DemandId,
}

/// May somebody do something?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanI {
    /// One of [`crate::authorize::VERBS`].
    pub verb: String,
    /// The role it is about.
    pub role: Option<Role>,
    /// The user that a task is to run as.
    pub user: String,
    /// Whose things; empty: another's.
    pub owner: String,
    /// Who; whoever asks if not said.
    pub principal: Option<Caller>,
}

/// What happened?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsAfter {
    /// After the event of this number; `None`: the last ones.
    pub since: Option<u64>,
    /// How long the answer may wait for the first event.
    pub wait: Duration,
    /// How many at most; 0: as many as fit.
    pub at_most: u32,
}

/// What an operator can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// How is the cluster?
    Status,
    /// Who are the masters?
    Raft,
    /// List agents.
    Agents(List),
    /// List frameworks.
    Frameworks(List),
    /// List tasks.
    Tasks(List),
    /// List open offers.
    Offers(List),
    /// List roles.
    Roles(List),
    /// Why does it wait?
    Explain(Explain),
    /// End a task.
    KillTask(KillTask),
    /// Set a quota.
    SetQuota(SetQuota),
    /// Set a weight.
    SetWeight(SetWeight),
    /// End a framework.
    TeardownFramework(TeardownFramework),
    /// Give an agent up.
    MarkAgentGone(MarkAgentGone),
    /// Make a join token.
    CreateToken(CreateToken),
    /// How is the cluster, as this master sees it?
    StatusHere,
    /// Who are the masters, as this one sees it?
    RaftHere,
    /// Check everything about an order, and do nothing.
    DryRun(Box<Call>),
    /// Who am I, and what may I?
    WhoAmI,
    /// May somebody do something?
    CanI(CanI),
    /// The principals of which somebody said what they may.
    Principals,
    /// Set what a principal may.
    SetRights(SetRights),
    /// Give an agent no new work.
    DrainAgent(DrainAgent),
    /// Give an agent work again.
    ResumeAgent(ResumeAgent),
    /// Tell what happened.
    Events(EventsAfter),
    /// Change what an agent's resources are kept for.
    OperateAgent(OperateAgent),
    /// List secrets, without what they hold.
    Secrets,
    /// Set what a secret holds.
    SetSecret(SetSecret),
    /// Remove a secret.
    RemoveSecret(RemoveSecret),
    /// Change who the masters are.
    ChangeMasters(ChangeMasters),
    /// Take back such a change.
    CancelMasters(CancelMasters),
    /// Let another master lead.
    TransferLead(TransferLead),
    /// Read the audit log of the master that is asked, or witness another's.
    Audit(AuditCall),
}

fn begins(word: &str, id: &str, name: &str) -> bool {
    !word.is_empty() && (id.starts_with(word) || name.starts_with(word))
}

impl Call {
    /// What is listed, if that is what it asks for.
    pub fn list(&self) -> Option<&List> {
        match self {
            Call::Agents(list)
            | Call::Frameworks(list)
            | Call::Tasks(list)
            | Call::Offers(list)
            | Call::Roles(list) => Some(list),
            _ => None,
        }
    }
}

/// How the cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Members of the group.
    pub masters: u64,
    /// Those that are heard.
    pub masters_alive: u64,
    /// Agents that are offered.
    pub agents_active: u64,
    /// Agents out of sight, not counting gone ones.
    pub agents_lost: u64,
    /// Frameworks with a session.
    pub frameworks_connected: u64,
    /// Frameworks without.
    pub frameworks_disconnected: u64,
    /// Tasks that run.
    pub tasks_running: u64,
    /// All that active agents have.
    pub total: Quantities,
    /// All that tasks use.
    pub used: Quantities,
}

/// The group of masters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raft {
    /// They.
    pub members: Vec<MemberView>,
    /// The term.
    pub term: u64,
    /// The index that is applied here.
    pub applied: u64,
    /// The lowest number that no master has had.
    pub next_id: u64,
    /// What the change that is under way waits for; empty if none is.
    pub change: String,
}

/// A fresh token; shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// `SJ1.<CA hash>.<id>.<secret>`.
    pub token: String,
    /// Useless after this.
    pub expires_ms: u64,
}

/// What a principal may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalView {
    /// Who.
    pub principal: Caller,
    /// What it may beyond what its kind may.
    pub rights: Rights,
    /// Whether somebody set them; else they are those of its kind.
    pub set: bool,
    /// The verbs that it may do to something.
    pub may: Vec<String>,
}

/// Whether somebody may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It may.
    pub allowed: bool,
    /// Who was asked about.
    pub principal: String,
    /// Why not.
    pub why: String,
    /// What to do about it.
    pub help: String,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The index of the log as of which it holds.
    pub as_of: u64,
    /// Whether a leader gave it.
    pub from_leader: bool,
    /// What.
    pub kind: ReplyKind,
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// How the cluster is.
    Status(Status),
    /// The masters.
    Raft(Raft),
    /// Agents.
    Agents(Vec<AgentView>),
    /// Frameworks.
    Frameworks(Vec<FrameworkView>),
    /// Tasks.
    Tasks(Vec<TaskView>),
    /// Offers.
    Offers(Vec<OfferView>),
    /// Roles.
    Roles(Vec<RoleView>),
    /// Why it waits.
    Explain(Vec<Explanation>),
    /// Carried out and committed at this index.
    Done(u64),
    /// A token.
    Token(Token),
    /// Not done.
    Refused(Refusal),
    /// Another master leads; `host:port`, empty when nobody is known.
    Redirect(String),
    /// A principal.
    Principal(PrincipalView),
    /// Principals.
    Principals(Vec<PrincipalView>),
    /// Whether somebody may.
    Verdict(Verdict),
    /// What happened.
    Events(Events),
    /// All that waits, in sum.
    Waiting(Waiting),
    /// Secrets.
    Secrets(Vec<SecretView>),
    /// Lines of one master's audit log.
    Audit(AuditLines),
}

/// Where to start watching; the default is from a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Of that leader.
    pub epoch: Epoch,
    /// After that event.
    pub sequence: u64,
}

/// Everything at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Agents.
    pub agents: Vec<AgentView>,
    /// Frameworks.
    pub frameworks: Vec<FrameworkView>,
    /// Tasks.
    pub tasks: Vec<TaskView>,
    /// Offers.
    pub offers: Vec<OfferView>,
    /// Roles.
    pub roles: Vec<RoleView>,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferEnd {
    /// Used.
    Accepted,
    /// Given back.
    Declined,
    /// Taken back.
    Rescinded,
    /// Unanswered for too long.
    Expired,
}

/// An offer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferEnded {
    /// Which.
    pub offer: OfferId,
    /// How.
    pub how: OfferEnd,
}

/// One change, in its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The leader that tells it, by its term; 0 on a master that does not lead, whose numbers cannot be gone on with.
    pub epoch: Epoch,
    /// Its place, from 1.
    pub sequence: u64,
    /// What.
    pub kind: EventKind,
}

/// What can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Everything: the start of a stream, or of a new leader's.
    Snapshot(Snapshot),
    /// An agent is new or changed.
    AgentChanged(AgentView),
    /// A framework is new or changed.
    FrameworkChanged(FrameworkView),
    /// A framework ended.
    FrameworkRemoved(FrameworkId),
    /// A task is new or changed.
    TaskChanged(TaskView),
    /// An offer was made.
    OfferMade(OfferView),
    /// An offer is over.
    OfferEnded(OfferEnded),
    /// A role is new or changed.
    RoleChanged(RoleView),
}
