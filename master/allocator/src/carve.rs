//! Carving: what of an agent's free resources a client of a role is given, whole or in units of a shape.

use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto_machine::mutants::{self, Mutant};

use crate::quota::{Purse, depth_of};
use crate::shapes::Shape;

/// The portions that a client of the role may have, what is reserved deepest first, what is kept for nobody last.
fn usable<'a>(free: &'a Resources, role: &'a Role) -> impl Iterator<Item = &'a Portion> {
    // Sorted by reservation: `None` first, then parents before children.
    free.portions()
        .iter()
        .rev()
        .filter(move |portion| portion.reservation.as_ref().is_none_or(|kept| may_have(role, kept)))
}

/// Whether a role may have what is reserved for another.
fn may_have(role: &Role, kept: &Role) -> bool {
    role.is_within(kept) || mutants::is(Mutant::GiveReserved)
}

/// All that is free and that the role may have: scalars chopped to what the purse allows; ports, sets and volumes are
/// never chopped.
pub(crate) fn whole(free: &Resources, role: &Role, purse: &mut Purse) -> Resources {
    let mut offer = Resources::EMPTY;
    for portion in usable(free, role) {
        let depth = depth_of(portion.reservation.as_ref());
        if portion.volume.is_some() {
            if purse.take_whole(depth, &portion.amount.scalars) {
                offer.add_portion(portion);
            }
            continue;
        }
        let scalars = purse.take(depth, &portion.amount.scalars);
        if scalars == portion.amount.scalars {
            offer.add_portion(portion);
        } else {
            let mut chopped = portion.clone();
            chopped.amount.scalars = scalars;
            offer.add_portion(&chopped);
        }
    }
    offer
}

/// How many units of the shape fit into what is free, as far as the purse allows.
pub(crate) fn how_many(free: &Resources, role: &Role, shape: &Shape, purse: &Purse) -> u64 {
    let mut purse = purse.clone();
    let mut scalars = Quantities::ZERO;
    let mut counts: Vec<u64> = vec![0; shape.ranges.len()];
    let mut items: Vec<_> = shape.sets.iter().map(|(name, items)| (name, items.clone())).collect();
    for portion in usable(free, role).filter(|portion| portion.volume.is_none()) {
        scalars.add(&purse.take(depth_of(portion.reservation.as_ref()), &portion.amount.scalars));
        for (count, (name, _)) in counts.iter_mut().zip(&shape.ranges) {
            *count = count.saturating_add(count_of(&portion.amount, name));
        }
        for (name, missing) in &mut items {
            if let Some((_, have)) = portion.amount.sets().iter().find(|(n, _)| n == *name) {
                missing.retain(|item| !have.contains(item));
            }
        }
    }
    let by_ranges = counts.iter().zip(&shape.ranges).map(|(have, (_, n))| have / n);
    let by_sets = items.iter().map(|(_, missing)| u64::from(missing.is_empty()));
    by_ranges.chain(by_sets).fold(scalars.how_many(&shape.scalars), u64::min)
}

/// How many integers a range has.
pub(crate) fn count_of(amount: &Amount, name: &str) -> u64 {
    amount.ranges().iter().find(|(n, _)| **n == *name).map_or(0, |(_, ranges)| ranges.count())
}

/// Takes so many units of the shape out of what is free, and adds the volumes that the role may have. Integers of
/// ranges are picked from `from` on. `None` when they do not fit.
pub(crate) fn units(
    free: &Resources,
    role: &Role,
    shape: &Shape,
    units: u64,
    purse: &mut Purse,
    from: u64,
) -> Option<Resources> {
    let mut missing = shape.scalars.times(units);
    let mut counts: Vec<u64> = shape.ranges.iter().map(|(_, n)| n.saturating_mul(units)).collect();
    let mut items: Vec<_> = shape.sets.clone();
    let mut offer = Resources::EMPTY;
    for portion in usable(free, role).filter(|portion| portion.volume.is_none()) {
        let depth = depth_of(portion.reservation.as_ref());
        let mut part = Amount::scalars(purse.take(depth, &missing.min(&portion.amount.scalars)));
        missing.sub(&part.scalars);
        for (left, (name, _)) in counts.iter_mut().zip(&shape.ranges) {
            let have = count_of(&portion.amount, name).min(*left);
            if have > 0 {
                let picked = pick(&portion.amount, name, have, from)?;
                part.set_range(name, picked);
                *left -= have;
            }
        }
        for (name, left) in &mut items {
            if let Some((_, have)) = portion.amount.sets().iter().find(|(n, _)| n == name) {
                let found = left.intersection(have).cloned().collect();
                left.retain(|item| !have.contains(item));
                part.set_set(name, found);
            }
        }
        offer.add_portion(&Portion { reservation: portion.reservation.clone(), volume: None, amount: part });
    }
    // Whoever comes back for its data asks for what its task needs besides; the data itself goes with it.
    for portion in usable(free, role).filter(|portion| portion.volume.is_some()) {
        if purse.take_whole(depth_of(portion.reservation.as_ref()), &portion.amount.scalars) {
            offer.add_portion(portion);
        }
    }
    let complete = missing.is_zero()
        && counts.iter().all(|left| *left == 0)
        && items.iter().all(|(_, left)| left.is_empty());
    complete.then_some(offer)
}

fn pick(amount: &Amount, name: &str, n: u64, from: u64) -> Option<Ranges> {
    amount.ranges().iter().find(|(found, _)| **found == *name).and_then(|(_, ranges)| ranges.pick(n, from))
}

/// Whether declined resources cover one unit of the shape, whatever integers its ranges have.
pub(crate) fn covers(declined: &Resources, shape: &Shape) -> bool {
    let all = declined.flatten();
    all.scalars.contains(&shape.scalars)
        && shape.ranges.iter().all(|(name, n)| count_of(&all, name) >= *n)
        && shape.sets.iter().all(|(name, items)| {
            all.sets().iter().any(|(found, have)| found == name && items.is_subset(have))
        })
}

/// Whether what a client of the role may have of `free` is all in `declined`.
pub(crate) fn all_declined(free: &Resources, role: Option<&Role>, declined: &Resources) -> bool {
    if free == declined {
        return true;
    }
    free.portions().iter().all(|portion| {
        let usable = match (&portion.reservation, role) {
            (Some(kept), Some(role)) => role.is_within(kept),
            (Some(_), None) | (None, _) => true,
        };
        !usable
            || declined.portions().iter().any(|other| {
                other.reservation == portion.reservation
                    && other.volume == portion.volume
                    && other.amount.contains(&portion.amount)
            })
    })
}
