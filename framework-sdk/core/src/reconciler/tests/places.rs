//! Where instances go: spread, at most so many, back to where they were.

use std::time::Duration;

use proto::attributes::Predicate;
use proto::task::TaskState;

use super::*;
use crate::desired::Restart;

/// How many live tasks there are in each zone.
fn zones(play: &Play) -> BTreeMap<String, usize> {
    let mut zones = BTreeMap::new();
    for id in play.alive_tasks() {
        let agent =
            play.harness.master.task(id.as_str()).map(|task| task.agent().to_string()).unwrap_or_default();
        let zone = if agent.starts_with('a') { "x" } else { "y" };
        *zones.entry(zone.to_owned()).or_default() += 1;
    }
    zones
}

fn agent_of(play: &Play, instance: &str) -> String {
    play.harness
        .master
        .task(play.task(instance).as_str())
        .map(|task| task.agent().to_string())
        .unwrap_or_default()
}

#[test]
fn a_spread_group_is_even_though_one_agent_has_room_for_all() {
    let mut play = Play::new([zoned("a1", "x"), zoned("a2", "x"), zoned("b1", "y")]);
    play.submit(group("web").count(4).spread("zone"));
    assert_eq!(zones(&play).values().copied().collect::<Vec<_>>(), [1, 1], "more zones may come");
    play.wait(1);
    assert_eq!(zones(&play).values().copied().collect::<Vec<_>>(), [2, 2], "none came");
    assert_eq!(play.alive().len(), 4);
}

#[test]
fn a_spread_group_takes_what_there_is_rather_than_wait() {
    let mut play = Play::new([zoned("a1", "x")]);
    play.submit(group("web").count(3).spread("zone"));
    assert_eq!(play.alive().len(), 1);
    play.wait(1);
    assert_eq!(play.alive().len(), 3);
}

#[test]
fn at_most_so_many_share_a_value_and_more_wait() {
    let mut play = Play::new([zoned("a1", "x"), zoned("a2", "x")]);
    play.submit(group("web").count(3).at_most(1, "agent"));
    assert_eq!(play.alive(), ["web.0", "web.1"]);
    play.wait(1000);
    assert_eq!(play.alive().len(), 2);
    let [demand] = play.harness.master.demands() else { panic!("one waits") };
    let Predicate::NotIn(full) = &demand.constraints.0[0].predicate else { panic!("{demand:?}") };
    assert_eq!(full, &["a1", "a2"], "no offer comes that could not be used");
    play.harness.master.add_agent(zoned("a3", "x"));
    play.offers();
    assert_eq!(play.alive().len(), 3);
}

fn prefers(rules: &[&str]) -> Group {
    let parse = |rule: &&str| proto::attributes::Constraint::parse(rule).expect("a rule");
    rules.iter().map(parse).fold(group("web"), Group::prefer)
}

#[test]
fn agents_of_which_all_preferences_hold_are_taken_first_and_then_any() {
    let mut play = Play::new([zoned("a1", "x"), zoned("b1", "y")]);
    play.submit(prefers(&["zone=y", "!gpu"]).count(12));
    assert_eq!(zones(&play), BTreeMap::from([("y".to_owned(), 10)]), "a first agent that fits better waits");
    play.wait(1);
    play.wait(1);
    assert_eq!(zones(&play), BTreeMap::from([("x".to_owned(), 2), ("y".to_owned(), 10)]));
}

#[test]
fn rules_that_do_not_hold_together_are_given_up_from_the_last_on_a_second_each() {
    let mut play = Play::new([zoned("a1", "x"), zoned("b1", "y")]);
    play.submit(prefers(&["zone=z", "zone=y", "zone=x"]).count(2));
    for _ in 0..2 {
        assert!(play.alive().is_empty());
        play.wait(1);
    }
    assert!(play.alive().is_empty(), "nobody is in zone z");
    play.wait(1);
    assert_eq!(play.alive().len(), 2, "anywhere");
    play.submit(group("web").count(0));
    play.submit(prefers(&["zone=y", "zone=x"]).count(2));
    play.wait(1);
    assert_eq!(zones(&play), BTreeMap::from([("y".to_owned(), 2)]), "the first rule weighs most");
    assert_eq!(play.harness.master.demands().len(), 0);
}

#[test]
fn a_changed_preference_leaves_what_runs_and_holds_for_what_is_started() {
    let mut play = Play::new([zoned("a1", "x"), zoned("b1", "y")]);
    play.submit(prefers(&["zone=x"]).count(2).restart(Restart::Always));
    play.all_run();
    let before = play.alive_tasks();
    play.submit(prefers(&["zone=y"]).count(2).restart(Restart::Always));
    play.all_run();
    assert_eq!(play.alive_tasks(), before);
    play.report("web.0", TaskState::Failed);
    play.wait(1);
    assert_eq!((agent_of(&play, "web.0").as_str(), agent_of(&play, "web.1").as_str()), ("b1", "a1"));
}

#[test]
fn an_even_spread_goes_before_a_preference() {
    let mut play = Play::new([zoned("a1", "x"), zoned("b1", "y")]);
    play.submit(prefers(&["zone=y"]).count(4).spread("zone"));
    for _ in 0..3 {
        play.wait(1);
    }
    assert_eq!(zones(&play), BTreeMap::from([("x".to_owned(), 2), ("y".to_owned(), 2)]));
}

#[test]
fn the_limit_holds_over_lives() {
    let mut play = Play::new([zoned("a1", "x"), zoned("a2", "x")]);
    let web = || group("web").count(3).at_most(1, "zone");
    play.submit(web());
    play.all_run();
    assert_eq!(play.alive().len(), 1);
    let mut play = play.restart();
    play.submit(web());
    play.wait(100);
    assert_eq!(play.alive().len(), 1, "what is remembered says which zone it is in");
}

#[test]
fn an_instance_goes_back_to_where_it_was_if_it_can_in_time() {
    let mut play = Play::new([zoned("a1", "x"), zoned("b1", "y")]);
    let web = || group("web").restart(Restart::Always).stay(Duration::from_secs(30));
    play.submit(group("filler").count(10));
    play.submit(web());
    assert_eq!(agent_of(&play, "web.0"), "b1", "the other one is full");
    play.submit(group("filler").count(0));
    play.all_run();
    play.report("web.0", TaskState::Failed);
    play.wait(1);
    assert_eq!(agent_of(&play, "web.0"), "b1");
    assert_eq!(play.alive(), ["web.0"]);

    // Its home is taken by others while it rests.
    play.all_run();
    play.harness.master.withhold("b1");
    play.report("web.0", TaskState::Failed);
    play.wait(2);
    play.wait(29);
    assert!(play.alive().is_empty(), "it waits for its home");
    play.wait(1);
    assert_eq!(agent_of(&play, "web.0"), "a1");
}

#[test]
fn a_home_is_remembered_over_lives() {
    let mut play = Play::new([zoned("a1", "x"), zoned("b1", "y")]);
    let web = || group("web").restart(Restart::Always).stay(Duration::from_secs(30));
    play.submit(group("filler").count(10));
    play.submit(web());
    play.submit(group("filler").count(0));
    play.all_run();
    let task = play.task("web.0");
    let mut master = play.harness.crash();
    master.report(&task, TaskState::Failed, None);
    let now = proto_machine::WallTime::from_millis(1_700_000_100_000);
    let mut play = Play::reborn(2, play.memory, master, now);
    play.submit(web());
    play.wait(2);
    assert_eq!(agent_of(&play, "web.0"), "b1");
}
