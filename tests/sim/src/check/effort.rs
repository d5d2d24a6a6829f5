//! P11: no more is done than the world asks for: nothing goes round in circles, whoever behaves how.

use super::{Verdict, broken};
use crate::options::SECOND;

/// So much may happen in one second of a world. The worlds of seeds stay below a third of it.
const EVENTS_MAX: u64 = 20_000;

/// How much has happened in the present second.
#[derive(Debug, Default)]
pub struct Effort {
    second: u64,
    events: u64,
    most: u64,
}

impl Effort {
    /// Something happens.
    pub fn happens(&mut self, now: u64) -> Verdict {
        if now / SECOND != self.second {
            (self.second, self.events) = (now / SECOND, 0);
        }
        self.events += 1;
        self.most = self.most.max(self.events);
        if self.events <= EVENTS_MAX {
            return Ok(());
        }
        broken("P11 bounded effort", format!("{} events in one second, and no end", self.events))
    }

    /// The most that has happened in a second.
    pub fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_end_is_seen() {
        let mut effort = Effort::default();
        assert!((0..2 * EVENTS_MAX).all(|at| effort.happens(at * SECOND / EVENTS_MAX).is_ok()));
        let same = 2 * SECOND;
        assert!((0..EVENTS_MAX).all(|_| effort.happens(same).is_ok()));
        assert!(effort.happens(same).is_err());
    }
}
