//! Agents that are to be empty: who moves, who stays, and within which limits.

use std::time::Duration;

use proto::id::AgentId;
use proto::task::TaskState;

use super::*;
use crate::desired::{Restart, RollingChange};

fn a1() -> AgentId {
    AgentId::new("a1").expect("an id")
}

fn service(count: u32) -> Group {
    group("web").count(count).restart(Restart::Always)
}

/// How many live tasks there are on an agent.
fn on(play: &Play, agent: &str) -> usize {
    let ids = play.alive_tasks();
    let tasks = ids.iter().filter_map(|id| play.harness.master.task(id.as_str()));
    tasks.filter(|task| task.agent().as_str() == agent).count()
}

fn drain(play: &mut Play) {
    play.harness.master.drain_agent(&a1(), 0);
    play.go();
    play.offers();
}

/// All of them run on `a1`, and there is room on `b1`.
fn running(group: Group) -> Play {
    let mut play = Play::small();
    play.submit(group);
    play.all_run();
    play.harness.master.add_agent(zoned("b1", "y"));
    play
}

#[test]
fn a_service_moves_one_at_a_time() {
    let mut play = running(service(3));
    drain(&mut play);
    assert!(play.told.contains(&"a1 drains".to_owned()), "{:?}", play.told);
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (2, 1));
    play.wait(100);
    assert_eq!(on(&play, "a1"), 2, "until it runs nobody else is touched");
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (0, 3));
    play.told.clear();
    play.all_run();
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2"]);
}

#[test]
fn with_surge_what_replaces_it_serves_first() {
    let change = RollingChange { surge: 2, max_unavailable: 0, ..RollingChange::DEFAULT };
    let mut play = running(service(2).change(change));
    drain(&mut play);
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (2, 2), "nobody ended yet");
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (0, 2));
    assert_eq!(play.alive(), ["web.0", "web.1"]);
}

#[test]
fn what_ends_by_itself_is_left_to_end_and_what_the_master_ends_goes_elsewhere() {
    let mut play = running(group("batch").count(2));
    drain(&mut play);
    play.wait(100);
    assert_eq!(on(&play, "a1"), 2);
    play.report("batch.0", TaskState::Finished);
    play.report("batch.1", TaskState::Killed);
    assert_eq!(play.alive(), ["batch.1"], "one is done, and nobody wanted the work of the other to end");
    assert_eq!(on(&play, "b1"), 1);
}

#[test]
fn when_the_agent_is_back_the_others_stay() {
    let mut play = running(service(3));
    drain(&mut play);
    play.harness.master.resume_agent(&a1());
    play.go();
    assert!(play.told.contains(&"a1 is back".to_owned()));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (2, 1));
}

#[test]
fn a_new_life_and_a_new_leader_go_on_with_it() {
    let mut play = running(service(3));
    drain(&mut play);
    play.all_run();
    let mut play = play.restart();
    play.submit(service(3));
    assert!(play.told.contains(&"a1 drains".to_owned()));
    play.all_run();
    play.harness.fail_over();
    play.wait(5);
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (0, 3));
}

#[test]
fn who_would_stay_does_not_wait_for_an_agent_that_is_to_be_empty() {
    let mut play = running(service(1).stay(Duration::from_secs(600)));
    drain(&mut play);
    assert_eq!((on(&play, "a1"), on(&play, "b1")), (0, 1));
}
