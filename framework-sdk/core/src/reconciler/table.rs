//! `Table`: the instances of one group, and what each of them should run.

mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::attributes::Constraint;
use proto::id::AgentId;
use proto::quantities::Quantities;
use proto::resources::Amount;
use proto::task::TaskState;

use super::index::Index;
use super::place::ACCEPT_BYTES_MAX;
use super::rollout::{Phase, Rollout};
use super::slot::Slot;
use crate::calls::ACCEPT_TASKS_MAX;
use crate::desired::{Group, Numbers, Restart, Revision};

pub(super) use super::edition::{Edition, Which};
pub use super::index::Sums;

/// One group and its instances.
#[derive(Debug)]
pub(super) struct Table {
    pub group: Group,
    /// As the author states it.
    pub stated: Arc<Edition>,
    /// What was in service as a whole last; its spec as far as it is known.
    pub good: Option<Arc<Edition>>,
    pub good_revision: Option<Revision>,
    /// The change that is on its way.
    pub rollout: Option<Rollout>,
    /// The author does not want it any more.
    pub withdrawn: bool,
    /// How much those that wait have come down in their wish for an even spread.
    pub evenness: Evenness,
    /// Of the rules that need not hold, those that wait hold out for agents of which so many do, from the first on.
    held_out: usize,
    /// As last told.
    pub told: Told,
    /// When one of it was started last, by the count of starts: of groups that are alike the one that waits longest is next.
    pub served: u64,
    members: BTreeSet<u32>,
    /// Instances above the number, while others change.
    extras: BTreeSet<u32>,
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

/// A gang changes all at once, whatever else is said of how it should change.
fn fitting(mut group: Group) -> Group {
    if group.gang {
        let change = &mut group.change;
        (change.surge, change.canary, change.max_unavailable) = (0, 0, u32::MAX);
        // Some first, or some where they were, would be a part of it.
        (group.parallel, group.stay) = (None, None);
    }
    if group.has_volumes() {
        // One above the number would have no data.
        group.change.surge = 0;
    }
    group
}

// === impl Table ===

impl Table {
    pub fn new(group: Group) -> Self {
        let group = fitting(group);
        let mut table = Table {
            stated: Edition::of(&group.spec),
            good: None,
            good_revision: None,
            rollout: None,
            group,
            withdrawn: false,
            evenness: Evenness::OneEach,
            held_out: 0,
            told: Told::Nothing,
            served: 0,
            members: BTreeSet::new(),
            extras: BTreeSet::new(),
            slots: BTreeMap::new(),
            index: Index::default(),
        };
        table.hold_out();
        table.rebuild();
        table
    }

    /// The author states the group anew. The instances that are forgotten with that.
    pub fn restate(&mut self, group: Group) -> Vec<u32> {
        let group = fitting(group);
        let stated = Edition::of(&group.spec);
        self.know_stated();
        if stated.revision != self.stated.revision {
            self.rollout = None;
            for slot in self.slots.values_mut() {
                // What ended badly is another thing now, and is tried at once.
                slot.counts = Default::default();
                slot.resting = false;
                slot.over = slot.over.filter(|(of, _)| *of == stated.revision);
            }
        }
        (self.stated, self.group) = (stated, group);
        (self.withdrawn, self.told) = (false, Told::Nothing);
        self.hold_out();
        self.know_previous();
        self.rebuild()
    }

    /// What was good before is known from an earlier life, or from the author.
    pub fn know_good(&mut self, revision: Option<Revision>) {
        self.good_revision = self.good_revision.or(revision);
        self.know_stated();
        self.know_previous();
    }

    /// What is stated may be what an earlier life remembered as good.
    fn know_stated(&mut self) {
        if self.good.is_none() && self.good_revision == Some(self.stated.revision) {
            self.good = Some(self.stated.clone());
        }
    }

    fn know_previous(&mut self) {
        let Some(previous) = &self.group.previous else { return };
        let revision = *self.good_revision.get_or_insert_with(|| previous.revision());
        if self.good.is_none() && previous.revision() == revision {
            self.good = Some(Edition::of(previous));
        }
    }

    /// Nothing of it is wanted any more.
    pub fn withdraw(&mut self) -> Vec<u32> {
        (self.withdrawn, self.told) = (true, Told::Nothing);
        self.rollout = None;
        self.extras.clear();
        self.rebuild()
    }

    // --- what each should run ---

    /// What a change that fails goes back to, if it does and that is known.
    pub fn back_to(&self) -> Option<&Edition> {
        self.good.as_deref().filter(|_| self.group.change.back)
    }

