//! Volumes of instances: made with their first task, come back to, left behind, and destroyed when a group is purged.

use std::collections::BTreeMap;
use std::fmt;

use proto::attributes::{Constraint, Constraints, Predicate};
use proto::demand::{DeclineReason, Demand, Filter};
use proto::id::{AgentId, DemandId, TaskId, VolumeId};
use proto::offer::Offer;
use proto::operation::{DestroyVolume, Operation, Unreserve};
use proto::quantities::{Quantities, Scalar};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{Accept, Outcome};
use proto::task::TaskStatus;
use proto_machine::Now;

use super::event::{Event, VolumeStep};
use super::slot::{Attempt, Home, Slot};
use super::{Output, Reconciler};
use crate::calls::Calls;
use crate::desired::{Birth, GroupName, InstanceName, VolumeSpec};
use crate::place::Room;

/// The volumes that an instance keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// At least one. They were made in one step and are destroyed in one.
    pub volumes: Vec<VolumeId>,
    pub agent: AgentId,
    /// They are known to be there; otherwise they were asked for.
    pub made: bool,
    pub role: Role,
    /// What was reserved for them and their instance, the disk of the volumes included.
    pub reserved: Amount,
}

// === impl Kept ===

impl Kept {
    /// As it is remembered.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        // No id has a `/` in it.
        let volumes = words.next()?.split('/').map(VolumeId::new).collect::<Result<Vec<_>, _>>().ok()?;
        let agent = AgentId::new(words.next()?).ok()?;
        let made = match words.next()? {
            "made" => true,
            "asked" => false,
            _ => return None,
        };
        let role = Role::new(words.next()?).ok()?;
        let mut reserved = Amount::default();
        for word in words {
            match (word.split_once('='), word.split_once(':')) {
                (Some((name, amount)), _) => reserved.scalars.set(&Scalar::named(name), amount.parse().ok()?),
                (None, Some((name, pairs))) => reserved.set_range(name, parse_ranges(pairs)?),
                (None, None) => return None,
            }
        }
        Some(Kept { volumes, agent, made, role, reserved })
    }

    /// The one by which all are known where they are to be destroyed.
    pub fn first(&self) -> Option<&VolumeId> {
        self.volumes.first()
    }
}

fn parse_ranges(text: &str) -> Option<Ranges> {
    let pair = |text: &str| {
        let (first, last) = text.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split('+').map(pair).collect::<Option<Vec<(u64, u64)>>>().map(Ranges::from_pairs)
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = if self.made { "made" } else { "asked" };
        let volumes: Vec<&str> = self.volumes.iter().map(VolumeId::as_str).collect();
        write!(f, "{} {} {made} {}", volumes.join("/"), self.agent, self.role)?;
        for (scalar, amount) in self.reserved.scalars.iter() {
            write!(f, " {}={amount}", scalar.name())?;
        }
        for (name, ranges) in self.reserved.ranges() {
            let pairs = ranges.pairs().iter().map(|(first, last)| format!("{first}-{last}"));
            write!(f, " {name}:{}", pairs.collect::<Vec<_>>().join("+"))?;
        }
        Ok(())
    }
}

/// Reserves and makes volumes, each of so many bytes, for the first of some tasks, and takes what all of them need: what
/// each takes, and what was reserved. `None`, and nothing changed, when it does not fit.
pub(super) fn make(
    room: &mut Room,
    shapes: &[Amount],
    volumes: &[(VolumeId, u64)],
) -> Option<(Vec<Resources>, Amount)> {
    let before = room.clone();
    let (first, others) = shapes.split_first()?;
    // The first of them comes with what the task needs besides.
    let mut shape = first.clone();
    let mut all = Resources::EMPTY;
    let mut make = |(volume, disk_bytes): &(VolumeId, u64)| {
        let shape = std::mem::take(&mut shape);
        all.add(&room.reserve_and_create(&shape, volume.clone(), *disk_bytes)?);
        Some(())
    };
    let made: Option<()> = volumes.iter().try_for_each(&mut make);
    let taken = made.and_then(|()| {
        let others = room.take_all(others)?;
        Some(std::iter::once(all).chain(others).collect())
    });
    let Some(taken) = taken else {
        *room = before;
        return None;
    };
    let mut reserved = Amount::default();
    for operation in room.operations.iter().skip(before.operations.len()) {
        if let Operation::Reserve(reserve) = operation {
            reserved.add(&reserve.amount);
        }
    }
    Some((taken, reserved))
}

