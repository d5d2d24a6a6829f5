//! What can befall an event between the pretend master and the framework.

use std::collections::VecDeque;

use proto::scheduler::EventKind;

use super::Fake;

/// What befalls an event. Only what a real master and a real network can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The next event is lost. The one after it shows the gap.
    Drop,
    /// The next update of a task comes twice, as when its agent did not hear of the acknowledgement.
    Duplicate,
    /// The next update of a task comes after the event that follows it.
    Reorder,
}

/// Mishaps that wait for their event.
#[derive(Debug, Default)]
pub(super) struct Mishaps {
    waiting: VecDeque<Mishap>,
    held: Option<EventKind>,
}

// === impl Mishaps ===

impl Mishaps {
    /// What becomes of an event: what is said instead, and whether it gets lost.
    pub fn pass(&mut self, kind: EventKind) -> Vec<(EventKind, bool)> {
        let is_update = matches!(kind, EventKind::Update(_));
        let fits = |mishap: &Mishap| *mishap == Mishap::Drop || is_update;
        let mishap = match self.waiting.front().copied().filter(fits) {
            Some(mishap) => {
                self.waiting.pop_front();
                Some(mishap)
            }
            None => None,
        };
        let mut said = match mishap {
            None => vec![(kind, false)],
            Some(Mishap::Drop) => vec![(kind, true)],
            Some(Mishap::Duplicate) => vec![(kind.clone(), false), (kind, false)],
            Some(Mishap::Reorder) => {
                let before = self.held.replace(kind);
                return before.into_iter().map(|kind| (kind, false)).collect();
            }
        };
        said.extend(self.held.take().map(|kind| (kind, false)));
        said
    }

    pub fn clear(&mut self) {
        self.held = None;
    }
}

impl Fake {
    /// Something befalls one of the next events; several do so in the order in which they are named.
    pub fn befall(&mut self, mishap: Mishap) {
        self.mishaps.waiting.push_back(mishap);
    }

    /// An event that was held back for one that did not come is told now.
    pub fn release_held(&mut self) {
        if let Some(kind) = self.mishaps.held.take() {
            self.say(kind, false);
        }
    }

    /// The master is of a later version than the framework, and says something that only those know.
    pub fn say_what_is_not_known(&mut self) {
        // So it is read, see the codec of events.
        self.tell(EventKind::Heartbeat);
    }
}
