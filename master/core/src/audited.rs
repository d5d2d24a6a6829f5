//! `Audited`: what the audit log is told of frameworks and agents, and of what a leader does by itself.
//!
//! Operators' calls are not here: their door knows who asked, from where, and what came of it.

use master_registry::Effect;
use proto::caller::Caller;
use proto::id::{AgentId, FrameworkId};
use proto::log::Entry;
use proto::refusal::{Code, Refusal};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::input::{LinkId, SessionId};
use crate::output::Output;

/// Something for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Whose doing it is, as a principal; empty: this master's own.
    pub who: String,
    /// Where that speaks to this master, if it still does.
    pub via: Option<Via>,
    /// What.
    pub call: &'static str,
    /// A framework, a task or an agent.
    pub object: String,
    /// Carried out at this index of the log (0: nothing was logged), or why not.
    pub outcome: Result<u64, Code>,
    /// In words; may be empty.
    pub message: String,
    /// How often; of launches, how many tasks.
    pub count: u64,
}

/// Where somebody speaks to this master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// A framework, on its session.
    Session(SessionId),
    /// An agent, on its link.
    Link(LinkId),
}

/// The call of a framework that a verb is carrying out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calling<'a> {
    pub session: SessionId,
    pub caller: &'a Caller,
    pub call: &'static str,
}

impl Desk<'_> {
    fn audit(&mut self, audited: Audited) {
        self.out.push(Output::Audit(audited));
    }

    /// The principal of a framework, and its session.
    fn known_as(&self, id: &FrameworkId) -> (String, Option<Via>) {
        let principal = match self.registry.framework(id) {
            Some(framework) => framework.record.principal.clone(),
            None => {
                let removed = self.registry.removed_frameworks().find(|record| record.id == *id);
                removed.map(|record| record.principal.clone()).unwrap_or_default()
            }
        };
        let session = self.l.frameworks.get(id).and_then(|standing| standing.session);
        (principal, session.map(Via::Session))
    }

    /// A framework has done something that lasts.
    pub fn audit_done(
        &mut self,
        id: &FrameworkId,
        call: &'static str,
        object: String,
        index: u64,
        count: u64,
    ) {
        let (who, via) = self.known_as(id);
        self.audit(Audited { who, via, call, object, outcome: Ok(index), message: String::new(), count });
    }

    /// What a framework asked is not done. Without a call that is being carried out it is one whose commit was awaited.
    pub fn audit_refused(&mut self, id: Option<&FrameworkId>, refusal: &Refusal, count: u64) {
        let (who, via, call) = match (self.calling, id) {
            (Some(Calling { session, caller, call }), _) => {
                (caller.to_string(), Some(Via::Session(session)), call)
            }
            (None, Some(id)) => {
                let (who, via) = self.known_as(id);
                (who, via, "commit")
            }
            (None, None) => return,
        };
        let object = id.map(ToString::to_string).unwrap_or_default();
        let (outcome, message) = (Err(refusal.code), refusal.message.clone());
        self.audit(Audited { who, via, call, object, outcome, message, count });
    }

    /// An agent is let in, or is not.
    pub fn audit_agent(&mut self, link: LinkId, agent: &AgentId, refusal: Option<&Refusal>) {
        self.audit(Audited {
            who: Caller::Agent(agent.clone()).to_string(),
            via: Some(Via::Link(link)),
            call: "register",
            object: agent.to_string(),
            outcome: refusal.map_or(Ok(0), |refusal| Err(refusal.code)),
            message: refusal.map(|refusal| refusal.message.clone()).unwrap_or_default(),
            count: 1,
        });
    }

    /// This leader ends somebody's work, or gives up on it, and nobody asked for that now.
    fn audit_own(&mut self, call: &'static str, object: String, message: String, index: u64, count: u64) {
        let (who, via) = (String::new(), None);
        self.audit(Audited { who, via, call, object, outcome: Ok(index), message, count });
    }
}

/// What the audit log is told of an entry that this leader has proposed, once it is committed.
pub(crate) fn committed(d: &mut Desk<'_>, index: u64, entry: &Entry, pending: &Pending, effect: &Effect) {
    let by = match pending {
        Pending::Answer { framework, .. }
        | Pending::Unanswered { framework }
        | Pending::Accept { framework, .. } => Some(framework),
        Pending::Nothing => None,
        // The operators' door, and whoever lets somebody in, tell of these.
        Pending::Reply { .. } | Pending::Admit { .. } | Pending::Subscribe { .. } => return,
    };
    match (entry, effect, by) {
        (_, Effect::Nothing | Effect::Fenced(_) | Effect::Repeated(_), _) => {}
        (Entry::Accepted(_), Effect::Launched { runs, .. }, Some(id)) => {
            d.audit_done(id, "accept", id.to_string(), index, (runs.len() as u64).max(1));
        }
        (Entry::KillWanted(inner), _, Some(id)) => {
            d.audit_done(id, "kill", format!("{id}/{}", inner.task), index, 1);
        }
        (Entry::KillWanted(inner), _, None) => {
            let object = format!("{}/{}", inner.framework, inner.task);
            d.audit_own("end-task", object, "its agent was to be empty by now".to_owned(), index, 1);
        }
        (Entry::FrameworkRegistered(_), _, Some(id)) => {
            d.audit_done(id, "update-framework", id.to_string(), index, 1);
        }
        (Entry::FrameworkRemoved(_), _, Some(id)) => d.audit_done(id, "teardown", id.to_string(), index, 1),
        (Entry::FrameworkRemoved(id), Effect::ToKill(keys), None) => {
            let message =
                format!("it did not come back within its failover timeout; {} tasks are ended", keys.len());
            d.audit_own("end-framework", id.to_string(), message, index, 1);
        }
        (Entry::AgentUnreachable(id), Effect::OutOfSight(keys), None) => {
            let message = format!("it was silent for too long; {} tasks are out of sight", keys.len());
            d.audit_own("lose-agent", id.to_string(), message, index, 1);
        }
        _ => {}
    }
}
