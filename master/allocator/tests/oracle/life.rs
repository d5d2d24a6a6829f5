//! A life: random facts, each of which fits what was told before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use master_allocator::{Account, Change, Config, Transform};
use proto::agent::AgentInfo;
use proto::attributes::{AttributeValue, Attributes, Constraint, Constraints};
use proto::demand::Demand;
use proto::id::{AgentId, DemandId, FrameworkId, VolumeId};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::ranges::Ranges;
use proto::resources::{Amount, Portion, Resources};
use proto::role::{Role, Weight};
use proto_machine::{Dice, Instant};

use crate::model::{Model, Piece};

/// What must have happened often over all seeds.
pub const MARKS: &[&str] = &[
    "agent",
    "attributes",
    "activity",
    "agent gone",
    "framework",
    "roles",
    "connection",
    "framework gone",
    "suppress",
    "revive",
    "demands",
    "quota",
    "weight",
    "charged",
    "taken",
    "accepted",
    "accepted untaken",
    "reserved by accept",
    "ended",
    "rescinded",
    "declined",
    "reserved by operator",
    "grants",
    "grants for demands",
];

pub struct Life {
    dice: Dice,
    pub model: Model,
    demand_driven: u64,
    quotas: u64,
}

impl Life {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let hold = *dice.pick(&[1000, 1000, 500, 250]).unwrap();
        let config = Config { hold_share_milli: hold, ..Config::default() };
        let (demand_driven, quotas) = (dice.below(5), dice.below(3));
        let now = Instant::from_nanos(dice.below(1 << 45));
        Life { dice, model: Model { config, now, ..Model::default() }, demand_driven, quotas }
    }

    /// How many facts before the next allocation.
    pub fn batch(&mut self) -> u64 {
        1 + self.dice.below(3) * self.dice.below(4)
    }

    pub fn pass_time(&mut self) {
        let longest = *self.dice.pick(&[0, 1, 200, 8_000]).unwrap();
        self.model.now = self.model.now + Duration::from_millis(self.dice.below(longest + 1));
    }

    fn role(&mut self) -> Role {
        let roles = ["a", "a/b", "a/c", "a/b/d", "e", "e/f"];
        Role::new(self.dice.pick(&roles).unwrap()).unwrap()
    }

    fn framework(&mut self) -> FrameworkId {
        FrameworkId::new(&format!("f{}", self.dice.below(5))).unwrap()
    }

    fn known_framework(&mut self) -> Option<FrameworkId> {
        let known: Vec<FrameworkId> = self.model.frameworks.keys().cloned().collect();
        self.dice.pick(&known).cloned()
    }

    fn known_agent(&mut self) -> Option<AgentId> {
        let known: Vec<AgentId> = self.model.agents.keys().cloned().collect();
        self.dice.pick(&known).cloned()
    }

    fn roles(&mut self) -> Vec<Role> {
        let mut roles: Vec<Role> = (0..1 + self.dice.below(2)).map(|_| self.role()).collect();
        roles.sort();
        roles.dedup();
        roles
    }

    fn scalars(&mut self, most: u64) -> Quantities {
        let mut q = Quantities::of(self.dice.below(most + 1) * 500, self.dice.below(most + 1) << 29);
        if self.dice.chance(1, 3) {
            q = q.with_disk(self.dice.below(most + 1) << 30);
        }
        if self.dice.chance(1, 5) {
            q.set(&Scalar::named("fpga"), self.dice.below(3) * 1000);
        }
        q
    }

    fn total(&mut self) -> Resources {
        let first = 31_000 + self.dice.below(3);
        let mut amount =
            Amount::scalars(self.scalars(16)).with_ports(Ranges::single(first, first + self.dice.below(8)));
        if self.dice.chance(1, 4) {
            amount.set_set("nics", ["eth0".to_string(), "eth1".to_string()].into());
        }
        let mut total = Resources::unreserved(amount);
        if self.dice.chance(1, 4) {
            total.add(&Resources::reserved(self.role(), Amount::scalars(self.scalars(6))));
        }
        if self.dice.chance(1, 6) {
            total.add_portion(&Portion {
                reservation: Some(self.role()),
                volume: Some(VolumeId::new("v0").unwrap()),
                amount: Amount::scalars(Quantities::ZERO.with_disk(1 << 30)),
            });
        }
        total
    }

    fn info(&mut self, id: &AgentId) -> Arc<AgentInfo> {
        let zone = self.dice.pick(&["x", "y"]).unwrap().to_string();
        Arc::new(AgentInfo {
            id: id.clone(),
            hostname: format!("host-{id}"),
            address: String::new(),
            resources: Resources::EMPTY,
            attributes: Attributes([("zone".to_string(), AttributeValue::Text(zone))].into()),
            version: String::new(),
        })
    }

    fn demand(&mut self, role: Role) -> Demand {
        let mut shape = Amount::scalars(self.scalars(4));
        if self.dice.chance(1, 3) {
            let n = self.dice.below(3);
            shape = shape.with_ports(Ranges::single(1, n));
        }
        if self.dice.chance(1, 8) {
            shape.set_set("nics", ["eth1".to_string()].into());
        }
        let constraints = match self.dice.below(4) {
            0 => Constraints(vec![Constraint::parse("zone=x").unwrap()]),
            1 if self.dice.chance(1, 2) => Constraints(vec![Constraint::parse("hostname=host-a1").unwrap()]),
            _ => Constraints::default(),
        };
        Demand {
            id: DemandId::new(&format!("d{}", self.dice.below(3))).unwrap(),
            role,
            shape,
            count: self.dice.below(7),
            constraints,
            priority: self.dice.below(3) as i32 - 1,
        }
    }

    fn until(&mut self) -> Instant {
        let millis = *self.dice.pick(&[0, 50, 1_000, 5_000, 100_000, 10_000_000]).unwrap();
        self.model.now + Duration::from_millis(millis)
    }

    /// A piece on one of these accounts.
    fn piece(&mut self, accounts: &[Account]) -> Option<Piece> {
        let all: Vec<Piece> =
            self.model.pieces.iter().filter(|p| accounts.contains(&p.account)).cloned().collect();
        self.dice.pick(&all).cloned()
    }

    /// Some of it: a part of the scalars, some ports.
    fn part(&mut self, whole: &Resources) -> Resources {
        let mut part = Resources::EMPTY;
        for portion in whole.portions() {
            if portion.volume.is_some() {
                if self.dice.chance(1, 2) {
                    part.add_portion(portion);
                }
                continue;
            }
            let mut some = Amount::default();
            for (scalar, amount) in portion.amount.scalars.iter() {
                let half = amount / 2 / 500 * 500;
                some.scalars.set(&scalar, *self.dice.pick(&[0, half, amount]).unwrap());
            }
            for (name, ranges) in portion.amount.ranges() {
                let n = self.dice.below(ranges.count() + 1);
                some.set_range(name, ranges.smallest(n).unwrap());
            }
            part.add_portion(&Portion {
                reservation: portion.reservation.clone(),
                volume: None,
                amount: some,
            });
        }
        part
    }

    /// A reservation, or the end of one, of some of these resources.
    fn transform(&mut self, of: &Resources, role: &Role) -> Option<Transform> {
        let portions: Vec<Portion> = of.portions().iter().filter(|p| p.volume.is_none()).cloned().collect();
        let portion = self.dice.pick(&portions)?.clone();
        let mut scalars = portion.amount.scalars.min(&self.scalars(4));
        let mut to = Portion { reservation: Some(role.clone()), volume: None, amount: Amount::default() };
        if portion.reservation.is_some() {
            to.reservation = None;
            if self.dice.chance(1, 2) {
                // A volume instead.
                scalars = Quantities::ZERO.with_disk(scalars.disk_bytes());
                to.reservation.clone_from(&portion.reservation);
                to.volume = Some(VolumeId::new(&format!("v{}", self.dice.next_u64())).unwrap());
            }
        }
        if scalars.is_zero() {
            return None;
        }
        let mut from = portion;
        from.amount = Amount::scalars(scalars.clone());
        to.amount = Amount::scalars(scalars);
        let one = |portion: &Portion| {
            let mut all = Resources::EMPTY;
            all.add_portion(portion);
            all
        };
        Some(Transform { from: one(&from), to: one(&to) })
    }

    /// Offers to the same client of the same agent that are open or taken.
    fn on_the_way(&self, piece: &Piece) -> usize {
        let same =
            |p: &&Piece| p.client == piece.client && p.agent == piece.agent && p.account != Account::Used;
        self.model.pieces.iter().filter(same).count()
    }

    /// One more fact; `None` when there is nothing it could be about.
    pub fn change(&mut self) -> (&'static str, Option<Change>) {
        match self.dice.below(40) {
            0..5 => {
                let id = AgentId::new(&format!("a{}", self.dice.below(5))).unwrap();
                let known = self.model.agents.get(&id).map(|row| row.info.clone());
                let (info, total) = (known.unwrap_or_else(|| self.info(&id)), self.total());
                let active = self.dice.chance(5, 6);
                match self.model.agents.contains_key(&id) && self.dice.chance(1, 2) {
                    true => ("agent", Some(Change::AgentChanged { info, total })),
                    false => ("agent", Some(Change::AgentAdded { info, total, active })),
                }
            }
            5 => {
                let change = self.known_agent().map(|agent| {
                    let total = self.model.agents[&agent].total.clone();
                    Change::AgentChanged { info: self.info(&agent), total }
                });
                ("attributes", change)
            }
            6 => {
                let active = self.dice.chance(2, 3);
                ("activity", self.known_agent().map(|agent| Change::AgentActive { agent, active }))
            }
            7 => match self.dice.chance(1, 2) {
                true => ("agent gone", self.known_agent().map(|agent| Change::AgentRemoved { agent })),
                false => ("agent gone", None),
            },
            8..12 => {
                let (id, roles) = (self.framework(), self.roles());
                let suppressed = if self.dice.chance(1, 6) { roles.clone() } else { Vec::new() };
                ("framework", Some(Change::FrameworkAdded { id, roles, suppressed }))
            }
            12 => {
                let roles = self.roles();
                let suppressed = if self.dice.chance(1, 6) { roles.clone() } else { Vec::new() };
                ("roles", self.known_framework().map(|id| Change::FrameworkRoles { id, roles, suppressed }))
            }
            13 => {
                let active = self.dice.chance(2, 3);
                ("connection", self.known_framework().map(|id| Change::FrameworkActive { id, active }))
            }
            14 => match self.dice.chance(1, 3) {
                true => ("framework gone", self.known_framework().map(|id| Change::FrameworkRemoved { id })),
                false => ("framework gone", None),
            },
            15 => {
                let roles = if self.dice.chance(1, 2) { self.roles() } else { Vec::new() };
                ("suppress", self.known_framework().map(|framework| Change::Suppress { framework, roles }))
            }
            16 | 17 => {
                let roles = if self.dice.chance(1, 2) { self.roles() } else { Vec::new() };
                ("revive", self.known_framework().map(|framework| Change::Revive { framework, roles }))
            }
            18..22 => {
                let Some(framework) = self.known_framework() else { return ("demands", None) };
                let roles: Vec<Role> = self.model.frameworks[&framework].roles.keys().cloned().collect();
                let mut demands = Vec::new();
                for _ in 0..self.dice.below(4) {
                    let role = if self.dice.chance(1, 8) {
                        self.role()
                    } else {
                        self.dice.pick(&roles).cloned().unwrap()
                    };
                    demands.push(self.demand(role));
                }
                // Often what was said before, in other numbers.
                if self.dice.chance(1, 2) {
                    demands.clone_from(&self.model.frameworks[&framework].stated);
                    let count = self.dice.below(7);
                    demands.iter_mut().for_each(|demand| demand.count = count);
                }
                let demand_driven = self.dice.below(5) < self.demand_driven;
                ("demands", Some(Change::Demands { framework, demands, demand_driven }))
            }
            22 | 23 if self.quotas > 0 => {
                let guarantees = if self.dice.chance(1, 2) { self.scalars(12) } else { Quantities::ZERO };
                let mut limits = BTreeMap::new();
                if self.dice.chance(1, 2) {
                    let most = self.scalars(24);
                    let some = [Scalar::Cpus, Scalar::Mem].into_iter().filter(|_| self.dice.chance(2, 3));
                    limits = some.map(|s| (s.clone(), most.get(&s).max(guarantees.get(&s)))).collect();
                }
                (
                    "quota",
                    Some(Change::QuotaSet {
                        role: self.role(),
                        quota: Quota { guarantees, limits: Limits(limits) },
                    }),
                )
            }
            24 => {
                let weight = Weight::from_milli(*self.dice.pick(&[1000, 2000, 333, 1]).unwrap()).unwrap();
                ("weight", Some(Change::WeightSet { role: self.role(), weight }))
            }
            25 => {
                let (framework, role) = (self.framework(), self.role());
                let change = self.known_agent().map(|agent| {
                    let free = self.model.free(&agent);
                    let mut resources = self.part(&free);
                    if self.dice.chance(1, 8) {
                        resources.add(&Resources::unreserved(Amount::scalars(self.scalars(4))));
                    }
                    Change::Charged { framework, role, agent, resources }
                });
                (
                    "charged",
                    change.filter(
                        |change| !matches!(change, Change::Charged { resources, .. } if resources.is_empty()),
                    ),
                )
            }
            26..28 => {
                let change = self.piece(&[Account::Offered]).map(|p| Change::Taken {
                    framework: p.client.0,
                    role: p.client.1,
                    agent: p.agent,
                    resources: p.resources,
                    demand: p.demand,
                });
                ("taken", change)
            }
            28..32 => {
                let Some(p) = self.piece(&[Account::Taken, Account::Offered]) else {
                    return ("accepted", None);
                };
                // Without having been taken only where it is clear which offer it is.
                if p.account == Account::Offered && self.on_the_way(&p) > 1 {
                    return ("accepted", None);
                }
                let mut left = p.resources.clone();
                let mut transforms = Vec::new();
                for _ in 0..self.dice.below(3) {
                    if let Some(transform) = self.transform(&left, &p.client.1) {
                        assert!(left.try_sub(&transform.from));
                        left.add(&transform.to);
                        transforms.push(transform);
                    }
                }
                if self.model.is_over(&p.agent) {
                    (transforms, left) = (Vec::new(), p.resources.clone());
                }
                let mark = match (transforms.is_empty(), p.account) {
                    (false, _) => "reserved by accept",
                    (true, Account::Offered) => "accepted untaken",
                    (true, _) => "accepted",
                };
                let used = self.part(&left);
                let (framework, role) = p.client;
                let (offered, until) = (p.resources, self.until());
                let change =
                    Change::Accepted { framework, role, agent: p.agent, offered, transforms, used, until };
                (mark, Some(change))
            }
            32 | 33 => {
                let Some(p) = self.piece(&[Account::Used]) else { return ("ended", None) };
                let resources =
                    if self.dice.chance(1, 2) { p.resources.clone() } else { self.part(&p.resources) };
                let (framework, role) = p.client;
                let change = Change::Recovered {
                    framework,
                    role,
                    agent: p.agent,
                    resources,
                    from: Account::Used,
                    demand: None,
                };
                ("ended", Some(change))
            }
            34 => {
                let change = self.piece(&[Account::Offered, Account::Taken]).map(|p| Change::Recovered {
                    framework: p.client.0,
                    role: p.client.1,
                    agent: p.agent,
                    resources: p.resources,
                    from: p.account,
                    demand: p.demand,
                });
                ("rescinded", change)
            }
            35..39 => {
                let until = self.until();
                let change = self.piece(&[Account::Offered]).map(|p| Change::Declined {
                    framework: p.client.0,
                    role: p.client.1,
                    agent: p.agent,
                    resources: p.resources,
                    demand: p.demand,
                    until,
                });
                ("declined", change)
            }
            _ => {
                let Some(agent) = self.known_agent() else { return ("reserved by operator", None) };
                let (free, role) = (self.model.free(&agent), self.role());
                let transform = self.transform(&free, &role).filter(|_| !self.model.is_over(&agent));
                ("reserved by operator", transform.map(|transform| Change::Transformed { agent, transform }))
            }
        }
    }
}
