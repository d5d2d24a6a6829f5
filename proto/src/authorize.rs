//! The one authorization function: who may do what, at every door. Default deny.

use std::collections::BTreeSet;

use crate::caller::Caller;
use crate::id::{AgentId, MasterId};
use crate::operator::CanI;
use crate::refusal::{Code, Refusal};
use crate::rights::Rights;
use crate::role::Role;

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
    /// Take offers in a role.
    TakeOffers {
        /// Which.
        role: Role,
        /// What the principal may.
        rights: Rights,
    },
    /// Speak Raft.
    BeMaster,
    /// Read lists, watch, explain.
    Read,
    /// Read the environment of a task: it may hold secrets.
    ReadEnvironment {
        /// Who registered its framework; empty if that is not known.
        owner: String,
    },
    /// Read the output of a task.
    ReadOutput {
        /// Who registered its framework; empty if that is not known.
        owner: String,
    },
    /// Run a command beside a task, as its user.
    Exec {
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
    /// Give an agent no new work, or work again.
    DrainAgent,
    /// Say what agents' resources are kept for: reservations and volumes, outside of offers.
    Reserve,
    /// Know which secrets there are; what they hold is not told.
    ListSecrets,
    /// Say what secrets hold, and remove them.
    SetSecret,
    /// Read what the secrets of one run hold.
    ReadSecrets {
        /// The agent that the run is placed on, as a principal; empty if there is none.
        owner: String,
    },
    /// Make join tokens.
    CreateToken,
    /// Say what principals may, and ask what others may.
    SetRights,
    /// Read metrics.
    ReadMetrics,
    /// Take all that the masters remember as a backup.
    SaveBackup,
    /// Say who the masters are, and which of them leads.
    ChangeMasters,
    /// Read the masters' audit logs.
    ReadAudit,
    /// Have it witnessed how the audit log of this master stands.
    SealAudit {
        /// Whose it is.
        of: MasterId,
    },
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
        | (Caller::Framework(_), Action::ReadOutput { owner } | Action::ReadEnvironment { owner } | Action::Exec { owner })
        // People run frameworks of their own, and so have state.
        | (Caller::Framework(_) | Caller::User(_), Action::UseStore { owner }) => caller.to_string() == *owner,
        // Nobody else, people and masters included.
        (Caller::Agent(_), Action::ReadSecrets { owner }) => caller.to_string() == *owner,
        (Caller::Framework(_), Action::TakeOffers { role, rights }) => rights.takes(role),
        (Caller::Framework(_) | Caller::Agent(_), Action::Read) => true,
        (Caller::Framework(_), Action::RunAs { user, root_granted }) => {
            user != ROOT || root_granted.contains(caller)
        }
        (
            Caller::Master(_),
            Action::BeMaster | Action::Read | Action::ReadOutput { .. } | Action::ReadEnvironment { .. },
        ) => true,
        (who, Action::ReadMetrics) => who.may_read_metrics(),
        // People hold every operator's right for now; a person is not an agent or a master.
        (
            Caller::User(_),
            Action::Read
            | Action::ReadOutput { .. }
            | Action::ReadEnvironment { .. }
            | Action::Exec { .. }
            | Action::TakeOffers { .. }
            | Action::KillTask
            | Action::SetRole
            | Action::TeardownFramework
            | Action::MarkAgentGone
            | Action::DrainAgent
            | Action::Reserve
            | Action::ListSecrets
            | Action::SetSecret
            | Action::CreateToken
            | Action::SaveBackup
            | Action::ChangeMasters
            | Action::ReadAudit
            | Action::SetRights
            | Action::RunAs { .. },
        ) => true,
        (Caller::Master(id), Action::SealAudit { of }) => id == of,
        (
            Caller::Master(_) | Caller::Agent(_) | Caller::Framework(_) | Caller::User(_),
            Action::BeAgent(_)
            | Action::BeFramework
            | Action::ResumeFramework { .. }
            | Action::BeMaster
            | Action::TakeOffers { .. }
            | Action::ReadOutput { .. }
            | Action::ReadEnvironment { .. }
            | Action::Exec { .. }
            | Action::KillTask
            | Action::SetRole
            | Action::TeardownFramework
            | Action::MarkAgentGone
            | Action::DrainAgent
            | Action::Reserve
            | Action::ListSecrets
            | Action::SetSecret
            | Action::ReadSecrets { .. }
            | Action::CreateToken
            | Action::SaveBackup
            | Action::ChangeMasters
            | Action::ReadAudit
            | Action::SealAudit { .. }
            | Action::SetRights
            | Action::UseStore { .. }
            | Action::RunAs { .. },
        ) => false,
    };
    if allowed {
        return Ok(());
    }
    let refusal = Refusal::new(Code::Denied, format!("{caller} may not {}", in_words(action)));
    Err(match (caller, action) {
        (Caller::Framework(_), Action::TakeOffers { role, rights }) => refusal.with_help(format!(
            "it takes offers in: {rights}; an operator gives it this one too with `stoa auth grant {caller} --role {role}`"
        )),
        (_, Action::ReadSecrets { .. }) => {
            refusal.with_help("nobody is shown it; set it again with `stoa secret set` if it is lost")
        }
        _ => refusal,
    })
}

