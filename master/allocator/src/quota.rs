//! What quota lets a role take: limits along its path, and the headroom kept for the guarantees of others.

use std::sync::Arc;

use proto::quantities::{FIXED, Quantities, Scalar};
use proto::role::Role;
use proto_machine::mutants::{self, Mutant};

use crate::roles::Tree;

/// An upper bound for each scalar; one that is not named is unbounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// `u64::MAX`: unbounded.
    fixed: [u64; FIXED],
    custom: Vec<(Arc<str>, u64)>,
}

/// What a client of one role may take, from the state as it is. Taking spends it.
#[derive(Clone, Debug)]
pub(crate) struct Purse {
    /// One for each role on the path that has limits, with its depth: bounds what is not reserved at it or below.
    limits: Vec<(u16, Room)>,
    /// Bounds what is kept for nobody.
    headroom: Room,
    /// Nothing is bounded.
    pub open: bool,
    /// A limit made something smaller.
    pub limit_hit: bool,
    /// The headroom made something smaller.
    pub headroom_hit: bool,
}

/// For what a purse is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Only to fulfil guarantees: of a scalar that is guaranteed no more than is missing, as in Mesos.
    Guarantees,
    /// Anything that leaves enough for the guarantees of others.
    Fair,
}

/// Which rules of quota are left out: for explanations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Without {
    pub limits: bool,
    pub headroom: bool,
}

// === impl Room ===

impl Room {
    const OPEN: Room = Room { fixed: [u64::MAX; FIXED], custom: Vec::new() };

    fn is_open(&self) -> bool {
        *self == Room::OPEN
    }

    fn get(&self, scalar: &Scalar) -> u64 {
        match scalar {
            Scalar::Cpus => self.fixed[0],
            Scalar::Mem => self.fixed[1],
            Scalar::Disk => self.fixed[2],
            Scalar::Gpus => self.fixed[3],
            Scalar::Custom(name) => {
                self.custom.iter().find(|(n, _)| n == name).map_or(u64::MAX, |(_, bound)| *bound)
            }
        }
    }

    fn set(&mut self, scalar: &Scalar, bound: u64) {
        match scalar {
            Scalar::Cpus => self.fixed[0] = bound,
            Scalar::Mem => self.fixed[1] = bound,
            Scalar::Disk => self.fixed[2] = bound,
            Scalar::Gpus => self.fixed[3] = bound,
            Scalar::Custom(name) => match self.custom.iter_mut().find(|(n, _)| n == name) {
                Some((_, old)) => *old = bound,
                None => self.custom.push((name.clone(), bound)),
            },
        }
    }

    fn chop(&self, amount: &Quantities) -> Quantities {
        if self.is_open() {
            return amount.clone();
        }
        let mut chopped = amount.clone();
        for (scalar, have) in amount.iter() {
            let bound = self.get(&scalar);
            if have > bound {
                chopped.set(&scalar, bound);
            }
        }
        chopped
    }

    fn spend(&mut self, amount: &Quantities) {
        if self.is_open() {
            return;
        }
        for (scalar, spent) in amount.iter() {
            let bound = self.get(&scalar);
            if bound < u64::MAX {
                self.set(&scalar, bound.saturating_sub(spent));
            }
        }
    }

    fn how_many(&self, unit: &Quantities) -> u64 {
        let bounded = unit.iter().map(|(scalar, amount)| match self.get(&scalar) {
            u64::MAX => u64::MAX,
            bound => bound / amount,
        });
        bounded.min().unwrap_or(u64::MAX)
    }
}

// === impl Purse ===

impl Purse {
    /// Fills a purse for clients of a role. `free` is what is free in the pool and kept for nobody.
    pub fn fill(tree: &Tree, node: u32, free: &Quantities, stage: Stage, without: Without) -> Purse {
        let mut purse = Purse {
            limits: Vec::new(),
            headroom: Room::OPEN,
            open: true,
            limit_hit: false,
            headroom_hit: false,
        };
        if !without.limits && !mutants::is(Mutant::QuotaOverrun) {
            for at in tree.path(node) {
                let row = &tree.nodes[at];
                if !row.limits.is_unbounded() {
                    let mut room = Room::OPEN;
                    for (scalar, limit) in &row.limits.0 {
                        room.set(scalar, limit.saturating_sub(row.consumed.get(scalar)));
                    }
                    purse.limits.push((row.depth, room));
                }
            }
        }
        let required = tree.required();
        if !without.headroom && !required.is_zero() {
            let credit = tree.credit(node);
            for (scalar, kept) in required.iter() {
                let slack = free.get(&scalar).saturating_sub(kept);
                purse.headroom.set(&scalar, credit.get(&scalar).saturating_add(slack));
            }
            if stage == Stage::Guarantees {
                for (scalar, _) in tree.path(node).flat_map(|at| tree.nodes[at].guarantee.iter()) {
                    purse.headroom.set(&scalar, credit.get(&scalar));
                }
            }
        }
        purse.open = purse.limits.is_empty() && purse.headroom.is_open();
        purse
    }