/// The same for tasks that come back to volumes.
pub(super) fn find(room: &mut Room, shapes: &[Amount], volumes: &[VolumeId]) -> Option<Vec<Resources>> {
    let before = room.clone();
    let mut data = Resources::EMPTY;
    let found = volumes.iter().try_for_each(|volume| {
        data.add(&room.take_volume(volume)?);
        Some(())
    });
    let taken: Option<Vec<Resources>> = found.and_then(|()| room.take_all(shapes)).map(|mut taken| {
        if let Some(first) = taken.first_mut() {
            first.add(&data);
        }
        taken
    });
    if taken.is_none() {
        *room = before;
    }
    taken
}

/// Tells a task where its volumes are: each by its name, and the first without.
pub(super) fn tell_paths(volumes: &[VolumeId], env: &mut BTreeMap<String, String>) {
    for volume in volumes.iter().rev() {
        let path = format!("volumes/{volume}");
        if let Some(name) = VolumeSpec::name_of(volume) {
            env.insert(VolumeSpec::variable_of(name), path.clone());
        }
        env.insert("STOA_VOLUME".to_owned(), path);
    }
}

fn has(resources: &Resources, volume: &VolumeId) -> bool {
    resources.portions().iter().any(|portion| portion.volume.as_ref() == Some(volume))
}

impl Reconciler {
    /// An instance has no volume that it could come back to.
    fn unkeep(&mut self, instance: &InstanceName) {
        if let Some(table) = self.groups.get_mut(&instance.group) {
            table.change(instance.number, |slot| {
                (slot.kept, slot.homing) = (None, false);
            });
            self.touched.insert(instance.group.clone());
        }
        self.memory.set_kept(instance, None);
    }

    /// Those of a group that was stated anew come back to the volumes that they had.
    pub(super) fn remember_volumes(&mut self, now: Now, group: &GroupName) {
        let Some(table) = self.groups.get(group).filter(|table| table.group.has_volumes()) else { return };
        let blank = table.slots().filter(|(_, slot)| slot.is_blank() && slot.kept.is_none());
        let numbers: Vec<u32> = blank.map(|(number, _)| number).collect();
        for number in numbers {
            self.remember_volume(now, &InstanceName { group: group.clone(), number });
        }
    }

    /// An instance that there is again comes back to the volume that it had.
    pub(super) fn remember_volume(&mut self, now: Now, instance: &InstanceName) {
        let Some(kept) = self.memory.kept(instance) else { return };
        if let Some(table) = self.groups.get_mut(&instance.group) {
            let home = Home { agent: kept.agent.clone(), value: String::new() };
            table.change(instance.number, |slot| {
                (slot.kept, slot.home, slot.homing) = (Some(kept), Some(home), true);
            });
            self.touched.insert(instance.group.clone());
        }
        self.waits_for_home(now, instance);
    }

    /// At its home an offer lacks the volume that was only asked for: it was never made.
    pub(super) fn learn_unmade(&mut self, group: &GroupName, offer: &Offer) {
        let Some(table) = self.groups.get(group).filter(|table| table.group.has_volumes()) else { return };
        let unmade = table.slots().filter(|(_, slot)| {
            let is_missing = |kept: &Kept| {
                let lacks = |volume: &VolumeId| !has(&offer.resources, volume);
                !kept.made && kept.agent == offer.agent.id && kept.volumes.iter().any(lacks)
            };
            slot.attempts.is_empty() && slot.kept.as_ref().is_some_and(is_missing)
        });
        let numbers: Vec<u32> = unmade.map(|(number, _)| number).collect();
        for number in numbers {
            self.unkeep(&InstanceName { group: group.clone(), number });
        }
    }

