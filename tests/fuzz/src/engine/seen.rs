//! `Seen`: which edges were reached, and about how often in one run.

use tests_fuzz_counters::lines;

/// How many counters are looked at together: most are zero.
const BLOCK: usize = 64;

/// What was reached, one bit for each order of magnitude of each counter.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    reached: Vec<u8>,
    edges: usize,
}

/// The order of magnitude of a count, as a bit.
fn magnitude(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128..=255 => 128,
    }
}

// === impl Seen ===

impl Seen {
    /// Takes in what the counters say and sets them to zero. How much of it is new.
    pub fn take(&mut self) -> usize {
        lines::with(|counters| {
            self.reached.resize(counters.len(), 0);
            let mut new = 0;
            for (counts, reached) in counters.chunks_mut(BLOCK).zip(self.reached.chunks_mut(BLOCK)) {
                if counts.iter().fold(0, |all, count| all | count) == 0 {
                    continue;
                }
                for (count, reached) in counts.iter_mut().zip(reached) {
                    let bit = magnitude(*count);
                    *count = 0;
                    if *reached & bit != bit {
                        new += 1;
                        self.edges += usize::from(*reached == 0);
                        *reached |= bit;
                    }
                }
            }
            new
        })
    }

    /// Sets the counters to zero.
    pub fn clear() {
        lines::with(|counters| counters.fill(0));
    }

    /// What the counters say, as places and magnitudes; and sets them to zero.
    pub fn features() -> Vec<(u32, u8)> {
        lines::with(|counters| {
            let features = counters.iter().enumerate().filter(|(_, count)| **count > 0);
            let features = features.map(|(at, count)| (at as u32, magnitude(*count))).collect();
            counters.fill(0);
            features
        })
    }

    /// How many edges were reached.
    pub fn edges(&self) -> usize {
        self.edges
    }
}
