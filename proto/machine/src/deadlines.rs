//! `Deadlines`: which key is due when, with at most one deadline a key.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;

/// Timers of a machine: each key has at most one deadline. All operations are O(log n).
#[derive(Clone, Debug)]
pub struct Deadlines<K: Ord + Clone> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Clone> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    /// No deadlines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline of `key`, replacing an earlier one.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Forgets the deadline of `key`; returns it if there was one.
    pub fn cancel(&mut self, key: &K) -> Option<Instant> {
        let at = self.by_key.remove(key)?;
        self.by_time.remove(&(at, key.clone()));
        Some(at)
    }

    /// The deadline of `key`.
    pub fn get(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest key whose deadline is at or before `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_the_earliest_comes_first() {
        let mut d = Deadlines::new();
        d.set("a", Instant::from_nanos(30));
        d.set("b", Instant::from_nanos(20));
        d.set("a", Instant::from_nanos(10));
        assert_eq!(d.len(), 2);
        assert_eq!(d.next(), Some(Instant::from_nanos(10)));
        assert_eq!(d.pop_due(Instant::from_nanos(9)), None);
        assert_eq!(d.pop_due(Instant::from_nanos(25)), Some("a"));
        assert_eq!(d.pop_due(Instant::from_nanos(25)), Some("b"));
        assert_eq!(d.pop_due(Instant::from_nanos(25)), None);
        assert!(d.is_empty());
    }
}