    /// An accept with volumes in it was carried out, or not.
    pub(super) fn volumes_answered(&mut self, accept: &Accept, outcome: &Outcome) {
        let done = matches!(outcome, Outcome::Committed(_));
        for operation in accept.parts.iter().flat_map(|part| &part.operations) {
            match operation {
                Operation::CreateVolume(create) => self.made_answered(&create.volume, done),
                Operation::DestroyVolume(destroy) => {
                    self.demands_changed = true;
                    // Those that were made together stand in one accept.
                    let mut of =
                        self.purges.iter().filter(|(_, kept)| kept.volumes.contains(&destroy.volume));
                    let Some(first) = of.next().map(|(first, _)| first.clone()) else { continue };
                    self.purging.remove(&first);
                    if done {
                        self.purged(&first, VolumeStep::Destroyed);
                    }
                }
                Operation::Launch(_)
                | Operation::LaunchGroup(_)
                | Operation::Reserve(_)
                | Operation::Unreserve(_) => {}
            }
        }
    }

    fn made_answered(&mut self, volume: &VolumeId, done: bool) {
        let Some(instance) = VolumeSpec::owner(volume) else { return };
        if let Some((first, kept)) = self.purges.iter_mut().find(|(_, kept)| kept.volumes.contains(volume)) {
            // Its group was purged meanwhile.
            kept.made = done;
            self.memory.set_purge(first, Some(kept));
            return;
        }
        let slot = self.groups.get(&instance.group).and_then(|table| table.slot(instance.number));
        let asked = slot
            .and_then(|slot| slot.kept.clone())
            .filter(|kept| kept.volumes.contains(volume) && !kept.made);
        match asked {
            Some(kept) if done => {
                let kept = Kept { made: true, ..kept };
                self.keep(&instance, &kept);
                self.tell_volumes(&instance, &kept, VolumeStep::Made);
            }
            Some(_) => self.unkeep(&instance),
            None => {}
        }
    }

    /// A task that has the volume of its instance was launched, so it is there: an answer may have gone to an earlier life.
    /// What an instance goes on without had another one.
    pub(super) fn learn_made(&mut self, instance: &InstanceName, status: &TaskStatus) {
        let slot = self.groups.get(&instance.group).and_then(|table| table.slot(instance.number));
        let its = |slot: &&Slot| {
            let is_of = |a: &Attempt| a.task == status.task || a.parts.has(&status.task);
            let mut held = slot.attempts.iter().filter(|attempt| !attempt.is_abandoned());
            slot.attempts.is_empty() || held.any(is_of)
        };
        // A launch that was carried out has a run.
        let slot = slot.filter(|_| status.run.is_some()).filter(its);
        if let Some(kept) = slot.and_then(|slot| slot.kept.as_ref()).filter(|kept| !kept.made) {
            let first = kept.first().cloned();
            first.into_iter().for_each(|volume| self.made_answered(&volume, true));
        }
    }

    fn tell_volumes(&mut self, instance: &InstanceName, kept: &Kept, step: VolumeStep) {
        for volume in &kept.volumes {
            self.tell(Event::Volume { instance: instance.clone(), volume: volume.clone(), step });
        }
    }

    /// The same of a group that is not stated yet: the volume was made with this task.
    pub(super) fn remember_made(&mut self, instance: &InstanceName, task: &TaskId) {
        let launch = |id: &str| id.rsplit_once('-').map(|(_, launch)| launch.to_owned());
        let first = |kept: &Kept| kept.first().and_then(|volume| launch(volume.as_str()));
        let its = |kept: &Kept| !kept.made && first(kept) == launch(task.as_str());
        if let Some(kept) = self.memory.kept(instance).filter(its) {
            self.memory.set_kept(instance, Some(&Kept { made: true, ..kept }));
        }
    }

    pub(super) fn keep(&mut self, instance: &InstanceName, kept: &Kept) {
        if let Some(table) = self.groups.get_mut(&instance.group) {
            table.change(instance.number, |slot| slot.kept = Some(kept.clone()));
        }
        self.memory.set_kept(instance, Some(kept));
    }

