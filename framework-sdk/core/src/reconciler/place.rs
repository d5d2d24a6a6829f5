//! Offers become launches, and what waits becomes demands.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::attributes::{Constraint, Constraints, Predicate};
use proto::demand::{DeclineReason, Demand, Filter};
use proto::id::{AgentId, DemandId};
use proto::offer::Offer;
use proto::operation::Operation;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::Now;

use super::event::{Event, Follows, TaskEvent};
use super::slot::{Attempt, Home, Leaving};
use super::table::{Evenness, Table};
use super::{Due, Output, Reconciler};
use crate::calls::{ACCEPT_TASKS_MAX, Calls};
use crate::desired::{Birth, Group, GroupName, InstanceName};
use crate::place::{Packing, Room, choose_spread, value_of};

/// An accept stays below half of the 4 MiB that a master takes in one call.
const ACCEPT_BYTES_MAX: usize = 2 << 20;
/// So many demands at most are declared at once (the master's own limit); others wait for their turn.
const DEMANDS_MAX: usize = 1000;
/// So many words at most stand in one condition (the master's own limit).
const WORDS_MAX: usize = 256;
/// Offers are made to size and to conditions, so nothing is left over that would have to be kept away.
const AT_ONCE: Filter = Filter { refuse: Duration::ZERO };
/// So long those that wait hold out for a value that is less used, before they take what there is.
const EVEN_PATIENCE: Duration = Duration::from_secs(1);

/// What a demand was declared for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub group: GroupName,
    /// For those who wait for this agent; `None`: for those who go anywhere.
    home: Option<AgentId>,
}

/// Offers with tasks in them, in accepts of a size that a master takes.
pub(super) type Placed = Vec<Vec<Room>>;

impl Reconciler {
    /// Fills the offers of this batch. The launches are remembered, not yet asked for.
    pub(super) fn place(&mut self, now: Now, out: &mut Calls<Output>) -> Placed {
        let mut rooms: BTreeMap<GroupName, Vec<(Room, Ask)>> = BTreeMap::new();
        for offer in std::mem::take(&mut self.offers) {
            self.agents.insert(offer.agent.id.clone(), offer.agent.clone());
            match self.ask_of(&offer) {
                Some(ask) => rooms.entry(ask.group.clone()).or_default().push((Room::new(offer), ask)),
                // It was made for what is not wanted any more.
                None => out.decline(offer, DeclineReason::Unused, AT_ONCE),
            }
        }
        let mut placed = Vec::new();
        for (group, rooms) in rooms {
            let (rooms, asks): (Vec<Room>, Vec<Ask>) = rooms.into_iter().unzip();
            for room in self.fill(now, &group, rooms, &asks) {
                if room.is_unused() {
                    out.decline(room.into_offer(), DeclineReason::EnoughHere, AT_ONCE);
                } else {
                    placed.push(room);
                }
            }
        }
        self.in_accepts(placed)
    }

    fn ask_of(&self, offer: &Offer) -> Option<Ask> {
        let ask = self.asks.get(offer.demand.as_ref()?)?;
        let table = self.groups.get(&ask.group).filter(|_| self.is_ready())?;
        let fits = *self.role_of(&table.group) == offer.role
            && table.group.spec.constraints().allow(&offer.agent)
            && ask.home.as_ref().is_none_or(|home| *home == offer.agent.id);
        fits.then(|| ask.clone())
    }

    fn fill(&mut self, now: Now, group: &GroupName, mut rooms: Vec<Room>, asks: &[Ask]) -> Vec<Room> {
        for (at, ask) in asks.iter().enumerate() {
            while let Some(number) = self.next_of(ask) {
                if !self.launch(now, group, number, &mut rooms[at]) {
                    break;
                }
            }
        }
        rooms = self.fill_evenly(now, group, rooms, asks);
        rooms
    }

