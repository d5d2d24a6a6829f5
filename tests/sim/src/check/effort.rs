//! P11: no more is done than the world asks for: nothing goes round in circles, whoever behaves how.

use super::{Verdict, broken};
use crate::options::SECOND;

/// So much may happen in one second of a world.
const EVENTS_MAX: u64 = 20_000;
/// So many offers may be made in one second of a world.
const OFFERS_MAX: u64 = 600;

/// How much has happened in the present second.
#[derive(Debug, Default)]
pub struct Effort {
    second: u64,
    events: u64,
    offers: u64,
    most: (u64, u64),
}

impl Effort {
    /// Something happens.
    pub fn happens(&mut self, now: u64) -> Verdict {
        if now / SECOND != self.second {
            (self.second, self.events, self.offers) = (now / SECOND, 0, 0);
        }
        self.events += 1;
        self.most.0 = self.most.0.max(self.events);
        self.is_bounded()
    }

    /// An offer is made.
    pub fn offers(&mut self) -> Verdict {
        self.offers += 1;
        self.most.1 = self.most.1.max(self.offers);
        self.is_bounded()
    }

    fn is_bounded(&self) -> Verdict {
        if self.events <= EVENTS_MAX && self.offers <= OFFERS_MAX {
            return Ok(());
        }
        let how = format!("{} events and {} offers in one second, and no end", self.events, self.offers);
        broken("P11 bounded effort", how)
    }

    /// The most events and the most offers that there were in a second.
    pub fn most(&self) -> (u64, u64) {
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
        assert!(effort.happens(same + SECOND).is_ok());
        assert!((0..OFFERS_MAX).all(|_| effort.offers().is_ok()));
        assert!(effort.offers().is_err());
    }
}
