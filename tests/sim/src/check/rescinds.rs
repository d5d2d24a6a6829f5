//! P9: a framework with a session knows which of its offers are over: each was used or declined by it, or it was told.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::OfferId;
use proto::scheduler::{CallKind, EventKind};

use super::{Verdict, broken, offers};
use crate::node::Node;
use crate::options::SECOND;

/// How long the word that an offer is over may take.
const ON_ITS_WAY: u64 = 5 * SECOND;

/// What each framework believes to hold.
#[derive(Debug, Default)]
pub struct Rescinds {
    held: BTreeMap<Node, BTreeSet<OfferId>>,
    /// When each was offered something last.
    offered: BTreeMap<Node, u64>,
}

impl Rescinds {
    /// A framework hears something in its session.
    pub fn heard(&mut self, framework: Node, now: u64, event: &EventKind) {
        let held = self.held.entry(framework).or_default();
        match event {
            EventKind::Subscribed(subscribed) if !subscribed.resumed => held.clear(),
            EventKind::Offers(offers) => {
                held.extend(offers.offers.iter().map(|offer| offer.id));
                self.offered.insert(framework, now);
            }
            EventKind::Rescind(rescind) => {
                held.remove(&rescind.offer);
            }
            EventKind::Subscribed(_)
            | EventKind::Update(_)
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
    pub fn rest(&self, framework: Node, now: u64, ledger: &offers::Ledger) -> Verdict {
        let over = |offer: &&OfferId| ledger.ended_at(**offer).is_some_and(|at| at + ON_ITS_WAY < now);
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
