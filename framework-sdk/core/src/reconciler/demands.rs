//! What waits becomes demands: so many of a shape, on machines that are like this.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use proto::attributes::{Constraint, Constraints, Predicate};
use proto::demand::Demand;
use proto::id::{AgentId, DemandId};
use proto::role::Role;
use proto_machine::Now;

use super::place::Ask;
use super::table::{Table, Which};
use super::{Due, Output, Reconciler};
use crate::calls::Calls;
use crate::desired::{Group, GroupName};

/// So many demands at most are declared at once (the master's own limit); others wait for their turn.
const DEMANDS_MAX: usize = 1000;
/// So many of these are left to volumes that are to be destroyed, however many groups wait.
const DEMANDS_OF_PURGES: usize = 16;
/// So many roles at most may one framework be in (the master's own limit); it refuses a framework in more altogether.
pub(super) const ROLES_MAX: usize = 64;
/// So many words at most stand in one condition (the master's own limit).
const WORDS_MAX: usize = 256;
/// So many conditions at most stand in one demand (the master's own limit).
const CONDITIONS_MAX: usize = 64;
/// So long those that wait hold out for a value that is less used, or for agents that are preferred, before they take what
/// there is.
const PATIENCE: Duration = Duration::from_secs(1);

impl Reconciler {
    /// Says what is wanted, if that changed.
    pub(super) fn demand(&mut self, now: Now, out: &mut Calls<Output>) {
        if !self.connected || !self.is_ready() || !std::mem::take(&mut self.demands_changed) {
            return;
        }
        let mut demands = Vec::new();
        let mut asks = BTreeMap::new();
        let purges = self.purge_demands();
        let room = DEMANDS_MAX - purges.len().min(DEMANDS_OF_PURGES);
        let mut names: Vec<GroupName> = self.groups.keys().cloned().collect();
        // Where there is no room for all, it is the least important that are left out.
        names.sort_by_cached_key(|name| Reverse(self.groups.get(name).map(|table| table.group.priority)));
        for name in names {
            self.keep_patience(now, &name);
            let Some(table) = self.groups.get(&name) else { continue };
            let role = self.role_of(&table.group);
            if !self.granted.contains(role) || !table.is_gathered() || table.is_too_large() {
                continue;
            }
            let anywhere = [Which::Stated, Which::Good].map(|which| (None, which, table.waiting(which)));
            let homes = table.homing().iter().map(|((agent, which), waiting)| (Some(agent), *which, waiting));
            let mut left = table.to_start();
            for (home, which, waiting) in homes.chain(anywhere) {
                let count = waiting.len().min(left);
                if count == 0 {
                    continue;
                }
                left -= count;
                let Some(first) = waiting.first().filter(|_| demands.len() < room) else { continue };
                let mut id = name.to_string();
                if home.is_some() {
                    id += &format!("@{first}");
                }
                if which == Which::Good {
                    id += "@back";
                }
                let Ok(id) = DemandId::new(&id) else { continue };
                let shape = match home {
                    Some(_) => table.edition(which).shape.clone(),
                    None => table.shape_to_begin(which),
                };
                demands.push(Demand {
                    id: id.clone(),
                    role: role.clone(),
                    shape,
                    count: count as u64,
                    constraints: conditions(table, which, home),
                    priority: table.group.priority,
                });
                asks.insert(id, Ask { group: name.clone(), which, home: home.cloned() });
            }
        }
        self.purge_asks.clear();
        for (demand, volume) in purges {
            if demands.len() < DEMANDS_MAX {
                self.purge_asks.insert(demand.id.clone(), volume);
                demands.push(demand);
            }
        }
        self.asks = asks;
        // Said at least once, or the master would send plain offers.
        if self.demanded.as_ref() != Some(&demands) {
            self.demanded = Some(demands.clone());
            out.demand(demands);
            // What a gang gave back may do for whoever waits now.
            self.gather(out);
        }
    }

    /// Those that wait hold out for a while for an even spread, and for agents that are preferred.
    fn keep_patience(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let due = Due::Relax(name.clone());
        if table.waiting(Which::Stated).is_empty() && table.waiting(Which::Good).is_empty() {
            table.hold_out();
            self.due.cancel(&due);
        } else if table.holds_out() && self.due.get(&due).is_none() {
            self.due.set(due, now.monotonic + PATIENCE);
        }
    }

    /// Those that wait come down in what they hold out for.
    pub(super) fn relax(&mut self, name: &GroupName) {
        if let Some(table) = self.groups.get_mut(name) {
            table.come_down();
            self.demands_changed = true;
        }
    }

    /// A role that no group was in before: the master has to know it before anything is wanted in it.
    pub(super) fn take_role(&mut self, group: &Group) {
        if let Some(role) = &group.role {
            self.be_in(role);
        }
    }

    /// The framework is in this role from now on, whether or not a group is yet. Beyond what the master allows nothing
    /// changes: groups of that role wait, and the others do not fail with them.
    pub fn be_in(&mut self, role: &Role) {
        if self.info.roles.len() < ROLES_MAX && !self.info.roles.contains(role) {
            self.info.roles.push(role.clone());
            self.info_changed = true;
        }
    }
}

/// What a machine must be like for those of a group that wait, for their home or anywhere.
fn conditions(table: &Table, which: Which, home: Option<&AgentId>) -> Constraints {
    let mut constraints = table.edition(which).spec.constraints().clone();
    let mut must = |attribute: &str, predicate: Predicate| {
        constraints.0.push(Constraint { attribute: attribute.to_owned(), predicate });
    };
    if let Some(agent) = home {
        must("agent", Predicate::In(vec![agent.to_string()]));
        return constraints;
    }
    if let (Some(spread), Some(most)) = (&table.group.spread, table.at_most()) {
        let full = table.used().iter().filter(|(_, used)| **used >= most).map(|(value, _)| value.clone());
        let (words, lacking): (Vec<String>, Vec<String>) =
            full.take(WORDS_MAX).partition(|value| !value.is_empty());
        if !lacking.is_empty() {
            // An agent that lacks the attribute has the empty value, which no word can mean.
            must(&spread.by, Predicate::Exists);
        }
        if !words.is_empty() {
            must(&spread.by, Predicate::NotIn(words));
        }
    }
    let room = CONDITIONS_MAX.saturating_sub(constraints.0.len());
    constraints.0.extend(table.held_out_for().iter().take(room).cloned());
    constraints
}
