//! `Machine`: a participant that lives by messages.

use std::time::Duration;

use crate::{Instant, Now, Outbox};

/// How soon an input has to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// At once, with everything that came before it.
    Now,
    /// At once and alone: it has nothing to do with what is being gathered, which goes on.
    Overtakes,
    /// It may wait a little for others of its kind, because nobody is held up meanwhile.
    Waits,
}

/// A participant that lives by messages. It cannot wait, cannot fail, and cannot see the world.
///
/// A driver calls [`step`](Machine::step) for each input of a batch, then [`settle`](Machine::settle) once,
/// then performs the outbox **in order**: nothing behind an output that stores leaves before it is on disk.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Output;

    /// Something happened.
    fn step(&mut self, now: Now, input: Self::Input, out: &mut Outbox<Self::Output>);

    /// A deadline named by [`wake_at`](Machine::wake_at) has passed.
    fn wake(&mut self, now: Now, out: &mut Outbox<Self::Output>);

    /// The driver's batch is over: what was gathered (a log entry of many changes) goes out now.
    fn settle(&mut self, _now: Now, _out: &mut Outbox<Self::Output>) {}

    /// When to be woken if nothing happens; `None` for never.
    fn wake_at(&self) -> Option<Instant>;

    /// How an input stands to those that came before it and are still being gathered.
    fn haste(_input: &Self::Input) -> Haste {
        Haste::Now
    }

    /// How long inputs that can wait are gathered at present, at most. A machine in whose world little happens answers
    /// zero, and each input is taken at once; one that is busy trades a few milliseconds of what nobody waits for against
    /// the cost of a batch, which is mostly that of waking, syncing and sending.
    fn gathers_for(&self, _now: Instant) -> Duration {
        Duration::ZERO
    }
}
