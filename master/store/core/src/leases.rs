//! `Timers`: when each lease runs out, as only a leader knows it.

use std::collections::BTreeSet;
use std::time::Duration;

use master_store::{SpaceId, Store};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Deadlines, Instant};

/// A lease of a space, and which grant of its id.
pub(crate) type LeaseKey = (SpaceId, u64, u64);

/// How long to wait before a run-out lease is proposed again that consensus did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// The leader's timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: Deadlines<LeaseKey>,
    /// Run out, and on their way through the log: they cannot be kept alive any more.
    ending: BTreeSet<LeaseKey>,
}

impl Timers {
    /// The timers of a new leader: every lease has its whole time before it.
    pub fn begin(store: &Store, now: Instant) -> Timers {
        let mut timers = Timers::default();
        for (space, leases) in store.spaces() {
            for (id, ttl_ms, grant) in leases.leases() {
                let ttl_ms = if mutants::is(Mutant::LeaseEndsWithLeader) { 0 } else { ttl_ms };
                timers.start((space.clone(), id, grant), ttl_ms, now);
            }
        }
        timers
    }

    /// A lease begins, or begins again. False if it is ending.
    pub fn start(&mut self, key: LeaseKey, ttl_ms: u64, now: Instant) -> bool {
        if self.ending.contains(&key) {
            return false;
        }
        if mutants::is(Mutant::ForgetKeepAlive) && self.deadlines.get(&key).is_some() {
            return true;
        }
        self.deadlines.set(key, now + Duration::from_millis(ttl_ms));
        true
    }

    /// A lease is gone.
    pub fn end(&mut self, key: &LeaseKey) {
        self.deadlines.cancel(key);
        self.ending.remove(key);
    }

    /// The log did not take the end of a lease.
    pub fn again(&mut self, key: LeaseKey, now: Instant) {
        self.ending.remove(&key);
        self.deadlines.set(key, now + AGAIN);
    }

    /// A lease that has run out; from now on it is ending.
    pub fn pop_due(&mut self, now: Instant) -> Option<LeaseKey> {
        let key = self.deadlines.pop_due(now)?;
        self.ending.insert(key.clone());
        Some(key)
    }

    /// What is left of a lease.
    pub fn left(&self, key: &LeaseKey, now: Instant) -> Duration {
        self.deadlines.get(key).map_or(Duration::ZERO, |at| at.since(now))
    }

    pub fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}
