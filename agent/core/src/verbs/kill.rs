//! Ends a run: the wish is written down, then carried out, and outlives a restart of the agent.

use std::time::Duration;

use proto::agent_link;
use proto::id::RunId;
use proto::ledger::{KillTaken, Record};
use proto::task::{StatusReason, TaskState};
use proto_machine::{Now, Outbox};

use crate::output::{Contain, Note, Output};
use crate::state::State;
use crate::tables::runs::{Cause, Kill, Phase, Run};
use crate::verbs::report::{self, Said};

/// The master wants a run to end.
pub(crate) fn requested(s: &mut State, now: Now, order: &agent_link::Kill, out: &mut Outbox<Output>) {
    if s.runs.get(order.run).is_none() && s.forgotten.get(order.run).is_none() {
        out.push(Output::Note(Note::UnknownKill { run: order.run }));
        return;
    }
    kill(s, now, order.run, order.grace, Cause::Requested, out);
}

/// Somebody wants a run to end. Asking again changes nothing unless it shortens the grace.
pub(crate) fn kill(
    s: &mut State,
    now: Now,
    id: RunId,
    grace: Duration,
    cause: Cause,
    out: &mut Outbox<Output>,
) {
    kill_for(s, now, id, grace, cause, String::new(), out);
}

/// The same with the reason in words, for what only this agent knows.
pub(crate) fn kill_for(
    s: &mut State,
    now: Now,
    id: RunId,
    grace: Duration,
    cause: Cause,
    why: String,
    out: &mut Outbox<Output>,
) {
    let Some(run) = s.runs.get(id).filter(|run| run.phase != Phase::Over) else { return };
    let (kill, why) = match run.kill {
        Some(earlier) if earlier.grace <= grace => return,
        Some(earlier) => (Kill { grace, ..earlier }, run.why.clone()),
        None => (Kill { grace, cause, asked: Some(now.wall) }, why),
    };
    let (reason, message) = (own_reason(kill.cause), why.clone());
    s.runs.set_kill(id, kill, why);
    out.push(Output::Store {
        record: Record::KillTaken(KillTaken { run: id, grace, reason, message }),
        sync: true,
    });
    killing(s, now, id, out);
    s.checks.remove(id);
    out.push(Output::Contain(Contain::Kill { run: id, grace }));
}

/// A run that runs and is to end is reported as such, once. Synced: its number is given to nothing else, and it follows
/// the synced wish.
pub(crate) fn killing(s: &mut State, now: Now, id: RunId, out: &mut Outbox<Output>) {
    let Some(run @ Run { phase: Phase::Running, kill: Some(kill), .. }) = s.runs.get(id) else { return };
    let (reason, why) = words(kill.cause, &run.why);
    let Some(latest) = s.updates.latest(id).filter(|status| status.state != TaskState::Killing) else {
        return;
    };
    let said = Said { pid: latest.pid, ..Said::plain(TaskState::Killing, reason, why, now) };
    report::reached(s, now, id, said, true, out);
}

/// Who wants a run to end, as a reason and for people.
pub(crate) fn words(cause: Cause, why: &str) -> (StatusReason, &str) {
    match cause {
        Cause::Requested => (StatusReason::KillRequested, "its end was asked for"),
        Cause::GroupEnded => (StatusReason::GroupEnded, "another task of its group ended badly"),
        Cause::AgentGone => (StatusReason::AgentGone, "the agent was declared gone"),
        Cause::AgentEnding => (StatusReason::AgentDraining, "the agent ends"),
        Cause::TimeLimit => (StatusReason::TimeLimit, why),
        Cause::Unhealthy => (StatusReason::Unhealthy, why),
    }
}

/// What is written down of why: what the order of the records does not tell.
pub(crate) fn own_reason(cause: Cause) -> StatusReason {
    match cause {
        Cause::TimeLimit => StatusReason::TimeLimit,
        Cause::Unhealthy => StatusReason::Unhealthy,
        Cause::Requested | Cause::GroupEnded | Cause::AgentGone | Cause::AgentEnding => StatusReason::None,
    }
}

/// One of a group has ended badly: the others on this agent must end too.
pub(crate) fn end_group_of(s: &mut State, now: Now, id: RunId, out: &mut Outbox<Output>) {
    for other in s.runs.doomed_with(id) {
        let grace = s.runs.get(other).map_or(Duration::ZERO, |run| run.given.task.kill_grace);
        kill(s, now, other, grace, Cause::GroupEnded, out);
    }
}
