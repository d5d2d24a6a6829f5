//! The tries: for each verdict, the changes that might help, smallest first.

use std::time::Duration;

use proto::demand::Demand;
use proto::explain::Verdict;
use proto::id::FrameworkId;
use proto::quantities::Scalar;
use proto::quota::Quota;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;

use super::ask::{Ask, Lift};
use super::help::Try;
use crate::Allocator;
use crate::agents::Holding;
use crate::change::{Account, Change, Transform};

/// Agents that are looked at for one kind of change.
const AGENTS_MAX: usize = 2;

/// Endings of tasks that are tried.
const ENDS_MAX: usize = 2;

/// For how long somebody is assumed to decline.
const DECLINE: Duration = Duration::from_secs(60);

impl Allocator {
    pub(super) fn try_filters(&self, ask: &Ask<'_>, framework: &FrameworkId, tries: &mut Vec<Try>) {
        let roles = vec![ask.role.clone()];
        tries.push(Try {
            changes: vec![Change::Revive { framework: framework.clone(), roles }],
            at: ask.now,
            words: format!("when the framework revives role {}, which ends its filters", ask.role),
        });
        let fitting = self.fitting(ask, Lift { filters: true, ..Lift::NOTHING });
        let ends =
            fitting.filter_map(|agent| self.filters.declined(ask.client, agent).map(|(_, until)| until));
        if let Some(until) = ends.min() {
            let seconds = until.since(ask.now).as_secs() + 1;
            let words = format!("in {seconds} s, when its filter has ended");
            tries.push(Try { changes: Vec::new(), at: until, words });
        }
    }

    pub(super) fn try_constraints(&self, ask: &Ask<'_>, framework: &FrameworkId, tries: &mut Vec<Try>) {
        let Some(demand) = ask.demand else { return };
        for (at, constraint) in demand.constraints.0.iter().enumerate() {
            // Only where it alone is in some agent's way: to try is dear.
            let alone = |agent: &u32| ask.refusals(self, *agent).eq([constraint]);
            if !ask.active.iter().any(alone) {
                continue;
            }
            let mut other = demand.clone();
            let left_out = other.constraints.0.remove(at);
            let words = format!("without the constraint {left_out}");
            tries.push(Try { changes: vec![self.restated(ask, framework, other)], at: ask.now, words });
        }
    }

    /// The framework's demands with one of them changed.
    fn restated(&self, ask: &Ask<'_>, framework: &FrameworkId, changed: Demand) -> Change {
        let owner = self.clients.clients[ask.client].framework;
        let mut demands = self.clients.frameworks[owner].demands.clone();
        if let Some(stated) =
            demands.iter_mut().find(|stated| stated.id == changed.id && stated.role == changed.role)
        {
            // What was taken since it was stated stays taken.
            let count = ask.want(self).map_or(changed.count, |want| want.count);
            *stated = Demand { count, ..changed };
        }
        Change::Demands { framework: framework.clone(), demands, demand_driven: true }
    }

    /// All limits on the path that are in the way are raised together: none of them alone would do.
    pub(super) fn try_limits(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        let least = ask.least(self);
        let (mut changes, mut names) = (Vec::new(), Vec::new());
        for node in self.roles.path(ask.node) {
            let row = &self.roles.nodes[node];
            let Some(role) = &row.role else { continue };
            let (mut limits, mut raised) = (row.limits.clone(), Vec::new());
            for (scalar, limit) in &mut limits.0 {
                let needed = row.consumed.get(scalar).saturating_add(least.get(scalar));
                if needed > *limit {
                    *limit = needed;
                    raised.push(format!("{scalar}:{}", scalar.show(needed)));
                }
            }
            if !raised.is_empty() {
                let quota = Quota { guarantees: row.guarantee.clone(), limits };
                changes.push(Change::QuotaSet { role: role.clone(), quota });
                names.push(format!("{} for role {role}", raised.join(" ")));
            }
        }
        if !changes.is_empty() {
            let words = format!("with a limit of {}", names.join(" and "));
            tries.push(Try { changes, at: ask.now, words });
        }
    }

    pub(super) fn try_guarantees(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        for (role, node) in &self.roles.by_role {
            let row = &self.roles.nodes[*node];
            if row.missing.is_zero() || row.guarantee.is_zero() {
                continue;
            }
            let quota = Quota { limits: row.limits.clone(), ..Quota::default() };
            let changes = vec![Change::QuotaSet { role: role.clone(), quota }];
            let words = format!("without the guarantee of role {role}, of which {} are missing", row.missing);
            tries.push(Try { changes, at: ask.now, words });
        }
    }

    pub(super) fn try_reservations(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        for agent in self.fitting(ask, Lift { reservations: true, ..Lift::NOTHING }).take(AGENTS_MAX) {
            let row = &self.agents.rows[agent];
            let Some(id) = &row.id else { continue };
            let (mut changes, mut roles) = (Vec::new(), Vec::new());
            for portion in row.free.portions().iter().filter(|portion| portion.volume.is_none()) {
                let kept = portion.reservation.as_ref().filter(|kept| !ask.role.is_within(kept));
                let Some(kept) = kept else { continue };
                let (mut from, mut to) = (Resources::EMPTY, Resources::EMPTY);
                from.add_portion(portion);
                to.add_portion(&Portion { reservation: None, ..portion.clone() });
                changes.push(Change::Transformed { agent: id.clone(), transform: Transform { from, to } });
                roles.push(kept.as_str());
            }
            let host = self.hostname(agent);
            let words =
                format!("when what is free on {host} is reserved no more for role {}", roles.join(" and "));
            tries.push(Try { changes, at: ask.now, words });
        }
    }

