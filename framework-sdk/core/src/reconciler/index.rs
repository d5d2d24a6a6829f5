//! `Index`: the instances of a group by how they stand, so that a change costs what changed and not the group.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::AgentId;

use super::slot::{Class, Leaving, Slot};
use super::table::Which;

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
    /// So many are in service, or over, with the spec as it is stated now.
    pub changed: usize,
    /// So many rest before they are started again.
    pub resting: usize,
    /// So many are over for good.
    pub over: usize,
    /// So many have a task that is on its way out.
    pub leaving: usize,
    /// So many there are above the number, for a change.
    pub surging: usize,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub sums: Sums,
    /// So many members have a task of another revision than they should.
    pub old: usize,
    /// So many above the number are in service.
    pub spare: usize,
    /// So many are over and should not be.
    pub over_badly: usize,
    /// As each is counted.
    classes: BTreeMap<u32, Class>,
    /// Those that wait, for any agent.
    waiting: [BTreeSet<u32>; 2],
    /// Those that wait for this agent.
    pub homing: BTreeMap<(AgentId, Which), BTreeSet<u32>>,
    pub surplus: BTreeSet<u32>,
    pub doubled: BTreeSet<u32>,
    pub orphaned: BTreeSet<u32>,
    pub old_in_service: BTreeSet<u32>,
    pub old_idle: BTreeSet<u32>,
    /// How many tasks use each value of the attribute that the group is spread by.
    pub used: BTreeMap<String, u32>,
}

// === impl Index ===

impl Index {
    pub fn sums(&self) -> Sums {
        let homing: usize = self.homing.values().map(BTreeSet::len).sum();
        let waiting: usize = self.waiting.iter().map(BTreeSet::len).sum();
        Sums { waiting: waiting + homing, ..self.sums }
    }

    pub fn waiting(&self, which: Which) -> &BTreeSet<u32> {
        &self.waiting[which as usize]
    }

    pub fn count(&mut self, number: u32, slot: &Slot, class: Class, which: Which) {
        self.add(class, |sum| *sum += 1);
        let sets = [
            (class.surplus, &mut self.surplus),
            (class.doubled, &mut self.doubled),
            (class.orphaned, &mut self.orphaned),
            (class.old_in_service, &mut self.old_in_service),
            (class.old_idle, &mut self.old_idle),
        ];
        for (belongs, set) in sets {
            if belongs {
                set.insert(number);
            }
        }
        if class.waits {
            match slot.home.as_ref().filter(|_| slot.homing) {
                Some(home) => self.homing.entry((home.agent.clone(), which)).or_default().insert(number),
                None => self.waiting[which as usize].insert(number),
            };
        }
        for value in values(slot) {
            *self.used.entry(value.clone()).or_default() += 1;
        }
        self.classes.insert(number, class);
    }

    pub fn uncount(&mut self, number: u32, slot: &Slot) {
        let Some(class) = self.classes.remove(&number) else { return };
        self.add(class, |sum| *sum -= 1);
        let [stated, good] = &mut self.waiting;
        for set in [
            &mut self.surplus,
            &mut self.doubled,
            &mut self.orphaned,
            &mut self.old_in_service,
            &mut self.old_idle,
            stated,
            good,
        ] {
            set.remove(&number);
        }
        if let Some(home) = &slot.home {
            for which in [Which::Stated, Which::Good] {
                let key = (home.agent.clone(), which);
                if let Some(set) = self.homing.get_mut(&key) {
                    set.remove(&number);
                    if set.is_empty() {
                        self.homing.remove(&key);
                    }
                }
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
            (class.member, &mut sums.wanted),
            (class.running, &mut sums.running),
            (class.available, &mut sums.available),
            (class.changed, &mut sums.changed),
            (class.resting, &mut sums.resting),
            (class.over, &mut sums.over),
            (class.leaving, &mut sums.leaving),
            (class.extra, &mut sums.surging),
            (class.old, &mut self.old),
            (class.spare, &mut self.spare),
            (class.over_badly, &mut self.over_badly),
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