    /// As much of an amount as may be taken that is reserved at `depth` names (0: for nobody); spends it.
    pub fn take(&mut self, depth: u16, amount: &Quantities) -> Quantities {
        if self.open {
            return amount.clone();
        }
        let mut taken = amount.clone();
        for (_, room) in self.limits.iter().filter(|(at, _)| *at > depth) {
            taken = room.chop(&taken);
        }
        self.limit_hit |= taken != *amount;
        if depth == 0 {
            let chopped = self.headroom.chop(&taken);
            self.headroom_hit |= chopped != taken;
            taken = chopped;
            self.headroom.spend(&taken);
        }
        for (_, room) in self.limits.iter_mut().filter(|(at, _)| *at > depth) {
            room.spend(&taken);
        }
        taken
    }

    /// Takes all of an amount or, when a bound forbids it, nothing.
    pub fn take_whole(&mut self, depth: u16, amount: &Quantities) -> bool {
        let mut trial = self.clone();
        let fits = trial.take(depth, amount) == *amount;
        (self.limit_hit, self.headroom_hit) = (trial.limit_hit, trial.headroom_hit);
        if fits {
            *self = trial;
        }
        fits
    }

    /// How many units could be taken that are kept for nobody; notes what bounds it to fewer than `wanted`.
    pub fn how_many(&mut self, unit: &Quantities, wanted: u64) -> u64 {
        if self.open {
            return u64::MAX;
        }
        let by_limits = self.limits.iter().map(|(_, room)| room.how_many(unit)).min().unwrap_or(u64::MAX);
        let by_headroom = self.headroom.how_many(unit);
        self.limit_hit |= by_limits < wanted;
        self.headroom_hit |= by_headroom < wanted.min(by_limits);
        by_limits.min(by_headroom)
    }

    /// What could be taken of one scalar that is kept for nobody.
    pub fn bound(&self, scalar: &Scalar) -> u64 {
        let limits = self.limits.iter().map(|(_, room)| room.get(scalar));
        limits.min().unwrap_or(u64::MAX).min(self.headroom.get(scalar))
    }
}

/// How many names the role has for which something is kept: 0 when it is kept for nobody.
pub(crate) fn depth_of(reservation: Option<&Role>) -> u16 {
    reservation.map_or(0, |role| role.names().count() as u16)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proto::quota::Limits;

    use super::*;

    fn role(path: &str) -> Role {
        Role::new(path).unwrap()
    }

    fn cpus(milli: u64) -> Quantities {
        Quantities::of(milli, 0)
    }

    fn limit(milli: u64) -> Limits {
        Limits(BTreeMap::from([(Scalar::Cpus, milli)]))
    }

    #[test]
    fn a_limit_bounds_what_is_not_reserved_at_it_or_below() {
        let mut tree = Tree::default();
        let web = tree.intern(&role("eng/web"));
        let eng = tree.find(&role("eng")).unwrap();
        tree.nodes[eng].limits = limit(10_000);
        tree.nodes[web].limits = limit(3_000);
        tree.nodes[eng].consumed = cpus(8_000);
        let fresh = || Purse::fill(&tree, web, &cpus(100_000), Stage::Fair, Without::default());
        // Kept for nobody: both bound. Kept for eng: only web's limit. Kept for web: none.
        assert_eq!(fresh().take(0, &cpus(5_000)), cpus(2_000));
        assert_eq!(fresh().take(1, &cpus(5_000)), cpus(3_000));
        assert_eq!(fresh().take(2, &cpus(5_000)), cpus(5_000));
        // Both count on the same limits.
        let mut purse = fresh();
        assert_eq!((purse.take(1, &cpus(2_000)), purse.take(0, &cpus(2_000))), (cpus(2_000), cpus(1_000)));
        assert!(purse.limit_hit && !purse.headroom_hit);
        assert!(!fresh().take_whole(0, &Quantities::of(2_001, 5)));
        assert_eq!(fresh().how_many(&Quantities::of(900, 7), 3), 2);
        assert_eq!(fresh().bound(&Scalar::Mem), u64::MAX);
    }

    #[test]
    fn headroom_leaves_the_guarantees_of_others_alone() {
        let mut tree = Tree::default();
        let (owed, other) = (tree.intern(&role("owed")), tree.intern(&role("other")));
        tree.guarantees = 1;
        tree.nodes[owed].guarantee = cpus(4_000);
        tree.recount_missing(owed);
        let fill = |node, free, stage| Purse::fill(&tree, node, &cpus(free), stage, Without::default());
        // Ten free, four kept: the other may have six; the owed all ten, but as a guarantee only four.
        assert_eq!(fill(other, 10_000, Stage::Fair).take(0, &cpus(20_000)), cpus(6_000));
        assert_eq!(fill(owed, 10_000, Stage::Fair).take(0, &cpus(20_000)), cpus(10_000));
        assert_eq!(fill(owed, 10_000, Stage::Guarantees).take(0, &cpus(20_000)), cpus(4_000));
        // Fewer free than owed: nothing for the other, all of it for the owed; a reservation is never held back.
        let mut purse = fill(other, 3_000, Stage::Fair);
        assert_eq!((purse.take(0, &cpus(1)), purse.headroom_hit), (cpus(0), true));
        assert_eq!(purse.take(1, &cpus(50)), cpus(50));
        assert_eq!(fill(owed, 3_000, Stage::Fair).take(0, &cpus(3_000)), cpus(3_000));
    }
}
