//! What the guide says of groups, as tests: a reconciler in a pretend pool, where an hour takes milliseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::Reconciler;
use framework_sdk::desired::{Group, Restart, RollingChange, TaskSpec, VolumeSpec};
use framework_sdk::harness::config;
use framework_sdk::quantities::Quantities;
use framework_sdk::reconciler::{Order, Output};
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::task::TaskState;
use framework_sdk::testing::{Agent, Behaviour, Rehearsal};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A reconciler and so many agents, each with room for four tasks and their data.
fn pool(agents: u32) -> Rehearsal<Reconciler> {
    let reconciler = Reconciler::new(config("guide").info, BTreeMap::new(), 1);
    let disk = Resources::unreserved(Amount::scalars(Quantities::ZERO.with_disk(64 << 30)));
    (0..agents).fold(Rehearsal::new("guide", reconciler), |pool, n| {
        pool.agent(Agent::new(&format!("a{n}"), 400, 1 << 30).with(&disk))
    })
}

/// What the author was told since the last time, in words.
fn told(pool: &mut Rehearsal<Reconciler>) -> Vec<String> {
    let outputs = std::mem::take(&mut pool.harness().outputs);
    let events = outputs.into_iter().filter_map(|output| match output {
        Output::Tell(event, _) => Some(event.to_string()),
        Output::Save(_) => None,
    });
    events.collect()
}

fn web(version: &str) -> Group {
    let careful = RollingChange {
        surge: 1,
        max_unavailable: 0,
        min_ready: 10 * SECOND,
        deadline: Some(5 * MINUTE),
        failures: Some(3),
        canary: 1,
        ..RollingChange::DEFAULT
    };
    let spec = TaskSpec::shell("serve").env("VERSION", version);
    Group::of(spec).named("web").expect("a name").count(3).restart(Restart::Always).change(careful)
}

#[test]
fn a_bad_version_takes_nobody_out_of_service() {
    let mut pool = pool(2);
    pool.tell(Order::Submit(web("1")));
    pool.advance(MINUTE);
    pool.behave("web.", Behaviour::Fail(SECOND, 1));
    pool.tell(Order::Submit(web("2")));
    pool.advance(10 * MINUTE);
    assert!(told(&mut pool).last().is_some_and(|last| last.contains("is rolled back: too many")));
    assert_eq!(pool.count(TaskState::Running), 3);
}

#[test]
fn a_canary_waits_for_a_word() {
    let mut pool = pool(2);
    pool.tell(Order::Submit(web("1")));
    pool.advance(MINUTE);
    pool.tell(Order::Submit(web("2")));
    pool.advance(60 * MINUTE);
    assert!(told(&mut pool).last().is_some_and(|last| last.ends_with("waits: its canaries are in service")));
    pool.tell(Order::Promote(web("2").name().clone()));
    pool.advance(5 * MINUTE);
    assert!(told(&mut pool).last().is_some_and(|last| last == "web is as stated"));
}

#[test]
fn a_gang_waits_for_room_for_all_of_it_and_holds_nothing() {
    let mut pool = pool(1);
    let ranks = TaskSpec::shell("rank").cpus_milli(200);
    pool.tell(Order::Submit(Group::of(ranks).named("mpi").expect("a name").count(4).gang()));
    pool.advance(MINUTE);
    assert_eq!((pool.count(TaskState::Running), pool.open_offers()), (0, 0));
    pool.add_agent(Agent::new("late", 400, 1 << 30));
    pool.advance(MINUTE);
    assert_eq!(pool.count(TaskState::Running), 4);
}

#[test]
fn a_broker_comes_back_to_its_data_and_a_purge_leaves_nothing() {
    let mut pool = pool(3);
    let data = VolumeSpec::named("data", 4096).expect("a name");
    let broker = TaskSpec::shell("exec broker --data $STOA_VOLUME").cpus_milli(200);
    let group = Group::of(broker).named("kafka").expect("a name").count(3).at_most(1, "agent").volume(data);
    pool.tell(Order::Submit(group.clone().restart(Restart::Always)));
    pool.until(MINUTE, |pool| pool.count(TaskState::Running) == 3);
    pool.tell(Order::Purge(group.name().clone()));
    pool.advance(MINUTE);
    let destroyed = told(&mut pool).iter().filter(|told| told.ends_with("is destroyed")).count();
    assert_eq!(destroyed, 3);
}

#[test]
fn a_service_leaves_an_agent_that_is_to_be_empty() {
    let mut pool = pool(2);
    pool.tell(Order::Submit(web("1")));
    pool.advance(MINUTE);
    pool.drain_agent("a0", 10 * MINUTE);
    pool.advance(5 * MINUTE);
    let alive = pool.states().into_iter().filter(|(_, state)| *state == TaskState::Running);
    let places: Vec<String> = alive.filter_map(|(task, _)| pool.place(&task)).collect();
    assert_eq!(places, ["a1", "a1", "a1"]);
}
