//! The model: the same facts, kept in the plainest way, and every rule computed from scratch by its definition.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use master_allocator::{Account, Change, Config};
use proto::agent::AgentInfo;
use proto::demand::{Demand, Filter};
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::quantities::{Quantities, Scalar};
use proto::quota::Quota;
use proto::resources::Resources;
use proto::role::Role;
use proto_machine::Instant;

/// A framework in a role.
pub type Client = (FrameworkId, Role);

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub config: Config,
    pub now: Instant,
    pub agents: BTreeMap<AgentId, Agent>,
    /// Plain offers go through agents in the order of indices: the last freed is used first.
    pub slots: Vec<Option<AgentId>>,
    pub freed: Vec<usize>,
    pub frameworks: BTreeMap<FrameworkId, Framework>,
    pub pieces: Vec<Piece>,
    pub quotas: BTreeMap<Role, Quota>,
    pub weights: BTreeMap<Role, u32>,
    pub filters: BTreeMap<(Client, AgentId), (Resources, Instant)>,
    /// Others come first.
    pub asked: BTreeSet<(Client, AgentId)>,
    /// Given in this allocation.
    pub answered: BTreeSet<(Client, AgentId)>,
    /// More is free since the last allocation.
    pub changed: BTreeSet<AgentId>,
    pub serial: u64,
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub info: Arc<AgentInfo>,
    pub total: Resources,
    pub active: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Framework {
    pub active: bool,
    pub driven: bool,
    /// Roles, and whether suppressed.
    pub roles: BTreeMap<Role, bool>,
    pub demands: Vec<Wanted>,
    /// As stated, also those for roles it is not in.
    pub stated: Vec<Demand>,
}

#[derive(Clone, Debug)]
pub struct Wanted {
    pub demand: Demand,
    pub serial: u64,
}

/// Something somebody holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub client: Client,
    pub agent: AgentId,
    pub resources: Resources,
    pub account: Account,
    pub demand: Option<DemandId>,
    pub serial: u64,
    pub units: u64,
}

/// A share as a fraction.
#[derive(Clone, Copy, Debug)]
pub struct Share(u128, u128);

impl Share {
    pub fn compare(self, other: Share) -> Ordering {
        (self.0 * other.1).cmp(&(other.0 * self.1))
    }
}

// --- facts ---

