//! Picking up where an earlier process stopped.

use proto::agent_link::ToAgentKind;
use proto::task::{StatusReason, TaskState};

use super::fixtures::{code, run_id, task_run};
use super::rig::{Rig, brief, sent};
use crate::{End, Found, FoundState, How, Loss};

fn found(n: u64, state: FoundState) -> Found {
    Found { run: run_id(n), state }
}

#[test]
fn running_runs_stay_and_nothing_new_is_said_of_them() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    let (mut again, out) = rig.restarted(false, vec![found(1, FoundState::Running { pid: 100 })]);
    assert_eq!(out.len(), 1, "only a connection: {:?}", brief(&out));
    assert_eq!(brief(&again.join()), ["note Joined"]);
    assert_eq!(again.agent.runs_alive(), 1);
}

#[test]
fn what_happened_while_away_becomes_updates() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    rig.launch(vec![task_run(2), task_run(3)]);
    let (mut again, _) = rig.restarted(
        false,
        vec![
            found(1, FoundState::Exited(code(0, 5))),
            found(2, FoundState::Running { pid: 7 }),
            found(3, FoundState::Exited(code(9, 5))),
        ],
    );
    assert_eq!(
        brief(&again.join()),
        [
            "note Joined",
            "update 1.0 #2 finished",
            "update 2.0 #1 running",
            "update 3.0 #1 running",
            "update 3.0 #2 failed"
        ]
    );
}

#[test]
fn what_the_keeper_never_got_is_given_to_it_now() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    let (_, out) = rig.restarted(false, Vec::new());
    assert_eq!(brief(&out)[0], "launch 1.0");
}

#[test]
fn what_the_keeper_has_begun_is_left_to_it() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    let (_, out) = rig.restarted(false, vec![found(1, FoundState::Starting)]);
    assert_eq!(out.len(), 1, "only a connection: {:?}", brief(&out));
}

#[test]
fn after_a_reboot_nothing_is_started_and_nothing_takes_a_number_twice() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    rig.launch(vec![task_run(2), task_run(3), task_run(4)]);
    let lost = End { how: How::Lost(Loss::Rebooted), oom: false, at_ms: 5 };
    let (mut again, out) = rig
        .restarted(true, vec![found(3, FoundState::Exited(lost)), found(4, FoundState::Exited(code(0, 5)))]);
    assert!(!brief(&out).iter().any(|o| o.starts_with("launch")));
    let out = again.join();
    assert_eq!(
        brief(&out)[1..],
        [
            "update 1.0 #2 gone",
            "update 2.0 #1 starting",
            "update 2.0 #2 gone",
            "update 3.0 #1 running",
            "update 3.0 #2 gone",
            "update 4.0 #1 running",
            "update 4.0 #2 finished"
        ]
    );
    assert_eq!(sent(&out)[0].1, StatusReason::AgentRebooted);
}

#[test]
fn a_keeper_that_died_with_its_runs_leaves_them_lost() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    let (mut again, _) = rig.restarted(false, Vec::new());
    let out = again.join();
    let (state, reason, _) = sent(&out)[0].clone();
    assert_eq!((state, reason), (TaskState::Lost, StatusReason::KeeperLost));
}

#[test]
fn what_the_ledger_does_not_know_is_ended() {
    let rig = Rig::joined();
    let (mut again, out) = rig.restarted(
        false,
        vec![found(8, FoundState::Running { pid: 1 }), found(9, FoundState::Exited(code(0, 5)))],
    );
    assert_eq!(brief(&out)[..3], ["note Orphan", "kill 8.0 0s", "destroy 9.0"]);
    assert_eq!(brief(&again.exited(run_id(8), code(1, 5))), ["destroy 8.0"]);
}

#[test]
fn a_rewritten_ledger_restores_to_the_same() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    rig.running(task_run(2));
    rig.exited(run_id(2), code(1, 5));
    rig.running(task_run(3));
    rig.kill(run_id(3));
    rig.launch(vec![task_run(4)]);
    let run = rig.running(task_run(5));
    rig.exited(run, code(0, 5));
    rig.acknowledge(run, 2);
    rig.epoch = 3;
    rig.master(ToAgentKind::Heartbeat);

    let image = rig.image();
    assert!(image.len() < rig.ledger.len());
    let (mut grown, _) = rig.restarted(false, vec![found(1, FoundState::Running { pid: 100 })]);
    rig.ledger.clone_from(&image);
    let (mut rewritten, _) = rig.restarted(false, vec![found(1, FoundState::Running { pid: 100 })]);
    assert_eq!(grown.image(), rewritten.image());
    let mut both = [grown, rewritten];
    let said: Vec<_> = both.iter_mut().map(|rig| brief(&rig.join())).collect();
    assert_eq!(said[0], said[1]);
}

#[test]
fn the_keeper_asked_anew_while_the_agent_lives() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    rig.running(task_run(2));
    let out = rig.step(crate::Input::Recovered(vec![found(1, FoundState::Running { pid: 100 })]));
    assert_eq!(brief(&out), ["store+ reached 2.0 #2 lost", "update 2.0 #2 lost"]);
}
