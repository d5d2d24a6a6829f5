//! `Change`: puts and deletions that share one revision.

use std::sync::Arc;

use proto::store::{Bytes, DeleteRange, DeleteRangeReply, Keys, Put, PutReply};

use crate::Space;
use crate::chain::Version;

/// Changes of a space under way, all at the revision behind its present one. Whoever makes one has checked it.
pub(crate) struct Change<'a> {
    space: &'a mut Space,
    sub: u32,
}

impl<'a> Change<'a> {
    pub fn begin(space: &'a mut Space) -> Self {
        Change { space, sub: 0 }
    }

    /// The space with what was changed so far.
    pub fn space(&self) -> &Space {
        self.space
    }

    /// The revision counts only if something was changed.
    pub fn end(self) {
        if self.sub > 0 {
            self.space.revision += 1;
            self.space.bound_history();
        }
    }

    pub fn put(&mut self, put: &Put) -> PutReply {
        let before = self.space.chains.get(&put.key).and_then(|chain| chain.live()).cloned();
        let kept = before.as_deref();
        let revision = self.space.revision + 1;
        let lease = match kept {
            Some(kept) if put.ignore_lease => kept.lease,
            _ => put.lease,
        };
        let version = Version {
            // One copy of a key for all its versions.
            key: kept.map_or_else(|| put.key.clone(), |kept| kept.key.clone()),
            value: match kept {
                Some(kept) if put.ignore_value => kept.value.clone(),
                _ => put.value.clone(),
            },
            create_revision: kept.map_or(revision, |kept| kept.create_revision),
            mod_revision: revision,
            sub: self.sub,
            version: kept.map_or(0, |kept| kept.version) + 1,
            lease,
        };
        self.space.leases.bind(&version.key, kept.map_or(0, |kept| kept.lease), lease);
        self.space.live_bytes += version.cost();
        self.space.live_keys += u64::from(kept.is_none());
        self.add(version, kept);
        PutReply { prev_kv: before.filter(|_| put.prev_kv).map(|before| before.to_kv()) }
    }

    pub fn delete(&mut self, delete: &DeleteRange) -> DeleteRangeReply {
        let keys = Keys { key: delete.key.clone(), end: delete.range_end.clone() };
        let gone: Vec<Arc<Version>> = self.space.live(&keys).cloned().collect();
        gone.iter().for_each(|version| self.bury(version));
        let deleted = gone.len() as u64;
        let prev_kvs = match delete.prev_kv {
            true => gone.iter().map(|version| version.to_kv()).collect(),
            false => Vec::new(),
        };
        DeleteRangeReply { deleted, prev_kvs }
    }

    /// Deletes one key.
    pub fn delete_one(&mut self, key: &Bytes) {
        if let Some(version) = self.space.chains.get(key).and_then(|chain| chain.live()).cloned() {
            self.bury(&version);
        }
    }

    fn bury(&mut self, live: &Arc<Version>) {
        let tombstone = Version {
            key: live.key.clone(),
            value: Bytes::new(),
            create_revision: 0,
            mod_revision: self.space.revision + 1,
            sub: self.sub,
            version: 0,
            lease: 0,
        };
        self.space.leases.bind(&live.key, live.lease, 0);
        self.space.live_keys -= 1;
        self.add(tombstone, Some(live));
    }

    fn add(&mut self, version: Version, before: Option<&Version>) {
        self.space.bytes += version.cost();
        self.space.live_bytes -= before.map_or(0, Version::cost);
        self.sub += 1;
        let version = Arc::new(version);
        self.space.chains.entry(version.key.clone()).or_default().push(version.clone());
        self.space.history.push_back(version);
    }
}
