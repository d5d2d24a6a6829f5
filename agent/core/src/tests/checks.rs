//! What tasks are asked while they run: when, what follows from the answers, and how long they may run.

use std::time::Duration;

use proto::agent_link::{TaskRun, ToAgentKind, ToMaster};
use proto::check::{Check, CheckRole, Checks};
use proto::id::RunId;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::{Machine, WallTime};

use super::fixtures::{code, health, member, signal, task_run};
use super::rig::{Rig, brief, sent};
use crate::{CheckOutcome, Checked, Contain, Container, Found, FoundState, Input, Output};

const SECOND: Duration = Duration::from_secs(1);

fn healthy(check: Check) -> TaskRun {
    let mut given = task_run(1);
    given.task.checks.health = Some(check);
    given
}

fn ready(check: Check) -> TaskRun {
    let mut given = task_run(1);
    given.task.checks.readiness = Some(check);
    given
}

fn number(out: &[Output]) -> u64 {
    let asked = out.iter().find_map(|output| match output {
        Output::Contain(Contain::Check(ask)) => Some(ask.number),
        _ => None,
    });
    asked.unwrap_or_else(|| panic!("nothing is asked: {:?}", brief(out)))
}

fn answer(rig: &mut Rig, run: RunId, role: CheckRole, number: u64, result: Result<(), &str>) -> Vec<Output> {
    judged(
        rig,
        run,
        role,
        number,
        result.map_or_else(|why| CheckOutcome::Bad(why.to_owned()), |()| CheckOutcome::Good),
    )
}

fn judged(rig: &mut Rig, run: RunId, role: CheckRole, number: u64, result: CheckOutcome) -> Vec<Output> {
    rig.step(Input::Container(Container::Checked(Checked { run, role, number, result })))
}

/// Time goes on until something is to be done that begins so; the master is there all the while.
fn until(rig: &mut Rig, word: &str) -> Vec<Output> {
    loop {
        rig.master(ToAgentKind::Heartbeat);
        let out = rig.pass_to_wake();
        if brief(&out).iter().any(|line| line.starts_with(word)) {
            return out;
        }
    }
}

/// Time goes to the next check, which is answered so.
fn next(rig: &mut Rig, run: RunId, role: CheckRole, result: Result<(), &str>) -> Vec<Output> {
    let asked = until(rig, "check");
    answer(rig, run, role, number(&asked), result)
}

fn told(out: &[Output]) -> Vec<TaskStatus> {
    let update = |output: &Output| match output {
        Output::ToMaster(ToMaster::Update(update)) => Some(update.status.clone()),
        _ => None,
    };
    out.iter().filter_map(update).collect()
}

/// What was told last of a run's checks.
fn says(out: &[Output]) -> Option<(Option<bool>, Option<bool>)> {
    told(out).last().map(|status| (status.healthy, status.ready))
}

#[test]
fn a_task_is_asked_after_its_delay_and_then_at_its_interval() {
    let mut rig = Rig::joined();
    let check = health().delay(5 * SECOND).interval(2 * SECOND);
    let run = healthy(check);
    rig.launch(vec![run.clone()]);
    let out = rig.started(run.run);
    assert_eq!(
        brief(&out),
        ["store started 1.0", "store reached 1.0 #1 running", "update 1.0 #1 running"],
        "when it began is written down"
    );
    assert_eq!(says(&out), Some((None, None)), "nothing is known yet");
    let run = run.run;
    rig.acknowledge(run, 1);
    rig.pass(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(brief(&rig.wake()), [""; 0]);
    rig.pass(Duration::from_nanos(1));
    let out = rig.wake();
    assert!(brief(&out).contains(&"check 1.0 health".to_owned()), "{:?}", brief(&out));
    assert_eq!(brief(&rig.wake()), [""; 0], "asked once");
    rig.pass(SECOND / 2);
    let out = answer(&mut rig, run, CheckRole::Health, number(&out), Ok(()));
    assert_eq!(brief(&out), ["store+ reached 1.0 #2 running", "update 1.0 #2 running"]);
    assert_eq!(says(&out), Some((Some(true), None)));
    let (_, reason, message) = sent(&out).remove(0);
    assert_eq!((reason, message.as_str()), (StatusReason::CheckChanged, "the health check succeeded"));
    rig.acknowledge(run, 2);
    assert_eq!(rig.agent.wake_at(), Some(rig.now.monotonic + 2 * SECOND), "from the answer on");
    assert_eq!(brief(&next(&mut rig, run, CheckRole::Health, Ok(()))), [""; 0], "nothing has changed");
}

#[test]
fn so_many_failures_in_a_row_end_a_task() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health()));
    let out = next(&mut rig, run, CheckRole::Health, Err("status 503"));
    assert_eq!(says(&out), Some((Some(false), None)), "known at the first one");
    let (state, reason, message) = sent(&out).remove(0);
    assert_eq!((state, reason), (TaskState::Running, StatusReason::CheckChanged));
    assert_eq!(message, "the health check failed (ended after 2): status 503");
    rig.acknowledge(run, 2);
    let out = next(&mut rig, run, CheckRole::Health, Ok(()));
    assert_eq!(says(&out), Some((Some(true), None)), "well again: counting begins anew");
    rig.acknowledge(run, 3);
    next(&mut rig, run, CheckRole::Health, Err("no"));
    rig.acknowledge(run, 4);
    let out = next(&mut rig, run, CheckRole::Health, Err("status 500"));
    assert_eq!(
        brief(&out),
        ["store+ kill 1.0", "store+ reached 1.0 #5 killing", "update 1.0 #5 killing", "kill 1.0 3s"]
    );
    let why = "the health check failed 2 times in a row: status 500";
    assert_eq!(sent(&out), [(TaskState::Killing, StatusReason::Unhealthy, why.to_owned())]);
    rig.acknowledge(run, 5);
    assert_eq!(brief(&rig.wake()), [""; 0], "it is asked no more");
    let out = rig.exited(run, code(0, rig.now.wall.as_millis()));
    let message = format!("{why}; the command exited with code 0");
    assert_eq!(sent(&out), [(TaskState::Failed, StatusReason::Unhealthy, message)]);
    assert_eq!(says(&out), Some((None, None)), "an end says nothing of checks");
}

