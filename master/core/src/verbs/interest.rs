//! A framework says what it wants: suppress, revive, demands.

use master_allocator::Change;
use proto::id::{FrameworkId, OperationId};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::scheduler::{RescindReason, Revive, Suppress, UpdateDemands};

use crate::desk::Desk;
use crate::validate;

pub(crate) fn suppress(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Suppress) {
    let Some(roles) = named_roles(d, id, &operation, call.roles) else { return };
    d.l.frameworks.standing(id).suppressed.extend(roles.iter().cloned());
    d.change(Change::Suppress { framework: id.clone(), roles });
    d.show_framework(id);
    d.done(id, operation);
}

pub(crate) fn revive(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Revive) {
    let Some(roles) = named_roles(d, id, &operation, call.roles) else { return };
    let standing = d.l.frameworks.standing(id);
    roles.iter().for_each(|role| {
        standing.suppressed.remove(role);
    });
    d.change(Change::Revive { framework: id.clone(), roles });
    d.show_framework(id);
    d.done(id, operation);
}

/// The roles that are meant; refuses those that the framework does not have.
fn named_roles(
    d: &mut Desk<'_>,
    id: &FrameworkId,
    operation: &Option<OperationId>,
    roles: Vec<Role>,
) -> Option<Vec<Role>> {
    let own = d.registry.framework(id)?.record.info.roles.clone();
    if roles.is_empty() {
        return Some(own);
    }
    if let Some(strange) = roles.iter().find(|role| !own.contains(role)) {
        let message = format!("roles names {strange}, which the framework did not subscribe");
        let refusal = Refusal::new(Code::Invalid, message).with_help("add it with UpdateFramework first");
        d.refuse(id, operation.clone(), refusal);
        return None;
    }
    Some(roles)
}

pub(crate) fn demand(
    d: &mut Desk<'_>,
    id: &FrameworkId,
    operation: Option<OperationId>,
    call: UpdateDemands,
) {
    let Some(framework) = d.registry.framework(id) else { return };
    if let Err(refusal) = validate::demands(&call.demands, &framework.record.info) {
        d.l.frameworks.standing(id).refused_demands = Some(refusal.message.clone());
        return d.refuse(id, operation, refusal);
    }
    let standing = d.l.frameworks.standing(id);
    standing.refused_demands = None;
    standing.demands.clone_from(&call.demands);
    standing.demand_driven = call.demand_driven;
    d.change(Change::Demands {
        framework: id.clone(),
        demands: call.demands,
        demand_driven: call.demand_driven,
    });
    // An offer for what is not wanted any more would only be declined.
    for surplus in d.l.allocator.surplus(id) {
        for offer in d.l.offers.of_framework(id) {
            let matches = d.l.offers.get(offer).is_some_and(|open| {
                open.agent == surplus.agent
                    && open.role == surplus.role
                    && open.demand == surplus.demand
                    && (surplus.demand.is_none() || open.resources == surplus.resources)
            });
            if matches {
                d.rescind(offer, RescindReason::DemandChanged);
            }
        }
    }
    d.done(id, operation);
}
