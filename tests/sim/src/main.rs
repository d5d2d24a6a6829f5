//! `tests-sim run SEED` runs one seed and prints its trace's hash; `tests-sim soak N --from SEED` runs many.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tests_sim::run::judged;

const USAGE: &str = "usage: tests-sim run SEED [--loud]
       tests-sim soak N [--from SEED]
       tests-sim mutants [NAME] [--seeds N]";

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
        ["mutants" | "mutant", ..] => mutants(&words),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
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

/// Whether every bug that is put in on purpose is caught; `mutant` is what `mutants` starts for each.
#[cfg(feature = "mutants")]
fn mutants(words: &[&str]) -> ExitCode {
    use tests_sim::hunt::{hunt, hunt_all, told};
    use tests_sim::mutants::Mutant;
    let known = |name: &str| Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
    let (seeds, words) = match words {
        [rest @ .., "--seeds", count] if count.parse::<u64>().is_ok() => (count.parse().ok(), rest),
        rest => (None, rest),
    };
    let well = match (words, seeds) {
        (["mutants"], _) => hunt_all(seeds, None),
        (["mutants", name], _) if known(name).is_some() => hunt_all(seeds, Some(name)),
        (["mutant", name], Some(seeds)) if known(name).is_some() => {
            let caught = known(name).and_then(|mutant| hunt(mutant, seeds));
            caught.iter().for_each(|caught| println!("{}", told(caught)));
            caught.is_some()
        }
        _ => {
            let names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            eprintln!("{USAGE}\nmutants: {}", names.join(" "));
            return ExitCode::from(2);
        }
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "mutants"))]
fn mutants(_: &[&str]) -> ExitCode {
    eprintln!("this build has no mutants: cargo run -p tests-sim --features mutants -- mutants");
    ExitCode::from(2)
}

fn failed(seed: u64, why: &str) {
    println!("seed {seed} broke a promise at {why}\n  cargo run -p tests-sim -- run {seed}");
}

fn soak(from: u64, count: u64) -> ExitCode {
    let mut failures = 0u64;
    let mut lived = 0u64;
    let (mut events, mut tasks, mut slowest, mut busiest) = (0, 0, (0, 0), (0, 0));
    let mut marks: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in from..from.saturating_add(count) {
        match judged(seed, false) {
            Ok(report) => {
                lived += report.lived;
                events += report.events;
                tasks += report.executed;
                slowest = slowest.max((report.healed_in, seed));
                busiest = (busiest.0.max(report.busiest.0), busiest.1.max(report.busiest.1));
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
         the slowest to heal was {} with {:.1}s; at most {} events and {} offers in a second",
        lived as f64 / 3.6e12,
        slowest.1,
        slowest.0 as f64 / 1e9,
        busiest.0,
        busiest.1,
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
