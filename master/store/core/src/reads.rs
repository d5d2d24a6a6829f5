//! What waits for the leader's word that nothing newer is committed.

use std::collections::BTreeMap;

use master_store::SpaceId;
use proto::store::CallKind;

use crate::input::Ticket;

/// A call that changes nothing in the log.
#[derive(Debug)]
pub(crate) struct Read {
    pub ticket: Ticket,
    pub space: SpaceId,
    pub epoch: Option<u64>,
    pub kind: CallKind,
}

/// Reads that gather during a turn, and those that share a question to the leader.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    gathered: Round,
    next_tag: u64,
    asked: BTreeMap<u64, Round>,
}

/// Reads, and who wants all there is.
type Round = (Vec<Read>, Vec<Ticket>);

impl Reads {
    pub fn add(&mut self, read: Read) {
        self.gathered.0.push(read);
    }

    /// Somebody wants all there is.
    pub fn save(&mut self, ticket: Ticket) {
        self.gathered.1.push(ticket);
    }

    /// One question for all that gathered.
    pub fn take(&mut self) -> Option<u64> {
        if self.gathered.0.is_empty() && self.gathered.1.is_empty() {
            return None;
        }
        self.next_tag += 1;
        self.asked.insert(self.next_tag, std::mem::take(&mut self.gathered));
        Some(self.next_tag)
    }

    /// A question is answered, or will not be.
    pub fn land(&mut self, tag: u64) -> Round {
        self.asked.remove(&tag).unwrap_or_default()
    }
}
