//! Statuses: what an end means, the order they leave in, and how long they are sent.

use std::time::Duration;

use proto::task::{StatusReason, TaskState};

use super::fixtures::{code, run_id, signal, task_run};
use super::rig::{Rig, brief, sent};
use crate::{Container, End, FailureKind, How, Input, Loss, StartFailure};

/// What is said of a task that runs and then ends so.
fn verdict(end: End) -> (TaskState, StatusReason, String) {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    sent(&rig.exited(run, end)).pop().unwrap()
}

#[test]
fn an_end_is_named_for_what_it_was() {
    use StatusReason as R;
    use TaskState as S;
    assert_eq!(verdict(code(0, 5)), (S::Finished, R::CommandExited, String::new()));
    assert_eq!(verdict(code(3, 5)), (S::Failed, R::CommandExited, "the command exited with code 3".into()));
    let segv = "the command was ended by signal 11 (SEGV)".to_owned();
    assert_eq!(verdict(signal(11, 5)), (S::Failed, R::CommandExited, segv));
    let oom = End { oom: true, ..signal(9, 5) };
    let limit = "passed its memory limit of 64MiB; the command was ended by signal 9 (KILL)".to_owned();
    assert_eq!(verdict(oom), (S::Failed, R::LimitMemory, limit));
    let (state, reason, _) = verdict(End { how: How::Lost(Loss::KeeperDied), oom: false, at_ms: 5 });
    assert_eq!((state, reason), (S::Lost, R::KeeperLost));
    let (state, reason, _) = verdict(End { how: How::Lost(Loss::Rebooted), oom: false, at_ms: 5 });
    assert_eq!((state, reason), (S::Gone, R::AgentRebooted));
}

#[test]
fn only_an_end_that_the_keeper_can_repeat_is_stored_without_a_sync() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    let out = rig.exited(run, code(1, 5));
    assert_eq!(brief(&out), ["store reached 1.0 #2 failed", "update 1.0 #2 failed"]);
    let run = rig.running(task_run(2));
    let out = rig.exited(run, End { oom: true, ..signal(9, 5) });
    assert_eq!(brief(&out), ["store+ reached 2.0 #2 failed", "update 2.0 #2 failed"]);
}

#[test]
fn what_could_not_be_started_says_why() {
    let mut rig = Rig::joined();
    let mut fail = |n: u64, kind: FailureKind| {
        rig.launch(vec![task_run(n)]);
        let failure = StartFailure { kind, message: "no such file".into() };
        rig.step(Input::Container(Container::StartFailed { run: run_id(n), failure }))
    };
    let out = fail(1, FailureKind::Launch);
    assert_eq!(brief(&out), ["store+ reached 1.0 #1 failed", "update 1.0 #1 failed"]);
    let launch = (TaskState::Failed, StatusReason::LaunchFailed, "no such file".to_owned());
    assert_eq!(sent(&out), [launch]);
    let fetch = (TaskState::Failed, StatusReason::FetchFailed, "no such file".to_owned());
    assert_eq!(sent(&fail(2, FailureKind::Fetch)), [fetch]);
    let secret = (TaskState::Failed, StatusReason::SecretFailed, "no such file".to_owned());
    assert_eq!(sent(&fail(3, FailureKind::Secret)), [secret]);
}

#[test]
fn also_the_shortest_task_is_seen_running() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    let out = rig.exited(run_id(1), code(0, 5));
    assert_eq!(
        brief(&out),
        [
            "store reached 1.0 #1 running",
            "update 1.0 #1 running",
            "store reached 1.0 #2 finished",
            "update 1.0 #2 finished"
        ]
    );
}

#[test]
fn the_end_does_not_wait_for_the_acknowledgement_of_the_start() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    rig.started(run_id(1));
    let out = rig.exited(run_id(1), code(0, 5));
    assert_eq!(brief(&out), ["store reached 1.0 #2 finished", "update 1.0 #2 finished"]);
    // One acknowledgement covers both.
    assert_eq!(brief(&rig.acknowledge(run_id(1), 2)), ["store forgotten 1.0"]);
    assert_eq!(rig.agent.runs_known(), 0);
}

#[test]
fn the_keeper_forgets_a_run_only_once_its_end_is_on_disk() {
    let mut rig = Rig::joined();
    for n in [1, 2] {
        let run = rig.running(task_run(n));
        rig.exited(run, code(0, 5));
        assert_eq!(brief(&rig.acknowledge(run, 2)), [format!("store forgotten {n}.0")]);
    }
    assert_eq!(brief(&rig.exited(run_id(1), code(0, 5))), [""; 0], "also when it says so again");
    assert_eq!(brief(&rig.pass_to_wake()), ["store+ epoch 1", "destroy 1.0", "destroy 2.0"]);
    assert_eq!(brief(&rig.exited(run_id(1), code(0, 5))), ["destroy 1.0"]);
}

#[test]
fn an_acknowledgement_twice_or_of_the_unknown_is_nothing() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    rig.started(run_id(1));
    assert_eq!(brief(&rig.acknowledge(run_id(1), 1)), ["store acknowledged 1.0 #1"]);
    assert_eq!(brief(&rig.acknowledge(run_id(1), 1)), [""; 0]);
    assert_eq!(brief(&rig.acknowledge(run_id(9), 1)), [""; 0]);
    // One that runs ahead does not swallow the end.
    assert_eq!(brief(&rig.acknowledge(run_id(1), 7)), [""; 0]);
    rig.exited(run_id(1), code(0, 5));
    assert_eq!(brief(&rig.acknowledge(run_id(1), 1)), [""; 0]);
    assert_eq!(rig.agent.runs_known(), 1);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_in_order_and_ever_more_rarely() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    rig.started(run_id(1));
    rig.exited(run_id(1), code(0, 5));
    let both = ["update 1.0 #1 running", "update 1.0 #2 finished"];
    for wait in [10, 20, 40] {
        let mut out = Vec::new();
        let due = rig.now.monotonic + Duration::from_secs(wait);
        while rig.now.monotonic < due {
            // The master is there all the time.
            rig.master(proto::agent_link::ToAgentKind::Heartbeat);
            out.extend(rig.pass_to_wake());
        }
        let updates: Vec<_> = brief(&out).into_iter().filter(|o| o.starts_with("update")).collect();
        assert_eq!(updates, both, "after {wait} s");
        assert_eq!(rig.now.monotonic, due);
    }
}

#[test]
fn an_event_twice_is_said_once() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    assert_eq!(brief(&rig.started(run)), [""; 0]);
    rig.exited(run, code(0, 5));
    assert_eq!(brief(&rig.exited(run, code(1, 6))), [""; 0]);
}

#[test]
fn an_end_that_nobody_waits_for_may_be_forgotten_by_the_keeper() {
    let mut rig = Rig::joined();
    assert_eq!(brief(&rig.exited(run_id(5), code(0, 5))), ["destroy 5.0"]);
}
