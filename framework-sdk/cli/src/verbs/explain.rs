//! `stoa explain`: why something waits, as the allocator itself saw it.

use proto::explain::Explanation;
use proto::id::{DemandId, TaskId};
use proto::operator::{Call, DemandRef, Explain, FrameworkView, List, ReplyKind, TaskRef};
use serde::Serialize;

pub use crate::args::ExplainView;

use super::describe::{find, split, task};
use super::{other_answer, written};
use crate::args::{ExplainArgs, ExplainVerb};
use crate::client::Client;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::shapes::{Amount, document};
use crate::table::{Cell, Table, Tone};
use crate::terminal::Terminal;

/// Names at a step, unless all are asked for.
const NAMES_SHOWN: usize = 3;

/// Explains a task, a framework or a demand.
pub async fn run(client: &Client, verb: &ExplainVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let (explanations, args) = match verb {
        ExplainVerb::Task(args) => (of_task(client, args).await?, args),
        ExplainVerb::Framework(args) => (of_framework(client, args).await?, args),
        ExplainVerb::Demand(args) => (of_demand(client, args).await?, args),
    };
    let text = show(&explanations, args.view, terminal.colours)?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

async fn of_task(client: &Client, args: &ExplainArgs) -> Result<Vec<Explanation>, Stop> {
    let (framework, name) = split(&args.name);
    let id = TaskId::new(name).map_err(|bad| Failure::usage(format!("the task {name:?} {bad}"), ""))?;
    let asked = TaskRef { framework: framework.to_owned(), task: id };
    let missing = match ask(client, Explain::Task(asked)).await {
        Err(Stop::Failed(failure)) if failure.exit == Exit::NotFound => failure,
        other => return other,
    };
    // Not a whole id: perhaps the beginning of one, or a slip of the pen.
    match task(client, &args.name, true).await {
        Ok(found) => {
            let asked = TaskRef { framework: found.framework.to_string(), task: found.info.id.clone() };
            ask(client, Explain::Task(asked)).await
        }
        Err(Stop::Failed(failure)) if failure.exit == Exit::NotFound => {
            let hint = if failure.hint.starts_with("did you mean") { failure.hint } else { missing.hint };
            Err(Failure { hint, ..*missing }.into())
        }
        Err(other) => Err(other),
    }
}

async fn of_framework(client: &Client, args: &ExplainArgs) -> Result<Vec<Explanation>, Stop> {
    let found = find::<FrameworkView>(client, List::default(), &args.name).await?;
    ask(client, Explain::Framework(found.id())).await
}

async fn of_demand(client: &Client, args: &ExplainArgs) -> Result<Vec<Explanation>, Stop> {
    let (framework, name) = args.name.rsplit_once('/').ok_or_else(|| {
        Failure::usage(format!("{} is not FRAMEWORK/DEMAND", args.name), "name the framework too")
    })?;
    let demand =
        DemandId::new(name).map_err(|bad| Failure::usage(format!("the demand {name:?} {bad}"), ""))?;
    ask(client, Explain::Demand(DemandRef { framework: framework.to_owned(), demand })).await
}

async fn ask(client: &Client, what: Explain) -> Result<Vec<Explanation>, Stop> {
    let ReplyKind::Explain(explanations) = client.ask(Call::Explain(what)).await?.kind else {
        return Err(other_answer("an explanation").into());
    };
    Ok(explanations)
}

#[derive(Debug, Serialize)]
struct Shape {
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    subject: String,
    code: String,
    verdict: String,
    funnel: Vec<Step>,
    nearest: Vec<Miss>,
    help: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    left: u64,
    fell_out: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Miss {
    agent_id: String,
    hostname: String,
    lacking: Amount,
    rule: String,
}

fn shape(explanation: &Explanation) -> Item {
    Item {
        subject: explanation.subject.clone(),
        code: explanation.code.clone(),
        verdict: explanation.verdict.clone(),
        funnel: explanation
            .funnel
            .iter()
            .map(|step| Step { name: step.name.clone(), left: step.left, fell_out: step.fell_out.clone() })
            .collect(),
        nearest: explanation
            .nearest
            .iter()
            .map(|miss| Miss {
                agent_id: miss.agent.to_string(),
                hostname: miss.hostname.clone(),
                lacking: (&miss.lacking).into(),
                rule: miss.rule.clone(),
            })
            .collect(),
        help: explanation.help.clone(),
    }
}

/// Explanations as text: for whoever explains more kinds of things in the same words.
pub fn show(explanations: &[Explanation], view: ExplainView, colours: bool) -> Result<String, Stop> {
    let document = document("ExplanationList", Shape { items: explanations.iter().map(shape).collect() });
    written(view.output, &document, || {
        let texts: Vec<String> = explanations.iter().map(|one| text(one, view, colours)).collect();
        texts.join("\n")
    })
}

fn text(explanation: &Explanation, view: ExplainView, colours: bool) -> String {
    let tone = match explanation.code.as_str() {
        "served" | "wants-nothing" => Tone::Good,
        _ => Tone::Warn,
    };
    let code = tone.paint(&escaped(&explanation.code), colours);
    let mut text =
        format!("{}: {code}\n  {}\n", escaped(&explanation.subject), escaped(&explanation.verdict));
    if view.summary {
        return text;
    }
    if !explanation.funnel.is_empty() {
        let mut table = Table::new(vec!["RULE", "LEFT", "FELL OUT"]);
        for (at, step) in explanation.funnel.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| explanation.funnel.get(at)).map(|step| step.left);
            let gone = before.map_or(0, |before| before.saturating_sub(step.left));
            let tone = if step.left == 0 { Tone::Bad } else { Tone::Plain };
            table.push(vec![
                Cell::new(&step.name),
                Cell::toned(step.left.to_string(), tone),
                Cell::new(names(&step.fell_out, gone, view.verbose)),
            ]);
        }
        text.push_str("\n  agents that each rule leaves\n");
        push_indented(&mut text, &table.render(colours));
    }
    if !explanation.nearest.is_empty() {
        text.push_str("\n  nearest\n");
        let mut table = Table::new(vec!["AGENT", "LACKS", "RULE"]);
        for miss in &explanation.nearest {
            let lacking = if miss.lacking.is_empty() { String::new() } else { miss.lacking.to_string() };
            table.push(vec![Cell::new(&miss.hostname), Cell::new(lacking), Cell::new(&miss.rule)]);
        }
        push_indented(&mut text, &table.render(colours));
    }
    if !explanation.help.is_empty() {
        text.push_str("\n  what would help\n");
        for help in &explanation.help {
            text.push_str(&format!("    - {}\n", escaped(help)));
        }
    }
    text
}

/// Some of the names, and how many more there are: the masters name at most 20 of them.
fn names(fell_out: &[String], gone: u64, verbose: u8) -> String {
    let shown = if verbose > 0 { fell_out.len() } else { NAMES_SHOWN.min(fell_out.len()) };
    let mut text = fell_out.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
    let all = gone.max(u64::try_from(fell_out.len()).unwrap_or(u64::MAX));
    let more = all.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
    if more > 0 {
        let and = if text.is_empty() { "" } else { " and " };
        let more_word = if text.is_empty() { "" } else { " more" };
        text.push_str(&format!("{and}{more}{more_word}"));
    }
    text
}

fn push_indented(text: &mut String, block: &str) {
    for line in block.lines() {
        text.push_str(&format!("    {line}\n"));
    }
}
