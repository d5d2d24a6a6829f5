//! Calls to the frameworks' state as their clients saw them, and the search for an order of them, key by key.

use std::collections::BTreeMap;

use crate::key::{Action, Came, OneKey};
use crate::search::{Event, Verdict, search};
use crate::{Broken, broken};

/// A key, by number.
pub type Key = u32;

/// A key as it was found. Each put holds a value of its own, so that a value says which call it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kv {
    /// What it held.
    pub value: u64,
    /// The revision at which it came to be.
    pub created: u64,
    /// The revision of its last change.
    pub modified: u64,
    /// How often it was put since it came to be.
    pub version: u64,
}

/// What must hold of a key for a swap; of one that is not there both are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It was changed last at this revision.
    Modified(u64),
    /// It was put so often.
    Version(u64),
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What does a key hold? `stale`: whatever the master has that is asked.
    Get {
        /// Which.
        key: Key,
        /// Whether it may be old.
        stale: bool,
    },
    /// What do all keys hold from one to another, that one too?
    List {
        /// The first.
        from: Key,
        /// The last.
        to: Key,
    },
    /// Set a key.
    Put {
        /// Which.
        key: Key,
        /// To what.
        value: u64,
    },
    /// Set a key if it is as it was seen, and with it another one, which may be anyhow. If not, say how it is.
    Swap {
        /// Which.
        key: Key,
        /// How it was seen.
        guard: Guard,
        /// To what both are set.
        value: u64,
        /// The other one.
        also: Option<Key>,
    },
    /// Delete a key.
    Delete {
        /// Which.
        key: Key,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a get.
    Found(Option<Kv>),
    /// To a list: those that are there.
    Listed(Vec<(Key, Kv)>),
    /// It is set, or swapped.
    Done,
    /// It was not as it was seen, but so; nothing is changed.
    Otherwise(Option<Kv>),
    /// Whether there was something to delete.
    Deleted(bool),
}

/// An answer, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When, by the clock of the calls.
    pub at: u64,
    /// The revision that the store said it was carried out at.
    pub revision: u64,
    /// What.
    pub answer: Answer,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Who called.
    pub client: u32,
    /// When, by one clock for all calls.
    pub called: u64,
    /// What.
    pub asked: Asked,
    /// `None`: nobody knows what came of it.
    pub answered: Option<Answered>,
}

/// What a search of all keys took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Keys.
    pub keys: u64,
    /// The most calls that concerned one.
    pub longest: u64,
    /// The most steps that one took.
    pub steps: u64,
}

impl Asked {
    /// Whether it can change something.
    pub fn writes(&self) -> bool {
        match self {
            Asked::Put { .. } | Asked::Swap { .. } | Asked::Delete { .. } => true,
            Asked::Get { .. } | Asked::List { .. } => false,
        }
    }
}

/// Looks for an order of the calls on each key, in at most `limit` steps each.
pub fn search_keys(ops: &[Op], limit: u64) -> Result<Searched, Broken> {
    let mut keys: BTreeMap<Key, Vec<(usize, Event<Action>)>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        for (key, action) in parts(op)? {
            keys.entry(key).or_default().push((at, event(op, action)));
        }
    }
    let mut searched = Searched { keys: keys.len() as u64, ..Searched::default() };
    for (key, events) in keys {
        searched.longest = searched.longest.max(events.len() as u64);
        searched.steps = searched.steps.max(search_one(ops, key, events, limit)?);
    }
    Ok(searched)
}

/// The same for one of the keys; how many steps it took.
pub fn search_key(ops: &[Op], key: Key, limit: u64) -> Result<u64, Broken> {
    search_one(ops, key, events_of(ops, key)?, limit)
}

/// What was done to a key, each with the number of the call.
pub fn events_of(ops: &[Op], key: Key) -> Result<Vec<(usize, Event<Action>)>, Broken> {
    let mut events = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let parts = parts(op)?.into_iter().filter(|(of, _)| *of == key);
        events.extend(parts.map(|(_, action)| (at, event(op, action))));
    }
    Ok(events)
}

fn event(op: &Op, action: Action) -> Event<Action> {
    Event { called: op.called, answered: op.answered.as_ref().map(|answered| answered.at), action }
}

fn search_one(ops: &[Op], key: Key, events: Vec<(usize, Event<Action>)>, limit: u64) -> Result<u64, Broken> {
    let (numbers, events): (Vec<usize>, Vec<Event<Action>>) = events.into_iter().unzip();
    match search(&OneKey, &events, limit) {
        Verdict::Ordered(steps) => Ok(steps),
        Verdict::Undecided => {
            let open = events.iter().filter(|event| event.answered.is_none()).count();
            broken(format!(
                "key {key}: undecided after {limit} steps: {} calls, {open} of them without an answer",
                events.len()
            ))
        }
        Verdict::Impossible { placed, stuck } => {
            let next: Vec<String> = stuck.iter().map(|at| format!("{:?}", ops[numbers[*at]])).collect();
            broken(format!(
                "key {key}: no order explains its {} calls; {placed} can be explained, and then none of these can be the \
                 next:\n  {}",
                events.len(),
                next.join("\n  ")
            ))
        }
    }
}

/// What a call means for each key that it is about. Calls that may be old, and reads that nobody answered, mean nothing.
fn parts(op: &Op) -> Result<Vec<(Key, Action)>, Broken> {
    let unfit = || broken(format!("an answer to something else than was asked: {op:?}"));
    let Some(Answered { revision, answer, .. }) = &op.answered else {
        return Ok(match op.asked {
            Asked::Get { .. } | Asked::List { .. } => Vec::new(),
            Asked::Put { key, value } => vec![(key, Action::Put { value, revision: None })],
            Asked::Swap { key, guard, value, also } => {
                let first = (key, Action::Swap { guard, value, came: Came::Unknown });
                let second = also.map(|also| (also, Action::Put { value, revision: None }));
                [first].into_iter().chain(second).collect()
            }
            Asked::Delete { key } => vec![(key, Action::Delete { came: None })],
        });
    };
    let revision = *revision;
    Ok(match (&op.asked, answer) {
        (Asked::Get { stale: true, .. }, Answer::Found(_)) => Vec::new(),
        (Asked::Get { key, stale: false }, Answer::Found(found)) => {
            vec![(*key, Action::Read { found: *found, revision })]
        }
        (Asked::List { from, to }, Answer::Listed(kvs)) => {
            let found = |key: Key| kvs.iter().find(|(of, _)| *of == key).map(|(_, kv)| *kv);
            (*from..=*to).map(|key| (key, Action::Read { found: found(key), revision })).collect()
        }
        (Asked::Put { key, value }, Answer::Done) => {
            vec![(*key, Action::Put { value: *value, revision: Some(revision) })]
        }
        (Asked::Swap { key, guard, value, also }, Answer::Done) => {
            let first = Action::Swap { guard: *guard, value: *value, came: Came::Done(revision) };
            let second = Action::Put { value: *value, revision: Some(revision) };
            [(*key, first)].into_iter().chain(also.map(|also| (also, second))).collect()
        }
        (Asked::Swap { key, guard, value, .. }, Answer::Otherwise(found)) => {
            let came = Came::Otherwise(*found, revision);
            vec![(*key, Action::Swap { guard: *guard, value: *value, came })]
        }
        (Asked::Delete { key }, Answer::Deleted(there)) => {
            vec![(*key, Action::Delete { came: Some((*there, revision)) })]
        }
        _ => return unfit(),
    })
}
