//! Offers become launches: who is served first, where it goes, and in which accepts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::attributes::Constraints;
use proto::demand::{DeclineReason, Filter};
use proto::id::{AgentId, GroupId, TaskId, VolumeId};
use proto::offer::Offer;
use proto::operation::Operation;
use proto::resources::Amount;
use proto::role::Role;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::Now;

use super::event::{Event, Follows, TaskEvent};
use super::parts::Parts;
use super::slot::{Attempt, Home};
use super::table::{Table, Which};
use super::volumes::{self, Kept};
use super::{Due, Output, Reconciler};
use crate::calls::{ACCEPT_TASKS_MAX, Calls};
use crate::desired::{Birth, GroupName, InstanceName, Spread, VolumeSpec};
use crate::place::{Packing, Room, choose_spread_of, plan_together, rules_held, value_of};

/// An accept stays below half of the 4 MiB that a master takes in one call.
pub(super) const ACCEPT_BYTES_MAX: usize = 2 << 20;
/// A gang that does not fit into what was offered gives it back for so long, and asks for all of it again sooner: offers
/// that come one by one would never meet.
const HELD_OFF: Duration = Duration::from_secs(60);
/// So soon.
const GATHER_AGAIN: Duration = Duration::from_secs(5);
/// Offers are made to size and to conditions, so nothing is left over that would have to be kept away.
const AT_ONCE: Filter = Filter { refuse: Duration::ZERO };

/// What a demand was declared for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ask {
    pub group: GroupName,
    pub which: Which,
    /// For those who wait for this agent; `None`: for those who go anywhere.
    pub home: Option<AgentId>,
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
    /// Their own; those that were made for others are added when these are used up.
    rooms: Vec<usize>,
    widened: bool,
    /// Those before this one are too small for them.
    at: usize,
}

/// Offers with tasks in them, in accepts of a size that a master takes; those that are taken all or none apart.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub each: Vec<Vec<Room>>,
    pub together: Vec<Vec<Room>>,
    /// One by one, with a volume made in each: a fault in it is a fault of the whole accept.
    pub apart: Vec<Room>,
}

impl Reconciler {
    /// Fills the offers of this batch. The launches are remembered, not yet asked for.
    pub(super) fn place(&mut self, now: Now, out: &mut Calls<Output>) -> Placed {
        let mut used: Vec<Used> = Vec::new();
        for offer in std::mem::take(&mut self.offers) {
            self.agents.insert(offer.agent.id.clone(), offer.agent.clone());
            let purge = offer.demand.as_ref().and_then(|demand| self.purge_asks.get(demand)).cloned();
            if let Some(volume) = purge {
                self.purge_with(&volume, offer, out);
                continue;
            }
            match self.ask_of(&offer) {
                Some(ask) => used.push(Used { room: Room::new(offer), ask, bytes: 0 }),
                // It was made for what is not wanted any more.
                None => out.decline(offer, DeclineReason::Unused, AT_ONCE),
            }
        }
        if used.is_empty() {
            return Placed::default();
        }
        for used in &used {
            if used.ask.home.is_some() {
                self.learn_unmade(&used.ask.group, used.room.offer());
            }
        }
        self.fill(now, &mut used);
        let (unused, placed): (Vec<Used>, Vec<Used>) =
            used.into_iter().partition(|used| used.room.is_unused());
        for used in unused {
            if self.is_gang(&used.ask.group) {
                self.held_off.insert(used.room.offer().role.clone());
                if self.due.get(&Due::Gather).is_none() {
                    self.due.set(Due::Gather, now.monotonic + GATHER_AGAIN);
                }
                out.decline(used.room.into_offer(), DeclineReason::BackOff, Filter { refuse: HELD_OFF });
            } else if self.is_apart(&used.ask.group) && used.ask.home.is_some() {
                // The volume is not free there yet.
                out.decline(used.room.into_offer(), DeclineReason::BackOff, Filter::DEFAULT);
            } else {
                out.decline(used.room.into_offer(), DeclineReason::EnoughHere, AT_ONCE);
            }
        }
        let (gangs, placed): (Vec<Used>, Vec<Used>) =
            placed.into_iter().partition(|used| self.is_gang(&used.ask.group));
        let mut together: BTreeMap<GroupName, Vec<Room>> = BTreeMap::new();
        for used in gangs {
            together.entry(used.ask.group).or_default().push(used.room);
        }
        let makes = |used: &Used| {
            used.room.operations.iter().any(|operation| matches!(operation, Operation::CreateVolume(_)))
        };
        let (apart, placed): (Vec<Used>, Vec<Used>) = placed.into_iter().partition(makes);
        let apart = apart.into_iter().map(|used| used.room).collect();
        Placed { each: in_accepts(placed), together: together.into_values().collect(), apart }
    }

