//! Shares: exact fractions of the pool, prepared so that comparing two is nearly always one subtraction.

use std::cmp::Ordering;
use std::sync::Arc;

use proto::quantities::{FIXED, Quantities};

/// Fraction bits of a rank: share 1 at weight 1 is `2^52`, so that the heaviest scaling (weight 0.001) still fits.
const RANK_BITS: u32 = 52;

/// Ranks this close are compared exactly. A rank is at most 2 below its exact value before the weight is applied, and
/// the lightest weight scales that by 1000.
const RANK_SLACK: u64 = 4096;

/// The dominant share of somebody: the largest of its parts of the pool, divided by its weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// `num / den / weight` scaled to an integer and rounded down a little: decides unless two are very close.
    pub rank: u64,
    pub num: u64,
    den: u64,
    weight: u32,
    /// Two shares of the same unit are in the order of their `num`: the same scalar at the default weight. `NO_UNIT`
    /// has none.
    pub unit: u32,
}

/// See [`Share::unit`].
pub(crate) const NO_UNIT: u32 = u32::MAX;

/// The pool's totals, prepared for computing shares without dividing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scale {
    fixed: [Part; FIXED],
    custom: Vec<(Arc<str>, Part)>,
}

/// The total of one scalar with its reciprocal.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    total: u64,
    /// `floor(2^(63 + n) / total)` where `2^n <= total < 2^(n + 1)`: a number of 63 or 64 bits.
    inverse: u64,
    shift: u32,
}

// === impl Share ===

impl Default for Share {
    fn default() -> Self {
        Share { rank: 0, num: 0, den: 1, weight: 1000, unit: 0 }
    }
}

impl Share {
    /// The exact order of two shares.
    pub fn compare(&self, other: &Share) -> Ordering {
        if self.rank.abs_diff(other.rank) > RANK_SLACK {
            return self.rank.cmp(&other.rank);
        }
        let mine = triple(self.num, other.den, other.weight);
        let others = triple(other.num, self.den, self.weight);
        mine.cmp(&others)
    }

    /// Whether the order of two shares is plain from their ranks.
    pub fn is_apart(rank: u64, other: u64) -> bool {
        rank.abs_diff(other) > RANK_SLACK
    }

