//! The model: the same facts as the allocator's, kept in the plainest way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use master_allocator::{Account, Change, Config};
use proto::agent::AgentInfo;
use proto::demand::{Demand, Filter};
use proto::id::{AgentId, DemandId, FrameworkId};
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
    pub filters: BTreeMap<(Client, AgentId), Vec<(Resources, Instant)>>,
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
            let pieces = self.filters.entry((client, agent.clone())).or_default();
            let tick = |at: Instant| at.as_nanos().div_ceil(1 << 24);
            if pieces.iter().any(|(old, ends)| tick(*ends) >= tick(until) && old.contains(&declined)) {
                return;
            }
            pieces.retain(|(old, ends)| tick(*ends) > tick(until) || !declined.contains(old));
            pieces.push((declined, until));
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
        let mut over = Vec::new();
        self.filters.retain(|key, pieces| {
            let before = pieces.len();
            pieces.retain(|(_, until)| !ended(*until));
            over.extend((pieces.len() < before).then(|| key.clone()));
            !pieces.is_empty()
        });
        for key in over {
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
}
