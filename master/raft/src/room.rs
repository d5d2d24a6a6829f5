//! A disk that fills up: a leader whose room runs low hands over, and a member that has none left is silent until it has.
//!
//! Whoever cannot store anything must not be asked to: a write that fails is the end of the process. So what would have to be
//! stored is not let in: to the others such a member is one that is down, and consensus bears that.

use crate::Raft;
use crate::config::HAND_OVER_TICKS;
use crate::course::Step;

/// How much room there is where the log is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    #[default]
    Enough,
    /// It runs low: somebody else had better lead.
    Low,
    /// Nothing more may be stored.
    None,
}

impl Raft {
    /// How much room there is, as it was told.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Who is to lead instead of this member, if that is due. Not too often: the others may have no more room than it.
    pub(crate) fn makes_way(&mut self) -> Option<Step> {
        let tick = self.pace.ticks();
        if self.room == Room::Enough || tick < self.make_way_at || !self.is_leader() {
            return None;
        }
        let heir = self.heir(&self.conf_state().voters.clone())?;
        self.make_way_at = tick + HAND_OVER_TICKS;
        Some(Step::HandOver(heir))
    }
}