    /// In millionths, weight not regarded, for people.
    pub fn millionths(&self) -> u64 {
        let exact = u128::from(self.num) * 1_000_000 / u128::from(self.den.max(1));
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

/// `a * b * c` as its upper and lower part: up to 160 bits.
fn triple(a: u64, b: u64, c: u32) -> (u128, u128) {
    let ab = u128::from(a) * u128::from(b);
    let low = (ab & u128::from(u64::MAX)) * u128::from(c);
    let high = (ab >> 64) * u128::from(c) + (low >> 64);
    (high, low & u128::from(u64::MAX))
}

// === impl Scale ===

impl Scale {
    /// Prepares these totals.
    pub fn new(totals: &Quantities) -> Self {
        Scale {
            fixed: totals.fixed().map(Part::new),
            custom: totals.custom().iter().map(|(name, total)| (name.clone(), Part::new(*total))).collect(),
        }
    }

    /// The dominant share of `held` for `weight` (in thousandths). Scalars the pool has none of do not count.
    pub fn share(&self, held: &Quantities, weight: u32) -> Share {
        let mut most = Share::default();
        for (unit, (part, amount)) in self.fixed.iter().zip(held.fixed()).enumerate() {
            part.raise(&mut most, *amount, unit);
        }
        for (name, amount) in held.custom() {
            if let Ok(at) = self.custom.binary_search_by(|(n, _)| n.cmp(name)) {
                self.custom[at].1.raise(&mut most, *amount, FIXED + at);
            }
        }
        if weight != 1000 {
            most.unit = NO_UNIT;
            let scaled = u128::from(most.rank) * 1000 / u128::from(weight.max(1));
            most.rank = u64::try_from(scaled).unwrap_or(u64::MAX);
            most.weight = weight.max(1);
        }
        most
    }
}

// === impl Part ===

impl Part {
    fn new(total: u64) -> Self {
        if total == 0 {
            return Part::default();
        }
        let bits = 63 - total.leading_zeros();
        let inverse = (1u128 << (63 + bits)) / u128::from(total);
        Part { total, inverse: u64::try_from(inverse).unwrap_or(u64::MAX), shift: 63 + bits - RANK_BITS }
    }

    /// Makes `most` this part's share when that is larger.
    fn raise(&self, most: &mut Share, amount: u64, unit: usize) {
        // Nothing of it, or clearly less: the usual end.
        let rank = (u128::from(amount) * u128::from(self.inverse)) >> self.shift;
        let rank = u64::try_from(rank).unwrap_or(u64::MAX);
        if rank.saturating_add(RANK_SLACK) < most.rank || amount == 0 || self.total == 0 {
            return;
        }
        let next = Share { rank, num: amount, den: self.total, weight: 1000, unit: unit as u32 };
        if next.compare(most) == Ordering::Greater {
            *most = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::quantities::Scalar;
    use proto_machine::Dice;

    use super::*;

    /// The definition: for each scalar the cross products decide; no reciprocal, no rank.
    fn slow(a: &Quantities, wa: u32, b: &Quantities, wb: u32, totals: &Quantities) -> Ordering {
        let dominant = |held: &Quantities| {
            let parts = held.iter().filter(|(name, _)| totals.get(name) > 0);
            parts.map(|(name, amount)| (amount, totals.get(&name))).fold((0u64, 1u64), |best, next| {
                let more = u128::from(next.0) * u128::from(best.1) > u128::from(best.0) * u128::from(next.1);
                if more { next } else { best }
            })
        };
        let ((na, da), (nb, db)) = (dominant(a), dominant(b));
        triple(na, db, wb).cmp(&triple(nb, da, wa))
    }

    #[test]
    fn ranks_never_contradict_the_exact_order() {
        let mut dice = Dice::new(11);
        let mut close = 0;
        for _ in 0..20_000 {
            let big = |dice: &mut Dice| 1u64 << dice.below(50);
            let (ct, mt) = (big(&mut dice) + dice.below(1000), big(&mut dice) + dice.below(1000));
            let mut totals = Quantities::of(ct, mt);
            totals.set(&Scalar::named("fpga"), dice.below(3) * 500);
            let scale = Scale::new(&totals);
            let mut some = |near: Option<&Quantities>| match near {
                Some(q) => Quantities::of(q.cpus_milli() + dice.below(2), q.mem_bytes() + dice.below(2)),
                None => {
                    let mut q = Quantities::of(dice.below(ct * 2), dice.below(mt * 2));
                    q.set(&Scalar::named("fpga"), dice.below(3) * 700);
                    q
                }
            };
            let a = some(None);
            let b = if a.cpus_milli() % 2 == 0 { some(Some(&a)) } else { some(None) };
            let weights = [1, 7, 999, 1000, 1001, 2000, u32::MAX];
            let (wa, wb) = (*dice.pick(&weights).unwrap(), *dice.pick(&weights).unwrap());
            let (sa, sb) = (scale.share(&a, wa), scale.share(&b, wb));
            assert_eq!(
                sa.compare(&sb),
                slow(&a, wa, &b, wb, &totals),
                "{a} at {wa}, {b} at {wb} of {totals}"
            );
            close += usize::from(!Share::is_apart(sa.rank, sb.rank));
        }
        assert!(close > 500, "the exact comparison was tested too: {close}");
    }

    #[test]
    fn nothing_of_nothing_is_the_smallest_share() {
        let scale = Scale::new(&Quantities::ZERO);
        let none = scale.share(&Quantities::of(5, 5), 1000);
        assert_eq!(none.compare(&Share::default()), Ordering::Equal);
        let scale = Scale::new(&Quantities::of(1000, 0));
        assert_eq!(scale.share(&Quantities::of(250, 9), 1000).millionths(), 250_000);
    }
}
