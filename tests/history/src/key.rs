//! `OneKey`: a key of the frameworks' state as a model, with revisions that only grow.

use crate::search::Model;
use crate::store::{Guard, Kv};

/// A key of the store, beginning as one that is not there.
#[derive(Clone, Copy, Debug)]
pub struct OneKey;

/// What was done to the key, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was read.
    Read {
        /// What was found.
        found: Option<Kv>,
        /// As of which revision.
        revision: u64,
    },
    /// It was put.
    Put {
        /// What.
        value: u64,
        /// At which revision; `None`: nobody knows whether it was.
        revision: Option<u64>,
    },
    /// It was to be put if it was as it was seen.
    Swap {
        /// How it was seen.
        guard: Guard,
        /// What was to be put.
        value: u64,
        /// What came of it.
        came: Came,
    },
    /// It was deleted.
    Delete {
        /// Whether it was there, and the revision; `None`: nobody knows.
        came: Option<(bool, u64)>,
    },
}

/// What came of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was done at this revision.
    Done(u64),
    /// It was not: this was found, as of this revision.
    Otherwise(Option<Kv>, u64),
    /// Nobody knows.
    Unknown,
}

/// How the key stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// The greatest revision that is known of by now: what changes something from here on has a greater one.
    floor: u64,
    held: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    value: u64,
    version: u64,
    created: Mark,
    modified: Mark,
}

/// A revision, or what is known of one that nobody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    At(u64),
    /// Greater than this.
    Behind(u64),
}

// === impl Mark ===

impl Mark {
    fn can_be(self, revision: u64) -> bool {
        match self {
            Mark::At(at) => at == revision,
            Mark::Behind(floor) => revision > floor,
        }
    }
}

// === impl State ===

impl State {
    /// As it is if this was found at a revision.
    fn seen(&self, found: Option<Kv>, revision: u64) -> Option<State> {
        if revision < self.floor {
            return None;
        }
        let held = match (&self.held, found) {
            (None, None) => None,
            (Some(held), Some(kv)) => {
                let same = held.value == kv.value && held.version == kv.version;
                let can = held.created.can_be(kv.created) && held.modified.can_be(kv.modified);
                if !same || !can || kv.modified > revision {
                    return None;
                }
                Some(Held { created: Mark::At(kv.created), modified: Mark::At(kv.modified), ..held.clone() })
            }
            _ => return None,
        };
        Some(State { floor: revision, held })
    }

    /// Where a change can be, if it was at this revision or at one that nobody was told.
    fn place(&self, revision: Option<u64>) -> Option<(Mark, u64)> {
        match revision {
            None => Some((Mark::Behind(self.floor), self.floor)),
            Some(at) if at > self.floor => Some((Mark::At(at), at)),
            Some(_) => None,
        }
    }

    fn put(&self, value: u64, revision: Option<u64>) -> Option<State> {
        let (modified, floor) = self.place(revision)?;
        let (created, version) = match &self.held {
            Some(held) => (held.created, held.version + 1),
            None => (modified, 1),
        };
        Some(State { floor, held: Some(Held { value, version, created, modified }) })
    }

    /// Whether a guard holds; `None`: it may or may not.
    fn holds(&self, guard: Guard) -> Option<bool> {
        match (guard, &self.held) {
            (Guard::Modified(seen) | Guard::Version(seen), None) => Some(seen == 0),
            (Guard::Version(seen), Some(held)) => Some(seen == held.version),
            (Guard::Modified(seen), Some(held)) => match held.modified {
                Mark::At(at) => Some(at == seen),
                Mark::Behind(floor) if seen <= floor => Some(false),
                Mark::Behind(_) => None,
            },
        }
    }
}

impl Model for OneKey {
    type State = State;
    type Action = Action;

    fn first(&self) -> State {
        State { floor: 0, held: None }
    }

    fn after(&self, state: &State, action: &Action) -> Option<State> {
        match action {
            Action::Read { found, revision } => state.seen(*found, *revision),
            Action::Put { value, revision } => state.put(*value, *revision),
            Action::Swap { guard, value, came } => match (came, state.holds(*guard)) {
                (Came::Done(revision), Some(true) | None) => state.put(*value, Some(*revision)),
                (Came::Unknown, Some(true) | None) => state.put(*value, None),
                (Came::Unknown, Some(false)) => Some(state.clone()),
                (Came::Done(_), Some(false)) => None,
                // What was found is how it stood: the guard must not hold of that.
                (Came::Otherwise(found, revision), _) => {
                    let seen = state.seen(*found, *revision)?;
                    (seen.holds(*guard) == Some(false)).then_some(seen)
                }
            },
            Action::Delete { came } => match (came, &state.held) {
                (Some((false, revision)), None) => state.seen(None, *revision),
                (Some((true, revision)), Some(_)) => {
                    Some(State { floor: state.place(Some(*revision))?.1, held: None })
                }
                (None, _) => Some(State { held: None, ..state.clone() }),
                (Some(_), _) => None,
            },
        }
    }
}
