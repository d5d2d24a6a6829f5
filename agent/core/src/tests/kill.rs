//! Ending runs: on request, with their group, and with the agent.

use std::time::Duration;

use proto::agent_link::{Kill, Shutdown, ToAgentKind, ToMaster};
use proto::id::RunId;
use proto::refusal::{Code, Refusal};
use proto::task::{StatusReason, TaskState};
use proto_machine::Machine;

use super::fixtures::{code, member, run_id, signal, task_run};
use super::rig::{Rig, brief, sent};
use crate::{Container, FailureKind, Found, FoundState, Input, Output, StartFailure};

fn end_words(out: &[Output]) -> Vec<(TaskState, StatusReason)> {
    sent(out).into_iter().map(|(state, reason, _)| (state, reason)).collect()
}

/// How long the tasks have that are told of.
fn graces(out: &[Output]) -> Vec<Option<Duration>> {
    let told = out.iter().filter_map(|output| match output {
        Output::ToMaster(ToMaster::Update(update)) => Some(update.status.grace),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_kill_is_written_down_carried_out_and_reported() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    let out = rig.kill(run);
    let killing =
        ["store+ kill 1.0", "store+ reached 1.0 #2 killing", "update 1.0 #2 killing", "kill 1.0 3s"];
    assert_eq!(brief(&out), killing);
    assert_eq!(end_words(&out), [(TaskState::Killing, StatusReason::KillRequested)]);
    assert_eq!(graces(&out), [Some(Duration::from_secs(3))]);
    assert_eq!(brief(&rig.kill(run)), [""; 0], "asked twice, done once");
    let at_ms = rig.now.wall.as_millis() + 1;
    let out = rig.exited(run, signal(15, at_ms));
    assert_eq!(brief(&out), ["store+ reached 1.0 #3 killed", "update 1.0 #3 killed"]);
    assert_eq!(end_words(&out), [(TaskState::Killed, StatusReason::KillRequested)]);
    assert_eq!(graces(&out), [None], "it is over");
}

#[test]
fn a_shorter_grace_counts_a_longer_one_does_not() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    rig.kill(run);
    let again = |secs| ToAgentKind::Kill(Kill { run, grace: Duration::from_secs(secs) });
    assert_eq!(brief(&rig.master(again(9))), [""; 0]);
    assert_eq!(brief(&rig.master(again(1))), ["store+ kill 1.0", "kill 1.0 1s"]);
}

#[test]
fn what_ended_before_it_was_asked_to_has_ended_by_itself() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    let before = rig.now.wall.as_millis() - 1;
    rig.kill(run);
    let out = rig.exited(run, code(0, before));
    assert_eq!(end_words(&out), [(TaskState::Finished, StatusReason::CommandExited)]);

    let run = rig.running(task_run(2));
    rig.kill(run);
    let out = rig.exited(run, code(0, rig.now.wall.as_millis()));
    assert_eq!(end_words(&out), [(TaskState::Killed, StatusReason::KillRequested)], "it obeyed");
}

#[test]
fn a_run_that_is_killed_before_it_starts_never_starts() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    assert_eq!(brief(&rig.kill(run_id(1))), ["store+ kill 1.0", "kill 1.0 3s"]);
    let failure = StartFailure { kind: FailureKind::Canceled, message: "canceled".into() };
    let out = rig.step(Input::Container(Container::StartFailed { run: run_id(1), failure }));
    assert_eq!(end_words(&out), [(TaskState::Killed, StatusReason::KilledDuringLaunch)]);

    // The same when the agent dies in between: the keeper never got it, and does not get it now.
    rig.launch(vec![task_run(2)]);
    rig.kill(run_id(2));
    let (mut again, out) = rig.restarted(false, Vec::new());
    assert!(!brief(&out).iter().any(|o| o.starts_with("launch")), "{:?}", brief(&out));
    let out = again.join();
    assert!(end_words(&out).contains(&(TaskState::Killed, StatusReason::KilledDuringLaunch)));
}

#[test]
fn a_start_that_overtook_the_kill_is_killed_once_more() {
    let mut rig = Rig::joined();
    rig.launch(vec![task_run(1)]);
    rig.kill(run_id(1));
    let out = rig.started(run_id(1));
    assert_eq!(
        brief(&out),
        [
            "store reached 1.0 #1 running",
            "update 1.0 #1 running",
            "store+ reached 1.0 #2 killing",
            "update 1.0 #2 killing",
            "kill 1.0 3s"
        ]
    );
}

#[test]
fn a_kill_of_nothing_is_noted() {
    let mut rig = Rig::joined();
    assert_eq!(brief(&rig.kill(run_id(1))), ["note UnknownKill"]);
}

#[test]
fn a_kill_survives_a_restart() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    rig.kill(run);
    let found = Found { run, state: FoundState::Running { pid: 100 } };
    let (_, out) = rig.restarted(false, vec![found.clone()]);
    assert_eq!(brief(&out)[0], "kill 1.0 3s", "it was reported before");
    // It died between the wish and the report of it.
    rig.ledger.pop();
    let (mut again, out) = rig.restarted(false, vec![found]);
    assert_eq!(brief(&out)[..2], ["store+ reached 1.0 #2 killing", "kill 1.0 3s"]);
    assert_eq!(end_words(&again.join()), [(TaskState::Killing, StatusReason::KillRequested)]);
    // That is acknowledged and the ledger rewritten: what is left still tells that the run was running.
    again.acknowledge(run, 2);
    again.ledger = again.image();
    let found = Found { run, state: FoundState::Running { pid: 100 } };
    let (mut again, out) = again.restarted(false, vec![found]);
    assert_eq!(brief(&out)[0], "kill 1.0 3s");
    again.join();
    let out = again.exited(run, signal(9, again.now.wall.as_millis()));
    assert_eq!(end_words(&out), [(TaskState::Killed, StatusReason::KillRequested)]);
}

