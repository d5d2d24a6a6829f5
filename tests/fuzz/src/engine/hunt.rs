//! The loop: takes an input, changes it, runs it, and keeps it if it reached something new.

use std::time::{Duration, Instant};

use proto_machine::Dice;
use tests_fuzz_counters::compared;

use super::mutate::{self, Pantry};
use super::seen::Seen;
use super::trial;
use crate::target::{Taken, Target};

/// How many different things are reported of one target: the rest is mostly the same again.
const FOUND_MAX: usize = 5;
/// How often an input is given what it was compared with before it is let alone again.
const GIVEN: u64 = 24;

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum Enough {
    /// After so long.
    Time(Duration),
    /// After so many runs: the same ones each time, for the same seed.
    Runs(u64),
}

/// Something that was broken.
#[derive(Clone, Debug)]
pub struct Found {
    /// What.
    pub why: String,
    /// By which input.
    pub input: Vec<u8>,
}

/// What came of a hunt.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many inputs were run.
    pub runs: u64,
    /// How many of them meant something.
    pub taken: u64,
    /// How many edges the kept inputs reach.
    pub edges_before: usize,
    /// How many all inputs reached.
    pub edges: usize,
    /// What was broken.
    pub found: Vec<Found>,
    /// The inputs, those that were kept first.
    pub inputs: Vec<Vec<u8>>,
}

/// A hunt under way.
pub struct Hunt<'a> {
    target: &'a Target,
    dice: Dice,
    seen: Seen,
    report: Report,
    /// Told of each input before it is run.
    before: &'a mut dyn FnMut(&[u8]),
}

// === impl Hunt ===

impl<'a> Hunt<'a> {
    /// Begins with what was kept.
    pub fn new(target: &'a Target, seed: u64, kept: Vec<Vec<u8>>, before: &'a mut dyn FnMut(&[u8])) -> Self {
        let mut hunt =
            Hunt { target, dice: Dice::new(seed), seen: Seen::default(), report: Report::default(), before };
        Seen::clear();
        for input in std::iter::once(Vec::new()).chain(kept) {
            hunt.run(&input);
            hunt.report.inputs.push(input);
        }
        hunt.report.edges_before = hunt.seen.edges();
        hunt
    }

    /// Goes on until it is enough.
    pub fn go(mut self, enough: Enough) -> Report {
        let began = Instant::now();
        let over = |runs: u64| match enough {
            Enough::Runs(most) => runs >= most,
            // The clock is asked now and then only: it costs as much as a short run.
            Enough::Time(time) => runs.is_multiple_of(16) && began.elapsed() >= time,
        };
        while !over(self.report.runs) && self.report.found.len() < FOUND_MAX {
            let base = self.pick();
            if self.dice.chance(1, 64) {
                self.give(base, &over);
            } else {
                let mut input = self.report.inputs[base].clone();
                let pantry = Pantry { inputs: &self.report.inputs, words: self.target.words };
                mutate::mutate(self.target.kind, &mut input, &mut self.dice, &pantry);
                self.attempt(input);
            }
        }
        self.report.edges = self.seen.edges();
        self.report
    }

    /// An input to go on from: half of the time one of the latest.
    fn pick(&mut self) -> usize {
        let all = self.report.inputs.len() as u64;
        let latest = all.min(16);
        let at =
            if self.dice.chance(1, 2) { all - 1 - self.dice.below(latest) } else { self.dice.below(all) };
        at as usize
    }

    /// Gives an input what it is compared with.
    fn give(&mut self, base: usize, over: &dyn Fn(u64) -> bool) {
        let base = self.report.inputs[base].clone();
        if base.is_empty() {
            let byte = self.dice.next_u64() as u8;
            return self.attempt(vec![byte]);
        }
        compared::forget();
        self.run(&base);
        let pairs = compared::pairs();
        for _ in 0..GIVEN {
            let Some(pair) = self.dice.pick(&pairs).copied() else { return };
            if let Some(given) = mutate::give(&base, pair, &mut self.dice) {
                self.attempt(given);
            }
            if over(self.report.runs) {
                return;
            }
        }
    }

    fn attempt(&mut self, mut input: Vec<u8>) {
        input.truncate(self.target.bytes_max);
        if self.run(&input) > 0 {
            self.report.inputs.push(input);
        }
    }

    /// Runs an input; how much of what it reached is new.
    fn run(&mut self, input: &[u8]) -> usize {
        (self.before)(input);
        self.report.runs += 1;
        match trial::run(self.target, input) {
            Ok(ended) => self.report.taken += u64::from(ended.taken == Taken::Yes),
            Err(why) => {
                // The numbers in it are those of the input; the place is what counts.
                let place =
                    |why: &str| why.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>();
                if self.report.found.iter().all(|found| place(&found.why) != place(&why)) {
                    self.report.found.push(Found { why, input: input.to_vec() });
                }
                self.seen.take();
                return 0;
            }
        }
        self.seen.take()
    }
}
