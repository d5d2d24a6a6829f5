//! Guarded changes: they wait for a word, they fail, they go back, and they do so over lives.

use std::time::Duration;

use proto::task::TaskState;

use super::*;
use crate::desired::{Restart, RollingChange};

const GUARDED: RollingChange =
    RollingChange { deadline: Some(Duration::from_secs(120)), failures: Some(3), ..RollingChange::DEFAULT };

const CANARY: RollingChange = RollingChange { canary: 1, ..GUARDED };

fn version(version: u32) -> TaskSpec {
    spec().env("VERSION", version.to_string())
}

fn web(at: u32, change: RollingChange) -> Group {
    let group = Group::of(version(at)).named("web").expect("a name");
    group.count(3).change(change).restart(Restart::Always)
}

/// Three that serve in the first version.
fn serving(change: RollingChange) -> Play {
    let mut play = Play::small();
    play.submit(web(1, change));
    play.all_run();
    assert!(play.tells("web is as stated"));
    play
}

fn name() -> crate::desired::GroupName {
    web(1, GUARDED).name().clone()
}

/// How many live tasks are of a version.
fn of_version(play: &Play, at: u32) -> usize {
    let revision = version(at).revision();
    let births = play.alive_tasks().into_iter().filter_map(|id| Birth::parse(&id));
    births.filter(|birth| birth.revision == revision).count()
}

#[test]
fn a_change_tells_how_it_begins_and_ends() {
    let mut play = serving(RollingChange::DEFAULT);
    play.submit(web(2, RollingChange::DEFAULT));
    assert!(play.told.contains(&"change of web has begun".to_owned()), "{:?}", play.told);
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!(of_version(&play, 2), 3);
    let ends: Vec<&str> = play.told.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(ends, ["web is as stated", "change of web is done"]);
    assert_eq!(
        play.memory.keys().collect::<Vec<_>>(),
        ["framework"],
        "nothing can fail, nothing is remembered"
    );
}

#[test]
fn too_many_failures_in_a_row_go_back() {
    let mut play = serving(GUARDED);
    play.submit(web(2, GUARDED));
    for _ in 0..2 {
        play.report("web.0", TaskState::Failed);
        play.wait(5);
    }
    assert_eq!(of_version(&play, 2), 1, "it is tried again");
    play.report("web.0", TaskState::Failed);
    assert!(play.told.contains(&"change of web goes back: too many of its tasks failed in a row".to_owned()));
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (3, 0), "the first version at once");
    play.all_run();
    assert!(play.tells("change of web is rolled back: too many of its tasks failed in a row"));
    play.wait(1000);
    assert_eq!(of_version(&play, 1), 3, "it is not tried again");
    play.report("web.1", TaskState::Failed);
    play.wait(60);
    assert_eq!(of_version(&play, 1), 3, "who fails is started again as it was");
}

#[test]
fn a_change_that_does_not_come_forward_in_time_goes_back() {
    let mut play = serving(GUARDED);
    play.submit(web(2, GUARDED));
    play.wait(119);
    assert_eq!(of_version(&play, 2), 1);
    play.all_run();
    play.wait(119);
    assert_eq!(of_version(&play, 2), 2, "one more came into service");
    play.wait(1);
    assert!(
        play.told.contains(&"change of web goes back: no instance more came into service in time".to_owned())
    );
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((of_version(&play, 1), play.alive().len()), (3, 3));
    assert!(play.tells("change of web is rolled back: no instance more came into service in time"));
}

#[test]
fn a_canary_waits_until_it_is_promoted() {
    let mut play = serving(CANARY);
    play.submit(web(2, CANARY));
    play.all_run();
    assert!(play.tells("change of web waits: its canaries are in service"));
    play.wait(1000);
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (2, 1), "it has no deadline while it waits");
    play.report("web.2", TaskState::Failed);
    play.wait(60);
    play.all_run();
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (2, 1), "who is no canary stays as it was");
    play.order(Order::Promote(name()));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!(of_version(&play, 2), 3);
    assert!(play.tells("change of web is done"));
}

#[test]
fn a_canary_with_surge_runs_beside_as_many_as_before() {
    let change = RollingChange { surge: 1, max_unavailable: 0, ..CANARY };
    let mut play = serving(change);
    play.submit(web(2, change));
    assert_eq!(play.alive().len(), 4);
    play.all_run();
    play.all_run();
    assert!(play.tells("change of web waits: its canaries are in service"));
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (2, 1));
}

#[test]
fn a_canary_that_is_abandoned_goes_back() {
    let mut play = serving(CANARY);
    play.submit(web(2, CANARY));
    play.all_run();
    play.order(Order::Abandon(name()));
    play.all_run();
    assert_eq!(of_version(&play, 1), 3);
    assert!(play.tells("change of web is rolled back: it was abandoned"));
}

#[test]
fn a_canary_that_fails_while_it_waits_goes_back() {
    let mut play = serving(CANARY);
    play.submit(web(2, CANARY));
    for _ in 0..3 {
        play.all_run();
        play.report("web.0", TaskState::Failed);
        play.wait(5);
    }
    play.all_run();
    assert_eq!(of_version(&play, 1), 3);
}

