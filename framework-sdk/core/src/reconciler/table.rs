//! `Table`: the instances of one group, and indices over them, so that a change costs what changed and not the group.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::AgentId;
use proto::resources::Amount;

use super::slot::{Class, Leaving, Slot};
use crate::desired::{Group, Numbers, Revision};

/// How the instances of a group stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// So many there should be.
    pub wanted: usize,
    /// So many wait for an offer.
    pub waiting: usize,
    /// So many run.
    pub running: usize,
    /// So many are in service.
    pub available: usize,
    /// So many rest before they are started again.
    pub resting: usize,
    /// So many are over for good.
    pub over: usize,
    /// So many have a task that is on its way out.
    pub leaving: usize,
    /// So many have a successor that starts before they are ended.
    pub surging: usize,
}

/// One group and its instances.
#[derive(Debug)]
pub(super) struct Table {
    pub group: Group,
    pub revision: Revision,
    pub shape: Amount,
    pub task_bytes: usize,
    /// The author does not want it any more.
    pub withdrawn: bool,
    /// How much those that wait have come down in their wish for an even spread.
    pub evenness: Evenness,
    /// As last told.
    pub told: Told,
    members: BTreeSet<u32>,
    slots: BTreeMap<u32, Slot>,
    index: Index,
}

/// What was said of a group as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    AsStated,
    Over,
}

/// What the instances of a spread group that wait hold out for, from the best on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evenness {
    /// A value that is not used yet: there may be one that nobody has seen.
    OneEach,
    /// One of the least used.
    LeastUsed,
    /// Any.
    Any,
}

#[derive(Debug, Default)]
struct Index {
    sums: Sums,
    /// As each is counted.
    classes: BTreeMap<u32, Class>,
    /// Those that wait, for any agent.
    waiting: BTreeSet<u32>,
    /// Those that wait for this agent.
    homing: BTreeMap<AgentId, BTreeSet<u32>>,
    surplus: BTreeSet<u32>,
    doubled: BTreeSet<u32>,
    turning: BTreeSet<u32>,
    old_in_service: BTreeSet<u32>,
    old_idle: BTreeSet<u32>,
    /// How many tasks use each value of the attribute that the group is spread by.
    used: BTreeMap<String, u32>,
}

// === impl Table ===

impl Table {
    pub fn new(group: Group) -> Self {
        let mut table = Table {
            revision: group.spec.revision(),
            shape: group.spec.shape(),
            task_bytes: group.spec.task_bytes(),
            group,
            withdrawn: false,
            evenness: Evenness::OneEach,
            told: Told::Nothing,
            members: BTreeSet::new(),
            slots: BTreeMap::new(),
            index: Index::default(),
        };
        table.rebuild();
        table
    }

    /// The author states the group anew. The instances that are forgotten with that.
    pub fn restate(&mut self, group: Group) -> Vec<u32> {
        let revision = group.spec.revision();
        if revision != self.revision {
            for slot in self.slots.values_mut() {
                // What ended badly is another thing now, and is tried at once.
                slot.counts = Default::default();
                slot.resting = false;
                slot.over = slot.over.filter(|(of, _)| *of == revision);
            }
        }
        self.shape = group.spec.shape();
        self.task_bytes = group.spec.task_bytes();
        (self.revision, self.group) = (revision, group);
        (self.withdrawn, self.evenness, self.told) = (false, Evenness::OneEach, Told::Nothing);
        self.rebuild()
    }

    /// Nothing of it is wanted any more.
    pub fn withdraw(&mut self) -> Vec<u32> {
        (self.withdrawn, self.told) = (true, Told::Nothing);
        self.rebuild()
    }

    /// Whether there should be an instance of this number.
    pub fn wants(&self, number: u32) -> bool {
        !self.withdrawn
            && match &self.group.numbers {
                Numbers::Below(count) => number < *count,
                Numbers::Elastic(_) => self.members.contains(&number),
            }
    }

    /// Chooses the members of an elastic group. The instances that are forgotten with that.
    pub fn choose_members(&mut self) -> Vec<u32> {
        let Numbers::Elastic(set) = &self.group.numbers else { return Vec::new() };
        let taken = self.slots.keys().copied().filter(|number| !self.members.contains(number)).collect();
        let standing =
            |number| self.slots.get(&number).map_or(crate::desired::Standing::Waiting, Slot::standing);
        let members = set.members(&self.members, &taken, standing);
        if members == self.members {
            return Vec::new();
        }
        self.members = members;
        self.rebuild()
    }

    /// A member that is there already, from an earlier life.
    pub fn join(&mut self, number: u32) {
        if matches!(self.group.numbers, Numbers::Elastic(_)) && !self.withdrawn {
            self.members.insert(number);
        }
    }

    /// A member that its owner lets go; false when it is none.
    pub fn release(&mut self, number: u32) -> bool {
        let aimed = self.members.len().saturating_sub(1);
        let Numbers::Elastic(set) = &mut self.group.numbers else { return false };
        if !self.members.remove(&number) {
            return false;
        }
        *set = set.clone().aim(u32::try_from(aimed).unwrap_or(u32::MAX));
        self.change(number, |_| ());
        true
    }

