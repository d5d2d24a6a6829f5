//! `Order`: who comes first, kept sorted while shares change.

use std::cmp::Ordering;

use crate::share::{NO_UNIT, Share};

/// Entries of a chunk before it is split: two cache lines of moves at most for one insertion in the middle.
const CHUNK: usize = 64;

/// One that stands in an order, with so much of its share that two entries can nearly always be compared by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    rank: u64,
    num: u64,
    /// Decides between equal shares of one unit.
    label: u64,
    unit: u32,
    /// An index of somebody.
    pub item: u32,
}

/// Items sorted by share. Where entries alone cannot tell, `exact` compares two items; it must see the shares under
/// which they were placed: remove an item before its share changes, and insert it afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// None empty.
    chunks: Vec<Vec<Entry>>,
    len: usize,
    version: u32,
}

/// A place in an order: behind everybody who has had a turn. Stays right while others are inserted and removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    after: Option<Entry>,
    chunk: u32,
    at: u32,
    version: u32,
}

// === impl Entry ===

impl Entry {
    /// Somebody with a label that is in the order of names.
    pub fn labelled(item: u32, share: &Share, label: u64) -> Self {
        Entry { rank: share.rank, num: share.num, label, unit: share.unit, item }
    }

    /// Somebody whose name only `exact` knows.
    pub fn named(item: u32, share: &Share) -> Self {
        Entry { rank: share.rank, num: share.num, label: 0, unit: NO_UNIT, item }
    }
}

// === impl Order ===

impl Order {
    /// How many stand in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All, first to last.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.chunks.iter().flatten().copied()
    }

    /// Places an item.
    pub fn insert(&mut self, entry: Entry, exact: impl Fn(u32, u32) -> Ordering) {
        self.len += 1;
        self.version = self.version.wrapping_add(1);
        if self.chunks.is_empty() {
            self.chunks.push(vec![entry]);
            return;
        }
        let (chunk, at) = self.locate(entry, exact);
        let chunk = chunk.min(self.chunks.len() - 1);
        let row = &mut self.chunks[chunk];
        row.insert(at.min(row.len()), entry);
        if row.len() >= 2 * CHUNK {
            let upper = row.split_off(CHUNK);
            self.chunks.insert(chunk + 1, upper);
        }
    }

    /// Takes an item out; false when it does not stand there.
    pub fn remove(&mut self, entry: Entry, exact: impl Fn(u32, u32) -> Ordering) -> bool {
        // Whoever is given something stood first, as a rule.
        let first = self.chunks.first().is_some_and(|row| row[0].item == entry.item);
        let (chunk, at) = if first { (0, 0) } else { self.locate(entry, exact) };
        let Some(row) = self.chunks.get_mut(chunk) else { return false };
        if row.get(at).is_none_or(|found| found.item != entry.item) {
            return false;
        }
        row.remove(at);
        if row.is_empty() {
            self.chunks.remove(chunk);
        }
        self.len -= 1;
        self.version = self.version.wrapping_add(1);
        true
    }

    /// Gives the only item its new rank.
    pub fn replace_only(&mut self, entry: Entry) {
        if let Some(only) = self.chunks.first_mut().and_then(|row| row.first_mut()) {
            *only = entry;
        }
    }

    /// Sorts anew from these entries: cheap when they are nearly in order.
    pub fn rebuild(&mut self, mut entries: Vec<Entry>, exact: impl Fn(u32, u32) -> Ordering) {
        entries.sort_by(|a, b| order(*a, *b, &exact));
        self.len = entries.len();
        self.version = self.version.wrapping_add(1);
        self.chunks = entries.chunks(CHUNK).map(<[Entry]>::to_vec).collect();
    }

    /// The first one behind the cursor.
    pub fn peek(&self, cursor: &mut Cursor, exact: impl Fn(u32, u32) -> Ordering) -> Option<u32> {
        let Some(after) = cursor.after else { return self.chunks.first().map(|row| row[0].item) };
        if cursor.version != self.version {
            let (chunk, at) = self.locate(after, exact);
            let there = self.chunks.get(chunk).and_then(|row| row.get(at));
            let at = at + usize::from(there.is_some_and(|found| found.item == after.item));
            (cursor.chunk, cursor.at, cursor.version) = (chunk as u32, at as u32, self.version);
        }
        let row = self.chunks.get(cursor.chunk as usize)?;
        match row.get(cursor.at as usize) {
            Some(entry) => Some(entry.item),
            None => self.chunks.get(cursor.chunk as usize + 1).map(|row| row[0].item),
        }
    }

    /// Where the entry stands or would stand: its chunk and its place there.
    fn locate(&self, entry: Entry, exact: impl Fn(u32, u32) -> Ordering) -> (usize, usize) {
        let before = |other: &Entry| order(*other, entry, &exact) == Ordering::Less;
        let chunk = self.chunks.partition_point(|row| row.last().is_some_and(before));
        let at = self.chunks.get(chunk).map_or(usize::MAX, |row| row.partition_point(before));
        (chunk, at)
    }
}

