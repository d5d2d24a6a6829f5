//! `Clock`: what a process takes for the time: its own start, its own pace, its own idea of the day.

use proto_machine::{Dice, Instant, Now, WallTime};

/// The day on which every world begins, in milliseconds since 1970.
const DAWN_MS: u64 = 1_700_000_000_000;
/// A pace of one second a second.
const TRUE_PACE: u64 = 1_000_000;

/// A clock that begins anew with each process, as the monotonic clock of a machine does with each boot.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    born: u64,
    offset: u64,
    /// Microseconds that it shows each second.
    pace: u64,
    /// How far its day is off.
    skew_ms: i64,
}

impl Clock {
    /// The clock of a process that starts at `born`; off by at most so much.
    pub fn new(born: u64, skew_ms: u64, drift_ppm: u64, dice: &mut Dice) -> Self {
        Clock {
            born,
            offset: dice.below(1 << 40),
            pace: TRUE_PACE - drift_ppm + dice.below(2 * drift_ppm + 1),
            skew_ms: dice.below(skew_ms + 1) as i64,
        }
    }

    /// What it shows when `at` is the true time.
    pub fn now(&self, at: u64) -> Now {
        let lived = u128::from(at - self.born) * u128::from(self.pace) / u128::from(TRUE_PACE);
        Now {
            monotonic: Instant::from_nanos(self.offset + lived as u64),
            wall: WallTime::from_millis((DAWN_MS + at / 1_000_000).saturating_add_signed(self.skew_ms)),
        }
    }

    /// Somebody sets it, forth or back; what measures how time passes goes on as before.
    pub fn set(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
    }

    /// The true time at which it will show at least `instant`.
    pub fn when(&self, instant: Instant) -> u64 {
        let shown = u128::from(instant.as_nanos().saturating_sub(self.offset));
        let lived = (shown * u128::from(TRUE_PACE)).div_ceil(u128::from(self.pace));
        self.born.saturating_add(u64::try_from(lived).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_passed_when_it_was_said_to() {
        let mut dice = Dice::new(3);
        for _ in 0..1000 {
            let clock = Clock::new(dice.below(1 << 40), 5000, 20_000, &mut dice);
            let wanted = Instant::from_nanos(clock.offset + dice.below(1 << 42));
            let at = clock.when(wanted);
            assert!(clock.now(at).monotonic >= wanted);
            assert!(at == clock.born || clock.now(at - 1).monotonic < wanted);
        }
    }
}