    /// Everything anew, after what is wanted has changed. The numbers that are forgotten.
    fn rebuild(&mut self) -> Vec<u32> {
        let all: Vec<u32> = match &self.group.numbers {
            _ if self.withdrawn => Vec::new(),
            Numbers::Below(count) => (0..*count).collect(),
            Numbers::Elastic(_) => self.members.iter().copied().collect(),
        };
        for number in all {
            self.slots.entry(number).or_default();
        }
        let gone =
            |(number, slot): (&u32, &Slot)| (slot.is_blank() && !self.wants(*number)).then_some(*number);
        let forgotten: Vec<u32> = self.slots.iter().filter_map(gone).collect();
        for number in &forgotten {
            self.slots.remove(number);
        }
        self.index = Index::default();
        for (number, slot) in &self.slots {
            let wanted = self.wants(*number);
            self.index.count(*number, slot, slot.classify(wanted, self.revision));
        }
        forgotten
    }

    pub fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(&number)
    }

    pub fn slots(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.iter().map(|(number, slot)| (*number, slot))
    }

    /// Changes one instance. It is forgotten when there should be none of its number and nothing of it is left.
    pub fn change<R>(&mut self, number: u32, act: impl FnOnce(&mut Slot) -> R) -> R {
        let mut slot = match self.slots.remove(&number) {
            Some(slot) => {
                // As it was counted: whether it is wanted may have changed just now.
                self.index.uncount(number, &slot);
                slot
            }
            None => Slot::default(),
        };
        let result = act(&mut slot);
        let wanted = self.wants(number);
        if wanted || !slot.is_blank() {
            self.index.count(number, &slot, slot.classify(wanted, self.revision));
            self.slots.insert(number, slot);
        }
        result
    }

    /// Whether nothing of it is left.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn sums(&self) -> Sums {
        let homing: usize = self.index.homing.values().map(BTreeSet::len).sum();
        Sums { waiting: self.index.waiting.len() + homing, ..self.index.sums }
    }

    pub fn waiting(&self) -> &BTreeSet<u32> {
        &self.index.waiting
    }

    pub fn homing(&self) -> &BTreeMap<AgentId, BTreeSet<u32>> {
        &self.index.homing
    }

    pub fn surplus(&self) -> Vec<u32> {
        self.index.surplus.iter().copied().collect()
    }

    pub fn doubled(&self) -> Vec<u32> {
        self.index.doubled.iter().copied().collect()
    }

    pub fn turning(&self) -> Vec<u32> {
        self.index.turning.iter().copied().collect()
    }

    pub fn old_idle(&self) -> Vec<u32> {
        self.index.old_idle.iter().copied().collect()
    }

    pub fn old_in_service(&self, most: usize) -> Vec<u32> {
        self.index.old_in_service.iter().take(most).copied().collect()
    }

    /// Whether some instance runs an earlier revision, or is about to be replaced.
    pub fn is_rolling(&self) -> bool {
        !self.index.old_in_service.is_empty() || !self.index.old_idle.is_empty()
    }

    /// So many at most may share one value of the attribute that the group is spread by, as it stands.
    pub fn at_most(&self) -> Option<u32> {
        let spread = self.group.spread.as_ref()?;
        spread.at_most.or(match self.evenness {
            Evenness::OneEach => Some(1),
            Evenness::LeastUsed => Some(self.index.used.values().min().map_or(1, |least| least + 1)),
            Evenness::Any => None,
        })
    }

    pub fn used(&self) -> &BTreeMap<String, u32> {
        &self.index.used
    }
}

// === impl Index ===

impl Index {
    fn count(&mut self, number: u32, slot: &Slot, class: Class) {
        self.add(class, |sum| *sum += 1);
        let sets = [
            (class.surplus, &mut self.surplus),
            (class.doubled, &mut self.doubled),
            (class.turns, &mut self.turning),
            (class.old_in_service, &mut self.old_in_service),
            (class.old_idle, &mut self.old_idle),
        ];
        for (belongs, set) in sets {
            if belongs {
                set.insert(number);
            }
        }
        if class.waits {
            match slot.home.as_ref().filter(|_| slot.homing && !slot.surging) {
                Some(home) => self.homing.entry(home.agent.clone()).or_default().insert(number),
                None => self.waiting.insert(number),
            };
        }
        for value in values(slot) {
            *self.used.entry(value.clone()).or_default() += 1;
        }
        self.classes.insert(number, class);
    }

    fn uncount(&mut self, number: u32, slot: &Slot) {
        let Some(class) = self.classes.remove(&number) else { return };
        self.add(class, |sum| *sum -= 1);
        for set in [
            &mut self.surplus,
            &mut self.doubled,
            &mut self.turning,
            &mut self.old_in_service,
            &mut self.old_idle,
            &mut self.waiting,
        ] {
            set.remove(&number);
        }
        if let Some(home) = &slot.home
            && let Some(set) = self.homing.get_mut(&home.agent)
        {
            set.remove(&number);
            if set.is_empty() {
                self.homing.remove(&home.agent);
            }
        }
        for value in values(slot) {
            if let Some(used) = self.used.get_mut(value) {
                *used -= 1;
                if *used == 0 {
                    self.used.remove(value);
                }
            }
        }
    }

    fn add(&mut self, class: Class, change: impl Fn(&mut usize)) {
        let sums = &mut self.sums;
        for (counts, sum) in [
            (class.wanted, &mut sums.wanted),
            (class.running, &mut sums.running),
            (class.available, &mut sums.available),
            (class.resting, &mut sums.resting),
            (class.over, &mut sums.over),
            (class.leaving, &mut sums.leaving),
            (class.surging, &mut sums.surging),
        ] {
            if counts {
                change(sum);
            }
        }
    }
}

/// The values that its tasks use. One that was abandoned leaves its place to the next.
fn values(slot: &Slot) -> impl Iterator<Item = &String> {
    let there = slot.attempts.iter().filter(|attempt| attempt.leaving != Leaving::Abandoned);
    there.filter_map(|attempt| attempt.place.as_ref()).map(|place| &place.value)
}
