//! Each kind of thing: how it is asked for, listed, described and written as JSON.

pub mod agent;
pub mod framework;
pub mod offer;
pub mod reservation;
pub mod role;
pub mod secret;
pub mod task;
pub mod volume;

use proto::operator::{Call, EventKind, List, ReplyKind};
use proto::quantities::{Quantities, Scalar};
use serde::Serialize;

use crate::sheet::Sheet;
use crate::table::Cell;

/// What an event means for one kind of thing.
pub enum Change<V> {
    /// All there is.
    All(Vec<V>),
    /// One is new or different.
    Put(V),
    /// One is no more; how it ended.
    Gone(String, &'static str),
    /// Of another kind.
    Other,
}

/// One kind of thing.
pub trait View: Sized + Clone + PartialEq + Send {
    /// Its kind in JSON: `Task`.
    const KIND: &'static str;
    /// A list of it in JSON: `TaskList`.
    const LIST: &'static str;
    /// One line of a watch in JSON: `TaskChange`.
    const CHANGE: &'static str;
    /// One, in words: `task`.
    const ONE: &'static str;
    /// Several, in words: `tasks`.
    const MANY: &'static str;
    /// Headers of a table.
    const COLUMNS: &'static [&'static str];
    /// More headers of a wide one.
    const WIDE: &'static [&'static str];
    /// Whether the masters know what it is called, so that they can look for it.
    const CALLED_AT_MASTERS: bool = true;
    /// Its JSON.
    type Shape<'a>: Serialize
    where
        Self: 'a;

    /// The call that lists it.
    fn call(list: List) -> Call;
    /// The items of the answer; `None` when it answers something else.
    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>>;
    /// What an event means for it.
    fn of_event(event: EventKind) -> Change<Self>;
    /// What tells it from all others, for a person who will type it again.
    fn id(&self) -> String;
    /// What `-o name` prints: what every verb takes, without doubt.
    fn full_name(&self) -> String {
        self.id()
    }
    /// Other things people call it.
    fn aliases(&self) -> Vec<String>;
    /// Whether it is over: where a name means several, those that are not come first.
    fn is_over(&self) -> bool {
        false
    }
    /// When it began, for those of which the newest is meant.
    fn since_ms(&self) -> u64 {
        0
    }
    /// Whether a list of this selection holds it; the masters select likewise, except in a watch.
    fn selected(&self, list: &List) -> bool;
    /// The cells of a table.
    fn cells(&self, now_ms: u64) -> Vec<Cell>;
    /// More cells of a wide one.
    fn wide_cells(&self, now_ms: u64) -> Vec<Cell>;
    /// Its JSON.
    fn shape(&self) -> Self::Shape<'_>;
    /// A sheet about it.
    fn sheet(&self, now_ms: u64) -> Sheet;
}

/// Used of total: `1.5/4`.
pub(crate) fn used_of(scalar: &Scalar, used: &Quantities, total: &Quantities) -> String {
    format!("{}/{}", scalar.show(used.get(scalar)), scalar.show(total.get(scalar)))
}

/// An amount, or nothing when it is zero.
pub(crate) fn amount_of(scalar: &Scalar, quantities: &Quantities) -> String {
    match quantities.get(scalar) {
        0 => String::new(),
        amount => scalar.show(amount),
    }
}

/// All amounts, or nothing when all are zero.
pub(crate) fn show(quantities: &Quantities) -> String {
    if quantities.is_zero() { String::new() } else { quantities.to_string() }
}

/// An empty selection selects all; else one of the names must be it.
pub(crate) fn matches(selection: &str, names: &[&str]) -> bool {
    selection.is_empty() || names.contains(&selection)
}

/// Words parted by commas.
pub(crate) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
