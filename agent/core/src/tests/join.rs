//! Joining: the first master, the next one, the hint, the silence, the old epoch.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::agent_link::{Launch, ToAgent, ToAgentKind, ToMaster};
use proto::id::Epoch;
use proto::roster::Masters;
use proto::scheduler::Redirect;
use proto::task::TaskState;

use super::fixtures::{code, info, run_id, task_run};
use super::rig::{MASTERS, Rig, brief};
use crate::{Input, LinkId, Output};

fn redirect(to: &str) -> ToAgentKind {
    ToAgentKind::Redirect(Redirect { leader_address: to.into() })
}

#[test]
fn it_registers_with_every_run_and_then_tells_again_what_is_not_acknowledged() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    rig.launch(vec![task_run(2), task_run(3)]);
    rig.started(run_id(3));
    rig.pass(Duration::from_secs(2));
    let out = rig.step(Input::Unlinked(rig.link));
    assert_eq!(brief(&out)[0], "note Lost");
    assert!(matches!(out[1], Output::Connect { .. }), "the next one at once");
    rig.exited(run_id(1), code(0, 5));

    let out = rig.step(Input::Linked(rig.link));
    let [Output::ToMaster(ToMaster::Register(register))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(register.epoch, Epoch(1));
    let runs: Vec<_> = register.runs.iter().map(|r| (r.run, r.status.state, r.status.sequence)).collect();
    assert_eq!(
        runs,
        [
            (run_id(1), TaskState::Finished, 2),
            (run_id(2), TaskState::Staging, 0),
            (run_id(3), TaskState::Running, 1)
        ]
    );
    let out = rig.join();
    assert_eq!(brief(&out), ["note Joined", "update 1.0 #2 finished", "update 3.0 #1 running"]);
}

