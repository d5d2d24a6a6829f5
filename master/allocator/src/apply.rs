//! Taking in facts: each change goes to the file of its subject.

mod agents;
mod frameworks;
mod offers;

use proto_machine::Instant;
use proto_machine::mutants::{self, Mutant};

use crate::Allocator;
use crate::change::Change;

impl Allocator {
    /// Takes in a fact. False, and nothing has changed, when it names something unknown or does not fit what was told
    /// before: more comes back than was held, or what is transformed is not free.
    pub fn apply(&mut self, now: Instant, change: Change) -> bool {
        self.work.touched = true;
        self.work.told_at = now;
        match change {
            Change::AgentAdded { info, total, active } => self.add_agent(info, total, active),
            Change::AgentChanged { info, total } => self.change_agent(info, total),
            Change::AgentActive { agent, active } => self.set_agent_active(&agent, active),
            Change::AgentRemoved { agent } => self.remove_agent(&agent),
            Change::FrameworkAdded { id, roles, suppressed } => self.add_framework(id, &roles, &suppressed),
            Change::FrameworkRoles { id, roles, suppressed } => {
                let framework = self.clients.find(&id);
                framework.is_some_and(|framework| self.set_roles(framework, &roles, &suppressed))
            }
            Change::FrameworkActive { id, active } => self.set_framework_active(&id, active),
            Change::FrameworkRemoved { id } => self.remove_framework(&id),
            Change::Suppress { framework, roles } => self.suppress(&framework, &roles, true),
            Change::Revive { framework, roles } => self.suppress(&framework, &roles, false),
            Change::Demands { framework, demands, demand_driven } => {
                self.set_demands(&framework, demands, demand_driven)
            }
            Change::QuotaSet { role, quota } => self.set_quota(&role, quota),
            Change::WeightSet { role, weight } => self.set_weight(&role, weight),
            Change::Charged { framework, role, agent, resources } => {
                self.charge_used(framework, &role, &agent, &resources)
            }
            Change::Taken { framework, role, agent, resources, demand } => {
                let place = self.find_holder(&framework, &role, &agent);
                place.is_some_and(|place| self.take_offer(place, &resources, demand.as_ref()))
            }
            Change::Accepted { framework, role, agent, offered, transforms, used, until } => {
                let place = self.find_holder(&framework, &role, &agent);
                place.is_some_and(|place| {
                    self.accept(place, &offered, &transforms, &used, self.refused_until(now, until))
                })
            }
            Change::Recovered { framework, role, agent, resources, from, demand } => {
                let place = self.find_holder(&framework, &role, &agent);
                place.is_some_and(|place| self.recover(place, &resources, from, demand.as_ref()))
            }
            Change::Transformed { agent, transform } => self.transform(&agent, &transform),
            Change::Declined { framework, role, agent, resources, demand, until } => {
                let place = self.find_holder(&framework, &role, &agent);
                place.is_some_and(|place| {
                    self.decline(place, &resources, demand.as_ref(), self.refused_until(now, until))
                })
            }
        }
    }

    /// Now, and the end of a filter that was asked to last until then.
    fn refused_until(&self, now: Instant, until: Instant) -> (Instant, Instant) {
        let longest = now + proto::demand::Filter::MAX;
        let until = if mutants::is(Mutant::FilterForever) { longest } else { until };
        (now, until.max(now + self.config.refuse_min).min(longest))
    }
}