// === impl Cursor ===

impl Cursor {
    /// Goes behind an item that stays where it is.
    pub fn pass(&mut self, entry: Entry, order: &Order) {
        let stands_at = |chunk: usize, at: usize| {
            order.chunks.get(chunk).and_then(|row| row.get(at)).is_some_and(|found| found.item == entry.item)
        };
        // The usual case: it is the one that peek has just found.
        let (chunk, at) = match self.after {
            Some(_) if self.version == order.version => (self.chunk as usize, self.at as usize),
            Some(_) => (usize::MAX, 0),
            None => (0, 0),
        };
        self.after = Some(entry);
        if stands_at(chunk, at) {
            (self.chunk, self.at, self.version) = (chunk as u32, at as u32 + 1, order.version);
        } else if chunk != usize::MAX && stands_at(chunk + 1, 0) {
            (self.chunk, self.at, self.version) = (chunk as u32 + 1, 1, order.version);
        } else {
            self.version = order.version.wrapping_sub(1);
        }
    }
}

fn order(a: Entry, b: Entry, exact: &impl Fn(u32, u32) -> Ordering) -> Ordering {
    if Share::is_apart(a.rank, b.rank) {
        a.rank.cmp(&b.rank)
    } else if a.unit == b.unit && a.unit != NO_UNIT {
        (a.num, a.label).cmp(&(b.num, b.label))
    } else if a.item == b.item {
        Ordering::Equal
    } else {
        exact(a.item, b.item)
    }
}

#[cfg(test)]
mod tests {
    use proto_machine::Dice;

    use super::*;

    /// Values close enough that ranks alone often cannot decide.
    fn random(dice: &mut Dice) -> u64 {
        dice.below(40) * 1500 + dice.below(3)
    }

    #[test]
    fn an_order_stays_sorted_and_a_cursor_meets_everybody_once() {
        let mut dice = Dice::new(3);
        for _ in 0..60 {
            let people = 1 + dice.below(400) as u32;
            let mut value: Vec<u64> = (0..people).map(|_| random(&mut dice)).collect();
            let mut order = Order::default();
            // Some can be compared by their entries, some only by asking.
            let entry = |value: &[u64], item: u32| {
                let (num, unit) = (value[item as usize], if item.is_multiple_of(3) { NO_UNIT } else { 0 });
                Entry { rank: num / 2, num, label: u64::from(item), unit, item }
            };
            let exact = |value: &[u64], a: u32, b: u32| (value[a as usize], a).cmp(&(value[b as usize], b));
            for item in 0..people {
                order.insert(entry(&value, item), |a, b| exact(&value, a, b));
            }
            let mut model: Vec<u32> = (0..people).collect();
            let mut cursor = Cursor::default();
            let mut passed = Vec::new();
            for _ in 0..800 {
                model.sort_by(|a, b| exact(&value, *a, *b));
                assert!(order.iter().map(|e| e.item).eq(model.iter().copied()));
                // The first who has not had a turn: pass over him, or let him grow and stand further behind.
                let next = order.peek(&mut cursor, |a, b| exact(&value, a, b));
                assert_eq!(next, model.iter().copied().find(|item| !passed.contains(item)));
                let Some(item) = next else { break };
                if dice.chance(1, 3) {
                    cursor.pass(entry(&value, item), &order);
                    passed.push(item);
                } else {
                    assert!(order.remove(entry(&value, item), |a, b| exact(&value, a, b)));
                    value[item as usize] += 1 + random(&mut dice);
                    order.insert(entry(&value, item), |a, b| exact(&value, a, b));
                }
            }
            model.sort_by(|a, b| exact(&value, *a, *b));
            let entries: Vec<Entry> = order.iter().collect();
            order.rebuild(entries, |a, b| exact(&value, a, b));
            assert!(order.iter().map(|e| e.item).eq(model.iter().copied()));
            for item in 0..people {
                assert!(order.remove(entry(&value, item), |a, b| exact(&value, a, b)));
                assert!(!order.remove(entry(&value, item), |a, b| exact(&value, a, b)));
            }
            assert_eq!((order.len(), order.iter().count()), (0, 0));
        }
    }
}
