//! P14: a seed is a run. And a few seeds, so that no change goes without any.

use tests_sim::run::run;

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut hashes = Vec::new();
    for seed in [3, 7, 10] {
        let hash = || run(seed, false).map(|report| report.hash).map_err(|(broken, _)| broken.to_string());
        let first = hash().unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        assert_eq!(Ok(first), hash(), "seed {seed}");
        hashes.push(first);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "another seed is another run");
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
