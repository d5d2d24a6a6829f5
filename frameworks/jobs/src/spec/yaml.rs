//! YAML as trees, one for each document. Read from the parser's events, because lines and the text of numbers count.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::fault::Fault;
use super::tree::{Key, Node, Value};

/// How deep lists and tables may stand in each other: a job needs three.
const DEPTH_MAX: usize = 32;
/// How many values a file may have once aliases are written out: more is a bomb.
const NODES_MAX: usize = 100_000;

/// The documents of a YAML file; empty ones are left out.
pub(crate) fn trees(text: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::DocumentStart(..) => {
                reader.anchors.clear();
                let (event, span) = reader.expect()?;
                let document = reader.node(event, span, 0)?;
                if document.value != Value::Nothing {
                    documents.push(document);
                }
            }
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            _ => return Err(fault(span.start.line(), "a value stands outside of every document")),
        }
    }
    Ok(documents)
}

struct Reader<'text> {
    events: Parser<'text, StrInput<'text>>,
    /// What anchors stand for, with the number of values in it.
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

// === impl Reader ===

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<Option<(Event<'text>, Span)>, Fault> {
        loop {
            match self.events.next_event().transpose().map_err(|error| not_yaml(&error))? {
                Some((Event::Comment(..) | Event::Anchor(..), _)) => {}
                other => return Ok(other),
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'text>, Span), Fault> {
        self.next()?.ok_or_else(|| Fault {
            line: None,
            key: String::new(),
            message: "is not YAML: it ends in the middle".to_owned(),
        })
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, Fault> {
        let line = span.start.line();
        self.count(1, line)?;
        if depth > DEPTH_MAX {
            return Err(fault(line, "lists and tables stand too deep in each other"));
        }
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.table(depth)?, anchor),
            Event::Alias(id) => {
                let known = self.anchors.get(&id).cloned();
                let (node, size) = known.ok_or_else(|| fault(line, "an alias stands for nothing"))?;
                self.count(size, line)?;
                return Ok(Node { line, value: node.value });
            }
            _ => return Err(fault(line, "a value is missing")),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let (event, span) = match self.expect()? {
                (Event::MappingEnd, _) => return Ok(Value::Table(entries)),
                key => key,
            };
            let line = span.start.line();
            let Event::Scalar(text, ..) = event else {
                return Err(fault(line, "a key must be a word"));
            };
            if !seen.insert(text.to_string()) {
                return Err(fault(line, &format!("the key {text:?} stands here twice")));
            }
            let (event, span) = self.expect()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((Key { line, text: text.into_owned() }, value));
        }
    }

    fn count(&mut self, more: usize, line: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > NODES_MAX {
            return Err(fault(line, "has too many values; is an alias used too often?"));
        }
        Ok(())
    }
}

/// YAML's core schema, except that numbers keep their text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Nothing,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text if is_number(text) => Value::Number(text.to_owned()),
        text => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().filter(|b| *b == b'.').count() <= 1
}

fn fault(line: usize, message: &str) -> Fault {
    Fault { line: Some(line), key: String::new(), message: message.to_owned() }
}

fn not_yaml(error: &ScanError) -> Fault {
    Fault {
        line: Some(error.marker().line()),
        key: String::new(),
        message: format!("is not YAML: {}", error.info()),
    }
}
