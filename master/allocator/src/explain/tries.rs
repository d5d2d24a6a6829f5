//! The tries: for each verdict, the changes that might help, smallest first.

mod pool;

use proto::demand::Demand;
use proto::explain::{NearMiss, RemedyKind, RemedyStep, Verdict};
use proto::id::{AgentId, FrameworkId};
use proto::quantities::{Quantities, Scalar, show_milli};
use proto::quota::{Limits, Quota};
use proto::resources::Amount;
use proto::role::{Role, Weight};
use proto_machine::Instant;

use super::Pictures;
use super::ask::{Ask, Lift};
use super::verdict::{About, Said};
use crate::Allocator;
use crate::change::Change;
use crate::share::Scale;

/// Something that could be done.
pub(super) struct Try {
    pub steps: Vec<RemedyStep>,
    pub changes: Vec<Change>,
    pub at: Instant,
    /// Done before what is due was given to others: it changes who comes first.
    pub on_before: bool,
}

// === impl Try ===

impl Try {
    pub fn new(at: Instant, step: RemedyStep, changes: Vec<Change>) -> Try {
        Try { steps: vec![step], changes, at, on_before: false }
    }
}

/// A step of a kind, in words.
pub(super) fn step(kind: RemedyKind, change: impl Into<String>) -> RemedyStep {
    RemedyStep { kind: kind.code().to_owned(), change: change.into(), ..RemedyStep::default() }
}

impl Pictures<'_> {
    /// What might help against a verdict: first what answers it, then what makes room, then what asks for less.
    pub(super) fn tries(&self, ask: &Ask<'_>, said: &Said, nearest: &[NearMiss]) -> Vec<Try> {
        let picture = self.settled;
        let who = &picture.clients.clients[ask.client];
        let Some(framework) = who.id.clone() else { return Vec::new() };
        let near: Vec<u32> = nearest.iter().filter_map(|miss| picture.agents.find(&miss.agent)).collect();
        let mut tries = Vec::new();
        let of_framework = |kind, words: String| RemedyStep {
            framework: Some(framework.clone()),
            role: Some(ask.role.clone()),
            ..step(kind, words)
        };
        match said.verdict {
            Verdict::Disconnected => tries.push(Try::new(
                ask.now,
                of_framework(RemedyKind::Connect, "when the framework connects".to_owned()),
                vec![Change::FrameworkActive { id: framework.clone(), active: true }],
            )),
            Verdict::Suppressed => tries.push(Try::new(
                ask.now,
                of_framework(RemedyKind::Revive, format!("when the framework revives role {}", ask.role)),
                vec![Change::Revive { framework: framework.clone(), roles: vec![ask.role.clone()] }],
            )),
            Verdict::Filtered => picture.try_filters(ask, &framework, &mut tries),
            Verdict::Constraints => picture.try_constraints(ask, &framework, &mut tries),
            Verdict::QuotaLimit => picture.try_limits(ask, &mut tries),
            Verdict::QuotaHeadroom => picture.try_guarantees(ask, &mut tries),
            Verdict::Reserved => picture.try_reservations(ask, &mut tries),
            Verdict::HoldsTooMuch => picture.try_own_offers(ask, &framework, &mut tries),
            Verdict::Offered => picture.try_offers(ask, &mut tries),
            Verdict::FairShare => {
                self.try_weight(ask, said, &mut tries);
                picture.try_offers(ask, &mut tries);
            }
            Verdict::NoAgents
            | Verdict::NoRoom
            | Verdict::TooLarge
            | Verdict::AgentDraining
            | Verdict::AgentDisconnected
            | Verdict::AgentUnreachable => {}
            // Nothing of it waits for agents.
            _ => return Vec::new(),
        }
        picture.try_away(ask, &mut tries);
        if matches!(said.verdict, Verdict::NoRoom | Verdict::Offered | Verdict::FairShare | Verdict::Reserved)
        {
            picture.try_ends(ask, &near, &mut tries);
        }
        picture.try_smaller(ask, &framework, &near, said.verdict, &mut tries);
        picture.try_one_more(ask, said.verdict, &mut tries);
        tries
    }

    /// A weight with which the role would have come before the one that was given what it wants.
    fn try_weight(&self, ask: &Ask<'_>, said: &Said, tries: &mut Vec<Try>) {
        let About::Framework(other) = &said.about else { return };
        let Some(grant) = self.grants.iter().find(|grant| grant.framework == *other) else { return };
        let roles = &self.before.roles;
        let Some(theirs) = roles.find(&grant.role) else { return };
        let from_root = |node: u32| {
            let mut path: Vec<u32> = roles.path(node).collect();
            path.reverse();
            path
        };
        // Where the two paths part, weights decide; within one role they do not.
        let parted = from_root(ask.node).into_iter().zip(from_root(theirs)).find(|(a, b)| a != b);
        let Some((own, theirs)) = parted else { return };
        let scale = Scale::new(&self.before.totals);
        let share = |node: u32| u128::from(scale.share(&roles.nodes[node].held, 1000).millionths());
        let (mine, others) = (share(own), share(theirs));
        if others == 0 {
            return;
        }
        let needed = mine * u128::from(roles.nodes[theirs].weight()) / others + 1;
        // In tenths, as people would say it.
        let needed = u32::try_from(needed.div_ceil(100) * 100).ok().and_then(Weight::from_milli);
        let (Some(weight), Some(role)) = (needed, &roles.nodes[own].role) else { return };
        let shown = show_milli(u64::from(weight.milli()));
        let said = RemedyStep {
            command: format!("stoa weight set {role} {shown}"),
            role: Some(role.clone()),
            weight_milli: weight.milli(),
            ..step(RemedyKind::Weight, format!("with a weight of {shown} for role {role}"))
        };
        let changes = vec![Change::WeightSet { role: role.clone(), weight }];
        tries.push(Try { on_before: true, ..Try::new(ask.now, said, changes) });
    }
}

