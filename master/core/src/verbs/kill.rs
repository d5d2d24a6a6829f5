//! Somebody wants a task to end: remembered by the log, so that it is asked of the agent until it has happened.

use std::time::Duration;

use master_registry::TaskKey;
use proto::agent_link::{Kill as KillRun, ToAgentKind};
use proto::id::{FrameworkId, OperationId};
use proto::log::{Entry, KillWanted};
use proto::refusal::{Code, Refusal};
use proto::scheduler::Kill;

use crate::batch::Pending;
use crate::desk::Desk;
use crate::validate;

/// The first half.
pub(crate) fn kill(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Kill) {
    let key = (id.clone(), call.task);
    let Some(task) = d.registry.task(&key) else {
        // Ended or never known: its state is the answer.
        super::reconcile::tell_one(d, id, &key.1);
        return d.done(id, operation);
    };
    let grace = call.grace.unwrap_or(task.info.kill_grace);
    if let Err(why) = validate::kill_grace("grace", grace) {
        return d.refuse(id, operation, Refusal::new(Code::Invalid, why));
    }
    let pending = match operation {
        Some(operation) => Pending::Answer { framework: id.clone(), operation },
        None => Pending::Unanswered { framework: id.clone() },
    };
    want(d, key, grace, pending);
}

/// Has it logged that a task is to end.
pub(crate) fn want(d: &mut Desk<'_>, (framework, task): TaskKey, grace: Duration, pending: Pending) {
    d.batch.propose(Entry::KillWanted(KillWanted { framework, task, grace }), pending);
}

/// The second half, and whenever the agent is back: ask it.
pub(crate) fn ask(d: &mut Desk<'_>, key: &TaskKey) {
    let Some(task) = d.registry.task(key) else { return };
    let (Some(grace), Some(run)) = (task.kill_grace, task.status.run) else { return };
    let agent = task.agent.clone();
    d.tell_agent(&agent, ToAgentKind::Kill(KillRun { run, grace }));
}
