//! Pools: worlds of hours, here a wave or two of them.

use std::collections::BTreeSet;

use tests_sim::options::SECOND;
use tests_sim::pool::FIRST;
use tests_sim::run::trimmed;
use tests_sim::trim::Trim;

fn waves(waves: &[u64]) -> Trim {
    Trim { waves: Some(waves.iter().copied().collect()), ..Trim::default() }
}

#[test]
fn a_pool_lives_through_its_waves_and_is_the_same_again() {
    let run = || trimmed(FIRST + 1, false, &waves(&[1])).verdict;
    let report = run().unwrap_or_else(|how| panic!("{how}"));
    assert!(report.lived > 600 * SECOND, "{}s lived", report.lived / SECOND);
    assert!(report.executed > 50, "{} tasks", report.executed);
    assert!(report.compared > 0);
    assert_eq!(run().map(|report| report.hash), Ok(report.hash));
    let shuffled = trimmed(FIRST + 1, false, &Trim { shuffle: 1, ..waves(&[1]) }).verdict;
    assert!(shuffled.is_ok_and(|other| other.hash != report.hash));
}

#[test]
fn a_fault_comes_where_it_came_and_the_others_stay_away() {
    let all = trimmed(42, false, &Trim::default()).came;
    let fault = all.iter().position(|came| came.fault.to_string().ends_with("dies")).expect("somebody dies");
    let only = Trim { only: Some(BTreeSet::from([fault + 1])), ..Trim::default() };
    let outcome = trimmed(42, false, &only);
    assert_eq!(outcome.came, [all[fault]]);
    assert!(outcome.verdict.is_ok());
}