impl Allocator {
    fn try_filters(&self, ask: &Ask<'_>, framework: &FrameworkId, tries: &mut Vec<Try>) {
        let roles = vec![ask.role.clone()];
        let words = format!("when the framework revives role {}, which ends its filters", ask.role);
        let said = RemedyStep {
            framework: Some(framework.clone()),
            role: Some(ask.role.clone()),
            ..step(RemedyKind::Revive, words)
        };
        tries.push(Try::new(ask.now, said, vec![Change::Revive { framework: framework.clone(), roles }]));
        let fitting = self.fitting(ask, Lift { filters: true, ..Lift::NOTHING });
        let ends = fitting
            .filter_map(|agent| self.filters.declined(ask.client, agent).map(|(_, until)| until).max());
        if let Some(until) = ends.min() {
            let seconds = until.since(ask.now).as_secs() + 1;
            let words = format!("in {seconds} s, when its filter has ended");
            tries.push(Try::new(until, step(RemedyKind::Wait, words), Vec::new()));
        }
    }

    fn try_constraints(&self, ask: &Ask<'_>, framework: &FrameworkId, tries: &mut Vec<Try>) {
        let Some(demand) = ask.demand else { return };
        for (at, constraint) in demand.constraints.0.iter().enumerate() {
            // Only where it alone is in some agent's way: to try is dear.
            let alone = |agent: &u32| ask.refusals(self, *agent).eq([constraint]);
            if !ask.agents.active.iter().any(alone) {
                continue;
            }
            let mut other = demand.clone();
            let left_out = other.constraints.0.remove(at);
            let said = RemedyStep {
                framework: Some(framework.clone()),
                role: Some(ask.role.clone()),
                ..step(RemedyKind::Constraint, format!("without the constraint {left_out}"))
            };
            tries.push(Try::new(ask.now, said, vec![self.restated(ask, framework, other)]));
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
    fn try_limits(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        let least = ask.least(self);
        let (mut changes, mut steps) = (Vec::new(), Vec::new());
        for node in self.roles.path(ask.node) {
            let row = &self.roles.nodes[node];
            let Some(role) = &row.role else { continue };
            let (mut limits, mut raised) = (row.limits.clone(), Quantities::ZERO);
            for (scalar, limit) in &mut limits.0 {
                let needed = row.consumed.get(scalar).saturating_add(least.get(scalar));
                if needed > *limit {
                    *limit = needed;
                    raised.set(scalar, needed);
                }
            }
            if !raised.is_zero() {
                let quota = Quota { guarantees: row.guarantee.clone(), limits };
                steps.push(RemedyStep {
                    command: quota_command(role, &quota),
                    role: Some(role.clone()),
                    amount: Amount::scalars(raised.clone()),
                    ..step(RemedyKind::Limit, format!("with a limit of {raised} for role {role}"))
                });
                changes.push(Change::QuotaSet { role: role.clone(), quota });
            }
        }
        if !changes.is_empty() {
            tries.push(Try { steps, changes, at: ask.now, on_before: false });
        }
    }

    fn try_guarantees(&self, ask: &Ask<'_>, tries: &mut Vec<Try>) {
        for (role, node) in &self.roles.by_role {
            let row = &self.roles.nodes[*node];
            if !row.missing.is_zero() && !row.guarantee.is_zero() {
                tries.push(self.without_guarantee(ask.now, role, *node));
            }
        }
    }

    pub(super) fn without_guarantee(&self, at: Instant, role: &Role, node: u32) -> Try {
        let row = &self.roles.nodes[node];
        let quota = Quota { limits: row.limits.clone(), ..Quota::default() };
        let words = format!("without the guarantee of role {role}, of which {} are missing", row.missing);
        let said = RemedyStep {
            command: quota_command(role, &quota),
            role: Some(role.clone()),
            ..step(RemedyKind::Guarantee, words)
        };
        Try::new(at, said, vec![Change::QuotaSet { role: role.clone(), quota }])
    }

    /// The same with less of what the nearest agents lack.
    fn try_smaller(
        &self,
        ask: &Ask<'_>,
        framework: &FrameworkId,
        near: &[u32],
        verdict: Verdict,
        tries: &mut Vec<Try>,
    ) {
        let Some(demand) = ask.demand else { return };
        if !matches!(
            verdict,
            Verdict::NoRoom | Verdict::TooLarge | Verdict::Offered | Verdict::FairShare | Verdict::Reserved
        ) {
            return;
        }
        let mut tried: Vec<Amount> = Vec::new();
        for agent in near.iter().filter(|agent| self.agents.rows[**agent].active) {
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
            if told.is_empty() || tried.contains(&shape) {
                continue;
            }
            tried.push(shape.clone());
            let said = RemedyStep {
                framework: Some(framework.clone()),
                role: Some(ask.role.clone()),
                amount: shape.clone(),
                ..step(RemedyKind::Smaller, format!("with {}", told.join(" and ")))
            };
            let change = self.restated(ask, framework, Demand { shape, ..demand.clone() });
            tries.push(Try::new(ask.now, said, vec![change]));
        }
    }
}

fn less(scalar: &Scalar, have: u64, wanted: u64) -> String {
    format!("{scalar}:{} instead of {scalar}:{}", scalar.show(have), scalar.show(wanted))
}

/// The command that sets a quota.
pub(super) fn quota_command(role: &Role, quota: &Quota) -> String {
    let Quota { guarantees, limits: Limits(limits) } = quota;
    let flag = |name: &str, amounts: Vec<String>| match amounts.is_empty() {
        true => String::new(),
        false => format!(" --{name} {}", amounts.join(",")),
    };
    let guarantee = flag("guarantee", guarantees.iter().map(|(scalar, n)| typed(&scalar, n)).collect());
    let limit = flag("limit", limits.iter().map(|(scalar, n)| typed(scalar, *n)).collect());
    match guarantee.is_empty() && limit.is_empty() {
        true => format!("stoa quota clear {role}"),
        false => format!("stoa quota set {role}{guarantee}{limit}"),
    }
}

/// The command that gives back what is reserved; empty where it has no words for all of it.
fn unreserve_command(agent: &AgentId, role: &Role, amount: &Amount) -> String {
    let only_ports = amount.ranges().iter().all(|(name, _)| &**name == "ports");
    if !amount.scalars.custom().is_empty() || !amount.sets().is_empty() || !only_ports {
        return String::new();
    }
    let mut command = format!("stoa unreserve {agent} --role {role}");
    for (scalar, n) in amount.scalars.iter() {
        command.push_str(&format!(" --{}", typed(&scalar, n).replace('=', " ")));
    }
    let ports: Vec<String> = amount
        .range("ports")
        .pairs()
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    if !ports.is_empty() {
        command.push_str(&format!(" --ports {}", ports.join(",")));
    }
    command
}

/// An amount as it is typed: nothing is rounded.
fn typed(scalar: &Scalar, amount: u64) -> String {
    match scalar {
        Scalar::Cpus | Scalar::Custom(_) => format!("{scalar}={}", show_milli(amount)),
        Scalar::Mem | Scalar::Disk => {
            let units = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
            match units.iter().find(|(_, size)| amount > 0 && amount.is_multiple_of(*size)) {
                Some((unit, size)) => format!("{scalar}={}{unit}", amount / size),
                None => format!("{scalar}={amount}"),
            }
        }
        Scalar::Gpus => format!("{scalar}={amount}"),
    }
}
