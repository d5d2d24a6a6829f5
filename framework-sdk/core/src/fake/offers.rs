//! How the pretend master makes offers: to the size of demands, or all that is free.

use std::sync::Arc;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::demand::Demand;
use proto::id::{AgentId, Epoch, OfferId};
use proto::offer::Offer;
use proto::resources::Resources;
use proto::role::Role;
use proto::scheduler::{EventKind, Offers, Rescind, RescindReason};

use super::Fake;
use crate::place::Room;

/// How long an offer stands unanswered.
pub const OFFER_TIMEOUT: Duration = Duration::from_secs(60);

impl Fake {
    /// The offers without an answer, and whose they are.
    pub fn open_offers(&self) -> impl Iterator<Item = (OfferId, &AgentId)> {
        self.offers.iter().map(|(id, (agent, _))| (*id, agent))
    }

    /// Takes one offer back: it was not answered in time.
    pub fn expire(&mut self, offer: OfferId) {
        if let Some((agent, resources)) = self.offers.remove(&offer) {
            self.give_back(&agent, &resources);
            self.tell(EventKind::Rescind(Rescind { offer, reason: RescindReason::Expired }));
        }
    }

    /// Offers what is free: for the demands, or all of it when there are none declared.
    pub fn make_offers(&mut self) {
        self.make_offers_of(&|_| true);
    }

    /// The same, of the agents for which `may` is true.
    pub fn make_offers_of(&mut self, may: &dyn Fn(&AgentId) -> bool) {
        if !self.connected {
            return;
        }
        let agents: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(id, agent)| !agent.away && !agent.withheld && agent.drain.is_none() && may(id))
            .map(|(id, _)| id.clone())
            .collect();
        let mut made = Vec::new();
        match self.demands.clone() {
            None => {
                let wanted = self.roles.iter().find(|role| !self.suppressed.contains(*role));
                let Some(role) = wanted.cloned() else { return };
                for id in agents {
                    let all = self.agents.get(&id).map(|agent| agent.free.clone()).unwrap_or_default();
                    made.extend(self.lease(&id, &role, all, None));
                }
            }
            Some(demands) => {
                for demand in demands {
                    if !self.suppressed.contains(&demand.role) {
                        made.extend(self.offers_for(&demand, &agents));
                    }
                }
            }
        }
        if !made.is_empty() {
            self.tell(EventKind::Offers(Offers { offers: made }));
        }
    }

    fn offers_for(&mut self, demand: &Demand, agents: &[AgentId]) -> Vec<Offer> {
        let mut made = Vec::new();
        let mut missing = demand.count;
        for id in agents {
            let Some(agent) = self.agents.get(id) else { continue };
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
            if !taken.is_empty() {
                self.add_free(&agent.free, &demand.role, &mut taken);
            }
            made.extend(self.lease(id, &demand.role, taken, Some(demand)));
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
        expires_in: OFFER_TIMEOUT,
        demand: None,
    }
}
