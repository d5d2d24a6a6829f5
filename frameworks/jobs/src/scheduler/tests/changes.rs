//! Services that change: with surge, with canaries, with a deadline, and back again.

use std::time::Duration;

use framework_sdk::refusal::Code;
use framework_sdk::task::{Exit, TaskState};

use super::rig::*;
use crate::spec::{Command, GiveUp, JobSpec, Kind, RestartPolicy, Spread, Update};
use crate::wire::{self, Progress, Setback};

fn web(script: &str, update: Update) -> JobSpec {
    JobSpec { command: Command::Shell(script.to_owned()), update, ..spec("web", Kind::Service, 3) }
}

/// Three instances of `old` run.
fn runs(update: Update) -> Process {
    let mut process = start();
    process.submit(web("old", update)).expect("taken");
    process.go_on();
    assert_eq!(process.scripts(), ["old", "old", "old"]);
    process
}

/// How far the latest change is, and why it failed.
fn stands(process: &mut Process) -> (Progress, Setback) {
    let summary = process.summary("web");
    (summary.progress(), summary.setback())
}

fn held(process: &mut Process) -> String {
    process.held("web").held.join("; ")
}

#[test]
fn a_surge_starts_new_ones_before_old_ones_end() {
    let update = Update { max_surge: 1, max_unavailable: 0, ..Update::DEFAULT };
    let mut process = runs(update);
    assert_eq!(stands(&mut process), (Progress::Done, Setback::Unspecified));
    process.submit(web("new", update)).expect("taken");
    assert_eq!(stands(&mut process).0, Progress::UnderWay, "from the moment it is stored");
    process.offer();
    assert_eq!(process.scripts(), ["new", "old", "old", "old"], "one more, and none is ended yet");
    assert_eq!(stands(&mut process).0, Progress::UnderWay);
    process.go_on();
    assert_eq!(process.scripts(), ["new", "new", "new"]);
    assert_eq!(stands(&mut process).0, Progress::Done);
    let view = process.job("web").expect("there");
    assert_eq!(view.tasks.len(), 3, "{view:?}");
    let summary = view.summary.expect("a summary");
    assert_eq!((summary.wanted, summary.running), (3, 3));
}

#[test]
fn an_instance_counts_once_it_was_well_for_long_enough() {
    let update = Update { min_healthy: Duration::from_secs(30), ..Update::DEFAULT };
    let mut process = start();
    process.submit(web("old", update)).expect("taken");
    process.go_on();
    process.harness.advance(Duration::from_secs(31));
    process.submit(web("new", update)).expect("taken");
    process.go_on();
    assert_eq!(process.scripts(), ["new", "old", "old"]);
    process.harness.advance(Duration::from_secs(31));
    process.go_on();
    assert_eq!(process.scripts(), ["new", "new", "old"]);
}

#[test]
fn canaries_wait_for_a_word_also_after_a_restart() {
    let update = Update { canary: 1, ..Update::DEFAULT };
    let mut process = runs(update);
    assert_eq!(process.promote("web").map_err(|refusal| refusal.code), Err(Code::Conflict));
    process.submit(web("new", update)).expect("taken");
    process.go_on();
    assert_eq!(process.scripts(), ["new", "old", "old"]);
    assert_eq!(stands(&mut process).0, Progress::CanaryWaits);
    assert!(held(&mut process).contains("stoa job promote web"), "{}", held(&mut process));
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert_eq!(process.scripts(), ["new", "old", "old"]);
    assert_eq!(stands(&mut process).0, Progress::CanaryWaits);
    assert_eq!(process.promote("web"), Ok(2));
    assert_eq!(stands(&mut process).0, Progress::UnderWay);
    process.go_on();
    assert_eq!(stands(&mut process).0, Progress::Done);
    assert_eq!(process.scripts(), ["new", "new", "new"]);
}

#[test]
fn a_change_is_rolled_back_when_somebody_says_so() {
    let update = Update { canary: 1, ..Update::DEFAULT };
    let mut process = runs(update);
    assert_eq!(process.roll_back("web").map_err(|refusal| refusal.code), Err(Code::Conflict), "to what?");
    process.submit(web("new", update)).expect("taken");
    process.go_on();
    let mut process = process.restart();
    process.harness.run();
    assert_eq!(process.roll_back("web"), Ok(3));
    process.go_on();
    assert_eq!(process.scripts(), ["old", "old", "old"]);
    assert_eq!(process.job("web").expect("there").spec.expect("a spec").argv, ["old"]);
    assert!(process.roll_back("web").is_err(), "it is there");
}

#[test]
fn a_change_that_makes_no_progress_goes_back_by_itself_also_after_a_restart() {
    let deadline = Duration::from_secs(60);
    let update = Update { progress_deadline: deadline, rollback: true, ..Update::DEFAULT };
    let mut process = runs(update);
    process.submit(web("new", update)).expect("taken");
    process.offer();
    assert_eq!(process.scripts(), ["new", "old", "old"], "it never comes up");
    let mut process = process.restart();
    process.harness.run();
    process.harness.advance(deadline);
    assert_eq!(stands(&mut process), (Progress::GoesBack, Setback::Deadline));
    process.go_on();
    assert_eq!(process.scripts(), ["old", "old", "old"]);
    assert_eq!(stands(&mut process), (Progress::RolledBack, Setback::Deadline));
    assert!(held(&mut process).contains("its latest change failed"), "{}", held(&mut process));
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert_eq!(process.scripts(), ["old", "old", "old"], "it is not tried again");
    process.submit(web("third", update)).expect("taken");
    process.go_on();
    assert_eq!(process.scripts(), ["third", "third", "third"]);
    assert_eq!(stands(&mut process), (Progress::Done, Setback::Unspecified));
}

