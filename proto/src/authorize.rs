//! The one authorization function: who may do what, at every door. Default deny.

use std::collections::BTreeSet;

use crate::caller::Caller;
use crate::id::AgentId;
use crate::refusal::{Code, Refusal};

/// The user that needs a grant of its own.
const ROOT: &str = "root";

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
    /// Use a framework's state.
    UseStore {
        /// Whose.
        owner: String,
    },
    /// Run a task as a user it names. What a name means is the agent's to say, and it has its own word about root.
    RunAs {
        /// Which.
        user: String,
        /// The frameworks that were granted root.
        root_granted: BTreeSet<Caller>,
    },
}

/// Whether the caller may. Evaluated at every door and nowhere else.
pub fn authorize(caller: &Caller, action: &Action) -> Result<(), Refusal> {
    let allowed = match (caller, action) {
        (Caller::Agent(id), Action::BeAgent(named)) => id == named,
        // People may run a framework of their own, as its author does at first.
        (Caller::Framework(_) | Caller::User(_), Action::BeFramework) => true,
        (Caller::Framework(_) | Caller::User(_), Action::ResumeFramework { owner })
        | (Caller::Framework(_), Action::ReadOutput { owner })
        // People run frameworks of their own, and so have state.
        | (Caller::Framework(_) | Caller::User(_), Action::UseStore { owner }) => caller.to_string() == *owner,
        (Caller::Framework(_) | Caller::Agent(_), Action::Read) => true,
        (Caller::Framework(_), Action::RunAs { user, root_granted }) => {
            user != ROOT || root_granted.contains(caller)
        }
        (Caller::Master(_), Action::BeMaster | Action::Read | Action::ReadOutput { .. }) => true,
        (who, Action::ReadMetrics) => who.may_read_metrics(),
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
            | Action::RunAs { .. },
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
            | Action::UseStore { .. }
            | Action::RunAs { .. },
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
        Action::UseStore { owner } => format!("use the state of {owner}"),
        Action::ReadMetrics => "read metrics".to_owned(),
        Action::RunAs { user, .. } => format!("run tasks as {user}"),
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
        let state = |owner: &str| Action::UseStore { owner: owner.into() };
        assert!(authorize(&Caller::Framework("jobs".into()), &state("framework/jobs")).is_ok());
        assert!(authorize(&Caller::Framework("jobs".into()), &state("framework/spark")).is_err());
        assert!(authorize(&Caller::User("jobs".into()), &state("framework/jobs")).is_err());
        assert!(authorize(&Caller::Agent(agent("a1")), &state("agent/a1")).is_err());
        assert!(authorize(&Caller::Framework("jobs".into()), &Action::SetRole).is_err());
        assert!(authorize(&Caller::User("ada".into()), &Action::BeMaster).is_err());
    }

    #[test]
    fn root_is_for_people_and_for_frameworks_that_were_granted_it() {
        let jobs = Caller::Framework("jobs".into());
        let run_as = |user: &str, granted: &[&Caller]| Action::RunAs {
            user: user.to_owned(),
            root_granted: granted.iter().map(|caller| (*caller).clone()).collect(),
        };
        assert!(authorize(&jobs, &run_as("web", &[])).is_ok());
        assert!(authorize(&jobs, &run_as("root", &[])).is_err());
        assert!(authorize(&jobs, &run_as("root", &[&Caller::Framework("spark".into())])).is_err());
        assert!(authorize(&jobs, &run_as("root", &[&jobs])).is_ok());
        assert!(authorize(&Caller::User("ada".into()), &run_as("root", &[])).is_ok());
        let agent = Caller::Agent(AgentId::new("a1").unwrap());
        assert!(authorize(&agent, &run_as("web", &[&agent])).is_err());
    }

    #[test]
    fn metrics_are_for_people_and_masters() {
        let may = |caller| authorize(&caller, &Action::ReadMetrics).is_ok();
        assert!(may(Caller::User("ada".into())) && may(Caller::Master(crate::id::MasterId(1))));
        assert!(!may(Caller::Framework("jobs".into())) && !may(Caller::Agent(AgentId::new("a1").unwrap())));
    }
}