/// What it is to do, behind "may not".
fn in_words(action: &Action) -> String {
    match action {
        Action::BeAgent(id) => format!("speak as agent {id}"),
        Action::BeFramework => "hold a framework's session".to_owned(),
        Action::ResumeFramework { owner } => format!("take up a framework of {owner}"),
        Action::TakeOffers { role, .. } => format!("take offers in the role {role}"),
        Action::BeMaster => "speak as a master".to_owned(),
        Action::Read => "read the cluster's state".to_owned(),
        Action::ReadOutput { .. } => "read the output of another's tasks".to_owned(),
        Action::ReadEnvironment { .. } => "read the environment of another's tasks".to_owned(),
        Action::Exec { .. } => "run commands beside another's tasks".to_owned(),
        Action::KillTask => "end tasks".to_owned(),
        Action::SetRole => "set quotas and weights".to_owned(),
        Action::TeardownFramework => "end frameworks".to_owned(),
        Action::MarkAgentGone => "give agents up".to_owned(),
        Action::DrainAgent => "drain agents".to_owned(),
        Action::Reserve => "say what agents' resources are kept for; frameworks reserve by offers".to_owned(),
        Action::ListSecrets => "list secrets".to_owned(),
        Action::SetSecret => "set or remove secrets".to_owned(),
        Action::ReadSecrets { .. } => {
            "read what secrets hold; only the agent that runs a task may that names them".to_owned()
        }
        Action::CreateToken => "make join tokens".to_owned(),
        Action::SaveBackup => "take a backup of the masters".to_owned(),
        Action::ChangeMasters => "say who the masters are".to_owned(),
        Action::ReadAudit => "read the audit log".to_owned(),
        Action::SealAudit { of } => format!("say how the audit log of master/{of} stands"),
        Action::SetRights => "say or ask what others may".to_owned(),
        Action::UseStore { owner } => format!("use the state of {owner}"),
        Action::ReadMetrics => "read metrics".to_owned(),
        Action::RunAs { user, .. } => format!("run tasks as {user}"),
    }
}

/// The words for what somebody may want to do, as `stoa auth can-i` takes them, in the order in which they are shown.
pub const VERBS: [&str; 23] = [
    "read",
    "read-metrics",
    "read-output",
    "read-environment",
    "exec",
    "subscribe",
    "resume-framework",
    "run-as",
    "use-store",
    "kill-task",
    "set-role",
    "teardown-framework",
    "mark-agent-gone",
    "drain-agent",
    "reserve",
    "list-secrets",
    "set-secret",
    "read-secrets",
    "create-token",
    "save-backup",
    "change-masters",
    "read-audit",
    "set-rights",
];

