//! The open offers: leases in the leader's memory, each ended exactly once.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::{AgentId, DemandId, Epoch, FrameworkId, OfferId};
use proto::resources::Resources;
use proto::role::Role;
use proto_machine::Instant;

/// An offer that nobody has answered yet. Only what stands in the table can be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenOffer {
    pub id: OfferId,
    pub framework: FrameworkId,
    pub agent: AgentId,
    pub role: Role,
    pub resources: Resources,
    pub demand: Option<DemandId>,
    /// Since when it is open.
    pub made: Instant,
}

/// Open offers, by id, by agent and by framework.
#[derive(Debug, Default)]
pub(crate) struct Table {
    epoch: Epoch,
    made: u64,
    by_id: BTreeMap<OfferId, OpenOffer>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
}

impl Table {
    pub fn new(epoch: Epoch) -> Self {
        Table { epoch, ..Table::default() }
    }

    /// The id of the next offer; given once.
    pub fn next_id(&mut self) -> OfferId {
        self.made += 1;
        OfferId { epoch: self.epoch, number: self.made }
    }

    pub fn insert(&mut self, offer: OpenOffer) {
        self.by_agent.entry(offer.agent.clone()).or_default().insert(offer.id);
        self.by_framework.entry(offer.framework.clone()).or_default().insert(offer.id);
        self.by_id.insert(offer.id, offer);
    }

    pub fn get(&self, id: OfferId) -> Option<&OpenOffer> {
        self.by_id.get(&id)
    }

    /// Ends an offer: from here on nobody can answer it.
    pub fn take(&mut self, id: OfferId) -> Option<OpenOffer> {
        let offer = self.by_id.remove(&id)?;
        remove_from(&mut self.by_agent, &offer.agent, id);
        remove_from(&mut self.by_framework, &offer.framework, id);
        Some(offer)
    }

    pub fn of_agent(&self, agent: &AgentId) -> Vec<OfferId> {
        self.by_agent.get(agent).into_iter().flatten().copied().collect()
    }

    pub fn of_framework(&self, framework: &FrameworkId) -> Vec<OfferId> {
        self.by_framework.get(framework).into_iter().flatten().copied().collect()
    }

    pub fn all(&self) -> impl Iterator<Item = &OpenOffer> {
        self.by_id.values()
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<OfferId>>, key: &K, id: OfferId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
