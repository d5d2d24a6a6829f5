//! `Chain`: the remembered versions of one key, oldest first.

use std::sync::Arc;

use proto::store::{Bytes, KeyValue};

use crate::VERSION_OVERHEAD;

/// One version of one key. Shared by its chain and the history of its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: u64,
    pub mod_revision: u64,
    /// Its place among the changes of that revision.
    pub sub: u32,
    /// 0 for a tombstone.
    pub version: u64,
    pub lease: u64,
}

/// The versions of one key; never empty, revisions rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain(Vec<Arc<Version>>);

// === impl Version ===

impl Version {
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }

    /// What it costs to remember, in bytes.
    pub fn cost(&self) -> u64 {
        self.key.len() as u64 + self.value.len() as u64 + VERSION_OVERHEAD
    }

    pub fn to_kv(&self) -> KeyValue {
        KeyValue {
            key: self.key.clone(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

// === impl Chain ===

impl Chain {
    pub fn push(&mut self, version: Arc<Version>) {
        debug_assert!(self.0.last().is_none_or(|last| last.mod_revision < version.mod_revision));
        self.0.push(version);
    }

    /// The key as it is now, if it is there.
    pub fn live(&self) -> Option<&Arc<Version>> {
        self.0.last().filter(|version| !version.is_tombstone())
    }

    /// The key as it was behind a revision, if it was there.
    pub fn at(&self, revision: u64) -> Option<&Arc<Version>> {
        let behind = self.0.partition_point(|version| version.mod_revision <= revision);
        self.0.get(behind.checked_sub(1)?).filter(|version| !version.is_tombstone())
    }

    /// Forgets what was replaced up to a revision; how many bytes that were.
    pub fn compact(&mut self, revision: u64) -> u64 {
        let behind = self.0.partition_point(|version| version.mod_revision <= revision);
        let Some(newest) = behind.checked_sub(1) else { return 0 };
        let gone = if self.0[newest].is_tombstone() { behind } else { newest };
        self.0.drain(..gone).map(|version| version.cost()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.0.iter()
    }
}
