//! A job file as a tree: what TOML and YAML have in common, with lines and with numbers as they were written.

/// One value of a file and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// From 1.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// What can stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing: `~`.
    Nothing,
    /// True or false.
    Bool(bool),
    /// A number by its text: amounts are exact, so it never becomes a float.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A table, in the order of the file; a key stands in it once.
    Table(Vec<(Key, Node)>),
    /// A date, which no key takes.
    Date(String),
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// From 1.
    pub line: usize,
    /// The key.
    pub text: String,
}

// === impl Value ===

impl Value {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Value::Nothing => "empty".to_owned(),
            Value::Bool(bool) => bool.to_string(),
            Value::Number(text) => text.clone(),
            Value::Text(text) => format!("{:?}", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Date(text) => format!("the date {text}"),
        }
    }
}

/// Texts of users in messages: the beginning will do.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
