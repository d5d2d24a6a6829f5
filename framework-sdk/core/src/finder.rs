//! `Finder`: which master to talk to next, and when.

use std::time::Duration;

use proto::roster::Masters;
use proto_machine::Dice;

/// The first wait after a failed try.
pub const BACKOFF_START: Duration = Duration::from_millis(50);
/// The longest wait between the first tries: a new leader is there within half a second, and must not be missed by more.
pub const BACKOFF_QUICK: Duration = Duration::from_millis(200);
/// So many tries are quick, some four seconds of them; after that nobody is expected soon.
const QUICK_TRIES: u32 = 24;
/// The longest wait between tries.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// So many redirects in a row are followed at once; then masters that disagree are given time.
const REDIRECTS_MAX: u32 = 3;

/// Goes round the configured masters, prefers the one that was named as leader, and slows down while nobody answers.
#[derive(Debug)]
pub struct Finder {
    masters: Vec<String>,
    next: usize,
    hint: Option<String>,
    redirects: u32,
    failures: u32,
}

// === impl Finder ===

impl Finder {
    /// Starts at any of the masters, so that a crowd of frameworks does not begin at the same one.
    pub fn new(masters: Vec<String>, dice: &mut Dice) -> Self {
        let next = dice.below(masters.len() as u64) as usize;
        Finder { masters, next, hint: None, redirects: 0, failures: 0 }
    }

    /// Where the masters are now.
    pub fn learn(&mut self, masters: &Masters) {
        masters.learn(&mut self.masters);
    }

    /// The address to try now; `None` when no master is configured.
    pub fn take(&mut self) -> Option<String> {
        if let Some(hint) = self.hint.take() {
            return Some(hint);
        }
        // Masters may have become fewer.
        let at = self.next % self.masters.len().max(1);
        let master = self.masters.get(at)?.clone();
        self.next = (at + 1) % self.masters.len();
        Some(master)
    }

    /// A master named the leader (empty: it knows none). The wait before the next try.
    pub fn redirected(&mut self, leader: &str, dice: &mut Dice) -> Duration {
        self.redirects += 1;
        if leader.is_empty() {
            return self.failed(dice);
        }
        self.hint = Some(leader.to_owned());
        if self.redirects <= REDIRECTS_MAX { Duration::ZERO } else { self.failed(dice) }
    }

    /// A try failed, or a session that hardly stood broke. The wait before the next one: none for the first failure,
    /// then doubling, with jitter over its upper half.
    pub fn failed(&mut self, dice: &mut Dice) -> Duration {
        let before = self.failures;
        self.failures = self.failures.saturating_add(1);
        if before == 0 {
            return Duration::ZERO;
        }
        let most = if before < QUICK_TRIES { BACKOFF_QUICK } else { BACKOFF_MAX };
        let full = BACKOFF_START.saturating_mul(1 << (before - 1).min(10)).min(most);
        let half = full / 2;
        half + Duration::from_nanos(dice.below(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// A session stands.
    pub fn stands(&mut self) {
        self.redirects = 0;
    }

    /// A session stood for a while before it broke: the next failure is a first one again.
    pub fn stood(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_at_once_and_waits_grow_to_a_second() {
        let mut dice = Dice::new(1);
        let mut finder = Finder::new(vec!["a".into(), "b".into()], &mut dice);
        assert_eq!(finder.failed(&mut dice), Duration::ZERO);
        let second = finder.failed(&mut dice);
        assert!(second >= BACKOFF_START / 2 && second <= BACKOFF_START, "{second:?}");
        for _ in 0..40 {
            assert!(finder.failed(&mut dice) <= BACKOFF_MAX);
        }
        assert!(finder.failed(&mut dice) >= BACKOFF_MAX / 2);
        finder.stood();
        assert_eq!(finder.failed(&mut dice), Duration::ZERO);
    }

    #[test]
    fn masters_that_it_is_told_of_are_tried_and_those_it_knew_stay() {
        let mut dice = Dice::new(1);
        let mut finder = Finder::new(vec!["a".into(), "b".into()], &mut dice);
        finder.learn(&Masters { addresses: vec!["c".into(), "d".into()] });
        let tried: std::collections::BTreeSet<_> = (0..4).filter_map(|_| finder.take()).collect();
        assert_eq!(tried, ["a", "b", "c", "d"].map(str::to_owned).into());
    }

    #[test]
    fn hints_come_first_and_endless_redirects_slow_down() {
        let mut dice = Dice::new(1);
        let mut finder = Finder::new(vec!["a".into(), "b".into()], &mut dice);
        assert_eq!(finder.redirected("c", &mut dice), Duration::ZERO);
        assert_eq!(finder.take().as_deref(), Some("c"));
        let mut seen: Vec<_> = (0..2).filter_map(|_| finder.take()).collect();
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
        let waits: Vec<_> = (0..8).map(|_| finder.redirected("c", &mut dice)).collect();
        assert!(waits.iter().any(|wait| *wait > Duration::ZERO), "{waits:?}");
    }
}
