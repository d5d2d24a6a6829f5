//! Transactions of the pretend store: what is wrong with their form, which branch is taken, and what comes of it.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use proto::refusal::{Code, Refusal};
use proto::store::{
    Bytes, Compare, Comparison, KEY_BYTES_MAX, KeyValue, Keys, Operand, Operation, OperationReply, Put,
    TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, Txn, TxnReply, VALUE_BYTES_MAX,
};

use super::space::Space;

/// Which branch a transaction takes, and which each nested one of that branch.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

impl Path {
    fn steps<'a>(&self, txn: &'a Txn) -> &'a [Operation] {
        if self.succeeded { &txn.success } else { &txn.failure }
    }
}

// === impl Space ===

impl Space {
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnReply, Refusal> {
        check_form(txn)?;
        let path = self.path(txn);
        self.as_one(|space| space.take(txn, &path))
    }

    fn path(&self, txn: &Txn) -> Path {
        let mut path = Path { succeeded: txn.compare.iter().all(|it| self.holds(it)), nested: Vec::new() };
        let nested = path.steps(txn).iter().filter_map(|operation| match operation {
            Operation::Txn(txn) => Some(self.path(txn)),
            Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) => None,
        });
        path.nested = nested.collect();
        path
    }

    fn holds(&self, compare: &Compare) -> bool {
        let keys = Keys { key: compare.key.clone(), end: compare.range_end.clone() };
        let mut there = self.among(&keys).peekable();
        if there.peek().is_none() {
            return !matches!(compare.operand, Operand::Value(_)) && holds(compare, &KeyValue::default());
        }
        there.all(|kv| holds(compare, kv))
    }

    fn take(&mut self, txn: &Txn, path: &Path) -> Result<TxnReply, Refusal> {
        let mut nested = path.nested.iter();
        let mut reply = TxnReply { succeeded: path.succeeded, responses: Vec::new() };
        for operation in path.steps(txn) {
            reply.responses.push(match operation {
                Operation::Range(range) => OperationReply::Range(self.range(range)?),
                Operation::Put(put) => OperationReply::Put(self.put(put)?),
                Operation::DeleteRange(delete) => OperationReply::DeleteRange(self.delete(delete)),
                Operation::Txn(txn) => match nested.next() {
                    Some(path) => OperationReply::Txn(self.take(txn, path)?),
                    None => continue,
                },
            });
        }
        Ok(reply)
    }
}

fn holds(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.operand {
        Operand::Version(version) => kv.version.cmp(version),
        Operand::CreateRevision(revision) => kv.create_revision.cmp(revision),
        Operand::ModRevision(revision) => kv.mod_revision.cmp(revision),
        Operand::Value(value) => kv.value.cmp(value),
        Operand::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::Less => order == Ordering::Less,
        Comparison::NotEqual => order != Ordering::Equal,
    }
}

// --- the form ---

pub(super) fn check_keys(key: &[u8], end: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::new(Code::Invalid, "the key is empty"));
    }
    match key.len().max(end.len()) > KEY_BYTES_MAX {
        true => Err(too_much(format!("the key has more than {KEY_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

pub(super) fn check_put(put: &Put) -> Result<(), Refusal> {
    check_keys(&put.key, &[])?;
    if put.value.len() > VALUE_BYTES_MAX {
        return Err(too_much(format!("the value has more than {VALUE_BYTES_MAX} bytes")));
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Refusal::new(Code::Invalid, "ignore_value is set and a value is given"));
    }
    match put.ignore_lease && put.lease != 0 {
        true => Err(Refusal::new(Code::Invalid, "ignore_lease is set and a lease is given")),
        false => Ok(()),
    }
}

fn check_form(txn: &Txn) -> Result<(), Refusal> {
    check_length(txn, &mut { TXN_OPERATIONS_MAX }, TXN_DEPTH_MAX)?;
    let changes_twice = [&txn.success, &txn.failure].into_iter().any(|steps| touched(steps).is_none());
    match changes_twice {
        true => Err(Refusal::new(Code::Invalid, "the transaction changes a key twice")),
        false => Ok(()),
    }
}

/// Takes the steps of a transaction and of those in it from what is `left`.
fn check_length(txn: &Txn, left: &mut usize, depth: usize) -> Result<(), Refusal> {
    let deeper = depth
        .checked_sub(1)
        .ok_or_else(|| too_much(format!("transactions nest more than {TXN_DEPTH_MAX} deep")))?;
    let length = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    *left = left.checked_sub(length).ok_or_else(|| {
        too_much(format!("the transaction has more than {TXN_OPERATIONS_MAX} comparisons or steps"))
    })?;
    txn.compare.iter().try_for_each(|compare| check_keys(&compare.key, &compare.range_end))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|operation| match operation {
        Operation::Range(range) => check_keys(&range.key, &range.range_end),
        Operation::Put(put) => check_put(put),
        Operation::DeleteRange(delete) => check_keys(&delete.key, &delete.range_end),
        Operation::Txn(txn) => check_length(txn, left, deeper),
    })
}

/// Keys that are put, and those that are deleted.
type Touched = (BTreeSet<Bytes>, Vec<Keys>);

/// What these steps change; `None` if it is the same key twice. Of a nested transaction either branch may come, and each must
/// go together with everything beside it.
fn touched(steps: &[Operation]) -> Option<Touched> {
    let mut all = Touched::default();
    for step in steps {
        let branches = match step {
            Operation::Range(_) => continue,
            Operation::Put(put) => vec![(BTreeSet::from([put.key.clone()]), Vec::new())],
            Operation::DeleteRange(delete) => {
                let keys = Keys { key: delete.key.clone(), end: delete.range_end.clone() };
                vec![(BTreeSet::new(), vec![keys])]
            }
            Operation::Txn(txn) => vec![touched(&txn.success)?, touched(&txn.failure)?],
        };
        if branches.iter().any(|branch| clashes(&all, branch)) {
            return None;
        }
        for (puts, deletes) in branches {
            all.0.extend(puts);
            all.1.extend(deletes);
        }
    }
    Some(all)
}

fn clashes(one: &Touched, other: &Touched) -> bool {
    let hits = |puts: &BTreeSet<Bytes>, deletes: &[Keys]| {
        deletes.iter().any(|keys| puts.iter().any(|key| keys.contains(key)))
    };
    !one.0.is_disjoint(&other.0) || hits(&one.0, &other.1) || hits(&other.0, &one.1)
}

fn too_much(message: String) -> Refusal {
    Refusal::new(Code::TooMuch, message)
}
