//! Offers are made: what the allocator grants becomes a lease with an id and an end.

use std::collections::BTreeMap;

use proto::id::FrameworkId;
use proto::offer::Offer;
use proto::operator::EventKind as Changed;
use proto::scheduler::{EventKind, Offers};
use proto_machine::mutants::{self, Mutant};

use crate::desk::Desk;
use crate::leading::Deadline;
use crate::tables::offers::OpenOffer;
use crate::views;

pub(crate) fn offer(d: &mut Desk<'_>) {
    let grants = d.l.allocator.allocate(d.now.monotonic);
    let mut by_framework: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
    for grant in grants {
        let Some(info) = d.l.agents.pooled(&grant.agent).cloned() else { continue };
        let id = d.l.offers.next_id();
        let open = OpenOffer {
            id,
            framework: grant.framework,
            agent: grant.agent,
            role: grant.role,
            resources: grant.resources,
            demand: grant.demand,
        };
        let offer = Offer {
            id,
            agent: info,
            role: open.role.clone(),
            resources: open.resources.clone(),
            expires_in: d.config.offer_timeout,
            demand: open.demand.clone(),
        };
        d.changed(Changed::OfferMade(views::offer(d.registry, &open, d.at_ms())));
        by_framework.entry(open.framework.clone()).or_default().push(offer);
        d.l.offers.insert(open);
        if !mutants::is(Mutant::OfferForever) {
            d.after(Deadline::Offer(id), d.config.offer_timeout);
        }
    }
    for (framework, offers) in by_framework {
        d.tell(&framework, EventKind::Offers(Offers { offers }));
    }
}
