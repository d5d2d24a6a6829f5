//! An agent presents itself: it is admitted by the log, and its runs and the log's tasks are brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use master_allocator::Change;
use master_registry::Effect;
use proto::agent::AgentState;
use proto::agent_link::{
    Kill as KillRun, Launch, Register, Registered, RunReport, Shutdown, TaskRun, ToAgentKind, Update,
};
use proto::authorize::{Action, authorize};
use proto::id::{AgentId, RunId};
use proto::log::{Entry, TaskAdopted, TaskEnded};
use proto::refusal::{Code, Refusal};
use proto::scheduler::RescindReason;
use proto::task::{StatusReason, TaskState, TaskStatus};

use crate::batch::Pending;
use crate::config::{HEARTBEAT_INTERVAL, SILENCE_LIMIT};
use crate::desk::Desk;
use crate::input::LinkId;
use crate::leading::Deadline;
use crate::output::Output;
use crate::validate;

/// The first half.
pub(crate) fn register(d: &mut Desk<'_>, link: LinkId, certified: &AgentId, call: Register) {
    let caller = proto::caller::Caller::Agent(certified.clone());
    if let Err(refusal) = authorize(&caller, &Action::BeAgent(call.agent.id.clone())) {
        return turn_away(d, link, certified, refusal);
    }
    if call.epoch > d.l.epoch {
        // It has obeyed a newer leader: this one does not know yet that it is over.
        d.out.push(Output::CloseAgent { link });
        return;
    }
    if let Err(refusal) = validate::agent(&call.agent) {
        return turn_away(d, link, certified, refusal);
    }
    match d.registry.agent(&call.agent.id) {
        Some(record) if record.state == AgentState::Gone => {
            is_gone(d, link, &call.agent.id);
        }
        Some(record)
            if record.state == AgentState::Active
                && record.info == call.agent
                && !d.registry.is_awaited(record) =>
        {
            attach(d, link, call)
        }
        Some(_) | None => {
            let entry = Entry::AgentAdmitted(call.agent.clone());
            d.batch.propose(entry, Pending::Admit { link, register: Box::new(call) });
        }
    }
}

fn turn_away(d: &mut Desk<'_>, link: LinkId, certified: &AgentId, refusal: Refusal) {
    d.audit_agent(link, certified, Some(&refusal));
    d.tell_link(link, ToAgentKind::Shutdown(Shutdown { refusal }));
    d.out.push(Output::CloseAgent { link });
}

/// The second half: the agent is in the log.
pub(crate) fn admitted(d: &mut Desk<'_>, link: LinkId, call: Register) {
    match d.registry.agent(&call.agent.id).map(|record| record.state) {
        Some(AgentState::Active) => {
            attach(d, link, call);
            super::subscribe::hear_held(d);
        }
        Some(AgentState::Gone | AgentState::Unreachable | AgentState::Disconnected) | None => {
            is_gone(d, link, &call.agent.id);
        }
    }
}

/// What was on its volumes is deleted before it leaves: it is of use to nobody any more, and not everybody's to see.
fn is_gone(d: &mut Desk<'_>, link: LinkId, id: &AgentId) {
    super::volumes::tell(d, link, id);
    turn_away(d, link, id, Refusal::new(Code::AgentGone, format!("agent {id} was declared gone")));
}

fn attach(d: &mut Desk<'_>, link: LinkId, call: Register) {
    let id = call.agent.id.clone();
    if let Some(old) = d.l.agents.link(id.clone(), link) {
        d.l.deadlines.cancel(&Deadline::Link(old));
        d.out.push(Output::CloseAgent { link: old });
    }
    d.l.deadlines.cancel(&Deadline::Agent(id.clone()));
    d.after(Deadline::Link(link), SILENCE_LIMIT);
    let registered =
        Registered { epoch: d.l.epoch, heartbeat_interval: HEARTBEAT_INTERVAL, silence_limit: SILENCE_LIMIT };
    d.tell_link(link, ToAgentKind::Registered(registered));
    crate::masters::tell_link(d, link);
    super::volumes::tell(d, link, &id);
    bring_together(d, &id, call.runs);
    offer_anew(d, &id);
    d.show_agent(&id);
    d.audit_agent(link, &id, None);
}

/// Tells the allocator what the agent has now and what of it is used.
pub(crate) fn offer_anew(d: &mut Desk<'_>, id: &AgentId) {
    let Some(record) = d.registry.agent(id) else { return };
    let active = d.l.agents.link_of(id).is_some() && record.drain.is_none();
    let (info, total) = (Arc::new(record.info.clone()), record.total.clone());
    if let Some(before) = d.l.agents.pool(info.clone()) {
        if before != info {
            // What is offered shows the agent as it was, and may be more than it has now.
            rescind_all(d, id);
        }
        d.change(Change::AgentChanged { info, total });
        return d.change(Change::AgentActive { agent: id.clone(), active });
    }
    d.change(Change::AgentAdded { info, total, active });
    let registry = d.registry;
    for task in registry.tasks_on(id) {
        d.change(Change::Charged {
            framework: task.framework.clone(),
            role: task.role.clone(),
            agent: id.clone(),
            resources: task.info.resources.clone(),
        });
    }
}