#[test]
fn when_one_of_a_group_ends_badly_the_others_end_too() {
    let mut rig = Rig::joined();
    let members: Vec<_> = (0..3).map(|n| member(4, n, "pod")).collect();
    let other = member(5, 0, "pod"); // the same name, launched at another time
    for given in members.iter().cloned().chain([other, task_run(6)]) {
        rig.running(given);
    }
    assert_eq!(
        end_words(&rig.exited(RunId::at(4, 0), code(0, 5))),
        [(TaskState::Finished, StatusReason::CommandExited)]
    );
    let out = rig.exited(RunId::at(4, 1), code(2, 5));
    assert_eq!(
        brief(&out),
        [
            "store reached 4.1 #2 failed",
            "update 4.1 #2 failed",
            "store+ kill 4.2",
            "store+ reached 4.2 #2 killing",
            "update 4.2 #2 killing",
            "kill 4.2 3s"
        ]
    );
    let out = rig.exited(RunId::at(4, 2), signal(15, rig.now.wall.as_millis()));
    assert_eq!(end_words(&out), [(TaskState::Killed, StatusReason::GroupEnded)]);
    assert_eq!(rig.agent.runs_alive(), 2);
}

#[test]
fn a_group_ends_also_when_the_agent_died_before_it_could_say_so() {
    let mut rig = Rig::joined();
    for n in 0..3 {
        rig.running(member(4, n, "pod"));
    }
    // One ends badly while the agent is away; a fourth was never started.
    rig.launch(vec![member(4, 3, "pod")]);
    let found = vec![
        Found { run: RunId::at(4, 0), state: FoundState::Running { pid: 1 } },
        Found { run: RunId::at(4, 1), state: FoundState::Exited(code(1, 5)) },
        Found { run: RunId::at(4, 2), state: FoundState::Running { pid: 3 } },
    ];
    let (mut again, out) = rig.restarted(false, found);
    let out = brief(&out);
    assert!(out.contains(&"kill 4.0 3s".to_owned()) && out.contains(&"kill 4.2 3s".to_owned()), "{out:?}");
    assert!(out.contains(&"store+ reached 4.3 #1 killed".to_owned()), "{out:?}");
    assert!(!out.iter().any(|o| o.starts_with("launch")), "{out:?}");

    // It dies again; the reason is still known.
    let found = vec![Found { run: RunId::at(4, 0), state: FoundState::Exited(signal(15, 9)) }];
    again.ledger = again.image();
    let (mut third, _) = again.restarted(false, found);
    let out = third.join();
    assert!(end_words(&out).contains(&(TaskState::Killed, StatusReason::GroupEnded)), "{:?}", sent(&out));
}

#[test]
fn an_agent_that_is_gone_ends_its_runs_and_then_leaves() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    let gone = Shutdown { refusal: Refusal::new(Code::AgentGone, "declared gone") };
    let out = rig.master(ToAgentKind::Shutdown(gone));
    assert_eq!(
        brief(&out),
        ["note Lost", "disconnect", "store+ kill 1.0", "store+ reached 1.0 #2 killing", "kill 1.0 3s"]
    );
    let out = rig.exited(run, signal(15, rig.now.wall.as_millis()));
    assert_eq!(brief(&out), ["store+ reached 1.0 #3 killed", "leave agent-gone"]);
    assert_eq!(rig.agent.wake_at(), None);
}

#[test]
fn an_agent_that_ends_takes_its_runs_along_and_takes_on_no_more() {
    let mut rig = Rig::joined();
    let run = rig.running(task_run(1));
    let out = rig.step(Input::EndRuns);
    assert_eq!(end_words(&out), [(TaskState::Killing, StatusReason::AgentDraining)]);
    assert_eq!(brief(&out).last().map(String::as_str), Some("kill 1.0 3s"));
    assert_eq!(brief(&rig.step(Input::EndRuns)), [""; 0], "asked twice, done once");
    let out = rig.launch(vec![task_run(2)]);
    assert_eq!(brief(&out), ["store+ taken 2.0", "store+ reached 2.0 #1 dropped", "update 2.0 #1 dropped"]);
    assert_eq!(end_words(&out), [(TaskState::Dropped, StatusReason::AgentDraining)]);
    let out = rig.exited(run, signal(15, rig.now.wall.as_millis()));
    assert_eq!(end_words(&out), [(TaskState::Killed, StatusReason::AgentDraining)]);
    assert_eq!(brief(&out)[2..], ["store+ epoch 1", "destroy 1.0", "destroy 2.0", "ended"]);
    assert_eq!(brief(&rig.launch(vec![task_run(3)])), [""; 0], "that was the last word");
    assert_eq!(rig.agent.wake_at(), None);

    let mut idle = Rig::joined();
    assert_eq!(brief(&idle.step(Input::EndRuns)), ["store+ epoch 1", "ended"]);
}

#[test]
fn an_agent_that_is_refused_leaves_its_runs_alone() {
    let mut rig = Rig::joined();
    rig.running(task_run(1));
    let refused = Shutdown { refusal: Refusal::new(Code::Denied, "another's certificate") };
    assert_eq!(
        brief(&rig.master(ToAgentKind::Shutdown(refused))),
        ["note Lost", "disconnect", "leave denied"]
    );
}
