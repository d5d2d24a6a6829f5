//! `Machine`: a participant that lives by messages.

use crate::{Instant, Now, Outbox};

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
}
