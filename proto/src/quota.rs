//! Quota of a role: what it is guaranteed and what it may never pass.

use std::collections::BTreeMap;

use crate::quantities::{Quantities, Scalar};

/// Guarantees and limits of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Kept available for the role before fair share; zero guarantees nothing.
    pub guarantees: Quantities,
    /// What the role and all roles below it together never pass.
    pub limits: Limits,
}

/// An upper bound for some scalars; a scalar that is absent is unbounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(pub BTreeMap<Scalar, u64>);

// === impl Limits ===

impl Limits {
    /// Whether nothing is bounded.
    pub fn is_unbounded(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `used` stays within the bounds.
    pub fn allow(&self, used: &Quantities) -> bool {
        self.0.iter().all(|(scalar, limit)| used.get(scalar) <= *limit)
    }
}
