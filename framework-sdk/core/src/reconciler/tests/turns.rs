//! Who is served first when there is not enough for all.

use super::*;

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
