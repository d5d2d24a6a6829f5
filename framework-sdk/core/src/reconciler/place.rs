//! Offers become launches, and what waits becomes demands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::attributes::{Constraint, Constraints, Predicate};
use proto::demand::{DeclineReason, Demand, Filter};
use proto::id::{AgentId, DemandId};
use proto::offer::Offer;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::Now;

use super::event::{Event, Follows, TaskEvent};
use super::slot::{Attempt, Home, Leaving};
use super::table::{Evenness, Table, Which};
use super::{Due, Output, Reconciler};
use crate::calls::{ACCEPT_TASKS_MAX, Calls};
use crate::desired::{Birth, Group, GroupName, InstanceName};
use crate::place::{Packing, Room, choose_spread_of, value_of};

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
    which: Which,
    /// For those who wait for this agent; `None`: for those who go anywhere.
    home: Option<AgentId>,
}

/// An offer that is being used.
struct Used {
    room: Room,
    ask: Ask,
    bytes: usize,
}

/// Those of a group that wait alike, and the offers that they may use.
struct Lane {
    ask: Ask,
    /// Their own come first.
    rooms: Vec<usize>,
    /// Those before this one are too small for them.
    at: usize,
}

/// Offers with tasks in them, in accepts of a size that a master takes.
pub(super) type Placed = Vec<Vec<Room>>;

impl Reconciler {
    /// Fills the offers of this batch. The launches are remembered, not yet asked for.
    pub(super) fn place(&mut self, now: Now, out: &mut Calls<Output>) -> Placed {
        let mut used: Vec<Used> = Vec::new();
        for offer in std::mem::take(&mut self.offers) {
            self.agents.insert(offer.agent.id.clone(), offer.agent.clone());
            match self.ask_of(&offer) {
                Some(ask) => used.push(Used { room: Room::new(offer), ask, bytes: 0 }),
                // It was made for what is not wanted any more.
                None => out.decline(offer, DeclineReason::Unused, AT_ONCE),
            }
        }
        if used.is_empty() {
            return Placed::new();
        }
        self.fill(now, &mut used);
        let (unused, placed): (Vec<Used>, Vec<Used>) =
            used.into_iter().partition(|used| used.room.is_unused());
        for used in unused {
            out.decline(used.room.into_offer(), DeclineReason::EnoughHere, AT_ONCE);
        }
        in_accepts(placed)
    }

    fn ask_of(&self, offer: &Offer) -> Option<Ask> {
        let ask = self.asks.get(offer.demand.as_ref()?)?;
        let table = self.groups.get(&ask.group).filter(|_| self.is_ready())?;
        let fits = *self.role_of(&table.group) == offer.role
            && table.edition(ask.which).spec.constraints().allow(&offer.agent)
            && ask.home.as_ref().is_none_or(|home| *home == offer.agent.id);
        fits.then(|| ask.clone())
    }

    /// Those of the highest priority are served first; of those that are alike, one of each group in turn.
    fn fill(&mut self, now: Now, used: &mut [Used]) {
        let mut lanes = self.lanes(used);
        let place = |groups: &BTreeMap<GroupName, Table>, lane: &Lane| {
            groups.get(&lane.ask.group).map(|table| (Reverse(table.group.priority), table.served))
        };
        let mut queue: BTreeSet<_> =
            lanes.iter().enumerate().map(|(at, lane)| (place(&self.groups, lane), at)).collect();
        while let Some((_, at)) = queue.pop_first() {
            if self.serve(now, &mut lanes[at], used) {
                queue.insert((place(&self.groups, &lanes[at]), at));
            }
        }
    }

    fn lanes(&self, used: &[Used]) -> Vec<Lane> {
        let mut lanes = Vec::new();
        for (name, table) in &self.groups {
            let anywhere = [Which::Stated, Which::Good].into_iter();
            let anywhere =
                anywhere.filter(|which| !table.waiting(*which).is_empty()).map(|which| (None, which));
            let homes = table.homing().keys().map(|(agent, which)| (Some(agent.clone()), *which));
            for (home, which) in homes.chain(anywhere) {
                let ask = Ask { group: name.clone(), which, home };
                let rooms = self.rooms_for(table, &ask, used);
                if !rooms.is_empty() {
                    lanes.push(Lane { ask, rooms, at: 0 });
                }
            }
        }
        lanes
    }

    /// The offers that an ask brought, and those that were made for others who do not mind where they go.
    fn rooms_for(&self, table: &Table, ask: &Ask, used: &[Used]) -> Vec<usize> {
        let (role, constraints) = (self.role_of(&table.group), table.edition(ask.which).spec.constraints());
        let may = |used: &Used| {
            let offer = used.room.offer();
            used.ask.home.is_none()
                && ask.home.as_ref().is_none_or(|home| *home == offer.agent.id)
                && offer.role == *role
                && constraints.allow(&offer.agent)
        };
        let all = || used.iter().enumerate();
        let own = all().filter(|(_, used)| used.ask == *ask);
        let others = all().filter(|(_, used)| used.ask != *ask && may(used));
        own.chain(others).map(|(at, _)| at).collect()
    }

