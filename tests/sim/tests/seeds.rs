//! P14: a seed is a run. And a few seeds, so that no change goes without any.

use tests_sim::members::FIRST;
use tests_sim::options::Options;
use tests_sim::run::run;

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut hashes = Vec::new();
    let with_a_store = (11..).find(|seed| Options::of(*seed).store_clients > 1).expect("many have one");
    for seed in [3, 7, 10, with_a_store] {
        let hash = || run(seed, false).map(|report| report.hash).map_err(|(broken, _)| broken.to_string());
        let first = hash().unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        assert_eq!(Ok(first), hash(), "seed {seed}");
        hashes.push(first);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "another seed is another run");
}

#[test]
fn some_seeds_keep_every_promise() {
    let mut executed = 0;
    for seed in 0..12 {
        match run(seed, false) {
            Ok(report) => executed += report.executed,
            Err((broken, at)) => panic!("seed {seed} at {at}ns: {broken}"),
        }
    }
    assert!(executed > 30, "the worlds do something: {executed} tasks");
}

#[test]
fn the_store_of_some_seeds_is_written_read_watched_and_held() {
    let mut counted = std::collections::BTreeMap::new();
    for seed in (0..).filter(|seed| Options::of(*seed).store_clients > 1).take(6) {
        match run(seed, false) {
            Ok(report) => {
                report.marks.into_iter().for_each(|(what, n)| *counted.entry(what).or_insert(0) += n)
            }
            Err((broken, at)) => panic!("seed {seed} at {at}ns: {broken}"),
        }
    }
    for (what, least) in [
        ("writes to the store were acknowledged", 200),
        ("reads of the store were answered", 100),
        ("changes of the store were told to watches", 100),
        ("leases of the store ran out", 5),
        ("a client of the store was fenced", 5),
    ] {
        let count = counted.get(what).copied().unwrap_or_default();
        assert!(count >= least, "{count} times: {what}");
    }
}

#[test]
fn a_member_that_is_alone_counts_on_what_it_has_stored() {
    // It dies while it stores a write that it has applied in memory already, and that nobody was told of.
    if let Err((broken, at)) = run(1_001_253, false) {
        panic!("at {at}ns: {broken}");
    }
}

#[test]
fn masters_come_and_go_and_a_seed_is_a_run() {
    let mut changes = 0;
    for seed in FIRST..FIRST + 4 {
        let hash = || run(seed, false).map(|report| (report.hash, report.marks));
        let (first, marks) = hash().unwrap_or_else(|(broken, at)| panic!("seed {seed} at {at}ns: {broken}"));
        changes += marks.get("masters-settled").copied().unwrap_or_default();
        if seed == FIRST {
            assert_eq!(hash().map(|(hash, _)| hash).ok(), Some(first), "seed {seed}");
        }
    }
    assert!(changes > 8, "{changes} changes of masters came to their end");
}
