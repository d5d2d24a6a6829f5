//! Data that outlives tasks: made with the first one, come back to, and destroyed only when that is asked for.

use std::time::Duration;

use proto::id::AgentId;
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::scheduler::CallKind;
use proto::task::TaskState;

use super::*;
use crate::desired::{Restart, VolumeSpec};

const GIB: u64 = 1 << 30;

/// An agent with room for two.
fn disk_agent(name: &str) -> AgentInfo {
    let all = Amount::scalars(Quantities::of(1000, 4 * GIB).with_disk(10 * GIB));
    agent(name, Resources::unreserved(all))
}

fn data() -> VolumeSpec {
    VolumeSpec::named("data", 4096).expect("a name")
}

fn store(count: u32) -> Group {
    let spec = TaskSpec::shell("store").cpus_milli(500).mem_mib(1024);
    let group = Group::of(spec).named("store").expect("a name").count(count);
    group.restart(Restart::Always).volume(data())
}

fn agent_of(play: &Play, instance: &str) -> String {
    let task = play.harness.master.task(play.task(instance).as_str());
    task.map(|task| task.agent().to_string()).unwrap_or_default()
}

/// The volume that the latest task of an instance has.
fn volume_of(play: &Play, instance: &str) -> String {
    let task = play.harness.master.task(play.task(instance).as_str()).expect("it was started");
    let volume = task.info.resources.portions().iter().find_map(|portion| portion.volume.clone());
    let volume = volume.expect("it has one").to_string();
    assert_eq!(task.info.command.env.get("STOA_VOLUME"), Some(&format!("volumes/{volume}")));
    volume
}

#[test]
fn an_instance_comes_back_to_its_volume_and_runs_nowhere_else() {
    let mut play = Play::new([disk_agent("a1"), disk_agent("a2")]);
    play.submit(store(1));
    play.all_run();
    assert!(play.tells("volume of store.0 Made"));
    let (home, volume) = (agent_of(&play, "store.0"), volume_of(&play, "store.0"));
    for _ in 0..3 {
        play.report("store.0", TaskState::Failed);
        play.wait(60);
        play.all_run();
        assert_eq!((agent_of(&play, "store.0"), volume_of(&play, "store.0")), (home.clone(), volume.clone()));
    }
    play.harness.master.withhold(&home);
    play.report("store.0", TaskState::Failed);
    play.wait(100_000);
    assert!(play.alive().is_empty(), "it waits for its data");
}

#[test]
fn each_has_its_own_and_a_new_life_knows_them() {
    let mut play = Play::new([disk_agent("a1"), disk_agent("a2")]);
    play.submit(store(4));
    assert_eq!(play.alive().len(), 4);
    play.all_run();
    let before: Vec<String> = (0..4).map(|n| volume_of(&play, &format!("store.{n}"))).collect();
    let tasks = play.alive_tasks();
    let mut play = play.restart();
    for task in &tasks {
        play.harness.master.report(task, TaskState::Failed, None);
    }
    play.go();
    play.submit(store(4));
    play.wait(2);
    assert_eq!(play.alive().len(), 4);
    let after: Vec<String> = (0..4).map(|n| volume_of(&play, &format!("store.{n}"))).collect();
    assert_eq!(after, before);
}

#[test]
fn a_volume_that_was_asked_for_and_never_made_is_made_elsewhere() {
    let mut play = Play::new([disk_agent("a1")]);
    let refusal = proto::refusal::Refusal::new(proto::refusal::Code::StaleOffer, "over");
    play.harness.master.refuse_next = Some((|call| matches!(call, CallKind::Accept(_)), refusal));
    play.submit(store(1));
    play.wait(1);
    assert_eq!(play.alive(), ["store.0"]);
    assert_eq!(play.memory.keys().filter(|key| key.starts_with("volume/")).count(), 1);

    // The process dies before its accept is heard.
    let mut play = Play::new([disk_agent("a1")]);
    play.harness.dies_after = Some(1);
    play.submit(store(1));
    let mut play = play.restart();
    play.harness.master.add_agent(disk_agent("a2"));
    play.submit(store(1));
    play.wait(1);
    assert_eq!(play.alive(), ["store.0"]);
}

#[test]
fn a_volume_is_known_to_be_made_by_any_task_that_was_launched_with_it() {
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(1));
    let (task, volume) = (play.task("store.0"), volume_of(&play, "store.0"));
    // The answer to its accept never came, and its task ended before it ran.
    let kept = play.memory.values_mut().find(|kept| kept.contains(" made ")).expect("it is remembered");
    *kept = kept.replace(" made ", " asked ");
    play.harness.master.report(&task, TaskState::Failed, None);
    let mut play = play.restart();
    play.harness.master.hide_volume(&volume);
    play.submit(store(1));
    play.wait(60);
    assert!(play.alive().is_empty(), "it waits for its data");
}

