//! `stoa explain --summary`: all that waits, by reason, and the one change that would help most.

use std::time::Duration;

use proto::explain::Waiting;
use proto::operator::{Call, Explain, ReplyKind};
use serde::Serialize;

use super::explain::shape::Remedy;
use super::{other_answer, written};
use crate::args::ExplainSummaryArgs;
use crate::client::Client;
use crate::duration::show_duration;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::shapes::document;
use crate::table::{Cell, Table};
use crate::terminal::Terminal;

/// Asks for the sum and prints it.
pub async fn run(
    client: &Client,
    args: &ExplainSummaryArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let ReplyKind::Waiting(all) = client.ask(Call::Explain(Explain::Summary)).await?.kind else {
        return Err(other_answer("the sum of all that waits").into());
    };
    let document = document("WaitingSummary", Shape::from(&all));
    let text = written(args.output, &document, || show(&all, args.verbose, terminal.colours))?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

#[derive(Debug, Serialize)]
struct Shape {
    demands: u64,
    units: u64,
    oldest_ms: u64,
    worst_framework: Option<String>,
    worst_role: Option<String>,
    groups: Vec<Group>,
    best: Option<Best>,
    tried: u64,
    unexamined: u64,
    undeclared: u64,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Group {
    code: String,
    demands: u64,
    units: u64,
    frameworks: u64,
    oldest_ms: u64,
    framework: String,
    role: String,
    example: String,
    verdict: String,
}

#[derive(Debug, Serialize)]
struct Best {
    demands: u64,
    units: u64,
    #[serde(flatten)]
    remedy: Remedy,
}

impl From<&Waiting> for Shape {
    fn from(all: &Waiting) -> Self {
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        let groups = all.groups.iter().map(|group| Group {
            code: group.code.clone(),
            demands: group.demands,
            units: group.units,
            frameworks: group.frameworks,
            oldest_ms: group.oldest_ms,
            framework: group.framework.clone(),
            role: group.role.clone(),
            example: group.example.clone(),
            verdict: group.verdict.clone(),
        });
        Shape {
            demands: all.demands,
            units: all.units,
            oldest_ms: all.oldest_ms,
            worst_framework: named(&all.worst_framework),
            worst_role: named(&all.worst_role),
            groups: groups.collect(),
            best: all.best.as_ref().map(|remedy| Best {
                demands: all.best_demands,
                units: all.best_units,
                remedy: remedy.into(),
            }),
            tried: all.tried,
            unexamined: all.unexamined,
            undeclared: all.undeclared,
            notes: all.notes.clone(),
        }
    }
}

/// As rough as anybody wants to know it.
fn age(ms: u64) -> String {
    show_duration(Duration::from_secs(ms / 1000))
}

fn show(all: &Waiting, level: u8, colours: bool) -> String {
    let mut text = match all.demands {
        0 => "no declared demand waits\n".to_owned(),
        demands => format!(
            "{demands} demands wait for {} units, the oldest for {}; most of it {} and in role {}\n",
            all.units,
            age(all.oldest_ms),
            escaped(&format!("of {}", all.worst_framework)),
            escaped(&all.worst_role)
        ),
    };
    if !all.groups.is_empty() {
        let mut table = Table::new(vec![
            "CODE",
            "DEMANDS",
            "UNITS",
            "FRAMEWORKS",
            "OLDEST",
            "MOST OF",
            "IN ROLE",
            "FOR EXAMPLE",
        ]);
        for group in &all.groups {
            table.push(vec![
                Cell::new(&group.code),
                Cell::new(group.demands.to_string()),
                Cell::new(group.units.to_string()),
                Cell::new(group.frameworks.to_string()),
                Cell::new(age(group.oldest_ms)),
                Cell::new(&group.framework),
                Cell::new(&group.role),
                Cell::new(&group.example),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(colours));
    }
    if level > 0 {
        text.push('\n');
        for group in &all.groups {
            text.push_str(&format!("{}: {}\n", escaped(&group.example), escaped(&group.verdict)));
        }
    }
    if all.demands > 0 {
        text.push('\n');
    }
    match &all.best {
        Some(best) => {
            let change = escaped(&best.change()).into_owned();
            text.push_str(&format!("help most: {change}: then {} (verified)\n", escaped(&best.outcome)));
            for command in best.steps.iter().map(|step| &step.command).filter(|command| !command.is_empty()) {
                text.push_str(&format!("  {}\n", escaped(command)));
            }
        }
        None if all.tried > 0 => {
            text.push_str(&format!("help: none of the {} single changes that were tried helps\n", all.tried));
        }
        None => {}
    }
    if all.unexamined > 0 {
        text.push_str(&format!(
            "note: {} demands were counted and not looked into: the work allowed for one question was spent\n",
            all.unexamined
        ));
    }
    if all.undeclared > 0 {
        text.push_str(&format!(
            "note: {} frameworks declare no demands: whether they wait is not known\n",
            all.undeclared
        ));
    }
    for note in &all.notes {
        text.push_str(&format!("note: {}\n", escaped(note)));
    }
    text
}
