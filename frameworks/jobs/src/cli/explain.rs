//! `stoa explain job`: what the framework holds back, and what the masters say of the rest.

use framework_sdk::Profile;
use framework_sdk::explain::{Explanation, Verdict};
use framework_sdk::id::DemandId;
use framework_sdk::views::{DemandRef, Explain};

use super::client::Client;
use super::failure::{Failure, Stop};
use super::printer::Printer;
use super::show::{Format, document, escaped};
use super::{ExplainJobArgs, Output};

/// The same shape of a job waits for the same reason: so many demands are asked about.
const DEMANDS_MAX: usize = 8;

pub(super) async fn explain(args: &ExplainJobArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let mut client = Client::new(profile);
    let (held, explanations) = ask(&mut client, &args.name).await?;
    let text = match args.output {
        Output::Table => lines(&args.name, &held, &explanations, args.verbose),
        Output::Wide => lines(&args.name, &held, &explanations, args.verbose.max(2)),
        Output::Name => explanations.iter().map(|e| format!("{}\n", e.code)).collect(),
        Output::Json => document(&shape(&args.name, held, explanations), Format::Json)?,
        Output::Yaml => document(&shape(&args.name, held, explanations), Format::Yaml)?,
    };
    printer.data(text).await?;
    Ok(0)
}

/// The verdicts alone, for whoever waits at a terminal.
pub(super) async fn in_short(client: &mut Client, name: &str) -> Result<Vec<String>, Failure> {
    let (held, explanations) = ask(client, name).await?;
    let mut lines: Vec<String> = held.iter().map(|why| format!("waiting: {}", escaped(why))).collect();
    // What is offered is not what it waits for.
    for explanation in explanations.into_iter().filter(|told| told.code != Verdict::Served.code()) {
        lines.push(format!("waiting: {}", escaped(&explanation.verdict)));
        lines.extend(explanation.nearest.iter().map(|near| format!("  {}", miss(near))));
        lines.extend(explanation.help.iter().map(|help| format!("  help: {}", escaped(help))));
    }
    if !lines.is_empty() {
        lines.push(format!("  more with `stoa explain job {name}`"));
    }
    Ok(lines)
}

async fn ask(client: &mut Client, name: &str) -> Result<(Vec<String>, Vec<Explanation>), Failure> {
    let reply = client.explain(name).await?;
    let mut explanations = Vec::new();
    for demand in reply.demand_ids.iter().take(DEMANDS_MAX) {
        // An id that is none is of another version; the others may still be explained.
        let Ok(demand) = DemandId::new(demand) else { continue };
        let what = Explain::Demand(DemandRef { framework: reply.framework_id.clone(), demand });
        explanations.extend(client.explain_at_master(what).await?);
    }
    Ok((reply.held, explanations))
}

fn lines(name: &str, held: &[String], explanations: &[Explanation], level: u8) -> String {
    let mut text = String::new();
    if held.is_empty() && explanations.is_empty() {
        text.push_str(&format!("{}: nothing of it waits\n", escaped(name)));
    }
    for why in held {
        text.push_str(&format!("{}: {}\n", escaped(name), escaped(why)));
    }
    for explanation in explanations {
        let (subject, verdict) = (escaped(&explanation.subject), escaped(&explanation.verdict));
        text.push_str(&format!("{subject}: {verdict} ({})\n", escaped(&explanation.code)));
        for note in &explanation.notes {
            text.push_str(&format!("  note: {}\n", escaped(note)));
        }
        if level > 0 {
            funnel(&mut text, explanation, level > 1);
        }
        if level > 1 && !explanation.nearest.is_empty() {
            text.push_str("  came nearest:\n");
            for near in &explanation.nearest {
                text.push_str(&format!("    {}\n", miss(near)));
            }
        }
        let shown = if level > 1 { explanation.help.len() } else { 1 };
        for help in explanation.help.iter().take(shown) {
            text.push_str(&format!("  help: {} (verified)\n", escaped(help)));
        }
        if level > 2 {
            refused(&mut text, explanation);
        }
    }
    text
}

fn funnel(text: &mut String, explanation: &Explanation, with_names: bool) {
    for step in &explanation.funnel {
        let mut names: Vec<String> = Vec::new();
        if with_names {
            names.extend(step.fell_out.iter().map(|name| escaped(name)));
            names.extend((step.more > 0).then(|| format!("{} more", step.more)));
        }
        let out = if names.is_empty() { String::new() } else { format!("   without {}", names.join(", ")) };
        text.push_str(&format!("  {:<12} {:>6}{out}\n", escaped(&step.name), step.left));
    }
}

/// What was tried and does not help, and what was not tried.
fn refused(text: &mut String, explanation: &Explanation) {
    for remedy in explanation.tried.iter().filter(|remedy| !remedy.helps) {
        let (change, outcome) = (escaped(&remedy.change()), escaped(&remedy.outcome));
        text.push_str(&format!("  no help: {change}: then {outcome} ({})\n", escaped(&remedy.code)));
    }
    if explanation.untried > 0 {
        text.push_str(&format!(
            "  {} more changes were not tried: the work allowed for one question was spent\n",
            explanation.untried
        ));
    }
}

fn miss(near: &framework_sdk::explain::NearMiss) -> String {
    let lacking = if near.lacking.is_empty() { String::new() } else { format!(" lacks {}", near.lacking) };
    let rule = if near.rule.is_empty() { String::new() } else { format!(" ({})", escaped(&near.rule)) };
    format!("{}{lacking}{rule}", escaped(&near.hostname))
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    api_version: &'static str,
    job: String,
    held: Vec<String>,
    waiting: Vec<Item>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    subject: String,
    code: String,
    verdict: String,
    funnel: Vec<Step>,
    nearest: Vec<Miss>,
    help: Vec<String>,
    tried: Vec<Remedy>,
    untried: u64,
    notes: Vec<String>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Remedy {
    change: String,
    commands: Vec<String>,
    helps: bool,
    outcome: String,
    code: String,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    name: String,
    left: u64,
    fell_out: Vec<String>,
    more: u64,
    names: Vec<String>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Miss {
    agent_id: String,
    hostname: String,
    lacking: String,
    rule: String,
}

fn shape(job: &str, held: Vec<String>, explanations: Vec<Explanation>) -> Shape {
    let item = |e: Explanation| Item {
        subject: e.subject,
        code: e.code,
        verdict: e.verdict,
        funnel: e
            .funnel
            .into_iter()
            .map(|step| Step {
                name: step.name,
                left: step.left,
                fell_out: step.fell_out,
                more: step.more,
                names: step.names,
            })
            .collect(),
        nearest: e
            .nearest
            .into_iter()
            .map(|near| Miss {
                agent_id: near.agent.to_string(),
                hostname: near.hostname,
                lacking: if near.lacking.is_empty() { String::new() } else { near.lacking.to_string() },
                rule: near.rule,
            })
            .collect(),
        help: e.help,
        tried: e
            .tried
            .into_iter()
            .map(|remedy| Remedy {
                change: remedy.change(),
                commands: remedy
                    .steps
                    .into_iter()
                    .map(|step| step.command)
                    .filter(|command| !command.is_empty())
                    .collect(),
                helps: remedy.helps,
                outcome: remedy.outcome,
                code: remedy.code,
            })
            .collect(),
        untried: e.untried,
        notes: e.notes,
    };
    let waiting = explanations.into_iter().map(item).collect();
    Shape { api_version: super::show::API_VERSION, job: job.to_owned(), held, waiting }
}
