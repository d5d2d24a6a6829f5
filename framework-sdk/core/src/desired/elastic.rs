//! `ElasticSet`: as many members as there is work for, within bounds, of which none is anybody in particular.

use std::collections::BTreeSet;

/// The bounds of an elastic group and what it aims at: executors of Spark, workers of Dask or Ray, task managers of Flink.
/// The shape of a member is its group's spec, and the grace before one is ended its group's `drain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticSet {
    min: u32,
    max: u32,
    target: Option<u32>,
}

/// How a member stands, from the one that is missed least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It has no task.
    Waiting,
    /// Its agent is out of sight.
    OutOfSight,
    /// Its task starts.
    Starting,
    /// Its task runs.
    Running,
}

// === impl ElasticSet ===

impl ElasticSet {
    /// At least and at most so many. Until it is aimed otherwise it keeps what runs already.
    pub fn between(min: u32, max: u32) -> Self {
        ElasticSet { min, max: max.max(min), target: None }
    }

    /// Aims at so many, as far as the bounds allow.
    pub fn aim(mut self, target: u32) -> Self {
        self.target = Some(target);
        self
    }

    /// Aims at enough members for this much work, of which each does so much at a time.
    pub fn aim_for(self, work: u64, per_member: u32) -> Self {
        let members = work.div_ceil(u64::from(per_member.max(1)));
        self.aim(u32::try_from(members).unwrap_or(u32::MAX))
    }

    /// How many there should be when there are so many.
    pub fn target(&self, present: usize) -> u32 {
        let present = u32::try_from(present).unwrap_or(u32::MAX);
        self.target.unwrap_or(present).clamp(self.min, self.max)
    }

    /// The members there should be: of those there are, the ones that would be missed most, then the smallest numbers
    /// that are free. A number in `taken` belongs to a member that is on its way out.
    pub(crate) fn members(
        &self,
        present: &BTreeSet<u32>,
        taken: &BTreeSet<u32>,
        standing: impl Fn(u32) -> Standing,
    ) -> BTreeSet<u32> {
        let target = self.target(present.len()) as usize;
        let mut kept: Vec<u32> = present.iter().copied().collect();
        // Of those that stand alike the eldest stays: it has the most to lose.
        kept.sort_by_key(|number| (std::cmp::Reverse(standing(*number)), *number));
        kept.truncate(target);
        let mut members: BTreeSet<u32> = kept.into_iter().collect();
        let mut free = (0..).filter(|number| !present.contains(number) && !taken.contains(number));
        while members.len() < target {
            let Some(number) = free.next() else { break };
            members.insert(number);
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_machine::Dice;

    fn set(numbers: &[u32]) -> BTreeSet<u32> {
        numbers.iter().copied().collect()
    }

    #[test]
    fn it_aims_within_its_bounds() {
        let of = |set: &ElasticSet| set.target(0);
        let elastic = ElasticSet::between(2, 5);
        assert_eq!(of(&elastic), 2);
        assert_eq!(of(&elastic.clone().aim(9)), 5);
        assert_eq!(of(&elastic.clone().aim(3)), 3);
        assert_eq!(of(&elastic.clone().aim_for(7, 2)), 4);
        assert_eq!(of(&elastic.clone().aim_for(u64::MAX, 0)), 5);
        assert_eq!(elastic.target(4), 4, "until it is aimed it keeps what is there");
        assert_eq!(ElasticSet::between(5, 2).aim(0).target(0), 5);
    }

    #[test]
    fn who_is_missed_least_goes_first_and_free_numbers_come_in() {
        let running = |number| if number == 1 { Standing::Starting } else { Standing::Running };
        let shrunk = ElasticSet::between(0, 9).aim(2).members(&set(&[0, 1, 4]), &set(&[]), running);
        assert_eq!(shrunk, set(&[0, 4]), "it had only begun to start");
        let shrunk = ElasticSet::between(0, 9).aim(1).members(&shrunk, &set(&[1]), running);
        assert_eq!(shrunk, set(&[0]), "the younger one");
        let grown = ElasticSet::between(0, 9).aim(3).members(&shrunk, &set(&[1]), running);
        assert_eq!(grown, set(&[0, 2, 3]), "1 is still on its way out");
    }

    #[test]
    fn there_are_always_as_many_as_aimed_at_and_nobody_goes_without_need() {
        let mut dice = Dice::new(5);
        for _ in 0..2000 {
            let mut some =
                |below| -> BTreeSet<u32> { (0..dice.below(below)).map(|_| dice.below(12) as u32).collect() };
            let (present, taken) = (some(8), some(4));
            let taken: BTreeSet<u32> = taken.difference(&present).copied().collect();
            let target = dice.below(10) as u32;
            let members =
                ElasticSet::between(1, 8).aim(target).members(&present, &taken, |_| Standing::Running);
            let wanted = target.clamp(1, 8) as usize;
            assert_eq!(members.len(), wanted);
            let stay = members.intersection(&present).count();
            assert_eq!(stay, present.len().min(wanted), "{present:?} to {members:?}");
            assert!(members.is_disjoint(&taken));
        }
    }
}