#[test]
fn with_leave_it_begins_anew_and_the_old_volume_is_destroyed_when_it_is_seen() {
    let mut play = Play::new([disk_agent("a1")]);
    let anew = || {
        let group = store(1);
        group.volume(data().anew_after(Duration::from_secs(600)))
    };
    play.submit(anew());
    play.all_run();
    let first = volume_of(&play, "store.0");
    play.harness.master.add_agent(disk_agent("a2"));
    play.harness.master.lose_agent(&AgentId::new("a1").expect("an id"));
    play.declare("store.0", TaskState::Unreachable);
    play.wait(300);
    play.wait(599);
    assert_eq!(agent_of(&play, "store.0"), "a1");
    play.wait(2);
    assert_eq!(agent_of(&play, "store.0"), "a2");
    assert_ne!(volume_of(&play, "store.0"), first);
    assert!(play.tells("volume of store.0 LeftBehind"));
    play.harness.master.return_agent(&AgentId::new("a1").expect("an id"));
    play.go();
    play.wait(10);
    assert!(play.tells("volume of store.0 Destroyed"));
    assert_eq!(play.harness.master.free("a1").scalars.disk_bytes(), 10 * GIB);
}

#[test]
fn a_broken_session_costs_nobody_its_data() {
    let mut play = Play::new([disk_agent("a1"), disk_agent("a2")]);
    play.submit(store(1).volume(data().anew_after(Duration::from_secs(600))));
    play.all_run();
    let volume = volume_of(&play, "store.0");
    let task = play.task("store.0");
    play.harness.master.report(&task, TaskState::Failed, None);
    play.go();
    play.harness.unreachable = true;
    play.harness.break_link();
    play.harness.advance(Duration::from_secs(1000));
    play.keep();
    play.harness.unreachable = false;
    play.wait(60);
    assert_eq!((play.alive().len(), volume_of(&play, "store.0")), (1, volume));
    assert!(!play.tells("volume of store.0 LeftBehind"));
    // What is away once the session stands again is waited for as long as was said.
    let home = agent_of(&play, "store.0");
    play.harness.master.withhold(&home);
    play.report("store.0", TaskState::Failed);
    play.harness.advance(Duration::from_secs(500));
    play.harness.break_link();
    play.wait(599);
    assert!(play.alive().is_empty());
    play.wait(20);
    assert_eq!(play.alive(), ["store.0"]);
}

#[test]
fn a_withdrawn_group_leaves_its_volumes_and_a_purged_one_does_not() {
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(2));
    play.all_run();
    let volume = volume_of(&play, "store.1");
    play.order(Order::Withdraw(store(2).name().clone()));
    assert!(play.alive().is_empty());
    play.submit(store(2));
    assert_eq!(volume_of(&play, "store.1"), volume, "its data is there again");
    play.all_run();
    play.submit(store(1));
    play.order(Order::Purge(store(1).name().clone()));
    play.wait(10);
    assert_eq!(play.told.iter().filter(|told| told.ends_with("Destroyed")).count(), 2, "{:?}", play.told);
    assert_eq!(play.memory.keys().collect::<Vec<_>>(), ["framework"]);
    assert!(play.harness.master.demands().is_empty());
    play.submit(group("other").count(10));
    assert_eq!(play.alive().len(), 10, "nothing is reserved any more");
}

/// The volumes that the latest task of an instance has.
fn volumes_of(play: &Play, instance: &str) -> Vec<String> {
    let task = play.harness.master.task(play.task(instance).as_str()).expect("it was started");
    let volumes = task.info.resources.portions().iter().filter_map(|portion| portion.volume.as_ref());
    let volumes: Vec<String> = volumes.map(ToString::to_string).collect();
    for volume in &volumes {
        let name = if volume.contains(".log-file-") { "STOA_VOLUME_LOG_FILE" } else { "STOA_VOLUME_DATA" };
        assert_eq!(task.info.command.env.get(name), Some(&format!("volumes/{volume}")));
    }
    let first = volumes.iter().find(|volume| volume.contains(".data-")).expect("the first");
    assert_eq!(task.info.command.env.get("STOA_VOLUME"), Some(&format!("volumes/{first}")));
    volumes
}

#[test]
fn several_volumes_are_made_and_come_back_to_and_destroyed_together() {
    let two = || store(1).volume(VolumeSpec::named("log-file", 1024).expect("a name"));
    let mut play = Play::new([disk_agent("a1"), disk_agent("a2")]);
    play.submit(two());
    play.all_run();
    let (home, before) = (agent_of(&play, "store.0"), volumes_of(&play, "store.0"));
    assert_eq!(before.len(), 2, "{before:?}");
    let free = play.harness.master.free(&home).scalars;
    assert_eq!(free.disk_bytes(), 5 * GIB, "4 and 1 GiB are kept");
    play.report("store.0", TaskState::Failed);
    let mut play = play.restart();
    play.submit(two());
    play.wait(2);
    assert_eq!((agent_of(&play, "store.0"), volumes_of(&play, "store.0")), (home.clone(), before));
    play.all_run();
    play.order(Order::Purge(two().name().clone()));
    play.wait(10);
    assert_eq!(play.told.iter().filter(|told| told.ends_with("Destroyed")).count(), 2, "{:?}", play.told);
    assert_eq!(play.memory.keys().collect::<Vec<_>>(), ["framework"]);
    let free = play.harness.master.free(&home).scalars;
    assert_eq!((free.disk_bytes(), free.cpus_milli()), (10 * GIB, 1000), "nothing is reserved any more");
}

