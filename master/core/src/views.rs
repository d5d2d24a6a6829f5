//! How facts look to operators. Sums (used, offered, counts) are the read model's to add up.

use master_registry::{Framework, Registry};
use proto::agent::AgentState;
use proto::log::{AgentRecord, TaskRecord};
use proto::operator::{AgentView, FrameworkView, OfferView, RoleView, Snapshot, TaskView};
use proto::quantities::Quantities;
use proto::role::Role;
use proto::task::TaskStatus;

use crate::leading::Leading;
use crate::tables::frameworks::Standing;
use crate::tables::offers::OpenOffer;

pub(crate) fn agent(record: &AgentRecord, linked: bool) -> AgentView {
    let state = match record.state {
        AgentState::Active if !linked => AgentState::Disconnected,
        state => state,
    };
    AgentView {
        info: record.info.clone(),
        state,
        total: record.total.clone(),
        used: Quantities::ZERO,
        offered: Quantities::ZERO,
        tasks: 0,
        since_ms: record.since_ms,
        drain: record.drain.clone(),
    }
}

pub(crate) fn framework(framework: &Framework, standing: Option<&Standing>) -> FrameworkView {
    let record = &framework.record;
    FrameworkView {
        id: record.id.clone(),
        info: record.info.clone(),
        principal: record.principal.clone(),
        connected: standing.is_some_and(|s| s.session.is_some()),
        used: Quantities::ZERO,
        offered: Quantities::ZERO,
        tasks: 0,
        since_ms: record.since_ms,
        suppressed_roles: standing.map(|s| s.suppressed.iter().cloned().collect()).unwrap_or_default(),
    }
}

pub(crate) fn task(registry: &Registry, record: &TaskRecord, latest: Option<&TaskStatus>) -> TaskView {
    let framework = registry.framework(&record.framework);
    let agent = registry.agent(&record.agent);
    TaskView {
        framework: record.framework.clone(),
        framework_name: framework.map(|f| f.record.info.name.clone()).unwrap_or_default(),
        info: record.info.clone(),
        agent: record.agent.clone(),
        hostname: agent.map(|a| a.info.hostname.clone()).unwrap_or_default(),
        status: latest.unwrap_or(&record.status).clone(),
        role: record.role.clone(),
        accepted_ms: record.accepted_ms,
    }
}

pub(crate) fn offer(registry: &Registry, offer: &OpenOffer, made_ms: u64) -> OfferView {
    let framework = registry.framework(&offer.framework);
    let agent = registry.agent(&offer.agent);
    OfferView {
        id: offer.id,
        framework: offer.framework.clone(),
        framework_name: framework.map(|f| f.record.info.name.clone()).unwrap_or_default(),
        agent: offer.agent.clone(),
        hostname: agent.map(|a| a.info.hostname.clone()).unwrap_or_default(),
        role: offer.role.clone(),
        resources: offer.resources.clone(),
        made_ms,
    }
}

pub(crate) fn role(registry: &Registry, role: &Role) -> RoleView {
    RoleView {
        role: role.clone(),
        weight: registry.weight(role),
        quota: registry.quota(role),
        used: Quantities::ZERO,
        offered: Quantities::ZERO,
        reserved: Quantities::ZERO,
        frameworks: 0,
    }
}

/// Everything, as this master knows it: with the soft facts if it leads.
pub(crate) fn snapshot(registry: &Registry, leading: Option<&Leading>, made_ms: u64) -> Snapshot {
    let linked = |a: &AgentRecord| leading.is_some_and(|l| l.agents.link_of(&a.info.id).is_some());
    let latest = |t: &TaskRecord| t.status.run.and_then(|run| leading.and_then(|l| l.tasks.latest(run)));
    let standing = |id| leading.and_then(|l| l.frameworks.get(id));
    let mut roles: std::collections::BTreeSet<Role> = registry.roles().map(|r| r.role.clone()).collect();
    roles.extend(registry.frameworks().flat_map(|f| f.record.info.roles.iter().cloned()));
    let ended = registry.frameworks().flat_map(|f| f.ended());
    Snapshot {
        agents: registry.agents().map(|a| agent(a, linked(a))).collect(),
        frameworks: registry.frameworks().map(|f| framework(f, standing(&f.record.id))).collect(),
        tasks: ended.chain(registry.tasks()).map(|t| task(registry, t, latest(t))).collect(),
        offers: leading
            .into_iter()
            .flat_map(|l| l.offers.all())
            .map(|o| offer(registry, o, made_ms))
            .collect(),
        roles: roles.iter().map(|r| role(registry, r)).collect(),
    }
}