    /// What an instance should run; `None`: whatever it runs is right.
    pub fn aim(&self, number: u32) -> Option<Revision> {
        match self.rollout.as_ref().map(|rollout| rollout.phase) {
            None | Some(Phase::Rest) => Some(self.stated.revision),
            Some(Phase::Canary) if self.is_canary(number) => Some(self.stated.revision),
            Some(Phase::Canary) => self.good.as_ref().map(|good| good.revision),
            Some(Phase::Failed(_)) => self.back_to().map(|good| good.revision),
        }
    }

    fn is_canary(&self, number: u32) -> bool {
        let canary = self.group.change.canary;
        self.extras.contains(&number)
            || match &self.group.numbers {
                Numbers::Below(_) => number < canary,
                Numbers::Elastic(_) => self.canaries().any(|canary| canary == number),
            }
    }

    /// The instances that change first.
    pub fn canaries(&self) -> impl Iterator<Item = u32> {
        self.numbers().take(self.group.change.canary as usize)
    }

    /// Whether its instances move off an agent that is to be empty. One that ends by itself is rather left to end.
    pub fn moves(&self) -> bool {
        let for_ever =
            self.group.restart == Restart::Always || matches!(self.group.numbers, Numbers::Elastic(_));
        for_ever && !self.group.has_volumes()
    }

    /// In which edition an instance is started.
    pub fn which(&self, number: u32) -> Which {
        let is_good =
            |good: &Edition| good.revision != self.stated.revision && self.aim(number) == Some(good.revision);
        if self.good.as_deref().is_some_and(is_good) { Which::Good } else { Which::Stated }
    }

    pub fn edition(&self, which: Which) -> &Arc<Edition> {
        match which {
            Which::Good => self.good.as_ref().unwrap_or(&self.stated),
            Which::Stated => &self.stated,
        }
    }

    /// What they should run has changed.
    pub fn reaim(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.resting) {
            (slot.resting, slot.counts) = (false, Default::default());
        }
        self.rebuild();
    }

    /// Everything anew, after what is wanted has changed. The numbers that are forgotten.
    fn rebuild(&mut self) -> Vec<u32> {
        let all: Vec<u32> = self.numbers().collect();
        let member = |number: &u32| all.binary_search(number).is_ok();
        self.extras.retain(|number| !member(number));
        for number in all {
            self.slots.entry(number).or_default();
        }
        let gone =
            |(number, slot): (&u32, &Slot)| (slot.is_blank() && !self.wants(*number)).then_some(*number);
        let forgotten: Vec<u32> = self.slots.iter().filter_map(gone).collect();
        for number in &forgotten {
            self.slots.remove(number);
        }
        let mut index = Index::default();
        for (number, slot) in &self.slots {
            index.count(*number, slot, self.classify(*number, slot), self.which(*number));
        }
        self.index = index;
        forgotten
    }

    fn classify(&self, number: u32, slot: &Slot) -> super::slot::Class {
        slot.classify(self.part(number), self.aim(number), self.stated.revision, self.moves())
    }