#[test]
fn where_masters_are_is_believed_of_everybody_remembered_and_tried() {
    let mut rig = Rig::joined();
    let told = |addresses: &[&str]| {
        ToAgentKind::Masters(Masters { addresses: addresses.iter().map(|a| (*a).to_owned()).collect() })
    };
    rig.epoch = 0;
    let out = rig.master(told(&["new-1:7", "new-2:7"]));
    let [Output::Masters(known)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(known[..2], ["new-1:7", "new-2:7"]);
    assert_eq!(known.len(), 2 + MASTERS.len(), "older ones stay");
    assert_eq!(rig.master(told(&["new-1:7", "new-2:7"])), [], "it is no news twice");
    // Of all that it knows, it tries each in turn.
    let mut tried = BTreeSet::new();
    for _ in 0..known.len() {
        for output in rig.step(Input::Unlinked(rig.link)) {
            if let Output::Connect { address, .. } = output {
                tried.insert(address);
            }
        }
        rig.pass(Duration::from_secs(3));
        for output in rig.wake() {
            if let Output::Connect { address, .. } = output {
                tried.insert(address);
            }
        }
    }
    assert!(tried.contains("new-1:7") && tried.contains("new-2:7"), "{tried:?}");
}

#[test]
fn an_older_master_is_not_obeyed_and_a_newer_one_is_written_down_first() {
    let mut rig = Rig::joined();
    rig.epoch = 5;
    let out = rig.launch(vec![task_run(1)]);
    assert_eq!(brief(&out), ["store+ epoch 5", "store+ taken 1.0", "launch 1.0"]);
    rig.epoch = 4;
    let out = rig.launch(vec![task_run(2)]);
    assert_eq!(brief(&out), ["note OldEpoch", "note Lost", "disconnect"]);
    assert_eq!(rig.agent.runs_known(), 1);

    // Nor after a restart.
    let (mut again, _) = rig.restarted(false, Vec::new());
    again.epoch = 4;
    again.step(Input::Linked(again.link));
    let out = again.launch(vec![task_run(2)]);
    assert_eq!(brief(&out), ["note OldEpoch", "disconnect"]);
}

#[test]
fn what_comes_from_a_link_that_was_given_up_is_not_heard() {
    let mut rig = Rig::joined();
    let old = rig.link;
    rig.pass(Duration::from_secs(2));
    rig.step(Input::Unlinked(old));
    let launch = ToAgentKind::Launch(Launch { runs: vec![task_run(1)] });
    let out = rig.step(Input::FromMaster(old, ToAgent { epoch: Epoch(9), kind: launch }));
    assert_eq!(out, []);
    assert_eq!(rig.step(Input::Unlinked(old)), []);
    assert_eq!(rig.step(Input::Linked(LinkId(77))), []);
}

#[test]
fn masters_are_tried_in_turn_the_first_at_once_and_all_before_the_pause_doubles() {
    let mut rig = Rig::new(Vec::new());
    let mut tried = brief(&rig.step(Input::Recovered(Vec::new())));
    let mut pauses = Vec::new();
    for _ in 0..20 {
        assert_eq!(rig.step(Input::Unlinked(rig.link)), []);
        let before = rig.now.monotonic;
        tried.extend(brief(&rig.pass_to_wake()));
        pauses.push(rig.now.monotonic.since(before));
    }
    for three in tried.chunks_exact(3) {
        let mut three = three.to_vec();
        three.sort();
        assert_eq!(three, MASTERS.map(|m| format!("connect {m}")));
    }
    for (n, pause) in pauses.iter().enumerate() {
        let most = Duration::from_millis(100 << (n / 3)).min(Duration::from_secs(2));
        assert!(*pause >= most / 2 && *pause <= most, "pause {n}: {pause:?}");
    }
    assert!(pauses[..3].iter().sum::<Duration>() <= Duration::from_millis(300));
}

#[test]
fn a_connection_that_does_not_open_is_given_up() {
    let mut rig = Rig::new(Vec::new());
    rig.step(Input::Recovered(Vec::new()));
    assert_eq!(brief(&rig.pass_to_wake()), ["disconnect"]);
    assert!(brief(&rig.pass_to_wake())[0].starts_with("connect"));
    // Nor does one wait for ever for the answer to Register.
    rig.step(Input::Linked(rig.link));
    assert_eq!(brief(&rig.pass_to_wake()), ["disconnect"]);
}

#[test]
fn a_hint_is_followed_at_once_but_not_in_circles() {
    let mut rig = Rig::new(Vec::new());
    rig.step(Input::Recovered(Vec::new()));
    for _ in 0..3 {
        rig.step(Input::Linked(rig.link));
        assert_eq!(brief(&rig.master(redirect("m9:1"))), ["disconnect", "connect m9:1"]);
    }
    rig.step(Input::Linked(rig.link));
    assert_eq!(brief(&rig.master(redirect("m9:1"))), ["disconnect"]);
    assert!(brief(&rig.pass_to_wake())[0].starts_with("connect m"));
}

#[test]
fn a_hint_is_followed_whatever_its_epoch_and_an_empty_one_means_try_the_next() {
    let mut rig = Rig::joined();
    rig.epoch = 0;
    assert_eq!(brief(&rig.master(redirect("m2:1"))), ["note Lost", "disconnect", "connect m2:1"]);
    rig.step(Input::Linked(rig.link));
    assert_eq!(brief(&rig.master(redirect(""))), ["disconnect"]);
    let before = rig.now.monotonic;
    assert!(brief(&rig.pass_to_wake())[0].starts_with("connect"));
    assert!(rig.now.monotonic.since(before) <= Duration::from_millis(100));
}

#[test]
fn it_says_something_now_and_then_and_leaves_a_master_that_says_nothing() {
    let mut rig = Rig::joined();
    assert_eq!(brief(&rig.pass_to_wake()), ["heartbeat"]);
    assert_eq!(brief(&rig.pass_to_wake()), ["heartbeat"]);
    let out = brief(&rig.pass_to_wake());
    assert_eq!(out[..3], ["note Silent", "disconnect", "note Lost"]);
    assert!(out[3].starts_with("connect"), "{out:?}");
}

#[test]
fn a_master_that_admits_and_drops_is_not_hammered() {
    let mut rig = Rig::joined();
    let out = rig.step(Input::Unlinked(rig.link));
    assert_eq!(brief(&out), ["note Lost"], "no attempt without a pause");
    let mut total = Duration::ZERO;
    for _ in 0..30 {
        let before = rig.now.monotonic;
        rig.pass_to_wake();
        total += rig.now.monotonic.since(before);
        rig.join();
        rig.step(Input::Unlinked(rig.link));
    }
    assert!(total >= Duration::from_secs(15), "the pauses grow: {total:?}");
}

#[test]
fn when_it_changes_it_presents_itself_anew() {
    let mut rig = Rig::joined();
    let mut info = info();
    info.hostname = "two".into();
    let at = rig.address.clone();
    let out = rig.step(Input::InfoChanged(info));
    assert_eq!(brief(&out), ["note Lost", "disconnect", &format!("connect {at}")]);
    let out = rig.step(Input::Linked(rig.link));
    let [Output::ToMaster(ToMaster::Register(register))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(register.agent.hostname, "two");
}
