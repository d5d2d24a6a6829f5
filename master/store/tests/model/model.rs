//! The model: every state there ever was, whole, and every change.

use std::collections::BTreeMap;

use master_store::Fault;
use proto::store::{
    Bytes, Claimed, Compare, Comparison, DeleteRange, DeleteRangeReply, Event, KeyValue, Keys, LeaseReply,
    Operand, Operation, OperationReply, Put, PutReply, Range, RangeReply, ReplyKind, Txn, TxnReply,
};
use proto::store_log::EntryKind;

type State = BTreeMap<Bytes, KeyValue>;

/// What a version costs besides key and value.
const OVERHEAD: u64 = 100;

/// All there ever was of one space.
pub struct Model {
    /// By revision; the first two are empty.
    states: Vec<State>,
    events: Vec<Event>,
    compacted: u64,
    /// Time to live and grant.
    leases: BTreeMap<u64, (u64, u64)>,
    grants: u64,
    epoch: u64,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            states: vec![State::new(), State::new()],
            events: Vec::new(),
            compacted: 0,
            leases: BTreeMap::new(),
            grants: 0,
            epoch: 0,
        }
    }
}

fn among(key: &Bytes, first: &Bytes, end: &Bytes) -> bool {
    match &end[..] {
        [] => key == first,
        [0] => key >= first,
        _ => key >= first && key < end,
    }
}

fn select(state: &State, range: &Range) -> RangeReply {
    let found: Vec<KeyValue> =
        state.values().filter(|kv| among(&kv.key, &range.key, &range.range_end)).cloned().collect();
    let count = found.len() as u64;
    let limit = if range.limit == 0 { found.len() } else { range.limit as usize };
    let mut kvs: Vec<KeyValue> = found.into_iter().take(limit).collect();
    let more = !range.count_only && count > kvs.len() as u64;
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    if range.count_only {
        kvs.clear();
    }
    RangeReply { kvs, more, count }
}

/// Every list of plain steps that some choice of branches comes to.
fn choices(operations: &[Operation]) -> Vec<Vec<&Operation>> {
    let mut all = vec![Vec::new()];
    for operation in operations {
        let parts: Vec<Vec<&Operation>> = match operation {
            Operation::Txn(txn) => choices(&txn.success).into_iter().chain(choices(&txn.failure)).collect(),
            plain => vec![vec![plain]],
        };
        all = all
            .into_iter()
            .flat_map(|so_far| {
                parts.iter().map(move |part| so_far.iter().copied().chain(part.iter().copied()).collect())
            })
            .collect();
    }
    all
}

fn clash(one: &Operation, other: &Operation) -> bool {
    match (one, other) {
        (Operation::Put(a), Operation::Put(b)) => a.key == b.key,
        (Operation::Put(put), Operation::DeleteRange(delete))
        | (Operation::DeleteRange(delete), Operation::Put(put)) => {
            among(&put.key, &delete.key, &delete.range_end)
        }
        _ => false,
    }
}

fn changes_twice(operations: &[Operation]) -> bool {
    choices(operations).iter().any(|steps| {
        steps.iter().enumerate().any(|(at, one)| steps[..at].iter().any(|other| clash(one, other)))
    })
}

impl Model {
    pub fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    pub fn live_bytes(&self) -> u64 {
        self.now().values().map(|kv| kv.key.len() as u64 + kv.value.len() as u64 + OVERHEAD).sum()
    }

    pub fn ttl(&self, lease: u64) -> Option<u64> {
        self.leases.get(&lease).map(|(ttl_ms, _)| *ttl_ms)
    }

    pub fn keys_of(&self, lease: u64) -> Vec<Bytes> {
        self.now().values().filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect()
    }

    fn check_range(&self, range: &Range) -> Result<(), Fault> {
        match range.revision {
            0 => Ok(()),
            revision if revision > self.revision() => Err(Fault::Future { revision: self.revision() }),
            revision if revision < self.compacted => Err(Fault::Compacted { compacted: self.compacted }),
            _ => Ok(()),
        }
    }

