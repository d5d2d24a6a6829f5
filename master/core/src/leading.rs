//! `Leading`: everything a master knows only while it leads; a follower cannot touch it, by type.

use std::collections::{BTreeMap, BTreeSet};

use master_allocator::Allocator;
use proto::id::{AgentId, Epoch, FrameworkId, OfferId};
use proto_machine::{Deadlines, Instant, Pulse};

use crate::config::{Config, TASKS_WHEN_BUSY, UPDATES_WHEN_BUSY, UPDATES_WITHIN};
use crate::input::{LinkId, SessionId};
use crate::tables::{agents, frameworks, offers, tasks};

/// What a leader waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// An offer expires.
    Offer(OfferId),
    /// A framework may hold more offers than it should, and for too long.
    Hold(FrameworkId),
    /// An agent without a link is called unreachable.
    Agent(AgentId),
    /// What still runs on a draining agent is to be ended.
    Drain(AgentId),
    /// A link was silent for too long.
    Link(LinkId),
    /// A session was silent for too long.
    Session(SessionId),
    /// A framework did not come back in time: its failover timer, or the wait of a new leader before it starts.
    Framework(FrameworkId),
    /// Ended tasks are to be logged.
    Lazy,
    /// Everybody is told that the leader is there.
    Heartbeat,
}

/// The tables together.
pub(crate) struct Leading {
    pub epoch: Epoch,
    /// When it began to lead.
    pub since: Instant,
    pub allocator: Allocator,
    pub agents: agents::Table,
    pub frameworks: frameworks::Table,
    pub offers: offers::Table,
    pub tasks: tasks::Table,
    pub deadlines: Deadlines<Deadline>,
    /// Who was told that an agent is to be empty, and is told when it need not be any more.
    pub drains_told: BTreeMap<AgentId, BTreeSet<FrameworkId>>,
    /// Frameworks named so far in this epoch.
    pub named: u64,
    /// Lists of tasks to kill and agents to mend are worked off turn by turn; offers are made when nothing is left.
    pub allocate: bool,
    /// When offers were made last.
    pub offered_at: Instant,
    /// Updates from agents.
    pub updates: Pulse,
}

impl Leading {
    pub fn new(epoch: Epoch, config: &Config) -> Self {
        let books = master_allocator::Config {
            hold_share_milli: config.hold_share_milli,
            ..master_allocator::Config::default()
        };
        Leading {
            epoch,
            since: Instant::from_nanos(0),
            allocator: Allocator::new(books),
            agents: agents::Table::default(),
            frameworks: frameworks::Table::default(),
            offers: offers::Table::new(epoch),
            tasks: tasks::Table::default(),
            deadlines: Deadlines::new(),
            drains_told: BTreeMap::new(),
            named: 0,
            allocate: true,
            offered_at: Instant::from_nanos(0),
            updates: Pulse::new(UPDATES_WHEN_BUSY, UPDATES_WITHIN),
        }
    }

    /// Whether, with so many tasks alive, much begins and ends at once.
    pub fn is_busy(&self, tasks: usize, now: Instant) -> bool {
        tasks > TASKS_WHEN_BUSY && self.updates.is_fast(now)
    }
}
