//! Pictures for people and for the master: who holds what, and which offers are no longer wanted.

use proto::id::{AgentId, DemandId, FrameworkId};
use proto::quantities::Quantities;
use proto::resources::Resources;
use proto::role::Role;

use crate::Allocator;
use crate::clients::Client;

/// One agent: always `total = used + offered + free`, unless more is held than there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPicture {
    /// All it has.
    pub total: Resources,
    /// In use by tasks.
    pub used: Resources,
    /// Offered, or accepted and on its way through the log.
    pub offered: Resources,
    /// The rest.
    pub free: Resources,
}

/// One framework in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPicture {
    /// Which framework.
    pub framework: FrameworkId,
    /// Which role.
    pub role: Role,
    /// In use by its tasks.
    pub used: Quantities,
    /// Offered to it, or accepted and on its way through the log.
    pub offered: Quantities,
    /// The largest part of the pool it holds of any scalar, in millionths.
    pub share_millionths: u64,
    /// It may be offered something: connected, not suppressed, and wants something.
    pub wants: bool,
}

/// One role with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolePicture {
    /// Which.
    pub role: Role,
    /// Used and offered.
    pub held: Quantities,
    /// What counts against its quota: reserved for it, held or not, and held of anything else.
    pub consumed: Quantities,
    /// The largest part of the pool it holds of any scalar, in millionths, weight not regarded.
    pub share_millionths: u64,
    /// How much of its guarantee, and of those below, is not fulfilled.
    pub missing: Quantities,
}

/// An open offer that is no longer wanted after a change of demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surplus {
    /// Of which agent.
    pub agent: AgentId,
    /// To which role.
    pub role: Role,
    /// The offer; without a demand: all open plain offers of that agent to that role together.
    pub resources: Resources,
    /// The demand it was made for.
    pub demand: Option<DemandId>,
}

impl Allocator {
    /// One agent.
    pub fn agent(&self, id: &AgentId) -> Option<AgentPicture> {
        let row = &self.agents.rows[self.agents.find(id)?];
        let (mut used, mut offered) = (Resources::EMPTY, Resources::EMPTY);
        for holding in &row.holdings {
            used.add(&holding.used);
            offered.add(&holding.offered);
            offered.add(&holding.taken);
        }
        Some(AgentPicture { total: row.total.clone(), used, offered, free: row.free.clone() })
    }

    /// Every framework in every role, by framework, then role.
    pub fn clients(&self) -> Vec<ClientPicture> {
        let mut all: Vec<ClientPicture> =
            self.clients.clients.iter().filter_map(|(_, row)| self.picture(row)).collect();
        all.sort_by(|a, b| (&a.framework, &a.role).cmp(&(&b.framework, &b.role)));
        all
    }

    /// One framework in all its roles.
    pub fn framework(&self, id: &FrameworkId) -> Vec<ClientPicture> {
        let Some(framework) = self.clients.find(id) else { return Vec::new() };
        let own = self.clients.frameworks[framework].clients.iter();
        let mut all: Vec<ClientPicture> =
            own.filter_map(|(_, client)| self.picture(&self.clients.clients[*client])).collect();
        all.sort_by(|a, b| a.role.cmp(&b.role));
        all
    }

    fn picture(&self, row: &Client) -> Option<ClientPicture> {
        let mut offered = row.offered.clone();
        offered.add(&row.taken);
        Some(ClientPicture {
            framework: row.id.clone()?,
            role: self.roles.nodes[row.node].role.clone()?,
            used: row.held.saturating_sub(&offered),
            offered,
            share_millionths: self.share_of(&row.held),
            wants: row.eligible,
        })
    }

    fn share_of(&self, held: &Quantities) -> u64 {
        crate::share::Scale::new(&self.totals).share(held, 1000).millionths()
    }

