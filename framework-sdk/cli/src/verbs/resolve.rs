//! From what was typed to the one thing it means: ids, names, unique beginnings; and what was probably meant.

use std::cmp::Ordering;

use proto::operator::List;

use super::list;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::shapes::Listing;

/// At most so many candidates are named.
const NAMED_MAX: usize = 5;

/// The one item that was meant: its id or full name, else its name, else the beginning of its id. Where that fits
/// several, the one that is not over; of several that are over and have one name, the newest.
pub fn one<'a, V: View>(items: &'a [V], wanted: &str) -> Result<&'a V, Failure> {
    let exact: Vec<&V> =
        items.iter().filter(|item| item.id() == wanted || item.full_name() == wanted).collect();
    let named = || items.iter().filter(|item| item.aliases().iter().any(|name| name == wanted)).collect();
    let beginning =
        || items.iter().filter(|item| !wanted.is_empty() && item.id().starts_with(wanted)).collect();
    let mut found: Vec<&V> = exact;
    for more in [&named as &dyn Fn() -> Vec<&'a V>, &beginning] {
        if found.is_empty() {
            found = more();
        }
    }
    if found.len() > 1 {
        found = likeliest(found);
    }
    match found.as_slice() {
        [item] => Ok(item),
        [] => Err(nothing(items, wanted)),
        several => Err(ambiguous(several, wanted)),
    }
}

/// Those that one of these words may mean; all, where the masters do not know what they are called, or none does: what
/// was probably meant is found among all.
pub async fn listed<V: View>(client: &Client, selection: List, words: &[String]) -> Result<Listing<V>, Stop> {
    if V::CALLED_AT_MASTERS && !words.is_empty() && words.len() <= List::CALLED_MAX {
        let called = List { called: words.to_vec(), ..selection.clone() };
        let listing = list::<V>(client, called).await?;
        if words
            .iter()
            .all(|word| !matches!(one(&listing.items, word), Err(failure) if failure.exit == Exit::NotFound))
        {
            return Ok(listing);
        }
    }
    list::<V>(client, selection).await
}

/// The one thing that was meant.
pub async fn find<V: View>(client: &Client, selection: List, wanted: &str) -> Result<V, Stop> {
    let items = listed::<V>(client, selection, &[wanted.to_owned()]).await?.items;
    Ok(one(&items, wanted)?.clone())
}

/// Those that are not over; or else the newest, if all are starts of one thing.
fn likeliest<V: View>(found: Vec<&V>) -> Vec<&V> {
    let alive: Vec<&V> = found.iter().copied().filter(|item| !item.is_over()).collect();
    if !alive.is_empty() {
        return alive;
    }
    let newest = found.iter().map(|item| item.since_ms()).max();
    // What stands before the id, and the name: two frameworks may have tasks of one name.
    let whose = |item: &V| (item.full_name().strip_suffix(&item.id()).map(str::to_owned), item.aliases());
    let same = found.windows(2).all(|two| match two {
        [a, b] => whose(a) == whose(b),
        _ => true,
    });
    if !same {
        return found;
    }
    found.into_iter().filter(|item| Some(item.since_ms()) == newest).collect()
}

fn nothing<V: View>(items: &[V], wanted: &str) -> Failure {
    let hint = match meant(items, wanted) {
        Some(name) => format!("did you mean {name}?"),
        None if items.is_empty() => format!("there are no {}", V::MANY),
        None => format!("see `stoa get {}`", V::MANY),
    };
    Failure::not_found(format!("there is no {} {wanted}", V::ONE), hint)
}

fn ambiguous<V: View>(several: &[&V], wanted: &str) -> Failure {
    let names: Vec<String> = several.iter().take(NAMED_MAX).map(|item| item.full_name()).collect();
    let more = several.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Failure::usage(
        format!("{wanted} may be any of {} {}", several.len(), V::MANY),
        format!("write more of it: {}{more}", names.join(", ")),
    )
}

/// The id or name nearest to what was typed, if it is near at all.
fn meant<V: View>(items: &[V], wanted: &str) -> Option<String> {
    nearest(items.iter().flat_map(|item| std::iter::once(item.id()).chain(item.aliases())), wanted)
}

/// The name nearest to what was typed, if one is near at all.
pub(crate) fn nearest(names: impl Iterator<Item = String>, wanted: &str) -> Option<String> {
    let reach = (wanted.chars().count() / 3).clamp(1, 3);
    names
        .map(|name| (distance(&name, wanted), name))
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, changed or swapped with the next (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Rows of the table for the beginnings of `a`: the one before the last, the last, and the one that is filled.
    let mut older: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            let mut best = at(&last, j) + usize::from(x != y);
            best = best.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&older, j - 1) + 1);
            }
            row.push(best);
        }
        older = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// Orders `web.2` before `web.10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let same = same_beginning(a, b);
    let (mut a, mut b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    loop {
        let (x, y) = match (a.chars().next(), b.chars().next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.cmp(&y),
        };
        let step = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(a), digits(b));
            let (v, w) = (m.trim_start_matches('0'), n.trim_start_matches('0'));
            let order = v.len().cmp(&w.len()).then_with(|| v.cmp(w)).then_with(|| m.len().cmp(&n.len()));
            (order, m.len(), n.len())
        } else {
            (x.cmp(&y), x.len_utf8(), y.len_utf8())
        };
        if step.0 != Ordering::Equal {
            return step.0;
        }
        a = a.get(step.1..).unwrap_or_default();
        b = b.get(step.2..).unwrap_or_default();
    }
}

/// How many bytes both begin with, up to a number or character that goes on: nearly all of most names, of which thousands
/// are ordered.
fn same_beginning(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let whole =
        a.get(..same).map_or(same, |begins| begins.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    (0..=whole).rev().find(|at| a.is_char_boundary(*at)).unwrap_or(0)
}

/// A name that orders as people count.
#[derive(Debug, PartialEq, Eq)]
pub struct Natural(pub String);

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(&self.0, &other.0)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_swaps_once() {
        for (a, b, d) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("web.1", "wbe.1", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }

    #[test]
    fn what_two_names_begin_with_does_not_change_their_order() {
        for (a, b, order) in [
            ("web.12", "web.3", Ordering::Greater),
            ("web.12", "web.123", Ordering::Less),
            ("web.1", "web.1a", Ordering::Less),
            ("12", "13", Ordering::Less),
            ("web", "web", Ordering::Equal),
            ("", "web", Ordering::Less),
            // Two characters of which the first bytes are the same, behind a number and before one.
            ("7é1", "7è1", Ordering::Greater),
            ("é10", "é9", Ordering::Greater),
        ] {
            assert_eq!((natural(a, b), natural(b, a)), (order, order.reverse()), "{a} {b}");
        }
    }

    #[test]
    fn numbers_order_as_numbers() {
        let mut names = ["web.10", "web.2", "web.1", "api", "web", "web.02", "web.99999999999999999999999"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["api", "web", "web.1", "web.2", "web.02", "web.10", "web.99999999999999999999999"]
        );
    }
}
