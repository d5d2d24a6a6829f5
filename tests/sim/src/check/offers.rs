//! P9: each offer is made once, ends once, and can be used only by ending as accepted.

use std::collections::BTreeMap;

use proto::id::{AgentId, Epoch, OfferId};
use proto::operator::{EventKind, OfferEnd};

use super::{Verdict, broken};

const PROMISE: &str = "P9 offers end once";

/// Every offer that was ever made, and how it ended.
#[derive(Debug, Default)]
pub struct Ledger {
    offers: BTreeMap<OfferId, Option<OfferEnd>>,
    agents: BTreeMap<OfferId, AgentId>,
    /// Those that have not ended, and when they were made.
    open: BTreeMap<OfferId, u64>,
    /// When the others ended.
    ended: BTreeMap<OfferId, u64>,
}

impl Ledger {
    /// A leader says something to those who watch.
    pub fn changed(&mut self, now: u64, event: &EventKind) -> Verdict {
        match event {
            EventKind::OfferMade(offer) => {
                self.agents.insert(offer.id, offer.agent.clone());
                self.open.insert(offer.id, now);
                match self.offers.insert(offer.id, None) {
                    None => Ok(()),
                    Some(_) => broken(PROMISE, format!("{} was made twice", offer.id)),
                }
            }
            EventKind::OfferEnded(ended) => match self.offers.get_mut(&ended.offer) {
                Some(end @ None) => {
                    *end = Some(ended.how);
                    self.open.remove(&ended.offer);
                    self.ended.insert(ended.offer, now);
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

    /// Nothing is held for longer than a lease: the offers of a leader that still leads have ended by then. Those of
    /// earlier leaders ended with them.
    pub fn overdue(&self, now: u64, epoch: Epoch, lease: u64) -> Verdict {
        let from = OfferId { epoch, number: 0 };
        match self.open.range(from..).find(|(_, made)| *made + lease < now) {
            Some((offer, made)) => broken(
                PROMISE,
                format!("{offer} was made {:.1}s ago and has not ended", (now - made) as f64 / 1e9),
            ),
            None => Ok(()),
        }
    }

    /// When an offer ended, if it did.
    pub fn ended_at(&self, offer: OfferId) -> Option<u64> {
        self.ended.get(&offer).copied()
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
    use proto::operator::OfferEnded;

    #[test]
    fn a_second_end_is_a_broken_promise() {
        let offer = OfferId { epoch: Epoch(1), number: 1 };
        let mut ledger = Ledger::default();
        let ended = |how| EventKind::OfferEnded(OfferEnded { offer, how });
        assert!(ledger.changed(0, &ended(OfferEnd::Expired)).is_err(), "never made");
        ledger.offers.insert(offer, None);
        ledger.open.insert(offer, 10);
        assert!(ledger.overdue(30, Epoch(1), 20).is_ok());
        assert!(ledger.overdue(31, Epoch(1), 20).is_err(), "held for too long");
        assert!(ledger.overdue(31, Epoch(2), 20).is_ok(), "void with its leader");
        assert!(ledger.used("t", &[offer]).is_err(), "still open");
        assert!(ledger.changed(20, &ended(OfferEnd::Expired)).is_ok());
        assert!(ledger.overdue(31, Epoch(1), 20).is_ok());
        assert!(ledger.changed(20, &ended(OfferEnd::Accepted)).is_err());
        assert!(ledger.used("t", &[offer]).is_err(), "expired");
    }
}
