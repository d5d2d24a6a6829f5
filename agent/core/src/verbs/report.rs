//! Reports statuses: each is numbered, written down, sent, and sent again until it is acknowledged.

use proto::agent_link::{ToMaster, Update};
use proto::check::CheckRole;
use proto::id::RunId;
use proto::ledger::{Reached, Record};
use proto::task::{Exit, StatusReason, StatusSource, TaskState, TaskStatus};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

use crate::output::Output;
use crate::state::State;

/// What is to be said of a run.
pub(crate) struct Said {
    pub state: TaskState,
    pub reason: StatusReason,
    pub message: String,
    pub at_ms: u64,
    pub exit: Option<Exit>,
    pub pid: u32,
}

impl Said {
    /// A state and its reason, with nothing of a process.
    pub fn plain(state: TaskState, reason: StatusReason, message: impl Into<String>, now: Now) -> Self {
        let at_ms = now.wall.as_millis();
        Said { state, reason, message: message.into(), at_ms, exit: None, pid: 0 }
    }
}

/// A run has reached a status. `sync`: nobody could make it again if power were lost.
pub(crate) fn reached(s: &mut State, now: Now, run: RunId, said: Said, sync: bool, out: &mut Outbox<Output>) {
    let Some(known) = s.runs.get(run) else { return };
    let framework = known.given.framework.clone();
    // Whoever is about to end serves nobody, and an end is told in the same words after the loss of power.
    let running = said.state == TaskState::Running;
    let says = |role| s.checks.says(run, role).filter(|_| running);
    let (healthy, ready) = (says(CheckRole::Health), says(CheckRole::Readiness));
    let kill = known.kill.filter(|_| said.state == TaskState::Killing);
    let status = TaskStatus {
        task: known.given.task.id.clone(),
        state: said.state,
        reason: said.reason,
        source: StatusSource::Agent,
        message: said.message,
        at_ms: said.at_ms,
        agent: Some(s.info.id.clone()),
        run: Some(run),
        sequence: s.updates.next_sequence(run),
        exit: said.exit,
        pid: said.pid,
        healthy,
        ready,
        grace: kill.map(|kill| kill.grace),
    };
    let record = Record::Reached(Reached { framework: framework.clone(), status: status.clone() });
    out.push(Output::Store { record, sync });
    if s.membership.joined() {
        out.push(Output::ToMaster(ToMaster::Update(Update { framework, status: status.clone() })));
        s.membership.said(now.monotonic);
        s.updates.add(run, status);
        s.updates.sent(run, now.monotonic);
    } else {
        s.updates.add(run, status);
    }
}

/// A master has just admitted the agent: everything that waits is sent.
pub(crate) fn send_all(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    for run in s.updates.waiting() {
        send_again(s, now, run, out);
    }
}

/// Everything of a run that waits is sent, and its time begins anew.
pub(crate) fn send_again(s: &mut State, now: Now, run: RunId, out: &mut Outbox<Output>) {
    if send(s, now, run, out) {
        s.updates.sent(run, now.monotonic);
    }
}

/// What waited too long is sent once more.
pub(crate) fn wake(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    while let Some(run) = s.updates.pop_due(now.monotonic) {
        send(s, now, run, out);
    }
}

fn send(s: &mut State, now: Now, run: RunId, out: &mut Outbox<Output>) -> bool {
    if !s.membership.joined() || mutants::is(Mutant::RedeliverNever) {
        return false;
    }
    let Some(known) = s.runs.get(run) else { return false };
    let waiting = s.updates.unacknowledged(run);
    for status in waiting {
        let update = Update { framework: known.given.framework.clone(), status: status.clone() };
        out.push(Output::ToMaster(ToMaster::Update(update)));
    }
    let any = !waiting.is_empty();
    if any {
        s.membership.said(now.monotonic);
    }
    any
}
