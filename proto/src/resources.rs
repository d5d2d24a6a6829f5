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
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    portions: Vec<Portion>,
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
            let united = self.range(name).union(ranges);
            self.set_range(name, united);
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
        rest.scalars = self.scalars.saturating_sub(&other.scalars);
        for (name, ranges) in &other.ranges {
            rest.set_range(name, self.range(name).difference(ranges));
        }
        for (name, items) in &other.sets {
            if let Ok(at) = rest.sets.binary_search_by(|(n, _)| n.cmp(name)) {
                let left = rest.sets[at].1.difference(items).cloned().collect();
                rest.set_set(name, left);
            }
        }
        rest
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
    pub const EMPTY: Resources = Resources { portions: Vec::new() };

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
        &self.portions
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.portions.is_empty()
    }

    fn find(&self, portion: &Portion) -> Result<usize, usize> {
        self.portions.binary_search_by(|p| p.key().cmp(&portion.key()))
    }

    /// Adds one portion.
    pub fn add_portion(&mut self, portion: &Portion) {
        if portion.amount.is_empty() {
            return;
        }
        match self.find(portion) {
            Ok(at) => self.portions[at].amount.add(&portion.amount),
            Err(at) => self.portions.insert(at, portion.clone()),
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Resources) {
        if self.portions.is_empty() {
            self.portions.clone_from(&other.portions);
            return;
        }
        for portion in &other.portions {
            self.add_portion(portion);
        }
    }

    /// Whether all of `other` is in it, portion by portion.
    pub fn contains(&self, other: &Resources) -> bool {
        other
            .portions
            .iter()
            .all(|p| self.find(p).is_ok_and(|at| self.portions[at].amount.contains(&p.amount)))
    }

    /// Subtracts; false, and nothing changed, when something is not there.
    #[must_use]
    pub fn try_sub(&mut self, other: &Resources) -> bool {
        if !self.contains(other) {
            return false;
        }
        for portion in &other.portions {
            if let Ok(at) = self.find(portion) {
                let rest = self.portions[at].amount.saturating_sub(&portion.amount);
                if rest.is_empty() {
                    self.portions.remove(at);
                } else {
                    self.portions[at].amount = rest;
                }
            }
        }
        true
    }

    /// Everything in it as one amount, reservations and volumes forgotten.
    pub fn flatten(&self) -> Amount {
        let mut all = Amount::default();
        for portion in &self.portions {
            all.add(&portion.amount);
        }
        all
    }

    /// The scalars in it, reservations and volumes forgotten.
    pub fn quantities(&self) -> Quantities {
        let mut all = Quantities::ZERO;
        for portion in &self.portions {
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
        for portion in self.portions.iter().rev() {
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
        if self.portions.is_empty() {
            return f.write_str("nothing");
        }
        let parts: Vec<String> = self.portions.iter().map(Portion::to_string).collect();
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}