    /// The next instance that takes what this ask brought, room by room: whoever waits for a home, or does not mind.
    fn next_of(&self, ask: &Ask) -> Option<u32> {
        let table = self.groups.get(&ask.group)?;
        match &ask.home {
            Some(home) => table.homing().get(home)?.first().copied(),
            None if table.group.spread.is_none() => table.waiting().first().copied(),
            None => None,
        }
    }

    /// The same for a group that is spread: each next one where there are fewest.
    fn fill_evenly(&mut self, now: Now, group: &GroupName, rooms: Vec<Room>, asks: &[Ask]) -> Vec<Room> {
        let Some(spread) = self.groups.get(group).and_then(|table| table.group.spread.clone()) else {
            return rooms;
        };
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for (room, ask) in rooms.into_iter().zip(asks) {
            if ask.home.is_none() { open.push(room) } else { done.push(room) }
        }
        while let Some(table) = self.groups.get(group)
            && let Some(number) = table.waiting().first().copied()
        {
            let (shape, by, used) = (&table.shape, &spread.by, table.used());
            let chosen = choose_spread(&open, shape, Packing::BestFit, by, used, table.at_most());
            let Some(at) = chosen else { break };
            if !self.launch(now, group, number, &mut open[at]) {
                break;
            }
        }
        done.extend(open);
        done
    }

    /// Starts an instance in a room; false when it does not fit.
    fn launch(&mut self, now: Now, group: &GroupName, number: u32, room: &mut Room) -> bool {
        let Some(table) = self.groups.get_mut(group) else { return false };
        let instance = InstanceName { group: group.clone(), number };
        let birth = Birth { instance: instance.clone(), revision: table.revision };
        let full = (room.placed() + 1) * table.task_bytes > ACCEPT_BYTES_MAX;
        if room.placed() >= ACCEPT_TASKS_MAX || full && !room.is_unused() {
            return false;
        }
        let Ok(id) = birth.task_id(self.life, self.serial) else { return false };
        let Some(resources) = room.take(&table.shape) else { return false };
        self.serial += 1;
        let agent = room.offer().agent.clone();
        let by = table.group.spread.as_ref().map_or("agent", |spread| &spread.by);
        let remembers = table.group.stay.is_some() || by != "agent";
        let home = Home { agent: agent.id.clone(), value: value_of(&agent, by) };
        let attempt = Attempt {
            task: id.clone(),
            revision: table.revision,
            state: TaskState::Staging,
            run: None,
            place: Some(home.clone()),
            began: false,
            since_ms: None,
            ready: false,
            leaving: Leaving::No,
        };
        room.launch(table.group.spec.task(id.clone(), &instance, resources));
        table.change(number, |slot| {
            slot.homing = false;
            slot.home = Some(home.clone());
            slot.attempts.push(attempt);
        });
        if remembers {
            self.memory.set_home(&instance, &home);
        }
        if table.evenness != Evenness::Any {
            // It went well: those that wait hold out anew.
            self.due.cancel(&Due::Relax(group.clone()));
        }
        self.due.cancel(&Due::Homeless(instance.clone()));
        let none = StatusReason::None;
        let mut status =
            TaskStatus::by_master(id.clone(), TaskState::Staging, none, "", now.wall.as_millis());
        status.agent = Some(agent.id.clone());
        let (hostname, follows) = (agent.hostname.clone(), Follows::Nothing);
        self.tell(Event::Task(TaskEvent { instance: instance.clone(), status, hostname, follows }));
        self.tasks.insert(id, instance);
        self.touched.insert(group.clone());
        self.demands_changed = true;
        true
    }

    fn in_accepts(&self, rooms: Vec<Room>) -> Placed {
        let mut placed: Placed = Vec::new();
        let (mut tasks, mut bytes) = (0, 0);
        for room in rooms {
            let size: usize = room.operations.iter().map(|operation| self.bytes_of(operation)).sum();
            let full = tasks + room.placed() > ACCEPT_TASKS_MAX || bytes + size > ACCEPT_BYTES_MAX;
            if full || placed.is_empty() {
                placed.push(Vec::new());
                (tasks, bytes) = (0, 0);
            }
            tasks += room.placed();
            bytes += size;
            if let Some(last) = placed.last_mut() {
                last.push(room);
            }
        }
        placed
    }

