//! What a container says becomes a status.

use proto::id::RunId;
use proto::quantities::show_bytes;
use proto::task::{Exit, StatusReason, TaskState};
use proto_machine::{Now, Outbox};

use crate::input::{Container, End, FailureKind, How, Loss, StartFailure};
use crate::output::{Contain, Output};
use crate::state::State;
use crate::tables::runs::{Cause, Kill, Phase, Run};
use crate::verbs::report::{self, Said};
use crate::verbs::{check, kill, leave, volumes};

/// A container says something.
pub(crate) fn contain(s: &mut State, now: Now, event: Container, out: &mut Outbox<Output>) {
    match event {
        Container::Started { run, pid } => started(s, now, run, pid, out),
        Container::StartFailed { run, failure } => start_failed(s, now, run, failure, out),
        Container::Exited { run, end } => exited(s, now, run, end, out),
        Container::Checked(word) => check::checked(s, now, word, out),
    }
}

/// The command was executed.
pub(crate) fn started(s: &mut State, now: Now, id: RunId, pid: u32, out: &mut Outbox<Output>) {
    running(s, now, id, pid, now.wall.as_millis(), out);
    // Also one that an earlier process of the agent has seen start.
    check::watch(s, now, id, out);
    // Asked for before there was anything to end: said again, for that one may have met nothing.
    if let Some(Run { phase: Phase::Running, kill: Some(Kill { grace, .. }), .. }) = s.runs.get(id) {
        let grace = *grace;
        kill::killing(s, now, id, out);
        out.push(Output::Contain(Contain::Kill { run: id, grace }));
    }
}

fn running(s: &mut State, now: Now, id: RunId, pid: u32, at_ms: u64, out: &mut Outbox<Output>) {
    if s.runs.set_running(id) {
        check::watch(s, now, id, out);
        let said = Said { pid, at_ms, ..Said::plain(TaskState::Running, StatusReason::None, "", now) };
        report::reached(s, now, id, said, false, out);
    }
}

/// The command was not executed.
pub(crate) fn start_failed(
    s: &mut State,
    now: Now,
    id: RunId,
    failure: StartFailure,
    out: &mut Outbox<Output>,
) {
    let Some(run) = known_or_destroy(s, id, out) else { return };
    let said = match (run.kill, failure.kind) {
        (Some(kill), _) => never_started(kill, &run.why, now),
        (None, FailureKind::Launch | FailureKind::Canceled) => {
            Said::plain(TaskState::Failed, StatusReason::LaunchFailed, failure.message, now)
        }
        (None, FailureKind::Fetch) => {
            Said::plain(TaskState::Failed, StatusReason::FetchFailed, failure.message, now)
        }
        (None, FailureKind::Secret) => {
            Said::plain(TaskState::Failed, StatusReason::SecretFailed, failure.message, now)
        }
        (None, FailureKind::Unauthorized) => {
            Said::plain(TaskState::Failed, StatusReason::TaskUnauthorized, failure.message, now)
        }
    };
    over(s, now, id, said, true, out);
}

/// The container is over.
pub(crate) fn exited(s: &mut State, now: Now, id: RunId, end: End, out: &mut Outbox<Output>) {
    let Some(run) = known_or_destroy(s, id, out) else { return };
    if run.phase == Phase::Over {
        return;
    }
    let said = verdict(run, end, now);
    // The keeper makes these again after a power loss, in the same words: nothing in them is known here alone.
    let again = matches!(end.how, How::Exit(_)) && !end.oom && run.kill.is_none();
    // What has ended has run: also the shortest task is seen running.
    running(s, now, id, 0, end.at_ms, out);
    over(s, now, id, said, !again, out);
}

/// The run; one that the ledger does not know has nobody to report to, and the keeper may forget it.
fn known_or_destroy<'a>(s: &'a State, id: RunId, out: &mut Outbox<Output>) -> Option<&'a Run> {
    let run = s.runs.get(id);
    if run.is_none() && !s.parting.has(id) {
        out.push(Output::Contain(Contain::Destroy(id)));
    }
    run
}

/// A run is over: says so, once, and ends its group if it ended badly.
pub(crate) fn over(s: &mut State, now: Now, id: RunId, said: Said, sync: bool, out: &mut Outbox<Output>) {
    let badly = said.state != TaskState::Finished;
    if !s.runs.set_over(id, badly) {
        return;
    }
    s.checks.remove(id);
    report::reached(s, now, id, said, sync, out);
    if badly {
        kill::end_group_of(s, now, id, out);
    }
    volumes::release(s, out);
    leave::one_less(s, out);
}

/// Ended on request before there was anything to end.
pub(crate) fn never_started(kill: Kill, why: &str, now: Now) -> Said {
    let (reason, why) = match kill::words(kill.cause, why) {
        (StatusReason::KillRequested, why) => (StatusReason::KilledDuringLaunch, why),
        other => other,
    };
    Said::plain(TaskState::Killed, reason, format!("never started: {why}"), now)
}

/// What an end means.
fn verdict(run: &Run, end: End, now: Now) -> Said {
    let exit = match end.how {
        How::Lost(loss) => return Said { at_ms: end.at_ms, ..lost(loss, now) },
        How::Exit(exit) => exit,
    };
    // What ended before anybody asked for its end has ended by itself.
    let kill = run.kill.filter(|kill| kill.asked.is_none_or(|asked| asked.as_millis() <= end.at_ms));
    let (state, reason, message) = match (kill, exit) {
        (Some(Kill { cause, .. }), _) => {
            let (reason, why) = kill::words(cause, &run.why);
            let (state, why) = match cause {
                Cause::Requested => (TaskState::Killed, "ended on request".to_owned()),
                Cause::GroupEnded | Cause::AgentGone | Cause::AgentEnding => {
                    (TaskState::Killed, format!("ended because {why}"))
                }
                Cause::TimeLimit | Cause::Unhealthy => (TaskState::Failed, why.to_owned()),
            };
            (state, reason, format!("{why}; {}", words(exit)))
        }
        (None, _) if end.oom => (TaskState::Failed, StatusReason::LimitMemory, memory_words(run, exit)),
        (None, Exit::Code(0)) => (TaskState::Finished, StatusReason::CommandExited, String::new()),
        (None, Exit::Code(_) | Exit::Signal(_)) => {
            (TaskState::Failed, StatusReason::CommandExited, words(exit))
        }
    };
    Said { state, reason, message, at_ms: end.at_ms, exit: Some(exit), pid: 0 }
}

/// Nobody saw how it ended.
pub(crate) fn lost(loss: Loss, now: Now) -> Said {
    match loss {
        Loss::Rebooted => Said::plain(
            TaskState::Gone,
            StatusReason::AgentRebooted,
            "the agent's machine was restarted while it ran",
            now,
        ),
        Loss::KeeperDied => Said::plain(
            TaskState::Lost,
            StatusReason::KeeperLost,
            "the process that watched over it died, so nobody saw how it ended",
            now,
        ),
    }
}

fn memory_words(run: &Run, exit: Exit) -> String {
    match run.given.task.resources.quantities().mem_bytes() {
        0 => format!("the system ran out of memory; {}", words(exit)),
        limit => format!("passed its memory limit of {}; {}", show_bytes(limit), words(exit)),
    }
}

fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("the command exited with code {code}"),
        Exit::Signal(signal) => match signal_name(signal) {
            Some(name) => format!("the command was ended by signal {signal} ({name})"),
            None => format!("the command was ended by signal {signal}"),
        },
    }
}

/// The names people know; the numbers are those of Linux on every architecture that Rust's standard library supports
/// for servers.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return None,
    })
}
