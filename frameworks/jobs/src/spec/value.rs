//! One value of a job file: read, or refused with what would be right.

use std::time::Duration;

use super::fault::{Fault, meant};
use super::keys;
use super::parse_duration;
use super::tree::{Key, Node, Value};

/// A text. A number or truth value is the text of it: `args: [sleep, 100]` and `PORT: 80` mean what they look like.
pub(super) fn text(at: &str, node: Node) -> Result<String, Vec<Fault>> {
    match node.value {
        Value::Text(text) | Value::Number(text) => Ok(text),
        Value::Bool(bool) => Ok(bool.to_string()),
        other @ (Value::Nothing | Value::List(_) | Value::Table(_) | Value::Date(_)) => {
            Err(misfit(node.line, at, &other, "a text"))
        }
    }
}

pub(super) fn whole(at: &str, node: Node, example: &str) -> Result<u32, Vec<Fault>> {
    match &node.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| {
        misfit(
            node.line,
            at,
            &node.value,
            &format!("a whole number of at most {}, such as {example}", u32::MAX),
        )
    })
}

pub(super) fn signed(at: &str, node: Node, example: &str) -> Result<i32, Vec<Fault>> {
    match &node.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| misfit(node.line, at, &node.value, &format!("a whole number, such as {example}")))
}

pub(super) fn flag(at: &str, node: Node) -> Result<bool, Vec<Fault>> {
    match node.value {
        Value::Bool(flag) => Ok(flag),
        other => Err(misfit(node.line, at, &other, "true or false")),
    }
}

/// One of these words, by its place among them.
pub(super) fn word(at: &str, node: Node, words: &[&str]) -> Result<usize, Vec<Fault>> {
    let line = node.line;
    let word = text(at, node)?;
    words.iter().position(|known| *known == word).ok_or_else(|| {
        let hint = meant(&word, words).map_or_else(String::new, |known| format!("; did you mean {known:?}?"));
        let quoted: Vec<String> = words.iter().map(|known| format!("{known:?}")).collect();
        let listed = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            Some(_) | None => quoted.join(""),
        };
        one(line, at, format!("is {}; write {listed}{hint}", Value::Text(word).describe()))
    })
}

/// A text by itself, or a list of such.
pub(super) fn one_or_list(at: &str, node: Node, wanted: &str) -> Result<Vec<(String, Node)>, Vec<Fault>> {
    let items = match node {
        Node { value: Value::Text(_), .. } => vec![node],
        node => list(at, node, wanted)?,
    };
    Ok(items.into_iter().enumerate().map(|(n, node)| (format!("{at}[{n}]"), node)).collect())
}

pub(super) fn amount<E: std::fmt::Display>(
    at: &str,
    node: Node,
    example: &str,
    parse: impl Fn(&str) -> Result<u64, E>,
) -> Result<u64, Vec<Fault>> {
    match &node.value {
        Value::Number(text) | Value::Text(text) => {
            parse(text).map_err(|bad| one(node.line, at, format!("{bad}; write for example {example}")))
        }
        other => Err(misfit(node.line, at, other, &format!("an amount, such as {example}"))),
    }
}

pub(super) fn duration(at: &str, node: Node) -> Result<Duration, Vec<Fault>> {
    const WANTED: &str = "a duration, such as \"5s\", \"500ms\", \"10m\" or \"1h\"";
    match &node.value {
        Value::Text(text) => parse_duration(text),
        _ => None,
    }
    .ok_or_else(|| misfit(node.line, at, &node.value, WANTED))
}

pub(super) fn list(at: &str, node: Node, wanted: &str) -> Result<Vec<Node>, Vec<Fault>> {
    match node.value {
        Value::List(items) => Ok(items),
        other => Err(misfit(node.line, at, &other, wanted)),
    }
}

pub(super) fn table(at: &str, node: Node, wanted: &str) -> Result<Vec<(Key, Node)>, Vec<Fault>> {
    match node.value {
        Value::Table(entries) => Ok(entries),
        other => Err(misfit(node.line, at, &other, &format!("a table, such as {wanted}"))),
    }
}

/// All results, or all faults.
pub(super) fn each<I, T>(
    items: impl IntoIterator<Item = I>,
    mut read: impl FnMut(I) -> Result<T, Vec<Fault>>,
) -> Result<Vec<T>, Vec<Fault>> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        match read(item) {
            Ok(value) => good.push(value),
            Err(wrong) => faults.extend(wrong),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(faults) }
}

pub(super) fn one(line: usize, key: &str, message: String) -> Vec<Fault> {
    vec![Fault { line: Some(line), key: key.to_owned(), message }]
}

pub(super) fn misfit(line: usize, key: &str, given: &Value, wanted: &str) -> Vec<Fault> {
    one(line, key, format!("is {}; write {wanted}", given.describe()))
}

pub(super) fn unknown(key: &Key, prefix: &str, table: &'static [keys::Key]) -> Vec<Fault> {
    let shown: String = key.text.chars().take(60).collect();
    let known = keys::names(table);
    let hint = match meant(&key.text, &known) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("known are {}", known.join(", ")),
    };
    one(key.line, &format!("{prefix}{shown}"), format!("there is no such key; {hint}"))
}
