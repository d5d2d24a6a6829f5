//! Tasks that share their fate: several that are one instance, and instances that start together or not at all.

use std::time::Duration;

use proto::id::AgentId;
use proto::scheduler::CallKind;
use proto::task::TaskState;

use super::*;
use crate::desired::{Restart, RollingChange, Unreachable};

/// Two tasks, of which the second is beside the first.
fn pod(name: &str) -> Group {
    Group::of(spec().beside("log", TaskSpec::shell("tail"))).named(name).expect("a name")
}

fn part(play: &Play, instance: &str, part: u32) -> TaskId {
    let of =
        |id: &&TaskId| Birth::parse(id).is_some_and(|b| b.instance.to_string() == instance && b.part == part);
    play.harness.master.accepted.iter().rev().find(of).expect("it was started").clone()
}

fn say(play: &mut Play, task: &TaskId, state: TaskState) {
    play.harness.master.report(task, state, None);
    play.go();
    play.offers();
}

#[test]
fn an_instance_that_is_two_tasks_starts_and_runs_as_one() {
    let mut play = Play::small();
    play.submit(pod("web").count(2));
    assert_eq!(play.alive(), ["web.0", "web.0", "web.1", "web.1"]);
    let main = part(&play, "web.0", 0);
    say(&mut play, &main, TaskState::Running);
    let name = pod("web").name().clone();
    let sums = |play: &Play| play.harness.scheduler().sums(&name).expect("it is there");
    assert_eq!((sums(&play).wanted, sums(&play).running), (2, 0), "the other does not run yet");
    play.all_run();
    assert_eq!((sums(&play).running, sums(&play).available), (2, 2));
    play.submit(pod("web").count(1));
    assert_eq!(play.alive(), ["web.0", "web.0"], "both ended");
}

#[test]
fn a_bad_end_of_one_of_them_starts_all_again() {
    let mut play = Play::small();
    play.submit(pod("web"));
    play.all_run();
    let beside = part(&play, "web.0", 1);
    say(&mut play, &beside, TaskState::Failed);
    assert!(play.alive().is_empty(), "what shares its fate has ended, too");
    play.wait(1);
    assert_eq!(play.alive(), ["web.0", "web.0"], "once more, and not twice");
    assert_eq!(play.harness.master.accepted.len(), 4);
}

#[test]
fn a_good_end_of_the_first_is_the_end_of_the_instance() {
    let mut play = Play::small();
    play.submit(pod("web"));
    play.all_run();
    let main = part(&play, "web.0", 0);
    say(&mut play, &main, TaskState::Finished);
    assert!(play.alive().is_empty(), "the one beside it was ended");
    assert!(play.tells("web is over"));
}

#[test]
fn a_new_life_takes_up_instances_of_several_tasks() {
    let mut play = Play::small();
    play.submit(pod("web").count(2));
    play.all_run();
    let mut play = play.restart();
    play.submit(pod("web").count(2));
    assert!(play.tells("web is as stated"));
    assert_eq!(play.harness.master.accepted.len(), 4, "nothing is started twice");
    let beside = part(&play, "web.1", 1);
    say(&mut play, &beside, TaskState::Failed);
    play.wait(1);
    assert_eq!(play.alive().len(), 4);
    let change = Group::of(spec().beside("log", TaskSpec::shell("less"))).named("web").expect("a name");
    play.submit(change.count(2));
    for _ in 0..3 {
        play.all_run();
    }
    assert_eq!((play.alive().len(), play.revisions()), (4, 1));
}

/// So many that start together, each of which half fills a small agent.
fn gang(count: u32) -> Group {
    let spec = TaskSpec::shell("rank").cpus_milli(500);
    Group::of(spec).named("gang").expect("a name").count(count).gang()
}

fn small_agent(name: &str) -> AgentInfo {
    agent(name, resources(1000, 4 << 30))
}

#[test]
fn a_gang_starts_whole_over_several_agents_in_one_call() {
    let mut play = Play::new([small_agent("a1"), small_agent("a2")]);
    play.submit(gang(4));
    assert_eq!(play.alive().len(), 4);
    let accepts: Vec<bool> = play
        .harness
        .calls
        .iter()
        .filter_map(
            |call| if let CallKind::Accept(accept) = call { Some(accept.all_or_nothing) } else { None },
        )
        .collect();
    assert_eq!(accepts, [true]);
}

#[test]
fn a_gang_that_does_not_fit_holds_nothing_and_others_go_on() {
    let mut play = Play::new([small_agent("a1")]);
    play.submit(gang(4));
    assert!(play.alive().is_empty());
    assert_eq!(play.harness.master.open_offers().count(), 0, "nothing is held");
    play.submit(group("another").count(2));
    assert_eq!(play.alive(), ["another.0", "another.1"]);
    play.submit(group("another").count(0));
    play.harness.master.add_agent(small_agent("a2"));
    play.wait(5);
    assert_eq!(play.alive().len(), 4);
}