    /// An instance begins anew without its volume, which is destroyed when its agent is seen again.
    pub(super) fn leave_behind(&mut self, instance: &InstanceName) {
        let slot = self.groups.get(&instance.group).and_then(|table| table.slot(instance.number));
        let Some(kept) = slot.and_then(|slot| slot.kept.clone()) else { return };
        self.unkeep(instance);
        self.tell_volumes(instance, &kept, VolumeStep::LeftBehind);
        self.purge_volumes(kept);
    }

    fn purge_volumes(&mut self, kept: Kept) {
        let Some(first) = kept.first().cloned() else { return };
        self.memory.set_purge(&first, Some(&kept));
        self.purges.insert(first, kept);
        self.demands_changed = true;
    }

    /// A withdrawn group leaves nothing behind.
    pub(super) fn purge(&mut self, group: &GroupName) {
        for (instance, kept) in self.memory.all_kept(group) {
            self.unkeep(&instance);
            self.purge_volumes(kept);
        }
    }

    fn purged(&mut self, volume: &VolumeId, step: VolumeStep) {
        self.memory.set_purge(volume, None);
        self.unseen.remove(volume);
        self.demands_changed = true;
        if let Some(kept) = self.purges.remove(volume)
            && let Some(instance) = VolumeSpec::owner(volume)
        {
            self.tell_volumes(&instance, &kept, step);
        }
    }

    /// An agent is gone for good, and its volumes with it.
    pub(super) fn volumes_lost(&mut self, agent: &AgentId) {
        let lost = self.purges.iter().filter(|(_, kept)| kept.agent == *agent);
        let lost: Vec<VolumeId> = lost.map(|(volume, _)| volume.clone()).collect();
        for volume in lost {
            self.purged(&volume, VolumeStep::Destroyed);
        }
    }

    // --- destroying ---

    /// What has to be offered so that volumes can be destroyed.
    pub(super) fn purge_demands(&self) -> Vec<(Demand, VolumeId)> {
        let is_idle = |volume: &VolumeId| {
            let owner = VolumeSpec::owner(volume);
            let slot = owner.and_then(|owner| self.groups.get(&owner.group)?.slot(owner.number));
            // While a task has it nobody is offered it.
            slot.is_none_or(|slot| slot.attempts.is_empty() || slot.kept.is_some())
        };
        let open = self.purges.iter().filter(|(volume, kept)| {
            !self.purging.contains(*volume) && self.granted.contains(&kept.role) && is_idle(volume)
        });
        let demand = |(volume, kept): (&VolumeId, &Kept)| {
            let at_home = Constraint {
                attribute: "agent".to_owned(),
                predicate: Predicate::In(vec![kept.agent.to_string()]),
            };
            let demand = Demand {
                id: DemandId::new(&format!("{volume}@purge")).ok()?,
                role: kept.role.clone(),
                shape: shape_of(kept),
                count: 1,
                constraints: Constraints(vec![at_home]),
                priority: 0,
            };
            Some((demand, volume.clone()))
        };
        open.filter_map(demand).collect()
    }

    /// Whether a volume that its agent's offer lacks is there no more: it was never made, or was destroyed and nobody heard
    /// of it. Free volumes come with every offer of their role, so one that no task has can be missing only while it is
    /// in another offer; the next one shows it.
    fn is_gone(&mut self, volume: &VolumeId) -> bool {
        let Some(kept) = self.purges.get(volume) else { return false };
        if !kept.made {
            return true;
        }
        if self.may_be_held(volume, kept) {
            self.unseen.remove(volume);
            return false;
        }
        !self.unseen.insert(volume.clone())
    }

