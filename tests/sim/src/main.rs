//! `tests-sim run SEED` runs one seed and prints its trace's hash; `tests-sim soak N --from SEED` runs many.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use tests_sim::run::{Report, run};

const USAGE: &str = "usage: tests-sim run SEED [--loud]\n       tests-sim soak N [--from SEED]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match words[..] {
        ["run", seed] if number(seed).is_some() => one(number(seed).unwrap_or_default(), false),
        ["run", seed, "--loud"] if number(seed).is_some() => one(number(seed).unwrap_or_default(), true),
        ["soak", count] if number(count).is_some() => soak(0, number(count).unwrap_or_default()),
        ["soak", count, "--from", from] if number(count).is_some() && number(from).is_some() => {
            soak(number(from).unwrap_or_default(), number(count).unwrap_or_default())
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs a seed; a panic is a broken promise too.
fn judged(seed: u64, loud: bool) -> Result<Report, String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, loud))) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err((broken, at))) => Err(format!("{:.3}s: {broken}", at as f64 / 1e9)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("no panic: {}", text.unwrap_or_default()))
        }
    }
}

fn one(seed: u64, loud: bool) -> ExitCode {
    match judged(seed, loud) {
        Ok(report) => {
            println!(
                "seed {seed}: {:.1}s lived, healed in {:.1}s; {} events, {} tasks, {} offers, {} updates, {} registries compared",
                report.lived as f64 / 1e9,
                report.healed_in as f64 / 1e9,
                report.events,
                report.executed,
                report.offers,
                report.told,
                report.compared,
            );
            report.marks.iter().for_each(|(what, count)| println!("{count:>6} {what}"));
            println!("{:016x}", report.hash);
            ExitCode::SUCCESS
        }
        Err(why) => {
            failed(seed, &why);
            ExitCode::FAILURE
        }
    }
}

fn failed(seed: u64, why: &str) {
    println!("seed {seed} broke a promise at {why}\n  cargo run -p tests-sim -- run {seed}");
}

fn soak(from: u64, count: u64) -> ExitCode {
    let mut failures = 0u64;
    let mut lived = 0u64;
    let (mut events, mut tasks, mut slowest) = (0, 0, (0, 0));
    let mut marks: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in from..from.saturating_add(count) {
        match judged(seed, false) {
            Ok(report) => {
                lived += report.lived;
                events += report.events;
                tasks += report.executed;
                slowest = slowest.max((report.healed_in, seed));
                report.marks.iter().for_each(|(what, count)| *marks.entry(what).or_default() += count);
            }
            Err(why) => {
                failures += 1;
                failed(seed, &why);
            }
        }
    }
    marks.iter().for_each(|(what, count)| println!("{count:>8} {what}"));
    println!(
        "{count} seeds from {from}: {failures} broke a promise; {:.2} hours simulated, {events} events, {tasks} tasks; \
         the slowest to heal was {} with {:.1}s",
        lived as f64 / 3.6e12,
        slowest.1,
        slowest.0 as f64 / 1e9,
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
