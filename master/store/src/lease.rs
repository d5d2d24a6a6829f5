//! Leases: which there are and which keys end with them; when they run out the leader says.

use std::collections::{BTreeMap, BTreeSet};

use proto::store::{Bytes, LEASE_TTL_MAX_MS, LEASE_TTL_MIN_MS, LeaseGrant, LeaseReply};

use crate::change::Change;
use crate::{Fault, LEASES_MAX, Space};

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    pub ttl_ms: u64,
    /// Which grant of the space it is: an id may be given again.
    pub grant: u64,
    pub keys: BTreeSet<Bytes>,
}

/// The leases of a space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leases {
    pub by_id: BTreeMap<u64, Lease>,
    /// Grants so far.
    pub grants: u64,
}

// === impl Leases ===

impl Leases {
    pub fn contains(&self, id: u64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// A key ends with another lease from now on; 0 stands for none.
    pub fn bind(&mut self, key: &Bytes, from: u64, to: u64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.by_id.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.by_id.get_mut(&to) {
            lease.keys.insert(key.clone());
        }
    }
}

// === impl Space ===

impl Space {
    /// The leases, by id: how long each lasts in milliseconds, and which grant it is.
    pub fn leases(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.leases.by_id.iter().map(|(id, lease)| (*id, lease.ttl_ms, lease.grant))
    }

    /// How many there are.
    pub fn lease_count(&self) -> u64 {
        self.leases.by_id.len() as u64
    }

    /// How long a lease lasts in milliseconds, and which grant it is.
    pub fn lease(&self, id: u64) -> Option<(u64, u64)> {
        self.leases.by_id.get(&id).map(|lease| (lease.ttl_ms, lease.grant))
    }

    /// The keys that end with a lease.
    pub fn lease_keys(&self, id: u64) -> impl Iterator<Item = &Bytes> {
        self.leases.by_id.get(&id).into_iter().flat_map(|lease| &lease.keys)
    }

    pub(crate) fn grant(&mut self, asked: &LeaseGrant) -> Result<LeaseReply, Fault> {
        if asked.ttl_ms > LEASE_TTL_MAX_MS {
            return Err(Fault::LeaseTooLong);
        }
        if self.leases.contains(asked.id) {
            return Err(Fault::LeaseExists);
        }
        if self.leases.by_id.len() >= LEASES_MAX {
            return Err(Fault::TooManyLeases);
        }
        self.leases.grants += 1;
        let grant = self.leases.grants;
        let mut id = asked.id;
        if id == 0 {
            // One more than there are leases are tried at most.
            id = (grant..).find(|id| !self.leases.contains(*id)).unwrap_or(grant);
        }
        let ttl_ms = asked.ttl_ms.max(LEASE_TTL_MIN_MS);
        self.leases.by_id.insert(id, Lease { ttl_ms, grant, keys: BTreeSet::new() });
        Ok(LeaseReply { id, ttl_ms })
    }

    pub(crate) fn revoke(&mut self, id: u64) -> Result<u64, Fault> {
        let lease = self.leases.by_id.remove(&id).ok_or(Fault::LeaseNotFound)?;
        let mut change = Change::begin(self);
        lease.keys.iter().for_each(|key| change.delete_one(key));
        change.end();
        Ok(lease.grant)
    }

    /// Ends a lease that has run out, if it is the grant that was seen to.
    pub(crate) fn expire(&mut self, id: u64, grant: u64) -> Result<u64, Fault> {
        match self.lease(id) {
            Some((_, there)) if there == grant => self.revoke(id),
            Some(_) | None => Err(Fault::LeaseNotFound),
        }
    }
}
