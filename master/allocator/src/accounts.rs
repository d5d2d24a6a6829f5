//! Accounts: what is held and what is free, kept in step in every table that counts it.

use proto::quantities::Quantities;
use proto::resources::{Portion, Resources};

use crate::Allocator;
use crate::agents::{MadeFor, OpenGrant};
use crate::change::Account;
use crate::clients::Want;
use crate::roles::ROOT;

/// Resources with their scalars added up.
pub(crate) struct Held<'a> {
    pub scalars: Quantities,
    /// `None` when all of it is kept for nobody.
    portions: Option<&'a [Portion]>,
}

impl<'a> Held<'a> {
    /// Adds up.
    pub fn of(resources: &'a Resources) -> Self {
        Held { scalars: resources.quantities(), portions: Some(resources.portions()) }
    }

    /// What is known to be kept for nobody, and to be so much.
    pub fn plain(scalars: Quantities) -> Self {
        Held { scalars, portions: None }
    }

    /// Whether some of it is reserved.
    pub fn has_reserved(&self) -> bool {
        self.portions.is_some_and(|portions| portions.iter().any(|portion| portion.reservation.is_some()))
    }
}

impl Allocator {
    /// A client holds more. Counts for its share and for the quota of its role and those above.
    pub(crate) fn charge(&mut self, client: u32, held: &Held<'_>) {
        let row = &mut self.clients.clients[client];
        row.held.add(&held.scalars);
        let node = row.node;
        self.roles.nodes[node].direct.add(&held.scalars);
        let mut at = node;
        while at != ROOT {
            let row = &mut self.roles.nodes[at];
            row.held.add(&held.scalars);
            match held.portions {
                None => row.consumed.add(&held.scalars),
                Some(portions) => {
                    for portion in portions.iter() {
                        if row.counts(portion) {
                            row.consumed.add(&portion.amount.scalars);
                        }
                    }
                }
            }
            at = row.parent;
        }
        self.roles.recount_missing(node);
        self.mark_stale(client);
    }

    /// A client holds less. Wakes those whom a limit on the way held back.
    pub(crate) fn refund(&mut self, client: u32, held: &Held<'_>) {
        let row = &mut self.clients.clients[client];
        row.held.sub(&held.scalars);
        let node = row.node;
        self.roles.nodes[node].direct.sub(&held.scalars);
        let mut at = node;
        while at != ROOT {
            let row = &mut self.roles.nodes[at];
            row.held.sub(&held.scalars);
            match held.portions {
                None => row.consumed.sub(&held.scalars),
                Some(portions) => {
                    for portion in portions.iter() {
                        if row.counts(portion) {
                            row.consumed.sub(&portion.amount.scalars);
                        }
                    }
                }
            }
            if std::mem::take(&mut row.limit_hit) {
                self.work.nodes.push(at);
            }
            at = row.parent;
        }
        self.roles.recount_missing(node);
        self.mark_stale(client);
    }

    /// What of an agent is reserved for whom has changed.
    pub(crate) fn count_reservations(&mut self, agent: u32, before: &Resources, after: &Resources) {
        let mut named = Vec::new();
        for (total, comes) in [(after, true), (before, false)] {
            for portion in total.portions() {
                let Some(role) = &portion.reservation else { continue };
                let node = self.roles.intern(role);
                named.push(node);
                let mut at = node;
                while at != ROOT {
                    let row = &mut self.roles.nodes[at];
                    if comes {
                        row.consumed.add(&portion.amount.scalars);
                    } else {
                        row.consumed.sub(&portion.amount.scalars);
                        if std::mem::take(&mut row.limit_hit) {
                            self.work.nodes.push(at);
                        }
                    }
                    at = row.parent;
                }
                self.roles.recount_missing(node);
                self.roles.path(node).collect::<Vec<_>>().into_iter().for_each(|at| self.mark_node_stale(at));
                self.roles.nodes[node].reserved_on.remove(&agent);
            }
        }
        for portion in after.portions() {
            if let Some(node) = portion.reservation.as_ref().and_then(|role| self.roles.find(role)) {
                self.roles.nodes[node].reserved_on.insert(agent);
            }
        }
        named.into_iter().for_each(|node| self.prune(node));
    }

    /// What is free of an agent has changed, or whether it may be offered.
    pub(crate) fn touch_free(&mut self, agent: u32) {
        let row = &mut self.agents.rows[agent];
        if row.counted {
            self.room.sub(&row.room);
        }
        let portions = row.free.portions();
        let plain = portions.first().filter(|p| p.reservation.is_none() && p.volume.is_none());
        row.simple = portions.len() == usize::from(plain.is_some());
        match plain {
            Some(portion) => row.room.clone_from(&portion.amount.scalars),
            None => row.room = Default::default(),
        }
        row.counted = row.active;
        if row.counted {
            self.room.add(&row.room);
        }
        let enough = if row.simple {
            self.config.is_enough(&row.room)
        } else {
            self.config.is_enough(&row.free.quantities())
        };
        self.offerable.set(agent, row.active && enough);
        self.grid.moved(agent);
    }

    /// More of an agent is free: everybody is asked about it. `fresh`: it is not what an offer brought back.
    pub(crate) fn grow(&mut self, agent: u32, fresh: bool) {
        let row = &self.agents.rows[agent];
        if !row.active || row.free.is_empty() {
            return;
        }
        self.work.agents.insert(agent);
        let (free, tree) = (&row.free, &self.roles);
        self.filters.grown(agent, |declined, node| {
            let role = node.and_then(|node| tree.nodes[node].role.as_ref());
            crate::carve::all_declined(free, role, declined)
        });
        if fresh {
            self.filters.forget_asked(agent);
        }
    }

