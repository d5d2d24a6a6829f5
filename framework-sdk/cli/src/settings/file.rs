//! A file of settings: read whole, with the line of each value, and everything that is wrong with it said at once.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Role, is_setting, key_of, lenient};
use crate::verbs::resolve::nearest;

/// Why a file of settings is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is wrong with it.
    #[error("{}", in_lines(path, faults))]
    Faults {
        /// Which.
        path: PathBuf,
        /// One after another.
        faults: Vec<Fault>,
    },
    /// The flags beside it.
    #[error("the flags of {}: {why}", role.as_str())]
    Flags {
        /// Whose.
        role: Role,
        /// What is wrong.
        why: String,
    },
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; 0: it is about a table as a whole.
    line: usize,
    /// `agent.listen`.
    key: String,
    /// What is wrong, and the fix.
    why: String,
}

/// One value of a file, in its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub role: Role,
    pub arg: Arg,
    pub line: usize,
    pub values: Vec<String>,
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    placed: Vec<Placed>,
    roles: Vec<Role>,
}

// === impl Fault ===

impl Fault {
    pub(super) fn of_role(role: Role, why: String) -> Fault {
        Fault { line: 0, key: role.as_str().to_owned(), why }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}: ", self.line)?;
        }
        match self.key.as_str() {
            "" => f.write_str(&self.why),
            key => write!(f, "{key}: {}", self.why),
        }
    }
}

fn in_lines(path: &Path, faults: &[Fault]) -> String {
    let gap = |fault: &Fault| if fault.line > 0 { ":" } else { ": " };
    let lines = faults.iter().map(|fault| format!("{}{}{fault}", path.display(), gap(fault)));
    lines.collect::<Vec<_>>().join("\n")
}

// === impl Placed ===

impl Placed {
    /// As it would be typed.
    pub fn words(&self) -> Vec<String> {
        let flag = format!("--{}", self.arg.get_long().unwrap_or_default());
        match (self.arg.get_action(), self.values.as_slice()) {
            (ArgAction::SetTrue, [value]) if value == "true" => vec![flag],
            (ArgAction::SetTrue, _) => Vec::new(),
            (_, values) => values.iter().map(|value| format!("{flag}={value}")).collect(),
        }
    }

    /// What is wrong with its values, one by one.
    fn fault(&self, own: &Command) -> Option<Fault> {
        let line = std::iter::once("stoa".to_owned()).chain(self.words());
        // What the environment says of others is not asked here.
        let quiet = |arg: Arg| if arg.get_env().is_some() { arg.env("") } else { arg };
        let error = lenient(own.clone()).mut_args(quiet).try_get_matches_from(line).err()?;
        // Whether it may stand alone is not asked here.
        let about_value = matches!(
            error.kind(),
            ErrorKind::InvalidValue
                | ErrorKind::ValueValidation
                | ErrorKind::NoEquals
                | ErrorKind::WrongNumberOfValues
        );
        let key = format!("{}.{}", self.role.as_str(), key_of(&self.arg));
        about_value.then(|| Fault { line: self.line, key, why: in_short(&error) })
    }
}

// === impl Settings ===

impl Settings {
    /// Reads a file; an error says all that is wrong with it.
    pub fn read(command: &Command, path: &Path) -> Result<Settings, FileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        let (settings, faults) = Settings::parse(command, &text);
        match faults.is_empty() {
            true => Ok(settings),
            false => Err(FileError::Faults { path: path.to_owned(), faults }),
        }
    }

    /// The roles it speaks of.
    pub fn roles(&self) -> Vec<Role> {
        self.roles.clone()
    }

    /// What it says of one role, from the top.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Placed> {
        self.placed.iter().filter(move |placed| placed.role == role)
    }

    fn parse(command: &Command, text: &str) -> (Settings, Vec<Fault>) {
        let line_at = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        let mut settings = Settings::default();
        let mut faults = Vec::new();
        let document = match DeTable::parse(text) {
            Ok(document) => document.into_inner(),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_at(span.start));
                let why = format!("is not TOML: {}", error.message());
                return (settings, vec![Fault { line, key: String::new(), why }]);
            }
        };
        for (name, value) in &document {
            let (word, line) = (name.get_ref().as_ref(), line_at(name.span().start));
            let role = Role::ALL.into_iter().find(|role| role.as_str() == word);
            let (Some(role), DeValue::Table(table)) = (role, value.get_ref()) else {
                let why = match role {
                    Some(_) => format!("is no table; write [{word}] and its settings below"),
                    None => unknown("table", word, Role::ALL.iter().map(|role| role.as_str().to_owned())),
                };
                faults.push(Fault { line, key: word.to_owned(), why });
                continue;
            };
            settings.roles.push(role);
            let own = role.command(command);
            for (name, value) in table {
                let (key, line) = (name.get_ref().as_ref(), line_at(name.span().start));
                let fault = |why| Fault { line, key: format!("{word}.{key}"), why };
                let known = || own.get_arguments().filter(|arg| is_setting(arg));
                let Some(arg) = known().find(|arg| key_of(arg) == key.replace('-', "_")) else {
                    faults.push(fault(unknown("key", key, known().map(key_of))));
                    continue;
                };
                match values_of(arg, value) {
                    Ok(values) => {
                        let placed = Placed { role, arg: arg.clone(), line, values };
                        faults.extend(placed.fault(&own));
                        settings.placed.push(placed);
                    }
                    Err(why) => faults.push(fault(why)),
                }
            }
        }
        settings.placed.sort_by_key(|placed| placed.line);
        settings.roles.sort();
        faults.sort_by_key(|fault| fault.line);
        (settings, faults)
    }
}

fn unknown(what: &str, word: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    match nearest(known.iter().cloned(), word) {
        Some(meant) => format!("there is no such {what}; did you mean {meant}?"),
        None => format!("there is no such {what}; there are {}", known.join(", ")),
    }
}

/// The words of a value, as this argument takes them.
fn values_of(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let many = matches!(arg.get_action(), ArgAction::Append);
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    match value.get_ref() {
        DeValue::Boolean(on) if switch => Ok(vec![on.to_string()]),
        _ if switch => Err("is true or false".to_owned()),
        DeValue::Array(items) if many => items.iter().map(|item| word_of(item.get_ref())).collect(),
        DeValue::Array(_) => Err("takes one value; write it without [ ]".to_owned()),
        one => Ok(vec![word_of(one)?]),
    }
}

fn word_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err("is neither a text nor a number; write it in quotes".to_owned())
        }
    }
}

/// What Clap found, in one line and without its own names of things.
pub(super) fn in_short(error: &clap::Error) -> String {
    let given = error.get(clap::error::ContextKind::InvalidValue);
    match (given, error.source()) {
        (Some(given), Some(why)) => format!("{:?}: {why}", given.to_string()),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    }
}
