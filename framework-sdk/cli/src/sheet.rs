//! A sheet about one thing: names and values below each other, in sections.

use crate::escape::escaped;
use crate::table::Table;

/// What `describe` prints.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
enum Line {
    Fact(&'static str, String),
    Section(String),
    Block(String),
}

// === impl Sheet ===

impl Sheet {
    /// A name and a value; nothing when there is no value.
    pub fn fact(&mut self, name: &'static str, value: impl AsRef<str>) -> &mut Self {
        let value = value.as_ref();
        if !value.is_empty() {
            self.lines.push(Line::Fact(name, escaped(value).into_owned()));
        }
        self
    }

    /// A heading.
    pub fn section(&mut self, name: &str) -> &mut Self {
        self.lines.push(Line::Section(escaped(name).into_owned()));
        self
    }

    /// A table below a heading.
    pub fn table(&mut self, name: &str, table: &Table, colours: bool) -> &mut Self {
        self.section(name);
        let indented: Vec<String> = table.render(colours).lines().map(|line| format!("  {line}\n")).collect();
        self.lines.push(Line::Block(indented.concat()));
        self
    }

    /// As text.
    pub fn render(&self) -> String {
        let width = self.lines.iter().map(|line| match line {
            Line::Fact(name, _) => name.chars().count() + 1,
            Line::Section(_) | Line::Block(_) => 0,
        });
        let width = width.max().unwrap_or(0);
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Fact(name, value) => {
                    text.push_str(&format!("{:width$}  {value}\n", format!("{name}:")))
                }
                Line::Section(name) => text.push_str(&format!("\n{name}\n")),
                Line::Block(block) => text.push_str(block),
            }
        }
        text
    }
}
