//! What is told of frameworks and roles: they come and go, want and do not want; quota and weights.

use std::collections::BTreeMap;

use proto::demand::Demand;
use proto::id::{DemandId, FrameworkId};
use proto::quota::Quota;
use proto::role::{Role, Weight};

use crate::Allocator;
use crate::clients::{Client, Framework, Want};

impl Allocator {
    /// The framework's index; a row is made for one that is only known from what it holds.
    pub(super) fn intern_framework(&mut self, id: FrameworkId) -> u32 {
        if let Some(framework) = self.clients.find(&id) {
            return framework;
        }
        let label = self.clients.label_for(&id);
        if std::mem::take(&mut self.clients.relabelled) {
            self.rebuild_orders();
        }
        let row = Framework { id: Some(id.clone()), label, ..Framework::default() };
        let framework = self.clients.frameworks.insert(row);
        self.clients.by_id.insert(id, framework);
        framework
    }

    /// The client of a framework in a role; made when it is not there, taking no offers.
    pub(super) fn intern_client(&mut self, framework: u32, role: &Role) -> u32 {
        let node = self.roles.intern(role);
        if let Some(client) = self.clients.find_client(framework, node) {
            return client;
        }
        let owner = &self.clients.frameworks[framework];
        let (id, label) = (owner.id.clone(), owner.label);
        let client = self.clients.clients.insert(Client { id, framework, label, node, ..Client::default() });
        self.clients.frameworks[framework].clients.push((node, client));
        self.roles.nodes[node].clients.push(client);
        client
    }

    pub(super) fn add_framework(&mut self, id: FrameworkId, roles: &[Role], suppressed: &[Role]) -> bool {
        let framework = self.intern_framework(id);
        let row = &mut self.clients.frameworks[framework];
        (row.here, row.active) = (true, true);
        self.set_roles(framework, roles, suppressed)
    }

    pub(super) fn set_roles(&mut self, framework: u32, roles: &[Role], suppressed: &[Role]) -> bool {
        if !self.clients.frameworks[framework].here {
            return false;
        }
        for role in roles {
            let client = self.intern_client(framework, role);
            let row = &mut self.clients.clients[client];
            row.subscribed = true;
            let woken = std::mem::replace(&mut row.suppressed, suppressed.contains(role));
            if woken && !row.suppressed {
                self.filters.clear_client(client);
                self.wake(client);
            }
            self.refresh(client);
        }
        for client in self.clients_of(framework) {
            let node = self.clients.clients[client].node;
            let stays = self.roles.nodes[node].role.as_ref().is_some_and(|role| roles.contains(role));
            if !stays {
                self.clients.clients[client].subscribed = false;
                self.refresh(client);
            }
        }
        // Demands may be for roles that come or go.
        let row = &self.clients.frameworks[framework];
        if !row.demands.is_empty() {
            let (demands, demand_driven) = (row.demands.clone(), row.demand_driven);
            self.restate(framework, demands, demand_driven);
        }
        for client in self.clients_of(framework) {
            if !self.clients.clients[client].subscribed {
                self.filters.clear_client(client);
                self.forget_if_gone(client);
            }
        }
        true
    }

    fn clients_of(&self, framework: u32) -> Vec<u32> {
        self.clients.frameworks[framework].clients.iter().map(|(_, client)| *client).collect()
    }

    pub(super) fn set_framework_active(&mut self, id: &FrameworkId, active: bool) -> bool {
        let Some(framework) = self.clients.find(id) else { return false };
        let row = &mut self.clients.frameworks[framework];
        row.active = active && row.here;
        for client in self.clients_of(framework) {
            if !active {
                self.filters.clear_client(client);
            }
            self.refresh(client);
        }
        true
    }

    pub(super) fn remove_framework(&mut self, id: &FrameworkId) -> bool {
        let Some(framework) = self.clients.find(id) else { return false };
        let row = &mut self.clients.frameworks[framework];
        (row.here, row.active) = (false, false);
        for client in self.clients_of(framework) {
            self.clients.clients[client].subscribed = false;
            self.refresh(client);
        }
        self.restate(framework, Vec::new(), false);
        for client in self.clients_of(framework) {
            self.filters.clear_client(client);
            self.forget_if_gone(client);
        }
        if self.clients.find(id).is_some() && self.clients.frameworks[framework].clients.is_empty() {
            self.clients.frameworks.remove(framework);
            self.clients.by_id.remove(id);
        }
        true
    }

