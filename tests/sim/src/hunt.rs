//! The hunt for mutants: each in a process of its own, seed by seed until a checker catches it.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::check::promise_of;
use crate::mutants::{Bound, Mutant, bound};
use crate::options::Options;
use crate::run::trimmed;

/// How a mutant was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// By this seed.
    pub seed: u64,
    /// So many were tried, this one included.
    pub seeds: u64,
    /// With these words.
    pub how: String,
}

/// Plants a mutant in this process and looks for the first seed that catches it.
pub fn hunt(mutant: Mutant, seeds: u64) -> Option<Caught> {
    proto_machine::mutants::plant(mutant);
    let Bound { promise, worlds, .. } = bound(mutant);
    let fitting = (worlds.first()..).filter(|seed| worlds.has(&Options::of(*seed)));
    for (seed, number) in fitting.zip(1..=seeds) {
        let judged = || trimmed(seed, false, &worlds.trim()).verdict;
        let how = match judged() {
            Err(how) => Some(how),
            Ok(report) if promise == "P14" => {
                let again = judged().map(|report| report.hash);
                (again != Ok(report.hash)).then(|| "0s: P14 reproducible: twice, and not the same".to_owned())
            }
            Ok(_) => None,
        };
        if let Some(how) = how {
            return Some(Caught { seed, seeds: number, how });
        }
    }
    None
}

/// The number of a promise, or the whole of one that has none.
fn number_of(promise: &str) -> &str {
    match promise.split_once(' ') {
        Some((number, _)) if number.starts_with('P') => number,
        Some(_) | None => promise,
    }
}

/// Hunts every mutant, each in a process of its own, and prints the table; whether none survived.
pub fn hunt_all(seeds: Option<u64>, only: Option<&str>) -> bool {
    let me = std::env::current_exe().expect("this program has a path");
    let chosen: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| only.is_none_or(|name| name == mutant.name())).collect();
    let next = AtomicUsize::new(0);
    let hunted = |_| {
        let mut rows = Vec::new();
        while let Some(mutant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let within = seeds.unwrap_or(bound(*mutant).seeds).to_string();
            let output = Command::new(&me).args(["mutant", mutant.name(), "--seeds", &within]).output();
            let output = output.unwrap_or_else(|error| panic!("{} was not started: {error}", me.display()));
            rows.push((*mutant, String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        rows
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut rows: Vec<(Mutant, String)> = thread::scope(|scope| {
        let hunters: Vec<_> = (0..workers).map(|at| scope.spawn(move || hunted(at))).collect();
        hunters.into_iter().flat_map(|hunter| hunter.join().expect("a hunter ends well")).collect()
    });
    rows.sort_unstable();
    println!("{:<22} {:<8} {:>6} {:>6} {:>6}  how", "mutant", "by", "seed", "after", "bound");
    let mut survived = 0;
    for (mutant, said) in &rows {
        let within = bound(*mutant).seeds;
        match caught(said) {
            Some(Caught { seed, seeds, how }) => {
                let by = number_of(promise_of(&how));
                println!("{:<22} {by:<8} {seed:>6} {seeds:>6} {within:>6}  {how}", mutant.name());
            }
            None => {
                survived += 1;
                println!("{:<22} SURVIVED {:>6} {:>6} {within:>6}  {}", mutant.name(), "", "", said.trim());
            }
        }
    }
    println!("{} mutants, {survived} survived", rows.len());
    survived == 0 && !rows.is_empty()
}

/// How one process tells another what it caught.
pub fn told(caught: &Caught) -> String {
    format!("caught {} {} {}", caught.seed, caught.seeds, caught.how)
}

fn caught(said: &str) -> Option<Caught> {
    let line = said.lines().find_map(|line| line.strip_prefix("caught "))?;
    let (seed, rest) = line.split_once(' ')?;
    let (seeds, how) = rest.split_once(' ')?;
    Some(Caught { seed: seed.parse().ok()?, seeds: seeds.parse().ok()?, how: how.to_owned() })
}
