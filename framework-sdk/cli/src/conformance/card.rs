//! The report card: what was checked, and what came of it.

use serde::Serialize;

use super::Check;
use crate::args::Form;
use crate::failure::Stop;
use crate::shapes::document;
use crate::table::{Cell, Table, Tone};
use crate::verbs::written;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// The framework did nothing that could be judged.
    Untried,
}

/// What a check came to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The mark.
    pub mark: Mark,
    /// What was seen.
    pub seen: String,
}

/// The report card of one framework.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    command: String,
    passed: bool,
    checks: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    check: &'static str,
    mark: Mark,
    seen: String,
    /// What is asked of a framework; empty when it does so.
    advice: &'static str,
}

// === impl Finding ===

impl Finding {
    /// As it should be.
    pub fn passed(seen: impl Into<String>) -> Self {
        Finding { mark: Mark::Passed, seen: seen.into() }
    }

    /// Not as it should be.
    pub fn failed(seen: impl Into<String>) -> Self {
        Finding { mark: Mark::Failed, seen: seen.into() }
    }

    /// Nothing to judge.
    pub fn untried(seen: impl Into<String>) -> Self {
        Finding { mark: Mark::Untried, seen: seen.into() }
    }
}

// === impl Mark ===

impl Mark {
    fn word(self) -> (&'static str, Tone) {
        match self {
            Mark::Passed => ("passed", Tone::Good),
            Mark::Failed => ("failed", Tone::Bad),
            Mark::Untried => ("untried", Tone::Warn),
        }
    }
}

// === impl Card ===

impl Card {
    /// An empty card.
    pub fn of(command: String) -> Self {
        Card { command, passed: true, checks: Vec::new() }
    }

    /// Enters a result. What could not be tried is not passed: nobody knows.
    pub fn enter(&mut self, check: Check, result: Finding) {
        self.passed &= result.mark == Mark::Passed;
        let advice = if result.mark == Mark::Passed { "" } else { check.advice() };
        self.checks.push(Row { check: check.name(), mark: result.mark, seen: result.seen, advice });
    }

    /// Whether every check is passed.
    pub fn is_passed(&self) -> bool {
        self.passed
    }

    /// The card in this form.
    pub fn render(&self, form: Form, colours: bool) -> Result<String, Stop> {
        written(form, &document("ReportCard", self), || {
            let mut table = Table::new(vec!["CHECK", "MARK", "SEEN"]);
            for row in &self.checks {
                let (word, tone) = row.mark.word();
                table.push(vec![Cell::new(row.check), Cell::toned(word, tone), Cell::new(&row.seen)]);
            }
            let mut text = table.render(colours);
            let advised: Vec<&Row> = self.checks.iter().filter(|row| !row.advice.is_empty()).collect();
            if !advised.is_empty() {
                text.push('\n');
            }
            for row in advised {
                text.push_str(&format!("{}: {}\n", row.check, row.advice));
            }
            text
        })
    }
}
