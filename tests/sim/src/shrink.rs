//! Shrinking: of all that goes wrong in a run, the little that it takes to break the same promise.

use std::collections::BTreeSet;
use std::fmt;

use crate::check::promise_of;
use crate::faults::Came;
use crate::run::{given_faults, trimmed};
use crate::trim::{Luck, Trim};

/// What is left out shifts everything that is drawn behind it: so often a smaller misfortune is given another chance.
const CHANCES: u64 = 8;

/// What it takes.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Of which seed.
    pub seed: u64,
    /// How to run it.
    pub trim: Trim,
    /// What is broken, and when.
    pub how: String,
    /// The faults that are left, by their number in the seed's own run.
    pub faults: Vec<(usize, Came)>,
    /// How many there were.
    pub of: usize,
    /// How many runs it took to find out.
    pub runs: u64,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shrunk { seed, trim, how, faults, of, runs } = self;
        writeln!(f, "seed {seed} with {} of {of} faults, found in {runs} runs:", faults.len())?;
        for (number, came) in faults {
            let wave = if came.wave > 1 { format!("wave {}, ", came.wave) } else { String::new() };
            writeln!(f, "  #{number:<4} {wave}{:.3}s: {}", came.after as f64 / 1e9, came.fault)?;
        }
        let line = format!("cargo run -p tests-sim -- run {seed} {trim}");
        write!(f, "broke a promise at {how}\n  {}", line.trim_end())
    }
}

/// The search for it.
struct Search<'a> {
    seed: u64,
    promise: String,
    /// The faults of the seed's own run.
    all: Vec<Came>,
    runs: u64,
    /// The smallest that was found, and how it broke the promise.
    best: Option<(Trim, String)>,
    tell: &'a dyn Fn(&str),
}

/// Finds it; nothing when the run breaks no promise.
pub fn shrink(seed: u64, trim: Trim, tell: impl Fn(&str)) -> Option<Shrunk> {
    let whole = trimmed(seed, false, &trim);
    let how = whole.verdict.err()?;
    let all = match trim == Trim::default() {
        true => whole.came,
        false => trimmed(seed, false, &Trim::default()).came,
    };
    tell(&format!("seed {seed} broke a promise at {how}; {} faults had come", all.len()));
    let promise = promise_of(&how).to_owned();
    let best = Some((trim.clone(), how));
    let mut search = Search { seed, promise, all, runs: 0, best, tell: &tell };
    let numbers: BTreeSet<usize> = trim.only.clone().unwrap_or_else(|| (1..=search.all.len()).collect());
    search.fewer_waves(&trim, &numbers);
    let (so_far, _) = search.best.clone()?;
    if so_far.only.is_none() {
        search.holds(&Trim { only: Some(numbers), ..so_far });
    }
    search.spare();
    search.fewer_faults();
    search.spare();
    let (trim, how) = search.best?;
    let chosen = |number: &usize| trim.only.as_ref().is_none_or(|only| only.contains(number));
    let faults = (1..).zip(&search.all).filter(|(number, _)| chosen(number)).map(|(n, came)| (n, *came));
    Some(Shrunk { seed, faults: faults.collect(), of: search.all.len(), trim, how, runs: search.runs })
}

impl Search<'_> {
    /// Whether a smaller misfortune still breaks the promise, if need be with everything else falling differently.
    fn holds(&mut self, trim: &Trim) -> bool {
        for shuffle in (trim.shuffle..=trim.shuffle).chain(0..CHANCES) {
            let trim = Trim { shuffle, ..trim.clone() };
            self.runs += 1;
            let given = trim.only.as_ref().map(|only| {
                let chosen = (1..).zip(&self.all).filter(|(number, _)| only.contains(number));
                chosen.map(|(_, came)| *came).collect()
            });
            if let Err(how) = given_faults(self.seed, &trim, given).verdict
                && promise_of(&how) == self.promise
            {
                let faults = trim.only.as_ref().map_or("all".to_owned(), |only| only.len().to_string());
                (self.tell)(&format!("{:>5} runs: {faults} faults, {}", self.runs, of_lucks(&trim)));
                self.best = Some((trim, how));
                return true;
            }
        }
        false
    }

    /// The last wave that came is the one in which it broke: perhaps it needs no other, or few before it.
    fn fewer_waves(&mut self, trim: &Trim, numbers: &BTreeSet<usize>) {
        let last = self.all.last().map_or(1, |came| came.wave);
        if last == 1 {
            return;
        }
        let mut count = 1;
        while count < last {
            let waves = (last + 1 - count..=last).collect();
            let only = numbers.iter().copied().filter(|n| self.all[n - 1].wave > last - count).collect();
            if self.holds(&Trim { waves: Some(waves), only: Some(only), ..trim.clone() }) {
                return;
            }
            count *= 2;
        }
    }

    /// Leaves out what is always there, one kind after the other.
    fn spare(&mut self) {
        for luck in Luck::ALL {
            let Some((mut trim, _)) = self.best.clone() else { return };
            if trim.without.insert(luck) {
                self.holds(&trim);
            }
        }
    }

    /// Delta debugging (Zeller and Hildebrandt): leaves out ever smaller pieces while the promise is still broken.
    fn fewer_faults(&mut self) {
        let mut pieces = 2;
        loop {
            let Some((trim, _)) = self.best.clone() else { return };
            let Some(only) = trim.only.clone() else { return };
            if only.is_empty() {
                return;
            }
            let numbers: Vec<usize> = only.into_iter().collect();
            let size = numbers.len().div_ceil(pieces.min(numbers.len()));
            let smaller = numbers.chunks(size).any(|piece| {
                let rest = numbers.iter().copied().filter(|number| !piece.contains(number)).collect();
                self.holds(&Trim { only: Some(rest), ..trim.clone() })
            });
            if smaller {
                pieces = pieces.saturating_sub(1).max(2);
            } else if size == 1 {
                return;
            } else {
                pieces *= 2;
            }
        }
    }
}

fn of_lucks(trim: &Trim) -> String {
    let names: Vec<&str> = trim.without.iter().map(|luck| luck.name()).collect();
    if names.is_empty() { "nothing spared".to_owned() } else { format!("without {}", names.join(", ")) }
}
