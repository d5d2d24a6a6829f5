//! Transactions: first the branches are chosen, then all of it is checked, then it is done as one revision.

use std::cmp::Ordering;

use proto::store::{Compare, Comparison, KeyValue, Keys, Operand, Operation, OperationReply, Txn, TxnReply};
use proto::store_log::Limits;

use crate::change::Change;
use crate::check::check_form;
use crate::{Fault, Space};

/// Which branch a transaction takes, and which each nested one of that branch.
#[derive(Debug)]
pub(crate) struct Path {
    succeeded: bool,
    pub nested: Vec<Path>,
}

impl Path {
    /// The steps of the branch that is taken.
    pub fn steps<'a>(&self, txn: &'a Txn) -> &'a [Operation] {
        if self.succeeded { &txn.success } else { &txn.failure }
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

impl Space {
    /// Carries a transaction out.
    pub(crate) fn txn(&mut self, txn: &Txn, limits: Limits) -> Result<TxnReply, Fault> {
        check_form(txn, limits)?;
        let path = self.path(txn);
        self.check_room(self.check_path(txn, &path)?, limits)?;
        let mut change = Change::begin(self);
        let reply = take(&mut change, txn, &path);
        change.end();
        Ok(reply)
    }

    /// A transaction that only looks needs no entry in the log.
    pub fn look_txn(&self, txn: &Txn) -> Result<TxnReply, Fault> {
        check_form(txn, Limits::default())?;
        let path = self.path(txn);
        self.check_path(txn, &path)?;
        Ok(self.look_path(txn, &path))
    }

    fn look_path(&self, txn: &Txn, path: &Path) -> TxnReply {
        let mut nested = path.nested.iter();
        let mut reply = TxnReply { succeeded: path.succeeded, responses: Vec::new() };
        for operation in path.steps(txn) {
            match operation {
                Operation::Range(range) => reply.responses.push(OperationReply::Range(self.look(range))),
                Operation::Txn(txn) => {
                    if let Some(path) = nested.next() {
                        reply.responses.push(OperationReply::Txn(self.look_path(txn, path)));
                    }
                }
                Operation::Put(_) | Operation::DeleteRange(_) => {}
            }
        }
        reply
    }

    fn path(&self, txn: &Txn) -> Path {
        let succeeded = txn.compare.iter().all(|compare| self.compares(compare));
        let mut path = Path { succeeded, nested: Vec::new() };
        let nested = path.steps(txn).iter().filter_map(|operation| match operation {
            Operation::Txn(txn) => Some(self.path(txn)),
            Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) => None,
        });
        path.nested = nested.collect();
        path
    }

    fn compares(&self, compare: &Compare) -> bool {
        let keys = Keys { key: compare.key.clone(), end: compare.range_end.clone() };
        let mut there = self.live(&keys).peekable();
        if there.peek().is_none() {
            return !matches!(compare.operand, Operand::Value(_)) && holds(compare, &KeyValue::default());
        }
        there.all(|version| holds(compare, &version.to_kv()))
    }
}

/// Whether a transaction changes nothing, whichever branch it takes.
pub(crate) fn only_looks(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|operation| match operation {
        Operation::Range(_) => true,
        Operation::Txn(txn) => only_looks(txn),
        Operation::Put(_) | Operation::DeleteRange(_) => false,
    })
}

fn take(change: &mut Change<'_>, txn: &Txn, path: &Path) -> TxnReply {
    let mut nested = path.nested.iter();
    let mut responses = Vec::with_capacity(path.steps(txn).len());
    for operation in path.steps(txn) {
        match operation {
            // A look in the middle sees what was changed before it.
            Operation::Range(range) => responses.push(OperationReply::Range(change.space().look(range))),
            Operation::Put(put) => responses.push(OperationReply::Put(change.put(put))),
            Operation::DeleteRange(delete) => {
                responses.push(OperationReply::DeleteRange(change.delete(delete)));
            }
            Operation::Txn(txn) => {
                if let Some(path) = nested.next() {
                    responses.push(OperationReply::Txn(take(change, txn, path)));
                }
            }
        }
    }
    TxnReply { succeeded: path.succeeded, responses }
}
