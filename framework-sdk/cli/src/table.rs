//! Tables of text: columns two spaces apart, colours where they help, nothing to parse around.

use crate::escape::escaped;

/// How a cell looks where colours are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Green.
    Good,
    /// Yellow.
    Warn,
    /// Red.
    Bad,
    /// Grey.
    Dim,
}

// === impl Tone ===

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Warn => Some("33"),
            Tone::Bad => Some("31"),
            Tone::Dim => Some("90"),
        }
    }

    /// The text in this tone; without colours, the text.
    pub fn paint(self, text: &str, colours: bool) -> String {
        match self.code() {
            Some(code) if colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Some(_) | None => text.to_owned(),
        }
    }
}

/// One cell. Its text is escaped when it is made, so no table can be made of raw text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

// === impl Cell ===

impl Cell {
    /// A plain cell; `-` when there is nothing to show, so that columns can be cut out by position.
    pub fn new(text: impl AsRef<str>) -> Self {
        Cell::toned(text, Tone::Plain)
    }

    /// A cell in a tone.
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        let text = text.as_ref();
        Cell { text: if text.is_empty() { "-".to_owned() } else { escaped(text).into_owned() }, tone }
    }

    /// What it shows.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// How wide columns are, in characters. They only grow, so that what is printed later stays below what was before.
#[derive(Clone, Debug, Default)]
pub struct Widths(Vec<usize>);

/// Rows below headers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

// === impl Table ===

impl Table {
    /// An empty table.
    pub fn new(headers: Vec<&'static str>) -> Self {
        Table { headers, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// As text, with headers.
    pub fn render(&self, colours: bool) -> String {
        self.render_on(&mut Widths::default(), true, colours)
    }

    /// As text below what was printed with the same widths before.
    pub fn render_on(&self, widths: &mut Widths, with_headers: bool, colours: bool) -> String {
        let headers: Vec<Cell> =
            self.headers.iter().map(|name| Cell { text: (*name).to_owned(), tone: Tone::Plain }).collect();
        let lines = with_headers.then_some(&headers).into_iter().chain(&self.rows);
        for row in std::iter::once(&headers).chain(&self.rows) {
            widths.0.resize(widths.0.len().max(row.len()), 0);
            for (width, cell) in widths.0.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        for row in lines {
            for (at, cell) in row.iter().enumerate() {
                text.push_str(&cell.tone.paint(&cell.text, colours));
                if at + 1 < row.len() {
                    let width = widths.0.get(at).copied().unwrap_or(0);
                    let gap = width.saturating_sub(cell.text.chars().count()) + 2;
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(vec!["ID", "STATE"]);
        table.push(vec![Cell::new("web.1"), Cell::toned("running", Tone::Good)]);
        table.push(vec![Cell::new("ü\u{1b}[2J"), Cell::new("")]);
        assert_eq!(table.render(false), "ID        STATE\nweb.1     running\nü\\x1b[2J  -\n");
        let coloured = table.render(true);
        assert!(coloured.contains("\u{1b}[32mrunning\u{1b}[0m\n"), "{coloured:?}");
        assert!(!coloured.contains("\u{1b}[2J"));
    }

    #[test]
    fn later_rows_stay_below_earlier_ones() {
        let mut widths = Widths::default();
        let mut table = Table::new(vec!["ID", "STATE"]);
        table.push(vec![Cell::new("a-long-one"), Cell::new("x")]);
        table.render_on(&mut widths, true, false);
        let mut later = Table::new(vec!["ID", "STATE"]);
        later.push(vec![Cell::new("b"), Cell::new("y")]);
        assert_eq!(later.render_on(&mut widths, false, false), "b           y\n");
    }
}
