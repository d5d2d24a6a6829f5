//! P9: each offer is made once, ends once, and can be used only by ending as accepted.

use std::collections::BTreeMap;

use proto::id::{AgentId, OfferId};
use proto::operator::{EventKind, OfferEnd};

use super::{Verdict, broken};

const PROMISE: &str = "P9 offers end once";

/// Every offer that was ever made, and how it ended.
#[derive(Debug, Default)]
pub struct Ledger {
    offers: BTreeMap<OfferId, Option<OfferEnd>>,
    agents: BTreeMap<OfferId, AgentId>,
}

impl Ledger {
    /// A leader says something to those who watch.
    pub fn changed(&mut self, event: &EventKind) -> Verdict {
        match event {
            EventKind::OfferMade(offer) => {
                self.agents.insert(offer.id, offer.agent.clone());
                match self.offers.insert(offer.id, None) {
                    None => Ok(()),
                    Some(_) => broken(PROMISE, format!("{} was made twice", offer.id)),
                }
            }
            EventKind::OfferEnded(ended) => match self.offers.get_mut(&ended.offer) {
                Some(end @ None) => {
                    *end = Some(ended.how);
                    Ok(())
                }
                Some(Some(before)) => {
                    broken(PROMISE, format!("{} ended as {before:?}, then as {:?}", ended.offer, ended.how))
                }
                None => broken(PROMISE, format!("{} ended and was never made", ended.offer)),
            },
            EventKind::Snapshot(_)
            | EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::TaskChanged(_)
            | EventKind::RoleChanged(_) => Ok(()),
        }
    }

    /// A task was launched on these offers.
    pub fn used(&self, task: &str, offers: &[OfferId]) -> Verdict {
        for offer in offers {
            match self.offers.get(offer) {
                Some(Some(OfferEnd::Accepted)) => {}
                Some(Some(end)) => {
                    return broken(
                        PROMISE,
                        format!("{task} was launched on {offer}, which ended as {end:?}"),
                    );
                }
                Some(None) => {
                    return broken(PROMISE, format!("{task} was launched on {offer}, which is still open"));
                }
                None => {
                    return broken(PROMISE, format!("{task} was launched on {offer}, which was never made"));
                }
            }
        }
        Ok(())
    }

    /// Whose resources an offer was of.
    pub fn agent_of(&self, offer: OfferId) -> Option<&AgentId> {
        self.agents.get(&offer)
    }

    /// How many offers there were, and how many ended in each way.
    pub fn counts(&self) -> (usize, BTreeMap<OfferEnd, usize>) {
        let mut ends = BTreeMap::new();
        for end in self.offers.values().flatten() {
            *ends.entry(*end).or_default() += 1;
        }
        (self.offers.len(), ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::id::Epoch;
    use proto::operator::OfferEnded;

    #[test]
    fn a_second_end_is_a_broken_promise() {
        let offer = OfferId { epoch: Epoch(1), number: 1 };
        let mut ledger = Ledger::default();
        let ended = |how| EventKind::OfferEnded(OfferEnded { offer, how });
        assert!(ledger.changed(&ended(OfferEnd::Expired)).is_err(), "never made");
        ledger.offers.insert(offer, None);
        assert!(ledger.used("t", &[offer]).is_err(), "still open");
        assert!(ledger.changed(&ended(OfferEnd::Expired)).is_ok());
        assert!(ledger.changed(&ended(OfferEnd::Accepted)).is_err());
        assert!(ledger.used("t", &[offer]).is_err(), "expired");
    }
}
