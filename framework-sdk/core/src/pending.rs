//! `Pending`: calls that wait for their answer, each under the id with which it is sent until it has one.

use std::collections::BTreeMap;

use proto::id::{BadId, OperationId, TaskId};
use proto::scheduler::{Call, CallKind};

use crate::calls::tasks_of;

/// Who wants the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The author, who marked it so.
    Author {
        /// The mark.
        tag: u64,
    },
    /// The driver: once it is in the log, so is everything that was asked before it.
    Fence,
    /// The driver: the state of tasks it missed.
    Settle,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The call.
    pub call: CallKind,
    /// Who wants the answer.
    pub purpose: Purpose,
    /// How often the master asked to send it again later.
    pub refusals: u32,
}

/// All calls without an answer, in the order in which they were made.
#[derive(Debug)]
pub struct Pending {
    prefix: String,
    next: u64,
    calls: BTreeMap<u64, Waiting>,
}

// === impl Pending ===

impl Pending {
    /// `prefix` must never be used twice by one framework: the ids of all its lives differ.
    pub fn new(prefix: &str) -> Result<Self, BadId> {
        // The longest id that can come of it must be one.
        OperationId::new(&format!("{prefix}-{}", u64::MAX))?;
        Ok(Pending { prefix: prefix.to_owned(), next: 1, calls: BTreeMap::new() })
    }

    /// Keeps a call until it is answered.
    pub fn add(&mut self, call: CallKind, purpose: Purpose) -> u64 {
        let number = self.next;
        self.next += 1;
        self.calls.insert(number, Waiting { call, purpose, refusals: 0 });
        number
    }

    /// The call as it goes out.
    pub fn call(&self, number: u64) -> Option<Call> {
        let waiting = self.calls.get(&number)?;
        Some(Call { operation: self.operation(number), kind: waiting.call.clone() })
    }

    /// An id for a call that need not be kept.
    pub fn unkept(&mut self, kind: CallKind) -> Call {
        let number = self.next;
        self.next += 1;
        Call { operation: self.operation(number), kind }
    }

    fn operation(&self, number: u64) -> Option<OperationId> {
        OperationId::new(&format!("{}-{number}", self.prefix)).ok()
    }

    /// The number under which a call with this id waits.
    pub fn find(&self, operation: &OperationId) -> Option<u64> {
        let number = operation.as_str().strip_prefix(&self.prefix)?.strip_prefix('-')?.parse().ok()?;
        self.calls.contains_key(&number).then_some(number)
    }

    /// The call of that number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Waiting> {
        self.calls.get_mut(&number)
    }

    /// It is answered.
    pub fn remove(&mut self, number: u64) -> Option<Waiting> {
        self.calls.remove(&number)
    }

    /// Forgets the calls for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&Waiting) -> bool) {
        self.calls.retain(|_, waiting| keep(waiting));
    }

    /// All numbers, oldest first.
    pub fn numbers(&self) -> Vec<u64> {
        self.calls.keys().copied().collect()
    }
}

/// The tasks that a call would start.
pub fn launched_by(call: &CallKind) -> impl Iterator<Item = &TaskId> {
    let parts = match call {
        CallKind::Accept(accept) => accept.parts.as_slice(),
        CallKind::Subscribe(_)
        | CallKind::Decline(_)
        | CallKind::Suppress(_)
        | CallKind::Revive(_)
        | CallKind::UpdateDemands(_)
        | CallKind::Kill(_)
        | CallKind::Acknowledge(_)
        | CallKind::Reconcile(_)
        | CallKind::UpdateFramework(_)
        | CallKind::Teardown
        | CallKind::Heartbeat => &[],
    };
    parts.iter().flat_map(|part| &part.operations).flat_map(tasks_of).map(|task| &task.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_their_calls_only() {
        let mut pending = Pending::new("jobs.7").expect("a prefix");
        let number = pending.add(CallKind::Teardown, Purpose::Fence);
        let id = pending.call(number).and_then(|call| call.operation).expect("an id");
        assert_eq!(id.as_str(), "jobs.7-1");
        assert_eq!(pending.find(&id), Some(1));
        for other in ["jobs.7-2", "jobs.8-1", "jobs.7-x", "jobs.71"] {
            assert_eq!(pending.find(&OperationId::new(other).expect("an id")), None, "{other}");
        }
        assert!(pending.remove(1).is_some());
        assert_eq!(pending.find(&id), None);
        assert!(Pending::new("has space").is_err());
        assert!(Pending::new(&"x".repeat(120)).is_err());
    }
}
