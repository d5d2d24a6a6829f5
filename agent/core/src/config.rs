//! What an agent is given at birth.

use std::time::Duration;

use proto::agent::AgentInfo;

/// An agent is busy while more runs than this are alive, and
pub(crate) const RUNS_WHEN_BUSY: usize = 4;

/// so many statuses were reached within
pub(crate) const STATUSES_WHEN_BUSY: usize = 8;

/// so long. What single runs say is then of no hurry.
pub(crate) const STATUSES_WITHIN: Duration = Duration::from_millis(32);

/// Starts, ends and acknowledgements are gathered for so long in a busy agent: one record, one sync and one message for many.
pub(crate) const GATHER_WHEN_BUSY: Duration = Duration::from_millis(8);

/// What an agent is given at birth. The times are constants of the design, here so that tests and the simulator can
/// shorten them.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it says of itself.
    pub info: AgentInfo,
    /// `host:port` of the masters, in any order.
    pub masters: Vec<String>,
    /// For jitter: the shell draws it from the system, the simulator from its own seed.
    pub seed: u64,
    /// How long a connection may take to open.
    pub connect_limit: Duration,
    /// How long a master may take to answer Register. A new leader that hears from all agents at once needs some.
    pub register_limit: Duration,
    /// The first pause between attempts to reach a master; the very first attempt is made at once.
    pub retry_first: Duration,
    /// The pause grows to this at most: it is part of how long a failover takes.
    pub retry_cap: Duration,
    /// An update that is not acknowledged is sent again after this, then after twice that, and so on (Mesos: 10 s).
    pub resend_first: Duration,
    /// But at least so often (Mesos: 10 min).
    pub resend_cap: Duration,
}

impl Config {
    /// The usual times.
    pub fn new(info: AgentInfo, masters: Vec<String>, seed: u64) -> Self {
        Config {
            info,
            masters,
            seed,
            connect_limit: Duration::from_secs(2),
            register_limit: Duration::from_secs(5),
            retry_first: Duration::from_millis(100),
            retry_cap: Duration::from_secs(2),
            resend_first: Duration::from_secs(10),
            resend_cap: Duration::from_secs(600),
        }
    }
}
