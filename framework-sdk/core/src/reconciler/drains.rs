//! Agents that are to be empty: instances that would run on for ever start elsewhere in time.

use std::collections::BTreeSet;

use proto::id::AgentId;
use proto_machine::Now;

use super::Reconciler;
use crate::desired::{GroupName, InstanceName};

impl Reconciler {
    /// An agent is to be empty, or need not be any more.
    pub(super) fn drains(&mut self, now: Now, agent: &AgentId, drains: bool) {
        let changed = if drains { self.draining.insert(agent.clone()) } else { self.draining.remove(agent) };
        if changed {
            self.mark(now, &BTreeSet::from([agent.clone()]), drains);
        }
    }

    /// A new session tells again of all that are.
    pub(super) fn forget_drains(&mut self, now: Now) {
        let agents = std::mem::take(&mut self.draining);
        if !agents.is_empty() {
            self.mark(now, &agents, false);
        }
    }

    fn mark(&mut self, now: Now, agents: &BTreeSet<AgentId>, drains: bool) {
        let mut homes: Vec<InstanceName> = Vec::new();
        for (name, table) in &mut self.groups {
            let is_there = |agent: Option<&AgentId>| agent.is_some_and(|agent| agents.contains(agent));
            let there = table.slots().filter(|(_, slot)| {
                let mut places = slot.attempts.iter().map(|attempt| attempt.place.as_ref());
                places.any(|place| is_there(place.map(|home| &home.agent)))
                    || is_there(slot.home.as_ref().map(|home| &home.agent))
            });
            let numbers: Vec<u32> = there.map(|(number, _)| number).collect();
            for number in numbers {
                table.change(number, |slot| {
                    for attempt in &mut slot.attempts {
                        if is_there(attempt.place.as_ref().map(|home| &home.agent)) {
                            attempt.draining = drains;
                        }
                    }
                    // Its home will not be offered.
                    slot.homing &= !drains || slot.kept.is_some();
                });
                homes.push(InstanceName { group: name.clone(), number });
            }
        }
        for instance in homes {
            self.touched.insert(GroupName::clone(&instance.group));
            self.waits_for_home(now, &instance);
        }
    }
}
