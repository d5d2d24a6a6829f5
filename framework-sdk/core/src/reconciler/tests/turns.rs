//! Who is served first when there is not enough for all.

use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto_machine::{Instant, Now, WallTime};

use super::*;
use crate::calls::Calls;
use crate::desired::VolumeSpec;

fn counts(play: &Play) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in play.alive() {
        let group = name.split_once('.').map_or(name.clone(), |(group, _)| group.to_owned());
        *counts.entry(group).or_default() += 1;
    }
    counts
}

#[test]
fn groups_that_are_alike_are_served_in_turn() {
    let mut play = Play::new([]);
    for name in ["a", "b", "c"] {
        play.submit(group(name).count(20));
    }
    play.harness.master.add_agent(zoned("a1", "x"));
    play.offers();
    let counts = counts(&play);
    assert_eq!(counts.values().sum::<usize>(), 10, "the agent is full");
    assert!(counts.values().all(|count| *count >= 3), "{counts:?}");
}

#[test]
fn turns_go_on_from_offer_to_offer() {
    let mut play = Play::new([]);
    for name in ["a", "b"] {
        play.submit(group(name).count(20));
    }
    for n in 0..6 {
        play.harness.master.add_agent(agent(&format!("small{n}"), resources(100, 1 << 30)));
        play.offers();
    }
    assert_eq!(counts(&play), [("a".to_owned(), 3), ("b".to_owned(), 3)].into());
}

#[test]
fn a_higher_priority_goes_first() {
    let mut play = Play::new([]);
    play.submit(group("a").count(20));
    play.submit(group("b").count(4).priority(1));
    play.harness.master.add_agent(zoned("a1", "x"));
    play.offers();
    assert_eq!(counts(&play), [("a".to_owned(), 6), ("b".to_owned(), 4)].into());
    let [demand] = play.harness.master.demands() else { panic!("one group waits") };
    assert_eq!((demand.priority, demand.count), (0, 14));
}

#[test]
fn nobody_is_put_where_it_may_not_be() {
    let mut play = Play::new([]);
    play.submit(group("a").count(5));
    let only = Group::of(spec().only_where("zone", ["y"])).named("b").expect("a name").count(5).priority(9);
    play.submit(only);
    play.harness.master.add_agent(zoned("a1", "x"));
    play.offers();
    assert_eq!(counts(&play), [("a".to_owned(), 5)].into());
}

/// A framework in which more groups wait than may say so, for machines that nobody has.
fn crowded(agents: impl IntoIterator<Item = AgentInfo>) -> Play {
    Play::with(agents, |mut reconciler| {
        let now = Now { monotonic: Instant::default(), wall: WallTime::from_millis(1) };
        for n in 0..1001 {
            let huge = Group::of(spec().cpus_milli(500_000)).named(&format!("huge{n:04}")).expect("a name");
            crate::Scheduler::input(&mut reconciler, now, Order::Submit(huge), &mut Calls::default());
        }
        reconciler
    })
}

#[test]
fn a_higher_priority_goes_first_when_not_all_may_say_what_they_want() {
    let mut play = crowded([zoned("a1", "x")]);
    assert_eq!(play.harness.master.demands().len(), 1000);
    play.submit(group("same"));
    assert!(play.alive().is_empty(), "its turn has not come");
    play.submit(group("urgent").priority(1));
    assert_eq!(play.alive(), ["urgent.0"]);
}

#[test]
fn volumes_are_destroyed_however_many_wait() {
    let room = Amount::scalars(Quantities::of(1000, 4 << 30).with_disk(10 << 30));
    let mut play = crowded([agent("a1", Resources::unreserved(room))]);
    let store = || group("store").priority(1).volume(VolumeSpec::named("data", 1).expect("a name"));
    play.submit(store());
    play.all_run();
    play.order(Order::Purge(store().name().clone()));
    play.wait(10);
    assert!(play.told.iter().any(|told| told.ends_with("Destroyed")), "{:?}", play.told);
}
