//! Resources: portions of an agent, each with its reservation and volume.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::id::VolumeId;
use crate::quantities::Quantities;
use crate::ranges::Ranges;
use crate::role::Role;

/// What can be had of one portion: scalars, ranges (ports) and sets.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Amount {
    /// Cpus, memory, disk, gpus and custom scalars.
    pub scalars: Quantities,
    /// Ranges by name, sorted, none empty; `ports` is the usual one.
    ranges: Vec<(Arc<str>, Ranges)>,
    /// Sets by name, sorted, none empty.
    sets: Vec<(Arc<str>, BTreeSet<String>)>,
}

/// One portion: an amount that shares a reservation and, if it is disk of a volume, the volume.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Portion {
    /// For whom it is kept; `None` for anybody.
    pub reservation: Option<Role>,
    /// The persistent volume whose disk this is.
    pub volume: Option<VolumeId>,
    /// How much.
    pub amount: Amount,
}

/// Some of an agent: portions, at most one for each pair of reservation and volume, none empty, sorted by that pair.
///
/// Clones share the portions until one of them is changed, so handing resources from table to table costs nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// `None` when there are none, so that equal resources are equal values and `EMPTY` can be a constant.
    portions: Option<Arc<Vec<Portion>>>,
}

// === impl Amount ===

impl Amount {
    /// An amount of scalars only.
    pub fn scalars(scalars: Quantities) -> Self {
        Amount { scalars, ..Amount::default() }
    }

    /// The same with these ports.
    pub fn with_ports(mut self, ports: Ranges) -> Self {
        self.set_range("ports", ports);
        self
    }

    /// The ranges of a name; empty when there are none.
    pub fn range(&self, name: &str) -> Ranges {
        self.find_range(name).map_or_else(Ranges::default, |at| self.ranges[at].1.clone())
    }

    /// All ranges, sorted by name.
    pub fn ranges(&self) -> &[(Arc<str>, Ranges)] {
        &self.ranges
    }

    /// All sets, sorted by name.
    pub fn sets(&self) -> &[(Arc<str>, BTreeSet<String>)] {
        &self.sets
    }

