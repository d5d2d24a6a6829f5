//! What is stated changes: more, fewer, otherwise, gone; and how a running group gets there.

use std::time::Duration;

use proto::task::TaskState;

use super::*;
use crate::desired::{ElasticSet, InstanceName, RollingChange};

fn changed(name: &str) -> Group {
    Group::of(spec().env("VERSION", "2")).named(name).expect("a name")
}

const TEN: Duration = Duration::from_secs(10);

fn kills(play: &Play) -> usize {
    use proto::scheduler::CallKind;
    play.harness.calls.iter().filter(|call| matches!(call, CallKind::Kill(_))).count()
}

#[test]
fn more_are_started_and_surplus_ones_are_ended() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.all_run();
    play.submit(group("web").count(4));
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2", "web.3"]);
    assert_eq!(kills(&play), 0, "whoever runs is left alone");
    play.submit(group("web").count(1));
    assert_eq!(play.alive(), ["web.0"]);
    play.submit(group("web").count(0));
    assert!(play.alive().is_empty());
}

#[test]
fn a_group_is_withdrawn_and_others_go_on() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.submit(group("db"));
    play.order(Order::Withdraw(group("web").name().clone()));
    assert_eq!(play.alive(), ["db.0"]);
    assert!(play.tells("web is withdrawn"));
    play.order(Order::Exactly(vec![group("cache")]));
    assert_eq!(play.alive(), ["cache.0"]);
}

#[test]
fn stating_the_same_again_changes_nothing() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.all_run();
    let calls = play.harness.calls.len();
    play.submit(group("web").count(2));
    assert_eq!(play.harness.calls.len(), calls);
}

#[test]
fn a_changed_spec_rolls_one_at_a_time() {
    let mut play = Play::small();
    play.submit(group("web").count(3));
    play.all_run();
    play.submit(changed("web").count(3));
    assert_eq!((kills(&play), play.harness.master.accepted.len()), (1, 4), "one was ended and started again");
    play.wait(100);
    assert_eq!(kills(&play), 1, "until it runs nobody else is touched");
    for round in 2..=3 {
        play.all_run();
        assert_eq!(kills(&play), round);
    }
    play.told.clear();
    play.all_run();
    assert!(play.tells("web is as stated"));
    assert_eq!((kills(&play), play.revisions()), (3, 1));
}

#[test]
fn a_new_spec_that_does_not_start_stops_the_change() {
    let mut play = Play::small();
    play.submit(group("web").count(3));
    play.all_run();
    play.submit(changed("web").count(3));
    for _ in 0..5 {
        play.report("web.0", TaskState::Failed);
        play.wait(60);
    }
    assert_eq!(kills(&play), 1, "two of three serve on");
}

#[test]
fn what_serves_nobody_is_replaced_at_once() {
    let mut play = Play::small();
    play.submit(group("web").count(3));
    play.submit(changed("web").count(3));
    assert_eq!(kills(&play), 3, "none of them ran yet");
    assert_eq!((play.alive().len(), play.revisions()), (3, 1));
}

#[test]
fn with_surge_one_above_the_number_serves_before_an_old_one_ends() {
    let change = RollingChange { surge: 1, max_unavailable: 0, min_ready: TEN, ..RollingChange::DEFAULT };
    let mut play = Play::small();
    play.submit(group("web").count(2).change(change));
    play.all_run();
    play.wait(10);
    assert!(play.tells("web is as stated"));
    play.submit(changed("web").count(2).change(change));
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2"]);
    play.all_run();
    play.wait(9);
    assert_eq!(kills(&play), 0, "it does not count as in service yet");
    play.wait(1);
    assert_eq!((kills(&play), play.alive().len()), (1, 3));
    play.all_run();
    play.wait(10);
    assert_eq!((kills(&play), play.alive().len()), (2, 3), "the next one");
    play.all_run();
    play.wait(10);
    assert_eq!((play.alive(), play.revisions()), (vec!["web.0".to_owned(), "web.1".to_owned()], 1));
    assert!(play.tells("web is as stated"));
}

