//! `Queue`: what happens when, ordered by time and, within one instant, by the order in which it was decided.

use std::collections::BTreeMap;

/// Events by time. Times are nanoseconds since the world began.
#[derive(Debug)]
pub struct Queue<E> {
    events: BTreeMap<(u64, u64), E>,
    next: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { events: BTreeMap::new(), next: 0 }
    }
}

impl<E> Queue<E> {
    /// Has `event` happen at `at`.
    pub fn push(&mut self, at: u64, event: E) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