    /// A client is asked about every agent at the next allocation.
    pub(crate) fn wake(&mut self, client: u32) {
        if !std::mem::replace(&mut self.clients.clients[client].dirty, true) {
            self.work.clients.push(client);
        }
    }

    /// Decides anew whether a client may be offered something, and puts it into or out of its role's order.
    pub(crate) fn refresh(&mut self, client: u32) {
        let row = &self.clients.clients[client];
        let framework = &self.clients.frameworks[row.framework];
        let wants = !framework.demand_driven || row.unmet > 0;
        let eligible = framework.here && framework.active && row.subscribed && !row.suppressed && wants;
        if eligible == row.eligible {
            return;
        }
        let (owner, before) = (row.framework, framework.eligible);
        let count = match framework.demand_driven {
            true => &mut self.clients.driven,
            false => &mut self.clients.plain,
        };
        self.clients.clients[client].eligible = eligible;
        if eligible {
            *count += 1;
            self.clients.frameworks[owner].eligible += 1;
            self.clients.wanting += usize::from(before == 0);
            self.enlist(client);
            self.wake(client);
        } else {
            *count -= 1;
            self.clients.frameworks[owner].eligible -= 1;
            if before == 1 {
                self.clients.wanting -= 1;
                self.work.rival_left = true;
            }
            self.delist(client);
        }
    }

    /// Changes how much of a demand is wanted or offered.
    pub(crate) fn change_want(&mut self, client: u32, at: usize, change: impl FnOnce(&mut Want)) {
        let row = &mut self.clients.clients[client];
        let Some(want) = row.wants.get_mut(at) else { return };
        let before = want.missing();
        change(want);
        let (shape, after) = (want.shape, want.missing());
        match (before > 0, after > 0) {
            (true, false) => {
                row.unmet -= 1;
                self.shapes.shapes[shape].waiting -= 1;
                self.refresh(client);
            }
            (false, true) => {
                row.unmet += 1;
                self.shapes.shapes[shape].waiting += 1;
                self.refresh(client);
                self.wake(client);
            }
            (true, true) if after > before => self.wake(client),
            (true, true) | (false, false) => {}
        }
    }

    /// Something leaves the account of open offers: the framework holds less unanswered, and the demands the offers
    /// were made for are told. `met`: the framework took it, so it wants that much less.
    pub(crate) fn close_offers(
        &mut self,
        (client, agent): (u32, u32),
        resources: &Resources,
        made_for: MadeFor<'_>,
        met: bool,
    ) {
        let quantities = resources.quantities();
        let row = &mut self.clients.clients[client];
        row.offered.sub(&quantities);
        self.clients.frameworks[row.framework].offered.sub(&quantities);
        for grant in self.agents.rows[agent].holding_mut(client).close(resources, made_for) {
            self.close_grant(client, agent, &grant, met);
        }
    }

    /// An offer that was made for a demand is not open any more.
    pub(crate) fn close_grant(&mut self, client: u32, agent: u32, grant: &OpenGrant, met: bool) {
        let row = &mut self.clients.clients[client];
        if let Some(open) = row.open_on.get_mut(&agent) {
            *open -= 1;
            if *open == 0 {
                row.open_on.remove(&agent);
            }
        }
        let at = row.by_demand.get(&grant.demand).copied();
        if let Some(at) = at.filter(|at| row.wants[*at as usize].serial == grant.serial) {
            self.change_want(client, at as usize, |want| {
                want.open = want.open.saturating_sub(grant.units);
                if met {
                    want.count = want.count.saturating_sub(grant.units);
                }
            });
        }
    }

    /// Takes something off an account of a client; false, and nothing changed, when it is not there.
    pub(crate) fn take_off(
        &mut self,
        client: u32,
        agent: u32,
        account: Account,
        resources: &Resources,
    ) -> bool {
        let holdings = &mut self.agents.rows[agent].holdings;
        let holding = holdings.iter_mut().find(|h| h.client == client);
        holding.is_some_and(|h| h.account_mut(account).try_sub(resources))
    }

    /// Drops what is left of a client's holding on an agent when that is nothing, and the client when it has nothing
    /// left anywhere and its framework does not take offers in the role.
    pub(crate) fn tidy(&mut self, client: u32, agent: u32) {
        if self.agents.rows[agent].drop_empty(client) {
            self.clients.clients[client].holdings -= 1;
            self.forget_if_gone(client);
        }
    }

    /// Forgets a client that holds nothing and takes no offers, and its framework when that was the last of it.
    pub(crate) fn forget_if_gone(&mut self, client: u32) {
        let row = &self.clients.clients[client];
        if row.holdings > 0 || row.subscribed {
            return;
        }
        let (node, owner) = (row.node, row.framework);
        self.filters.clear_client(client);
        self.clients.clients.remove(client);
        self.work.clients.retain(|other| *other != client);
        self.work.held.retain(|other| *other != client);
        self.work.headroom.retain(|other| *other != client);
        self.work.stale_clients.retain(|other| *other != client);
        self.roles.nodes[node].clients.retain(|other| *other != client);
        self.prune(node);
        let framework = &mut self.clients.frameworks[owner];
        framework.clients.retain(|(_, other)| *other != client);
        if framework.clients.is_empty()
            && !framework.here
            && let Some(id) = self.clients.frameworks.remove(owner).id
        {
            self.clients.by_id.remove(&id);
        }
    }

    /// Forgets a role that nothing names any more.
    pub(crate) fn prune(&mut self, node: u32) {
        self.roles.prune(node);
        let tree = &self.roles;
        let gone = |node: &u32| *node != ROOT && tree.nodes[*node].role.is_none();
        self.work.stale_nodes.retain(|node| !gone(node));
        self.work.nodes.retain(|node| !gone(node));
    }
}