#[test]
fn one_above_the_number_that_fails_leaves_the_old_one_alone() {
    let change = RollingChange { surge: 1, max_unavailable: 0, ..RollingChange::DEFAULT };
    let mut play = Play::small();
    play.submit(group("web").change(change));
    play.all_run();
    let old = play.task("web.0");
    play.submit(changed("web").change(change));
    for _ in 0..4 {
        play.report("web.1", TaskState::Failed);
        assert_eq!(play.alive_tasks(), std::slice::from_ref(&old));
        play.wait(60);
    }
    play.all_run();
    play.all_run();
    assert_eq!((play.alive(), play.revisions(), kills(&play)), (vec!["web.0".to_owned()], 1, 2));
}

#[test]
fn a_spec_that_changes_in_the_middle_of_a_change_is_the_one_that_counts() {
    let change = RollingChange { surge: 1, max_unavailable: 0, ..RollingChange::DEFAULT };
    let mut play = Play::small();
    play.submit(group("web").change(change));
    play.all_run();
    play.submit(changed("web").change(change));
    let third = Group::of(spec().env("VERSION", "3")).named("web").expect("a name").change(change);
    play.submit(third.clone());
    assert_eq!(play.alive(), ["web.0", "web.1"], "the second one never ran");
    play.all_run();
    play.all_run();
    assert_eq!(play.alive(), ["web.0"]);
    assert_eq!(
        Birth::parse(&play.alive_tasks()[0]).map(|birth| birth.revision),
        Some(third.spec().revision())
    );
}

#[test]
fn a_spec_that_can_never_run_stops_the_change_at_the_first() {
    let mut play = Play::small();
    play.submit(group("web").count(3));
    play.all_run();
    play.submit(changed("web").count(3));
    play.report("web.0", TaskState::Error);
    play.wait(100);
    assert_eq!(play.alive(), ["web.1", "web.2"], "one is over and should not be");
}

#[test]
fn some_that_there_should_be_no_more_serve_until_the_others_have_changed() {
    let change = RollingChange { surge: 1, max_unavailable: 0, ..RollingChange::DEFAULT };
    let mut play = Play::small();
    play.submit(group("web").count(3).change(change));
    play.all_run();
    play.submit(changed("web").count(2).change(change));
    assert_eq!((kills(&play), play.alive()), (1, vec!["web.0".into(), "web.1".into(), "web.2".into()]));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((play.alive(), play.revisions()), (vec!["web.0".to_owned(), "web.1".to_owned()], 1));
    assert_eq!(play.harness.master.accepted.len(), 5, "none was started above the number");
}

#[test]
fn the_owner_takes_the_work_away_before_an_instance_ends() {
    let mut play = Play::small();
    let drained = |count| group("web").count(count).drain(Duration::from_secs(30));
    play.submit(drained(3));
    play.all_run();
    play.submit(drained(1));
    assert!(play.told.contains(&"drain web.1".to_owned()) && play.told.contains(&"drain web.2".to_owned()));
    assert_eq!(play.alive().len(), 3);
    play.order(Order::Drained(play.task("web.1")));
    assert_eq!(play.alive(), ["web.0", "web.2"]);
    play.wait(29);
    assert_eq!(play.alive(), ["web.0", "web.2"]);
    play.wait(1);
    assert_eq!(play.alive(), ["web.0"], "the time is over");
}

#[test]
fn an_elastic_group_follows_its_aim_within_its_bounds() {
    let mut play = Play::small();
    let set = ElasticSet::between(1, 4);
    let pool = group("pool").elastic(set.clone());
    play.submit(pool.clone());
    assert_eq!(play.alive(), ["pool.0"]);
    play.order(Order::Aim(pool.name().clone(), set.clone().aim(9)));
    assert_eq!(play.alive(), ["pool.0", "pool.1", "pool.2", "pool.3"]);
    play.all_run();
    play.report("pool.1", TaskState::Finished);
    play.wait(1);
    assert_eq!(play.alive().len(), 4, "as long as four are aimed at, one that ends is started again");
    play.order(Order::Aim(pool.name().clone(), set.aim(3)));
    assert_eq!(play.alive(), ["pool.0", "pool.2", "pool.3"], "the one that does not run yet");
    play.order(Order::Release(InstanceName::parse("pool.2").expect("a name")));
    assert_eq!(play.alive(), ["pool.0", "pool.3"], "whom the owner lets go is not replaced");
}
