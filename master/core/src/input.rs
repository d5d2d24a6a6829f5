//! `Input`: everything that can happen to a master.

use proto::agent_link::ToMaster;
use proto::caller::Caller;
use proto::id::AgentId;
use proto::log::{SecretSet, TokenCreated};
use proto::operator::{
    CanI, ChangeMasters, DrainAgent, Explain, KillTask, MarkAgentGone, OperateAgent, RemoveSecret,
    ResumeAgent, SetQuota, SetRights, SetWeight, TeardownFramework, TransferLead,
};
use proto::scheduler::Call;

/// One session of a framework; the shell numbers them and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One link of an agent; the shell numbers them and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One question of an operator; the reply carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Everything that can happen. Deadlines come through `Machine::wake`.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something for consensus: a peer's message, a finished snapshot transfer.
    Raft(master_raft::Input),
    /// A framework calls.
    Framework {
        /// On this session.
        session: SessionId,
        /// Its certificate says so.
        caller: Caller,
        /// What.
        call: Call,
    },
    /// A framework's session is over.
    FrameworkClosed {
        /// Which.
        session: SessionId,
    },
    /// An agent speaks.
    Agent {
        /// On this link.
        link: LinkId,
        /// Its certificate says so.
        agent: AgentId,
        /// What.
        message: ToMaster,
    },
    /// An agent's link is over.
    AgentClosed {
        /// Which.
        link: LinkId,
    },
    /// Somebody wants all that the log remembers, as of now or later. Ends exactly once, in `Output::Saved`.
    Save {
        /// Comes back with it.
        ticket: Ticket,
    },
    /// Somebody wants to read what is committed by now. Ends exactly once, in `Output::Confirmed`.
    Confirm {
        /// Comes back with it.
        ticket: Ticket,
    },
    /// How the other group stands, that of the frameworks' state, as its member in this process knows.
    StoreMembers(master_raft::Bearing),
    /// An operator asks for what only the machine can do; reads are served from the read model.
    Operator {
        /// Comes back with the reply.
        ticket: Ticket,
        /// Their certificate says so.
        caller: Caller,
        /// What.
        call: OperatorCall,
    },
}

/// What operators ask of the machine itself.
#[derive(Clone, Debug)]
pub enum OperatorCall {
    /// How do the masters stand? Addresses and progress; who is alive, and their processes, the shell knows.
    Raft,
    /// Why does it wait?
    Explain(Explain),
    /// End a task.
    KillTask(KillTask),
    /// Set a quota.
    SetQuota(SetQuota),
    /// Set a weight.
    SetWeight(SetWeight),
    /// End a framework.
    TeardownFramework(TeardownFramework),
    /// Give an agent no new work.
    DrainAgent(DrainAgent),
    /// Give an agent work again.
    ResumeAgent(ResumeAgent),
    /// Change what an agent's resources are kept for.
    OperateAgent(OperateAgent),
    /// Give an agent up.
    MarkAgentGone(MarkAgentGone),
    /// Check everything about an order, and do nothing.
    DryRun(Box<OperatorCall>),
    /// Who am I, and what may I?
    WhoAmI,
    /// May somebody do something?
    CanI(CanI),
    /// The principals of which somebody said what they may.
    Principals,
    /// Set what a principal may.
    SetRights(SetRights),
    /// Change who the masters are.
    ChangeMasters(ChangeMasters),
    /// Take back such a change.
    CancelMasters,
    /// Let another master lead.
    TransferLead(TransferLead),
    /// Keep a secret that the shell has encrypted; who says so is the caller.
    SetSecret(SecretSet),
    /// Remove a secret.
    RemoveSecret(RemoveSecret),
    /// Keep a token whose secret the shell has drawn.
    CreateToken(TokenCreated),
    /// Use up a token: its public part and the hash of the secret that was shown. No certificate is needed for it.
    RedeemToken {
        /// The public part.
        id: String,
        /// SHA-256 of the secret part.
        secret_sha256: Vec<u8>,
        /// Who is to be certified: must fit the token's kind and name.
        becomes: Caller,
    },
}