#[test]
fn failures_in_the_grace_count_for_nothing_until_the_first_success() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health().grace(10 * SECOND)));
    for _ in 0..5 {
        assert_eq!(brief(&next(&mut rig, run, CheckRole::Health, Err("not yet"))), [""; 0]);
    }
    assert_eq!(says(&next(&mut rig, run, CheckRole::Health, Ok(()))), Some((Some(true), None)));
    rig.acknowledge(run, 2);
    let out = next(&mut rig, run, CheckRole::Health, Err("no"));
    assert_eq!(says(&out), Some((Some(false), None)), "within the grace, but it had been well");

    let mut rig = Rig::joined();
    let run = rig.running(healthy(health().grace(2 * SECOND)));
    for _ in 0..2 {
        assert_eq!(brief(&next(&mut rig, run, CheckRole::Health, Err("not yet"))), [""; 0]);
    }
    assert_eq!(
        says(&next(&mut rig, run, CheckRole::Health, Err("no"))),
        Some((Some(false), None)),
        "it is over"
    );
}

#[test]
fn what_is_not_known_to_serve_is_asked_each_second() {
    let mut rig = Rig::joined();
    let run = rig.running(ready(health().interval(10 * SECOND)));
    let answers = [Err("not yet"), Ok(()), Err("busy"), Err("busy"), Ok(())];
    let mut asked_at = Vec::new();
    for result in answers {
        let asked = until(&mut rig, "check");
        asked_at.push(rig.now.monotonic);
        answer(&mut rig, run, CheckRole::Readiness, number(&asked), result);
    }
    let gaps: Vec<Duration> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Not ready yet; ready; one failure of two; not ready any more.
    assert_eq!(gaps, [SECOND, 10 * SECOND, 10 * SECOND, SECOND]);
}

#[test]
fn readiness_is_told_and_ends_nothing() {
    let mut rig = Rig::joined();
    let given = ready(health());
    rig.launch(vec![given.clone()]);
    let run = given.run;
    assert_eq!(says(&rig.started(run)), Some((None, Some(false))), "not before the first success");
    rig.acknowledge(run, 1);
    assert_eq!(brief(&next(&mut rig, run, CheckRole::Readiness, Err("no"))), [""; 0]);
    assert_eq!(says(&next(&mut rig, run, CheckRole::Readiness, Ok(()))), Some((None, Some(true))));
    rig.acknowledge(run, 2);
    let one = next(&mut rig, run, CheckRole::Readiness, Err("no"));
    assert_eq!(brief(&one), [""; 0], "one failure of two");
    let out = next(&mut rig, run, CheckRole::Readiness, Err("busy"));
    assert_eq!(says(&out), Some((None, Some(false))));
    assert_eq!(sent(&out)[0].2, "the readiness check failed 2 times in a row: busy");
    rig.acknowledge(run, 3);
    for _ in 0..9 {
        assert_eq!(brief(&next(&mut rig, run, CheckRole::Readiness, Err("busy"))), [""; 0]);
    }
}

#[test]
fn a_check_without_an_answer_tells_nothing_and_neither_does_its_late_answer() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health().failures(1)));
    let late = number(&until(&mut rig, "check"));
    for _ in 0..9 {
        let asked = until(&mut rig, "check");
        assert_eq!(told(&asked), [], "nobody says that the task is ill");
        assert_ne!(number(&asked), late);
    }
    assert_eq!(brief(&answer(&mut rig, run, CheckRole::Health, late, Err("no"))), [""; 0]);
}

