//! `Dice`: a machine's own seeded randomness.

use crate::mutants::{self, Mutant};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, seedable, good enough for jitter and ids in a
/// simulation. Not for secrets: those come from the shell.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that will fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(if mutants::is(Mutant::Unseeded) { seed ^ mutants::unseeded() } else { seed })
    }

    /// Sixty-four random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The multiply-shift method (Lemire 2019) without rejection: its bias is below 2^-32 for our bounds.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True `numerator` times in `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of the items, or `None` of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_falls() {
        let (mut a, mut b) = (Dice::new(7), Dice::new(7));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    }

    #[test]
    fn below_stays_below() {
        let mut d = Dice::new(1);
        assert!((0..1000).all(|_| d.below(10) < 10));
        assert_eq!(d.below(0), 0);
    }
}