    fn bytes_of(&self, operation: &Operation) -> usize {
        let of = |task: &proto::task::TaskInfo| {
            let group = self.tasks.get(&task.id).and_then(|instance| self.groups.get(&instance.group));
            group.map_or(0, |table| table.task_bytes)
        };
        crate::calls::tasks_of(operation).iter().map(of).sum()
    }

    /// Says what is wanted, if that changed.
    pub(super) fn demand(&mut self, now: Now, out: &mut Calls<Output>) {
        if !self.connected || !self.is_ready() || !std::mem::take(&mut self.demands_changed) {
            return;
        }
        let mut demands = Vec::new();
        let mut asks = BTreeMap::new();
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            self.keep_patience(now, &name);
            let Some(table) = self.groups.get(&name) else { continue };
            let role = self.role_of(&table.group);
            if !self.granted.contains(role) {
                continue;
            }
            let anywhere = (table.waiting().len(), None, table.waiting().first());
            let homes =
                table.homing().iter().map(|(agent, numbers)| (numbers.len(), Some(agent), numbers.first()));
            for (count, home, first) in homes.chain([anywhere]) {
                let Some(first) = first.filter(|_| demands.len() < DEMANDS_MAX) else { continue };
                let id = match home {
                    Some(_) => DemandId::new(&format!("{name}@{first}")),
                    None => DemandId::new(name.as_str()),
                };
                let Ok(id) = id else { continue };
                demands.push(Demand {
                    id: id.clone(),
                    role: role.clone(),
                    shape: table.shape.clone(),
                    count: count as u64,
                    constraints: conditions(table, home),
                    priority: table.group.priority,
                });
                asks.insert(id, Ask { group: name.clone(), home: home.cloned() });
            }
        }
        self.asks = asks;
        // Said at least once, or the master would send plain offers.
        if self.demanded.as_ref() != Some(&demands) {
            self.demanded = Some(demands.clone());
            out.demand(demands);
        }
    }

    /// Those of a spread group that wait hold out for a while for an even spread.
    fn keep_patience(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let due = Due::Relax(name.clone());
        if table.group.spread.as_ref().is_none_or(|spread| spread.at_most.is_some()) {
            return;
        }
        if table.waiting().is_empty() {
            table.evenness = Evenness::OneEach;
            self.due.cancel(&due);
        } else if table.evenness != Evenness::Any && self.due.get(&due).is_none() {
            self.due.set(due, now.monotonic + EVEN_PATIENCE);
        }
    }

    /// Those that wait come down in what they hold out for.
    pub(super) fn relax(&mut self, name: &GroupName) {
        if let Some(table) = self.groups.get_mut(name) {
            table.evenness = match table.evenness {
                Evenness::OneEach => Evenness::LeastUsed,
                Evenness::LeastUsed | Evenness::Any => Evenness::Any,
            };
            self.demands_changed = true;
        }
    }

    /// A role that no group was in before: the master has to know it before anything is wanted in it.
    pub(super) fn take_role(&mut self, group: &Group) {
        if let Some(role) = group.role.as_ref().filter(|role| !self.info.roles.contains(role)) {
            self.info.roles.push(role.clone());
            self.info_changed = true;
        }
    }
}

/// What a machine must be like for those of a group that wait, for their home or anywhere.
fn conditions(table: &Table, home: Option<&AgentId>) -> Constraints {
    let mut constraints = table.group.spec.constraints().clone();
    let mut must = |attribute: &str, predicate: Predicate| {
        constraints.0.push(Constraint { attribute: attribute.to_owned(), predicate });
    };
    if let Some(agent) = home {
        must("agent", Predicate::In(vec![agent.to_string()]));
    } else if let (Some(spread), Some(most)) = (&table.group.spread, table.at_most()) {
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
    constraints
}
