//! A framework ends: by itself, by an operator, or because it did not come back in time.

use master_allocator::Change;
use master_registry::{Effect, TaskKey};
use proto::id::{FrameworkId, OperationId};
use proto::log::Entry;
use proto::operator::EventKind as Changed;
use proto::refusal::{Code, Refusal};
use proto::scheduler::{Answer, EventKind, Fault, Outcome, RescindReason};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::leading::Deadline;
use crate::output::{Note, Output};

/// The framework itself asks.
pub(crate) fn teardown(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>) {
    // Answered before the session ends: afterwards there is nobody to tell. The end itself is certain once proposed by
    // a leader that stays; if it does not, the framework's failover timer ends it all the same.
    let pending = match operation {
        Some(operation) => Pending::Answer { framework: id.clone(), operation },
        None => Pending::Unanswered { framework: id.clone() },
    };
    d.batch.propose(Entry::FrameworkRemoved(id.clone()), pending);
}

/// It is in the log that the framework ended.
pub(crate) fn removed(d: &mut Desk<'_>, id: &FrameworkId, index: u64, pending: &Pending, effect: Effect) {
    let keys: Vec<TaskKey> = match effect {
        Effect::ToKill(keys) => keys,
        Effect::Done
        | Effect::Nothing
        | Effect::Fenced(_)
        | Effect::Launched { .. }
        | Effect::Repeated(_)
        | Effect::OutOfSight(_)
        | Effect::Granted(_)
        | Effect::Ended(_) => return,
    };
    for offer in d.l.offers.of_framework(id) {
        d.rescind(offer, RescindReason::Operator);
    }
    d.change(Change::FrameworkActive { id: id.clone(), active: false });
    d.l.deadlines.cancel(&Deadline::Framework(id.clone()));
    if let Pending::Answer { operation, .. } = pending {
        let answer = Answer { operation: operation.clone(), outcome: Outcome::Committed(index) };
        d.tell(id, EventKind::Answer(answer));
    }
    if let Some(session) = d.l.frameworks.get(id).and_then(|standing| standing.session) {
        let refusal = Refusal::new(Code::FrameworkRemoved, format!("framework {id} was torn down"));
        d.tell_session(session, EventKind::Fault(Fault { refusal }));
        d.out.push(Output::CloseFramework { session });
        d.l.deadlines.cancel(&Deadline::Session(session));
        d.l.frameworks.disconnect(session);
    }
    // Nobody will acknowledge any more, so the master does.
    for status in d.l.tasks.forget_framework(id) {
        if let (Some(agent), Some(run)) = (status.agent, status.run) {
            if d.l.tasks.is_ending(run) {
                d.l.tasks.park(run, agent, status.sequence);
            } else {
                super::acknowledge::pass_on(d, &agent, run, status.sequence);
            }
        }
    }
    for key in &keys {
        super::kill::ask(d, key);
    }
    if let Some(standing) = d.l.frameworks.get_mut(id) {
        standing.removed = true;
    }
    d.out.push(Output::Note(Note::Framework { framework: id.clone(), what: "removed" }));
    d.changed(Changed::FrameworkRemoved(id.clone()));
    forget_if_empty(d, id);
}

/// A removed framework leaves the tables with its last task.
pub(crate) fn forget_if_empty(d: &mut Desk<'_>, id: &FrameworkId) {
    let removed = d.registry.framework(id).is_none();
    if removed && d.registry.tasks_of(id).next().is_none() && d.l.frameworks.remove(id).is_some() {
        d.change(Change::FrameworkRemoved { id: id.clone() });
    }
}
