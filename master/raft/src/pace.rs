//! `Pace`: ticks from the clock that is given, and election timeouts from dice of its own.

use proto_machine::{Dice, Instant, Now};

use crate::config::{CAMPAIGN_TICKS_MAX, CAMPAIGN_TICKS_MIN, LATE_TICKS_MAX, TICK};

/// When to tick, and how long to wait for a leader.
///
/// The library draws its election timeout from a generator of the thread. It is overwritten after every call with
/// one drawn here, so that a seed reproduces a run. Drawing anew follows from what can be seen and not from whether
/// the library drew, which cannot be: two draws may be equal.
pub(crate) struct Pace {
    dice: Dice,
    next: Option<Instant>,
    /// Ticks so far.
    ticks: u64,
    seen: Stage,
    campaign_ticks: usize,
}

/// What resets a member's patience when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stage {
    pub term: u64,
    pub leader: u64,
    pub role: raft::StateRole,
}

impl Pace {
    pub fn new(dice: Dice) -> Self {
        let mut pace = Self { dice, next: None, ticks: 0, seen: Stage::default(), campaign_ticks: 0 };
        pace.draw();
        pace
    }

    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    pub fn wake_at(&self) -> Instant {
        self.next.unwrap_or_default()
    }

    /// The first batch starts the clock.
    pub fn start(&mut self, now: Now) {
        self.next.get_or_insert(now.monotonic + TICK);
    }

    /// How many ticks are due. What is later than `LATE_TICKS_MAX` is forgotten.
    pub fn due(&mut self, now: Now) -> u64 {
        self.start(now);
        let now = now.monotonic;
        let mut next = self.wake_at();
        let mut due = 0;
        while next <= now && due < LATE_TICKS_MAX {
            due += 1;
            next = next + TICK;
        }
        if next <= now {
            next = now + TICK;
        }
        self.next = Some(next);
        self.ticks += due;
        due
    }

    /// The election timeout in force, in ticks, at this stage.
    pub fn campaign_ticks(&mut self, stage: Stage, campaigned: bool) -> usize {
        if stage != self.seen || campaigned {
            self.seen = stage;
            self.draw();
        }
        self.campaign_ticks
    }

    fn draw(&mut self) {
        let spread = (CAMPAIGN_TICKS_MAX - CAMPAIGN_TICKS_MIN + 1) as u64;
        self.campaign_ticks = CAMPAIGN_TICKS_MIN + self.dice.below(spread) as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now { monotonic: Instant::from_nanos(millis * 1_000_000), ..Now::default() }
    }

    #[test]
    fn a_late_wake_is_made_up_for_and_a_long_sleep_is_not() {
        let mut pace = Pace::new(Dice::new(1));
        assert_eq!(pace.due(at(0)), 0);
        assert_eq!(pace.due(at(19)), 0);
        assert_eq!(pace.due(at(20)), 1);
        assert_eq!(pace.due(at(65)), 2);
        assert_eq!(pace.wake_at(), at(80).monotonic);
        assert_eq!(pace.due(at(60_000)), LATE_TICKS_MAX);
        assert_eq!(pace.wake_at(), at(60_020).monotonic);
    }

    #[test]
    fn timeouts_stay_in_their_range_and_change_with_the_stage_alone() {
        let mut pace = Pace::new(Dice::new(7));
        let mut drawn = std::collections::BTreeSet::new();
        for term in 0..200 {
            let stage = Stage { term, ..Stage::default() };
            let ticks = pace.campaign_ticks(stage, false);
            assert_eq!(pace.campaign_ticks(stage, false), ticks);
            drawn.insert(ticks);
        }
        assert_eq!(drawn, (CAMPAIGN_TICKS_MIN..=CAMPAIGN_TICKS_MAX).collect());
    }
}
