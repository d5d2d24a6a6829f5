//! An agent is lost: first out of touch, then out of sight, or given up by an operator.

use master_allocator::Change;
use master_registry::{Effect, TaskKey};
use proto::agent::AgentState;
use proto::agent_link::{Shutdown, ToAgentKind};
use proto::id::AgentId;
use proto::log::{Entry, TaskRecord};
use proto::refusal::{Code, Refusal};
use proto::scheduler::{EventKind, Failure, RescindReason};
use proto::task::{StatusReason, TaskState};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::input::LinkId;
use crate::leading::Deadline;
use crate::output::Output;

/// Its link is over: no new offers, tasks are presumed to run.
pub(crate) fn unlink(d: &mut Desk<'_>, link: LinkId) {
    d.l.deadlines.cancel(&Deadline::Link(link));
    let Some(id) = d.l.agents.unlink(link) else { return };
    for offer in d.l.offers.of_agent(&id) {
        d.rescind(offer, RescindReason::AgentLost);
    }
    d.change(Change::AgentActive { agent: id.clone(), active: false });
    d.after(Deadline::Agent(id.clone()), d.config.agent_unreachable_after);
    d.show_agent(&id);
}

/// It did not come back in time.
pub(crate) fn lose(d: &mut Desk<'_>, id: AgentId) {
    if d.l.agents.link_of(&id).is_none() {
        d.batch.propose(Entry::AgentUnreachable(id.clone()), Pending::Nothing);
    }
}

/// It is in the log that it is out of sight.
pub(crate) fn lost(d: &mut Desk<'_>, id: &AgentId, effect: Effect) {
    let keys: Vec<TaskKey> = match effect {
        Effect::OutOfSight(keys) => keys,
        Effect::Done
        | Effect::Nothing
        | Effect::Fenced(_)
        | Effect::Launched { .. }
        | Effect::Repeated(_)
        | Effect::Ended(_)
        | Effect::Granted(_)
        | Effect::ToKill(_) => return,
    };
    // It may have come back while the log was asked: then it registers again, as one that was out of sight.
    cut_off(d, id);
    leave_pool(d, id);
    tell_failure(d, id, AgentState::Unreachable, &[]);
    for key in keys {
        let Some(record) = d.registry.task(&key) else { continue };
        let mut status = record.status.clone();
        status.state = TaskState::Unreachable;
        status.reason = StatusReason::AgentUnreachable;
        status.message = format!("agent {id} was silent for too long");
        status.sequence = 0;
        status.at_ms = d.at_ms();
        if let Some(run) = status.run {
            d.l.tasks.lose_sight(run);
        }
        d.update(&key.0, status);
        d.show_task(&key);
    }
    d.show_agent(id);
    super::subscribe::hear_held(d);
}

/// It is in the log that an operator gave it up.
pub(crate) fn given_up(d: &mut Desk<'_>, id: &AgentId, effect: Effect) {
    let records = match effect {
        Effect::Ended(records) => records,
        Effect::Done
        | Effect::Nothing
        | Effect::Fenced(_)
        | Effect::Launched { .. }
        | Effect::Repeated(_)
        | Effect::OutOfSight(_)
        | Effect::Granted(_)
        | Effect::ToKill(_) => return,
    };
    d.l.deadlines.cancel(&Deadline::Agent(id.clone()));
    d.l.deadlines.cancel(&Deadline::Drain(id.clone()));
    d.l.drains_told.remove(id);
    if let Some(link) = d.l.agents.link_of(id) {
        super::volumes::tell(d, link, id);
        let refusal = Refusal::new(Code::AgentGone, format!("agent {id} was declared gone"));
        d.tell_link(link, ToAgentKind::Shutdown(Shutdown { refusal }));
    }
    cut_off(d, id);
    tell_failure(d, id, AgentState::Gone, &records);
    for record in records {
        d.update(&record.framework.clone(), record.status.clone());
        super::update::ended(d, record);
    }
    leave_pool(d, id);
    d.show_agent(id);
    super::subscribe::hear_held(d);
}

/// One that is given up may have been out of sight before, and then the allocator does not know it any more.
fn leave_pool(d: &mut Desk<'_>, id: &AgentId) {
    if d.l.agents.unpool(id) {
        d.change(Change::AgentRemoved { agent: id.clone() });
    }
}

/// Takes back what is offered of it and ends its link, if it has one.
fn cut_off(d: &mut Desk<'_>, id: &AgentId) {
    for offer in d.l.offers.of_agent(id) {
        d.rescind(offer, RescindReason::AgentLost);
    }
    if let Some(link) = d.l.agents.link_of(id) {
        d.out.push(Output::CloseAgent { link });
        d.l.deadlines.cancel(&Deadline::Link(link));
        d.l.agents.unlink(link);
    }
}

/// Tells whoever has something there, or had one of the tasks that ended with it.
fn tell_failure(d: &mut Desk<'_>, id: &AgentId, state: AgentState, ended: &[TaskRecord]) {
    let mut told = super::drain::concerned(d, id);
    told.extend(ended.iter().map(|record| record.framework.clone()));
    for framework in told {
        d.tell(&framework, EventKind::Failure(Failure { agent: id.clone(), state }));
    }
}
