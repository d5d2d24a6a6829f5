//! An agent gets no new work: what is offered of it is taken back, and what runs there ends by itself or at a deadline.
//! It is in the log, and so outlives leaders. Frameworks that have something there are told, so that they can move it in
//! time.

use std::collections::BTreeSet;
use std::time::Duration;

use master_allocator::Change;
use master_registry::TaskKey;
use proto::agent::AgentState;
use proto::caller::Caller;
use proto::id::{AgentId, FrameworkId};
use proto::log::{AgentDrained, Entry};
use proto::operator::{Drain, DrainAgent};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::scheduler::{AgentDraining, AgentResumed, EventKind, RescindReason};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::leading::Deadline;

/// How soon after its deadline an agent is looked at again: of a launch that was on its way through the log when the drain
/// was, or a task that is adopted later, nobody else would ask for the end.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The most that people may say of why, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// The first half.
pub(crate) fn drain(d: &Desk<'_>, caller: &Caller, call: DrainAgent) -> Result<Entry, Refusal> {
    let DrainAgent { agent, within, reason } = call;
    known(d, &agent)?;
    if reason.len() > REASON_BYTES_MAX {
        let message = format!("reason has {} bytes; at most {REASON_BYTES_MAX}", reason.len());
        return Err(Refusal::new(Code::Invalid, message));
    }
    let deadline_ms = within.map_or(0, |within| d.deadline_ms(within));
    let drain = Drain { since_ms: 0, deadline_ms, reason, by: caller.to_string() };
    Ok(Entry::AgentDrained(AgentDrained { agent, drain }))
}

/// The first half.
pub(crate) fn resume(d: &Desk<'_>, agent: AgentId) -> Result<Entry, Refusal> {
    known(d, &agent)?;
    if !is_draining(d, &agent) {
        return Err(Refusal::new(Code::Conflict, format!("agent {agent} is not draining")));
    }
    Ok(Entry::AgentResumed(agent))
}

fn known(d: &Desk<'_>, id: &AgentId) -> Result<(), Refusal> {
    match d.registry.agent(id).map(|record| record.state) {
        None => Err(Refusal::new(Code::NotFound, format!("there is no agent {id}"))),
        Some(AgentState::Gone) => Err(Refusal::new(Code::Conflict, format!("agent {id} was declared gone"))
            .with_help("it gets no work and never will again")),
        Some(AgentState::Active | AgentState::Disconnected | AgentState::Unreachable) => Ok(()),
    }
}

/// Whether somebody said that the agent gets no new work.
pub(crate) fn is_draining(d: &Desk<'_>, id: &AgentId) -> bool {
    d.registry.agent(id).is_some_and(|record| record.drain.is_some())
}

/// It is in the log that the agent drains, with this deadline or another one, or does not any more.
pub(crate) fn changed(d: &mut Desk<'_>, id: &AgentId) {
    let draining = is_draining(d, id);
    if draining {
        for offer in d.l.offers.of_agent(id) {
            d.rescind(offer, RescindReason::Operator);
        }
    }
    if d.l.agents.pooled(id).is_some() {
        let active = !draining && d.l.agents.link_of(id).is_some();
        d.change(Change::AgentActive { agent: id.clone(), active });
    }
    tell(d, id);
    wait(d, id);
    d.show_agent(id);
}

/// Tells the frameworks that have something on the agent that it is to be empty, or not any more.
fn tell(d: &mut Desk<'_>, id: &AgentId) {
    let mut told = d.l.drains_told.remove(id).unwrap_or_default();
    match notice(d, id) {
        Some(notice) => {
            told.extend(concerned(d, id));
            for framework in &told {
                d.tell(framework, EventKind::AgentDraining(notice.clone()));
            }
            d.l.drains_told.insert(id.clone(), told);
        }
        None => {
            for framework in told {
                d.tell(&framework, EventKind::AgentResumed(AgentResumed { agent: id.clone() }));
            }
        }
    }
}

/// Tells a framework whose session begins anew of every agent that is to be empty and on which it has something.
pub(crate) fn tell_all(d: &mut Desk<'_>, framework: &FrameworkId) {
    let draining = d.registry.agents().filter(|agent| agent.drain.is_some()).map(|agent| &agent.info.id);
    let concerned: Vec<AgentId> =
        draining.filter(|id| concerned(d, id).contains(framework)).cloned().collect();
    for id in concerned {
        let Some(notice) = notice(d, &id) else { continue };
        d.l.drains_told.entry(id).or_default().insert(framework.clone());
        d.tell(framework, EventKind::AgentDraining(notice));
    }
}

fn notice(d: &Desk<'_>, id: &AgentId) -> Option<AgentDraining> {
    let record = d.registry.agent(id).filter(|record| record.state != AgentState::Gone)?;
    let drain = record.drain.as_ref()?;
    Some(AgentDraining { agent: id.clone(), deadline_ms: drain.deadline_ms, reason: drain.reason.clone() })
}

/// The frameworks that have tasks on an agent, or for one of whose roles something is reserved there.
pub(crate) fn concerned(d: &Desk<'_>, id: &AgentId) -> BTreeSet<FrameworkId> {
    let mut concerned: BTreeSet<FrameworkId> =
        d.registry.tasks_on(id).map(|task| task.framework.clone()).collect();
    let portions = d.registry.agent(id).into_iter().flat_map(|agent| agent.total.portions());
    let reserved: BTreeSet<&Role> = portions.filter_map(|portion| portion.reservation.as_ref()).collect();
    if !reserved.is_empty() {
        let has_role = |role: &Role| reserved.iter().any(|kept| role.is_within(kept));
        let theirs = d.registry.frameworks().filter(|known| known.record.info.roles.iter().any(has_role));
        concerned.extend(theirs.map(|known| known.record.id.clone()));
    }
    concerned
}

/// Its deadline is waited for, if it has one.
pub(crate) fn wait(d: &mut Desk<'_>, id: &AgentId) {
    let drain = d.registry.agent(id).and_then(|record| record.drain.as_ref());
    match drain.map_or(0, |drain| drain.deadline_ms) {
        0 => drop(d.l.deadlines.cancel(&Deadline::Drain(id.clone()))),
        deadline_ms => d.at(Deadline::Drain(id.clone()), deadline_ms),
    }
}

/// Its deadline has passed: what still runs there is ended.
pub(crate) fn due(d: &mut Desk<'_>, id: &AgentId) {
    if !is_draining(d, id) {
        return;
    }
    let registry = d.registry;
    for task in registry.tasks_on(id) {
        if task.kill_grace.is_none() {
            let key: TaskKey = (task.framework.clone(), task.info.id.clone());
            super::kill::want(d, key, task.info.kill_grace, Pending::Nothing);
        }
    }
    d.after(Deadline::Drain(id.clone()), LOOK_AGAIN);
}
