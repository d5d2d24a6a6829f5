//! What the masters' log remembers: the durable changes.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::{AgentInfo, AgentState};
use crate::caller::Caller;
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, FrameworkId, OperationId, SecretName, TaskId};
use crate::operation::Operation;
use crate::operator::{Drain, Happened, TokenKind};
use crate::quota::Quota;
use crate::resources::Resources;
use crate::rights::Rights;
use crate::role::{Role, Weight};
use crate::roster::Roster;
use crate::task::{TaskInfo, TaskStatus};
use crate::volume::Volume;

/// One durable change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An agent is admitted, is back, or says something new of itself.
    AgentAdmitted(AgentInfo),
    /// An agent was silent for too long.
    AgentUnreachable(AgentId),
    /// An operator said that an agent is gone for good.
    AgentGone(AgentId),
    /// A framework is new, or says something new of itself.
    FrameworkRegistered(FrameworkRegistered),
    /// A framework's session broke; its failover timer runs.
    FrameworkDisconnected(FrameworkDisconnected),
    /// A framework is back in time.
    FrameworkReconnected(FrameworkId),
    /// A framework ended.
    FrameworkRemoved(FrameworkId),
    /// A framework used offers.
    Accepted(Accepted),
    /// A task ended.
    TaskEnded(TaskEnded),
    /// Somebody wants a task to end.
    KillWanted(KillWanted),
    /// A run that the log does not know is adopted.
    TaskAdopted(TaskAdopted),
    /// The quota of a role.
    QuotaSet(QuotaSet),
    /// The weight of a role.
    WeightSet(WeightSet),
    /// A join token.
    TokenCreated(TokenCreated),
    /// A join token was used.
    TokenUsed(String),
    /// An agent has deleted what was on destroyed volumes.
    VolumesForgotten(VolumesForgotten),
    /// What a principal may from now on.
    RightsSet(RightsSet),
    /// An agent gets no new work.
    AgentDrained(AgentDrained),
    /// An agent gets work again.
    AgentResumed(AgentId),
    /// Who the masters are to be from now on.
    MastersChanged(MastersChanged),
    /// Both groups of masters are what this version of the list says.
    MastersSettled(u64),
    /// An operator changed what an agent's resources are kept for.
    AgentOperated(AgentOperated),
    /// What a secret holds from now on.
    SecretSet(SecretSet),
    /// A secret is no more.
    SecretRemoved(SecretRemoved),
}

/// A framework is new, or says something new of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkRegistered {
    /// Its id.
    pub id: FrameworkId,
    /// What it says.
    pub info: FrameworkInfo,
    /// Who it is.
    pub principal: String,
    /// Which of its instances said so; 0 for none in particular.
    pub fence: u64,
}

/// A framework's session broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkDisconnected {
    /// Which.
    pub framework: FrameworkId,
    /// When its tasks are killed if it is not back.
    pub deadline_ms: u64,
}

/// A framework used offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which.
    pub framework: FrameworkId,
    /// The call, so that it is never carried out again.
    pub operation: OperationId,
    /// One for each agent.
    pub parts: Vec<AcceptedPart>,
}

/// Part of an accept, on one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedPart {
    /// The agent.
    pub agent: AgentId,
    /// The role of the offers.
    pub role: Role,
    /// In order; validated before they were proposed.
    pub operations: Vec<Operation>,
}

/// A task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEnded {
    /// Whose.
    pub framework: FrameworkId,
    /// Its last status.
    pub status: TaskStatus,
}

/// Somebody wants a task to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillWanted {
    /// Whose.
    pub framework: FrameworkId,
    /// Which.
    pub task: TaskId,
    /// Time between TERM and KILL.
    pub grace: Duration,
}

/// A run that the log does not know is adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskAdopted {
    /// Whose.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// What.
    pub task: TaskInfo,
    /// How it stands; its run is set.
    pub status: TaskStatus,
}

/// The quota of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSet {
    /// Which.
    pub role: Role,
    /// What.
    pub quota: Quota,
}

/// The weight of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSet {
    /// Which.
    pub role: Role,
    /// What.
    pub weight: Weight,
}

/// A join token; only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCreated {
    /// The token's public part.
    pub id: String,
    /// SHA-256 of its secret part.
    pub secret_sha256: Vec<u8>,
    /// For what.
    pub kind: TokenKind,
    /// Useless after this.
    pub expires_ms: u64,
    /// How often it can still be used.
    pub uses: u32,
    /// The framework principal it is for; empty for agents.
    pub name: String,
    /// What its use lets a framework's principal do; its rights stay as they are if not said.
    pub rights: Option<Rights>,
}

/// An agent gets no new work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentDrained {
    /// Which.
    pub agent: AgentId,
    /// Until when and why; since when is the batch's to say.
    pub drain: Drain,
}

/// An operator changed what an agent's resources are kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOperated {
    /// Which.
    pub agent: AgentId,
    /// In this order; no launches.
    pub operations: Vec<Operation>,
    /// Who said so.
    pub by: String,
}

