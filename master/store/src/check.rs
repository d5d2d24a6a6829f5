//! What is refused before anything is changed, so that what is begun is done whole.

use std::collections::BTreeSet;

use proto::store::{
    Bytes, Compare, DeleteRange, KEY_BYTES_MAX, Keys, Operation, Put, Range, TXN_ANSWER_BYTES_MAX,
    TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, Txn,
};
use proto::store_log::{EntryKind, Limits};

use crate::VERSION_OVERHEAD;
use crate::txn::Path;
use crate::{Fault, Space};

/// What a transaction changes by one of its branches: keys it puts, and ranges it deletes.
#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    deletes: Vec<Keys>,
}

/// Checks the form of what the log would have to remember, whatever is in the store: what fails is not worth an entry.
pub fn check_entry(kind: &EntryKind, limits: Limits) -> Result<(), Fault> {
    match kind {
        EntryKind::Put(put) => check_put_form(put, limits),
        EntryKind::DeleteRange(delete) => check_delete_form(delete),
        EntryKind::Txn(txn) => check_form(txn, limits),
        EntryKind::Compact(_)
        | EntryKind::LeaseGrant(_)
        | EntryKind::LeaseRevoke(_)
        | EntryKind::LeaseExpired(_)
        | EntryKind::Claim(_) => Ok(()),
    }
}

/// Checks the form of a transaction, whatever is in the store.
pub(crate) fn check_form(txn: &Txn, limits: Limits) -> Result<(), Fault> {
    check_length(txn, &mut { TXN_OPERATIONS_MAX }, TXN_DEPTH_MAX, limits)?;
    touched(&txn.success)?;
    touched(&txn.failure)?;
    Ok(())
}

/// Takes the steps of a transaction and of those in it from what is `left`.
fn check_length(txn: &Txn, left: &mut usize, deeper: usize, limits: Limits) -> Result<(), Fault> {
    let deeper = deeper.checked_sub(1).ok_or(Fault::TooDeep)?;
    let length = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    *left = left.checked_sub(length).ok_or(Fault::TooManyOperations)?;
    txn.compare.iter().try_for_each(|Compare { key, range_end, .. }| check_keys(key, range_end))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|operation| match operation {
        Operation::Range(range) => check_keys(&range.key, &range.range_end),
        Operation::Put(put) => check_put_form(put, limits),
        Operation::DeleteRange(delete) => check_delete_form(delete),
        Operation::Txn(txn) => check_length(txn, left, deeper, limits),
    })
}

/// What these steps change; a fault if it is the same key twice. Of a nested transaction either branch may come, and each
/// must go together with everything beside it.
fn touched(operations: &[Operation]) -> Result<Touched, Fault> {
    let mut all = Touched::default();
    for operation in operations {
        match operation {
            Operation::Range(_) => {}
            Operation::Put(put) => all.add_put(&put.key)?,
            Operation::DeleteRange(DeleteRange { key, range_end, .. }) => {
                all.add_delete(Keys { key: key.clone(), end: range_end.clone() })?;
            }
            Operation::Txn(txn) => {
                let branches = [touched(&txn.success)?, touched(&txn.failure)?];
                // Each is held against what stands beside them, and not against the other.
                branches.iter().try_for_each(|branch| all.check_beside(branch))?;
                branches.into_iter().for_each(|branch| all.absorb(branch));
            }
        }
    }
    Ok(all)
}

fn check_key(key: &[u8]) -> Result<(), Fault> {
    match key.len() {
        0 => Err(Fault::EmptyKey),
        1..=KEY_BYTES_MAX => Ok(()),
        _ => Err(Fault::KeyTooLarge),
    }
}

/// Checks the names of some keys.
pub fn check_keys(key: &[u8], end: &[u8]) -> Result<(), Fault> {
    check_key(key)?;
    if end.len() > KEY_BYTES_MAX { Err(Fault::KeyTooLarge) } else { Ok(()) }
}

pub(crate) fn check_put_form(put: &Put, limits: Limits) -> Result<(), Fault> {
    check_key(&put.key)?;
    if put.value.len() as u64 > limits.value_bytes {
        return Err(Fault::ValueTooLarge { max: limits.value_bytes });
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Fault::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Fault::LeaseProvided);
    }
    Ok(())
}

pub(crate) fn check_delete_form(delete: &DeleteRange) -> Result<(), Fault> {
    check_keys(&delete.key, &delete.range_end)
}

