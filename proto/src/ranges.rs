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