/// The agent's total in the allocator's books becomes what the log says, where an operation in which they differ was
/// not carried out.
pub(crate) fn match_total(d: &mut Desk<'_>, id: &AgentId) {
    let (Some(info), Some(record)) = (d.l.agents.pooled(id).cloned(), d.registry.agent(id)) else { return };
    if d.l.allocator.agent(id).is_some_and(|booked| booked.total != record.total) {
        rescind_all(d, id);
        d.change(Change::AgentChanged { info, total: record.total.clone() });
    }
}

fn rescind_all(d: &mut Desk<'_>, id: &AgentId) {
    for offer in d.l.offers.of_agent(id) {
        d.rescind(offer, RescindReason::ResourcesChanged);
    }
}

/// It is in the log that a task runs which only its agent knew: what it uses is not free, and never was.
pub(crate) fn adopted(d: &mut Desk<'_>, entry: &TaskAdopted, effect: &Effect) {
    let Effect::Launched { runs, .. } = effect else {
        if let Some(run) = entry.status.run.filter(|run| d.registry.task_of_run(*run).is_none()) {
            d.tell_agent(&entry.agent, ToAgentKind::Kill(KillRun { run, grace: entry.task.kill_grace }));
        }
        return;
    };
    for (key, _) in runs {
        let Some(record) = d.registry.task(key) else { continue };
        if d.l.agents.pooled(&record.agent).is_some() {
            rescind_all(d, &record.agent);
            d.change(Change::Charged {
                framework: record.framework.clone(),
                role: record.role.clone(),
                agent: record.agent.clone(),
                resources: record.info.resources.clone(),
            });
        }
        d.show_task(key);
        // A framework that subscribed before does not know that the masters know it.
        let mut status = record.status.clone();
        status.sequence = 0;
        d.update(&key.0, status);
    }
}

/// How a task stands that the masters know from a backup, and its agent does not know.
fn lost_since_backup(known: &TaskStatus, at_ms: u64) -> TaskStatus {
    let message =
        "its agent does not have it: it ended after the backup was made from which the masters were restored";
    let (state, reason) = (TaskState::Lost, StatusReason::TaskUnknown);
    TaskStatus {
        agent: known.agent.clone(),
        run: known.run,
        ..TaskStatus::by_master(known.task.clone(), state, reason, message, at_ms)
    }
}

/// What the agent has and what the log knows become one.
fn bring_together(d: &mut Desk<'_>, id: &AgentId, reports: Vec<RunReport>) {
    let reported: BTreeSet<RunId> = reports.iter().map(|report| report.run).collect();
    for report in reports {
        let RunReport { framework, run, status, task } = report;
        if d.registry.task_of_run(run).is_some() {
            let update = Update { framework, status };
            super::update::reported(d, id, update);
            continue;
        }
        if status.state.is_terminal() {
            // The log has its end; the update comes, and is passed on until it is acknowledged.
            continue;
        }
        let adoptable =
            d.registry.framework(&framework).is_some() && !d.registry.knows_task(&framework, &task.id);
        if adoptable {
            // Only a restored backup knows less than an agent. Nothing that runs is killed silently.
            let adopted = TaskAdopted { framework, agent: id.clone(), task, status };
            d.batch.propose(Entry::TaskAdopted(adopted), Pending::Nothing);
        } else {
            d.tell_agent(id, ToAgentKind::Kill(KillRun { run, grace: task.kill_grace }));
        }
    }
    // What the log has and the agent does not was never delivered: the agent forgets a run only after its end is in
    // the log. So it is delivered now; the run's id keeps it from starting twice.
    let registry = d.registry;
    let mut undelivered = Vec::new();
    let mut lost = Vec::new();
    let mut kills: BTreeMap<RunId, std::time::Duration> = BTreeMap::new();
    for task in registry.tasks_on(id) {
        let Some(run) = task.status.run else { continue };
        if !reported.contains(&run) && registry.is_of_before(run) {
            // It may have been delivered, have ended and been forgotten since the backup was made: it is not started again.
            lost.push((task.framework.clone(), lost_since_backup(&task.status, d.at_ms())));
            continue;
        }
        if !reported.contains(&run) {
            let principal = registry.framework(&task.framework).map(|known| known.record.principal.clone());
            undelivered.push(TaskRun {
                run,
                framework: task.framework.clone(),
                task: (*task.info).clone(),
                principal: principal.unwrap_or_default(),
                volumes: registry.volumes_of(task),
            });
        }
        if let Some(grace) = task.kill_grace {
            kills.insert(run, grace);
        }
    }
    for (framework, status) in lost {
        d.batch.propose(Entry::TaskEnded(TaskEnded { framework, status }), Pending::Nothing);
    }
    if !undelivered.is_empty() {
        d.tell_agent(id, ToAgentKind::Launch(Launch { runs: undelivered }));
    }
    for (run, grace) in kills {
        d.tell_agent(id, ToAgentKind::Kill(KillRun { run, grace }));
    }
    // Frameworks that were told "unreachable" hear that it is not so any more also of what the agent never got: it does now.
    for task in registry.tasks_on(id) {
        let Some(run) = task.status.run.filter(|run| d.l.tasks.back_in_sight(*run)) else { continue };
        if reported.contains(&run) || task.status.state.is_terminal() {
            continue;
        }
        let mut status = task.status.clone();
        status.reason = StatusReason::AgentReregistered;
        status.sequence = 0;
        d.update(&task.framework.clone(), status);
    }
}