#[test]
fn a_check_that_was_not_carried_out_counts_for_nothing_and_is_asked_again() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health()));
    next(&mut rig, run, CheckRole::Health, Err("no"));
    rig.acknowledge(run, 2);
    for _ in 0..9 {
        let asked = number(&until(&mut rig, "check"));
        let out = judged(&mut rig, run, CheckRole::Health, asked, CheckOutcome::NotCarriedOut);
        assert_eq!(brief(&out), [""; 0], "neither ill nor well");
    }
    let out = next(&mut rig, run, CheckRole::Health, Err("no"));
    assert!(brief(&out).iter().any(|line| line.starts_with("kill")), "the second failure in a row: {out:?}");
}

#[test]
fn changes_that_nobody_takes_in_do_not_pile_up() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health().failures(1000)));
    let mut out = Vec::new();
    for n in 0..41 {
        let result = if n % 2 == 0 { Err("no") } else { Ok(()) };
        let asked = until(&mut rig, "check");
        out.extend(answer(&mut rig, run, CheckRole::Health, number(&asked), result));
    }
    let last = told(&out).last().map(|status| (status.sequence, status.healthy));
    assert_eq!(last, Some((17, Some(true))), "sixteen wait for their acknowledgement");
    let out = rig.acknowledge(run, 17);
    assert_eq!(says(&out), Some((Some(false), None)), "what is so in the end is told");
}

#[test]
fn checks_go_on_after_a_restart_of_the_agent() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health().grace(3600 * SECOND)));
    next(&mut rig, run, CheckRole::Health, Ok(()));
    rig.acknowledge(run, 2);
    let (mut rig, out) = rig.restarted(false, vec![Found { run, state: FoundState::Running { pid: 100 } }]);
    assert!(!brief(&out).iter().any(|line| line.contains("started")), "{:?}", brief(&out));
    rig.join();
    let out = next(&mut rig, run, CheckRole::Health, Err("no"));
    assert_eq!(says(&out), Some((Some(false), None)), "it had been well, so there is no grace any more");
    assert_eq!(told(&out)[0].sequence, 3);
}

#[test]
fn why_a_task_is_ended_outlives_a_restart_and_a_rewritten_ledger() {
    let mut rig = Rig::joined();
    let run = rig.running(healthy(health().failures(1)));
    next(&mut rig, run, CheckRole::Health, Err("status 500"));
    rig.ledger = rig.image();
    let (mut rig, _) = rig.restarted(false, vec![Found { run, state: FoundState::Running { pid: 100 } }]);
    rig.join();
    let out = rig.exited(run, signal(15, rig.now.wall.as_millis()));
    let (state, reason, message) = sent(&out).remove(0);
    assert_eq!((state, reason), (TaskState::Failed, StatusReason::Unhealthy));
    assert!(message.starts_with("the health check failed: status 500; "), "{message}");
}

#[test]
fn a_task_that_runs_too_long_is_ended_whatever_restarts_come_between() {
    let mut rig = Rig::joined();
    let mut given = task_run(1);
    given.task.longest_run = Some(60 * SECOND);
    given.task.kill_grace = 7 * SECOND;
    let run = given.run;
    // It begins twenty seconds before the time at which a rig begins.
    rig.now.wall = WallTime::from_millis(rig.now.wall.as_millis() - 20_000);
    rig.running(given);
    rig.ledger = rig.image();
    let (mut rig, _) = rig.restarted(false, vec![Found { run, state: FoundState::Running { pid: 100 } }]);
    rig.join();
    let begun = rig.now.monotonic;
    let out = until(&mut rig, "kill");
    assert_eq!(rig.now.monotonic.since(begun), 40 * SECOND, "what it ran before counts");
    let why = "it ran for longer than 60s";
    assert_eq!(sent(&out), [(TaskState::Killing, StatusReason::TimeLimit, why.to_owned())]);
    assert!(brief(&out).contains(&"kill 1.0 7s".to_owned()), "{:?}", brief(&out));
    let out = rig.exited(run, code(0, rig.now.wall.as_millis()));
    let message = format!("{why}; the command exited with code 0");
    assert_eq!(sent(&out), [(TaskState::Failed, StatusReason::TimeLimit, message)]);
}

#[test]
fn an_unhealthy_member_takes_its_group_along_and_a_killed_task_is_not_asked() {
    let mut rig = Rig::joined();
    let mut first = member(1, 0, "g");
    first.task.checks = Checks { health: Some(health().failures(1)), readiness: None };
    let second = member(1, 1, "g");
    let (sick, well) = (first.run, second.run);
    rig.launch(vec![first, second]);
    rig.started(sick);
    rig.started(well);
    next(&mut rig, sick, CheckRole::Health, Err("no"));
    let out = rig.exited(sick, signal(15, rig.now.wall.as_millis()));
    assert!(brief(&out).contains(&format!("kill {well} 3s")), "{:?}", brief(&out));

    let mut rig = Rig::joined();
    let run = rig.running(healthy(health()));
    rig.kill(run);
    rig.acknowledge(run, 2);
    rig.pass(100 * SECOND);
    assert!(!brief(&rig.wake()).iter().any(|line| line.starts_with("check")));
}
