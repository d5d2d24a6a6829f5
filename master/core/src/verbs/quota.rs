//! Quotas and weights of roles: whether a quota can be kept, and what becomes of open offers when it is set.

use std::collections::BTreeMap;

use master_allocator::Change;
use master_registry::Registry;
use proto::id::OfferId;
use proto::operator::EventKind as Changed;
use proto::quantities::Quantities;
use proto::quota::{Limits, Quota};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::scheduler::RescindReason;

use crate::desk::Desk;
use crate::views;

/// Whether a quota can be kept beside the others: nobody is promised more than a limit above allows to have.
pub(crate) fn check(registry: &Registry, role: &Role, quota: &Quota) -> Result<(), Refusal> {
    let mut all: BTreeMap<Role, Quota> =
        registry.roles().map(|record| (record.role.clone(), record.quota.clone())).collect();
    all.insert(role.clone(), quota.clone());
    let needs = needs(&all);
    let mut next = Some(role.clone());
    while let Some(at) = next {
        let limits = all.get(&at).map(|quota| &quota.limits).unwrap_or(&Limits(BTreeMap::new())).clone();
        let need = needs.get(&at).cloned().unwrap_or_default();
        for (scalar, limit) in &limits.0 {
            let (name, needed) = (scalar.name().to_owned(), need.get(scalar));
            if needed <= *limit {
                continue;
            }
            let (needed, limit) = (scalar.show(needed), scalar.show(*limit));
            let own = at == *role && quota.guarantees.get(scalar) > quota.limits.0[scalar];
            let (message, help) = if own {
                let message =
                    format!("guarantees of {name} are {needed}, more than the limit {limit} of {role}");
                (message, "lower guarantees or raise limits".to_owned())
            } else {
                let message = format!(
                    "guarantees of {name} of the roles within {at} come to {needed}, its limit is {limit}"
                );
                (message, format!("lower guarantees within {at}, or raise its limit first"))
            };
            return Err(Refusal::new(Code::Invalid, message).with_help(help));
        }
        next = at.parent();
    }
    Ok(())
}

/// What each role must be able to have so that its own guarantee and all those below it can be kept.
fn needs(all: &BTreeMap<Role, Quota>) -> BTreeMap<Role, Quantities> {
    let mut paths: BTreeMap<Role, Quantities> = BTreeMap::new();
    for (role, quota) in all {
        paths.entry(role.clone()).or_default().clone_from(&quota.guarantees);
        let mut above = role.parent();
        while let Some(role) = above {
            above = role.parent();
            paths.entry(role).or_default();
        }
    }
    // Children sort behind their parents: from the end, each is complete before it is added to its parent.
    let roles: Vec<Role> = paths.keys().rev().cloned().collect();
    let mut below: BTreeMap<Role, Quantities> = BTreeMap::new();
    for role in roles {
        let children = below.remove(&role).unwrap_or_default();
        let Some(need) = paths.get_mut(&role) else { continue };
        for (scalar, amount) in children.iter() {
            need.set(&scalar, amount.max(need.get(&scalar)));
        }
        if let Some(parent) = role.parent() {
            below.entry(parent).or_default().add(need);
        }
    }
    paths
}

/// The second half of what concerns roles.
pub(crate) fn role_set(d: &mut Desk<'_>, role: &Role) {
    d.change(Change::QuotaSet { role: role.clone(), quota: d.registry.quota(role) });
    d.change(Change::WeightSet { role: role.clone(), weight: d.registry.weight(role) });
    rescind_beyond(d, role);
    let view = views::role(d.registry, role);
    d.changed(Changed::RoleChanged(view));
}

/// Takes back offers within a role, the youngest first, until what is left could be accepted without passing its limit.
/// What tasks use beyond it stays: nobody's task is killed for a quota.
pub(crate) fn rescind_beyond(d: &mut Desk<'_>, role: &Role) {
    if d.registry.quota(role).limits.is_unbounded() {
        return;
    }
    let within: Vec<OfferId> =
        d.l.offers.all().filter(|offer| offer.role.is_within(role)).map(|offer| offer.id).collect();
    for id in within.into_iter().rev() {
        let beyond = d.l.allocator.beyond_limit(role);
        if beyond.is_zero() {
            return;
        }
        // Resources reserved within the role count whether they are offered or not.
        let helps = d.l.offers.get(id).is_some_and(|offer| {
            offer.resources.portions().iter().any(|portion| {
                portion.reservation.as_ref().is_none_or(|kept| !kept.is_within(role))
                    && !portion.amount.scalars.min(&beyond).is_zero()
            })
        });
        if helps {
            d.rescind(id, RescindReason::Operator);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::log::{Entry, QuotaSet};
    use proto::quantities::Scalar;

    fn role(path: &str) -> Role {
        Role::new(path).unwrap()
    }

    fn quota(guaranteed: u64, limit: Option<u64>) -> Quota {
        let limits = Limits(limit.map(|limit| (Scalar::Cpus, limit)).into_iter().collect());
        Quota { guarantees: Quantities::of(guaranteed, 0), limits }
    }

    fn registry(quotas: &[(&str, Quota)]) -> Registry {
        let mut registry = Registry::default();
        for (index, (path, quota)) in (1..).zip(quotas) {
            let entry = Entry::QuotaSet(QuotaSet { role: role(path), quota: quota.clone() });
            registry.apply(index, 0, &mut 0, entry);
        }
        registry
    }

    #[test]
    fn a_role_is_not_promised_more_than_it_may_have() {
        let empty = registry(&[]);
        assert!(check(&empty, &role("eng"), &quota(2000, Some(2000))).is_ok());
        let refusal = check(&empty, &role("eng"), &quota(2001, Some(2000))).unwrap_err();
        assert!(refusal.message.contains("more than the limit 2 of eng"), "{refusal}");
        assert!(check(&empty, &role("eng"), &quota(2001, None)).is_ok());
    }

    #[test]
    fn guarantees_below_fit_into_the_limits_above() {
        let set = registry(&[("eng", quota(0, Some(3000))), ("eng/web", quota(2000, None))]);
        assert!(check(&set, &role("eng/db"), &quota(1000, None)).is_ok());
        let refusal = check(&set, &role("eng/db"), &quota(1001, None)).unwrap_err();
        assert!(refusal.message.contains("within eng come to 3.001"), "{refusal}");
        // The guarantee of the parent holds those of its children.
        assert!(check(&set, &role("eng"), &quota(3000, Some(3000))).is_ok());
        assert!(check(&set, &role("eng"), &quota(0, Some(1999))).is_err());
        // A role between them that nobody set anything of.
        assert!(check(&set, &role("eng/db/big/one"), &quota(1001, None)).is_err());
        assert!(check(&set, &role("ops"), &quota(9000, None)).is_ok());
    }
}
