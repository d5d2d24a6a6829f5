//! A new leader begins: everything durable is known at once; agents and frameworks are awaited.

use master_allocator::Change;
use proto::agent::AgentState;
use proto::operator::EventKind as Changed;
use proto_machine::mutants::{self, Mutant};

use crate::config::FRAMEWORK_RETURN;
use crate::desk::Desk;
use crate::leading::Deadline;
use crate::output::Output;
use crate::views;

pub(crate) fn take_lead(d: &mut Desk<'_>) {
    d.l.since = d.now.monotonic;
    let registry = d.registry;
    for role in registry.roles() {
        d.change(Change::QuotaSet { role: role.role.clone(), quota: role.quota.clone() });
        d.change(Change::WeightSet { role: role.role.clone(), weight: role.weight });
    }
    for framework in registry.frameworks() {
        let record = &framework.record;
        d.l.frameworks.standing(&record.id);
        d.change(Change::FrameworkAdded {
            id: record.id.clone(),
            roles: record.info.roles.clone(),
            suppressed: Vec::new(),
        });
        d.change(Change::FrameworkActive { id: record.id.clone(), active: false });
        let deadline = Deadline::Framework(record.id.clone());
        match record.deadline_ms {
            _ if mutants::is(Mutant::LoseFailoverTimer) => {}
            0 => d.after(deadline, FRAMEWORK_RETURN),
            deadline_ms => d.at(deadline, deadline_ms),
        }
    }
    // Tasks of frameworks that are gone still hold resources until their agents have ended them.
    for task in registry.tasks() {
        if registry.framework(&task.framework).is_none() {
            let standing = d.l.frameworks.standing(&task.framework);
            if !standing.removed {
                standing.removed = true;
                d.change(Change::FrameworkAdded {
                    id: task.framework.clone(),
                    roles: vec![task.role.clone()],
                    suppressed: Vec::new(),
                });
                d.change(Change::FrameworkActive { id: task.framework.clone(), active: false });
            }
        }
    }
    for agent in registry.agents().filter(|agent| agent.state == AgentState::Active) {
        super::register::offer_anew(d, &agent.info.id);
        d.after(Deadline::Agent(agent.info.id.clone()), d.config.agent_unreachable_after);
    }
    for agent in registry.agents().filter(|agent| agent.drain.is_some()) {
        super::drain::wait(d, &agent.info.id);
    }
    super::beat::beat(d);
    let snapshot = views::snapshot(d.registry, Some(d.l), d.at_ms());
    d.changed(Changed::Snapshot(snapshot));
    d.out.push(Output::Secrets(d.registry.secrets().clone()));
}