/// What a secret holds from now on, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSet {
    /// Whose.
    pub role: Role,
    /// Which.
    pub name: SecretName,
    /// What it was encrypted with, beside the key.
    pub nonce: Vec<u8>,
    /// What it holds.
    pub ciphertext: Vec<u8>,
    /// Of what is encrypted.
    pub size_bytes: u64,
    /// Who said so.
    pub by: String,
}

/// A secret is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRemoved {
    /// Whose.
    pub role: Role,
    /// Which.
    pub name: SecretName,
    /// Who said so.
    pub by: String,
}

/// Who the masters are to be from now on: each of the two groups goes there by itself, whoever leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MastersChanged {
    /// The list.
    pub roster: Roster,
    /// The version that it is a change of: void if another came first.
    pub on: u64,
    /// Who said so.
    pub by: String,
    /// In words.
    pub what: String,
}

/// What a principal may from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightsSet {
    /// Who.
    pub principal: Caller,
    /// `None`: what its kind may.
    pub rights: Option<Rights>,
}

/// An agent has deleted what was on destroyed volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesForgotten {
    /// Which agent.
    pub agent: AgentId,
    /// They.
    pub volumes: Vec<Volume>,
}

/// Many changes that were committed as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// When the leader proposed it: the only clock that applying may use.
    pub at_ms: u64,
    /// In order.
    pub entries: Vec<Entry>,
}

/// A volume as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Which.
    pub volume: Volume,
    /// Its size.
    pub disk_bytes: u64,
}

/// An agent as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRecord {
    /// What it says of itself.
    pub info: AgentInfo,
    /// Active (whether it is connected is the leader's to know), Unreachable or Gone.
    pub state: AgentState,
    /// All it has with reservations and volumes.
    pub total: Resources,
    /// In this state since.
    pub since_ms: u64,
    /// Its volumes, oldest first; also one for which the agent has no room at present.
    pub volumes: Vec<VolumeRecord>,
    /// Volumes that were destroyed, until the agent has deleted what was on them.
    pub destroyed: Vec<Volume>,
    /// The birth of the volume that was made last.
    pub last_birth: u64,
    /// It gets no new work.
    pub drain: Option<Drain>,
}

/// A call that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRecord {
    /// Which.
    pub operation: OperationId,
    /// Where in the log.
    pub index: u64,
}

/// A framework as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkRecord {
    /// Its id.
    pub id: FrameworkId,
    /// What it says of itself.
    pub info: FrameworkInfo,
    /// Who it is.
    pub principal: String,
    /// When its tasks are killed if it is not back; 0 while connected.
    pub deadline_ms: u64,
    /// In this state since.
    pub since_ms: u64,
    /// Calls that were carried out, oldest first.
    pub operations: Vec<OperationRecord>,
    /// The latest of its instances.
    pub fence: u64,
}

/// A task as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Whose.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// In which role.
    pub role: Role,
    /// What.
    pub info: Arc<TaskInfo>,
    /// The last status that was logged; its run is set.
    pub status: TaskStatus,
    /// When it was accepted.
    pub accepted_ms: u64,
    /// Somebody wants it to end, with this grace.
    pub kill_grace: Option<Duration>,
}

/// A role as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRecord {
    /// Which.
    pub role: Role,
    /// Its weight.
    pub weight: Weight,
    /// Its quota.
    pub quota: Quota,
}

/// A secret as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRecord {
    /// Whose.
    pub role: Role,
    /// Which.
    pub name: SecretName,
    /// How often it was set since it is there.
    pub version: u64,
    /// What it was encrypted with, beside the key.
    pub nonce: Vec<u8>,
    /// What it holds.
    pub ciphertext: Vec<u8>,
    /// Of what is encrypted.
    pub size_bytes: u64,
    /// When it was set last.
    pub changed_ms: u64,
}

/// Everything the log remembers, as written to a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryImage {
    /// The version of this layout.
    pub format: u64,
    /// Agents.
    pub agents: Vec<AgentRecord>,
    /// Frameworks.
    pub frameworks: Vec<FrameworkRecord>,
    /// Tasks that have not ended.
    pub tasks: Vec<TaskRecord>,
    /// Ended ones, oldest first.
    pub ended: Vec<TaskRecord>,
    /// Roles that somebody set something of.
    pub roles: Vec<RoleRecord>,
    /// Join tokens.
    pub tokens: Vec<TokenCreated>,
    /// Ended frameworks, oldest first.
    pub removed_frameworks: Vec<FrameworkRecord>,
    /// Principals of which somebody said what they may.
    pub rights: Vec<RightsSet>,
    /// What happened last, oldest first.
    pub history: Vec<Arc<Happened>>,
    /// Secrets, by role and name.
    pub secrets: Vec<Arc<SecretRecord>>,
    /// Set when the log was begun anew from a backup.
    pub restored: Option<Restored>,
    /// The list of masters, once it was changed.
    pub roster: Option<Roster>,
}

/// A log that was begun anew from a backup: what the old one gave after it is unknown here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Up to where of the old log the backup knew it.
    pub known_index: u64,
    /// Where the new one began: beyond anything that the old one could have given.
    pub index: u64,
    /// When.
    pub at_ms: u64,
}