    pub(super) fn try_own_offers(&self, ask: &Ask<'_>, framework: &FrameworkId, tries: &mut Vec<Try>) {
        let owner = self.clients.clients[ask.client].framework;
        let mut changes = Vec::new();
        for (agent, row) in self.agents.rows.iter() {
            for (node, client) in &self.clients.frameworks[owner].clients {
                let holding = row.holding(*client);
                if let (Some(holding), Some(role)) = (holding, &self.roles.nodes[*node].role) {
                    changes.extend(self.declines(ask, agent, framework, role, holding));
                }
            }
        }
        tries.push(Try { changes, at: ask.now, words: "when it declines the offers it holds".to_owned() });
    }

    pub(super) fn try_offers(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        for agent in self.fitting(ask, Lift { offers: true, ..Lift::NOTHING }).take(AGENTS_MAX) {
            for holding in self.agents.rows[agent].holdings.iter().filter(|h| !h.offered.is_empty()) {
                let other = &self.clients.clients[holding.client];
                let (Some(id), Some(role)) = (&other.id, &self.roles.nodes[other.node].role) else {
                    continue;
                };
                let changes = self.declines(ask, agent, id, role, holding);
                let host = self.hostname(agent);
                let words = match holding.client == ask.client {
                    true => format!("when it declines its other offers of {host}"),
                    false => format!("when {} declines its offers of {host}", (ask.names)(id)),
                };
                tries.push(Try { changes, at: ask.now, words });
            }
        }
    }

    /// Every open offer of a holding is declined.
    fn declines(
        &self,
        ask: &Ask<'_>,
        agent: u32,
        framework: &FrameworkId,
        role: &Role,
        holding: &Holding,
    ) -> Vec<Change> {
        let Some(id) = self.agents.rows[agent].id.clone() else { return Vec::new() };
        let mut plain = holding.offered.clone();
        let decline = |resources: Resources, demand| Change::Declined {
            framework: framework.clone(),
            role: role.clone(),
            agent: id.clone(),
            resources,
            demand,
            until: ask.now + DECLINE,
        };
        let mut all = Vec::new();
        for grant in &holding.grants {
            plain = plain.saturating_sub(&grant.resources);
            all.push(decline(grant.resources.clone(), Some(grant.demand.clone())));
        }
        if !plain.is_empty() {
            all.push(decline(plain, None));
        }
        all
    }

    /// Somebody's tasks on a near agent end: the smallest holdings first.
    pub(super) fn try_ends(&self, ask: &Ask<'_>, near: &[u32], tries: &mut Vec<Try>) {
        let mut ends: Vec<(u64, u32, u32)> = Vec::new();
        for agent in near {
            for holding in self.agents.rows[*agent].holdings.iter().filter(|h| !h.used.is_empty()) {
                let mut freed = self.agents.rows[*agent].free.clone();
                freed.add(&holding.used);
                if !self.missing(ask, &self.usable(ask, &freed)).is_empty() {
                    continue;
                }
                let size = self.scale.share(&holding.used.quantities(), 1000).rank;
                ends.push((size, *agent, holding.client));
            }
        }
        ends.sort_unstable();
        for (_, agent, client) in ends.into_iter().take(ENDS_MAX) {
            let other = &self.clients.clients[client];
            let row = &self.agents.rows[agent];
            let (Some(id), Some(role)) = (&other.id, &self.roles.nodes[other.node].role) else { continue };
            let (Some(holding), Some(agent_id)) = (row.holding(client), &row.id) else { continue };
            let change = Change::Recovered {
                framework: id.clone(),
                role: role.clone(),
                agent: agent_id.clone(),
                resources: holding.used.clone(),
                from: Account::Used,
                demand: None,
            };
            let whose = match client == ask.client {
                true => "its own tasks".to_owned(),
                false => format!("the tasks of {}", (ask.names)(id)),
            };
            let words =
                format!("when {whose} on {} end ({})", self.hostname(agent), holding.used.quantities());
            tries.push(Try { changes: vec![change], at: ask.now, words });
        }
    }

    /// The same with less of what the nearest agents lack.
    pub(super) fn try_smaller(
        &self,
        ask: &Ask<'_>,
        framework: &FrameworkId,
        near: &[u32],
        verdict: Verdict,
        tries: &mut Vec<Try>,
    ) {
        let Some(demand) = ask.demand else { return };
        if !matches!(verdict, Verdict::NoRoom | Verdict::TooLarge | Verdict::Offered | Verdict::FairShare) {
            return;
        }
        for agent in near {
            let free = self.usable(ask, &self.agents.rows[*agent].free);
            let mut shape: Amount = demand.shape.clone();
            let mut told = Vec::new();
            for (scalar, wanted) in demand.shape.scalars.iter() {
                let have = free.scalars.get(&scalar);
                if have < wanted && have > 0 {
                    shape.scalars.set(&scalar, have);
                    told.push(less(&scalar, have, wanted));
                }
            }
            let words = format!("with {}", told.join(" and "));
            if !told.is_empty() && tries.iter().all(|other| other.words != words) {
                let change = self.restated(ask, framework, Demand { shape, ..demand.clone() });
                tries.push(Try { changes: vec![change], at: ask.now, words });
            }
        }
    }
}

fn less(scalar: &Scalar, have: u64, wanted: u64) -> String {
    format!("{scalar}:{} instead of {scalar}:{}", scalar.show(have), scalar.show(wanted))
}
