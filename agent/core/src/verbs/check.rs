//! Watches the runs that run: asks what their tasks want asked, says what has changed, and ends those that fail or ran too long.

use std::time::Duration;

use proto::check::{Check, CheckRole};
use proto::id::RunId;
use proto::ledger::{Record, Started};
use proto::task::{StatusReason, TaskState};
use proto_machine::{Now, Outbox, WallTime};

use crate::input::{CheckOutcome, Checked};
use crate::output::{Ask, Contain, Output};
use crate::state::State;
use crate::tables::checks::{Due, Watch};
use crate::tables::runs::{Cause, Phase, Run};
use crate::verbs::kill;
use crate::verbs::report::{self, Said};

/// What an answer may take beyond the check's own timeout before it counts as none. Whoever carries the check out keeps that
/// timeout itself, and answers; but a command may have to wait for its turn, which is not its task's fault.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is not known to be well, or ready, is asked so often at least: somebody waits for it. (Kubernetes, too, asks a
/// container that is not ready more often than its period says.)
const EAGER: Duration = Duration::from_secs(1);

/// Changes of a run that nobody has acknowledged: with so many more are not told, only what is so in the end.
const CHANGES_MAX: usize = 16;

/// What is told of one check at most, in characters.
const WORDS_MAX: usize = 256;

/// Watches a run that runs, if its task wants it and nobody wants its end; a run that is watched already stays so.
pub(crate) fn watch(s: &mut State, now: Now, id: RunId, out: &mut Outbox<Output>) {
    let Some(run) = s.runs.get(id) else { return };
    let task = &run.given.task;
    if run.phase != Phase::Running || (task.checks.is_empty() && task.longest_run.is_none()) {
        return;
    }
    let given = run.given.clone();
    let (begun, fresh) = match run.begun {
        Some(begun) => (begun, false),
        None => (now.wall, true),
    };
    if fresh {
        s.runs.set_begun(id, begun);
        let record = Record::Started(Started { run: id, at_ms: begun.as_millis() });
        out.push(Output::Store { record, sync: false });
    }
    if s.checks.has(id) || s.runs.get(id).is_some_and(|run| run.kill.is_some()) {
        return;
    }
    let ran = Duration::from_millis(now.wall.as_millis().saturating_sub(begun.as_millis()));
    if let Some(limit) = given.task.longest_run {
        s.checks.limit(id, now.monotonic + limit.saturating_sub(ran));
    }
    for role in CheckRole::ALL {
        let Some(check) = given.task.checks.get(role) else { continue };
        let says = said_before(s, id, role);
        let watch = Watch {
            grace_until: now.monotonic + check.grace.saturating_sub(ran),
            // What is not as it was at first has been decided.
            decided: says.is_some_and(|says| says || role == CheckRole::Health),
            failures: 0,
            says,
            last: String::new(),
            asked: None,
        };
        // After a restart all runs are watched anew in one moment; they are not asked in one.
        let first =
            if fresh { check.delay } else { check.delay.saturating_sub(ran).max(spread(id, check.interval)) };
        s.checks.watch(id, role, watch, now.monotonic + first);
    }
}

/// What a check said when it was last told.
fn said_before(s: &State, id: RunId, role: CheckRole) -> Option<bool> {
    let latest = s.updates.latest(id);
    match role {
        CheckRole::Health => latest?.healthy,
        CheckRole::Readiness => Some(latest.and_then(|status| status.ready) == Some(true)),
    }
}

/// A part of an interval, another one for each run.
fn spread(id: RunId, interval: Duration) -> Duration {
    let part = ((id.0 ^ (id.0 >> 64)) as u32).wrapping_mul(0x9e37_79b9) >> 22;
    interval.min(Check::INTERVAL_DEFAULT) * part / 1024
}

/// Time has brought something.
pub(crate) fn wake(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    while let Some(due) = s.checks.pop_due(now.monotonic) {
        match due {
            Due::Limit(run) => ran_too_long(s, now, run, out),
            Due::Check(run, role) => {
                let overdue = s.checks.get_mut(run, role).is_some_and(|watch| watch.asked.is_some());
                if overdue {
                    // It may have waited for its turn all the while.
                    answered(s, now, run, role, CheckOutcome::NotCarriedOut, out);
                } else {
                    ask(s, now, run, role, out);
                }
            }
        }
    }
}