/// The action behind a word, as far as it was said what it is about; what else it depends on, its principal's rights and
/// the frameworks that were granted root, is known to the masters. An error says what is missing.
pub fn action_of(asked: &CanI, rights: &Rights, root_granted: &BTreeSet<Caller>) -> Result<Action, Refusal> {
    let owner = || asked.owner.clone();
    Ok(match asked.verb.as_str() {
        "read" => Action::Read,
        "read-metrics" => Action::ReadMetrics,
        "read-output" => Action::ReadOutput { owner: owner() },
        "read-environment" => Action::ReadEnvironment { owner: owner() },
        "exec" => Action::Exec { owner: owner() },
        "subscribe" => match &asked.role {
            Some(role) => Action::TakeOffers { role: role.clone(), rights: rights.clone() },
            None => Action::BeFramework,
        },
        "resume-framework" => Action::ResumeFramework { owner: owner() },
        "run-as" if asked.user.is_empty() => {
            return Err(Refusal::new(Code::Invalid, "user is missing")
                .with_help("say as whom, such as `stoa auth can-i run-as --user root`"));
        }
        "run-as" => Action::RunAs { user: asked.user.clone(), root_granted: root_granted.clone() },
        "use-store" => Action::UseStore { owner: owner() },
        "kill-task" => Action::KillTask,
        "set-role" => Action::SetRole,
        "teardown-framework" => Action::TeardownFramework,
        "mark-agent-gone" => Action::MarkAgentGone,
        "drain-agent" => Action::DrainAgent,
        "reserve" => Action::Reserve,
        "list-secrets" => Action::ListSecrets,
        "set-secret" => Action::SetSecret,
        "read-secrets" => Action::ReadSecrets { owner: owner() },
        "create-token" => Action::CreateToken,
        "save-backup" => Action::SaveBackup,
        "change-masters" => Action::ChangeMasters,
        "read-audit" => Action::ReadAudit,
        "set-rights" => Action::SetRights,
        other => {
            return Err(Refusal::new(Code::Invalid, format!("verb {other:?} is unknown"))
                .with_help(format!("one of: {}", VERBS.join(", "))));
        }
    })
}