    fn is_apart(&self, group: &GroupName) -> bool {
        self.groups.get(group).is_some_and(Table::stands_apart)
    }

    fn is_gang(&self, group: &GroupName) -> bool {
        self.groups.get(group).is_some_and(|table| table.group.gang)
    }

    /// What gangs gave back is asked for again, all of it at once.
    pub(super) fn gather(&mut self, out: &mut Calls<Output>) {
        self.due.cancel(&Due::Gather);
        let roles: Vec<Role> = std::mem::take(&mut self.held_off).into_iter().collect();
        if !roles.is_empty() && self.connected {
            out.revive(roles);
        }
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
        let mut own: BTreeMap<&Ask, Vec<usize>> = BTreeMap::new();
        for (at, used) in used.iter().enumerate() {
            own.entry(&used.ask).or_default().push(at);
        }
        let mut lanes = Vec::new();
        for (name, table) in &self.groups {
            let anywhere = [Which::Stated, Which::Good].into_iter();
            let anywhere =
                anywhere.filter(|which| !table.waiting(*which).is_empty()).map(|which| (None, which));
            let homes = table.homing().keys().map(|(agent, which)| (Some(agent.clone()), *which));
            for (home, which) in homes.chain(anywhere).filter(|_| table.is_gathered()) {
                let ask = Ask { group: name.clone(), which, home };
                let rooms = own.get(&ask).cloned().unwrap_or_default();
                lanes.push(Lane { ask, rooms, widened: false, at: 0 });
            }
        }
        lanes
    }

    /// Adds what is left of offers that were made for others, who do not mind where they go.
    fn widen(&self, lane: &mut Lane, used: &[Used]) {
        let Some(table) = self.groups.get(&lane.ask.group).filter(|table| !table.stands_apart()) else {
            return;
        };
        let role = self.role_of(&table.group);
        let constraints = table.edition(lane.ask.which).spec.constraints();
        let may = |used: &Used| {
            let offer = used.room.offer();
            !used.room.rest().is_empty()
                && used.ask != lane.ask
                && used.ask.home.is_none()
                && offer.role == *role
                && lane.ask.home.as_ref().is_none_or(|home| *home == offer.agent.id)
                && !self.is_apart(&used.ask.group)
                && constraints.allow(&offer.agent)
        };
        let others: Vec<usize> =
            used.iter().enumerate().filter(|(_, used)| may(used)).map(|(at, _)| at).collect();
        lane.rooms.extend(others);
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
        if table.group.gang {
            let numbers: Vec<u32> = waiting.into_iter().flatten().copied().collect();
            return !numbers.is_empty() && self.serve_together(now, lane, used, &numbers);
        }
        if lane.ask.home.is_some() && table.group.has_volumes() {
            // Each has volumes of its own, which may be there or not.
            let numbers: Vec<u32> = waiting.into_iter().flatten().copied().collect();
            let mut tries = numbers.iter().flat_map(|number| lane.rooms.iter().map(|at| (*number, *at)));
            return tries.any(|(number, at)| self.launch(now, &lane.ask, number, &mut used[at]));
        }
        let Some(number) = waiting.and_then(|numbers| numbers.first()).copied() else { return false };
        let spread = table.group.spread.as_ref().filter(|_| lane.ask.home.is_none());
        if let Some(spread) = spread {
            if !std::mem::replace(&mut lane.widened, true) {
                self.widen(lane, used);
            }
            let rooms = lane.rooms.iter().map(|at| (*at, &used[*at].room));
            let shape = table.shape_to_begin(lane.ask.which);
            let (used_by, at_most, prefer) = (table.used(), table.at_most(), &table.group.prefer);
            let chosen =
                choose_spread_of(rooms, &shape, Packing::BestFit, &spread.by, used_by, at_most, prefer);
            return chosen.is_some_and(|at| self.launch(now, &lane.ask, number, &mut used[at]));
        }
        if lane.ask.home.is_none() && !table.group.prefer.0.is_empty() && !lane.widened {
            lane.widened = true;
            self.widen(lane, used);
            let prefer = &table.group.prefer;
            // Its own come first among those that are preferred alike.
            lane.rooms.sort_by_key(|at| Reverse(rules_held(prefer, &used[*at].room.offer().agent)));
        }
        loop {
            while let Some(at) = lane.rooms.get(lane.at) {
                if self.launch(now, &lane.ask, number, &mut used[*at]) {
                    return true;
                }
                lane.at += 1;
            }
            if std::mem::replace(&mut lane.widened, true) {
                return false;
            }
            self.widen(lane, used);
        }
    }

