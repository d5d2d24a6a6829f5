//! TOML as a tree.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::fault::Fault;
use super::tree::{Key, Node, Value};

/// The one table of a TOML file.
pub(crate) fn tree(text: &str) -> Result<Vec<Node>, Fault> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| lines.line(span.start)),
        key: String::new(),
        message: format!("is not TOML: {}", error.message()),
    })?;
    Ok(vec![Node { line: 1, value: value_of_table(table.get_ref(), &lines) }])
}

fn node(spanned: &Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => Value::Number(decimal(integer)),
        DeValue::Float(float) => Value::Number(float.as_str().to_owned()),
        DeValue::Boolean(bool) => Value::Bool(*bool),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(table) => value_of_table(table, lines),
    };
    Node { line: lines.line(spanned.span().start), value }
}

fn value_of_table(table: &DeTable<'_>, lines: &Lines) -> Value {
    let mut entries: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let text = key.get_ref().to_string();
            (Key { line: lines.line(key.span().start), text }, node(value, lines))
        })
        .collect();
    // The parser sorts by key; people read from the top.
    entries.sort_by_key(|(key, _)| key.line);
    Value::Table(entries)
}

fn decimal(integer: &DeInteger<'_>) -> String {
    match integer.radix() {
        10 => integer.as_str().trim_start_matches('+').to_owned(),
        radix => u128::from_str_radix(integer.as_str(), radix)
            .map_or_else(|_| integer.to_string(), |number| number.to_string()),
    }
}

/// Where each line begins.
struct Lines(Vec<usize>);

// === impl Lines ===

impl Lines {
    fn of(text: &str) -> Lines {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines(std::iter::once(0).chain(ends).collect())
    }

    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at)
    }
}
