//! The list of masters in the log: one change at a time, each on the version that it was made for.

use proto::log::MastersChanged;
use proto::roster::Roster;

use crate::effect::Effect;
use crate::registry::Registry;

impl Registry {
    pub(crate) fn change_masters(&mut self, changed: MastersChanged, index: u64) -> Effect {
        let version = self.roster.as_ref().map_or(0, |roster| roster.version);
        if changed.on != version {
            return Effect::Nothing;
        }
        self.roster = Some(Roster { version: index, ..changed.roster });
        Effect::Done
    }

    pub(crate) fn settle_masters(&mut self, version: u64, index: u64) -> Effect {
        match &mut self.roster {
            Some(roster) if roster.version == version && roster.is_changing() => {
                *roster = Roster { version: index, ..roster.settled() };
                Effect::Done
            }
            Some(_) | None => Effect::Nothing,
        }
    }
}
