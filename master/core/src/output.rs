//! `Output`: everything a master wants done, in order; nothing behind a `Persist` leaves before it is on disk.

use std::sync::Arc;

use bytes::Bytes;
use proto::agent_link::ToAgent;
use proto::operator;
use proto::roster::Roster;
use proto::scheduler;

use crate::audited::Audited;
use crate::input::{LinkId, SessionId, Ticket};

/// What the shell has to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make durable; nothing behind it is done before.
    Persist(master_raft::Persist),
    /// Send to another master.
    ToPeer {
        /// The peer.
        to: master_raft::NodeId,
        /// The message.
        bytes: Bytes,
    },
    /// Send the newest snapshot to another master, and report how it ended.
    SnapshotToPeer {
        /// The peer.
        to: master_raft::NodeId,
        /// The message that announces it.
        bytes: Bytes,
        /// Under which the store has it.
        index: u64,
    },
    /// Tell a framework.
    ToFramework {
        /// On this session.
        session: SessionId,
        /// What.
        event: scheduler::Event,
    },
    /// End a session, after what was told.
    CloseFramework {
        /// Which.
        session: SessionId,
    },
    /// Tell an agent.
    ToAgent {
        /// On this link.
        link: LinkId,
        /// What.
        message: ToAgent,
    },
    /// End a link, after what was told.
    CloseAgent {
        /// Which.
        link: LinkId,
    },
    /// Answer an operator.
    Reply {
        /// Their ticket.
        ticket: Ticket,
        /// The answer.
        kind: operator::ReplyKind,
    },
    /// All that the log remembers; `None`: no leader confirmed in time what is committed.
    Saved {
        /// Of whoever asked for it.
        ticket: Ticket,
        /// What.
        saved: Option<Saved>,
    },
    /// Whatever was committed when this was asked for has been applied, and said, before this.
    Confirmed {
        /// Of whoever asked.
        ticket: Ticket,
        /// False: no leader confirmed in time what is committed.
        confirmed: bool,
    },
    /// Something changed that people can see: the read model folds it.
    Changed(operator::EventKind),
    /// The part this master plays, and up to where its registry stands.
    Part {
        /// In this term.
        term: u64,
        /// Whether it leads, and has told the read model everything.
        leads: bool,
        /// Who leads, as far as it knows.
        leader: Option<proto::id::MasterId>,
    },
    /// This happened, next in the order of the log.
    Happened(Vec<Arc<operator::Happened>>),
    /// This is the list of masters now.
    Roster(Arc<Roster>),
    /// These are the secrets now, encrypted; the shell has the key.
    Secrets(master_registry::Secrets),
    /// The registry stands at this index now.
    Applied(u64),
    /// A note for the log: something an operator would act on.
    Note(Note),
    /// Something for the audit log.
    Audit(Audited),
}

/// A state machine as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Up to where of the log.
    pub index: u64,
    /// The term of the member that gives it.
    pub term: u64,
    /// As in a snapshot.
    pub image: Bytes,
}

/// Something an operator would act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A call was refused.
    Refused {
        /// Who called.
        caller: String,
        /// The stable code.
        code: proto::refusal::Code,
        /// What was wrong.
        message: String,
    },
    /// A framework used offers, and that is committed.
    Accepted {
        /// Who.
        framework: proto::id::FrameworkId,
        /// With which call.
        operation: proto::id::OperationId,
        /// Where in the log.
        index: u64,
        /// How many tasks start with it.
        tasks: u64,
    },
    /// An agent's standing changed.
    Agent {
        /// Which.
        agent: proto::id::AgentId,
        /// How it stands now.
        state: proto::agent::AgentState,
    },
    /// A framework's standing changed.
    Framework {
        /// Which.
        framework: proto::id::FrameworkId,
        /// What happened to it.
        what: &'static str,
    },
    /// A peer's message was refused.
    Peer {
        /// Who sent it.
        from: u64,
        /// Why.
        why: String,
    },
    /// The allocator refused a fact: its books and the leader's differ, which is a fault of ours.
    Books {
        /// The fact.
        what: String,
    },
    /// A committed entry could not be read: this master must not go on.
    Unreadable {
        /// Where in the log.
        index: u64,
        /// Why.
        why: String,
    },
}
