//! `explain`: whether the order that the masters claim, revision by revision, makes every answer right, over all keys together.

use std::collections::BTreeMap;

use crate::store::{Answer, Asked, Guard, Key, Kv, Op};
use crate::watch::{Change, History};
use crate::{Broken, broken};

/// How much was explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Calls that changed something, and were told so.
    pub writes: u64,
    /// Calls that were answered and changed nothing.
    pub reads: u64,
    /// Calls that might have changed something and were never answered.
    pub unknown: u64,
    /// Of these, those that did.
    pub unknown_done: u64,
}

/// Every key as it was from each revision on.
struct Keys(BTreeMap<Key, Vec<(u64, Option<Kv>)>>);

/// Whether the order of the history explains all calls: each answer is what was so at its revision, each revision is of one
/// call, and no call stands before one that was answered before it was made.
pub fn explain(ops: &[Op], history: &History) -> Result<Explained, Broken> {
    let keys = Keys::of(history)?;
    let mut explained = Explained::default();
    let owners = owners(ops, history, &mut explained)?;
    for op in ops {
        keys.explain(op, history.last())?;
        if op.answered.is_some() && !changed(op) {
            explained.reads += 1;
        }
    }
    for (revision, at) in &owners {
        let op = &ops[*at];
        if let Asked::Swap { key, guard, .. } = op.asked
            && !holds(guard, keys.at(key, revision - 1))
        {
            return broken(format!(
                "swapped at {revision} where {:?} was: {op:?}",
                keys.at(key, revision - 1)
            ));
        }
    }
    in_time(ops, &owners)?;
    Ok(explained)
}

/// Whether a call was told that it changed something.
fn changed(op: &Op) -> bool {
    match op.answered.as_ref().map(|answered| &answered.answer) {
        Some(Answer::Done | Answer::Deleted(true)) => true,
        Some(Answer::Found(_) | Answer::Listed(_) | Answer::Otherwise(_) | Answer::Deleted(false)) | None => {
            false
        }
    }
}

fn holds(guard: Guard, found: Option<Kv>) -> bool {
    match guard {
        Guard::Modified(seen) => found.map_or(0, |kv| kv.modified) == seen,
        Guard::Version(seen) => found.map_or(0, |kv| kv.version) == seen,
    }
}

/// What a call changes when it is carried out: each key, and what it holds then.
fn wants(asked: &Asked) -> Vec<(Key, Option<u64>)> {
    match *asked {
        Asked::Put { key, value } => vec![(key, Some(value))],
        Asked::Swap { key, value, also, .. } => {
            let mut all: Vec<_> = [key].into_iter().chain(also).map(|key| (key, Some(value))).collect();
            all.sort_unstable();
            all
        }
        Asked::Delete { key } => vec![(key, None)],
        Asked::Get { .. } | Asked::List { .. } => Vec::new(),
    }
}

fn shape(changes: &[Change]) -> Vec<(Key, Option<u64>)> {
    let mut shape: Vec<_> =
        changes.iter().map(|change| (change.key, change.held.map(|kv| kv.value))).collect();
    shape.sort_unstable();
    shape
}

/// Which call each revision is of: the one that was told so, or one that was told nothing.
fn owners(ops: &[Op], history: &History, explained: &mut Explained) -> Result<BTreeMap<u64, usize>, Broken> {
    let mut owners = BTreeMap::new();
    let mut open: BTreeMap<Vec<(Key, Option<u64>)>, Vec<usize>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        let Some(answered) = &op.answered else {
            if op.asked.writes() {
                explained.unknown += 1;
                open.entry(wants(&op.asked)).or_default().push(at);
            }
            continue;
        };
        if !changed(op) {
            continue;
        }
        explained.writes += 1;
        let there = shape(history.at(answered.revision));
        if there != wants(&op.asked) {
            return broken(format!("acknowledged, and {there:?} is what stands there: {op:?}"));
        }
        if let Some(other) = owners.insert(answered.revision, at) {
            return broken(format!("both were told the same revision: {op:?} and {:?}", ops[other]));
        }
    }
    // The one that was made first first: deletions of a key look alike.
    for waiting in open.values_mut() {
        waiting.sort_by_key(|at| std::cmp::Reverse(ops[*at].called));
    }
    for (revision, changes) in history.revisions() {
        if owners.contains_key(&revision) {
            continue;
        }
        let Some(at) = open.get_mut(&shape(changes)).and_then(Vec::pop) else {
            return broken(format!(
                "revision {revision} is of no call, or of one that stands elsewhere: {changes:?}"
            ));
        };
        explained.unknown_done += 1;
        owners.insert(revision, at);
    }
    Ok(owners)
}