    /// By how much what counts against a role's limits passes them.
    pub fn beyond_limit(&self, role: &Role) -> Quantities {
        let mut beyond = Quantities::ZERO;
        if let Some(row) = self.roles.find(role).map(|node| &self.roles.nodes[node]) {
            for (scalar, limit) in &row.limits.0 {
                beyond.set(scalar, row.consumed.get(scalar).saturating_sub(*limit));
            }
        }
        beyond
    }

    /// Every role that anything names, by path.
    pub fn roles(&self) -> Vec<RolePicture> {
        let rows = self.roles.by_role.iter().map(|(role, node)| (role, &self.roles.nodes[*node]));
        rows.map(|(role, row)| RolePicture {
            role: role.clone(),
            held: row.held.clone(),
            consumed: row.consumed.clone(),
            share_millionths: self.share_of(&row.held),
            missing: row.missing.clone(),
        })
        .collect()
    }

    /// All that all agents have.
    pub fn totals(&self) -> &Quantities {
        &self.totals
    }

    /// Whether a framework has left more unanswered than it may while another wants something.
    pub fn holds_too_much(&self, id: &FrameworkId) -> bool {
        self.clients.find(id).is_some_and(|framework| !self.may_hold(framework))
    }

    /// Open offers of a framework that its demands no longer ask for: for demands that are gone or have another shape
    /// or constraints, more than is wanted (the smallest first), or plain ones of a framework that has demands now. The
    /// master rescinds them and says so with [`Change::Recovered`](crate::Change::Recovered).
    pub fn surplus(&self, id: &FrameworkId) -> Vec<Surplus> {
        let Some(framework) = self.clients.find(id) else { return Vec::new() };
        let row = &self.clients.frameworks[framework];
        let mut all = Vec::new();
        for (node, client) in &row.clients {
            let (client, who) = (*client, &self.clients.clients[*client]);
            let Some(role) = &self.roles.nodes[*node].role else { continue };
            let mut excess: Vec<u64> =
                who.wants.iter().map(|want| want.open.saturating_sub(want.count)).collect();
            let mut open: Vec<(u64, u32, &crate::agents::OpenGrant)> = Vec::new();
            let mut plain = who.offered.clone();
            for agent in who.open_on.keys() {
                let grants = self.agents.rows[*agent].holding(client).map_or(&[][..], |h| &h.grants);
                open.extend(grants.iter().map(|grant| (grant.units, *agent, grant)));
            }
            open.iter().for_each(|(_, _, grant)| plain.sub(&grant.resources.quantities()));
            open.sort_by_key(|(units, agent, grant)| (*units, *agent, grant.serial));
            for (units, agent, grant) in open {
                let at = who.by_demand.get(&grant.demand).map(|at| *at as usize);
                let wanted = match at.filter(|at| who.wants[*at].serial == grant.serial) {
                    Some(at) => {
                        let goes = excess[at] > 0;
                        excess[at] = excess[at].saturating_sub(units);
                        !goes
                    }
                    None => false,
                };
                let agent = self.agents.rows[agent].id.clone();
                if let Some(agent) = agent.filter(|_| !wanted) {
                    let (resources, demand) = (grant.resources.clone(), Some(grant.demand.clone()));
                    all.push(Surplus { agent, role: role.clone(), resources, demand });
                }
            }
            if row.demand_driven && !plain.is_zero() {
                self.plain_surplus(client, role, &mut all);
            }
        }
        all
    }

    /// A framework turned to demands while it held plain offers: the one case in which every agent is looked at.
    fn plain_surplus(&self, client: u32, role: &Role, all: &mut Vec<Surplus>) {
        for (_, row) in self.agents.rows.iter() {
            let (Some(holding), Some(agent)) = (row.holding(client), &row.id) else { continue };
            let mut resources = holding.offered.clone();
            for grant in &holding.grants {
                resources = resources.saturating_sub(&grant.resources);
            }
            if !resources.is_empty() {
                all.push(Surplus { agent: agent.clone(), role: role.clone(), resources, demand: None });
            }
        }
    }
}
