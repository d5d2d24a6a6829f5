//! P9: a framework with a session knows which of its offers are over: each was used or declined by it, or it was told.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::OfferId;
use proto::scheduler::{CallKind, EventKind};

use super::{Verdict, broken};
use crate::node::Node;
use crate::options::SECOND;

/// How long the word that an offer is over may take, in a session that stands.
const ON_ITS_WAY: u64 = 5 * SECOND;

/// What each framework believes to hold.
#[derive(Debug, Default)]
pub struct Rescinds {
    held: BTreeMap<Node, BTreeSet<OfferId>>,
    /// When each was offered something last.
    offered: BTreeMap<Node, u64>,
    /// Since when the session of each stands: what is said anew in it is on its way from then on.
    since: BTreeMap<Node, u64>,
}

impl Rescinds {
    /// A framework hears something in its session.
    pub fn heard(&mut self, framework: Node, now: u64, event: &EventKind) {
        let held = self.held.entry(framework).or_default();
        match event {
            EventKind::Subscribed(subscribed) => {
                self.since.insert(framework, now);
                if !subscribed.resumed {
                    held.clear();
                }
            }
            EventKind::Offers(offers) => {
                held.extend(offers.offers.iter().map(|offer| offer.id));
                self.offered.insert(framework, now);
            }
            EventKind::Rescind(rescind) => {
                held.remove(&rescind.offer);
            }
            EventKind::Update(_)
            | EventKind::Answer(_)
            | EventKind::Failure(_)
            | EventKind::AgentDraining(_)
            | EventKind::AgentResumed(_)
            | EventKind::Fault(_)
            | EventKind::Redirect(_)
            | EventKind::Masters(_)
            | EventKind::Heartbeat => {}
        }
    }

    /// A framework calls.
    pub fn calls(&mut self, framework: Node, call: &CallKind) {
        let held = self.held.entry(framework).or_default();
        match call {
            CallKind::Accept(accept) => {
                accept.parts.iter().flat_map(|part| &part.offers).for_each(|offer| {
                    held.remove(offer);
                });
            }
            CallKind::Decline(decline) => decline.offers.iter().for_each(|offer| {
                held.remove(offer);
            }),
            _ => {}
        }
    }

    /// A framework's process is over, and with it what it held.
    pub fn forget(&mut self, framework: Node) {
        self.held.remove(&framework);
    }

    /// At rest nobody holds what is over.
    pub fn rest(&self, framework: Node, now: u64, ended_at: impl Fn(OfferId) -> Option<u64>) -> Verdict {
        let since = self.since.get(&framework).copied().unwrap_or_default();
        let over = |offer: &&OfferId| ended_at(**offer).is_some_and(|at| at.max(since) + ON_ITS_WAY < now);
        match self.held.get(&framework).into_iter().flatten().find(over) {
            None => Ok(()),
            Some(offer) => {
                broken("P9 offers end once", format!("{framework} was not told that {offer} is over"))
            }
        }
    }

    /// Whoever wants offers has had one since then.
    pub fn flow(&self, framework: Node, since: u64) -> Verdict {
        if self.offered.get(&framework).is_some_and(|at| *at >= since) {
            return Ok(());
        }
        broken(
            "P13 offers flow",
            format!("{framework} wants offers and is made none, though nobody uses anything"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::agent::AgentInfo;
    use proto::attributes::Attributes;
    use proto::id::{AgentId, Epoch, FrameworkId};
    use proto::offer::Offer;
    use proto::resources::Resources;
    use proto::role::Role;
    use proto::scheduler::{Offers, Rescind, RescindReason, Subscribed};

    #[test]
    fn the_end_of_an_offer_is_told_soon_in_a_session_that_stands() {
        let (framework, id) = (Node::Framework(1), OfferId { epoch: Epoch(1), number: 1 });
        let subscribed = |resumed| {
            EventKind::Subscribed(Subscribed {
                framework: FrameworkId::new("F1").expect("an id"),
                epoch: Epoch(1),
                heartbeat_interval: std::time::Duration::from_secs(5),
                resumed,
                tasks: Vec::new(),
            })
        };
        let agent = AgentInfo {
            id: AgentId::new("a").expect("an id"),
            hostname: "a".to_owned(),
            address: "127.0.0.1:5".to_owned(),
            resources: Resources::default(),
            attributes: Attributes::default(),
            version: String::new(),
        };
        let offer = Offer {
            id,
            agent: agent.into(),
            role: Role::default_role(),
            resources: Resources::default(),
            expires_in: std::time::Duration::from_secs(60),
            demand: None,
        };
        let ended_at = |_| Some(20 * SECOND);
        let mut rescinds = Rescinds::default();
        rescinds.heard(framework, SECOND, &subscribed(false));
        rescinds.heard(framework, 2 * SECOND, &EventKind::Offers(Offers { offers: vec![offer] }));
        assert!(rescinds.rest(framework, 25 * SECOND, ended_at).is_ok(), "on its way");
        assert!(rescinds.rest(framework, 26 * SECOND, ended_at).is_err());
        // It slept, and its session stands again.
        rescinds.heard(framework, 26 * SECOND, &subscribed(true));
        assert!(rescinds.rest(framework, 31 * SECOND, ended_at).is_ok());
        assert!(rescinds.rest(framework, 32 * SECOND, ended_at).is_err());
        let word = Rescind { offer: id, reason: RescindReason::AgentLost };
        rescinds.heard(framework, 32 * SECOND, &EventKind::Rescind(word));
        assert!(rescinds.rest(framework, 60 * SECOND, ended_at).is_ok());
    }
}