/// Whether no call stands before one that was answered before it was made.
fn in_time(ops: &[Op], owners: &BTreeMap<u64, usize>) -> Result<(), Broken> {
    let places: BTreeMap<usize, u64> = owners.iter().map(|(revision, at)| (*at, *revision)).collect();
    let mut calls: Vec<usize> = (0..ops.len()).collect();
    calls.sort_by_key(|at| ops[*at].called);
    let mut answers: Vec<(u64, u64, usize)> = ops
        .iter()
        .enumerate()
        .filter_map(|(at, op)| op.answered.as_ref().map(|answered| (answered.at, answered.revision, at)))
        .collect();
    answers.sort_unstable();
    let mut answers = answers.into_iter().peekable();
    // The greatest revision that anybody was told of by then, and who.
    let (mut told, mut by) = (0, None);
    for at in calls {
        let op = &ops[at];
        while let Some((_, revision, other)) = answers.next_if(|(when, ..)| *when < op.called) {
            if revision > told || by.is_none() {
                (told, by) = (revision, Some(other));
            }
        }
        let fits = match (places.get(&at), &op.answered) {
            (Some(place), _) => *place > told,
            (None, Some(_)) if matches!(op.asked, Asked::Get { stale: true, .. }) => true,
            (None, Some(answered)) => answered.revision >= told,
            (None, None) => true,
        };
        if !fits {
            let before = by.map(|other| format!("{:?}", ops[other])).unwrap_or_default();
            return broken(format!(
                "made after {told} was told, and stands at {:?}: {op:?}\n  before it: {before}",
                places.get(&at).or(op.answered.as_ref().map(|answered| &answered.revision))
            ));
        }
    }
    Ok(())
}

// === impl Keys ===

impl Keys {
    fn of(history: &History) -> Result<Keys, Broken> {
        let mut keys: BTreeMap<Key, Vec<(u64, Option<Kv>)>> = BTreeMap::new();
        for (revision, changes) in history.revisions() {
            for change in changes {
                let versions = keys.entry(change.key).or_default();
                let before = versions.last().and_then(|(_, kv)| *kv);
                let right = match (before, change.held) {
                    (None, None) => false,
                    (Some(_), None) => true,
                    (before, Some(kv)) => {
                        let created = before.map_or(revision, |kv| kv.created);
                        let version = before.map_or(1, |kv| kv.version + 1);
                        (kv.modified, kv.created, kv.version) == (revision, created, version)
                    }
                };
                if !right {
                    return broken(format!("after {before:?} came {change:?}"));
                }
                versions.push((revision, change.held));
            }
        }
        Ok(Keys(keys))
    }

    fn at(&self, key: Key, revision: u64) -> Option<Kv> {
        let versions = self.0.get(&key)?;
        let upto = versions.partition_point(|(from, _)| *from <= revision);
        versions.get(upto.checked_sub(1)?).and_then(|(_, kv)| *kv)
    }

    /// Whether an answer is what was so at its revision.
    fn explain(&self, op: &Op, last: u64) -> Result<(), Broken> {
        let Some(answered) = &op.answered else { return Ok(()) };
        let revision = answered.revision;
        if revision > last {
            return broken(format!("told of a revision behind the last, which is {last}: {op:?}"));
        }
        let (right, was) = match (&op.asked, &answered.answer) {
            (Asked::Get { key, .. }, Answer::Found(found)) => {
                let was = self.at(*key, revision);
                (*found == was, format!("{was:?}"))
            }
            (Asked::List { from, to }, Answer::Listed(found)) => {
                let held = self.0.range(from..=to).map(|(key, _)| *key);
                let was: Vec<_> = held.filter_map(|key| Some((key, self.at(key, revision)?))).collect();
                (*found == was, format!("{was:?}"))
            }
            (Asked::Swap { key, guard, .. }, Answer::Otherwise(found)) => {
                let was = self.at(*key, revision);
                (*found == was && !holds(*guard, was), format!("{was:?}"))
            }
            (Asked::Delete { key }, Answer::Deleted(false)) => {
                let was = self.at(*key, revision);
                (was.is_none(), format!("{was:?}"))
            }
            // That it stands where it was told was looked at before, and what it compares will be.
            (Asked::Put { .. } | Asked::Swap { .. }, Answer::Done) => (true, String::new()),
            (Asked::Delete { .. }, Answer::Deleted(true)) => (true, String::new()),
            _ => (false, "something else was asked".to_owned()),
        };
        if right {
            Ok(())
        } else {
            broken(format!("at {revision} it was so: {was}, and this was told: {op:?}"))
        }
    }
}
