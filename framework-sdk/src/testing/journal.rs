//! `Journal`: what a pretend cluster and a framework said to each other, and when.

use std::time::Instant;

use proto::scheduler::{Call, CallKind, Event, EventKind};

/// One thing that happened at a door.
#[derive(Clone, Debug, PartialEq)]
pub enum Noted {
    /// Somebody asked for a session at this door, from 0.
    Dialled(usize),
    /// The framework said something.
    Called(Call),
    /// The framework was told something.
    Told(Event),
    /// The session broke, or was broken.
    Broke,
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    entries: Vec<(Instant, Noted)>,
}

// === impl Journal ===

impl Journal {
    /// Writes something down.
    pub fn note(&mut self, noted: Noted) {
        self.entries.push((Instant::now(), noted));
    }

    /// How long it is: a place to read on from.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What happened since a place.
    pub fn since(&self, place: usize) -> impl Iterator<Item = (Instant, &Noted)> {
        self.entries.iter().skip(place).map(|(at, noted)| (*at, noted))
    }

    /// The calls since a place.
    pub fn calls(&self, place: usize) -> impl Iterator<Item = (Instant, &CallKind)> {
        self.since(place).filter_map(|(at, noted)| match noted {
            Noted::Called(call) => Some((at, &call.kind)),
            Noted::Dialled(_) | Noted::Told(_) | Noted::Broke => None,
        })
    }

    /// The events since a place.
    pub fn told(&self, place: usize) -> impl Iterator<Item = (Instant, &EventKind)> {
        self.since(place).filter_map(|(at, noted)| match noted {
            Noted::Told(event) => Some((at, &event.kind)),
            Noted::Dialled(_) | Noted::Called(_) | Noted::Broke => None,
        })
    }
}