fn ask(s: &mut State, now: Now, id: RunId, role: CheckRole, out: &mut Outbox<Output>) {
    let Some(given) = s.runs.get(id).map(|run| run.given.clone()) else { return };
    let Some(check) = given.task.checks.get(role) else { return };
    let patience = check.timeout + PATIENCE;
    if let Some(number) = s.checks.ask(id, role, now.monotonic, patience) {
        out.push(Output::Contain(Contain::Check(Ask { given, role, number })));
    }
}

/// A check was carried out. One that nobody waits for any more tells nothing.
pub(crate) fn checked(s: &mut State, now: Now, checked: Checked, out: &mut Outbox<Output>) {
    let Checked { run, role, number, result } = checked;
    if s.checks.get_mut(run, role).is_some_and(|watch| watch.asked == Some(number)) {
        answered(s, now, run, role, result, out);
    }
}

fn answered(
    s: &mut State,
    now: Now,
    id: RunId,
    role: CheckRole,
    outcome: CheckOutcome,
    out: &mut Outbox<Output>,
) {
    let Some(Run { given, .. }) = s.runs.get(id) else { return };
    let given = given.clone();
    let Some(check) = given.task.checks.get(role) else { return };
    let Some(watch) = s.checks.get_mut(id, role) else { return };
    match outcome {
        CheckOutcome::Good => {
            (watch.decided, watch.failures, watch.says) = (true, 0, Some(true));
            watch.last = format!("the {} check succeeded", role.as_str());
        }
        CheckOutcome::NotCarriedOut => {}
        CheckOutcome::Bad(_) if !watch.decided && now.monotonic < watch.grace_until => {}
        CheckOutcome::Bad(why) => {
            watch.decided = true;
            watch.failures = watch.failures.saturating_add(1);
            let why: String = why.chars().take(WORDS_MAX).collect();
            watch.last = failed(role, check, watch.failures, &why);
            let enough = watch.failures >= check.failures;
            match role {
                CheckRole::Health => watch.says = Some(false),
                CheckRole::Readiness if enough => watch.says = Some(false),
                CheckRole::Readiness => {}
            }
            if enough && role == CheckRole::Health {
                let (grace, why) = (given.task.kill_grace, watch.last.clone());
                return kill::kill_for(s, now, id, grace, Cause::Unhealthy, why, out);
            }
        }
    }
    let eager = match role {
        CheckRole::Health => !watch.decided,
        CheckRole::Readiness => watch.says != Some(true),
    };
    let interval = if eager { check.interval.min(EAGER) } else { check.interval };
    s.checks.again(id, role, now.monotonic + interval);
    tell(s, now, id, out);
}

fn failed(role: CheckRole, check: &Check, failures: u32, why: &str) -> String {
    let times = match failures {
        1 => String::new(),
        failures => format!(" {failures} times in a row"),
    };
    let of = match role {
        CheckRole::Health if failures < check.failures => format!(" (ended after {})", check.failures),
        CheckRole::Health | CheckRole::Readiness => String::new(),
    };
    format!("the {} check failed{times}{of}: {why}", role.as_str())
}

/// Says what the checks say, if that is not what was said last.
pub(crate) fn tell(s: &mut State, now: Now, id: RunId, out: &mut Outbox<Output>) {
    let Some(latest) = s.updates.latest(id).filter(|status| status.state == TaskState::Running) else {
        return;
    };
    let said = [(CheckRole::Health, latest.healthy), (CheckRole::Readiness, latest.ready)];
    let news = |(role, said): &(CheckRole, Option<bool>)| {
        let says = s.checks.says(id, *role);
        says.is_some() && says != *said
    };
    let words: Vec<&str> =
        said.iter().filter(|one| news(one)).map(|(role, _)| s.checks.last(id, *role)).collect();
    if words.is_empty() || s.updates.unacknowledged(id).len() >= CHANGES_MAX {
        return;
    }
    let (pid, message) = (latest.pid, words.join("; "));
    let said = Said { pid, ..Said::plain(TaskState::Running, StatusReason::CheckChanged, message, now) };
    // Synced: after a loss of power nothing else takes the number that it was given.
    report::reached(s, now, id, said, true, out);
}

fn ran_too_long(s: &mut State, now: Now, id: RunId, out: &mut Outbox<Output>) {
    let Some(run) = s.runs.get(id) else { return };
    let Some(limit) = run.given.task.longest_run else { return };
    let why = format!("it ran for longer than {limit:?}");
    kill::kill_for(s, now, id, run.given.task.kill_grace, Cause::TimeLimit, why, out);
}

/// The ledger remembers when a run began.
pub(crate) fn restored(s: &mut State, started: &Started) {
    s.runs.set_begun(started.run, WallTime::from_millis(started.at_ms));
}
