//! What operators order: each changes something, or says why it does not.

use std::time::Duration;

use crate::caller::Caller;
use crate::id::{AgentId, FrameworkId, MasterId, SecretName, TaskId};
use crate::operation::Operation;
use crate::quota::Quota;
use crate::rights::Rights;
use crate::role::{Role, Weight};
use crate::roster::Master;
use crate::secret::Confidential;

/// Ends a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillTask {
    /// Whose; id or name; empty: any, if there is only one of that id.
    pub framework: String,
    /// Which.
    pub task: TaskId,
    /// Instead of the task's own grace.
    pub grace: Option<Duration>,
}

/// Sets the quota of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetQuota {
    /// Which.
    pub role: Role,
    /// What.
    pub quota: Quota,
}

/// Sets the weight of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetWeight {
    /// Which.
    pub role: Role,
    /// What.
    pub weight: Weight,
}

/// Ends a framework and its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeardownFramework {
    /// Which.
    pub framework: FrameworkId,
}

/// Says that an agent will never be back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkAgentGone {
    /// Which.
    pub agent: AgentId,
}

/// Says that an agent gets no new work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainAgent {
    /// Which.
    pub agent: AgentId,
    /// What still runs on it then is ended, with its own grace; `None`: when it ends by itself.
    pub within: Option<Duration>,
    /// For people.
    pub reason: String,
}

/// Says that an agent gets work again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeAgent {
    /// Which.
    pub agent: AgentId,
}

/// Changes what an agent's resources are kept for: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperateAgent {
    /// Which.
    pub agent: AgentId,
    /// In this order; launches are refused.
    pub operations: Vec<Operation>,
}

/// Sets what a secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSecret {
    /// Whose.
    pub role: Role,
    /// Which.
    pub name: SecretName,
    /// What it is to hold.
    pub value: Confidential,
}

/// Removes a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveSecret {
    /// Whose.
    pub role: Role,
    /// Which.
    pub name: SecretName,
}

/// Changes who the masters are: all of it, in both groups, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeMasters {
    /// Who comes; their standing says nothing.
    pub add: Vec<Master>,
    /// Who goes.
    pub remove: Vec<MasterId>,
}

/// Takes back the change of masters that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelMasters;

/// Lets another master lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLead {
    /// Its number; 0: whoever has most.
    pub to: u64,
}

/// What a join token lets somebody become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKind {
    /// An agent.
    Agent,
    /// A framework.
    Framework,
    /// A master of the list that has not joined yet.
    Master,
    /// A person.
    User,
}

/// Makes a join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateToken {
    /// For what.
    pub kind: TokenKind,
    /// For how long it can be used.
    pub ttl: Duration,
    /// How often it can be used.
    pub uses: u32,
    /// The framework's principal, the user, or the number of the member that it is for; empty for agents.
    pub name: String,
    /// For frameworks: what its principal may from the use of this token on; its rights stay as they are if not said.
    pub rights: Option<Rights>,
}

/// Sets what a framework's principal may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRights {
    /// Which.
    pub principal: Caller,
    /// `None`: what its kind may.
    pub rights: Option<Rights>,
}
