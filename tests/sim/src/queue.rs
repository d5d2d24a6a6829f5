//! `Queue`: what happens when, ordered by time and, within one instant, by the order in which it was decided.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by time. Times are nanoseconds since the world began.
#[derive(Debug)]
pub struct Queue<E> {
    /// When, in which order within that instant, and where the event lies.
    times: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    /// Where there is room.
    free: Vec<usize>,
    next: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { times: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), next: 0 }
    }
}

impl<E> Queue<E> {
    /// Has `event` happen at `at`.
    pub fn push(&mut self, at: u64, event: E) {
        self.next += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.times.push(Reverse((at, self.next, place)));
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<u64> {
        self.times.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at, _, place)) = self.times.pop()?;
        self.free.push(place);
        self.events[place].take().map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_once_comes_in_the_order_of_its_planning() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'd'), (3, 'b'), (3, 'c'), (1, 'a')] {
            queue.push(at, event);
        }
        assert_eq!(queue.pop(), Some((1, 'a')));
        queue.push(5, 'e');
        assert_eq!(queue.next_at(), Some(3));
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [(3, 'b'), (3, 'c'), (5, 'd'), (5, 'e')]);
    }
}
