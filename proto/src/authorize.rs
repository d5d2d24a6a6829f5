//! The one authorization function: who may do what, at every door. Default deny.

use crate::caller::Caller;
use crate::id::AgentId;
use crate::refusal::{Code, Refusal};

/// What somebody wants to do, with the object where rights depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Speak as this agent.
    BeAgent(AgentId),
    /// Hold a framework's session.
    BeFramework,
    /// Take up a framework that this principal registered.
    ResumeFramework {
        /// Who registered it.
        owner: String,
    },
    /// Speak Raft.
    BeMaster,
    /// Read lists, watch, explain.
    Read,
    /// Read the output of a task.
    ReadOutput {
        /// Who registered its framework; empty if that is not known.
        owner: String,
    },
    /// End tasks.
    KillTask,
    /// Set quotas and weights.
    SetRole,
    /// End a framework.
    TeardownFramework,
    /// Give an agent up.
    MarkAgentGone,
    /// Make join tokens.
    CreateToken,
    /// Read metrics.
    ReadMetrics,
}

/// Whether the caller may. Evaluated at every door and nowhere else.
pub fn authorize(caller: &Caller, action: &Action) -> Result<(), Refusal> {
    let allowed = match (caller, action) {
        (Caller::Agent(id), Action::BeAgent(named)) => id == named,
        // People may run a framework of their own, as its author does at first.
        (Caller::Framework(_) | Caller::User(_), Action::BeFramework) => true,
        (Caller::Framework(_) | Caller::User(_), Action::ResumeFramework { owner })
        | (Caller::Framework(_), Action::ReadOutput { owner }) => caller.to_string() == *owner,
        (Caller::Framework(_) | Caller::Agent(_), Action::Read) => true,
        (
            Caller::Master(_),
            Action::BeMaster | Action::Read | Action::ReadOutput { .. } | Action::ReadMetrics,
        ) => true,
        // People hold every operator's right for now; a person is not an agent or a master.
        (
            Caller::User(_),
            Action::Read
            | Action::ReadOutput { .. }
            | Action::KillTask
            | Action::SetRole
            | Action::TeardownFramework
            | Action::MarkAgentGone
            | Action::CreateToken
            | Action::ReadMetrics,
        ) => true,
        (
            Caller::Master(_) | Caller::Agent(_) | Caller::Framework(_) | Caller::User(_),
            Action::BeAgent(_)
            | Action::BeFramework
            | Action::ResumeFramework { .. }
            | Action::BeMaster
            | Action::ReadOutput { .. }
            | Action::KillTask
            | Action::SetRole
            | Action::TeardownFramework
            | Action::MarkAgentGone
            | Action::CreateToken
            | Action::ReadMetrics,
        ) => false,
    };
    if allowed {
        return Ok(());
    }
    let what = match action {
        Action::BeAgent(id) => format!("speak as agent {id}"),
        Action::BeFramework => "hold a framework's session".to_owned(),
        Action::ResumeFramework { owner } => format!("take up a framework of {owner}"),
        Action::BeMaster => "speak as a master".to_owned(),
        Action::Read => "read the cluster's state".to_owned(),
        Action::ReadOutput { .. } => "read the output of another's tasks".to_owned(),
        Action::KillTask => "end tasks".to_owned(),
        Action::SetRole => "set quotas and weights".to_owned(),
        Action::TeardownFramework => "end frameworks".to_owned(),
        Action::MarkAgentGone => "give agents up".to_owned(),
        Action::CreateToken => "make join tokens".to_owned(),
        Action::ReadMetrics => "read metrics".to_owned(),
    };
    Err(Refusal::new(Code::Denied, format!("{caller} may not {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_somebody_else() {
        let agent = |id| AgentId::new(id).unwrap();
        let own = Action::BeAgent(agent("a1"));
        assert!(authorize(&Caller::Agent(agent("a1")), &own).is_ok());
        assert!(authorize(&Caller::Agent(agent("a2")), &own).is_err());
        assert!(authorize(&Caller::User("ada".into()), &own).is_err());
        let resume = Action::ResumeFramework { owner: "framework/jobs".into() };
        assert!(authorize(&Caller::Framework("jobs".into()), &resume).is_ok());
        assert!(authorize(&Caller::Framework("spark".into()), &resume).is_err());
        assert!(authorize(&Caller::User("jobs".into()), &resume).is_err());
        let output = |owner: &str| Action::ReadOutput { owner: owner.into() };
        assert!(authorize(&Caller::Framework("jobs".into()), &output("framework/jobs")).is_ok());
        assert!(authorize(&Caller::Framework("jobs".into()), &output("framework/spark")).is_err());
        assert!(
            authorize(&Caller::Framework("jobs".into()), &output("")).is_err(),
            "nobody's are not everybody's"
        );
        assert!(authorize(&Caller::Agent(agent("a1")), &output("agent/a1")).is_err());
        assert!(authorize(&Caller::User("ada".into()), &output("framework/spark")).is_ok());
        assert!(authorize(&Caller::Framework("jobs".into()), &Action::SetRole).is_err());
        assert!(authorize(&Caller::User("ada".into()), &Action::BeMaster).is_err());
    }
}