    /// Starts all of a gang, or none.
    fn serve_together(&mut self, now: Now, lane: &Lane, used: &mut [Used], numbers: &[u32]) -> bool {
        let Some(table) = self.groups.get(&lane.ask.group).filter(|table| !table.is_too_large()) else {
            return false;
        };
        if numbers.len() < table.sums().waiting {
            // Some of them wait for an agent still, from before they were a gang.
            return false;
        }
        let rooms: Vec<Room> = lane.rooms.iter().map(|at| used[*at].room.clone()).collect();
        let mut tried = rooms.clone();
        let edition = table.edition(lane.ask.which);
        let shape = &edition.shape;
        let places = match &table.group.spread {
            None => {
                let shapes = vec![shape.clone(); numbers.len()];
                plan_together(rooms, &shapes, Packing::BestFit, &table.group.prefer)
            }
            Some(spread) => plan_spread(rooms, shape, numbers.len(), spread, &table.group.prefer),
        };
        let Some(places) = places else { return false };
        // Task by task it has to fit, too, before the first one is launched.
        if !places.iter().all(|place| tried[*place].take_all(&edition.shapes).is_some()) {
            return false;
        }
        for (number, place) in numbers.iter().zip(places) {
            self.launch(now, &lane.ask, *number, &mut used[lane.rooms[place]]);
        }
        true
    }

