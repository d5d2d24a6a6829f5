//! `State`: the tables together, which is what a verb works on.

use proto::agent::AgentInfo;
use proto::refusal::Refusal;

use crate::config::Config;
use crate::input::Room;
use crate::tables::{checks, forgotten, membership, parting, runs, updates, volumes};

/// The tables together.
pub(crate) struct State {
    /// What the agent says of itself.
    pub info: AgentInfo,
    /// The runs it has not forgotten.
    pub runs: runs::Table,
    /// Their statuses, until acknowledged.
    pub updates: updates::Table,
    /// What is asked of those that run.
    pub checks: checks::Table,
    /// How the last ones that were forgotten ended.
    pub forgotten: forgotten::Table,
    /// Forgotten runs that the keeper still has.
    pub parting: parting::Table,
    /// Volumes that are to be deleted.
    pub volumes: volumes::Table,
    /// Which master, which epoch.
    pub membership: membership::Table,
    /// Whether the machine was restarted since the ledger was written; false again once the keeper has been heard.
    pub rebooted: bool,
    /// Set when the pool has sent it away; it leaves when the last run is over.
    pub leaving: Option<Refusal>,
    /// Set when the operator wants it to end.
    pub ending: bool,
    /// Whether there is room for new runs.
    pub room: Room,
}

impl State {
    /// Nothing known yet.
    pub fn new(config: Config) -> Self {
        State {
            info: config.info.clone(),
            runs: runs::Table::default(),
            updates: updates::Table::new(config.resend_first, config.resend_cap),
            checks: checks::Table::default(),
            forgotten: forgotten::Table::default(),
            parting: parting::Table::default(),
            volumes: volumes::Table::default(),
            membership: membership::Table::new(config),
            rebooted: false,
            leaving: None,
            ending: false,
            room: Room::Enough,
        }
    }
}
