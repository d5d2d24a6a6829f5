//! `Rows`: a list that is written while it comes. What is kept of a thing is its row, and what it is ordered by.

use std::io::{BufWriter, Write};
use std::ops::Range;

use proto::operator::Reply;

use super::{cells, headers, shaped};
use crate::args::Format;
use crate::client::Gather;
use crate::failure::Stop;
use crate::nouns::View;
use crate::shapes::Listing;
use crate::table::{Cell, Table};
use crate::terminal::Terminal;
use crate::verbs::resolve::Natural;
use crate::verbs::{json, push_json};

/// How deep an item stands in the document of a list.
const ITEM_DEPTH: usize = 2;
/// How a document ends of which the list is empty.
const EMPTY_LIST: &str = "[]\n}\n";
/// Written at once: the reader of a pipe works while the next is put together.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// By what a list is ordered.
type Order = (Natural, Natural);

/// The rows of a list, as far as it has come.
pub(super) struct Rows<V> {
    format: Format,
    now_ms: u64,
    heard: Listing<V>,
    /// Texts, one after the other, and where each of them is.
    text: Vec<u8>,
    texts: Vec<(Order, Range<usize>)>,
    cells: Vec<(Order, Vec<Cell>)>,
    failed: Option<Stop>,
}

// === impl Rows ===

impl<V: View> Rows<V> {
    /// None yet. For every format in which a list is its items one after the other.
    pub fn new(format: Format, now_ms: u64) -> Option<Self> {
        matches!(format, Format::Table | Format::Wide | Format::Name | Format::Json).then(|| Rows {
            format,
            now_ms,
            heard: Listing { as_of: 0, from_leader: false, items: Vec::new() },
            text: Vec::new(),
            texts: Vec::new(),
            cells: Vec::new(),
            failed: None,
        })
    }

    /// As of when it was listed, and whether the leader said so.
    pub fn as_of(&self) -> (u64, bool) {
        (self.heard.as_of, self.heard.from_leader)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.cells.is_empty()
    }

    fn push(&mut self, item: &V) -> Result<(), Stop> {
        let order = (Natural(item.id()), Natural(item.full_name()));
        let from = self.text.len();
        match self.format {
            Format::Table | Format::Wide => {
                self.cells.push((order, cells(item, self.format, self.now_ms)));
                return Ok(());
            }
            Format::Name => self.text.extend_from_slice((item.full_name() + "\n").as_bytes()),
            Format::Json | Format::Yaml => push_json(&mut self.text, ITEM_DEPTH, &item.shape())?,
        }
        self.texts.push((order, from..self.text.len()));
        Ok(())
    }

    /// Prints them in order.
    pub fn print(mut self, terminal: &mut Terminal<'_>) -> Result<(), Stop> {
        if let Some(stop) = self.failed {
            return Err(stop);
        }
        self.texts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.cells.sort_by(|(a, _), (b, _)| a.cmp(b));
        match self.format {
            Format::Table | Format::Wide => {
                let mut table = Table::new(headers::<V>(self.format));
                self.cells.into_iter().for_each(|(_, row)| table.push(row));
                terminal.print(&table.render(terminal.colours))
            }
            Format::Name => self.print_texts(terminal, "", "", ""),
            Format::Json | Format::Yaml => {
                let empty = json(&shaped(&self.heard))?;
                match empty.strip_suffix(EMPTY_LIST).filter(|_| !self.is_empty()) {
                    Some(head) => {
                        self.print_texts(terminal, &format!("{head}[\n    "), ",\n    ", "\n  ]\n}\n")
                    }
                    None => terminal.print(&empty),
                }
            }
        }
    }

    fn print_texts(
        &self,
        terminal: &mut Terminal<'_>,
        head: &str,
        between: &str,
        tail: &str,
    ) -> Result<(), Stop> {
        let mut out = BufWriter::with_capacity(WRITTEN_AT_ONCE, &mut terminal.out);
        out.write_all(head.as_bytes())?;
        for (at, (_, range)) in self.texts.iter().enumerate() {
            out.write_all(if at > 0 { between } else { "" }.as_bytes())?;
            out.write_all(self.text.get(range.clone()).unwrap_or_default())?;
        }
        out.write_all(tail.as_bytes())?;
        Ok(out.flush()?)
    }
}

impl<V: View> Gather for Rows<V> {
    fn begin(&mut self) {
        self.text.clear();
        self.texts.clear();
        self.cells.clear();
    }

    fn take(&mut self, part: Reply) -> bool {
        let Some(items) = V::of_reply(part.kind) else { return false };
        (self.heard.as_of, self.heard.from_leader) = (part.as_of, part.from_leader);
        for item in items {
            if let Err(stop) = self.push(&item) {
                self.failed.get_or_insert(stop);
            }
        }
        true
    }
}
