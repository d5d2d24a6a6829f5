//! What is told of agents: they come, change, connect, go; their resources are reserved.

use std::sync::Arc;

use proto::agent::AgentInfo;
use proto::id::AgentId;
use proto::resources::Resources;

use crate::Allocator;
use crate::accounts::Held;
use crate::agents::Agent;
use crate::change::Transform;

impl Allocator {
    pub(super) fn add_agent(&mut self, info: Arc<AgentInfo>, total: Resources, active: bool) -> bool {
        let id = info.id.clone();
        if self.agents.find(&id).is_some() {
            return self.change_agent(info, total) && self.set_agent_active(&id, active);
        }
        let row = Agent { active, id: Some(id.clone()), info: Some(info), ..Agent::default() };
        let agent = self.agents.rows.insert(row);
        self.agents.by_id.insert(id, agent);
        self.retotal(agent, total);
        true
    }

    pub(super) fn change_agent(&mut self, info: Arc<AgentInfo>, total: Resources) -> bool {
        let Some(agent) = self.agents.find(&info.id) else { return false };
        let row = &mut self.agents.rows[agent];
        let before = row.info.replace(info.clone());
        let other =
            |before: &AgentInfo| before.attributes != info.attributes || before.hostname != info.hostname;
        if before.as_deref().is_some_and(other) {
            // What was declined was another agent.
            for client in self.filters.clear_agent(agent) {
                self.wake(client);
            }
        }
        self.retotal(agent, total);
        true
    }

    /// The agent has this total from now on.
    fn retotal(&mut self, agent: u32, total: Resources) {
        let row = &mut self.agents.rows[agent];
        let before = std::mem::replace(&mut row.total, total.clone());
        row.recount();
        if let Some(info) = row.info.clone() {
            self.shapes.set_agent(agent, &info, &total);
        }
        if before != total {
            self.count_reservations(agent, &before, &total);
            self.totals.sub(&before.quantities());
            self.totals.add(&total.quantities());
            self.work.rescale |= before.quantities() != total.quantities();
        }
        self.touch_free(agent);
        self.grow(agent, true);
    }

    pub(super) fn set_agent_active(&mut self, id: &AgentId, active: bool) -> bool {
        let Some(agent) = self.agents.find(id) else { return false };
        if self.agents.rows[agent].active != active {
            self.agents.rows[agent].active = active;
            self.touch_free(agent);
            if active {
                self.grow(agent, true);
            } else {
                self.work.agents.remove(agent);
            }
        }
        true
    }

    pub(super) fn remove_agent(&mut self, id: &AgentId) -> bool {
        let Some(agent) = self.agents.find(id) else { return false };
        for holding in std::mem::take(&mut self.agents.rows[agent].holdings) {
            let client = holding.client;
            for resources in [&holding.offered, &holding.taken, &holding.used] {
                self.refund(client, &Held::of(resources));
            }
            let offered = holding.offered.quantities();
            let row = &mut self.clients.clients[client];
            row.offered.sub(&offered);
            row.taken.sub(&holding.taken.quantities());
            self.clients.frameworks[row.framework].offered.sub(&offered);
            for grant in &holding.grants {
                self.close_grant(client, agent, grant, false);
            }
            let row = &mut self.clients.clients[client];
            row.holdings -= 1;
            self.forget_if_gone(client);
        }
        self.filters.clear_agent(agent);
        self.set_agent_active(id, false);
        let row = self.agents.rows.remove(agent);
        self.agents.by_id.remove(id);
        self.shapes.drop_agent(agent);
        self.count_reservations(agent, &row.total, &Resources::EMPTY);
        self.totals.sub(&row.total.quantities());
        self.work.rescale = true;
        true
    }

    pub(super) fn transform(&mut self, id: &AgentId, transform: &Transform) -> bool {
        let Some(agent) = self.agents.find(id) else { return false };
        let row = &mut self.agents.rows[agent];
        let (mut free, mut total) = (row.free.clone(), row.total.clone());
        if row.over || !free.try_sub(&transform.from) || !total.try_sub(&transform.from) {
            return false;
        }
        total.add(&transform.to);
        self.retotal(agent, total);
        true
    }
}