impl Model {
    /// Takes in a change that the allocator took in.
    pub fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::AgentAdded { info, total, active } => self.set_agent(info, total, Some(active)),
            Change::AgentChanged { info, total } => self.set_agent(info, total, None),
            Change::AgentActive { agent, active } => self.set_active(&agent, active),
            Change::AgentRemoved { agent } => {
                self.agents.remove(&agent);
                let slot = self.slots.iter().position(|a| a.as_ref() == Some(&agent)).unwrap();
                self.slots[slot] = None;
                self.freed.push(slot);
                self.pieces.retain(|p| p.agent != agent);
                self.filters.retain(|(_, a), _| *a != agent);
                self.asked.retain(|(_, a)| *a != agent);
                self.changed.remove(&agent);
            }
            Change::FrameworkAdded { id, roles, suppressed } => {
                self.frameworks.entry(id.clone()).or_default().active = true;
                self.set_roles(&id, &roles, &suppressed);
            }
            Change::FrameworkRoles { id, roles, suppressed } => self.set_roles(&id, &roles, &suppressed),
            Change::FrameworkActive { id, active } => {
                if let Some(framework) = self.frameworks.get_mut(&id) {
                    framework.active = active;
                }
                if !active {
                    self.forget_filters(|(framework, _)| *framework == id);
                }
            }
            Change::FrameworkRemoved { id } => {
                self.frameworks.remove(&id);
                self.forget_filters(|(framework, _)| *framework == id);
            }
            Change::Suppress { framework, roles } => self.suppress(&framework, &roles, true),
            Change::Revive { framework, roles } => {
                self.suppress(&framework, &roles, false);
                let all = roles.is_empty();
                self.forget_filters(|(f, r)| *f == framework && (all || roles.contains(r)));
            }
            Change::Demands { framework, demands, demand_driven } => {
                self.restate(&framework, demands, demand_driven);
            }
            Change::QuotaSet { role, quota } => drop(self.quotas.insert(role, quota)),
            Change::WeightSet { role, weight } => drop(self.weights.insert(role, weight.milli())),
            Change::Charged { framework, role, agent, resources } => self.pieces.push(Piece {
                client: (framework, role),
                agent,
                resources,
                account: Account::Used,
                demand: None,
                serial: 0,
                units: 0,
            }),
            Change::Taken { framework, role, agent, resources, demand } => {
                let at = self.find(&(framework, role), &agent, &resources, Account::Offered, &demand);
                self.take(at);
            }
            Change::Accepted { framework, role, agent, offered, transforms, used, until } => {
                let client = (framework, role);
                // Taken pieces of the same client and agent stand on one account; an untaken one is clear.
                let mine =
                    |p: &Piece, account| p.client == client && p.agent == agent && p.account == account;
                let mut taken = Resources::EMPTY;
                self.pieces.iter().filter(|p| mine(p, Account::Taken)).for_each(|p| taken.add(&p.resources));
                if !taken.contains(&offered) {
                    let at = self.pieces.iter().position(|p| mine(p, Account::Offered)).unwrap();
                    self.take(at);
                }
                self.give_up(&client, &agent, &offered, Account::Taken);
                let row = self.agents.get_mut(&agent).unwrap();
                let mut left = offered;
                for transform in transforms {
                    assert!(left.try_sub(&transform.from));
                    left.add(&transform.to);
                    if row.total.try_sub(&transform.from) {
                        row.total.add(&transform.to);
                    }
                }
                assert!(left.try_sub(&used));
                if !used.is_empty() {
                    self.pieces.push(Piece {
                        client: client.clone(),
                        agent: agent.clone(),
                        resources: used,
                        account: Account::Used,
                        demand: None,
                        serial: 0,
                        units: 0,
                    });
                }
                if !left.is_empty() {
                    self.refuse(client, &agent, left, until);
                }
                self.grow(&agent, false);
            }
            Change::Recovered { framework, role, agent, resources, from, demand } => {
                let client = (framework, role);
                if from == Account::Offered {
                    let at = self.find(&client, &agent, &resources, from, &demand);
                    self.pieces.remove(at);
                } else {
                    self.give_up(&client, &agent, &resources, from);
                }
                self.grow(&agent, from == Account::Used);
            }
            Change::Transformed { agent, transform } => {
                let row = self.agents.get_mut(&agent).unwrap();
                assert!(row.total.try_sub(&transform.from));
                row.total.add(&transform.to);
                self.grow(&agent, true);
            }
            Change::Declined { framework, role, agent, resources, demand, until } => {
                let client = (framework, role);
                let at = self.find(&client, &agent, &resources, Account::Offered, &demand);
                self.pieces.remove(at);
                self.refuse(client, &agent, resources, until);
                self.grow(&agent, false);
            }
        }
    }

    fn find(
        &self,
        client: &Client,
        agent: &AgentId,
        what: &Resources,
        account: Account,
        demand: &Option<DemandId>,
    ) -> usize {
        let same = |p: &&Piece| {
            p.client == *client && p.agent == *agent && p.account == account && p.demand == *demand
        };
        self.pieces.iter().position(|p| same(&p) && p.resources == *what).expect("the piece is held")
    }

    fn take(&mut self, at: usize) {
        self.pieces[at].account = Account::Taken;
        let piece = self.pieces[at].clone();
        if let Some(framework) = self.frameworks.get_mut(&piece.client.0) {
            let want =
                framework.demands.iter_mut().find(|w| piece.demand.is_some() && w.serial == piece.serial);
            if let Some(want) = want {
                want.demand.count = want.demand.count.saturating_sub(piece.units);
            }
        }
    }

    /// Pieces on an account are alike: takes the resources off wherever they are.
    fn give_up(&mut self, client: &Client, agent: &AgentId, what: &Resources, account: Account) {
        let mine = |p: &Piece| p.client == *client && p.agent == *agent && p.account == account;
        let mut all = Resources::EMPTY;
        self.pieces.iter().filter(|p| mine(p)).for_each(|p| all.add(&p.resources));
        assert!(all.try_sub(what));
        self.pieces.retain(|p| !mine(p));
        if !all.is_empty() {
            self.pieces.push(Piece {
                client: client.clone(),
                agent: agent.clone(),
                resources: all,
                account,
                demand: None,
                serial: 0,
                units: 0,
            });
        }
    }

    fn set_agent(&mut self, info: Arc<AgentInfo>, total: Resources, active: Option<bool>) {
        let id = info.id.clone();
        match self.agents.get_mut(&id) {
            Some(row) => {
                if row.info.attributes != info.attributes || row.info.hostname != info.hostname {
                    self.filters.retain(|(_, a), _| *a != id);
                    self.asked.retain(|(_, a)| *a != id);
                }
                let row = self.agents.get_mut(&id).unwrap();
                (row.info, row.total) = (info, total);
                self.grow(&id, true);
                if let Some(active) = active {
                    self.set_active(&id, active);
                }
            }
            None => {
                let row = Agent { info, total, active: active.unwrap() };
                self.agents.insert(id.clone(), row);
                match self.freed.pop() {
                    Some(slot) => self.slots[slot] = Some(id.clone()),
                    None => self.slots.push(Some(id.clone())),
                }
                self.grow(&id, true);
            }
        }
    }

    fn set_active(&mut self, id: &AgentId, active: bool) {
        let row = self.agents.get_mut(id).unwrap();
        if std::mem::replace(&mut row.active, active) != active {
            if active {
                self.grow(id, true);
            } else {
                self.changed.remove(id);
            }
        }
    }

    fn set_roles(&mut self, id: &FrameworkId, roles: &[Role], suppressed: &[Role]) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let before = std::mem::take(&mut framework.roles);
        framework.roles = roles.iter().map(|role| (role.clone(), suppressed.contains(role))).collect();
        let revived: Vec<Role> = (before.iter())
            .filter(|(role, suppressed)| framework.roles.get(*role).is_none_or(|now| **suppressed && !now))
            .map(|(role, _)| role.clone())
            .collect();
        let (stated, driven) = (framework.stated.clone(), framework.driven);
        if !stated.is_empty() {
            self.restate(id, stated, driven);
        }
        self.forget_filters(|(f, r)| f == id && revived.contains(r));
    }

    fn suppress(&mut self, id: &FrameworkId, roles: &[Role], suppressed: bool) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            for (role, now) in &mut framework.roles {
                if roles.is_empty() || roles.contains(role) {
                    *now = suppressed;
                }
            }
        }
    }

    fn forget_filters(&mut self, whose: impl Fn(&Client) -> bool) {
        self.filters.retain(|(client, _), _| !whose(client));
        self.asked.retain(|(client, _)| !whose(client));
    }

    fn restate(&mut self, id: &FrameworkId, demands: Vec<Demand>, driven: bool) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.driven = driven;
        framework.stated = demands.clone();
        let before = std::mem::take(&mut framework.demands);
        let count =
            |d: &Demand| d.shape.ranges().iter().map(|(n, r)| (n.clone(), r.count())).collect::<Vec<_>>();
        for demand in demands {
            let known =
                framework.demands.iter().any(|w| w.demand.id == demand.id && w.demand.role == demand.role);
            if demand.count == 0
                || demand.shape.is_empty()
                || known
                || !framework.roles.contains_key(&demand.role)
            {
                continue;
            }
            let same = before.iter().find(|w| {
                w.demand.id == demand.id
                    && w.demand.role == demand.role
                    && w.demand.shape.scalars == demand.shape.scalars
                    && count(&w.demand) == count(&demand)
                    && w.demand.shape.sets() == demand.shape.sets()
                    && w.demand.constraints == demand.constraints
            });
            let serial = same.map_or_else(
                || {
                    self.serial += 1;
                    self.serial
                },
                |w| w.serial,
            );
            framework.demands.push(Wanted { demand, serial });
        }
        framework.demands.sort_by(|a, b| {
            b.demand.priority.cmp(&a.demand.priority).then_with(|| a.demand.id.cmp(&b.demand.id))
        });
    }

    fn refuse(&mut self, client: Client, agent: &AgentId, declined: Resources, until: Instant) {
        let takes =
            self.frameworks.get(&client.0).is_some_and(|f| f.active && f.roles.contains_key(&client.1));
        if takes {
            let until = until.max(self.now + self.config.refuse_min).min(self.now + Filter::MAX);
            self.filters.insert((client, agent.clone()), (declined, until));
        }
    }

    fn grow(&mut self, id: &AgentId, fresh: bool) {
        if self.agents[id].active && !self.free(id).is_empty() {
            self.changed.insert(id.clone());
            if fresh {
                self.asked.retain(|(_, a)| a != id);
            }
        }
    }

    /// An allocation begins: filters that have ended are dropped.
    pub fn begin(&mut self) {
        let tick = |at: Instant| at.as_nanos() >> 24;
        let ended = |until: Instant| until.as_nanos().div_ceil(1 << 24) <= tick(self.now);
        let over: Vec<_> =
            self.filters.iter().filter(|(_, (_, until))| ended(*until)).map(|(k, _)| k.clone()).collect();
        for key in over {
            self.filters.remove(&key);
            if self.changed.contains(&key.1) || !self.is_offerable(&key.1) {
                self.asked.insert(key);
            }
        }
    }

    pub fn grant(&mut self, piece: Piece) {
        self.answered.insert((piece.client.clone(), piece.agent.clone()));
        self.pieces.push(piece);
    }

    /// It is over. Only now those who were given an agent for which others came first are as others again: while it
    /// lasted they were not to overtake whoever still waited for what is left.
    pub fn end(&mut self) {
        for pair in std::mem::take(&mut self.answered) {
            self.asked.remove(&pair);
        }
        self.changed.clear();
    }

    // --- sums ---

    pub fn free(&self, id: &AgentId) -> Resources {
        let mut free = self.agents[id].total.clone();
        for piece in self.pieces.iter().filter(|p| p.agent == *id) {
            free = free.saturating_sub(&piece.resources);
        }
        free
    }

    pub fn is_over(&self, id: &AgentId) -> bool {
        let mut held = Resources::EMPTY;
        self.pieces.iter().filter(|p| p.agent == *id).for_each(|p| held.add(&p.resources));
        !self.agents[id].total.contains(&held)
    }

    pub fn is_offerable(&self, id: &AgentId) -> bool {
        let free = self.free(id).quantities();
        self.agents[id].active && self.is_enough(&free)
    }

    pub fn is_enough(&self, scalars: &Quantities) -> bool {
        scalars.cpus_milli() >= self.config.min_cpus_milli || scalars.mem_bytes() >= self.config.min_mem_bytes
    }

    pub fn totals(&self) -> Quantities {
        sum(self.agents.values().map(|row| row.total.quantities()))
    }

    /// Free, on active agents, kept for nobody.
    pub fn room(&self) -> Quantities {
        let active = self.agents.iter().filter(|(_, row)| row.active);
        sum(active.flat_map(|(id, _)| unreserved(&self.free(id))))
    }

    pub fn held(&self, mine: impl Fn(&Client) -> bool) -> Quantities {
        sum(self.pieces.iter().filter(|p| mine(&p.client)).map(|p| p.resources.quantities()))
    }

    pub fn offered(&self, framework: &FrameworkId) -> Quantities {
        let open = self.pieces.iter().filter(|p| p.client.0 == *framework && p.account == Account::Offered);
        sum(open.map(|p| p.resources.quantities()))
    }

    /// Every role that is named, and those above.
    pub fn all_roles(&self) -> BTreeSet<Role> {
        let mut all: BTreeSet<Role> = self.quotas.keys().cloned().collect();
        all.extend(self.pieces.iter().map(|p| p.client.1.clone()));
        all.extend(self.frameworks.values().flat_map(|f| f.roles.keys().cloned()));
        for row in self.agents.values() {
            all.extend(row.total.portions().iter().filter_map(|p| p.reservation.clone()));
        }
        for role in all.clone() {
            all.extend(std::iter::successors(Some(role), Role::parent));
        }
        all
    }

    /// What a role consumes, if its clients of `extra`'s role held that much more that is kept for nobody.
    pub fn consumed(&self, role: &Role, extra: Option<(&Role, &Quantities)>) -> Quantities {
        let reserved = self.agents.values().flat_map(|row| row.total.portions()).filter_map(|p| {
            p.reservation.as_ref().filter(|kept| kept.is_within(role)).map(|_| p.amount.scalars.clone())
        });
        let held = self.pieces.iter().filter(|p| p.client.1.is_within(role));
        let beyond = held.flat_map(|p| p.resources.portions()).filter_map(|p| {
            let counted = p.reservation.as_ref().is_some_and(|kept| kept.is_within(role));
            (!counted).then(|| p.amount.scalars.clone())
        });
        let extra = extra.filter(|(who, _)| who.is_within(role)).map(|(_, q)| q.clone());
        sum(reserved.chain(beyond).chain(extra))
    }

    /// What is missing of the guarantees of a role and those below; at the top (`None`) of all.
    pub fn missing(
        &self,
        role: Option<&Role>,
        roles: &BTreeSet<Role>,
        extra: Option<(&Role, &Quantities)>,
    ) -> Quantities {
        let children = roles.iter().filter(|r| r.parent().as_ref() == role);
        let below = sum(children.map(|child| self.missing(Some(child), roles, extra)));
        let Some(role) = role else { return below };
        let guarantee = self.quotas.get(role).map(|q| q.guarantees.clone()).unwrap_or_default();
        let own = guarantee.saturating_sub(&self.consumed(role, extra));
        let mut more = own.saturating_sub(&below);
        more.add(&below);
        more
    }

    /// Whether a role's own guarantee, beyond what those below miss, is not fulfilled.
    pub fn has_credit(&self, role: &Role, roles: &BTreeSet<Role>) -> bool {
        let children = roles.iter().filter(|r| r.parent().as_ref() == Some(role));
        let below = sum(children.map(|child| self.missing(Some(child), roles, None)));
        self.missing(Some(role), roles, None) != below
    }

    /// How much of each scalar a client of the role may take that is kept for nobody: `None` for any amount.
    pub fn headroom(
        &self,
        role: &Role,
        roles: &BTreeSet<Role>,
        guarantees_only: bool,
    ) -> BTreeMap<Scalar, u64> {
        let required = self.missing(None, roles, None);
        let room = self.room();
        let mut bounds = BTreeMap::new();
        for (scalar, kept) in required.iter() {
            let after = |taken: u64| {
                let mut extra = Quantities::ZERO;
                extra.set(&scalar, taken);
                self.missing(None, roles, Some((role, &extra))).get(&scalar)
            };
            let slack = room.get(&scalar).saturating_sub(kept);
            // The most that leaves enough: everybody else's guarantees cost no more than was spare.
            let fits = |taken: u64| taken - (kept - after(taken)) <= slack;
            let (mut low, mut high) = (0, room.get(&scalar) + kept + 1);
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                if fits(middle) { low = middle } else { high = middle - 1 }
            }
            bounds.insert(scalar, low);
        }
        if guarantees_only {
            // Of what is guaranteed no more than that.
            let path = std::iter::successors(Some(role.clone()), Role::parent);
            let guaranteed =
                path.filter_map(|at| self.quotas.get(&at)).flat_map(|quota| quota.guarantees.iter());
            for (scalar, _) in guaranteed {
                let mut extra = Quantities::ZERO;
                extra.set(&scalar, u64::MAX / 4);
                let after = self.missing(None, roles, Some((role, &extra))).get(&scalar);
                bounds.insert(scalar.clone(), required.get(&scalar) - after);
            }
        }
        bounds
    }

    // --- order ---

    pub fn is_eligible(&self, client: &Client) -> bool {
        let Some(framework) = self.frameworks.get(&client.0) else { return false };
        let takes = framework.active && framework.roles.get(&client.1) == Some(&false);
        let wants = || self.wants(client).iter().any(|(_, missing)| *missing > 0);
        takes && (!framework.driven || wants())
    }

    /// The demands of a client in order, and how many units may still be offered.
    pub fn wants(&self, client: &Client) -> Vec<(Wanted, u64)> {
        let demands = self.frameworks[&client.0].demands.iter().filter(|w| w.demand.role == client.1);
        let open = |w: &Wanted| {
            let mine =
                |p: &&Piece| p.account == Account::Offered && p.demand.is_some() && p.serial == w.serial;
            self.pieces.iter().filter(mine).map(|p| p.units).sum::<u64>()
        };
        demands.map(|w| (w.clone(), w.demand.count.saturating_sub(open(w)))).collect()
    }

    pub fn clients(&self) -> Vec<Client> {
        let all = self.frameworks.iter();
        all.flat_map(|(id, f)| f.roles.keys().map(move |role| (id.clone(), role.clone()))).collect()
    }

    pub fn share(&self, held: &Quantities, weight: u32) -> Share {
        let totals = self.totals();
        let parts = held.iter().filter(|(name, _)| totals.get(name) > 0);
        let fractions = parts.map(|(name, amount)| Share(u128::from(amount), u128::from(totals.get(&name))));
        let most = fractions.fold(Share(0, 1), |a, b| if b.compare(a) == Ordering::Greater { b } else { a });
        Share(most.0 * 1000, most.1 * u128::from(weight))
    }

    fn role_share(&self, role: &Role) -> Share {
        let held = self.held(|(_, r)| r.is_within(role));
        self.share(&held, self.weights.get(role).copied().unwrap_or(1000))
    }

    /// Which of two clients comes first.
    pub fn precedence(&self, a: &Client, b: &Client, roles: &BTreeSet<Role>, guarantees: bool) -> Ordering {
        let line = |client: &Client| {
            let mut line: Vec<Role> = std::iter::successors(Some(client.1.clone()), Role::parent).collect();
            line.reverse();
            line
        };
        let (la, lb) = (line(a), line(b));
        let parted = la.iter().zip(&lb).take_while(|(a, b)| a == b).count();
        let owed = |line: &[Role]| guarantees && line[parted..].iter().any(|r| self.has_credit(r, roles));
        if owed(&la) != owed(&lb) {
            return owed(&lb).cmp(&owed(&la));
        }
        let own = |role: &Role| self.share(&self.held(|(_, r)| r == role), 1000);
        match (la.get(parted), lb.get(parted)) {
            (None, None) => {
                let share = |c: &Client| self.share(&self.held(|other| other == c), 1000);
                share(a).compare(share(b)).then_with(|| a.0.cmp(&b.0))
            }
            (Some(x), Some(y)) => self.role_share(x).compare(self.role_share(y)).then_with(|| x.cmp(y)),
            (None, Some(y)) => own(&a.1).compare(self.role_share(y)).then(Ordering::Less),
            (Some(x), None) => self.role_share(x).compare(own(&b.1)).then(Ordering::Greater),
        }
    }
}

pub fn sum(all: impl Iterator<Item = Quantities>) -> Quantities {
    all.fold(Quantities::ZERO, |mut sum, next| {
        sum.add(&next);
        sum
    })
}

/// The scalars of what is kept for nobody and is no volume.
pub fn unreserved(resources: &Resources) -> Vec<Quantities> {
    let open = resources.portions().iter().filter(|p| p.reservation.is_none() && p.volume.is_none());
    open.map(|p| p.amount.scalars.clone()).collect()
}
