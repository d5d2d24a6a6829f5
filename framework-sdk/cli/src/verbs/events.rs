//! `stoa events`: what happened to the pool, in the order and with the numbers of the masters' log.

use std::time::{Duration, Instant};

use proto::operator::{Call, Events, EventsAfter, Happened, Reply, ReplyKind};
use serde::Serialize;

use super::{json_line, other_answer};
use crate::args::{EventForm, EventsArgs};
use crate::client::{AskError, Client};
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::table::{Cell, Table, Widths};
use crate::terminal::Terminal;

/// How long a master lets the question wait for the next event: well below what a question may take.
const WAIT: Duration = Duration::from_secs(2);
/// Whoever follows outlives an election, and gives up when the cluster is gone.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// An event in JSON.
#[derive(Debug, Serialize)]
struct Shape<'a> {
    sequence: u64,
    at_ms: u64,
    index: u64,
    event: &'a str,
    agent_id: Option<String>,
    framework_id: Option<String>,
    task_id: Option<String>,
    /// A role, a principal, the public part of a token, or a volume; null where it is about none.
    subject: Option<&'a str>,
    message: &'a str,
}

/// Prints what happened, and with `--watch` what happens.
pub async fn run(client: &Client, args: &EventsArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let first = match args.since {
        Some(since) => events(client.ask(after(Some(since), Duration::ZERO, 0)).await?)?,
        None => events(client.ask(after(None, Duration::ZERO, args.last)).await?)?,
    };
    let until = first.newest;
    // Whoever begins where nothing has happened yet goes on at the first event.
    let mut at = args.since.unwrap_or_else(|| first.events.first().map_or(0, |event| event.sequence - 1));
    let mut widths = Widths::default();
    let mut headed = false;
    let mut told = first;
    let mut broken_since: Option<Instant> = None;
    loop {
        // Numbers have no gaps: what is not next was forgotten.
        if let Some(event) = told.events.first().filter(|event| event.sequence != at + 1) {
            return Err(forgotten(at, event.sequence).into());
        }
        let wanted: Vec<&Happened> =
            told.events.iter().map(AsRef::as_ref).filter(|event| args.wants(event)).collect();
        let text = match args.output {
            EventForm::Json => {
                wanted.iter().map(|event| json_line(&document("Event", shape(event)))).collect()
            }
            EventForm::Table => table(&wanted, &mut widths, !headed, terminal),
        };
        let text: String = text?;
        if !wanted.is_empty() {
            terminal.print(&text)?;
            headed = true;
        }
        at = told.events.last().map_or(at, |event| event.sequence);
        if !args.watch && at >= until {
            return Ok(Exit::Ok);
        }
        let wait = if args.watch { WAIT } else { Duration::ZERO };
        told = match client.ask(after(Some(at), wait, 0)).await {
            Ok(reply) => {
                broken_since = None;
                events(reply)?
            }
            Err(error) => {
                let since = *broken_since.get_or_insert_with(Instant::now);
                let passing = matches!(
                    error,
                    AskError::Unreachable(_) | AskError::TooLate { .. } | AskError::NoLeader(_)
                );
                if !(args.watch && passing) || since.elapsed() > RECONNECT_PATIENCE {
                    return Err(error.into());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                Events::default()
            }
        };
    }
}

fn after(since: Option<u64>, wait: Duration, at_most: u32) -> Call {
    Call::Events(EventsAfter { since, wait, at_most })
}

fn events(reply: Reply) -> Result<Events, Failure> {
    match reply.kind {
        ReplyKind::Events(events) => Ok(events),
        _ => Err(other_answer("events")),
    }
}

fn forgotten(at: u64, next: u64) -> Failure {
    let message = format!("the events {} to {} are not kept any more", at + 1, next - 1);
    Failure::new(Exit::Conflict, "conflict", message, format!("go on with --since {}", next - 1))
}

fn shape(event: &Happened) -> Shape<'_> {
    Shape {
        sequence: event.sequence,
        at_ms: event.at_ms,
        index: event.index,
        event: &event.kind,
        agent_id: event.agent.as_ref().map(ToString::to_string),
        framework_id: event.framework.as_ref().map(ToString::to_string),
        task_id: event.task.as_ref().map(ToString::to_string),
        subject: Some(event.subject.as_str()).filter(|subject| !subject.is_empty()),
        message: &event.message,
    }
}

fn table(
    events: &[&Happened],
    widths: &mut Widths,
    headed: bool,
    terminal: &Terminal<'_>,
) -> Result<String, Stop> {
    let mut table = Table::new(vec!["SEQUENCE", "AGE", "EVENT", "OBJECT", "MESSAGE"]);
    for event in events {
        table.push(vec![
            Cell::new(event.sequence.to_string()),
            Cell::new(crate::duration::show_age(event.at_ms, terminal.now_ms())),
            Cell::new(event.kind.as_ref()),
            Cell::new(object(event)),
            Cell::new(&event.message),
        ]);
    }
    Ok(table.render_on(widths, headed, terminal.colours))
}

/// What it happened to, the narrowest first.
fn object(event: &Happened) -> String {
    let agent = event.agent.as_ref().map(ToString::to_string);
    let subject = Some(event.subject.clone()).filter(|subject| !subject.is_empty());
    let own = match (&event.task, &event.framework) {
        (Some(task), Some(framework)) => Some(format!("{framework}/{task}")),
        (Some(task), None) => Some(task.to_string()),
        (None, Some(framework)) => Some(framework.to_string()),
        (None, None) => None,
    };
    let all: Vec<String> = [subject, own, agent].into_iter().flatten().collect();
    all.join(" on ")
}

// === impl EventsArgs ===

impl EventsArgs {
    /// Whether an event is one of those that were asked for.
    fn wants(&self, event: &Happened) -> bool {
        let kind = |wanted: &String| {
            event.kind == wanted.as_str()
                || event.kind.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('-'))
        };
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        (self.kinds.is_empty() || self.kinds.iter().any(kind))
            && is(&self.agent, event.agent.as_ref().map(|id| id.as_str()))
            && is(&self.framework, event.framework.as_ref().map(|id| id.as_str()))
            && is(&self.task, event.task.as_ref().map(|id| id.as_str()))
            && is(&self.subject, Some(&event.subject))
    }
}