    /// Starts an instance in a room; false when it does not fit.
    fn launch(&mut self, now: Now, ask: &Ask, number: u32, used: &mut Used) -> bool {
        let group = &ask.group;
        let Some(table) = self.groups.get_mut(group) else { return false };
        let edition = table.edition(ask.which).clone();
        let instance = InstanceName { group: group.clone(), number };
        let birth = |part| Birth { instance: instance.clone(), revision: edition.revision, part };
        let room = &mut used.room;
        let full = used.bytes + edition.task_bytes > ACCEPT_BYTES_MAX;
        if room.placed() + edition.shapes.len() > ACCEPT_TASKS_MAX || full && !room.is_unused() {
            return false;
        }
        let ids: Result<Vec<TaskId>, _> = (0..)
            .take(edition.shapes.len())
            .map(|part| birth(part).task_id(self.life, self.serial))
            .collect();
        let Ok(ids) = ids else { return false };
        let Some(id) = ids.first().cloned() else { return false };
        let kept = table.slot(number).and_then(|slot| slot.kept.clone());
        if table.group.has_volumes() && kept.is_none() && self.memory.kept(&instance).is_some() {
            // It was none for a while, and comes back to its data.
            self.remember_volume(now, &instance);
            return false;
        }
        let mut made = None;
        let taken = match (table.group.volumes.as_slice(), &kept) {
            ([], _) => room.take_all(&edition.shapes),
            (_, Some(kept)) => volumes::find(room, &edition.shapes, &kept.volumes),
            (specs, None) => {
                let id = |spec: &VolumeSpec| {
                    spec.id(&instance, self.life, self.serial).map(|id| (id, spec.disk_bytes))
                };
                let wanted: Result<Vec<(VolumeId, u64)>, _> = specs.iter().map(id).collect();
                let Ok(wanted) = wanted else { return false };
                volumes::make(room, &edition.shapes, &wanted).map(|(taken, reserved)| {
                    let volumes = wanted.into_iter().map(|(volume, _)| volume).collect();
                    let (agent, role) = (room.offer().agent.id.clone(), room.offer().role.clone());
                    made = Some(Kept { volumes, agent, made: false, role, reserved });
                    taken
                })
            }
        };
        let Some(resources) = taken else { return false };
        let has_volumes = table.group.has_volumes();
        let its = made.as_ref().or(kept.as_ref()).filter(|_| has_volumes);
        let its: Vec<VolumeId> = its.map(|kept| kept.volumes.clone()).unwrap_or_default();
        used.bytes += edition.task_bytes;
        self.serial += 1;
        let agent = room.offer().agent.clone();
        let by = table.group.spread.as_ref().map_or("agent", |spread| &spread.by);
        let remembers = (table.group.stay.is_some() || by != "agent") && table.is_member(number);
        let home = Home { agent: agent.id.clone(), value: value_of(&agent, by) };
        let attempt = Attempt {
            parts: Parts::of(ids.iter().filter(|_| ids.len() > 1).cloned()),
            ..Attempt::new(id.clone(), edition.revision, Some(home.clone()))
        };
        let on = ids.iter().cloned().zip(resources).collect();
        let mut tasks = edition.spec.tasks(&instance, on);
        if let Some(first) = tasks.first_mut() {
            volumes::tell_paths(&its, &mut first.command.env);
        }
        match (tasks.len(), GroupId::new(id.as_str())) {
            (2.., Ok(together)) => room.launch_group(together, tasks),
            _ => tasks.drain(..).for_each(|task| room.launch(task)),
        }
        table.served = self.serial;
        table.change(number, |slot| {
            slot.homing = false;
            // What is over with another spec is another thing now.
            slot.over = None;
            slot.home = Some(home.clone());
            slot.attempts.push(attempt);
            slot.kept = made.clone().or(slot.kept.take());
        });
        if let Some(made) = &made {
            self.memory.set_kept(&instance, Some(made));
        }
        self.memory.set_over(&instance, None);
        if remembers {
            self.memory.set_home(&instance, &home);
        }
        if table.holds_out() {
            // It went well: those that wait hold out anew.
            self.due.cancel(&Due::Relax(group.clone()));
        }
        self.due.cancel(&Due::Homeless(instance.clone()));
        let none = StatusReason::None;
        for id in ids {
            let mut status =
                TaskStatus::by_master(id.clone(), TaskState::Staging, none, "", now.wall.as_millis());
            status.agent = Some(agent.id.clone());
            let (hostname, follows) = (agent.hostname.clone(), Follows::Nothing);
            self.tell(Event::Task(TaskEvent { instance: instance.clone(), status, hostname, follows }));
            self.tasks.insert(id, instance.clone());
        }
        self.touched.insert(group.clone());
        self.demands_changed = true;
        true
    }
}

/// A room for each of so many, as evenly as they are spread.
fn plan_spread(
    mut rooms: Vec<Room>,
    shape: &Amount,
    count: usize,
    spread: &Spread,
    prefer: &Constraints,
) -> Option<Vec<usize>> {
    let mut used: BTreeMap<String, u32> = BTreeMap::new();
    let mut places = Vec::new();
    for _ in 0..count {
        let among = rooms.iter().enumerate();
        let (by, at_most) = (&spread.by, spread.at_most);
        let at = choose_spread_of(among, shape, Packing::BestFit, by, &used, at_most, prefer)?;
        rooms[at].take(shape)?;
        *used.entry(value_of(&rooms[at].offer().agent, &spread.by)).or_default() += 1;
        places.push(at);
    }
    Some(places)
}

fn in_accepts(all: Vec<Used>) -> Vec<Vec<Room>> {
    let mut placed: Vec<Vec<Room>> = Vec::new();
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
