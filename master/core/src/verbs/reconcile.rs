//! A framework asks how its tasks stand.

use proto::agent::AgentState;
use proto::id::{FrameworkId, OperationId, TaskId};
use proto::log::TaskRecord;
use proto::scheduler::{EventKind, Reconcile};
use proto::task::{StatusReason, TaskState, TaskStatus};

use crate::desk::Desk;

pub(crate) fn reconcile(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Reconcile) {
    if call.tasks.is_empty() {
        for mut status in statuses(d, id) {
            mark(&mut status);
            d.tell(id, EventKind::Update(status));
        }
    }
    for task in &call.tasks {
        tell_one(d, id, task);
    }
    d.done(id, operation);
}

/// How every task of the framework stands that has not ended, for a session that begins. What waits for an
/// acknowledgement follows in order, so nothing of it is anticipated here: there the log has the word.
pub(crate) fn statuses(d: &Desk<'_>, id: &FrameworkId) -> Vec<TaskStatus> {
    let standing = |record: &TaskRecord| {
        let waits = record.status.run.is_some_and(|run| d.l.tasks.waits(id, run));
        let mut status = if waits { visible(d, record, record.status.clone()) } else { latest(d, record) };
        status.sequence = 0;
        status
    };
    d.registry.tasks_of(id).map(standing).collect()
}

/// Tells how one task stands: from the present, from the past, or that nobody knows it.
pub(crate) fn tell_one(d: &mut Desk<'_>, id: &FrameworkId, task: &TaskId) {
    let key = (id.clone(), task.clone());
    let ended = || {
        let framework = d.registry.framework(id)?;
        framework.ended().rev().find(|record| record.info.id == *task).map(|record| record.status.clone())
    };
    let found = d.registry.task(&key).map(|record| latest(d, record)).or_else(ended);
    let mut status = found.unwrap_or_else(|| {
        let message = "the master does not know this task";
        TaskStatus::by_master(task.clone(), TaskState::Unknown, StatusReason::TaskUnknown, message, d.at_ms())
    });
    mark(&mut status);
    d.tell(id, EventKind::Update(status));
}

/// How a task stands that has not ended in the log. An end that is on its way there comes as an update, behind those
/// before it.
fn latest(d: &Desk<'_>, record: &TaskRecord) -> TaskStatus {
    let soft = record.status.run.and_then(|run| d.l.tasks.latest(run));
    let soft = soft.filter(|status| !status.state.is_terminal()).cloned();
    visible(d, record, soft.unwrap_or_else(|| record.status.clone()))
}

/// What can be said of it while its agent may be out of sight.
fn visible(d: &Desk<'_>, record: &TaskRecord, mut status: TaskStatus) -> TaskStatus {
    let unreachable =
        d.registry.agent(&record.agent).is_some_and(|agent| agent.state == AgentState::Unreachable);
    if unreachable && !status.state.is_terminal() {
        status.state = TaskState::Unreachable;
        status.reason = StatusReason::AgentUnreachable;
    }
    status
}

/// An answer is not an update: there is nothing to acknowledge.
fn mark(status: &mut TaskStatus) {
    status.sequence = 0;
    if status.reason == StatusReason::None {
        status.reason = StatusReason::Reconciliation;
    }
}
