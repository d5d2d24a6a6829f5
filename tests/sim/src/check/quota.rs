//! P10: what is offered to a role is within the limits above it, and is reserved for nobody else.

use std::collections::BTreeMap;

use master_registry::Registry;
use proto::agent::AgentState;
use proto::id::{FrameworkId, OfferId};
use proto::operator::{EventKind, OfferView};
use proto::quantities::Quantities;
use proto::resources::Resources;
use proto::role::Role;

use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "P10 quota and reservations";

/// The open offers as each leader has made them.
#[derive(Debug, Default)]
pub struct Quotas {
    open: BTreeMap<Node, BTreeMap<OfferId, OfferView>>,
    /// Made since the books were looked at last.
    fresh: Vec<OfferView>,
}

impl Quotas {
    /// A master's offers are void: it died, or leads no more.
    pub fn forget(&mut self, master: Node) {
        self.open.remove(&master);
    }

    /// What a leader has offered to others than this framework.
    pub fn open_to_others<'a>(
        &'a self,
        leader: Node,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = (OfferId, Resources)> + 'a {
        let open = self.open.get(&leader).into_iter().flat_map(BTreeMap::values);
        open.filter(move |offer| offer.framework != *framework)
            .map(|offer| (offer.id, offer.resources.clone()))
    }

    /// A leader says something to those who watch.
    pub fn changed(&mut self, master: Node, event: &EventKind) {
        let open = self.open.entry(master).or_default();
        match event {
            EventKind::Snapshot(snapshot) => {
                open.clear();
                open.extend(snapshot.offers.iter().map(|offer| (offer.id, offer.clone())));
            }
            EventKind::OfferMade(offer) => {
                open.insert(offer.id, offer.clone());
                self.fresh.push(offer.clone());
            }
            EventKind::OfferEnded(ended) => {
                open.remove(&ended.offer);
            }
            EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::TaskChanged(_)
            | EventKind::RoleChanged(_) => {}
        }
    }

    /// At the end of a turn of a leader, whose registry this is: offers are made last, by the quota that it shows now.
    /// What is booked and not yet in the log is not seen here, so no less is in use than is counted.
    pub fn look(&mut self, master: Node, registry: &Registry) -> Verdict {
        for offer in std::mem::take(&mut self.fresh) {
            for portion in offer.resources.portions() {
                if let Some(kept) = portion.reservation.as_ref().filter(|kept| !offer.role.is_within(kept)) {
                    let how = format!("{} offers {} what is kept for {kept}", offer.id, offer.role);
                    return broken(PROMISE, how);
                }
            }
            self.within_limits(master, &offer, registry)?;
        }
        Ok(())
    }

    fn within_limits(&self, master: Node, offer: &OfferView, registry: &Registry) -> Verdict {
        for role in registry.roles().filter(|role| offer.role.is_within(&role.role)) {
            let bounds = &role.quota.limits.0;
            if bounds.is_empty() {
                continue;
            }
            let added = counted(&offer.resources, &role.role);
            let used = self.used(master, &role.role, registry);
            for (scalar, bound) in bounds {
                let (new, all) = (added.get(scalar), used.get(scalar));
                if new > 0 && all > *bound {
                    let (id, of) = (offer.id, &role.role);
                    let how = format!("with {id}, {of} has {all} of {scalar:?} where {bound} is the limit");
                    return broken(PROMISE, how);
                }
            }
        }
        Ok(())
    }

    /// What a role and those below it use and are offered of what is not reserved for them.
    fn used(&self, master: Node, role: &Role, registry: &Registry) -> Quantities {
        let mut used = Quantities::ZERO;
        for task in registry.tasks().filter(|task| task.role.is_within(role)) {
            // What runs out of sight is nobody's to count.
            let there = registry.agent(&task.agent).is_some_and(|agent| agent.state == AgentState::Active);
            if there {
                used.add(&counted(&task.info.resources, role));
            }
        }
        let open = self.open.get(&master).into_iter().flat_map(BTreeMap::values);
        open.filter(|offer| offer.role.is_within(role)).for_each(|offer| {
            used.add(&counted(&offer.resources, role));
        });
        used
    }
}

/// A limit bounds what is not reserved at its role or below.
fn counted(resources: &Resources, role: &Role) -> Quantities {
    let mut counted = Quantities::ZERO;
    for portion in resources.portions() {
        if portion.reservation.as_ref().is_none_or(|kept| !kept.is_within(role)) {
            counted.add(&portion.amount.scalars);
        }
    }
    counted
}
