//! Ranges of integers, such as ports.

use std::fmt;
use std::str::FromStr;

/// A set of integers as sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

// === impl Ranges ===

impl Ranges {
    /// One inclusive range; empty when `first > last`.
    pub fn single(first: u64, last: u64) -> Self {
        if first > last { Ranges::default() } else { Ranges(vec![(first, last)]) }
    }

    /// From inclusive pairs in any order; pairs with `first > last` are left out.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut pairs: Vec<(u64, u64)> = pairs.into_iter().filter(|(first, last)| first <= last).collect();
        pairs.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(pairs.len());
        for (first, last) in pairs {
            match merged.last_mut() {
                Some(top) if first <= top.1.saturating_add(1) => top.1 = top.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged)
    }

    /// The inclusive pairs, sorted and disjoint.
    pub fn pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many integers are in it; saturates.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0u64, |n, (first, last)| n.saturating_add((last - first).saturating_add(1)))
    }

    /// The smallest `n` integers of it; `None` when there are fewer.
    pub fn smallest(&self, n: u64) -> Option<Ranges> {
        if self.count() < n {
            return None;
        }
        let mut missing = n;
        let mut pairs = Vec::new();
        for (first, last) in &self.0 {
            if missing == 0 {
                break;
            }
            let take = missing.min((last - first).saturating_add(1));
            pairs.push((*first, first + (take - 1)));
            missing -= take;
        }
        Some(Ranges(pairs))
    }

    /// `n` integers of it, the smallest that are at least `from`, then from the smallest on; `None` when there are fewer.
    /// Moving `from` past what was last picked lets an integer that was just given back rest for a while.
    pub fn pick(&self, n: u64, from: u64) -> Option<Ranges> {
        if from == 0 {
            return self.smallest(n);
        }
        let at = self.0.partition_point(|(_, last)| *last < from);
        let mut high: Vec<(u64, u64)> = self.0[at..].to_vec();
        if let Some(first) = high.first_mut() {
            first.0 = first.0.max(from);
        }
        let high = Ranges(high);
        match n.checked_sub(high.count()) {
            None | Some(0) => high.smallest(n),
            Some(missing) => Ranges::difference(self, &high).smallest(missing).map(|low| low.union(&high)),
        }
    }

    /// Whether the two have an integer in common.
    pub fn overlaps(&self, other: &Ranges) -> bool {
        other.0.iter().any(|(first, last)| {
            let at = self.0.partition_point(|(_, end)| end < first);
            self.0.get(at).is_some_and(|(start, _)| start <= last)
        })
    }

    /// Whether one integer is in it.
    pub fn has(&self, value: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < value);
        self.0.get(at).is_some_and(|(first, _)| *first <= value)
    }

    /// Whether all of `other` is in it.
    pub fn contains(&self, other: &Ranges) -> bool {
        other.0.iter().all(|(first, last)| {
            let at = self.0.partition_point(|(_, end)| end < first);
            self.0.get(at).is_some_and(|(start, end)| start <= first && last <= end)
        })
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Ranges) -> Ranges {
        Ranges::from_pairs(self.0.iter().chain(&other.0).copied())
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Ranges) -> Ranges {
        let mut rest = Vec::new();
        for &(first, last) in &self.0 {
            let mut start = Some(first);
            let from = other.0.partition_point(|(_, end)| *end < first);
            for &(cut_first, cut_last) in other.0[from..].iter().take_while(|(begin, _)| *begin <= last) {
                if let Some(begin) = start
                    && begin < cut_first
                {
                    rest.push((begin, cut_first - 1));
                }
                start = cut_last.checked_add(1).filter(|next| *next <= last);
            }
            if let Some(begin) = start {
                rest.push((begin, last));
            }
        }
        Ranges(rest)
    }

    /// Every integer in it, smallest first.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, (first, last)) in self.0.iter().enumerate() {
            let gap = if n == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{gap}{first}")?,
                false => write!(f, "{gap}{first}-{last}")?,
            }
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a text is not ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRanges(pub String);

impl fmt::Display for BadRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not ranges; write them as 8080 or 31000-32000,33000", self.0)
    }
}

impl FromStr for Ranges {
    type Err = BadRanges;
    fn from_str(text: &str) -> Result<Self, BadRanges> {
        let bad = || BadRanges(text.to_owned());
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let mut pairs = Vec::new();
        for part in inner.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u64 = first.trim().parse().map_err(|_| bad())?;
            let last: u64 = last.trim().parse().map_err(|_| bad())?;
            if first > last {
                return Err(bad());
            }
            pairs.push((first, last));
        }
        Ok(Ranges::from_pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn some(seed: &mut u64) -> (Ranges, BTreeSet<u64>) {
        let mut below = |bound: u64| {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*seed >> 33) % bound
        };
        let pairs: Vec<(u64, u64)> = (0..below(6))
            .map(|_| {
                let first = below(40);
                (first, first + below(5))
            })
            .collect();
        let model = pairs.iter().flat_map(|(first, last)| *first..=*last).collect();
        (Ranges::from_pairs(pairs), model)
    }

    #[test]
    fn ranges_are_sets_of_integers() {
        let mut seed = 3;
        for _ in 0..5000 {
            let ((a, ma), (b, mb)) = (some(&mut seed), some(&mut seed));
            let as_set = |r: &Ranges| r.iter().collect::<BTreeSet<u64>>();
            assert_eq!(as_set(&a), ma);
            assert!(a.pairs().windows(2).all(|w| w[0].1 + 1 < w[1].0), "{a} is in its normal form");
            assert_eq!(a.count(), ma.len() as u64);
            assert_eq!(as_set(&a.union(&b)), &ma | &mb);
            assert_eq!(as_set(&a.difference(&b)), &ma - &mb);
            assert_eq!(a.contains(&b), mb.is_subset(&ma));
            assert_eq!(a.overlaps(&b), !ma.is_disjoint(&mb));
            let (n, from) = (b.count().min(7), mb.first().copied().unwrap_or(0));
            let rotated = ma.iter().filter(|i| **i >= from).chain(ma.iter().filter(|i| **i < from));
            let wanted: BTreeSet<u64> = rotated.copied().take(n as usize).collect();
            match a.pick(n, from) {
                Some(picked) => {
                    assert_eq!(as_set(&picked), wanted);
                    assert_eq!(picked, Ranges::from_pairs(picked.pairs().iter().copied()), "normal form");
                }
                None => assert!((ma.len() as u64) < n),
            }
        }
    }

    #[test]
    fn the_ends_of_the_integers_do_not_overflow() {
        let all = Ranges::single(0, u64::MAX);
        assert_eq!(all.count(), u64::MAX, "saturates");
        assert!(all.difference(&Ranges::single(1, u64::MAX - 1)).has(u64::MAX));
        assert_eq!(Ranges::single(u64::MAX, u64::MAX).pick(1, u64::MAX).map(|r| r.count()), Some(1));
    }
}
