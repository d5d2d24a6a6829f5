//! `tests-sim run SEED` runs one seed and prints its trace's hash; `soak` runs many; `shrink` finds the few faults that a
//! broken promise needs, and `replay` shows step by step what changed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use tests_sim::options::SECOND;
use tests_sim::run::trimmed;
use tests_sim::soak::soak;
use tests_sim::trim::Trim;
use tests_sim::{marks, members, pool, replay, shrink};

const USAGE: &str = "usage: tests-sim run SEED [--loud] [TRIM]
       tests-sim soak N [--from SEED]
       tests-sim soak --hours HOURS [--from SEED]
       tests-sim shrink SEED [TRIM]
       tests-sim replay SEED [--from SECONDS] [--to SECONDS] [--node NODE] [TRIM]
       tests-sim mutants [NAME] [--seeds N]
TRIM:  [--only FAULT,...] [--waves WAVE,...] [--without LUCK,...] [--shuffle N]    as shrink prints them
       [--mutant NAME]    with this bug put in (a build with the feature mutants)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if matches!(words.first(), Some(&("mutants" | "mutant"))) {
        return mutants(&words);
    }
    match asked(&words) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// A command line: what stands by itself, and flags with their values.
struct Line<'a> {
    plain: Vec<&'a str>,
    flags: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn read(words: &[&'a str]) -> Result<Self, String> {
        let (mut plain, mut flags) = (Vec::new(), BTreeMap::new());
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word.starts_with("--") {
                true if word == "--loud" => drop(flags.insert(word, "")),
                true => {
                    let value = words.next().ok_or(format!("{word} wants a value"))?;
                    flags.insert(word, value);
                }
                false => plain.push(word),
            }
        }
        Ok(Line { plain, flags })
    }

    fn number(&mut self, flag: &str) -> Result<Option<u64>, String> {
        let read = |value: &str| value.parse().map_err(|_| format!("{flag}: {value:?} is not a number"));
        self.flags.remove(flag).map(read).transpose()
    }

    /// What is left of the flags says what to leave out.
    fn trim(self) -> Result<Trim, String> {
        let mut trim = Trim::default();
        for (flag, value) in self.flags {
            match flag {
                "--mutant" => plant(value)?,
                _ => trim.take(flag, value)?,
            }
        }
        Ok(trim)
    }
}

fn asked(words: &[&str]) -> Result<ExitCode, String> {
    let mut line = Line::read(words)?;
    let number = |word: &str| word.parse::<u64>().map_err(|_| format!("{word:?} is not a number"));
    match line.plain[..] {
        ["run", seed] => {
            let loud = line.flags.remove("--loud").is_some();
            Ok(one(number(seed)?, loud, &line.trim()?))
        }
        ["soak"] => {
            let hours = line.number("--hours")?.ok_or("how many seeds, or how many --hours?")?;
            let from = line.number("--from")?.unwrap_or(pool::FIRST);
            if from < pool::FIRST {
                return Err(format!("--from: worlds that live for hours begin with seed {}", pool::FIRST));
            }
            let seeds = (hours * 3600 * SECOND).div_ceil(pool::LIVES);
            if from.saturating_add(seeds) > members::FIRST {
                return Err(format!("--from: worlds that live for hours end before seed {}", members::FIRST));
            }
            Ok(many(from, seeds, if hours >= marks::ENOUGH { marks::OF_POOLS } else { &[] }))
        }
        ["soak", count] => {
            let (from, count) = (line.number("--from")?.unwrap_or(0), number(count)?);
            Ok(many(from, count, marks::of_seeds(from, count)))
        }
        ["shrink", seed] => {
            let trim = line.trim()?;
            Ok(match shrink::shrink(number(seed)?, trim, |step| println!("{step}")) {
                Some(shrunk) => {
                    println!("{shrunk}");
                    ExitCode::SUCCESS
                }
                None => {
                    println!("seed {seed} breaks no promise");
                    ExitCode::FAILURE
                }
            })
        }
        ["replay", seed] => {
            let window = replay::Window {
                from: line.flags.remove("--from").map(seconds).transpose()?.unwrap_or(0),
                to: line.flags.remove("--to").map(seconds).transpose()?.unwrap_or(u64::MAX),
                node: line.flags.remove("--node").map(str::to_owned),
            };
            Ok(match replay::replay(number(seed)?, &line.trim()?, &window, |step| println!("{step}")) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            })
        }
        _ => Err("what is to be done?".to_owned()),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Ok((seconds * 1e9) as u64)
}

fn one(seed: u64, loud: bool, trim: &Trim) -> ExitCode {
    match trimmed(seed, loud, trim).verdict {
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

fn many(from: u64, count: u64, wanted: &[&'static str]) -> ExitCode {
    let began = Instant::now();
    let sum = soak(from, count, failed);
    let took = began.elapsed();
    sum.marks.iter().for_each(|(what, count)| println!("{count:>8} {what}"));
    println!(
        "{count} seeds from {from}: {} broke a promise; {:.2} hours simulated, {} events, {} tasks; \
         the slowest to heal was {} with {:.1}s; at most {} events and {} offers in a second\n{}",
        sum.broken.len(),
        sum.hours(),
        sum.events,
        sum.tasks,
        sum.slowest.1,
        sum.slowest.0 as f64 / 1e9,
        sum.busiest.0,
        sum.busiest.1,
        sum.speed(took),
    );
    let missing = marks::missing(wanted, &sum.marks);
    missing.iter().for_each(|what| println!("it never happened that {what}"));
    if sum.broken.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether every bug that is put in on purpose is caught; `mutant` is what `mutants` starts for each.
#[cfg(feature = "mutants")]
fn mutants(words: &[&str]) -> ExitCode {
    use tests_sim::hunt::{hunt, hunt_all, told};
    use tests_sim::mutants::Mutant;
    let (seeds, words) = match words {
        [rest @ .., "--seeds", count] if count.parse::<u64>().is_ok() => (count.parse().ok(), rest),
        rest => (None, rest),
    };
    let well = match (words, seeds) {
        (["mutants"], _) => hunt_all(seeds, None),
        (["mutants", name], _) if Mutant::named(name).is_some() => hunt_all(seeds, Some(name)),
        (["mutant", name], Some(seeds)) if Mutant::named(name).is_some() => {
            let caught = Mutant::named(name).and_then(|mutant| hunt(mutant, seeds));
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

#[cfg(feature = "mutants")]
fn plant(name: &str) -> Result<(), String> {
    let mutant = tests_sim::mutants::Mutant::named(name).ok_or(format!("there is no mutant {name:?}"))?;
    proto_machine::mutants::plant(mutant);
    Ok(())
}

#[cfg(not(feature = "mutants"))]
fn plant(_: &str) -> Result<(), String> {
    Err("this build has no mutants: it wants --features mutants".to_owned())
}
