//! Which master the agent is with, or on its way to, and the highest epoch it has obeyed.

use std::time::Duration;

use proto::id::Epoch;
use proto::roster::Masters;
use proto_machine::{Dice, Instant};

use crate::config::Config;
use crate::input::LinkId;

/// So many hints of who leads are followed in a row before it is treated as a failure: two masters that name each
/// other would otherwise send the agent round for ever.
const HOPS_MAX: u32 = 3;

/// A master that admits the agent and drops it sooner than this is not connected to again without a pause.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Where the agent stands with its masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The keeper has not been heard: there is nothing true to register with.
    Waiting,
    /// Between two attempts.
    Resting {
        /// When to try again.
        until: Instant,
    },
    /// A connection is being opened.
    Connecting {
        /// When to give up.
        until: Instant,
    },
    /// Register was said.
    Registering {
        /// When to give up.
        until: Instant,
    },
    /// Admitted.
    Joined {
        /// Since.
        since: Instant,
    },
    /// It has left the pool, for as long as this process lives.
    Left,
}

/// Which master, which epoch.
pub(crate) struct Table {
    config: Config,
    dice: Dice,
    pub stage: Stage,
    /// The newest link; older ones are not listened to.
    pub link: LinkId,
    /// Where the newest link leads.
    pub address: String,
    /// The highest epoch obeyed.
    pub epoch: Epoch,
    /// The next of the configured masters to try.
    next_master: usize,
    /// Attempts since the last link that lasted.
    failures: u32,
    /// Hints followed in a row.
    hops: u32,
    heartbeat_interval: Duration,
    silence_limit: Duration,
    last_heard: Instant,
    last_said: Instant,
}

/// What time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Try to connect.
    Connect,
    /// The attempt took too long.
    GiveUp,
    /// Nothing was heard for too long.
    Silent,
    /// Nothing was said for a while.
    Heartbeat,
}

impl Table {
    /// With nobody; the first master to try is drawn.
    pub fn new(config: Config) -> Self {
        let mut dice = Dice::new(config.seed);
        let next_master = dice.below(config.masters.len() as u64) as usize;
        Table {
            config,
            dice,
            stage: Stage::Waiting,
            link: LinkId(0),
            address: String::new(),
            epoch: Epoch(0),
            next_master,
            failures: 0,
            hops: 0,
            heartbeat_interval: Duration::MAX,
            silence_limit: Duration::MAX,
            last_heard: Instant::default(),
            last_said: Instant::default(),
        }
    }

    /// Whether it is admitted.
    pub fn joined(&self) -> bool {
        matches!(self.stage, Stage::Joined { .. })
    }

    /// Whether there is a link, open or being opened.
    pub fn has_link(&self) -> bool {
        match self.stage {
            Stage::Connecting { .. } | Stage::Registering { .. } | Stage::Joined { .. } => true,
            Stage::Waiting | Stage::Resting { .. } | Stage::Left => false,
        }
    }

    /// Whether this is the link listened to.
    pub fn listens_to(&self, link: LinkId) -> bool {
        self.has_link() && link == self.link
    }

    /// Begins an attempt at the next of the configured masters; `None` when there are none.
    pub fn next_attempt(&mut self, now: Instant) -> Option<(LinkId, String)> {
        // Masters may have become fewer.
        let at = self.next_master % self.config.masters.len().max(1);
        let address = self.config.masters.get(at)?.clone();
        self.next_master = (at + 1) % self.config.masters.len();
        Some(self.attempt(now, address))
    }

    /// All masters that are known, if there is news among these.
    pub fn told_of(&mut self, masters: &Masters) -> Option<Vec<String>> {
        masters.learn(&mut self.config.masters).then(|| self.config.masters.clone())
    }

    /// Begins an attempt at this master.
    pub fn attempt(&mut self, now: Instant, address: String) -> (LinkId, String) {
        self.link = LinkId(self.link.0 + 1);
        self.address.clone_from(&address);
        self.stage = Stage::Connecting { until: now + self.config.connect_limit };
        (self.link, address)
    }

    /// The link is open and Register is being said.
    pub fn linked(&mut self, now: Instant) {
        self.stage = Stage::Registering { until: now + self.config.register_limit };
        self.last_said = now;
    }

    /// The master has admitted the agent.
    pub fn admitted(&mut self, now: Instant, heartbeat_interval: Duration, silence_limit: Duration) {
        self.stage = Stage::Joined { since: now };
        self.hops = 0;
        // A master that asks for a heartbeat without end of them is not one to believe.
        self.heartbeat_interval = heartbeat_interval.max(Duration::from_millis(10));
        self.silence_limit = silence_limit.max(Duration::from_millis(100));
        self.last_heard = now;
    }

    /// Something was heard on the link.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Something was said on the link.
    pub fn said(&mut self, now: Instant) {
        self.last_said = now;
    }

    /// Whether a hint of who leads is to be followed at once.
    pub fn may_hop(&mut self) -> bool {
        self.hops += 1;
        self.hops <= HOPS_MAX
    }

    /// An attempt came to nothing: rests before the next. All masters are tried once before the pause doubles.
    pub fn failed(&mut self, now: Instant) {
        self.hops = 0;
        let round = self.failures / self.config.masters.len().max(1) as u32;
        self.failures = self.failures.saturating_add(1);
        let pause = self
            .config
            .retry_first
            .saturating_mul(1u32.checked_shl(round).unwrap_or(u32::MAX))
            .min(self.config.retry_cap);
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let jittered = nanos / 2 + self.dice.below(nanos / 2 + 1);
        self.stage = Stage::Resting { until: now + Duration::from_nanos(jittered) };
    }

    /// The link broke. True when it had lasted and the next master is to be tried without a pause.
    pub fn broke(&mut self, now: Instant) -> bool {
        match self.stage {
            Stage::Joined { since } if now.since(since) >= SETTLED_AFTER => {
                self.failures = 0;
                true
            }
            Stage::Joined { .. }
            | Stage::Waiting
            | Stage::Resting { .. }
            | Stage::Connecting { .. }
            | Stage::Registering { .. }
            | Stage::Left => {
                self.failed(now);
                false
            }
        }
    }

    /// When time brings something.
    pub fn due_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting | Stage::Left => None,
            Stage::Resting { until } | Stage::Connecting { until } | Stage::Registering { until } => {
                Some(until)
            }
            Stage::Joined { .. } => {
                let heartbeat = self.last_said + self.heartbeat_interval;
                Some(heartbeat.min(self.last_heard + self.silence_limit))
            }
        }
    }

    /// What time has brought, if anything.
    pub fn due(&self, now: Instant) -> Option<Due> {
        if now < self.due_at()? {
            return None;
        }
        match self.stage {
            Stage::Waiting | Stage::Left => None,
            Stage::Resting { .. } => Some(Due::Connect),
            Stage::Connecting { .. } | Stage::Registering { .. } => Some(Due::GiveUp),
            Stage::Joined { .. } if now >= self.last_heard + self.silence_limit => Some(Due::Silent),
            Stage::Joined { .. } => Some(Due::Heartbeat),
        }
    }
}
