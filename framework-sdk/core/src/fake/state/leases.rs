//! `Leases`: those of one space, and until when each stands.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::refusal::{Code, Refusal};
use proto::store::{LEASE_TTL_MAX_MS, LEASE_TTL_MIN_MS, LeaseGrant, LeaseReply};
use proto_machine::Instant;

/// One lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub ttl_ms: u64,
    pub until: Instant,
}

/// The leases of a space.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    by_id: BTreeMap<u64, Lease>,
    grants: u64,
}

// === impl Leases ===

impl Leases {
    pub fn get(&self, id: u64) -> Result<&Lease, Refusal> {
        self.by_id.get(&id).ok_or_else(not_found)
    }

    pub fn ids(&self) -> Vec<u64> {
        self.by_id.keys().copied().collect()
    }

    pub fn grant(&mut self, now: Instant, asked: &LeaseGrant) -> Result<LeaseReply, Refusal> {
        if asked.ttl_ms > LEASE_TTL_MAX_MS {
            let message = format!("the lease is longer than {LEASE_TTL_MAX_MS} ms");
            return Err(Refusal::new(Code::Invalid, message));
        }
        if self.by_id.contains_key(&asked.id) {
            return Err(Refusal::new(Code::Conflict, "there is a lease of this id"));
        }
        self.grants += 1;
        let id = match asked.id {
            0 => (self.grants..).find(|id| !self.by_id.contains_key(id)).unwrap_or(self.grants),
            id => id,
        };
        let ttl_ms = asked.ttl_ms.max(LEASE_TTL_MIN_MS);
        self.by_id.insert(id, Lease { ttl_ms, until: now + Duration::from_millis(ttl_ms) });
        Ok(LeaseReply { id, ttl_ms })
    }

    /// Lets a lease begin again; how long it lasts.
    pub fn keep_alive(&mut self, now: Instant, id: u64) -> Result<u64, Refusal> {
        let lease = self.by_id.get_mut(&id).ok_or_else(not_found)?;
        lease.until = now + Duration::from_millis(lease.ttl_ms);
        Ok(lease.ttl_ms)
    }

    pub fn begin_again(&mut self, now: Instant) {
        for lease in self.by_id.values_mut() {
            lease.until = now + Duration::from_millis(lease.ttl_ms);
        }
    }

    /// Those of which this holds.
    pub fn over(&self, is_over: impl Fn(Instant) -> bool) -> Vec<u64> {
        self.by_id.iter().filter(|(_, lease)| is_over(lease.until)).map(|(id, _)| *id).collect()
    }

    pub fn end(&mut self, id: u64) {
        self.by_id.remove(&id);
    }
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such lease; it may have run out")
}
