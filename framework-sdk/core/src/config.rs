//! What a framework starts with.

use std::time::Duration;

use proto::framework::FrameworkInfo;
use proto::id::{BadId, FrameworkId, TaskId};

/// A framework is busy while more tasks than this are alive, and
pub(crate) const TASKS_WHEN_BUSY: usize = 8;

/// so many updates came within
pub(crate) const UPDATES_WHEN_BUSY: usize = 20;

/// so long. What each single task says is then of no hurry.
pub(crate) const UPDATES_WITHIN: Duration = Duration::from_millis(32);

/// Updates are gathered for so long in a busy framework, and acknowledged together.
pub(crate) const GATHER_WHEN_BUSY: Duration = Duration::from_millis(4);

/// What a framework starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it says of itself.
    pub info: FrameworkInfo,
    /// Its id, if it had one in an earlier life.
    pub id: Option<FrameworkId>,
    /// Begins the ids of all calls. Never use one twice: count the starts of the framework durably, or draw it large.
    pub operation_prefix: String,
    /// `host:port` of the masters.
    pub masters: Vec<String>,
    /// For jitter.
    pub seed: u64,
    /// Tasks that the framework's own memory says may be alive: it will be told of each of them.
    pub believed: Vec<TaskId>,
}

/// Why a framework cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadConfig {
    /// No master to talk to.
    NoMasters,
    /// The prefix cannot begin an id.
    Prefix(BadId),
}

impl std::fmt::Display for BadConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadConfig::NoMasters => f.write_str("no masters are configured; name at least one as host:port"),
            BadConfig::Prefix(bad) => write!(f, "the operation prefix {bad}"),
        }
    }
}

impl std::error::Error for BadConfig {}