// === impl Touched ===

impl Touched {
    fn add_put(&mut self, key: &Bytes) -> Result<(), Fault> {
        let deleted = self.deletes.iter().any(|keys| keys.contains(key));
        if deleted || !self.puts.insert(key.clone()) {
            return Err(Fault::DuplicateKey);
        }
        Ok(())
    }

    fn add_delete(&mut self, keys: Keys) -> Result<(), Fault> {
        if self.puts.iter().any(|key| keys.contains(key)) {
            return Err(Fault::DuplicateKey);
        }
        self.deletes.push(keys);
        Ok(())
    }

    /// A fault if `other` does not go together with this.
    fn check_beside(&self, other: &Touched) -> Result<(), Fault> {
        let clash = |puts: &BTreeSet<Bytes>, deletes: &[Keys]| {
            deletes.iter().any(|keys| puts.iter().any(|key| keys.contains(key)))
        };
        let clashes = !self.puts.is_disjoint(&other.puts)
            || clash(&self.puts, &other.deletes)
            || clash(&other.puts, &self.deletes);
        if clashes { Err(Fault::DuplicateKey) } else { Ok(()) }
    }

    fn absorb(&mut self, other: Touched) {
        self.puts.extend(other.puts);
        self.deletes.extend(other.deletes);
    }
}

/// What the steps of a transaction come to, in bytes.
#[derive(Default)]
struct Sums {
    /// Live bytes that they add.
    more: u64,
    /// What they find.
    found: u64,
}

// === impl Space ===

impl Space {
    /// Whether a range can be looked at.
    pub(crate) fn check_range(&self, range: &Range) -> Result<(), Fault> {
        check_keys(&range.key, &range.range_end)?;
        match range.revision {
            0 => Ok(()),
            revision if revision > self.revision => Err(Fault::Future { revision: self.revision }),
            revision if revision < self.compacted => Err(Fault::Compacted { compacted: self.compacted }),
            _ => Ok(()),
        }
    }

    /// Whether a put of good form fits what is there; how many live bytes it adds.
    pub(crate) fn check_put(&self, put: &Put) -> Result<u64, Fault> {
        let there = self.chains.get(&put.key).and_then(|chain| chain.live());
        if (put.ignore_value || put.ignore_lease) && there.is_none() {
            return Err(Fault::KeyNotFound);
        }
        if put.lease != 0 && !self.leases.contains(put.lease) {
            return Err(Fault::LeaseNotFound);
        }
        let before = there.map_or(0, |version| version.cost());
        let after = match there {
            Some(version) if put.ignore_value => version.cost(),
            _ => put.key.len() as u64 + put.value.len() as u64 + VERSION_OVERHEAD,
        };
        Ok(after.saturating_sub(before))
    }

    /// Whether so many live bytes more have room. What becomes no larger always has.
    pub(crate) fn check_room(&self, more: u64, limits: Limits) -> Result<(), Fault> {
        match more > 0 && self.live_bytes + more > limits.space_bytes {
            true => Err(Fault::NoSpace { live: self.live_bytes, max: limits.space_bytes }),
            false => Ok(()),
        }
    }

    /// Whether the steps that a transaction of good form takes fit what is there, and what they find fits an answer; how many
    /// live bytes they add, as if its deletions freed nothing.
    pub(crate) fn check_path(&self, txn: &Txn, path: &Path) -> Result<u64, Fault> {
        let mut sums = Sums::default();
        self.add_up(txn, path, &mut sums)?;
        Ok(sums.more)
    }

    fn add_up(&self, txn: &Txn, path: &Path, sums: &mut Sums) -> Result<(), Fault> {
        let mut nested = path.nested.iter();
        for operation in path.steps(txn) {
            match operation {
                Operation::Range(range) => {
                    self.check_range(range)?;
                    // A look sees what is there, and what was put before it.
                    sums.found += self.finds(range) + sums.more;
                    if sums.found > TXN_ANSWER_BYTES_MAX {
                        return Err(Fault::AnswerTooLarge);
                    }
                }
                Operation::Put(put) => sums.more += self.check_put(put)?,
                Operation::DeleteRange(_) => {}
                Operation::Txn(txn) => {
                    if let Some(path) = nested.next() {
                        self.add_up(txn, path, sums)?;
                    }
                }
            }
        }
        Ok(())
    }
}
