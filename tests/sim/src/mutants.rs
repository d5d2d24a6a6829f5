//! Mutants: bugs put in on purpose, each of which a checker has to catch within a stated number of seeds.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use proto_machine::mutants::Mutant;

use crate::options::Options;
use crate::run::judged;

/// What has to catch a mutant, and how soon.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The promise that it breaks, as checkers name it: its first word.
    pub promise: &'static str,
    /// Within so many seeds.
    pub seeds: u64,
    /// Of worlds of this kind.
    pub worlds: Worlds,
}

/// The worlds in which a mutant can show itself: the others are passed over, and not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worlds {
    /// Any.
    All,
    /// With clients of the frameworks' state.
    Store,
    /// In which frameworks reserve, and make and destroy volumes.
    Volumes,
}

/// How a mutant was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// By this seed.
    pub seed: u64,
    /// Which was the so-manieth.
    pub seeds: u64,
    /// With these words.
    pub how: String,
}

impl Worlds {
    /// What they are called.
    pub fn name(self) -> &'static str {
        match self {
            Worlds::All => "any",
            Worlds::Store => "with a store",
            Worlds::Volumes => "with volumes",
        }
    }

    /// Whether the world of a seed is one of them.
    pub fn has(self, options: &Options) -> bool {
        match self {
            Worlds::All => true,
            Worlds::Store => options.store_clients > 1,
            Worlds::Volumes => options.frameworks.iter().any(|plan| plan.habits.reserves && plan.jobs > 0),
        }
    }
}

/// What has to catch a mutant, and within how many seeds.
pub fn bound(mutant: Mutant) -> Bound {
    use Worlds::{All, Store, Volumes};
    let (promise, seeds, worlds) = match mutant {
        Mutant::AnswerBeforeStoring => ("P3", 40, All),
        Mutant::ForgetVote => ("P6", 40, All),
        Mutant::DropPreVote => ("P6", 40, All),
        Mutant::LeadTooSoon => ("P1", 40, All),
        Mutant::ApplyTwice => ("P5", 40, All),
        Mutant::AnswerBeforeCommit => ("P3", 40, All),
        Mutant::ReuseRun => ("P2", 40, All),
        Mutant::OfferTwice => ("P1", 40, All),
        Mutant::ForgetUse => ("P1", 40, All),
        Mutant::StaleAccept => ("P9", 40, All),
        Mutant::ForgetRescind => ("P9", 40, All),
        Mutant::OfferForever => ("P9", 40, All),
        Mutant::FilterForever => ("P13", 40, All),
        Mutant::ForgetFilter => ("P11", 40, All),
        Mutant::QuotaOverrun => ("P10", 40, All),
        Mutant::GiveReserved => ("P10", 40, Volumes),
        Mutant::LoseFailoverTimer => ("P8", 40, All),
        Mutant::ForgetFence => ("P8", 40, All),
        Mutant::KillOnDisconnect => ("P7", 40, All),
        Mutant::VolumeByName => ("P13", 40, Volumes),
        Mutant::TakeUnsynced => ("P2", 40, All),
        Mutant::ObeyAnyone => ("P6", 40, All),
        Mutant::StartAgain => ("P2", 40, All),
        Mutant::ForgetEnd => ("P2", 40, All),
        Mutant::RedeliverNever => ("P13", 40, All),
        Mutant::SkipNumber => ("P4", 40, All),
        Mutant::KillOnRestart => ("P7", 40, All),
        Mutant::DeleteUnderRun => ("volumes", 40, Volumes),
        Mutant::CasIgnoresRevision => ("P15", 40, Store),
        Mutant::WatchSkips => ("P15", 40, Store),
        Mutant::LeaseEndsWithLeader => ("P15", 40, Store),
        Mutant::KeepEndedLease => ("P15", 40, Store),
        Mutant::StaleRead => ("P15", 40, Store),
        Mutant::ForgetEpoch => ("P15", 40, Store),
        Mutant::AcknowledgeEarly => ("P4", 40, All),
        Mutant::ForgetPending => ("P13", 40, All),
        Mutant::Unseeded => ("P14", 1, All),
    };
    Bound { promise, seeds, worlds }
}

/// Plants a mutant in this process and looks for the first seed that catches it.
pub fn hunt(mutant: Mutant, seeds: u64) -> Option<Caught> {
    proto_machine::mutants::plant(mutant);
    let worlds = bound(mutant).worlds;
    let fitting = (1..).filter(|seed| worlds.has(&Options::of(*seed)));
    for (seed, number) in fitting.zip(1..=seeds) {
        let how = match judged(seed, false) {
            Err(how) => Some(how),
            Ok(report) if bound(mutant).promise == "P14" => {
                let again = judged(seed, false).map(|report| report.hash);
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

/// Which promise the words of a checker name.
pub fn promise_of(how: &str) -> &str {
    let words = how.split_once(": ").map_or(how, |(_, words)| words);
    words.split([' ', ':']).next().unwrap_or_default()
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
                let by = promise_of(&how);
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
