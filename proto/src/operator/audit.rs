//! What is said about the audit log: each master has its own, and witnesses those of the others.

use std::time::Duration;

use crate::id::MasterId;
use crate::operator::Call;

/// A place in the audit log of one master: behind what was read of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditPlace {
    /// The number of the first entry of a file.
    pub segment: u64,
    /// So many bytes into it.
    pub offset: u64,
}

/// Reads the audit log of the master that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRead {
    /// Go on here; `None`: the last ones.
    pub from: Option<AuditPlace>,
    /// Without `from`: so many of the last ones; 0: from the oldest one that is kept.
    pub last: u32,
    /// How long the answer may wait for the first entry.
    pub wait: Duration,
    /// Only what this principal did or was denied; empty: everybody.
    pub principal: String,
    /// Only what was denied.
    pub denied: bool,
}

/// Up to where the audit log of a master is on its disk, as that master says it to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSeal {
    /// Whose.
    pub master: MasterId,
    /// `SEQUENCE:SHA-256 of the line, in hex`.
    pub head: String,
}

/// About the audit log of the master that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditCall {
    /// Read it.
    Read(AuditRead),
    /// Write into it how another's stands.
    Seal(AuditSeal),
}

/// Lines of the audit log of one master, as they stand in its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLines {
    /// Whose.
    pub master: MasterId,
    /// Oldest first.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next: AuditPlace,
    /// Whether there was more than fits into one answer.
    pub more: bool,
}

impl Call {
    /// The word for it in the audit log, and what it is about: of orders only, and never what they hold.
    pub fn told(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Call::KillTask(call) if call.framework.is_empty() => ("kill-task", call.task.to_string()),
            Call::KillTask(call) => ("kill-task", format!("{}/{}", call.framework, call.task)),
            Call::SetQuota(call) => ("set-quota", call.role.to_string()),
            Call::SetWeight(call) => ("set-weight", call.role.to_string()),
            Call::TeardownFramework(call) => ("teardown-framework", call.framework.to_string()),
            Call::MarkAgentGone(call) => ("mark-agent-gone", call.agent.to_string()),
            Call::CreateToken(call) if call.name.is_empty() => ("create-token", "agent".to_owned()),
            Call::CreateToken(call) => ("create-token", call.name.clone()),
            Call::SetRights(call) => ("set-rights", call.principal.to_string()),
            Call::DrainAgent(call) => ("drain-agent", call.agent.to_string()),
            Call::ResumeAgent(call) => ("resume-agent", call.agent.to_string()),
            Call::OperateAgent(call) => ("operate-agent", call.agent.to_string()),
            Call::SetSecret(call) => ("set-secret", format!("{}/{}", call.role, call.name)),
            Call::RemoveSecret(call) => ("remove-secret", format!("{}/{}", call.role, call.name)),
            Call::ChangeMasters(call) => {
                let ids = |ids: Vec<String>| ids.join(",");
                let add = ids(call.add.iter().map(|master| format!("+{}", master.id)).collect());
                let remove = ids(call.remove.iter().map(|id| format!("-{id}")).collect());
                ("change-masters", format!("{add}{remove}"))
            }
            Call::CancelMasters(_) => ("cancel-masters", String::new()),
            Call::TransferLead(call) => ("transfer-lead", call.to.to_string()),
            Call::Status
            | Call::Raft
            | Call::Agents(_)
            | Call::Frameworks(_)
            | Call::Tasks(_)
            | Call::Offers(_)
            | Call::Roles(_)
            | Call::Explain(_)
            | Call::StatusHere
            | Call::RaftHere
            | Call::DryRun(_)
            | Call::WhoAmI
            | Call::CanI(_)
            | Call::Principals
            | Call::Events(_)
            | Call::Secrets
            // Its own entry says so.
            | Call::Audit(_) => return None,
        })
    }
}
