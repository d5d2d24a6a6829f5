//! A bug that is put in on purpose is found with few faults. In a process of its own: such a bug is there for good.
#![cfg(feature = "mutants")]

use proto_machine::mutants::{Mutant, plant};
use tests_sim::check::promise_of;
use tests_sim::run::{judged, trimmed};
use tests_sim::shrink::shrink;
use tests_sim::trim::Trim;

#[test]
fn of_many_faults_few_are_left_and_they_break_the_same_promise() {
    plant(Mutant::TakeUnsynced);
    // Of those that are caught at once there are hardly any faults to leave out.
    let late = |how: &String| {
        how.split_once("s: ").and_then(|(at, _)| at.parse::<f64>().ok()).is_some_and(|at| at > 10.0)
    };
    let caught = |seed: &u64| judged(*seed, false).err().is_some_and(|how| late(&how));
    let seed = (1..200).find(caught).expect("it is caught");
    let how = judged(seed, false).expect_err("it breaks a promise");
    let shrunk = shrink(seed, Trim::default(), |_| {}).expect("it breaks a promise");
    assert_eq!(promise_of(&shrunk.how), promise_of(&how), "{shrunk}");
    assert!(shrunk.faults.len() <= 3 && shrunk.faults.len() < shrunk.of, "{shrunk}");
    // The line that is printed repeats it.
    assert_eq!(trimmed(seed, false, &shrunk.trim).verdict.err(), Some(shrunk.how.clone()), "{shrunk}");
    let printed = shrunk.to_string();
    let line = printed.lines().last().expect("a line");
    let words: Vec<&str> =
        line.split(&format!("run {seed}")).last().unwrap_or_default().split_whitespace().collect();
    let mut trim = Trim::default();
    for pair in words.chunks(2) {
        trim.take(pair[0], pair[1]).unwrap_or_else(|why| panic!("{line}: {why}"));
    }
    assert_eq!(trim, shrunk.trim);
}
