//! Launching: once, written down first, many in one go.

use super::fixtures::{code, run_id, task_run};
use super::rig::{Rig, brief};
use crate::Output;

#[test]
fn a_run_is_written_down_before_it_is_started() {
    let mut rig = Rig::joined();
    assert_eq!(brief(&rig.launch(vec![task_run(1)])), ["store+ taken 1.0", "launch 1.0"]);
}

#[test]
fn a_batch_is_all_records_then_all_starts() {
    let mut rig = Rig::joined();
    let out = rig.launch((1..=1000).map(task_run).collect());
    assert_eq!(out.len(), 2000);
    assert!(out[..1000].iter().all(|o| matches!(o, Output::Store { sync: true, .. })));
    assert!(out[1000..].iter().all(|o| matches!(o, Output::Contain(_))));
}

#[test]
fn a_known_run_is_never_started_again_but_told_again() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    assert_eq!(brief(&rig.launch(vec![task_run(1)])), [""; 0]);
    rig.started(run_id(1));
    assert_eq!(brief(&rig.launch(vec![task_run(1)])), ["update 1.0 #1 running"]);
    rig.exited(run_id(1), code(0, 5));
    assert_eq!(brief(&rig.launch(vec![task_run(1)])), ["update 1.0 #1 running", "update 1.0 #2 finished"]);
}

#[test]
fn a_forgotten_run_is_not_started_again_either() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    rig.exited(run, code(0, 5));
    assert_eq!(brief(&rig.acknowledge(run, 2)), ["store forgotten 1.0"]);
    assert_eq!(brief(&rig.launch(vec![task_run(1)])), ["note ForgottenLaunch", "update 1.0 #2 finished"]);

    // Nor after a restart, from the ledger as it grew and as it is rewritten.
    let image = rig.image();
    let (mut again, _) = rig.restarted(false, Vec::new());
    again.join();
    assert_eq!(brief(&again.launch(vec![task_run(1)])), ["note ForgottenLaunch", "update 1.0 #2 finished"]);
    rig.ledger = image;
    let (mut again, _) = rig.restarted(false, Vec::new());
    again.join();
    assert_eq!(brief(&again.launch(vec![task_run(1)])), ["note ForgottenLaunch", "update 1.0 #2 finished"]);
}
