//! `Slots`: rows under dense indices that are used again.

use std::ops::{Index, IndexMut};

use crate::bits::Bits;

/// Rows under dense indices. A freed index is given out again, the last freed first. The row of a freed index is the
/// default row, so an index that is still about reads nothing instead of another's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots<T> {
    rows: Vec<T>,
    live: Bits,
    freed: Vec<u32>,
}

// === impl Slots ===

impl<T: Default> Slots<T> {
    /// Adds a row; returns its index.
    pub fn insert(&mut self, row: T) -> u32 {
        let index = match self.freed.pop() {
            Some(index) => index,
            None => {
                self.rows.push(T::default());
                self.rows.len() as u32 - 1
            }
        };
        self.rows[index as usize] = row;
        self.live.insert(index);
        index
    }

    /// Takes a row out.
    pub fn remove(&mut self, index: u32) -> T {
        if self.live.remove(index) {
            self.freed.push(index);
        }
        std::mem::take(&mut self.rows[index as usize])
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.live.count()
    }

    /// One more than the largest index ever given out.
    pub fn bound(&self) -> usize {
        self.rows.len()
    }

    /// All indices in use, smallest first.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter()
    }

    /// All rows with their indices, smallest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> + '_ {
        self.live.iter().map(|index| (index, &self.rows[index as usize]))
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;
    fn index(&self, index: u32) -> &T {
        &self.rows[index as usize]
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.rows[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_index_is_used_again_and_reads_the_default_meanwhile() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert("a"), slots.insert("b"));
        assert_eq!(slots.remove(a), "a");
        assert_eq!((slots[a], slots[b], slots.count()), ("", "b", 1));
        assert_eq!(slots.insert("c"), a);
        assert!(slots.iter().eq([(a, &"c"), (b, &"b")]));
        assert_eq!((slots.bound(), slots.indices().count()), (2, 2));
    }
}
