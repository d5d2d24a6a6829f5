//! What each verb does: one file each.

pub mod audit;
pub mod auth;
pub mod config;
pub mod describe;
pub mod doctor;
pub mod drain;
pub mod events;
pub mod exec;
pub mod explain;
pub mod get;
pub mod kill;
pub mod logs;
pub mod masters;
pub mod quota;
pub mod raft;
pub mod remove;
pub mod reserve;
pub mod resolve;
pub mod secret;
pub mod snapshot;
pub mod status;
pub mod token;
pub mod waiting;
pub mod watch;

use std::io;

use proto::operator::{Call, List, Reply, ReplyKind};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::args::{Form, OrderArgs};
use crate::client::{Client, Gather};
use crate::escape::{escape_json_from, escaped, escaped_json, is_special};
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::shapes::{Listing, document};
use crate::terminal::Terminal;

/// What the masters list.
pub(crate) async fn list<V: View>(client: &Client, list: List) -> Result<Listing<V>, Stop> {
    let mut listing = Listing { as_of: 0, from_leader: false, items: Vec::new() };
    client.gather(V::call(list), &mut listing).await?;
    Ok(listing)
}

impl<V: View> Gather for Listing<V> {
    fn begin(&mut self) {
        self.items.clear();
    }

    fn take(&mut self, part: Reply) -> bool {
        let Some(items) = V::of_reply(part.kind) else { return false };
        (self.as_of, self.from_leader) = (part.as_of, part.from_leader);
        self.items.extend(items);
        true
    }
}

/// As of when a master answered that need not lead.
pub(crate) fn say_as_of(index: u64, from_leader: bool, terminal: &mut Terminal<'_>) {
    let whose = if from_leader { "the leader" } else { "a follower" };
    terminal.note(&format!("as of index {index}, by {whose}"));
}

/// An order, or with `dry_run` only what the masters say to it; the index at which it was committed.
pub(crate) async fn order(client: &Client, call: Call, dry_run: bool) -> Result<u64, Stop> {
    let call = if dry_run { Call::DryRun(Box::new(call)) } else { call };
    let ReplyKind::Done(index) = client.ask(call).await?.kind else {
        return Err(other_answer("an order").into());
    };
    Ok(index)
}

/// How an order is told of.
pub(crate) struct Said<'a> {
    /// How it was given.
    pub order: &'a OrderArgs,
    /// What to type to have it as it was; empty where nothing does that.
    pub undo: &'a str,
}

/// An order in JSON: one object a line.
#[derive(Debug, Serialize)]
struct OrderShape<'a> {
    /// Whether it was checked only.
    dry_run: bool,
    /// What changed, or would change.
    what: &'a str,
    /// What to type to have it as it was; null where nothing does that.
    undo: Option<&'a str>,
}

impl Said<'_> {
    /// Says what changed and how to undo it, or what would change: beside what is printed, or printed for programs.
    pub fn note(&self, what: &str, terminal: &mut Terminal<'_>) -> Result<(), Stop> {
        let OrderArgs { dry_run, output } = *self.order;
        let undo = Some(self.undo).filter(|undo| !undo.is_empty());
        let shape = || document("Order", OrderShape { dry_run, what, undo });
        match output {
            Form::Json => return terminal.print(&json_line(&shape())?),
            Form::Yaml => return terminal.print(&format!("---\n{}", yaml(&shape())?)),
            Form::Text if dry_run => terminal.note(&escaped(&format!("dry run, nothing was done: {what}"))),
            Form::Text => {
                terminal.note(&escaped(what));
                if let Some(undo) = undo {
                    terminal.note(&escaped(&format!("undo with `{undo}`")));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn other_answer(to_what: &str) -> Failure {
    Failure::internal(format!("the master answered something else when it was asked for {to_what}"))
}

/// A document as text in this form; `text` makes it for people.
pub(crate) fn written<T: Serialize>(
    form: Form,
    document: &T,
    text: impl FnOnce() -> String,
) -> Result<String, Stop> {
    match form {
        Form::Text => Ok(text()),
        Form::Json => json(document),
        Form::Yaml => yaml(document),
    }
}

/// As indented JSON.
pub(crate) fn json<T: Serialize>(document: &T) -> Result<String, Stop> {
    let text = serde_json::to_string_pretty(document).map_err(|error| not_writable(&error))?;
    Ok(escaped_json(text + "\n"))
}

/// As indented JSON so many levels deep in a document, put at the end of a text.
pub(crate) fn push_json<T: Serialize>(text: &mut Vec<u8>, depth: usize, item: &T) -> Result<(), Stop> {
    let mut formatter = PrettyFormatter::new();
    for _ in 0..depth {
        // Nothing is written: it learns how deep it stands.
        formatter.begin_object(&mut io::sink())?;
    }
    let from = text.len();
    let mut serializer = Serializer::with_formatter(&mut *text, formatter);
    item.serialize(&mut serializer).map_err(|error| not_writable(&error))?;
    escape_json_from(text, from);
    Ok(())
}

/// As JSON on one line.
pub(crate) fn json_line<T: Serialize>(document: &T) -> Result<String, Stop> {
    let text = serde_json::to_string(document).map_err(|error| not_writable(&error))?;
    Ok(escaped_json(text + "\n"))
}

/// As YAML. What holds characters that a terminal would obey is written as JSON, which is YAML too and can escape them
/// wherever they stand.
pub(crate) fn yaml<T: Serialize>(document: &T) -> Result<String, Stop> {
    let text = serde_saphyr::to_string(document).map_err(|error| not_writable(&error))?;
    if text.chars().any(|c| is_special(c) && c != '\n') { json(document) } else { Ok(text) }
}

fn not_writable(error: &dyn std::error::Error) -> Failure {
    Failure::internal(format!("the answer cannot be written: {error}"))
}
