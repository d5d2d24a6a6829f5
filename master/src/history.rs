//! What happened, as this master tells it: a longer memory than the registry's, and whoever waits for the next event.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::operator::{Events, EventsAfter, Happened};
use tokio::sync::watch;
use tokio::time::timeout;

/// Events kept in memory: an hour of a pool that starts and ends seven tasks a second.
const EVENTS_KEPT: usize = 50_000;
/// Events in one answer.
const AT_ONCE: usize = 1_000;
/// The longest that an answer waits.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The events of the log.
pub(crate) struct History {
    kept: Mutex<VecDeque<Arc<Happened>>>,
    newest: watch::Sender<u64>,
}

impl Default for History {
    fn default() -> Self {
        History { kept: Mutex::default(), newest: watch::channel(0).0 }
    }
}

// === impl History ===

impl History {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Happened>>> {
        // Nobody panics while holding it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are next.
    pub fn happened(&self, events: Vec<Arc<Happened>>) {
        let Some(newest) = events.last().map(|event| event.sequence) else { return };
        {
            let mut kept = self.lock();
            // A peer's snapshot may leave some out that this master never heard of: what is kept has no gaps.
            let follows =
                |last: &Arc<Happened>| events.first().is_some_and(|e| e.sequence == last.sequence + 1);
            if !kept.back().is_none_or(follows) {
                kept.clear();
            }
            kept.extend(events);
            let beyond = kept.len().saturating_sub(EVENTS_KEPT);
            kept.drain(..beyond);
        }
        self.newest.send_replace(newest);
    }

    /// Answers at once if there is something to tell, else when there is, or when the time is over.
    pub async fn after(&self, asked: &EventsAfter) -> Events {
        if let Some(since) = asked.since {
            let mut newest = self.newest.subscribe();
            // Its sender lives as long as this: nothing but an event or time ends the wait.
            let _ = timeout(asked.wait.min(WAIT_MAX), newest.wait_for(|newest| *newest > since)).await;
        }
        self.now(asked)
    }

    fn now(&self, asked: &EventsAfter) -> Events {
        let kept = self.lock();
        let (oldest, newest) = match (kept.front(), kept.back()) {
            (Some(oldest), Some(newest)) => (oldest.sequence, newest.sequence),
            _ => return Events::default(),
        };
        let at_most = match usize::try_from(asked.at_most) {
            Ok(0) | Err(_) => AT_ONCE,
            Ok(at_most) => at_most.min(AT_ONCE),
        };
        let known = match asked.since {
            Some(since) => {
                usize::try_from(since.saturating_add(1).saturating_sub(oldest)).unwrap_or(usize::MAX)
            }
            None => kept.len().saturating_sub(at_most),
        };
        let events = kept.range(known.min(kept.len())..).take(at_most).cloned().collect();
        Events { events, oldest, newest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(numbers: std::ops::RangeInclusive<u64>) -> Vec<Arc<Happened>> {
        numbers.map(|sequence| Arc::new(Happened { sequence, ..Happened::default() })).collect()
    }

    fn numbers(events: &Events) -> Vec<u64> {
        events.events.iter().map(|event| event.sequence).collect()
    }

    fn since(since: u64, wait: Duration) -> EventsAfter {
        EventsAfter { since: Some(since), wait, at_most: 0 }
    }

    #[tokio::test]
    async fn whoever_asks_goes_on_where_it_was() {
        let history = History::default();
        assert_eq!(history.after(&since(0, Duration::ZERO)).await, Events::default());
        history.happened(events(1..=5));
        assert_eq!(numbers(&history.after(&since(0, Duration::ZERO)).await), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&history.after(&since(3, Duration::ZERO)).await), [4, 5]);
        let two = EventsAfter { at_most: 2, ..since(1, Duration::ZERO) };
        assert_eq!(numbers(&history.after(&two).await), [2, 3]);
        let last = EventsAfter { at_most: 2, ..EventsAfter::default() };
        assert_eq!(numbers(&history.after(&last).await), [4, 5]);
        assert_eq!(numbers(&history.after(&since(u64::MAX, Duration::ZERO)).await), [0; 0]);
    }

    #[tokio::test]
    async fn an_answer_waits_for_what_comes_next() {
        let history = History::default();
        history.happened(events(1..=1));
        let asked = since(1, Duration::from_secs(20));
        let telling = async {
            tokio::task::yield_now().await;
            history.happened(events(2..=3));
        };
        assert_eq!(numbers(&tokio::join!(history.after(&asked), telling).0), [2, 3]);
    }

    #[tokio::test]
    async fn what_a_snapshot_left_out_is_a_gap_that_can_be_seen() {
        let history = History::default();
        history.happened(events(1..=5));
        history.happened(events(9..=10));
        let told = history.after(&since(5, Duration::ZERO)).await;
        assert_eq!((numbers(&told), told.oldest, told.newest), (vec![9, 10], 9, 10));
    }
}
