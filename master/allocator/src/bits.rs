//! `Bits`: a set of small numbers, one bit each.

/// A set of dense indices. Asking, adding and removing are O(1); scans go 64 at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    count: usize,
    /// No member is in a word before.
    low: usize,
}

// === impl Bits ===

impl Bits {
    /// Nobody.
    pub const NONE: Bits = Bits { words: Vec::new(), count: 0, low: 0 };

    /// How many are in it.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `index` is in it.
    pub fn has(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word & mask(index) != 0)
    }

    /// Adds `index`; false when it was there.
    pub fn insert(&mut self, index: u32) -> bool {
        let at = index as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let fresh = self.words[at] & mask(index) == 0;
        self.words[at] |= mask(index);
        self.low = if self.count == 0 { at } else { self.low.min(at) };
        self.count += usize::from(fresh);
        fresh
    }

    /// Removes `index`; false when it was not there.
    pub fn remove(&mut self, index: u32) -> bool {
        let Some(word) = self.words.get_mut(index as usize / 64) else { return false };
        let there = *word & mask(index) != 0;
        *word &= !mask(index);
        self.count -= usize::from(there);
        // A few words at most: a set that is emptied from the front keeps up, one that is not costs no walk.
        for _ in 0..4 {
            if self.words.get(self.low) == Some(&0) {
                self.low += 1;
            }
        }
        there
    }

    /// Adds or removes.
    pub fn set(&mut self, index: u32, wanted: bool) {
        if wanted {
            self.insert(index);
        } else {
            self.remove(index);
        }
    }

    /// Empties it and gives the memory back.
    pub fn clear(&mut self) {
        *self = Bits::default();
    }

    /// Empties it and keeps the memory.
    pub fn reset(&mut self) {
        if self.count > 0 {
            self.words.fill(0);
            self.count = 0;
        }
    }

    /// The smallest member that is at least `from` and in none of `without`.
    pub fn next_outside(&self, from: u32, without: [&Bits; 2]) -> Option<u32> {
        let (mut at, mut first) = (from as usize / 64, !0u64 << (from % 64));
        if at < self.low {
            (at, first) = (self.low, !0);
        }
        while at < self.words.len() {
            let out = |set: &Bits| set.words.get(at).copied().unwrap_or(0);
            let left = self.words[at] & first & !out(without[0]) & !out(without[1]);
            if left != 0 {
                return Some(at as u32 * 64 + left.trailing_zeros());
            }
            first = !0;
            at += 1;
        }
        None
    }

    /// All members, smallest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }
}

fn mask(index: u32) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto_machine::Dice;

    use super::*;

    #[test]
    fn bits_are_a_set() {
        let mut dice = Dice::new(5);
        for _ in 0..200 {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            let (mut a, mut b) = (Bits::default(), Bits::default());
            for _ in 0..dice.below(200) {
                let index = dice.below(300) as u32;
                match dice.below(4) {
                    0 => assert_eq!(bits.remove(index), model.remove(&index)),
                    1 => a.set(index, dice.chance(1, 2)),
                    2 => b.set(index, dice.chance(1, 2)),
                    _ => assert_eq!(bits.insert(index), model.insert(index)),
                }
            }
            assert!(bits.iter().eq(model.iter().copied()));
            assert_eq!((bits.count(), bits.is_empty()), (model.len(), model.is_empty()));
            let from = dice.below(310) as u32;
            let wanted = model.range(from..).find(|i| !a.has(**i) && !b.has(**i));
            assert_eq!(bits.next_outside(from, [&a, &b]), wanted.copied());
            bits.reset();
            assert!(bits.is_empty() && bits.iter().next().is_none());
        }
    }
}
