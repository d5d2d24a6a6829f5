//! A full disk: new runs are refused for good, those that there are go on.

use proto::task::{StatusReason, TaskState};

use super::fixtures::{code, member, run_id, task_run};
use super::rig::{Rig, brief, sent};
use crate::{Input, Room};

fn full() -> Rig {
    let mut rig = Rig::joined();
    assert_eq!(rig.step(Input::Room(Room::None)), []);
    rig
}

#[test]
fn a_run_for_which_there_is_no_room_is_refused_and_only_that_is_written_down() {
    let mut rig = full();
    let out = rig.launch(vec![task_run(1), task_run(2)]);
    let expected = [
        "store+ reached 1.0 #1 dropped",
        "update 1.0 #1 dropped",
        "store+ reached 2.0 #1 dropped",
        "update 2.0 #1 dropped",
    ];
    assert_eq!(brief(&out), expected);
    let (state, reason, words) = sent(&out).remove(0);
    assert_eq!((state, reason), (TaskState::Dropped, StatusReason::AgentDiskFull));
    assert!(words.contains("make room where its work directory is"), "{words}");
    assert_eq!(rig.agent.runs_alive(), 0);

    assert_eq!(brief(&rig.launch(vec![task_run(1)])), ["update 1.0 #1 dropped"], "told again");
    assert_eq!(brief(&rig.acknowledge(run_id(1), 1)), ["store forgotten 1.0"]);
    assert_eq!(rig.step(Input::Room(Room::Enough)), []);
    assert_eq!(brief(&rig.launch(vec![task_run(1)])), ["note ForgottenLaunch", "update 1.0 #1 dropped"]);
    assert_eq!(brief(&rig.launch(vec![task_run(2)])), ["update 2.0 #1 dropped"]);
    assert_eq!(brief(&rig.launch(vec![task_run(3)])), ["store+ taken 3.0", "launch 3.0"], "by itself");
}

#[test]
fn a_refused_run_is_not_started_after_a_restart_either() {
    let mut rig = full();
    rig.launch(vec![task_run(1), task_run(2)]);
    rig.acknowledge(run_id(2), 1);
    let image = rig.image();
    for ledger in [rig.ledger.clone(), image.clone()] {
        rig.ledger = ledger;
        let (mut again, _) = rig.restarted(false, Vec::new());
        assert_eq!(again.image().len(), image.len(), "the same is remembered");
        assert_eq!(again.agent.runs_alive(), 0);
        let told = brief(&again.join());
        assert_eq!(
            told.last().map(String::as_str),
            Some("update 1.0 #1 dropped"),
            "until it is acknowledged"
        );
        // There is room now; but somebody may have heard it.
        let out = again.launch(vec![task_run(1), task_run(2)]);
        assert_eq!(brief(&out), ["update 1.0 #1 dropped", "note ForgottenLaunch", "update 2.0 #1 dropped"]);
        assert_eq!(brief(&again.acknowledge(run_id(1), 1)), ["store forgotten 1.0"]);
    }
}

#[test]
fn runs_that_there_are_go_on_and_end_as_ever() {
    let mut rig = Rig::joined();
    let (ends, is_killed) = (rig.running(task_run(1)), rig.running(task_run(2)));
    rig.step(Input::Room(Room::None));
    let out = rig.exited(ends, code(0, 5));
    assert_eq!(brief(&out), ["store reached 1.0 #2 finished", "update 1.0 #2 finished"]);
    assert_eq!(brief(&rig.acknowledge(ends, 2)), ["store forgotten 1.0"]);
    let out = brief(&rig.kill(is_killed));
    assert_eq!(out[..2], ["store+ kill 2.0", "store+ reached 2.0 #2 killing"]);
    assert_eq!(out.last().map(String::as_str), Some("kill 2.0 3s"));
}

#[test]
fn who_is_launched_together_is_refused_together() {
    let mut rig = full();
    let out = rig.launch(vec![member(1, 0, "pair"), member(1, 1, "pair")]);
    assert_eq!(sent(&out).iter().filter(|(state, ..)| *state == TaskState::Dropped).count(), 2);
    assert!(!brief(&out).iter().any(|line| line.starts_with("kill")), "{out:?}");
}