    /// Starts the next one of those who wait; false when none of them can be.
    fn serve(&mut self, now: Now, lane: &mut Lane, used: &mut [Used]) -> bool {
        let Some(table) = self.groups.get(&lane.ask.group) else { return false };
        if table.to_start() == 0 {
            return false;
        }
        let waiting = match &lane.ask.home {
            Some(home) => table.homing().get(&(home.clone(), lane.ask.which)),
            None => Some(table.waiting(lane.ask.which)),
        };
        let Some(number) = waiting.and_then(|numbers| numbers.first()).copied() else { return false };
        if let (Some(spread), None) = (&table.group.spread, &lane.ask.home) {
            let rooms = lane.rooms.iter().map(|at| (*at, &used[*at].room));
            let shape = &table.edition(lane.ask.which).shape;
            let chosen =
                choose_spread_of(rooms, shape, Packing::BestFit, &spread.by, table.used(), table.at_most());
            return chosen.is_some_and(|at| self.launch(now, &lane.ask, number, &mut used[at]));
        }
        while let Some(at) = lane.rooms.get(lane.at) {
            if self.launch(now, &lane.ask, number, &mut used[*at]) {
                return true;
            }
            lane.at += 1;
        }
        false
    }

    /// Starts an instance in a room; false when it does not fit.
    fn launch(&mut self, now: Now, ask: &Ask, number: u32, used: &mut Used) -> bool {
        let group = &ask.group;
        let Some(table) = self.groups.get_mut(group) else { return false };
        let edition = table.edition(ask.which).clone();
        let instance = InstanceName { group: group.clone(), number };
        let birth = Birth { instance: instance.clone(), revision: edition.revision };
        let room = &mut used.room;
        let full = used.bytes + edition.task_bytes > ACCEPT_BYTES_MAX;
        if room.placed() >= ACCEPT_TASKS_MAX || full && !room.is_unused() {
            return false;
        }
        let Ok(id) = birth.task_id(self.life, self.serial) else { return false };
        let Some(resources) = room.take(&edition.shape) else { return false };
        used.bytes += edition.task_bytes;
        self.serial += 1;
        let agent = room.offer().agent.clone();
        let by = table.group.spread.as_ref().map_or("agent", |spread| &spread.by);
        let remembers = (table.group.stay.is_some() || by != "agent") && table.is_member(number);
        let home = Home { agent: agent.id.clone(), value: value_of(&agent, by) };
        let attempt = Attempt {
            task: id.clone(),
            revision: edition.revision,
            state: TaskState::Staging,
            run: None,
            place: Some(home.clone()),
            began: false,
            since_ms: None,
            ready: false,
            leaving: Leaving::No,
        };
        room.launch(edition.spec.task(id.clone(), &instance, resources));
        table.served = self.serial;
        table.change(number, |slot| {
            slot.homing = false;
            // What is over with another spec is another thing now.
            slot.over = None;
            slot.home = Some(home.clone());
            slot.attempts.push(attempt);
        });
        self.memory.set_over(&instance, None);
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
            let anywhere = [Which::Stated, Which::Good].map(|which| (None, which, table.waiting(which)));
            let homes = table.homing().iter().map(|((agent, which), waiting)| (Some(agent), *which, waiting));
            let mut left = table.to_start();
            for (home, which, waiting) in homes.chain(anywhere) {
                let count = waiting.len().min(left);
                if count == 0 {
                    continue;
                }
                left -= count;
                let Some(first) = waiting.first().filter(|_| demands.len() < DEMANDS_MAX) else { continue };
                let mut id = name.to_string();
                if home.is_some() {
                    id += &format!("@{first}");
                }
                if which == Which::Good {
                    id += "@back";
                }
                let Ok(id) = DemandId::new(&id) else { continue };
                demands.push(Demand {
                    id: id.clone(),
                    role: role.clone(),
                    shape: table.edition(which).shape.clone(),
                    count: count as u64,
                    constraints: conditions(table, which, home),
                    priority: table.group.priority,
                });
                asks.insert(id, Ask { group: name.clone(), which, home: home.cloned() });
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
        if table.waiting(Which::Stated).is_empty() && table.waiting(Which::Good).is_empty() {
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

fn in_accepts(all: Vec<Used>) -> Placed {
    let mut placed: Placed = Vec::new();
    let (mut tasks, mut bytes) = (0, 0);
    for used in all {
        let full = tasks + used.room.placed() > ACCEPT_TASKS_MAX || bytes + used.bytes > ACCEPT_BYTES_MAX;
        if full || placed.is_empty() {
            placed.push(Vec::new());
            (tasks, bytes) = (0, 0);
        }
        tasks += used.room.placed();
        bytes += used.bytes;
        if let Some(last) = placed.last_mut() {
            last.push(used.room);
        }
    }
    placed
}

/// What a machine must be like for those of a group that wait, for their home or anywhere.
fn conditions(table: &Table, which: Which, home: Option<&AgentId>) -> Constraints {
    let mut constraints = table.edition(which).spec.constraints().clone();
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
