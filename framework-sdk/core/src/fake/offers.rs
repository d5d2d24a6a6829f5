//! How the pretend master makes offers: to the size of demands, or all that is free.

use std::sync::Arc;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::demand::Demand;
use proto::id::{AgentId, Epoch, OfferId};
use proto::offer::Offer;
use proto::resources::Resources;
use proto::role::Role;
use proto::scheduler::{EventKind, Offers};

use super::Fake;
use crate::place::Room;

impl Fake {
    /// Offers what is free: for the demands, or all of it when there are none declared.
    pub fn make_offers(&mut self) {
        if !self.connected {
            return;
        }
        let mut made = Vec::new();
        match self.demands.clone() {
            None => {
                let Some(role) = self.roles.first().cloned() else { return };
                let agents: Vec<AgentId> = self.agents.keys().cloned().collect();
                for id in agents {
                    let all = self.agents.get(&id).map(|agent| agent.free.clone()).unwrap_or_default();
                    made.extend(self.lease(&id, &role, all, None));
                }
            }
            Some(demands) => {
                for demand in demands {
                    made.extend(self.offers_for(&demand));
                }
            }
        }
        if !made.is_empty() {
            self.tell(EventKind::Offers(Offers { offers: made }));
        }
    }

    fn offers_for(&mut self, demand: &Demand) -> Vec<Offer> {
        let mut made = Vec::new();
        let mut missing = demand.count;
        let agents: Vec<AgentId> = self.agents.keys().cloned().collect();
        for id in agents {
            let Some(agent) = self.agents.get(&id) else { continue };
            if !demand.constraints.allow(&agent.info) {
                continue;
            }
            let mut room = Room::new(plain_offer(agent.info.clone(), &demand.role, agent.free.clone()));
            let mut taken = Resources::EMPTY;
            while missing > 0 {
                let Some(one) = room.take(&demand.shape) else { break };
                taken.add(&one);
                missing -= 1;
            }
            made.extend(self.lease(&id, &demand.role, taken, Some(demand)));
        }
        made
    }

    fn lease(
        &mut self,
        id: &AgentId,
        role: &Role,
        resources: Resources,
        demand: Option<&Demand>,
    ) -> Option<Offer> {
        let agent = self.agents.get_mut(id)?;
        if resources.is_empty() || !agent.free.try_sub(&resources) {
            return None;
        }
        self.offer_numbers += 1;
        let mut offer = plain_offer(agent.info.clone(), role, resources.clone());
        offer.id = OfferId { epoch: Epoch(self.epoch), number: self.offer_numbers };
        offer.demand = demand.map(|demand| demand.id.clone());
        self.offers.insert(offer.id, (id.clone(), resources));
        Some(offer)
    }
}

/// An offer of these resources with nothing else set.
pub(crate) fn plain_offer(agent: Arc<AgentInfo>, role: &Role, resources: Resources) -> Offer {
    Offer {
        id: OfferId { epoch: Epoch(1), number: 1 },
        agent,
        role: role.clone(),
        resources,
        expires_in: Duration::from_secs(60),
        demand: None,
    }
}
