//! Which instances of a group there should be: its members, and those above their number while others change.

use super::Table;
use crate::desired::{Numbers, Standing};
use crate::reconciler::slot::{Part, Slot};

impl Table {
    pub(super) fn part(&self, number: u32) -> Part {
        let member = !self.withdrawn
            && match &self.group.numbers {
                Numbers::Below(count) => number < *count,
                Numbers::Elastic(_) => self.members.contains(&number),
            };
        match member {
            true => Part::Member,
            false if self.extras.contains(&number) => Part::Extra,
            false => Part::None,
        }
    }

    /// Whether it is one of those that there should be, and not above their number.
    pub fn is_member(&self, number: u32) -> bool {
        self.part(number) == Part::Member
    }

    /// Whether there should be an instance of this number.
    pub fn wants(&self, number: u32) -> bool {
        self.part(number) != Part::None
    }

    /// Whether there is a bound to how an instance of this number may end.
    pub fn is_anybody(&self, number: u32) -> bool {
        matches!(self.group.numbers, Numbers::Elastic(_)) || self.extras.contains(&number)
    }

    /// Chooses the members of an elastic group. The instances that are forgotten with that.
    pub fn choose_members(&mut self) -> Vec<u32> {
        let Numbers::Elastic(set) = &self.group.numbers else { return Vec::new() };
        let taken = self.slots.keys().copied().filter(|number| !self.members.contains(number)).collect();
        let standing = |number| self.slots.get(&number).map_or(Standing::Waiting, Slot::standing);
        let members = set.members(&self.members, &taken, standing);
        if members == self.members {
            return Vec::new();
        }
        self.members = members;
        self.rebuild()
    }

    /// Chooses how many there are above the number: as long as some have to change, and until all are in service again.
    pub fn choose_extras(&mut self) {
        let surge = self.group.change.surge as usize;
        let sums = &self.index.sums;
        let settled = sums.available + sums.over == sums.wanted;
        let most = match self.index.old {
            _ if self.withdrawn => 0,
            0 if settled => 0,
            0 => self.extras.len(),
            old => old.max(self.extras.len()),
        };
        let most = most.min(surge);
        let mut changed = Vec::new();
        while self.extras.len() > most {
            changed.extend(self.extras.pop_last());
        }
        let most = if self.extras.len() < most { most.saturating_sub(self.leaving_extras()) } else { most };
        if self.extras.len() < most {
            // One that runs already, such as one that there should be no more, does as well as a new one.
            let there = self.outsiders().filter(|(_, slot)| slot.staying().next().is_some());
            let mut chosen: Vec<u32> = there.map(|(number, _)| *number).collect();
            let after = match &self.group.numbers {
                Numbers::Below(count) => *count,
                Numbers::Elastic(_) => self.members.last().map_or(0, |last| last.saturating_add(1)),
            };
            chosen.extend((after..u32::MAX).filter(|number| !self.slots.contains_key(number)).take(most));
            for number in chosen {
                if self.extras.len() < most && self.extras.insert(number) {
                    changed.push(number);
                }
            }
        }
        for number in changed {
            self.change(number, |_| ());
        }
    }

    /// Those above the number that are on their way out take the places of others until they have ended.
    fn leaving_extras(&self) -> usize {
        let leaves = |slot: &Slot| slot.attempts.iter().any(|attempt| attempt.is_leaving());
        self.outsiders().filter(|(_, slot)| leaves(slot)).count()
    }

    /// Instances that there should not be.
    fn outsiders(&self) -> impl Iterator<Item = (&u32, &Slot)> {
        let from = match &self.group.numbers {
            Numbers::Below(count) if !self.withdrawn => *count,
            Numbers::Below(_) | Numbers::Elastic(_) => 0,
        };
        self.slots.range(from..).filter(|(number, _)| self.part(**number) == Part::None)
    }

    /// A member that is there already, from an earlier life.
    pub fn join(&mut self, number: u32) {
        if self.withdrawn || self.wants(number) {
            return;
        }
        match self.group.numbers {
            Numbers::Elastic(_) => drop(self.members.insert(number)),
            // Perhaps it is one above the number, and others are not in service yet.
            Numbers::Below(_) if self.extras.len() < self.group.change.surge as usize => {
                self.extras.insert(number);
            }
            Numbers::Below(_) => {}
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

    /// The numbers there should be, without those above.
    pub(super) fn numbers(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match &self.group.numbers {
            _ if self.withdrawn => Box::new(std::iter::empty()),
            Numbers::Below(count) => Box::new(0..*count),
            Numbers::Elastic(_) => Box::new(self.members.iter().copied()),
        }
    }
}