#[test]
fn a_change_that_fails_stays_where_it_is_unless_asked_otherwise() {
    let update = Update { progress_deadline: Duration::from_secs(60), ..Update::DEFAULT };
    let mut process = runs(update);
    process.submit(web("new", update)).expect("taken");
    process.offer();
    process.harness.advance(Duration::from_secs(61));
    process.go_on();
    assert_eq!(process.scripts(), ["new", "old", "old"]);
    assert!(held(&mut process).contains("stays as it is"), "{}", held(&mut process));
    assert_eq!(stands(&mut process), (Progress::Stopped, Setback::Deadline));
    assert_eq!(process.roll_back("web"), Ok(3));
    process.go_on();
    assert_eq!(process.scripts(), ["old", "old", "old"]);
    assert_eq!(stands(&mut process).0, Progress::Done);
    process.stop("web", false).expect("there");
    assert_eq!(stands(&mut process).0, Progress::Unspecified);
}

#[test]
fn a_policy_says_what_is_started_again() {
    let mut process = start();
    for (name, restart_policy) in [("f", RestartPolicy::OnFailure), ("n", RestartPolicy::Never)] {
        process.submit(JobSpec { restart_policy, ..spec(name, Kind::Service, 1) }).expect("taken");
    }
    process.go_on();
    process.report_all(TaskState::Failed, Some(Exit::Code(1)));
    process.harness.advance(Duration::from_secs(2));
    process.go_on();
    let alive = process.harness.alive();
    assert!(alive.len() == 1 && alive[0].starts_with("f.0-"), "{alive:?}");
    process.report_all(TaskState::Finished, Some(Exit::Code(0)));
    process.harness.advance(Duration::from_secs(100));
    process.go_on();
    assert!(process.harness.alive().is_empty(), "it ended well");
    let states = ["f", "n"].map(|name| process.job(name).expect("there").tasks[0].state());
    assert_eq!(states, [wire::TaskState::TaskFinished, wire::TaskState::TaskFailed]);
}

#[test]
fn what_is_started_again_too_often_has_failed_for_good() {
    let mut process = start();
    let give_up = Some(GiveUp { attempts: 2, window: Duration::from_secs(60) });
    process.submit(JobSpec { give_up, ..spec("web", Kind::Service, 1) }).expect("taken");
    // One long ago is not counted.
    for pause in [100, 3, 5] {
        process.go_on();
        assert_eq!(process.harness.alive().len(), 1);
        process.report_all(TaskState::Failed, Some(Exit::Code(1)));
        process = process.restart();
        process.harness.run();
        process.harness.advance(Duration::from_secs(pause));
    }
    process.go_on();
    process.report_all(TaskState::Failed, Some(Exit::Code(1)));
    process.harness.advance(Duration::from_secs(100));
    process.go_on();
    assert!(process.harness.alive().is_empty());
    let task = process.job("web").expect("there").tasks[0].clone();
    assert!(task.last && task.message.contains("2 times within 1m"), "{task:?}");
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert!(process.harness.alive().is_empty(), "a later life knows it");
    process.submit(JobSpec { give_up, cpus_milli: 50, ..spec("web", Kind::Service, 1) }).expect("taken");
    process.go_on();
    assert_eq!(process.harness.alive().len(), 1, "another spec is another thing");
}

#[test]
fn instances_are_spread() {
    let mut process = start();
    process
        .harness
        .master
        .add_agent(framework_sdk::harness::agent("a2", framework_sdk::harness::resources(4000, 4 << 30)));
    let spread = Some(Spread { by: "agent".to_owned(), at_most: Some(1) });
    process.submit(JobSpec { spread, ..spec("web", Kind::Service, 3) }).expect("taken");
    process.go_on();
    let agents: Vec<String> =
        process.job("web").expect("there").tasks.into_iter().map(|task| task.agent_id).collect();
    assert_eq!(agents, ["a1", "a2"], "the third waits");
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert_eq!(process.harness.alive().len(), 2, "a later life knows where they are");
}

#[test]
fn to_have_more_of_it_is_a_change_like_any_other() {
    let mut process = runs(Update::DEFAULT);
    let more = JobSpec { instances: 4, ..web("old", Update::DEFAULT) };
    process.submit(more.clone()).expect("taken");
    assert_eq!(stands(&mut process).0, Progress::UnderWay);
    process.go_on();
    assert_eq!(stands(&mut process).0, Progress::Done);
    // What changes nothing that runs is there at once.
    process.submit(JobSpec { priority: 5, ..more }).expect("taken");
    process.go_on();
    assert_eq!((process.scripts().len(), stands(&mut process).0), (4, Progress::Done));
}

#[test]
fn watchers_are_told_when_the_last_one_is_in_service() {
    let mut process = start();
    let update = Update { min_healthy: Duration::from_secs(30), ..Update::DEFAULT };
    process.submit(web("old", update)).expect("taken");
    process.go_on();
    let mut told = process.watch("web");
    assert_eq!(told.pop().and_then(|event| event.summary).map(|s| s.progress()), Some(Progress::UnderWay));
    process.harness.advance(Duration::from_secs(31));
    let told = process.told();
    assert_eq!(told.last().and_then(|event| event.summary).map(|s| s.progress()), Some(Progress::Done));
}
