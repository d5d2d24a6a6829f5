//! `Space`: the keys of one framework as they are, and every change that led there.

use std::collections::BTreeMap;
use std::mem;

use proto::refusal::{Code, Refusal};
use proto::store::{
    Bytes, DeleteRange, DeleteRangeReply, Event, KeyValue, Keys, Put, PutReply, Range, RangeReply,
};

use super::leases::{Leases, not_found};

/// The keys of one framework.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub epoch: u64,
    pub revision: u64,
    /// Nobody is told of what was replaced before it.
    compacted: u64,
    live: BTreeMap<Bytes, KeyValue>,
    /// Each with what was there before.
    history: Vec<Event>,
    pub leases: Leases,
}

impl Default for Space {
    fn default() -> Self {
        Space {
            epoch: 0,
            revision: 1,
            compacted: 0,
            live: BTreeMap::new(),
            history: Vec::new(),
            leases: Leases::default(),
        }
    }
}

// === impl Space ===

impl Space {
    pub fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.live.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = &KeyValue> {
        self.live.values()
    }

    /// The keys among these that are there now.
    pub fn among<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = &'a KeyValue> {
        self.all().filter(|kv| keys.contains(&kv.key))
    }

    /// Changes as one revision, all or none; the revision counts only if something was changed.
    pub fn as_one<T>(&mut self, act: impl FnOnce(&mut Space) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let (live, before) = (self.live.clone(), self.history.len());
        let done = act(self);
        if done.is_err() {
            self.live = live;
            self.history.truncate(before);
        } else if self.history.len() > before {
            self.revision += 1;
        }
        done
    }

    pub fn put(&mut self, put: &Put) -> Result<PutReply, Refusal> {
        let before = self.live.get(&put.key).cloned();
        if before.is_none() && (put.ignore_value || put.ignore_lease) {
            let message = "there is no such key whose value or lease could be kept";
            return Err(Refusal::new(Code::NotFound, message));
        }
        if put.lease != 0 && self.leases.get(put.lease).is_err() {
            return Err(not_found());
        }
        let old = before.clone().unwrap_or_default();
        let revision = self.revision + 1;
        let kv = KeyValue {
            key: put.key.clone(),
            value: if put.ignore_value { old.value } else { put.value.clone() },
            create_revision: if before.is_some() { old.create_revision } else { revision },
            mod_revision: revision,
            version: old.version + 1,
            lease: if put.ignore_lease { old.lease } else { put.lease },
        };
        self.live.insert(kv.key.clone(), kv.clone());
        self.history.push(Event { kv, deleted: false, prev_kv: before.clone() });
        Ok(PutReply { prev_kv: before.filter(|_| put.prev_kv) })
    }

    pub fn delete(&mut self, delete: &DeleteRange) -> DeleteRangeReply {
        let keys = Keys { key: delete.key.clone(), end: delete.range_end.clone() };
        let gone = self.bury(|kv| keys.contains(&kv.key));
        let deleted = gone.len() as u64;
        DeleteRangeReply { deleted, prev_kvs: if delete.prev_kv { gone } else { Vec::new() } }
    }

    fn bury(&mut self, is_meant: impl Fn(&KeyValue) -> bool) -> Vec<KeyValue> {
        let (gone, live) = mem::take(&mut self.live).into_iter().partition(|(_, kv)| is_meant(kv));
        self.live = live;
        let gone: Vec<KeyValue> = BTreeMap::into_values(gone).collect();
        for kv in &gone {
            let grave =
                KeyValue { key: kv.key.clone(), mod_revision: self.revision + 1, ..KeyValue::default() };
            self.history.push(Event { kv: grave, deleted: true, prev_kv: Some(kv.clone()) });
        }
        gone
    }

    /// Ends a lease and deletes its keys.
    pub fn revoke(&mut self, id: u64) {
        self.leases.end(id);
        let before = self.history.len();
        self.bury(|kv| kv.lease == id);
        self.revision += u64::from(self.history.len() > before);
    }

    pub fn range(&self, range: &Range) -> Result<RangeReply, Refusal> {
        let then;
        let space = match range.revision {
            0 => &self.live,
            revision if revision > self.revision => {
                let message =
                    format!("that revision does not exist yet; the present one is {}", self.revision);
                return Err(Refusal::new(Code::Invalid, message));
            }
            revision if revision < self.compacted => return Err(self.is_compacted()),
            revision => {
                then = self.as_of(revision);
                &then
            }
        };
        let keys = Keys { key: range.key.clone(), end: range.range_end.clone() };
        let found: Vec<&KeyValue> = space.values().filter(|kv| keys.contains(&kv.key)).collect();
        let count = found.len() as u64;
        let most = match range.limit {
            _ if range.count_only => 0,
            0 => u64::MAX,
            limit => limit,
        };
        let mut kvs = Vec::new();
        for kv in found.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let mut kv = kv.clone();
            if range.keys_only {
                kv.value = Bytes::new();
            }
            kvs.push(kv);
        }
        Ok(RangeReply { kvs, more: !range.count_only && count > most, count })
    }

    /// The keys as they were behind a revision.
    fn as_of(&self, revision: u64) -> BTreeMap<Bytes, KeyValue> {
        let mut live = BTreeMap::new();
        for event in self.history.iter().take_while(|event| event.kv.mod_revision <= revision) {
            match event.deleted {
                true => live.remove(&event.kv.key),
                false => live.insert(event.kv.key.clone(), event.kv.clone()),
            };
        }
        live
    }

    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    pub fn compact(&mut self, revision: u64) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(self.is_compacted());
        }
        if revision > self.revision {
            let message = format!("that revision does not exist yet; the present one is {}", self.revision);
            return Err(Refusal::new(Code::Invalid, message));
        }
        self.compacted = revision;
        Ok(())
    }

    /// The changes of some keys from a revision on.
    pub fn changes(&self, keys: &Keys, from: u64, prev_kv: bool) -> Result<Vec<Event>, Refusal> {
        if from < self.compacted {
            return Err(self.is_compacted());
        }
        let new = self.history.iter().filter(|event| event.kv.mod_revision >= from);
        let wanted = new.filter(|event| keys.contains(&event.kv.key)).map(|event| Event {
            prev_kv: event.prev_kv.clone().filter(|_| prev_kv && event.kv.mod_revision > self.compacted),
            ..event.clone()
        });
        Ok(wanted.collect())
    }

    fn is_compacted(&self) -> Refusal {
        let message =
            format!("that revision is compacted; the first that is remembered is {}", self.compacted);
        Refusal::new(Code::Compacted, message)
    }
}
