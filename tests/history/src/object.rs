//! `Object`: something that the registry keeps for operators, such as the weight of a role or a secret, as a model.

use std::collections::BTreeMap;

use crate::search::{Event, Model, Verdict, search};
use crate::store::Searched;
use crate::{Broken, broken};

/// An object that holds a number; 0 stands for what it holds when nobody has said anything.
#[derive(Clone, Copy, Debug)]
pub struct Object;

/// What was done to it, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was set. When that was not answered, it was at some time, or never.
    Set(u64),
    /// It was removed, if it was there: whether it was. `None`: nobody knows.
    Remove(Option<bool>),
    /// It was read.
    Read {
        /// What it held.
        value: u64,
        /// How often it was set since it is there, where that is told.
        version: Option<u64>,
    },
}

/// A call about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Which object.
    pub object: String,
    /// Who called.
    pub client: u32,
    /// When.
    pub called: u64,
    /// When it was answered.
    pub answered: Option<u64>,
    /// What, and what came of it.
    pub action: Action,
}

impl Model for Object {
    /// What it holds, and how often it was set.
    type State = (u64, u64);
    type Action = Action;

    fn first(&self) -> (u64, u64) {
        (0, 0)
    }

    fn after(&self, state: &(u64, u64), action: &Action) -> Option<(u64, u64)> {
        let (held, times) = *state;
        match action {
            Action::Set(value) => Some((*value, times + 1)),
            Action::Remove(None) => Some((0, 0)),
            Action::Remove(Some(there)) => (*there == (times > 0)).then_some((0, 0)),
            Action::Read { value, version } => {
                (*value == held && version.is_none_or(|version| version == times)).then_some((held, times))
            }
        }
    }
}

/// Looks for an order of the calls on each object, in at most `limit` steps each.
pub fn search_objects(ops: &[Op], limit: u64) -> Result<Searched, Broken> {
    let mut objects: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in ops {
        // A read that nobody answered says nothing.
        if op.answered.is_some() || !matches!(op.action, Action::Read { .. }) {
            objects.entry(&op.object).or_default().push(op);
        }
    }
    let mut searched = Searched { keys: objects.len() as u64, ..Searched::default() };
    for (object, ops) in objects {
        let event = |op: &&Op| Event { called: op.called, answered: op.answered, action: op.action.clone() };
        let events: Vec<Event<Action>> = ops.iter().map(event).collect();
        searched.longest = searched.longest.max(events.len() as u64);
        match search(&Object, &events, limit) {
            Verdict::Ordered(steps) => searched.steps = searched.steps.max(steps),
            Verdict::Undecided => {
                return broken(format!("{object}: undecided after {limit} steps, {} calls", ops.len()));
            }
            Verdict::Impossible { placed, stuck } => {
                let next: Vec<String> = stuck.iter().map(|at| format!("{:?}", ops[*at])).collect();
                return broken(format!(
                    "{object}: no order explains its {} calls; {placed} can be explained, and then none of these can be \
                     the next:\n  {}",
                    ops.len(),
                    next.join("\n  ")
                ));
            }
        }
    }
    Ok(searched)
}
