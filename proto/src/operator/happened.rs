//! What happened to the pool, as the log tells it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::id::{AgentId, FrameworkId, TaskId};

/// The words for what can happen; `docs/guide/events.md` says what each means.
pub const EVENT_KINDS: [&str; 32] = [
    "agent-admitted",
    "agent-back",
    "agent-changed",
    "agent-unreachable",
    "agent-gone",
    "agent-drained",
    "agent-resumed",
    "framework-registered",
    "framework-changed",
    "framework-disconnected",
    "framework-reconnected",
    "framework-removed",
    "task-launched",
    "task-adopted",
    "task-unreachable",
    "task-kill-wanted",
    "task-ended",
    "reserved",
    "unreserved",
    "volume-created",
    "volume-destroyed",
    "volume-deleted",
    "quota-set",
    "weight-set",
    "token-created",
    "token-used",
    "rights-set",
    "secret-set",
    "secret-removed",
    "masters-changed",
    "masters-settled",
    "restored",
];

/// Something that happened to the pool, as the log tells it: the same with the same number on every master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Given once, without gaps.
    pub sequence: u64,
    /// When the leader proposed it.
    pub at_ms: u64,
    /// Where in the log.
    pub index: u64,
    /// A stable word.
    pub kind: Cow<'static, str>,
    /// The agent it happened to.
    pub agent: Option<AgentId>,
    /// The framework it happened to, or to whose task.
    pub framework: Option<FrameworkId>,
    /// The task it happened to.
    pub task: Option<TaskId>,
    /// A role, a principal, the public part of a token, a volume, or a secret; may be empty.
    pub subject: String,
    /// In words; may be empty.
    pub message: String,
}

/// What happened, in order and without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Arc<Happened>>,
    /// The oldest one that is kept; 0 when there is none.
    pub oldest: u64,
    /// The newest one; 0 when there is none.
    pub newest: u64,
}