/// The words for what it may do to something: to what, is another question.
pub fn verbs_of(caller: &Caller) -> Vec<&'static str> {
    let own = CanI { owner: caller.to_string(), user: "nobody".to_owned(), ..CanI::default() };
    let may = |verb: &&str| {
        let asked = CanI { verb: (*verb).to_owned(), ..own.clone() };
        action_of(&asked, &Rights::default(), &BTreeSet::new())
            .is_ok_and(|action| authorize(caller, &action).is_ok())
    };
    VERBS.into_iter().filter(may).collect()
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
        let exec = |owner: &str| Action::Exec { owner: owner.into() };
        assert!(authorize(&Caller::Framework("jobs".into()), &exec("framework/jobs")).is_ok());
        assert!(authorize(&Caller::Framework("jobs".into()), &exec("framework/spark")).is_err());
        assert!(authorize(&Caller::Framework("jobs".into()), &exec("")).is_err());
        assert!(authorize(&Caller::Agent(agent("a1")), &exec("framework/jobs")).is_err());
        assert!(authorize(&Caller::User("ada".into()), &exec("framework/jobs")).is_ok());
        let state = |owner: &str| Action::UseStore { owner: owner.into() };
        assert!(authorize(&Caller::Framework("jobs".into()), &state("framework/jobs")).is_ok());
        assert!(authorize(&Caller::Framework("jobs".into()), &state("framework/spark")).is_err());
        assert!(authorize(&Caller::User("jobs".into()), &state("framework/jobs")).is_err());
        assert!(authorize(&Caller::Agent(agent("a1")), &state("agent/a1")).is_err());
        assert!(authorize(&Caller::Framework("jobs".into()), &Action::SetRole).is_err());
        assert!(authorize(&Caller::User("ada".into()), &Action::BeMaster).is_err());
    }

    #[test]
    fn a_framework_takes_offers_in_the_roles_of_its_rights_only() {
        let jobs = Caller::Framework("jobs".into());
        let take = |path: &str, rights: &Rights| Action::TakeOffers {
            role: Role::new(path).unwrap(),
            rights: rights.clone(),
        };
        let own = Rights::of_kind(&jobs);
        for fine in ["default", "jobs", "jobs/batch"] {
            assert!(authorize(&jobs, &take(fine, &own)).is_ok(), "{fine}");
        }
        let refusal = authorize(&jobs, &take("prod/web", &own)).unwrap_err();
        assert!(refusal.help.contains("stoa auth grant framework/jobs --role prod/web"), "{refusal}");
        assert!(authorize(&jobs, &take("prod/web", &Rights::all())).is_ok());
        assert!(authorize(&jobs, &take("default", &Rights::default())).is_err());
        assert!(authorize(&Caller::User("ada".into()), &take("prod", &Rights::default())).is_ok());
        let agent = Caller::Agent(AgentId::new("a1").unwrap());
        assert!(authorize(&agent, &take("prod", &Rights::all())).is_err());
    }

    #[test]
    fn an_environment_is_for_its_owner_people_and_masters() {
        let read = |caller: &Caller, owner: &str| {
            authorize(caller, &Action::ReadEnvironment { owner: owner.into() }).is_ok()
        };
        let jobs = Caller::Framework("jobs".into());
        assert!(read(&jobs, "framework/jobs") && !read(&jobs, "framework/spark") && !read(&jobs, ""));
        assert!(read(&Caller::User("ada".into()), "framework/jobs"));
        assert!(read(&Caller::Master(crate::id::MasterId(1)), ""));
        assert!(!read(&Caller::Agent(AgentId::new("a1").unwrap()), "framework/jobs"));
    }

    #[test]
    fn secrets_are_read_by_the_agent_of_the_run_only() {
        let read = |caller: &Caller, owner: &str| {
            authorize(caller, &Action::ReadSecrets { owner: owner.into() }).is_ok()
        };
        let agent = Caller::Agent(AgentId::new("a1").unwrap());
        assert!(read(&agent, "agent/a1") && !read(&agent, "agent/a2") && !read(&agent, ""));
        for other in [
            Caller::User("ada".into()),
            Caller::Framework("jobs".into()),
            Caller::Master(crate::id::MasterId(1)),
        ] {
            assert!(!read(&other, "agent/a1") && !read(&other, &other.to_string()), "{other}");
            assert_eq!(authorize(&other, &Action::SetSecret).is_ok(), matches!(other, Caller::User(_)));
            assert_eq!(authorize(&other, &Action::ListSecrets).is_ok(), matches!(other, Caller::User(_)));
        }
    }

    #[test]
    fn every_verb_is_an_action_and_who_may_what_is_as_documented() {
        for verb in VERBS {
            let asked = CanI { verb: verb.to_owned(), user: "web".into(), ..CanI::default() };
            assert!(action_of(&asked, &Rights::default(), &BTreeSet::new()).is_ok(), "{verb}");
        }
        let asked = CanI { verb: "dance".into(), ..CanI::default() };
        assert!(
            action_of(&asked, &Rights::default(), &BTreeSet::new()).unwrap_err().help.contains("kill-task")
        );
        let all_but_secrets: Vec<_> = VERBS.into_iter().filter(|verb| *verb != "read-secrets").collect();
        assert_eq!(verbs_of(&Caller::User("ada".into())), all_but_secrets, "people set them and read none");
        assert_eq!(
            verbs_of(&Caller::Framework("jobs".into())),
            [
                "read",
                "read-output",
                "read-environment",
                "exec",
                "subscribe",
                "resume-framework",
                "run-as",
                "use-store"
            ]
        );
        assert_eq!(verbs_of(&Caller::Agent(AgentId::new("a1").unwrap())), ["read", "read-secrets"]);
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
