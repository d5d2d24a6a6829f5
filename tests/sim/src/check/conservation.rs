//! P1: nothing is given away twice: on each agent what is offered and what tasks use never passes what there is.

use std::collections::BTreeMap;

use master_registry::Registry;
use proto::id::{AgentId, OfferId};
use proto::operator::{EventKind, OfferView};
use proto::quantities::Scalar;
use proto::resources::Resources;

use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "P1 conservation";

/// The open offers as each master has made them, by its own words.
#[derive(Debug, Default)]
pub struct Conservation {
    open: BTreeMap<Node, BTreeMap<OfferId, (AgentId, Resources)>>,
    /// Agents come back with less disk than volumes that tasks have take of it: then disk is not looked at.
    pub disk_shrinks: bool,
}

impl Conservation {
    /// The offers of a master that are open.
    pub fn open_at(&self, master: Node) -> impl Iterator<Item = OfferId> {
        self.open.get(&master).into_iter().flat_map(|open| open.keys().copied())
    }

    /// A master's offers are void: it died, or leads no more.
    pub fn forget(&mut self, master: Node) {
        self.open.remove(&master);
    }

    /// A leader says something to those who watch; true when its books must be looked at.
    pub fn changed(&mut self, master: Node, event: &EventKind) -> bool {
        let open = self.open.entry(master).or_default();
        match event {
            EventKind::Snapshot(snapshot) => {
                open.clear();
                open.extend(snapshot.offers.iter().map(entry));
                true
            }
            EventKind::OfferMade(offer) => {
                open.extend([entry(offer)]);
                true
            }
            EventKind::OfferEnded(ended) => {
                open.remove(&ended.offer);
                false
            }
            EventKind::TaskChanged(_) | EventKind::AgentChanged(_) => true,
            EventKind::FrameworkChanged(_) | EventKind::FrameworkRemoved(_) | EventKind::RoleChanged(_) => {
                false
            }
        }
    }

    /// The books of one leader: for each agent, what is left after all that is offered and used. For whom it is
    /// reserved is not regarded: what an accept has reserved is offered before that accept is committed.
    pub fn look(&self, master: Node, registry: &Registry) -> Verdict {
        let mut left: BTreeMap<&AgentId, Resources> =
            registry.agents().map(|agent| (&agent.info.id, self.plain(&agent.total))).collect();
        for task in registry.tasks() {
            let there = left.get_mut(&task.agent);
            if !there.is_some_and(|left| left.try_sub(&self.plain(&task.info.resources))) {
                let how =
                    format!("at {master}, {} is used on {} though it is not there", task.info.id, task.agent);
                return broken(PROMISE, how);
            }
        }
        for (offer, (agent, resources)) in self.open.get(&master).into_iter().flatten() {
            if !left.get_mut(agent).is_some_and(|left| left.try_sub(&self.plain(resources))) {
                let how =
                    format!("at {master}, {offer} offers {resources:?} of {agent}, of which less is left");
                return broken(PROMISE, how);
            }
        }
        Ok(())
    }

    /// What really runs on an agent.
    pub fn running(&self, agent: Node, used: &Resources, total: &Resources) -> Verdict {
        if self.plain(total).contains(&self.plain(used)) {
            return Ok(());
        }
        broken(PROMISE, format!("{agent} has {total:?} and runs {used:?}"))
    }

    fn plain(&self, resources: &Resources) -> Resources {
        let mut amount = resources.flatten();
        if self.disk_shrinks {
            amount.scalars.set(&Scalar::Disk, 0);
        }
        Resources::unreserved(amount)
    }
}

fn entry(offer: &OfferView) -> (OfferId, (AgentId, Resources)) {
    (offer.id, (offer.agent.clone(), offer.resources.clone()))
}
