//! `stoa explain`: why something waits, as the allocator itself sees it, in as much detail as is asked for.

pub(super) mod shape;

use proto::explain::{Explanation, Remedy};
use proto::id::{DemandId, TaskId};
use proto::operator::{AgentView, Call, DemandRef, Explain, FrameworkView, List, ReplyKind, TaskRef};
use proto::role::Role;

pub use crate::args::ExplainView;

use super::describe::{split, task};
use super::resolve::find;
use super::{other_answer, written};
use crate::args::{ExplainArgs, ExplainVerb};
use crate::client::Client;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::shapes::document;
use crate::table::{Cell, Table, Tone};
use crate::terminal::Terminal;

/// Explains one thing.
pub async fn run(client: &Client, verb: &ExplainVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let (explanations, args) = match verb {
        ExplainVerb::Task(args) => (of_task(client, args).await?, args),
        ExplainVerb::Framework(args) => (of_framework(client, args).await?, args),
        ExplainVerb::Demand(args) => (of_demand(client, args).await?, args),
        ExplainVerb::Role(args) => (of_role(client, args).await?, args),
        ExplainVerb::Agent(args) => (of_agent(client, args).await?, args),
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

async fn of_role(client: &Client, args: &ExplainArgs) -> Result<Vec<Explanation>, Stop> {
    let role = Role::new(&args.name)
        .map_err(|bad| Failure::usage(format!("the role {:?}: {bad}", args.name), ""))?;
    ask(client, Explain::Role(role)).await
}

async fn of_agent(client: &Client, args: &ExplainArgs) -> Result<Vec<Explanation>, Stop> {
    let found = find::<AgentView>(client, List::default(), &args.name).await?;
    ask(client, Explain::Agent(found.info.id.to_string())).await
}

async fn ask(client: &Client, what: Explain) -> Result<Vec<Explanation>, Stop> {
    let ReplyKind::Explain(explanations) = client.ask(Call::Explain(what)).await?.kind else {
        return Err(other_answer("an explanation").into());
    };
    Ok(explanations)
}

/// Explanations as text: for whoever explains more kinds of things in the same words.
pub fn show(explanations: &[Explanation], view: ExplainView, colours: bool) -> Result<String, Stop> {
    let document = document("ExplanationList", shape::list(explanations));
    written(view.output, &document, || {
        let texts: Vec<String> = explanations.iter().map(|one| text(one, view.verbose, colours)).collect();
        texts.join("\n")
    })
}

fn text(explanation: &Explanation, level: u8, colours: bool) -> String {
    let tone = match explanation.code.as_str() {
        "served" | "wants-nothing" | "running" | "ended" => Tone::Good,
        _ => Tone::Warn,
    };
    let code = tone.paint(&escaped(&explanation.code), colours);
    let mut text =
        format!("{}: {code}\n  {}\n", escaped(&explanation.subject), escaped(&explanation.verdict));
    for note in &explanation.notes {
        text.push_str(&format!("  note: {}\n", escaped(note)));
    }
    if level < 2 {
        text.push_str(&one_line_of_help(explanation));
    }
    if level >= 1 {
        text.push_str(&funnel(explanation, level >= 2, colours));
    }
    if level >= 2 {
        text.push_str(&nearest(explanation, colours));
        text.push_str(&help(explanation, level >= 3));
    }
    text
}

/// The first thing that helps; or that nothing does of what was tried.
fn one_line_of_help(explanation: &Explanation) -> String {
    let helps = explanation.tried.iter().find(|remedy| remedy.helps);
    match (helps, explanation.tried.len()) {
        (Some(remedy), _) => {
            let commands = commands(remedy);
            let how =
                if commands.is_empty() { String::new() } else { format!("; `{}`", commands.join("`, `")) };
            let change = escaped(&remedy.change()).into_owned();
            format!("  help: {change}: then {}{how} (verified)\n", escaped(&remedy.outcome))
        }
        (None, 0) => String::new(),
        (None, n) => format!("  help: none of {n} changes that were tried helps; -vvv shows them\n"),
    }
}

fn commands(remedy: &Remedy) -> Vec<String> {
    let typed = remedy.steps.iter().filter(|step| !step.command.is_empty());
    typed.map(|step| escaped(&step.command).into_owned()).collect()
}

fn funnel(explanation: &Explanation, with_names: bool, colours: bool) -> String {
    if explanation.funnel.is_empty() {
        return String::new();
    }
    let headers = if with_names { vec!["RULE", "LEFT", "FELL OUT"] } else { vec!["RULE", "LEFT"] };
    let mut table = Table::new(headers);
    for step in &explanation.funnel {
        let tone = if step.left == 0 { Tone::Bad } else { Tone::Plain };
        let mut row = vec![Cell::new(&step.name), Cell::toned(step.left.to_string(), tone)];
        if with_names {
            let mut names = step.fell_out.join(", ");
            if step.more > 0 {
                names.push_str(&format!(" and {} more", step.more));
            }
            row.push(Cell::new(names));
        }
        table.push(row);
    }
    let mut text = "\n  what each rule leaves\n".to_owned();
    push_indented(&mut text, &table.render(colours));
    if let Some(last) = explanation.funnel.last().filter(|last| with_names && !last.names.is_empty()) {
        text.push_str(&format!("    left: {}\n", escaped(&last.names.join(", "))));
    }
    text
}

fn nearest(explanation: &Explanation, colours: bool) -> String {
    if explanation.nearest.is_empty() {
        return String::new();
    }
    let mut text = "\n  nearest\n".to_owned();
    let mut table = Table::new(vec!["AGENT", "LACKS", "RULE"]);
    for miss in &explanation.nearest {
        let lacking = if miss.lacking.is_empty() { String::new() } else { miss.lacking.to_string() };
        table.push(vec![Cell::new(&miss.hostname), Cell::new(lacking), Cell::new(&miss.rule)]);
    }
    push_indented(&mut text, &table.render(colours));
    text
}

/// What helps, each line verified on a copy of the pool; with `all` also what does not.
fn help(explanation: &Explanation, all: bool) -> String {
    let mut text = String::new();
    let shown: Vec<&Remedy> = explanation.tried.iter().filter(|remedy| remedy.helps || all).collect();
    if !shown.is_empty() {
        text.push_str("\n  what was tried on a copy of the pool\n");
    }
    for remedy in shown {
        let change = escaped(&remedy.change()).into_owned();
        let outcome = escaped(&remedy.outcome).into_owned();
        match remedy.helps {
            true => text.push_str(&format!("    + {change}: then {outcome} (verified)\n")),
            false => text.push_str(&format!(
                "    - {change}: does not help; then {}: {outcome}\n",
                escaped(&remedy.code)
            )),
        }
        for command in commands(remedy) {
            text.push_str(&format!("        {command}\n"));
        }
    }
    if explanation.untried > 0 {
        text.push_str(&format!(
            "    {} more changes were not tried: the work allowed for one question was spent\n",
            explanation.untried
        ));
    }
    text
}

fn push_indented(text: &mut String, block: &str) {
    for line in block.lines() {
        text.push_str(&format!("    {line}\n"));
    }
}
