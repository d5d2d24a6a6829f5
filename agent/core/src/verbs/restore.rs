//! Picks up where an earlier process stopped: the ledger says what was promised, the keeper what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proto::agent_link::{TaskRun, Update};
use proto::check::Checks;
use proto::id::RunId;
use proto::ledger::{Record, RunTaken};
use proto::resources::Resources;
use proto::task::{CommandInfo, StatusReason, TaskInfo, TaskState};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

use crate::input::{Found, FoundState, Loss, Restore};
use crate::output::{Contain, Note, Output};
use crate::state::State;
use crate::tables::runs::{Cause, Kill, Phase};
use crate::verbs::report::{self, Said};
use crate::verbs::{acknowledge, check, contain, kill};

/// What the ledger remembers: fills the tables, says nothing.
pub(crate) fn restore(s: &mut State, restore: Restore) {
    s.rebooted = restore.rebooted;
    // Of a run that was refused the ledger has only that, and a rewritten one, of a run that was forgotten, only how it ended.
    let mut ends: BTreeMap<RunId, Update> = BTreeMap::new();
    for record in restore.records {
        match record {
            Record::EpochSeen(epoch) => s.membership.epoch = s.membership.epoch.max(epoch),
            Record::RunTaken(taken) => {
                let RunTaken { run, framework, task, principal, volumes } = taken;
                let given = TaskRun { run, framework, task, principal, volumes };
                s.runs.add(Arc::new(given));
            }
            Record::Reached(reached) => {
                let Some(run) = reached.status.run else { continue };
                let state = reached.status.state;
                if s.runs.get(run).is_none() {
                    ends.insert(run, Update { framework: reached.framework, status: reached.status });
                    continue;
                }
                if mutants::is(Mutant::ForgetEnd) && state.is_terminal() {
                    s.updates.remove(run);
                    s.runs.remove(run);
                    continue;
                }
                s.updates.add(run, reached.status);
                if state.is_terminal() {
                    s.runs.set_over(run, state != TaskState::Finished);
                } else if matches!(state, TaskState::Running | TaskState::Killing) {
                    s.runs.set_running(run);
                }
            }
            Record::Acknowledged(word) => {
                s.updates.acknowledge(word.run, word.sequence);
            }
            Record::KillTaken(taken) => {
                let own = [Cause::TimeLimit, Cause::Unhealthy];
                let own = own.into_iter().find(|cause| kill::own_reason(*cause) == taken.reason);
                let grouped = s.runs.group_ended_badly(taken.run);
                let cause = own.unwrap_or(if grouped { Cause::GroupEnded } else { Cause::Requested });
                let cause = s.runs.get(taken.run).and_then(|run| run.kill).map_or(cause, |kill| kill.cause);
                let kill = Kill { grace: taken.grace, cause, asked: None };
                s.runs.set_kill(taken.run, kill, taken.message);
            }
            Record::Started(started) => check::restored(s, &started),
            Record::Forgotten(forgotten) => match ends.remove(&forgotten.run) {
                Some(update) => s.forgotten.keep(forgotten.run, update),
                None => acknowledge::forget(s, forgotten.run),
            },
        }
    }
    for (run, update) in ends.into_iter().filter(|(_, update)| update.status.state.is_terminal()) {
        refused(s, run, update);
    }
}

/// A run that was refused, and nobody has acknowledged that: it is told until somebody does. What it was to be is not remembered, and
/// nobody needs it.
fn refused(s: &mut State, run: RunId, update: Update) {
    let Update { framework, status } = update;
    let task = TaskInfo {
        id: status.task.clone(),
        name: String::new(),
        command: CommandInfo::default(),
        resources: Resources::EMPTY,
        kill_grace: Duration::ZERO,
        labels: BTreeMap::new(),
        group: None,
        checks: Checks::default(),
        longest_run: None,
    };
    let given = TaskRun { run, framework, task, principal: String::new(), volumes: Vec::new() };
    s.runs.add(Arc::new(given));
    s.runs.set_refused(run);
    s.runs.set_over(run, true);
    s.updates.add(run, status);
}

/// What the keeper remembers. First what is known of runs, then what the silence about the others means: an end may
/// doom others of its group, which then need not be started.
pub(crate) fn recovered(s: &mut State, now: Now, found: Vec<Found>, out: &mut Outbox<Output>) {
    let rebooted = std::mem::take(&mut s.rebooted);
    let mut heard = BTreeSet::new();
    for Found { run, state } in found {
        heard.insert(run);
        if s.runs.get(run).is_none() {
            orphan(run, &state, out);
            continue;
        }
        match state {
            FoundState::Starting => kill_again(s, run, out),
            FoundState::Running { .. } if mutants::is(Mutant::KillOnRestart) => {
                out.push(Output::Contain(Contain::Kill { run, grace: Duration::ZERO }));
            }
            FoundState::Running { pid } => contain::started(s, now, run, pid, out),
            FoundState::Exited(end) => contain::exited(s, now, run, end, out),
            FoundState::StartFailed(failure) => contain::start_failed(s, now, run, failure, out),
        }
    }
    for id in s.runs.alive_ids() {
        if !heard.contains(&id) {
            kill::end_group_of(s, now, id, out);
            unheard(s, now, id, rebooted, out);
        }
    }
    // An end that was written down, but not yet what follows from it for the others of its group.
    let over: Vec<RunId> =
        s.runs.iter().filter(|(_, run)| run.phase == Phase::Over).map(|(id, _)| id).collect();
    for id in over {
        kill::end_group_of(s, now, id, out);
    }
}

/// The keeper knows it, the ledger does not.
fn orphan(run: RunId, state: &FoundState, out: &mut Outbox<Output>) {
    match state {
        FoundState::Starting | FoundState::Running { .. } => {
            out.push(Output::Note(Note::Orphan { run }));
            out.push(Output::Contain(Contain::Kill { run, grace: Duration::ZERO }));
        }
        FoundState::Exited(_) | FoundState::StartFailed(_) => {
            out.push(Output::Contain(Contain::Destroy(run)));
        }
    }
}

/// A kill may have been written down and not carried out.
fn kill_again(s: &State, id: RunId, out: &mut Outbox<Output>) {
    if let Some(kill) = s.runs.get(id).filter(|run| run.phase != Phase::Over).and_then(|run| run.kill) {
        out.push(Output::Contain(Contain::Kill { run: id, grace: kill.grace }));
    }
}

/// The ledger knows it, the keeper does not.
fn unheard(s: &mut State, now: Now, id: RunId, rebooted: bool, out: &mut Outbox<Output>) {
    let Some(run) = s.runs.get(id).filter(|run| run.phase != Phase::Over) else { return };
    if rebooted && !mutants::is(Mutant::StartAgain) {
        if s.updates.latest(id).is_none() {
            // It may have run and been reported as Running: whatever took the first number, this one does not.
            let said = Said::plain(TaskState::Starting, StatusReason::None, "", now);
            report::reached(s, now, id, said, true, out);
        }
        return contain::over(s, now, id, contain::lost(Loss::Rebooted, now), true, out);
    }
    match (run.phase, run.kill) {
        (Phase::Launching, Some(kill)) => {
            let said = contain::never_started(kill, &run.why, now);
            contain::over(s, now, id, said, true, out);
        }
        // The keeper writes down what it starts before it starts it: this one it never got.
        (Phase::Launching, None) => out.push(Output::Contain(Contain::Launch(run.given.clone()))),
        (Phase::Running, _) => contain::over(s, now, id, contain::lost(Loss::KeeperDied, now), true, out),
        (Phase::Over, _) => {}
    }
}
