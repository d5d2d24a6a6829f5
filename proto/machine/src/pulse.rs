//! `Pulse`: whether something has happened often lately.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;

/// The times at which something happened last: it is fast while so many of them lie within so short a time.
#[derive(Clone, Debug)]
pub struct Pulse {
    beats: VecDeque<Instant>,
    many: usize,
    within: Duration,
}

// === impl Pulse ===

impl Pulse {
    /// Nothing has happened; `many` times `within` such a time will be fast.
    pub fn new(many: usize, within: Duration) -> Self {
        Pulse { beats: VecDeque::with_capacity(many), many: many.max(1), within }
    }

    /// It happens.
    pub fn beat(&mut self, now: Instant) {
        if self.beats.len() == self.many {
            self.beats.pop_front();
        }
        self.beats.push_back(now);
    }

    /// Whether it has happened so often lately.
    pub fn is_fast(&self, now: Instant) -> bool {
        self.beats.len() == self.many
            && self.beats.front().is_some_and(|first| now.since(*first) < self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn it_is_fast_while_many_beats_lie_close_behind() {
        let mut pulse = Pulse::new(3, Duration::from_millis(10));
        for millis in [0, 20, 22] {
            pulse.beat(at(millis));
        }
        assert!(!pulse.is_fast(at(22)), "the first of three is long ago");
        pulse.beat(at(24));
        assert!(pulse.is_fast(at(24)) && pulse.is_fast(at(29)));
        assert!(!pulse.is_fast(at(30)), "and it slows down by itself");
    }

    #[test]
    fn few_beats_are_never_fast() {
        let mut pulse = Pulse::new(3, Duration::from_millis(10));
        pulse.beat(at(1));
        pulse.beat(at(1));
        assert!(!pulse.is_fast(at(1)));
    }
}