    /// Whether a task of its instance may have it, also one of a group that nobody has stated yet.
    fn may_be_held(&self, volume: &VolumeId, kept: &Kept) -> bool {
        let Some(owner) = VolumeSpec::owner(volume) else { return false };
        let is_there = |agent: Option<&AgentId>| agent.is_none_or(|agent| *agent == kept.agent);
        let slot = self.groups.get(&owner.group).and_then(|table| table.slot(owner.number));
        let mut attempts = slot.iter().flat_map(|slot| &slot.attempts);
        let mut unclaimed = self.unclaimed.get(&owner.group).into_iter().flatten();
        attempts.any(|attempt| is_there(attempt.place.as_ref().map(|home| &home.agent)))
            || unclaimed.any(|(task, status)| {
                let is_its = Birth::parse(task).is_some_and(|birth| birth.instance == owner);
                is_its && is_there(status.agent.as_ref())
            })
    }

    /// An offer of the agent of a volume that is to be destroyed.
    pub(super) fn purge_with(&mut self, volume: &VolumeId, offer: Offer, out: &mut Calls<Output>) {
        let Some(kept) = self.purges.get(volume) else {
            return out.decline(offer, DeclineReason::Unused, Filter { refuse: std::time::Duration::ZERO });
        };
        let here = |volume: &&VolumeId| has(&offer.resources, volume);
        let found: Vec<VolumeId> = kept.volumes.iter().filter(here).cloned().collect();
        if found.is_empty() {
            if self.is_gone(volume) {
                self.purged(volume, VolumeStep::Destroyed);
            }
            return out.decline(offer, DeclineReason::BackOff, Filter::DEFAULT);
        }
        let (role, volume) = (kept.role.clone(), volume.clone());
        self.unseen.remove(&volume);
        let mut there = Amount::default();
        for portion in offer.resources.portions() {
            let is_plain = portion.volume.is_none() && portion.reservation.as_ref() == Some(&role);
            if is_plain || portion.volume.as_ref().is_some_and(|volume| found.contains(volume)) {
                there.add(&portion.amount);
            }
        }
        // No more than was reserved for it, and no more than is there.
        let amount = kept.reserved.saturating_sub(&there.lacking(&kept.reserved));
        let mut room = Room::new(offer);
        for volume in found {
            room.operate(Operation::DestroyVolume(DestroyVolume { role: role.clone(), volume }));
        }
        if !amount.is_empty() {
            room.operate(Operation::Unreserve(Unreserve { role, amount }));
        }
        self.purging.insert(volume);
        self.demands_changed = true;
        out.accept([room], Filter { refuse: std::time::Duration::ZERO });
    }
}

/// What is asked for besides a volume: what was reserved with it, so that it comes with it.
fn shape_of(kept: &Kept) -> Amount {
    let mut shape = kept.reserved.clone();
    shape.scalars.set(&Scalar::Disk, 0);
    let counts: Vec<(String, u64)> =
        shape.ranges().iter().map(|(name, ranges)| (name.to_string(), ranges.count())).collect();
    for (name, count) in counts {
        shape.set_range(&name, Ranges::single(1, count));
    }
    // Volumes come with whatever else is offered.
    if shape.is_empty() { Amount::scalars(Quantities::of(1, 0)) } else { shape }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_reads_back() {
        let ports = Ranges::from_pairs([(31_000, 31_001), (31_007, 31_007)]);
        let kept = Kept {
            volumes: ["web.0.data-1", "web.0.log-1"].map(|id| VolumeId::new(id).expect("an id")).into(),
            agent: AgentId::new("a1").expect("an id"),
            made: true,
            role: Role::new("prod/kafka").expect("a role"),
            reserved: Amount::scalars(Quantities::of(500, 1 << 30).with_disk(4 << 30)).with_ports(ports),
        };
        assert_eq!(Kept::parse(&kept.to_string()), Some(kept.clone()));
        assert_eq!(shape_of(&kept).range("ports").count(), 3);
        assert_eq!(shape_of(&kept).scalars.disk_bytes(), 0);
        let single = "web.0.data-1 a1 made prod/kafka cpus=500 disk=4294967296";
        assert_eq!(Kept::parse(single).map(|kept| kept.to_string()).as_deref(), Some(single), "as ever");
        let bare = Kept { made: false, reserved: Amount::default(), ..kept };
        assert_eq!(Kept::parse(&bare.to_string()), Some(bare.clone()));
        assert!(!shape_of(&bare).is_empty());
    }
}
