//! What principals may: asked about, said by operators, and held against whoever is connected.

use std::collections::BTreeSet;

use master_registry::Registry;
use proto::authorize::{Action, action_of, authorize, verbs_of};
use proto::caller::Caller;
use proto::id::FrameworkId;
use proto::operator::{CanI, PrincipalView, ReplyKind, SetRights, Verdict};
use proto::refusal::{Code, Refusal};
use proto::rights::PATTERNS_MAX;
use proto::role::Role;

use crate::desk::Desk;

/// Who a principal is to this cluster.
pub(crate) fn view(registry: &Registry, principal: &Caller) -> PrincipalView {
    PrincipalView {
        principal: principal.clone(),
        rights: registry.rights(principal),
        set: registry.names_principal(principal),
        may: verbs_of(principal).into_iter().map(str::to_owned).collect(),
    }
}

/// The principals of which somebody said what they may.
pub(crate) fn all(registry: &Registry) -> Vec<PrincipalView> {
    registry.principals().map(|(principal, _)| view(registry, principal)).collect()
}

/// Whether somebody may, as the doors would say.
pub(crate) fn can_i(
    registry: &Registry,
    root_granted: &BTreeSet<Caller>,
    caller: &Caller,
    asked: &CanI,
) -> ReplyKind {
    let principal = asked.principal.as_ref().unwrap_or(caller);
    let action = match action_of(asked, &registry.rights(principal), root_granted) {
        Ok(action) => action,
        Err(refusal) => return ReplyKind::Refused(refusal),
    };
    let (allowed, why, help) = match authorize(principal, &action) {
        Ok(()) => (true, String::new(), String::new()),
        Err(Refusal { message, help, .. }) => (false, message, help),
    };
    ReplyKind::Verdict(Verdict { allowed, principal: principal.to_string(), why, help })
}

/// Whether rights can be set so.
pub(crate) fn check(call: &SetRights) -> Result<(), Refusal> {
    if !matches!(call.principal, Caller::Framework(_)) {
        let message =
            format!("principal {} is no framework's; only theirs can be given roles", call.principal);
        return Err(Refusal::new(Code::Invalid, message)
            .with_help("name a principal such as framework/spark; people may do all that operators may"));
    }
    check_count(call.rights.as_ref().map_or(0, |rights| rights.roles.len()))
}

/// Whether a principal may have so many patterns.
pub(crate) fn check_count(patterns: usize) -> Result<(), Refusal> {
    if patterns > PATTERNS_MAX {
        let message = format!("rights.roles has {patterns} patterns; at most {PATTERNS_MAX}");
        return Err(Refusal::new(Code::TooMuch, message).with_help("name a role above them, such as eng/*"));
    }
    Ok(())
}

/// Whether a principal may take offers in all of these roles.
pub(crate) fn takes(registry: &Registry, principal: &Caller, roles: &[Role]) -> Result<(), Refusal> {
    let rights = registry.rights(principal);
    roles.iter().try_for_each(|role| {
        authorize(principal, &Action::TakeOffers { role: role.clone(), rights: rights.clone() })
    })
}

/// It is in the log what a principal may: whoever is connected with more is cut off. Its tasks run on until its failover
/// timer ends, as for every framework without a session.
pub(crate) fn set(d: &mut Desk<'_>, principal: &Caller) {
    let owner = principal.to_string();
    let registry = d.registry;
    let beyond: Vec<(FrameworkId, Refusal)> = registry
        .frameworks()
        .filter(|framework| framework.record.principal == owner)
        .filter_map(|framework| {
            let refusal = takes(registry, principal, &framework.record.info.roles).err()?;
            Some((framework.record.id.clone(), refusal))
        })
        .collect();
    for (id, refusal) in beyond {
        if let Some(session) = d.l.frameworks.get(&id).and_then(|standing| standing.session) {
            super::subscribe::fault(d, session, &owner, refusal);
        }
    }
}
