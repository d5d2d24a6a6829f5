//! Whole histories: true ones are found to be true, and spoilt ones are not.

use tests_history::order::{Explained, explain};
use tests_history::search::{Event, Verdict, search};
use tests_history::spoil::Spoil;
use tests_history::store::{Answer, Asked, Op, search_key, search_keys};
use tests_history::watch::History;

use super::play::{Play, Played};

const LIMIT: u64 = 2_000_000;

/// A hundred clients at fifty keys, and one call in eight without an answer would be too much for each key; one in some is not.
fn played(seed: u64) -> Played {
    let mut play = Play::new(seed, 12, 50);
    play.lost_one_in = 200;
    play.play(3_000)
}

fn both(played: &Played) -> Result<Explained, String> {
    search_keys(&played.ops, LIMIT).map_err(|broken| format!("search: {broken}"))?;
    let last =
        played.ops.iter().filter_map(|op| op.answered.as_ref()).map(|answered| answered.revision).max();
    let history =
        History::of(&played.told, last.unwrap_or(1)).map_err(|broken| format!("watch: {broken}"))?;
    explain(&played.ops, &history).map_err(|broken| format!("order: {broken}"))
}

#[test]
fn what_is_true_is_found_to_be_true_with_answers_that_never_came() {
    let mut sum = Explained::default();
    for seed in 0..20 {
        let explained = both(&played(seed)).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        sum.unknown += explained.unknown;
        sum.unknown_done += explained.unknown_done;
    }
    assert!(sum.unknown_done > 50 && sum.unknown > sum.unknown_done + 10, "{sum:?}");
}

#[test]
fn small_histories_in_which_half_of_the_answers_never_came_are_found_to_be_true() {
    for seed in 0..3_000 {
        let mut play = Play::new(seed, 4, 2);
        play.lost_one_in = 3;
        both(&play.play(24)).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn every_spoilt_history_is_seen_by_the_search_and_by_the_order() {
    for spoil in Spoil::ALL {
        for seed in 0..20 {
            let mut played = played(seed);
            let spoilt =
                spoil.spoil(&mut played.ops, 300).unwrap_or_else(|| panic!("{spoil:?}: no place in {seed}"));
            search_key(&played.ops, spoilt.key, LIMIT).expect_err("it cannot be true");
            let history = History::of(&played.told, 1).expect("what was told is whole");
            explain(&played.ops, &history).expect_err("it cannot be true");
            spoilt.mend(&mut played.ops);
            both(&played).unwrap_or_else(|why| panic!("{spoil:?} in {seed} is mended: {why}"));
        }
    }
}

#[test]
fn two_changes_that_change_their_places_are_seen_by_the_order() {
    for seed in 0..20 {
        let mut played = played(seed);
        let (a, b) = (100, 140);
        let (first, second) = (played.told.changes[a].clone(), played.told.changes[b].clone());
        played.told.changes[a] = tests_history::watch::Change { revision: first.revision, ..second.clone() };
        played.told.changes[b] = tests_history::watch::Change { revision: second.revision, ..first };
        both(&played).expect_err("it cannot be true");
    }
}

#[test]
fn a_read_that_is_old_is_seen_also_where_only_another_key_tells() {
    // One reads a key that nobody changes, at a revision that was passed before it asked: no answer is wrong by itself.
    let mut found = 0;
    for seed in 0..20 {
        let mut played = played(seed);
        let quiet = |op: &Op| matches!((&op.asked, &op.answered), (Asked::Get { stale: false, .. }, Some(_)));
        let at = (1_000..played.ops.len()).find(|at| quiet(&played.ops[*at])).expect("a read");
        let answered = played.ops[at].answered.as_mut().expect("an answer");
        let modified = match &answered.answer {
            Answer::Found(Some(kv)) => kv.modified,
            _ => continue,
        };
        if answered.revision < modified + 30 {
            continue;
        }
        answered.revision = modified;
        found += 1;
        let why = both(&played).expect_err("it is old");
        assert!(why.contains("order"), "{why}");
    }
    assert!(found > 0);
}

#[test]
fn a_history_that_takes_too_long_is_undecided_and_no_better_than_a_wrong_one() {
    // Many puts at once of which nobody knows, and a read of what none of them put.
    let mut events: Vec<Event<tests_history::object::Action>> = (1..=24)
        .map(|value| Event { called: 0, answered: None, action: tests_history::object::Action::Set(value) })
        .collect();
    let action = tests_history::object::Action::Read { value: 99, version: None };
    events.push(Event { called: 1, answered: Some(2), action });
    assert_eq!(search(&tests_history::object::Object, &events, 100_000), Verdict::Undecided);
}