#[test]
fn a_framework_that_was_removed_finds_the_volumes_of_its_role_again() {
    let mut play = Play::new([disk_agent("a1"), disk_agent("a2")]);
    play.submit(store(1));
    play.all_run();
    let (home, volume) = (agent_of(&play, "store.0"), volume_of(&play, "store.0"));
    play.harness.master.fault(proto::refusal::Code::FrameworkRemoved);
    play.go();
    assert!(!play.memory.contains_key("framework"));
    let kept = play.memory.get("volume/store.0").cloned().expect("it is remembered");
    assert!(kept.starts_with(&format!("{volume} {home} made")), "{kept}");
}

#[test]
fn a_purge_goes_on_in_the_next_life() {
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(1));
    play.all_run();
    play.harness.master.kills_take_time = true;
    play.order(Order::Purge(store(1).name().clone()));
    let task = play.task("store.0");
    let mut play = play.restart();
    for _ in 0..4 {
        // Its group is not stated, and its task has it still.
        play.wait(10);
    }
    assert!(!play.tells("volume of store.0 Destroyed"));
    assert_eq!(play.harness.master.demands().len(), 1);
    play.harness.master.report(&task, TaskState::Killed, None);
    play.wait(10);
    assert!(play.tells("volume of store.0 Destroyed"));
    let kept = |key: &String| key.starts_with("purge/") || key.starts_with("volume/");
    assert!(!play.memory.keys().any(kept), "{:?}", play.memory);
}

#[test]
fn a_volume_that_is_gone_already_is_not_asked_for_for_ever() {
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(1));
    play.all_run();
    play.harness.master.kills_take_time = true;
    play.order(Order::Purge(store(1).name().clone()));
    let (task, before) = (play.task("store.0"), play.memory.clone());
    play.harness.master.report(&task, TaskState::Killed, None);
    play.go();
    play.wait(10);
    assert!(play.tells("volume of store.0 Destroyed"));
    // The process died before it had kept the answer.
    play.memory = before;
    let mut play = play.restart();
    play.wait(10);
    play.wait(10);
    assert!(play.tells("volume of store.0 Destroyed"));
    assert!(!play.memory.keys().any(|key| key.starts_with("purge/")), "{:?}", play.memory);
    assert!(play.harness.master.demands().is_empty());
}

#[test]
fn one_offer_without_a_volume_does_not_mean_that_it_is_gone() {
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(1));
    play.all_run();
    let volume = volume_of(&play, "store.0");
    play.harness.master.hide_volume(&volume);
    play.order(Order::Purge(store(1).name().clone()));
    assert!(!play.tells("volume of store.0 Destroyed"));
    assert_eq!(play.harness.master.demands().len(), 1);
    play.wait(10);
    assert!(play.tells("volume of store.0 Destroyed"));
    assert!(play.harness.master.demands().is_empty());
}

#[test]
fn a_changed_spec_comes_back_to_the_same_volume() {
    // Its disk has no room for another volume.
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(2));
    play.all_run();
    let before = [volume_of(&play, "store.0"), volume_of(&play, "store.1")];
    let spec = TaskSpec::shell("store 2").cpus_milli(500).mem_mib(1024);
    let group =
        Group::of(spec).named("store").expect("a name").count(2).restart(Restart::Always).volume(data());
    play.submit(group);
    for _ in 0..2 {
        play.all_run();
    }
    assert_eq!(play.alive().len(), 2);
    assert_eq!([volume_of(&play, "store.0"), volume_of(&play, "store.1")], before);
    assert_eq!(play.revisions(), 1);
}

#[test]
fn one_whose_volume_is_not_there_keeps_nobody_else_waiting() {
    let mut play = Play::new([disk_agent("a1")]);
    play.submit(store(2));
    play.all_run();
    let tasks = [play.task("store.0"), play.task("store.1")];
    // The first one's volume is still in somebody's hands.
    let first = volume_of(&play, "store.0");
    play.harness.master.hide_volume(&first);
    for task in &tasks {
        play.harness.master.report(task, TaskState::Failed, None);
    }
    play.go();
    play.wait(2);
    assert_eq!(play.alive(), ["store.1"]);
}

#[test]
fn one_that_there_should_be_again_finds_its_data() {
    let mut play = Play::new([disk_agent("a1"), disk_agent("a2")]);
    play.submit(store(3));
    play.all_run();
    let volume = volume_of(&play, "store.2");
    play.submit(store(1));
    assert_eq!(play.alive(), ["store.0"]);
    play.submit(store(3));
    assert_eq!((play.alive().len(), volume_of(&play, "store.2")), (3, volume));
}
