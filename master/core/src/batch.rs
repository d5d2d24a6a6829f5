//! What waits for the log: the changes of this turn, and what to do when they are committed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proto::id::{FrameworkId, OperationId};
use proto::log::{Batch as LogBatch, Entry};
use proto::wire::Wire;

use crate::config::BATCH_BYTES;
use crate::input::{LinkId, SessionId, Ticket};

/// What to do when an entry is committed: the second half of a verb.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Nothing beyond applying it.
    Nothing,
    /// Let the agent in.
    Admit { link: LinkId, register: Box<proto::agent_link::Register> },
    /// Tell an operator.
    Reply { ticket: Ticket },
    /// Let the framework in.
    Subscribe { session: SessionId, framework: FrameworkId, resume: Option<proto::scheduler::Resume> },
    /// Tell the framework that its call is carried out.
    Answer { framework: FrameworkId, operation: OperationId },
    /// The framework gave its call no id, and so is told nothing.
    Unanswered { framework: FrameworkId },
    /// Tell the framework and its agents.
    Accept { framework: FrameworkId, operation: OperationId },
}

/// Entries with their second halves.
pub(crate) type Proposal = Vec<(Entry, Pending)>;

/// What gathers during a turn, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Goes out at the end of the turn.
    urgent: Proposal,
    /// Ended tasks: go out with the next urgent one, or when their time has come.
    lazy: Proposal,
    next_tag: u64,
    in_flight: BTreeMap<u64, Proposal>,
}

impl Batch {
    /// To be committed as soon as can be.
    pub fn propose(&mut self, entry: Entry, pending: Pending) {
        self.urgent.push((entry, pending));
    }

    /// To be committed soon, together with others.
    pub fn propose_lazily(&mut self, entry: Entry) {
        self.lazy.push((entry, Pending::Nothing));
    }

    pub fn lazy_len(&self) -> usize {
        self.lazy.len()
    }

    pub fn is_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Everything that waits, as proposals of bounded size. Ends of tasks come first: what an accept uses may have
    /// been freed by them, and a leader that comes after must see them in that order.
    pub fn take(&mut self, at_ms: u64) -> Vec<(u64, Bytes)> {
        let mut waiting: VecDeque<(Entry, Pending)> = std::mem::take(&mut self.lazy).into();
        waiting.extend(std::mem::take(&mut self.urgent));
        let mut proposals = Vec::new();
        while !waiting.is_empty() {
            let mut bytes = 0;
            let mut count = 0;
            while count < waiting.len() && (count == 0 || bytes < BATCH_BYTES) {
                bytes += cost(&waiting[count].0);
                count += 1;
            }
            let mut entries = Vec::with_capacity(count);
            let mut pendings = Vec::with_capacity(count);
            for (entry, pending) in waiting.drain(..count) {
                entries.push(entry);
                pendings.push(pending);
            }
            let batch = LogBatch { at_ms, entries };
            let data = Bytes::from(batch.encode());
            self.next_tag += 1;
            self.in_flight.insert(self.next_tag, batch.entries.into_iter().zip(pendings).collect());
            proposals.push((self.next_tag, data));
        }
        proposals
    }

    /// The lead is lost: nothing that waits will be proposed; returns what it waited for.
    pub fn abandon(&mut self) -> Vec<Pending> {
        let waiting = std::mem::take(&mut self.lazy).into_iter().chain(std::mem::take(&mut self.urgent));
        let in_flight = std::mem::take(&mut self.in_flight).into_values().flatten();
        in_flight.chain(waiting).map(|(_, pending)| pending).collect()
    }

    /// A proposal is committed, or will not be.
    pub fn land(&mut self, tag: u64) -> Option<Proposal> {
        self.in_flight.remove(&tag)
    }
}

/// About how many bytes an entry takes; only its order of magnitude matters.
fn cost(entry: &Entry) -> usize {
    match entry {
        Entry::Accepted(accepted) => accepted
            .parts
            .iter()
            .flat_map(|part| &part.operations)
            .map(|operation| match operation {
                proto::operation::Operation::Launch(launch) => tasks_cost(&launch.tasks),
                proto::operation::Operation::LaunchGroup(launch) => tasks_cost(&launch.tasks),
                proto::operation::Operation::Reserve(_)
                | proto::operation::Operation::Unreserve(_)
                | proto::operation::Operation::CreateVolume(_)
                | proto::operation::Operation::DestroyVolume(_) => 256,
            })
            .sum(),
        Entry::TaskAdopted(adopted) => tasks_cost(std::slice::from_ref(&adopted.task)),
        Entry::AgentAdmitted(_)
        | Entry::AgentUnreachable(_)
        | Entry::AgentGone(_)
        | Entry::FrameworkRegistered(_)
        | Entry::FrameworkDisconnected(_)
        | Entry::FrameworkReconnected(_)
        | Entry::FrameworkRemoved(_)
        | Entry::TaskEnded(_)
        | Entry::KillWanted(_)
        | Entry::QuotaSet(_)
        | Entry::WeightSet(_)
        | Entry::TokenCreated(_)
        | Entry::TokenUsed(_)
        | Entry::VolumesForgotten(_)
        | Entry::AgentDrained(_)
        | Entry::AgentResumed(_)
        | Entry::SecretRemoved(_)
        | Entry::MastersSettled(_)
        | Entry::RightsSet(_) => 256,
        Entry::MastersChanged(changed) => 256 * (1 + changed.roster.masters.len()),
        Entry::SecretSet(set) => 256 + set.ciphertext.len(),
        Entry::AgentOperated(operated) => 256 * operated.operations.len(),
    }
}

fn tasks_cost(tasks: &[proto::task::TaskInfo]) -> usize {
    let text = |task: &proto::task::TaskInfo| {
        let argv: usize = task.command.argv.iter().map(String::len).sum();
        let env: usize = task.command.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        256 + argv + env
    };
    tasks.iter().map(text).sum()
}
