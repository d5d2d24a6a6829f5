//! What is told of offers and what became of them: taken, accepted, declined, recovered; and of use without an offer.

use proto::id::{AgentId, DemandId, FrameworkId};
use proto::resources::Resources;
use proto::role::Role;
use proto_machine::Instant;
use proto_machine::mutants::{self, Mutant};

use crate::Allocator;
use crate::accounts::Held;
use crate::agents::MadeFor;
use crate::carve::all_declined;
use crate::change::{Account, Transform};

impl Allocator {
    /// The client and the agent, when the client holds something of the agent.
    pub(super) fn find_holder(
        &self,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
    ) -> Option<(u32, u32)> {
        let (framework, node) = (self.clients.find(framework)?, self.roles.find(role)?);
        let (client, agent) = (self.clients.find_client(framework, node)?, self.agents.find(agent)?);
        self.agents.rows[agent].holding(client).map(|_| (client, agent))
    }

    pub(super) fn charge_used(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        agent: &AgentId,
        resources: &Resources,
    ) -> bool {
        let Some(agent) = self.agents.find(agent) else { return false };
        if resources.is_empty() {
            return true;
        }
        let framework = self.intern_framework(framework);
        let client = self.intern_client(framework, role);
        let row = &mut self.agents.rows[agent];
        let fits = !row.over && row.free.try_sub(resources);
        self.clients.clients[client].holdings += u32::from(row.holding(client).is_none());
        row.holding_mut(client).used.add(resources);
        if !fits {
            row.recount();
        }
        self.charge(client, &Held::of(resources));
        self.touch_free(agent);
        true
    }

    pub(super) fn take_offer(
        &mut self,
        (client, agent): (u32, u32),
        resources: &Resources,
        demand: Option<&DemandId>,
    ) -> bool {
        if !self.take_off(client, agent, Account::Offered, resources) {
            return false;
        }
        self.agents.rows[agent].holding_mut(client).taken.add(resources);
        self.clients.clients[client].taken.add(&resources.quantities());
        self.close_offers((client, agent), resources, demand.into(), true);
        true
    }

    pub(super) fn accept(
        &mut self,
        (client, agent): (u32, u32),
        offered: &Resources,
        transforms: &[Transform],
        used: &Resources,
        refused: (Instant, Instant),
    ) -> bool {
        // Everything is tried on copies first: an accept holds as a whole or not at all.
        let mut left = offered.clone();
        for transform in transforms {
            if !left.try_sub(&transform.from) {
                return false;
            }
            left.add(&transform.to);
        }
        if !left.try_sub(used) {
            return false;
        }
        let (untaken, taken) = {
            let Some(holding) = self.agents.rows[agent].holding(client) else { return false };
            match holding.taken.contains(offered) {
                true => (Resources::EMPTY, offered.clone()),
                // Accepted without having been taken, wholly or in part.
                false => {
                    let untaken = offered.saturating_sub(&holding.taken);
                    if !holding.offered.contains(&untaken) {
                        return false;
                    }
                    (untaken.clone(), offered.saturating_sub(&untaken))
                }
            }
        };
        if !untaken.is_empty() {
            self.take_off(client, agent, Account::Offered, &untaken);
            self.close_offers((client, agent), &untaken, MadeFor::Unknown, true);
        }
        self.take_off(client, agent, Account::Taken, &taken);
        self.clients.clients[client].taken.sub(&taken.quantities());
        self.refund(client, &Held::of(offered));
        self.agents.rows[agent].give_back(offered);
        if !transforms.is_empty() {
            self.transform_all(agent, transforms);
        }
        if !used.is_empty() {
            let row = &mut self.agents.rows[agent];
            let fits = !row.over && row.free.try_sub(used);
            row.holding_mut(client).used.add(used);
            if !fits {
                row.recount();
            }
            self.charge(client, &Held::of(used));
        }
        if !left.is_empty() {
            self.refuse((client, agent), left, refused);
        }
        self.touch_free(agent);
        self.grow(agent, false);
        self.tidy(client, agent);
        true
    }

    /// Carries out what an accept makes of resources that have just come back.
    fn transform_all(&mut self, agent: u32, transforms: &[Transform]) {
        let before = self.agents.rows[agent].total.clone();
        let row = &mut self.agents.rows[agent];
        for transform in transforms {
            if row.total.try_sub(&transform.from) {
                row.total.add(&transform.to);
                if row.free.try_sub(&transform.from) {
                    row.free.add(&transform.to);
                } else {
                    row.recount();
                }
            }
        }
        let total = row.total.clone();
        self.count_reservations(agent, &before, &total);
        let (old, new) = (before.quantities(), total.quantities());
        if old != new {
            self.totals.sub(&old);
            self.totals.add(&new);
            self.work.rescale = true;
        }
    }

    pub(super) fn recover(
        &mut self,
        (client, agent): (u32, u32),
        resources: &Resources,
        from: Account,
        demand: Option<&DemandId>,
    ) -> bool {
        if !self.take_off(client, agent, from, resources) {
            return false;
        }
        match from {
            Account::Offered => {
                self.close_offers((client, agent), resources, demand.into(), false);
            }
            Account::Taken => self.clients.clients[client].taken.sub(&resources.quantities()),
            Account::Used => {}
        }
        self.refund(client, &Held::of(resources));
        self.agents.rows[agent].give_back(resources);
        self.touch_free(agent);
        self.grow(agent, from == Account::Used);
        self.tidy(client, agent);
        true
    }

    pub(super) fn decline(
        &mut self,
        (client, agent): (u32, u32),
        resources: &Resources,
        demand: Option<&DemandId>,
        refused: (Instant, Instant),
    ) -> bool {
        if !self.take_off(client, agent, Account::Offered, resources) {
            return false;
        }
        self.close_offers((client, agent), resources, demand.into(), false);
        self.refund(client, &Held::of(resources));
        self.agents.rows[agent].give_back(resources);
        if !mutants::is(Mutant::ForgetFilter) {
            self.refuse((client, agent), resources.clone(), refused);
        }
        self.touch_free(agent);
        self.grow(agent, false);
        self.tidy(client, agent);
        true
    }

    /// Sets a filter, unless the framework would not be offered anything anyway.
    fn refuse(&mut self, (client, agent): (u32, u32), declined: Resources, refused: (Instant, Instant)) {
        let (row, who) = (&self.agents.rows[agent], &self.clients.clients[client]);
        if !who.subscribed || !self.clients.frameworks[who.framework].active {
            return;
        }
        // Where something is reserved, who may have what depends on the role.
        let reserved = row.total.portions().iter().any(|portion| portion.reservation.is_some());
        let node = reserved.then_some(who.node);
        let role = node.and_then(|node| self.roles.nodes[node].role.as_ref());
        let blocks = all_declined(&row.free, role, &declined);
        self.filters.decline((client, agent), declined, node, refused, blocks);
    }
}