    pub(super) fn suppress(&mut self, id: &FrameworkId, roles: &[Role], suppressed: bool) -> bool {
        let Some(framework) = self.clients.find(id) else { return false };
        for client in self.clients_of(framework) {
            let node = self.clients.clients[client].node;
            let role = self.roles.nodes[node].role.as_ref();
            if !roles.is_empty() && !role.is_some_and(|role| roles.contains(role)) {
                continue;
            }
            self.clients.clients[client].suppressed = suppressed;
            if !suppressed {
                self.filters.clear_client(client);
                self.wake(client);
            }
            self.refresh(client);
        }
        true
    }

    pub(super) fn set_demands(
        &mut self,
        id: &FrameworkId,
        demands: Vec<Demand>,
        demand_driven: bool,
    ) -> bool {
        let Some(framework) = self.clients.find(id) else { return false };
        if !self.clients.frameworks[framework].here {
            return false;
        }
        self.restate(framework, demands, demand_driven);
        true
    }

    /// Replaces all demands of a framework. Those for roles it takes no offers in are kept for explanations only.
    fn restate(&mut self, framework: u32, demands: Vec<Demand>, demand_driven: bool) {
        let mut wants: BTreeMap<u32, Vec<Want>> = BTreeMap::new();
        for demand in &demands {
            let node = self.roles.find(&demand.role);
            let client = node.and_then(|node| self.clients.find_client(framework, node));
            let Some(client) = client.filter(|client| self.clients.clients[*client].subscribed) else {
                continue;
            };
            let listed = wants.entry(client).or_default();
            if demand.count == 0 || demand.shape.is_empty() || listed.iter().any(|want| want.id == demand.id)
            {
                continue;
            }
            let agents = self.agents.rows.iter();
            let known = agents.filter_map(|(at, row)| row.info.as_deref().map(|info| (at, info, &row.total)));
            let shape = self.shapes.hold(demand, known);
            let old = &self.clients.clients[client];
            let before = old.by_demand.get(&demand.id).map(|at| &old.wants[*at as usize]);
            let same = before.filter(|want| want.shape == shape);
            let (serial, open, since) = match same {
                Some(want) => (want.serial, want.open, want.since),
                None => {
                    self.clients.next_serial += 1;
                    (self.clients.next_serial, 0, self.work.told_at)
                }
            };
            listed.push(Want {
                id: demand.id.clone(),
                serial,
                shape,
                count: demand.count,
                open,
                since,
                priority: demand.priority,
            });
        }
        let row = &mut self.clients.frameworks[framework];
        row.demands = demands;
        if std::mem::replace(&mut row.demand_driven, demand_driven) != demand_driven {
            let eligible = row.eligible as usize;
            let (from, to) = match demand_driven {
                true => (&mut self.clients.plain, &mut self.clients.driven),
                false => (&mut self.clients.driven, &mut self.clients.plain),
            };
            *from -= eligible;
            *to += eligible;
        }
        for client in self.clients_of(framework) {
            let wants = wants.remove(&client).unwrap_or_default();
            self.replace_wants(client, wants);
            self.refresh(client);
            self.wake(client);
        }
    }

    fn replace_wants(&mut self, client: u32, mut wants: Vec<Want>) {
        wants.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.id.cmp(&b.id)));
        let by_demand: BTreeMap<DemandId, u32> =
            wants.iter().zip(0..).map(|(want, at)| (want.id.clone(), at)).collect();
        for want in wants.iter().filter(|want| want.missing() > 0) {
            self.shapes.shapes[want.shape].waiting += 1;
        }
        let row = &mut self.clients.clients[client];
        row.unmet = wants.iter().filter(|want| want.missing() > 0).count() as u32;
        row.by_demand = by_demand;
        for old in std::mem::replace(&mut row.wants, wants) {
            if old.missing() > 0 {
                self.shapes.shapes[old.shape].waiting -= 1;
            }
            self.shapes.release(old.shape);
        }
    }

    pub(super) fn set_quota(&mut self, role: &Role, quota: Quota) -> bool {
        let node = self.roles.intern(role);
        let row = &mut self.roles.nodes[node];
        let (had, has) = (!row.guarantee.is_zero(), !quota.guarantees.is_zero());
        (row.guarantee, row.limits, row.limit_hit) = (quota.guarantees, quota.limits, false);
        self.roles.guarantees = self.roles.guarantees + u32::from(has) - u32::from(had);
        self.roles.recount_missing(node);
        self.work.nodes.push(node);
        let path: Vec<u32> = self.roles.path(node).collect();
        path.into_iter().for_each(|at| self.mark_node_stale(at));
        self.prune(node);
        true
    }

    pub(super) fn set_weight(&mut self, role: &Role, weight: Weight) -> bool {
        let node = self.roles.intern(role);
        self.roles.nodes[node].weight_milli = if weight == Weight::default() { 0 } else { weight.milli() };
        self.mark_node_stale(node);
        self.prune(node);
        true
    }
}
