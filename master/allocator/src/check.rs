//! What must always hold, checked from scratch: for tests and simulations.

use std::cmp::Ordering;

use proto::quantities::Quantities;
use proto::resources::{Portion, Resources};
use proto::role::Role;

use crate::Allocator;
use crate::roles::{ROOT, Tree};

impl Allocator {
    /// What does not hold together; empty when all is well. Walks over everything: for tests and simulations.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.check_agents(&mut faults);
        self.check_clients(&mut faults);
        self.check_roles(&mut faults);
        self.check_orders(&mut faults);
        self.filters.faults(&mut faults);
        faults
    }

    fn check_agents(&self, faults: &mut Vec<String>) {
        let (mut totals, mut room) = (Quantities::ZERO, Quantities::ZERO);
        for (agent, row) in self.agents.rows.iter() {
            let name = row.id.as_ref().map_or("?", |id| id.as_str());
            let mut sum = row.free.clone();
            for part in row.holdings.iter().flat_map(|h| [&h.offered, &h.taken, &h.used]) {
                if sum.overlaps(part) && has_common_items(&sum, part) {
                    faults.push(format!("{name}: {part} is held twice or free as well"));
                }
                sum.add(part);
            }
            if !row.over && sum != row.total {
                faults.push(format!("{name}: free and held are {sum}, but the total is {}", row.total));
            }
            let unreserved =
                row.free.portions().iter().filter(|p| p.reservation.is_none() && p.volume.is_none());
            let open = unreserved.fold(Quantities::ZERO, |mut all, p| {
                all.add(&p.amount.scalars);
                all
            });
            if open != row.room {
                faults.push(format!("{name}: the room is noted as {}, but is {open}", row.room));
            }
            if row.active {
                room.add(&open);
            }
            totals.add(&row.total.quantities());
            let offerable = row.active && self.config.is_enough(&row.free.quantities());
            if offerable != self.offerable.has(agent) {
                faults.push(format!("{name}: is offerable: {offerable}, but not noted so"));
            }
            if !self.grid.is_placed(agent, row.active.then_some(&row.room)) {
                faults.push(format!("{name}: does not stand where its room is"));
            }
            if row.holdings.iter().any(crate::agents::Holding::is_empty) {
                faults.push(format!("{name}: an empty holding is kept"));
            }
            for holding in &row.holdings {
                let mut grants = Resources::EMPTY;
                holding.grants.iter().for_each(|grant| grants.add(&grant.resources));
                if !holding.offered.contains(&grants) {
                    faults.push(format!("{name}: offers for demands are {grants} of {}", holding.offered));
                }
            }
        }
        if totals != self.totals || room != self.room {
            faults.push(format!(
                "the pool has {totals} with {room} free, not {} and {}",
                self.totals, self.room
            ));
        }
    }

    fn check_clients(&self, faults: &mut Vec<String>) {
        for (framework, row) in self.clients.frameworks.iter() {
            let name = row.id.as_ref().map_or("?", |id| id.as_str());
            let mut offered = Quantities::ZERO;
            let mut eligible = 0;
            for (_, client) in &row.clients {
                let who = &self.clients.clients[*client];
                offered.add(&who.offered);
                eligible += u32::from(who.eligible);
                if who.framework != framework {
                    faults.push(format!("{name}: client {client} belongs to another"));
                }
                self.check_client(name, *client, faults);
            }
            if offered != row.offered || eligible != row.eligible {
                faults.push(format!("{name}: offered {offered}, noted {}; eligible {eligible}", row.offered));
            }
        }
        let wanting = self.clients.frameworks.iter().filter(|(_, row)| row.eligible > 0).count();
        let eligible = |driven: bool| {
            let rows = self.clients.clients.iter().filter(|(_, who)| who.eligible);
            rows.filter(|(_, who)| self.clients.frameworks[who.framework].demand_driven == driven).count()
        };
        let counts = (self.clients.wanting, self.clients.plain, self.clients.driven);
        if (wanting, eligible(false), eligible(true)) != counts {
            faults.push("those that want something are miscounted".into());
        }
        for (index, shape) in self.shapes.shapes.iter() {
            let wants = self.clients.clients.iter().flat_map(|(_, who)| &who.wants);
            let waiting = wants.filter(|w| w.shape == index && w.missing() > 0).count();
            if waiting != shape.waiting as usize {
                faults.push(format!("shape {index}: {waiting} wait, noted {}", shape.waiting));
            }
        }
    }

    fn check_client(&self, name: &str, client: u32, faults: &mut Vec<String>) {
        let who = &self.clients.clients[client];
        let (mut held, mut offered, mut taken) = (Quantities::ZERO, Quantities::ZERO, Quantities::ZERO);
        let mut holdings = 0;
        let mut open = vec![0u64; who.wants.len()];
        for (agent, row) in self.agents.rows.iter() {
            let Some(holding) = row.holding(client) else { continue };
            holdings += 1;
            offered.add(&holding.offered.quantities());
            taken.add(&holding.taken.quantities());
            for part in [&holding.offered, &holding.taken, &holding.used] {
                held.add(&part.quantities());
            }
            for grant in &holding.grants {
                let at = who.by_demand.get(&grant.demand).map(|at| *at as usize);
                if let Some(at) = at.filter(|at| who.wants[*at].serial == grant.serial) {
                    open[at] += grant.units;
                }
            }
            if who.open_on.get(&agent).map_or(0, |n| *n as usize) != holding.grants.len() {
                faults.push(format!("{name}: open offers on agent {agent} are miscounted"));
            }
        }
        if (&held, &offered, &taken) != (&who.held, &who.offered, &who.taken) {
            faults.push(format!(
                "{name}: holds {held}, noted {}; offered {offered}, {}",
                who.held, who.offered
            ));
        }
        let unmet = who.wants.iter().filter(|want| want.missing() > 0).count();
        if holdings != who.holdings || unmet != who.unmet as usize {
            faults.push(format!("{name}: {holdings} holdings and {unmet} unmet demands, not so noted"));
        }
        if who.wants.iter().zip(&open).any(|(want, open)| want.open != *open) {
            faults.push(format!("{name}: offered units of its demands are {open:?}, noted {:?}", who.wants));
        }
    }

    fn check_roles(&self, faults: &mut Vec<String>) {
        let mut fresh = Tree::default();
        for (role, node) in &self.roles.by_role {
            let row = &self.roles.nodes[*node];
            let at = fresh.intern(role);
            fresh.nodes[at].guarantee = row.guarantee.clone();
            fresh.guarantees += u32::from(!row.guarantee.is_zero());
        }
        let mut add = |role: &Role, portion: &Portion, held: bool| {
            let node = fresh.intern(role);
            let path: Vec<u32> = fresh.path(node).collect();
            for at in path {
                let row = &mut fresh.nodes[at];
                if held {
                    row.held.add(&portion.amount.scalars);
                }
                if !held || row.counts(portion) {
                    row.consumed.add(&portion.amount.scalars);
                }
            }
        };
        for (_, row) in self.agents.rows.iter() {
            for portion in row.total.portions() {
                if let Some(role) = &portion.reservation {
                    add(role, portion, false);
                }
            }
            for holding in &row.holdings {
                let node = self.clients.clients[holding.client].node;
                let Some(role) = &self.roles.nodes[node].role else { continue };
                let parts = [&holding.offered, &holding.taken, &holding.used];
                parts
                    .into_iter()
                    .flat_map(|part| part.portions())
                    .for_each(|portion| add(role, portion, true));
            }
        }
        let leaves: Vec<u32> =
            fresh.nodes.indices().filter(|n| fresh.nodes[*n].children.is_empty()).collect();
        leaves.into_iter().for_each(|node| fresh.recount_missing(node));
        for (role, node) in &fresh.by_role {
            let (want, have) =
                (&fresh.nodes[*node], self.roles.find(role).map(|node| &self.roles.nodes[node]));
            let same = have.is_some_and(|have| {
                (&want.held, &want.consumed, &want.missing) == (&have.held, &have.consumed, &have.missing)
            });
            if !same {
                let have = have.map(|have| (&have.held, &have.consumed, &have.missing));
                let want = (&want.held, &want.consumed, &want.missing);
                faults.push(format!("{role}: held, consumed, missing are {want:?}, noted {have:?}"));
            }
        }
        if self.roles.guarantees != fresh.guarantees {
            faults.push("the guarantees are miscounted".into());
        }
    }

    fn check_orders(&self, faults: &mut Vec<String>) {
        for (node, row) in self.roles.nodes.iter() {
            let Some(queue) = self.queues.get(node as usize) else { continue };
            let members: Vec<u32> = queue.members.iter().map(|entry| entry.item).collect();
            let subs: Vec<u32> = queue.subs.iter().map(|entry| entry.item).collect();
            let sorted = members.is_sorted_by(|a, b| self.clients.compare(*a, *b) == Ordering::Less)
                && subs.is_sorted_by(|a, b| self.roles.compare(*a, *b) == Ordering::Less);
            let eligible = row.clients.iter().filter(|c| self.clients.clients[**c].eligible).count();
            let below = row.children.iter().filter(|child| self.roles.nodes[**child].eligible > 0).count();
            let unmet = row.children.iter().filter(|child| self.roles.nodes[**child].in_unmet).count();
            let complete = (eligible, below, unmet) == (members.len(), subs.len(), queue.unmet.len());
            let mut count = eligible as u32;
            count += row.children.iter().map(|child| self.roles.nodes[*child].eligible).sum::<u32>();
            if !sorted || !complete || (node != ROOT && count != row.eligible) {
                faults.push(format!("the order below {:?} is wrong", row.role));
            }
        }
    }
}

/// Whether two share a port or an item; scalars add up and cannot tell.
fn has_common_items(a: &Resources, b: &Resources) -> bool {
    a.portions().iter().any(|p| {
        b.portions().iter().filter(|q| (&q.reservation, &q.volume) == (&p.reservation, &p.volume)).any(|q| {
            let (mut x, mut y) = (p.amount.clone(), q.amount.clone());
            (x.scalars, y.scalars) = (Quantities::ZERO, Quantities::ZERO);
            x.overlaps(&y)
        })
    })
}