#[test]
fn a_gang_that_waits_asks_again_in_its_own_time() {
    let mut play = Play::new([small_agent("a1")]);
    play.submit(gang(4));
    let revives =
        |play: &Play| play.harness.calls.iter().filter(|call| matches!(call, CallKind::Revive(_))).count();
    let before = revives(&play);
    play.wait(5);
    assert_eq!(revives(&play), before + 1);
    let mut declined = play.harness.calls.iter().filter_map(|call| {
        if let CallKind::Decline(decline) = call { Some(decline.filter.refuse) } else { None }
    });
    assert!(
        declined.next_back().is_some_and(|refuse| refuse > Duration::from_secs(5)),
        "until then others have it"
    );
}

#[test]
fn when_one_of_a_gang_fails_all_start_again_together() {
    let mut play = Play::new([small_agent("a1"), small_agent("a2")]);
    play.submit(gang(4));
    play.all_run();
    play.report("gang.2", TaskState::Failed);
    assert!(play.alive().is_empty());
    play.wait(1);
    assert_eq!((play.alive().len(), play.harness.master.accepted.len()), (4, 8));
    play.all_run();
    play.submit(gang(3));
    assert_eq!(play.alive(), ["gang.0", "gang.1", "gang.2"], "the others need not start again to be fewer");
}

#[test]
fn a_gang_that_lost_two_agents_starts_anew_elsewhere() {
    let patience = Unreachable::WaitUpTo(Duration::from_secs(60));
    let mut play = Play::new([small_agent("a1"), small_agent("a2")]);
    play.submit(gang(4).unreachable(patience));
    play.all_run();
    let before = play.alive_tasks();
    for name in ["a3", "a4"] {
        play.harness.master.add_agent(small_agent(name));
    }
    for name in ["a1", "a2"] {
        play.harness.master.lose_agent(&AgentId::new(name).expect("an id"));
        play.go();
        play.wait(10);
    }
    play.wait(70);
    let new = play.alive_tasks().into_iter().filter(|task| !before.contains(task)).count();
    assert_eq!(new, 4);
}

#[test]
fn what_would_start_a_part_of_a_gang_says_nothing() {
    let mut play = Play::new([small_agent("a1"), small_agent("a2")]);
    let stated = || gang(4).parallel(2).stay(Duration::from_secs(600)).restart(Restart::Always);
    play.submit(stated());
    assert_eq!(play.alive().len(), 4);
    play.all_run();
    play.report("gang.2", TaskState::Failed);
    play.wait(1);
    assert_eq!((play.alive().len(), play.harness.master.accepted.len()), (4, 8));
}

#[test]
fn a_gang_with_a_volume_is_refused() {
    let mut play = Play::new([small_agent("a1")]);
    let volume = crate::desired::VolumeSpec::named("data", 1).expect("a name");
    play.submit(gang(2).volume(volume));
    assert!(play.tells("refused gang"), "{:?}", play.told);
    assert!(play.alive().is_empty() && play.harness.master.demands().is_empty());
    play.submit(gang(2));
    assert_eq!(play.alive().len(), 2);
}

#[test]
fn a_gang_changes_as_a_whole() {
    let mut play = Play::new([small_agent("a1"), small_agent("a2")]);
    play.submit(gang(4));
    play.all_run();
    let spec = TaskSpec::shell("rank").cpus_milli(500).env("VERSION", "2");
    let change = RollingChange { surge: 1, max_unavailable: 0, ..RollingChange::DEFAULT };
    play.submit(Group::of(spec).named("gang").expect("a name").count(4).gang().change(change));
    assert_eq!((play.alive().len(), play.revisions()), (4, 1));
}

#[test]
fn one_that_fails_for_good_takes_its_gang_with_it() {
    let mut play = Play::new([small_agent("a1"), small_agent("a2")]);
    play.submit(gang(4).restart(Restart::Never));
    play.all_run();
    play.report("gang.1", TaskState::Finished);
    assert_eq!(play.alive().len(), 3, "one that is done leaves the others alone");
    play.report("gang.2", TaskState::Failed);
    assert!(play.alive().is_empty());
    assert!(play.tells("gang is over"));
    play.wait(1000);
    assert_eq!(play.harness.master.accepted.len(), 4);
}

#[test]
fn a_gang_that_is_too_large_for_one_call_is_refused() {
    let mut play = Play::small();
    play.submit(gang(1001));
    assert!(play.tells("refused gang"));
    assert!(play.harness.master.demands().is_empty());
}
