//! Offers are made: what the allocator grants becomes a lease with an id and an end.

use std::collections::BTreeMap;

use proto::id::FrameworkId;
use proto::offer::Offer;
use proto::operator::EventKind as Changed;
use proto::scheduler::{EventKind, Offers, RescindReason};
use proto_machine::mutants::{self, Mutant};

use crate::config::LOOK_AT_HOLDERS;
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
            made: d.now.monotonic,
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
        let deadline = Deadline::Hold(framework);
        if let Some(patience) = d.config.hold_patience
            && d.l.deadlines.get(&deadline).is_none()
        {
            d.after(deadline, patience);
        }
    }
}

/// Offers have been open for long. While their holder has more than its part and another wants something, the oldest are taken
/// back, as if their time were over: nobody waits a minute for somebody who says nothing.
pub(crate) fn held(d: &mut Desk<'_>, id: &FrameworkId) {
    let Some(patience) = d.config.hold_patience else { return };
    let mut taken = 0;
    for offer in d.l.offers.of_framework(id) {
        let Some(made) = d.l.offers.get(offer).map(|open| open.made) else { continue };
        if made + patience > d.now.monotonic {
            d.l.deadlines.set(Deadline::Hold(id.clone()), made + patience);
            break;
        }
        if !d.l.allocator.holds_too_much(id) {
            // Another one may come to want something.
            d.after(Deadline::Hold(id.clone()), LOOK_AT_HOLDERS);
            break;
        }
        d.rescind(offer, RescindReason::Expired);
        taken += 1;
    }
    if taken > 0 {
        d.audit_taken_back(id, taken);
    }
}
