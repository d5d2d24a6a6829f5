//! One life after another: what an earlier one started goes on, and nothing is started twice.

use proto::scheduler::CallKind;
use proto::task::TaskState;

use super::*;
use crate::desired::{ElasticSet, Restart, RollingChange};

#[test]
fn a_new_life_takes_up_what_the_last_one_left() {
    let mut play = Play::small();
    play.submit(group("web").count(3));
    play.all_run();
    let before = play.alive_tasks();
    for remembers in [true, false] {
        play = play.restart_remembering(remembers);
        assert!(play.tells("web is unclaimed"));
        play.submit(group("web").count(3));
        assert!(play.tells("web is as stated"));
        assert_eq!(play.alive_tasks(), before);
    }
}

#[test]
fn nothing_is_started_before_it_is_known_what_is_there() {
    let mut play = Play::small();
    play.submit(group("web"));
    play.all_run();
    let (now, memory) = (play.harness.now().wall, play.memory.clone());
    let master = play.harness.crash();
    let (config, reconciler) = life(2, &memory);
    let mut harness = Harness::with_master(config, reconciler, master).expect("a harness").at(now);
    harness.input_only(Order::Submit(group("web").count(2)));
    while harness.deliver_one() {
        let learnt = harness.calls.iter().any(|call| matches!(call, CallKind::Reconcile(_)));
        assert!(learnt || harness.master.demands().is_empty());
        harness.master.make_offers();
    }
    harness.run();
    harness.offer();
    assert_eq!(harness.master.accepted.len(), 2, "web.0 is there, web.1 is new");
}

#[test]
fn tasks_that_nobody_states_are_left_alone_until_somebody_says_so() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.submit(group("db"));
    let mut play = play.restart();
    play.submit(group("db"));
    play.wait(1000);
    assert_eq!(play.alive(), ["db.0", "web.0", "web.1"]);
    play.order(Order::Withdraw(group("web").name().clone()));
    assert_eq!(play.alive(), ["db.0"]);
    assert!(play.tells("web is withdrawn"));
}

#[test]
fn exactly_means_no_others_also_of_earlier_lives() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.submit(group("db"));
    let mut play = play.restart();
    play.order(Order::Exactly(vec![group("db")]));
    assert_eq!(play.alive(), ["db.0"]);
}

#[test]
fn what_was_over_stays_over() {
    let batch = || group("batch").count(2).restart(Restart::Never);
    let mut play = Play::small();
    play.submit(batch());
    play.all_run();
    play.report("batch.0", TaskState::Finished);
    let mut play = play.restart();
    play.submit(batch());
    play.wait(100);
    assert_eq!(play.alive(), ["batch.1"]);
    play.report("batch.1", TaskState::Failed);
    assert!(play.tells("batch is over"));
    let mut play = play.restart();
    play.submit(batch());
    play.wait(100);
    assert_eq!(play.harness.master.accepted.len(), 2);
}

#[test]
fn an_end_between_two_lives_counts() {
    let batch = || group("batch").restart(Restart::Never);
    let mut play = Play::small();
    play.submit(batch());
    let (task, now) = (play.task("batch.0"), play.harness.now().wall);
    let mut master = play.harness.crash();
    master.report(&task, TaskState::Failed, None);
    // A life that hears of the end, and does not state the group before it ends as well.
    let play = Play::reborn(2, play.memory, master, now);
    let mut play = play.restart();
    play.submit(batch());
    assert!(play.tells("batch is over"));
    play.wait(100);
    assert_eq!(play.harness.master.accepted.len(), 1);
}

#[test]
fn nothing_is_remembered_of_what_is_not_wanted_any_more() {
    let batch = |count| group("batch").count(count).restart(Restart::Never).stay(std::time::Duration::MAX);
    let mut play = Play::small();
    play.submit(batch(3));
    play.all_run();
    play.report("batch.0", TaskState::Finished);
    play.report("batch.2", TaskState::Finished);
    let mut play = play.restart();
    play.submit(batch(1));
    assert!(
        play.memory.keys().all(|key| key == "framework" || key.ends_with("batch.0")),
        "{:?}",
        play.memory
    );
    assert!(play.memory.contains_key("over/batch.0"));
    play.order(Order::Withdraw(batch(1).name().clone()));
    assert_eq!(play.memory.keys().collect::<Vec<_>>(), ["framework"]);
}

#[test]
fn a_change_goes_on_where_the_last_life_left_it() {
    let change = RollingChange { surge: 1, max_unavailable: 0, ..RollingChange::DEFAULT };
    let new = || Group::of(spec().env("V", "2")).named("web").expect("a name").count(2).change(change);
    let mut play = Play::small();
    play.submit(group("web").count(2).change(change));
    play.all_run();
    play.submit(new());
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2"]);
    let mut play = play.restart();
    play.submit(new());
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2"], "the old ones serve until a new one does");
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((play.alive().len(), play.revisions()), (2, 1));
    assert_eq!(play.harness.master.accepted.len(), 5);
}

#[test]
fn a_group_that_was_changed_between_two_lives_is_changed() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.all_run();
    let mut play = play.restart();
    play.submit(Group::of(spec().env("V", "2")).named("web").expect("a name").count(2));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((play.alive(), play.revisions()), (vec!["web.0".to_owned(), "web.1".to_owned()], 1));
}

#[test]
fn an_elastic_group_keeps_what_runs_until_it_is_aimed() {
    let set = ElasticSet::between(1, 9);
    let mut play = Play::small();
    play.submit(group("pool").elastic(set.clone().aim(5)));
    play.all_run();
    let mut play = play.restart();
    play.submit(group("pool").elastic(set.clone()));
    assert_eq!(play.alive().len(), 5);
    play.order(Order::Aim(group("pool").name().clone(), set.aim(2)));
    assert_eq!(play.alive(), ["pool.0", "pool.1"]);
}

#[test]
fn another_leader_changes_nothing() {
    let mut play = Play::small();
    play.submit(group("web").count(3));
    play.all_run();
    play.harness.fail_over();
    play.wait(5);
    play.report("web.1", TaskState::Failed);
    play.wait(1);
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2"]);
    assert_eq!(play.harness.master.accepted.len(), 4);
}

#[test]
fn the_end_of_the_framework_is_the_end_of_what_is_remembered() {
    let mut play = Play::small();
    play.submit(group("web"));
    assert!(play.memory.contains_key("framework"));
    play.order(Order::Finish);
    assert!(play.tells("ended"));
    assert!(play.memory.is_empty());
}