    pub fn range(&self, range: &Range) -> Result<RangeReply, Fault> {
        self.check_range(range)?;
        Ok(self.look(self.now(), range))
    }

    fn look(&self, now: &State, range: &Range) -> RangeReply {
        let state = if range.revision == 0 { now } else { &self.states[range.revision as usize] };
        select(state, range)
    }

    pub fn changes(&self, keys: &Keys, from: u64, prev_kv: bool) -> Result<Vec<Event>, Fault> {
        if from < self.compacted {
            return Err(Fault::Compacted { compacted: self.compacted });
        }
        let wanted = self.events.iter().filter(|event| event.kv.mod_revision >= from);
        let wanted = wanted.filter(|event| among(&event.kv.key, &keys.key, &keys.end)).cloned();
        let seen = wanted.map(|mut event| {
            // What was before a revision that is compacted is not remembered.
            if !prev_kv || event.kv.mod_revision <= self.compacted {
                event.prev_kv = None;
            }
            event
        });
        Ok(seen.collect())
    }

    fn check_put(&self, put: &Put) -> Result<(), Fault> {
        let there = self.now().contains_key(&put.key);
        if (put.ignore_value || put.ignore_lease) && !there {
            return Err(Fault::KeyNotFound);
        }
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Fault::LeaseNotFound);
        }
        Ok(())
    }

    fn put(&self, next: &mut State, events: &mut Vec<Event>, put: &Put) -> PutReply {
        let before = next.get(&put.key).cloned();
        let revision = self.revision() + 1;
        let mut kv = before.clone().unwrap_or_else(|| KeyValue {
            key: put.key.clone(),
            create_revision: revision,
            ..KeyValue::default()
        });
        kv.mod_revision = revision;
        kv.version += 1;
        if !put.ignore_value {
            kv.value = put.value.clone();
        }
        if !put.ignore_lease {
            kv.lease = put.lease;
        }
        next.insert(put.key.clone(), kv.clone());
        events.push(Event { kv, deleted: false, prev_kv: before.clone() });
        PutReply { prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete(&self, next: &mut State, events: &mut Vec<Event>, delete: &DeleteRange) -> DeleteRangeReply {
        let gone: Vec<KeyValue> =
            next.values().filter(|kv| among(&kv.key, &delete.key, &delete.range_end)).cloned().collect();
        for kv in &gone {
            next.remove(&kv.key);
            let mut left = KeyValue { key: kv.key.clone(), ..KeyValue::default() };
            left.mod_revision = self.revision() + 1;
            events.push(Event { kv: left, deleted: true, prev_kv: Some(kv.clone()) });
        }
        let deleted = gone.len() as u64;
        DeleteRangeReply { deleted, prev_kvs: if delete.prev_kv { gone } else { Vec::new() } }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found: Vec<KeyValue> = self
            .now()
            .values()
            .filter(|kv| among(&kv.key, &compare.key, &compare.range_end))
            .cloned()
            .collect();
        let all = if found.is_empty() { vec![KeyValue::default()] } else { found.clone() };
        all.iter().all(|kv| {
            let (less, same) = match &compare.operand {
                Operand::Version(x) => (kv.version < *x, kv.version == *x),
                Operand::CreateRevision(x) => (kv.create_revision < *x, kv.create_revision == *x),
                Operand::ModRevision(x) => (kv.mod_revision < *x, kv.mod_revision == *x),
                Operand::Lease(x) => (kv.lease < *x, kv.lease == *x),
                Operand::Value(_) if found.is_empty() => return false,
                Operand::Value(x) => (kv.value < *x, kv.value == *x),
            };
            match compare.comparison {
                Comparison::Equal => same,
                Comparison::Less => less,
                Comparison::Greater => !less && !same,
                Comparison::NotEqual => !same,
            }
        })
    }

    fn check_steps(&self, txn: &Txn) -> Result<(), Fault> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let steps = if succeeded { &txn.success } else { &txn.failure };
        steps.iter().try_for_each(|step| match step {
            Operation::Range(range) => self.check_range(range),
            Operation::Put(put) => self.check_put(put),
            Operation::DeleteRange(_) => Ok(()),
            Operation::Txn(txn) => self.check_steps(txn),
        })
    }

    fn take(&self, next: &mut State, events: &mut Vec<Event>, txn: &Txn) -> TxnReply {
        // What is compared is the state before, however deep.
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let steps = if succeeded { &txn.success } else { &txn.failure };
        let responses = steps.iter().map(|step| match step {
            Operation::Range(range) => OperationReply::Range(self.look(next, range)),
            Operation::Put(put) => OperationReply::Put(self.put(next, events, put)),
            Operation::DeleteRange(delete) => OperationReply::DeleteRange(self.delete(next, events, delete)),
            Operation::Txn(txn) => OperationReply::Txn(self.take(next, events, txn)),
        });
        TxnReply { succeeded, responses: responses.collect() }
    }

    fn keep(&mut self, next: State, events: Vec<Event>) {
        if !events.is_empty() {
            self.states.push(next);
            self.events.extend(events);
        }
    }

    fn end_lease(&mut self, id: u64) -> Result<ReplyKind, Fault> {
        self.leases.remove(&id).ok_or(Fault::LeaseNotFound)?;
        let (mut next, mut events) = (self.now().clone(), Vec::new());
        for key in self.keys_of(id) {
            let delete = DeleteRange { key, ..DeleteRange::default() };
            self.delete(&mut next, &mut events, &delete);
        }
        self.keep(next, events);
        Ok(ReplyKind::Done)
    }

    pub fn apply(&mut self, kind: &EntryKind) -> Result<ReplyKind, Fault> {
        let (mut next, mut events) = (self.now().clone(), Vec::new());
        let reply = match kind {
            EntryKind::Put(put) => {
                self.check_put(put)?;
                ReplyKind::Put(self.put(&mut next, &mut events, put))
            }
            EntryKind::DeleteRange(delete) => {
                ReplyKind::DeleteRange(self.delete(&mut next, &mut events, delete))
            }
            EntryKind::Txn(txn) => {
                if changes_twice(&txn.success) || changes_twice(&txn.failure) {
                    return Err(Fault::DuplicateKey);
                }
                self.check_steps(txn)?;
                ReplyKind::Txn(self.take(&mut next, &mut events, txn))
            }
            EntryKind::Compact(compact) => {
                if compact.revision <= self.compacted {
                    return Err(Fault::Compacted { compacted: self.compacted });
                }
                if compact.revision > self.revision() {
                    return Err(Fault::Future { revision: self.revision() });
                }
                self.compacted = compact.revision;
                ReplyKind::Done
            }
            EntryKind::LeaseGrant(asked) => {
                if self.leases.contains_key(&asked.id) {
                    return Err(Fault::LeaseExists);
                }
                self.grants += 1;
                let mut id = asked.id;
                if id == 0 {
                    id = self.grants;
                    while self.leases.contains_key(&id) {
                        id += 1;
                    }
                }
                let ttl_ms = asked.ttl_ms.max(1_000);
                self.leases.insert(id, (ttl_ms, self.grants));
                ReplyKind::Lease(LeaseReply { id, ttl_ms })
            }
            EntryKind::LeaseRevoke(asked) => return self.end_lease(asked.id),
            EntryKind::LeaseExpired(seen) => {
                if self.leases.get(&seen.id).is_none_or(|(_, grant)| *grant != seen.grant) {
                    return Err(Fault::LeaseNotFound);
                }
                return self.end_lease(seen.id);
            }
            EntryKind::Claim(claim) => {
                if claim.lease != 0 && !self.leases.contains_key(&claim.lease) {
                    return Err(Fault::LeaseNotFound);
                }
                self.epoch += 1;
                ReplyKind::Claimed(Claimed { epoch: self.epoch })
            }
        };
        self.keep(next, events);
        Ok(reply)
    }
}