    /// Replaces the ranges of a name.
    pub fn set_range(&mut self, name: &str, ranges: Ranges) {
        match self.ranges.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(at) if ranges.is_empty() => drop(self.ranges.remove(at)),
            Ok(at) => self.ranges[at].1 = ranges,
            Err(_) if ranges.is_empty() => {}
            Err(at) => self.ranges.insert(at, (Arc::from(name), ranges)),
        }
    }

    /// Replaces the set of a name.
    pub fn set_set(&mut self, name: &str, items: BTreeSet<String>) {
        match self.sets.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(at) if items.is_empty() => drop(self.sets.remove(at)),
            Ok(at) => self.sets[at].1 = items,
            Err(_) if items.is_empty() => {}
            Err(at) => self.sets.insert(at, (Arc::from(name), items)),
        }
    }

    fn find_range(&self, name: &str) -> Option<usize> {
        self.ranges.binary_search_by(|(n, _)| (**n).cmp(name)).ok()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.scalars.is_zero() && self.ranges.is_empty() && self.sets.is_empty()
    }

    /// Whether all of `other` is in it.
    pub fn contains(&self, other: &Amount) -> bool {
        self.scalars.contains(&other.scalars)
            && other.ranges.iter().all(|(name, ranges)| {
                self.find_range(name).is_some_and(|at| self.ranges[at].1.contains(ranges))
            })
            && other.sets.iter().all(|(name, items)| {
                self.sets
                    .binary_search_by(|(n, _)| n.cmp(name))
                    .is_ok_and(|at| items.is_subset(&self.sets[at].1))
            })
    }

    /// Adds. Ranges and sets unite: what both have is there once.
    pub fn add(&mut self, other: &Amount) {
        self.scalars.add(&other.scalars);
        for (name, ranges) in &other.ranges {
            match self.find_range(name) {
                Some(at) => self.ranges[at].1 = self.ranges[at].1.union(ranges),
                None => self.set_range(name, ranges.clone()),
            }
        }
        for (name, items) in &other.sets {
            let mut united = items.clone();
            if let Ok(at) = self.sets.binary_search_by(|(n, _)| n.cmp(name)) {
                united.extend(self.sets[at].1.iter().cloned());
            }
            self.set_set(name, united);
        }
    }

    /// Subtracts; `None`, and nothing changed, when something is not there.
    #[must_use]
    pub fn checked_sub(&self, other: &Amount) -> Option<Amount> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// Subtracts what is there.
    #[must_use]
    pub fn saturating_sub(&self, other: &Amount) -> Amount {
        let mut rest = self.clone();
        rest.sub(other);
        rest
    }

    /// Subtracts in place what is there.
    pub fn sub(&mut self, other: &Amount) {
        self.scalars.sub(&other.scalars);
        for (name, ranges) in &other.ranges {
            if let Some(at) = self.find_range(name) {
                let left = self.ranges[at].1.difference(ranges);
                self.set_range(name, left);
            }
        }
        for (name, items) in &other.sets {
            if let Ok(at) = self.sets.binary_search_by(|(n, _)| n.cmp(name)) {
                let left = self.sets[at].1.difference(items).cloned().collect();
                self.set_set(name, left);
            }
        }
    }

    /// Whether the two have something in common: a scalar that neither is without, the same port, the same item.
    pub fn overlaps(&self, other: &Amount) -> bool {
        !self.scalars.min(&other.scalars).is_zero()
            || other.ranges.iter().any(|(name, ranges)| {
                self.find_range(name).is_some_and(|at| self.ranges[at].1.overlaps(ranges))
            })
            || other.sets.iter().any(|(name, items)| {
                self.sets
                    .binary_search_by(|(n, _)| n.cmp(name))
                    .is_ok_and(|at| !items.is_disjoint(&self.sets[at].1))
            })
    }

    /// What `self` lacks of `wanted`.
    #[must_use]
    pub fn lacking(&self, wanted: &Amount) -> Amount {
        wanted.saturating_sub(self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.scalars.is_zero() {
            parts.push(self.scalars.to_string());
        }
        parts.extend(self.ranges.iter().map(|(name, ranges)| format!("{name}:{ranges}")));
        parts.extend(self.sets.iter().map(|(name, items)| {
            format!("{name}:{{{}}}", items.iter().map(String::as_str).collect::<Vec<_>>().join(","))
        }));
        if parts.is_empty() { f.write_str("nothing") } else { f.write_str(&parts.join(" ")) }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

// === impl Portion ===

impl Portion {
    fn key(&self) -> (Option<&Role>, Option<&VolumeId>) {
        (self.reservation.as_ref(), self.volume.as_ref())
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.amount)?;
        if let Some(role) = &self.reservation {
            write!(f, " (reserved for {role})")?;
        }
        if let Some(volume) = &self.volume {
            write!(f, " (volume {volume})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl Resources ===

impl Resources {
    /// Nothing.
    pub const EMPTY: Resources = Resources { portions: None };

    /// An amount that is kept for nobody.
    pub fn unreserved(amount: Amount) -> Self {
        let mut all = Resources::default();
        all.add_portion(&Portion { reservation: None, volume: None, amount });
        all
    }

    /// An amount that is kept for a role.
    pub fn reserved(role: Role, amount: Amount) -> Self {
        let mut all = Resources::default();
        all.add_portion(&Portion { reservation: Some(role), volume: None, amount });
        all
    }

    /// The portions, sorted by reservation and volume.
    pub fn portions(&self) -> &[Portion] {
        self.portions.as_ref().map_or(&[], |portions| portions.as_slice())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.portions.is_none()
    }

    fn find(&self, portion: &Portion) -> Result<usize, usize> {
        self.portions().binary_search_by(|p| p.key().cmp(&portion.key()))
    }

    /// The portions to change: copied first when a clone shares them.
    fn portions_mut(&mut self) -> &mut Vec<Portion> {
        Arc::make_mut(self.portions.get_or_insert_default())
    }

    /// Adds one portion.
    pub fn add_portion(&mut self, portion: &Portion) {
        if portion.amount.is_empty() {
            return;
        }
        let found = self.find(portion);
        let portions = self.portions_mut();
        match found {
            Ok(at) => portions[at].amount.add(&portion.amount),
            Err(at) => portions.insert(at, portion.clone()),
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Resources) {
        if self.portions.is_none() {
            self.portions.clone_from(&other.portions);
            return;
        }
        for portion in other.portions() {
            self.add_portion(portion);
        }
    }

    /// Whether all of `other` is in it, portion by portion.
    pub fn contains(&self, other: &Resources) -> bool {
        // Equal is by far the most frequent case, and cheap to see when both are clones of one.
        self == other
            || other
                .portions()
                .iter()
                .all(|p| self.find(p).is_ok_and(|at| self.portions()[at].amount.contains(&p.amount)))
    }

    /// Whether the two have something in common: the same scalar of the same portion, the same port, the same item.
    pub fn overlaps(&self, other: &Resources) -> bool {
        other
            .portions()
            .iter()
            .any(|p| self.find(p).is_ok_and(|at| self.portions()[at].amount.overlaps(&p.amount)))
    }

    /// Subtracts; false, and nothing changed, when something is not there.
    #[must_use]
    pub fn try_sub(&mut self, other: &Resources) -> bool {
        if self == other {
            self.portions = None;
            return true;
        }
        if !self.contains(other) {
            return false;
        }
        self.sub(other);
        true
    }

    /// Subtracts what is there.
    #[must_use]
    pub fn saturating_sub(&self, other: &Resources) -> Resources {
        let mut rest = self.clone();
        rest.sub(other);
        rest
    }

    fn sub(&mut self, other: &Resources) {
        for portion in other.portions() {
            if let Ok(at) = self.find(portion) {
                let portions = self.portions_mut();
                portions[at].amount.sub(&portion.amount);
                if portions[at].amount.is_empty() {
                    portions.remove(at);
                }
            }
        }
        if self.portions().is_empty() {
            self.portions = None;
        }
    }

    /// Everything in it as one amount, reservations and volumes forgotten.
    pub fn flatten(&self) -> Amount {
        let mut all = Amount::default();
        for portion in self.portions() {
            all.add(&portion.amount);
        }
        all
    }

    /// The scalars in it, reservations and volumes forgotten.
    pub fn quantities(&self) -> Quantities {
        let mut all = Quantities::ZERO;
        for portion in self.portions() {
            all.add(&portion.amount.scalars);
        }
        all
    }

    /// Takes `wanted` out of it as a framework of `role` may: what is reserved for the role first (deepest role
    /// first), then what is kept for nobody; volumes are left alone. `None`, and nothing changed, when it does not fit.
    pub fn take(&mut self, role: &Role, wanted: &Amount) -> Option<Resources> {
        let mut missing = wanted.clone();
        let mut taken = Resources::default();
        // Sorted by reservation: `None` first, then parents before children; so backwards is deepest first.
        for portion in self.portions().iter().rev() {
            let usable = portion.volume.is_none()
                && portion.reservation.as_ref().is_none_or(|reserved| role.is_within(reserved));
            if !usable || missing.is_empty() {
                continue;
            }
            let rest = missing.saturating_sub(&portion.amount);
            let part = missing.saturating_sub(&rest);
            missing = rest;
            taken.add_portion(&Portion {
                reservation: portion.reservation.clone(),
                volume: None,
                amount: part,
            });
        }
        (missing.is_empty() && self.try_sub(&taken)).then_some(taken)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let parts: Vec<String> = self.portions().iter().map(Portion::to_string).collect();
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(path: &str) -> Role {
        Role::new(path).unwrap()
    }

    fn cpus(milli: u64) -> Amount {
        Amount::scalars(Quantities::of(milli, 0))
    }

    fn ports(first: u64, last: u64) -> Amount {
        Amount::default().with_ports(Ranges::single(first, last))
    }

    /// Small random resources in two reservations and one volume, so that what is equal, contained or apart is hit often.
    fn some(seed: &mut u64) -> Resources {
        let mut below = |bound: u64| {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*seed >> 33) % bound
        };
        let mut all = Resources::EMPTY;
        for at in 0..3 {
            let first = below(12);
            let mut amount = cpus(below(4)).with_ports(Ranges::from_pairs([(first, first + below(4))]));
            if below(2) == 0 {
                amount.set_set("disks", [format!("d{}", below(3))].into());
            }
            let volume = (at == 2).then(|| VolumeId::new("v").unwrap());
            all.add_portion(&Portion { reservation: (at > 0).then(|| role("a")), volume, amount });
        }
        all
    }

    #[test]
    fn what_is_added_can_be_taken_away_again() {
        let mut seed = 1;
        for _ in 0..2000 {
            let (a, b) = (some(&mut seed), some(&mut seed));
            assert_eq!(a.overlaps(&b), a.saturating_sub(&b) != a);
            assert_eq!(b.saturating_sub(&a).is_empty(), a.contains(&b));
            let mut sum = a.clone();
            sum.add(&b);
            assert!(sum.contains(&a) && sum.contains(&b));
            // Scalars add up; ports and items unite, so they come apart only when the two had none in common.
            let scalars_only = |r: &Resources| r.quantities();
            let mut scalars = scalars_only(&a);
            scalars.add(&scalars_only(&b));
            assert_eq!(scalars_only(&sum), scalars);
            if !a.overlaps(&b) {
                let mut rest = sum.clone();
                assert!(rest.try_sub(&b));
                assert_eq!(rest, a);
                assert!(rest.try_sub(&a));
                assert_eq!(rest, Resources::EMPTY);
            }
            let mut kept = a.clone();
            assert_eq!(kept.try_sub(&b), a.contains(&b));
            if !a.contains(&b) {
                assert_eq!(kept, a, "a refused subtraction changes nothing");
            }
        }
    }

    #[test]
    fn a_clone_does_not_follow_its_original() {
        let mut a = Resources::unreserved(cpus(4000));
        let b = a.clone();
        assert!(a.try_sub(&Resources::unreserved(cpus(1000))));
        assert_eq!((a.quantities().cpus_milli(), b.quantities().cpus_milli()), (3000, 4000));
    }

    #[test]
    fn reserved_comes_before_unreserved_and_volumes_stay() {
        let mut all = Resources::unreserved(cpus(4000));
        all.add(&Resources::reserved(role("a"), cpus(1000)));
        all.add(&Resources::reserved(role("a/b"), cpus(1000)));
        all.add(&Resources::reserved(role("c"), cpus(1000)));
        let mut rest = all.clone();
        let taken = rest.take(&role("a/b"), &cpus(2500)).unwrap();
        let of = |r: &Resources, who: Option<&str>| {
            let held = r.portions().iter().find(|p| p.reservation == who.map(role));
            held.map_or(0, |p| p.amount.scalars.cpus_milli())
        };
        assert_eq!((of(&taken, Some("a/b")), of(&taken, Some("a")), of(&taken, None)), (1000, 1000, 500));
        assert_eq!(of(&rest, Some("c")), 1000);
        assert_eq!(all.clone().take(&role("a/b"), &cpus(6001)), None);
    }

    #[test]
    fn the_same_port_is_not_there_twice() {
        let mut a = Resources::unreserved(ports(10, 20));
        a.add(&Resources::unreserved(ports(15, 25)));
        assert_eq!(a, Resources::unreserved(ports(10, 25)));
        assert!(a.overlaps(&Resources::unreserved(ports(25, 30))));
        assert!(!a.overlaps(&Resources::unreserved(ports(26, 30))));
    }
}
