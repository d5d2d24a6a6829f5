//! `Space`: the keys of one framework, their past, and their leases.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proto::store::{Bytes, Keys};

use crate::chain::{Chain, Version};
use crate::lease::Leases;

/// The revision of a space in which nothing was ever put.
const FIRST_REVISION: u64 = 1;

/// The keys of one framework, their past, and their leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    /// The first revision that can be read; what was replaced at or before it is gone.
    pub(crate) compacted: u64,
    pub(crate) chains: BTreeMap<Bytes, Chain>,
    /// Every change at or behind `compacted`, in order.
    pub(crate) history: VecDeque<Arc<Version>>,
    pub(crate) leases: Leases,
    /// What all versions in the chains cost.
    pub(crate) bytes: u64,
    /// What those cost that are live.
    pub(crate) live_bytes: u64,
    /// How many those are.
    pub(crate) live_keys: u64,
}

impl Default for Space {
    fn default() -> Self {
        Space {
            epoch: 0,
            revision: FIRST_REVISION,
            compacted: 0,
            chains: BTreeMap::new(),
            history: VecDeque::new(),
            leases: Leases::default(),
            bytes: 0,
            live_bytes: 0,
            live_keys: 0,
        }
    }
}

impl Space {
    /// The revision of its last change; 1 before there was any.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What was replaced before this is forgotten.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Who claimed it last; 0 for nobody.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What its keys take as they are now, in bytes.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// How many keys there are now.
    pub fn live_keys(&self) -> u64 {
        self.live_keys
    }

    /// What is remembered of what was replaced, in bytes.
    pub fn history_bytes(&self) -> u64 {
        self.bytes - self.live_bytes
    }

    /// The chains of some keys.
    pub(crate) fn chains_of<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = (&'a Bytes, &'a Chain)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let first = &*keys.key;
        let bounds = match (keys.is_one(), keys.limit()) {
            (true, _) => Some((Included(first), Included(first))),
            // An order that is turned round names no key.
            (false, Some(end)) if end <= first => None,
            (false, Some(end)) => Some((Included(first), Excluded(end))),
            (false, None) => Some((Included(first), Unbounded)),
        };
        bounds.into_iter().flat_map(|bounds| self.chains.range::<[u8], _>(bounds))
    }

    /// The keys among these that are there now.
    pub(crate) fn live<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = &'a Arc<Version>> {
        self.chains_of(keys).filter_map(|(_, chain)| chain.live())
    }
}
