//! What waits for the log: changes that gather, and those on their way.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proto::roster::Roster;
use proto::store::Operation;
use proto::store_log::{Batch as LogBatch, Entry, EntryKind, Limits};
use proto::wire::Wire;

use crate::config::{BATCH_BYTES, WAITING_BYTES_MAX};
use crate::input::Ticket;

/// Who waits for an entry, and what has to be known of it if it is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// Whoever asked.
    Caller(Ticket),
    /// The leader's own timer of this lease.
    Timer(crate::leases::LeaseKey),
}

/// What gathers, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    gathered: VecDeque<(Entry, usize, Waiter)>,
    gathered_bytes: usize,
    next_tag: u64,
    in_flight: BTreeMap<u64, Vec<Waiter>>,
    /// A list of masters that is to be committed, and the proposal that it went out with.
    roster: Option<Roster>,
    roster_in_flight: Option<u64>,
}

impl Batch {
    /// To be committed as soon as can be; false if too much waits already.
    pub fn propose(&mut self, entry: Entry, waiter: Waiter) -> bool {
        let bytes = cost(&entry.kind);
        if self.gathered_bytes + bytes > WAITING_BYTES_MAX {
            return false;
        }
        self.gathered_bytes += bytes;
        self.gathered.push_back((entry, bytes, waiter));
        true
    }

    /// The same of a list of masters; false if one is on its way already.
    pub fn propose_roster(&mut self, roster: Roster) -> bool {
        let free = self.roster_in_flight.is_none();
        if free {
            self.roster = Some(roster);
        }
        free
    }

    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.roster.is_none()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The oldest of what gathered, as one proposal of bounded size.
    pub fn take(&mut self, limits: Limits) -> Option<(u64, Bytes)> {
        if self.is_empty() {
            return None;
        }
        let roster = self.roster.take();
        let limits = Some(limits).filter(|limits| *limits != Limits::default());
        self.next_tag += 1;
        self.roster_in_flight = self.roster_in_flight.or(roster.is_some().then_some(self.next_tag));
        let (mut batch, mut waiters, mut total) =
            (LogBatch { entries: Vec::new(), limits, roster }, Vec::new(), 0);
        while let Some((_, bytes, _)) = self.gathered.front()
            && (batch.entries.is_empty() || total + bytes <= BATCH_BYTES)
            && let Some((entry, bytes, waiter)) = self.gathered.pop_front()
        {
            total += bytes;
            batch.entries.push(entry);
            waiters.push(waiter);
        }
        self.gathered_bytes -= total;
        self.in_flight.insert(self.next_tag, waiters);
        Some((self.next_tag, Bytes::from(batch.encode())))
    }

    /// A proposal is committed, or will not be.
    pub fn land(&mut self, tag: u64) -> Vec<Waiter> {
        self.roster_in_flight.take_if(|at| *at == tag);
        self.in_flight.remove(&tag).unwrap_or_default()
    }

    /// The lead is lost. First who waits for what is on its way, then who waits for what was never proposed.
    pub fn abandon(&mut self) -> (Vec<Waiter>, Vec<Waiter>) {
        let in_flight = std::mem::take(&mut self.in_flight).into_values().flatten().collect();
        self.gathered_bytes = 0;
        (self.roster, self.roster_in_flight) = (None, None);
        (in_flight, self.gathered.drain(..).map(|(_, _, waiter)| waiter).collect())
    }
}

/// About how many bytes an entry takes; only its order of magnitude matters.
fn cost(kind: &EntryKind) -> usize {
    const ENTRY: usize = 64;
    let inner = match kind {
        EntryKind::Put(put) => put.key.len() + put.value.len(),
        EntryKind::DeleteRange(delete) => delete.key.len() + delete.range_end.len(),
        EntryKind::Txn(txn) => txn_cost(txn),
        EntryKind::Compact(_)
        | EntryKind::LeaseGrant(_)
        | EntryKind::LeaseRevoke(_)
        | EntryKind::LeaseExpired(_)
        | EntryKind::Claim(_) => 0,
    };
    ENTRY + inner
}

fn txn_cost(txn: &proto::store::Txn) -> usize {
    const STEP: usize = 32;
    let compares = txn.compare.iter().map(|compare| {
        let value = match &compare.operand {
            proto::store::Operand::Value(value) => value.len(),
            _ => 0,
        };
        STEP + compare.key.len() + compare.range_end.len() + value
    });
    let steps = txn.success.iter().chain(&txn.failure).map(|step| {
        STEP + match step {
            Operation::Range(range) => range.key.len() + range.range_end.len(),
            Operation::Put(put) => put.key.len() + put.value.len(),
            Operation::DeleteRange(delete) => delete.key.len() + delete.range_end.len(),
            Operation::Txn(txn) => txn_cost(txn),
        }
    });
    compares.sum::<usize>() + steps.sum::<usize>()
}
