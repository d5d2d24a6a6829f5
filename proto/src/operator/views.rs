//! What is shown of each thing: the masters' view of it, whole.

use std::sync::Arc;

use crate::agent::{AgentInfo, AgentState};
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, FrameworkId, MasterId, OfferId, SecretName};
use crate::quantities::Quantities;
use crate::quota::Quota;
use crate::resources::Resources;
use crate::role::{Role, Weight};
use crate::roster::Standing;
use crate::task::{TaskInfo, TaskStatus};

/// An agent gets no new work until somebody says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Since when.
    pub since_ms: u64,
    /// When what still runs on it is ended; 0: when it ends by itself.
    pub deadline_ms: u64,
    /// For people.
    pub reason: String,
    /// Who said so: a principal.
    pub by: String,
}

/// An agent as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// What it says of itself.
    pub info: AgentInfo,
    /// How it stands.
    pub state: AgentState,
    /// All it has with reservations and volumes, as they stand.
    pub total: Resources,
    /// In use by tasks.
    pub used: Quantities,
    /// In open offers.
    pub offered: Quantities,
    /// Tasks on it that have not ended.
    pub tasks: u64,
    /// In this state since.
    pub since_ms: u64,
    /// It gets no new work.
    pub drain: Option<Drain>,
}

/// A framework as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkView {
    /// Its id.
    pub id: FrameworkId,
    /// What it says of itself.
    pub info: FrameworkInfo,
    /// Who it is.
    pub principal: String,
    /// Whether its session stands.
    pub connected: bool,
    /// In use by its tasks.
    pub used: Quantities,
    /// In its open offers.
    pub offered: Quantities,
    /// Its tasks that have not ended.
    pub tasks: u64,
    /// In this state since.
    pub since_ms: u64,
    /// Roles that want no offers.
    pub suppressed_roles: Vec<Role>,
}

/// A task as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Whose.
    pub framework: FrameworkId,
    /// Whose, by name.
    pub framework_name: String,
    /// What.
    pub info: Arc<TaskInfo>,
    /// Where.
    pub agent: AgentId,
    /// Where, by name.
    pub hostname: String,
    /// How it stands.
    pub status: TaskStatus,
    /// In which role.
    pub role: Role,
    /// When it was accepted.
    pub accepted_ms: u64,
}

/// An open offer as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferView {
    /// Its id.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// To whom, by name.
    pub framework_name: String,
    /// Of whom.
    pub agent: AgentId,
    /// Of whom, by name.
    pub hostname: String,
    /// In which role.
    pub role: Role,
    /// What.
    pub resources: Resources,
    /// Since when.
    pub made_ms: u64,
}

/// A role as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleView {
    /// Which.
    pub role: Role,
    /// Its weight.
    pub weight: Weight,
    /// Its quota.
    pub quota: Quota,
    /// In use, roles below included.
    pub used: Quantities,
    /// In open offers, roles below included.
    pub offered: Quantities,
    /// Reserved for it.
    pub reserved: Quantities,
    /// Frameworks that take offers in it.
    pub frameworks: u64,
}

/// A secret as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretView {
    /// Whose.
    pub role: Role,
    /// Which.
    pub name: SecretName,
    /// How often it was set since it is there.
    pub version: u64,
    /// How much it holds.
    pub size_bytes: u64,
    /// When it was set last.
    pub changed_ms: u64,
}

/// One master of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Which.
    pub id: MasterId,
    /// Its door.
    pub address: String,
    /// Its process; 0 unknown.
    pub pid: u32,
    /// Whether it leads.
    pub leader: bool,
    /// Whether the answering master hears from it.
    pub alive: bool,
    /// The index it has stored, as far as the leader knows; 0 unknown.
    pub matched: u64,
    /// How it stands in the list of masters.
    pub standing: Standing,
}