#[test]
fn a_canary_waits_over_lives() {
    let mut play = serving(CANARY);
    play.submit(web(2, CANARY));
    play.all_run();
    let mut play = play.restart();
    play.submit(web(2, CANARY));
    play.wait(1000);
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (2, 1));
    assert!(play.tells("change of web waits: its canaries are in service"), "it is asked again");
    play.order(Order::Promote(name()));
    let mut play = play.restart();
    play.submit(web(2, CANARY));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!(of_version(&play, 2), 3, "the word is remembered");
}

#[test]
fn a_new_life_that_changes_at_once_knows_what_was_good() {
    let mut play = serving(CANARY).restart();
    play.report("web.0", TaskState::Failed);
    play.submit(web(1, CANARY));
    // Before all serve again.
    play.submit(web(2, CANARY));
    play.wait(5);
    play.all_run();
    play.report("web.2", TaskState::Failed);
    play.wait(60);
    play.all_run();
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (2, 1), "who is no canary stays as it was");
    play.order(Order::Abandon(name()));
    play.all_run();
    assert_eq!(of_version(&play, 1), 3);
}

#[test]
fn a_spec_that_failed_is_not_tried_again_by_the_next_life() {
    let mut play = serving(GUARDED);
    play.submit(web(2, GUARDED));
    for _ in 0..3 {
        play.report("web.0", TaskState::Failed);
        play.wait(5);
    }
    play.all_run();
    assert_eq!(of_version(&play, 1), 3);
    let mut play = play.restart();
    play.submit(web(2, GUARDED).previous(version(1)));
    play.report("web.1", TaskState::Failed);
    play.wait(60);
    play.all_run();
    assert_eq!(of_version(&play, 1), 3);
    assert!(play.tells("change of web is rolled back: too many of its tasks failed in a row"));
    // What is stated otherwise is another thing.
    play.submit(web(3, GUARDED).previous(version(1)));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!(of_version(&play, 3), 3);
    play.submit(web(2, GUARDED));
    assert_eq!(of_version(&play, 2), 1, "it may be tried anew");
}

#[test]
fn without_the_spec_before_a_failed_change_stops_where_it_is() {
    let play = serving(GUARDED);
    let mut play = play.restart();
    play.submit(web(2, GUARDED));
    for _ in 0..3 {
        play.report("web.0", TaskState::Failed);
        play.wait(5);
    }
    assert!(play.tells("change of web has stopped: too many of its tasks failed in a row"));
    play.wait(1000);
    assert_eq!(of_version(&play, 1), 2, "nobody else is touched");
}

#[test]
fn one_that_should_not_go_back_stops() {
    let change = RollingChange { back: false, ..GUARDED };
    let mut play = serving(change);
    play.submit(web(2, change));
    play.wait(121);
    assert!(play.tells("change of web has stopped: no instance more came into service in time"));
    assert_eq!((of_version(&play, 1), of_version(&play, 2)), (2, 1));
}

#[test]
fn stating_what_was_good_ends_a_change() {
    let mut play = serving(GUARDED);
    play.submit(web(2, GUARDED));
    play.submit(web(1, GUARDED));
    play.all_run();
    assert_eq!(of_version(&play, 1), 3);
    assert!(play.tells("web is as stated"));
    play.order(Order::Withdraw(name()));
    assert_eq!(play.memory.keys().collect::<Vec<_>>(), ["framework"]);
}

/// It says of itself when it is ready.
fn checked(at: u32, change: RollingChange) -> Group {
    let check = proto::check::Check::shell("true");
    let group = Group::of(version(at).readiness(check)).named("web").expect("a name");
    group.count(3).change(change).restart(Restart::Always)
}

fn say_ready(play: &mut Play, instance: &str, ready: bool) {
    let task = play.task(instance);
    play.harness.master.report_checks(&task, None, Some(ready));
    play.go();
    play.offers();
}

#[test]
fn who_has_a_readiness_check_serves_once_it_is_ready() {
    let min_ready = Duration::from_secs(10);
    let change = RollingChange { min_ready, ..GUARDED };
    let mut play = Play::small();
    play.submit(checked(1, change));
    play.all_run();
    let name = name();
    let available = |play: &Play| play.harness.scheduler().sums(&name).expect("it is there").available;
    play.wait(60);
    assert_eq!(available(&play), 0, "they run and are not ready");
    for instance in ["web.0", "web.1", "web.2"] {
        say_ready(&mut play, instance, true);
    }
    play.wait(9);
    assert_eq!(available(&play), 0);
    play.wait(1);
    assert_eq!(available(&play), 3);
    play.submit(checked(2, change));
    play.all_run();
    play.wait(60);
    assert_eq!(available(&play), 2, "until it is ready nobody else is touched");
    say_ready(&mut play, "web.0", true);
    play.wait(5);
    say_ready(&mut play, "web.0", false);
    say_ready(&mut play, "web.0", true);
    play.wait(9);
    assert_eq!(available(&play), 2, "it has to be ready for all that time");
    play.wait(1);
    play.all_run();
    assert_eq!(available(&play), 2, "the next one");
}