    // --- the instances ---

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
        if self.wants(number) || !slot.is_blank() {
            self.index.count(number, &slot, self.classify(number, &slot), self.which(number));
            self.slots.insert(number, slot);
        }
        result
    }

    /// Whether nothing of it is left.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    // --- gangs and volumes ---

    /// Whether what is offered for it serves nobody else.
    pub fn stands_apart(&self) -> bool {
        self.group.gang || self.group.has_volumes()
    }

    /// What one that waits needs of an agent, with the volumes that it has yet to make.
    pub fn shape_to_begin(&self, which: Which) -> Amount {
        let mut shape = self.edition(which).shape.clone();
        for volume in &self.group.volumes {
            shape.add(&Amount::scalars(Quantities::ZERO.with_disk(volume.disk_bytes)));
        }
        shape
    }

    /// Whether those that wait may be started: of a gang, when nobody is missing.
    pub fn is_gathered(&self) -> bool {
        let sums = self.sums();
        !self.group.gang || !self.is_torn() && sums.waiting + sums.over == sums.wanted
    }

    /// Whether it is a gang that could not start as a whole: where its volumes are, or where they can be made.
    pub fn is_torn(&self) -> bool {
        self.group.gang && self.group.has_volumes()
    }

    /// Whether a gang fits into one call.
    pub fn is_too_large(&self) -> bool {
        if !self.group.gang {
            return false;
        }
        let count = self.numbers().count();
        let tasks = count * self.stated.shapes.len();
        let bytes = count * self.stated.task_bytes;
        tasks > ACCEPT_TASKS_MAX || bytes > ACCEPT_BYTES_MAX
    }

    /// Whether some of a gang run without the others.
    pub fn is_broken(&self) -> bool {
        let sums = &self.index.sums;
        let missing = self.sums().waiting + sums.resting > 0;
        self.group.gang && missing && self.slots.values().any(|slot| slot.staying().next().is_some())
    }

    /// How one of a gang ended that takes the others with it.
    pub fn fate(&self) -> Option<(Revision, TaskState)> {
        let bad = |over: &(Revision, TaskState)| !matches!(over.1, TaskState::Finished | TaskState::Killed);
        let over = |slot: &Slot| slot.over.filter(bad).filter(|(of, _)| slot.is_over(Some(*of)));
        let is_bad = self.group.gang && self.index.over_badly > 0;
        is_bad.then(|| self.slots.values().find_map(over)).flatten()
    }

    // --- how it stands ---

    pub fn sums(&self) -> Sums {
        self.index.sums()
    }

    /// Those that wait for any agent, to be started in one edition.
    pub fn waiting(&self, which: Which) -> &BTreeSet<u32> {
        self.index.waiting(which)
    }

    /// The same, for those that wait for one agent.
    pub fn homing(&self) -> &BTreeMap<(AgentId, Which), BTreeSet<u32>> {
        &self.index.homing
    }

    pub fn surplus(&self) -> Vec<u32> {
        self.index.surplus.iter().copied().collect()
    }

    pub fn orphaned(&self) -> Vec<u32> {
        self.index.orphaned.iter().copied().collect()
    }

    pub fn doubled(&self) -> Vec<u32> {
        self.index.doubled.iter().copied().collect()
    }

    pub fn old_idle(&self) -> Vec<u32> {
        self.index.old_idle.iter().copied().collect()
    }

    pub fn old_in_service(&self, most: usize) -> Vec<u32> {
        self.index.old_in_service.iter().take(most).copied().collect()
    }

    /// So many more may be started now, by how many may have a task at once.
    pub fn to_start(&self) -> usize {
        let Some(most) = self.group.parallel else { return usize::MAX };
        let sums = self.sums();
        let busy = sums.wanted.saturating_sub(sums.waiting + sums.resting + sums.over);
        (most as usize).saturating_sub(busy)
    }

    /// Whether some have a task of another revision than they should.
    pub fn has_old(&self) -> bool {
        self.index.old > 0
    }

    /// So many more may be taken out of service now.
    pub fn to_spare(&self) -> usize {
        let sums = &self.index.sums;
        let serving = sums.available + self.index.spare + sums.over - self.index.over_badly;
        (serving + self.group.change.unavailable()).saturating_sub(sums.wanted)
    }

    /// Whether all are in service, or over, with what they should run, and nobody is on the way out.
    pub fn stands(&self) -> bool {
        let sums = &self.index.sums;
        let settled = sums.available + sums.over == sums.wanted;
        settled && sums.leaving == 0 && sums.surging == 0 && self.index.old == 0
    }

    /// The same, and nobody is over who should not be.
    pub fn stands_well(&self) -> bool {
        self.stands() && self.index.over_badly == 0
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

    /// Those that wait next hold out for the best there may be.
    pub fn hold_out(&mut self) {
        (self.evenness, self.held_out) = (Evenness::OneEach, self.group.prefer.0.len());
    }

    /// Whether those that wait hold out for something that there may not be.
    pub fn holds_out(&self) -> bool {
        let for_evenness = self.group.spread.as_ref().is_some_and(|spread| spread.at_most.is_none());
        self.held_out > 0 || for_evenness && self.evenness != Evenness::Any
    }

    /// The rules that need not hold and that they hold out for.
    pub fn held_out_for(&self) -> &[Constraint] {
        self.group.prefer.0.get(..self.held_out).unwrap_or_default()
    }

    /// They come down in what they hold out for: by the last rule, and in evenness when there is none left.
    pub fn come_down(&mut self) {
        if self.held_out > 0 {
            self.held_out -= 1;
            return;
        }
        self.evenness = match self.evenness {
            Evenness::OneEach => Evenness::LeastUsed,
            Evenness::LeastUsed | Evenness::Any => Evenness::Any,
        };
    }

    pub fn used(&self) -> &BTreeMap<String, u32> {
        &self.index.used
    }
}
