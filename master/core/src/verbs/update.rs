//! An agent says how a run stands: passed on at once, and when it has ended, logged soon.

use master_allocator::{Account, Change};
use proto::agent_link::Update;
use proto::id::{AgentId, FrameworkId, RunId};
use proto::log::{Entry, TaskEnded, TaskRecord};
use proto::operator::EventKind as Changed;
use proto::task::{StatusReason, StatusSource};

use crate::config::{LAZY_DELAY, LAZY_MAX};
use crate::desk::Desk;
use crate::leading::Deadline;
use crate::views;

pub(crate) fn update(d: &mut Desk<'_>, from: &AgentId, update: Update) {
    let Update { framework, mut status } = update;
    let Some(run) = status.run else { return };
    status.agent = Some(from.clone());
    if d.registry.task_of_run(run).is_none() {
        return repeated(d, from, &framework, run, status);
    }
    let Some(newer) = learn(d, from, &framework, run, &status) else { return };
    let key = (framework, status.task.clone());
    if status.sequence > 0 {
        d.update(&key.0, status);
    }
    if newer {
        d.show_task(&key);
    }
}

/// The latest status of a run, from an agent that presents itself. Every update that is not acknowledged follows, from
/// the first: told now, the latest would overtake the others. What is acknowledged does not follow, so a leader that
/// did not know it says it, as nothing to acknowledge; and so does one that had told that the run is out of sight.
pub(crate) fn reported(d: &mut Desk<'_>, from: &AgentId, update: Update) {
    let Update { framework, mut status } = update;
    let Some(run) = status.run else { return };
    status.agent = Some(from.clone());
    if learn(d, from, &framework, run, &status) != Some(true) {
        return;
    }
    let key = (framework, status.task.clone());
    let is_back = d.l.tasks.back_in_sight(run);
    if !status.state.is_terminal() && (status.sequence > 0 || is_back) {
        status.sequence = 0;
        if is_back && status.reason == StatusReason::None {
            status.reason = StatusReason::AgentReregistered;
        }
        d.update(&key.0, status);
    }
    d.show_task(&key);
}

/// Takes in how a run stands, and has its end logged; whether that is news. `None` when the agent may not say so: it
/// speaks for its own runs only.
fn learn(
    d: &mut Desk<'_>,
    from: &AgentId,
    framework: &FrameworkId,
    run: RunId,
    status: &proto::task::TaskStatus,
) -> Option<bool> {
    let record = d.registry.task_of_run(run)?;
    if record.agent != *from || record.framework != *framework || record.info.id != status.task {
        return None;
    }
    let newer = d.l.tasks.learn(run, status);
    if newer {
        d.l.updates.beat(d.now.monotonic);
    }
    if newer && status.state.is_terminal() && d.l.tasks.end(run) {
        log_end(d, framework, status.clone());
    }
    Some(newer)
}

/// Has the end of a task logged, together with others.
fn log_end(d: &mut Desk<'_>, framework: &FrameworkId, status: proto::task::TaskStatus) {
    let ended = TaskEnded { framework: framework.clone(), status };
    d.batch.propose_lazily(Entry::TaskEnded(ended));
    if d.batch.lazy_len() >= LAZY_MAX {
        d.l.deadlines.set(Deadline::Lazy, d.now.monotonic);
    } else if d.l.deadlines.get(&Deadline::Lazy).is_none() {
        d.after(Deadline::Lazy, LAZY_DELAY);
    }
}

/// The log knows the end of this run already, or never knew the run: pass it on if somebody may still want it.
fn repeated(
    d: &mut Desk<'_>,
    from: &AgentId,
    framework: &FrameworkId,
    run: RunId,
    mut status: proto::task::TaskStatus,
) {
    if let Some(known) = d.registry.framework(framework) {
        // An agent that lost its power may have forgotten how a run ended, and says that it is gone. The end that is
        // in the log stands.
        let logged = |record: &&TaskRecord| record.status.run == Some(run);
        if let Some(record) = known.ended().rev().find(logged).filter(|_| status.state.is_terminal()) {
            let sequence = status.sequence;
            status = record.status.clone();
            status.agent = Some(from.clone());
            status.sequence = sequence;
        }
        if status.sequence > 0 {
            d.update(framework, status);
        }
    } else if status.state.is_terminal() {
        super::acknowledge::pass_on(d, from, run, status.sequence);
    }
}

/// The end of a task is in the log. What its agent said was passed on when it was said; what a master says is told now.
pub(crate) fn logged(d: &mut Desk<'_>, record: TaskRecord) {
    if record.status.source == StatusSource::Master {
        d.update(&record.framework.clone(), record.status.clone());
    }
    ended(d, record);
}

/// The end of a task is in the log: what it used is free, and the agent may forget it.
pub(crate) fn ended(d: &mut Desk<'_>, record: TaskRecord) {
    let TaskRecord { framework, agent, role, info, .. } = &record;
    if d.l.agents.pooled(agent).is_some() {
        d.change(Change::Recovered {
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.clone(),
            resources: info.resources.clone(),
            from: Account::Used,
            demand: None,
        });
    }
    if let Some(run) = record.status.run
        && let Some((agent, sequence)) = d.l.tasks.ended(run)
    {
        super::acknowledge::pass_on(d, &agent, run, sequence);
    }
    if d.registry.framework(framework).is_none() {
        // Nobody is left to acknowledge it.
        if let Some(run) = record.status.run {
            super::acknowledge::pass_on(d, agent, run, record.status.sequence);
        }
        super::teardown::forget_if_empty(d, framework);
    }
    let view = views::task(d.registry, &record, None);
    d.changed(Changed::TaskChanged(view));
}
