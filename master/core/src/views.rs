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

/// `linked` is what a leader sees; without one nobody is said to be away of whom the log does not say so.
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

/// As the log knows it: connected unless it says that it went away.
pub(crate) fn logged_framework(framework: &Framework) -> FrameworkView {
    FrameworkView { connected: framework.record.deadline_ms == 0, ..self::framework(framework, None) }
}

/// As the leader sees it.
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
    let linked = |a: &AgentRecord| leading.is_none_or(|l| l.agents.link_of(&a.info.id).is_some());
    let latest = |t: &TaskRecord| t.status.run.and_then(|run| leading.and_then(|l| l.tasks.latest(run)));
    let known = |f: &Framework| match leading {
        Some(l) => framework(f, l.frameworks.get(&f.record.id)),
        None => logged_framework(f),
    };
    let mut roles: std::collections::BTreeSet<Role> = registry.roles().map(|r| r.role.clone()).collect();
    roles.extend(registry.frameworks().flat_map(|f| f.record.info.roles.iter().cloned()));
    let ended = registry.frameworks().flat_map(|f| f.ended());
    Snapshot {
        agents: registry.agents().map(|a| agent(a, linked(a))).collect(),
        frameworks: registry.frameworks().map(known).collect(),
        tasks: ended.chain(registry.tasks()).map(|t| task(registry, t, latest(t))).collect(),
        offers: leading
            .into_iter()
            .flat_map(|l| l.offers.all())
            .map(|o| offer(registry, o, made_ms))
            .collect(),
        roles: roles.iter().map(|r| role(registry, r)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proto::agent::AgentInfo;
    use proto::attributes::Attributes;
    use proto::framework::FrameworkInfo;
    use proto::id::{AgentId, FrameworkId};
    use proto::log::{Entry, FrameworkDisconnected, FrameworkRegistered};
    use proto::resources::{Amount, Resources};

    use super::*;

    /// What the log knows is shown alike, one by one and all at once: to whoever stops leading, or is sent a snapshot.
    #[test]
    fn without_a_leader_s_eyes_only_who_the_log_says_is_away_is_away() {
        let mut registry = Registry::default();
        let mut at = 0;
        let mut apply = |registry: &mut Registry, entry| {
            at += 1;
            registry.apply(at, at * 10, &mut 0, entry);
        };
        for id in ["here", "lost"] {
            let info = AgentInfo {
                id: AgentId::new(id).expect("an id"),
                hostname: id.to_owned(),
                address: "127.0.0.1:5".to_owned(),
                resources: Resources::unreserved(Amount::scalars(Quantities::of(1000, 1 << 30))),
                attributes: Attributes::default(),
                version: "1".to_owned(),
            };
            apply(&mut registry, Entry::AgentAdmitted(info));
        }
        apply(&mut registry, Entry::AgentUnreachable(AgentId::new("lost").expect("an id")));
        for name in ["stays", "goes"] {
            let info = FrameworkInfo {
                name: name.to_owned(),
                roles: vec![Role::default_role()],
                failover_timeout: std::time::Duration::from_secs(60),
                address: String::new(),
                labels: std::collections::BTreeMap::new(),
            };
            let id = FrameworkId::new(name).expect("an id");
            let principal = format!("framework/{name}");
            let registered = FrameworkRegistered { id, info, principal, fence: 0 };
            apply(&mut registry, Entry::FrameworkRegistered(registered));
        }
        let gone =
            FrameworkDisconnected { framework: FrameworkId::new("goes").expect("an id"), deadline_ms: 99 };
        apply(&mut registry, Entry::FrameworkDisconnected(gone));

        let shown = snapshot(&registry, None, 0);
        let states: Vec<_> = shown.agents.iter().map(|agent| agent.state).collect();
        assert_eq!(states, [AgentState::Active, AgentState::Unreachable]);
        let connected: Vec<_> =
            shown.frameworks.iter().map(|view| (view.info.name.as_str(), view.connected)).collect();
        assert_eq!(connected, [("goes", false), ("stays", true)]);
        // Who has just begun to lead sees nobody yet.
        let leading = Leading::new(
            proto::id::Epoch(1),
            &crate::Config::new(proto::id::MasterId(1), std::collections::BTreeMap::new(), 7),
        );
        let shown = snapshot(&registry, Some(&leading), 0);
        assert_eq!(shown.agents[0].state, AgentState::Disconnected);
        assert!(shown.frameworks.iter().all(|view| !view.connected));
    }
}
