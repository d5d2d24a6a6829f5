//! `stoa agent drain` and `stoa agent resume`: an agent gets no new work until somebody says otherwise.

use std::time::Duration;

use proto::agent::AgentState;
use proto::operator::{AgentView, Call, Drain, DrainAgent, EventKind, List, ResumeAgent};
use tokio::time::{Instant, timeout_at};

use super::resolve::find;
use super::watch::Watcher;
use super::{Said, order};
use crate::args::{DrainArgs, ResumeArgs};
use crate::client::Client;
use crate::duration::show_duration;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::terminal::Terminal;

/// Gives an agent no new work, and waits until it is empty if that is wanted.
pub async fn drain(client: &Client, args: &DrainArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let view = find::<AgentView>(client, List::default(), &args.agent).await?;
    let id = view.info.id.clone();
    let call = DrainAgent {
        agent: id.clone(),
        within: args.deadline,
        reason: args.reason.clone().unwrap_or_default(),
    };
    order(client, Call::DrainAgent(call), args.order.dry_run).await?;
    let rest = match args.deadline {
        Some(within) => format!("its {} tasks are ended after {}", view.tasks, show_duration(within)),
        None => format!("its {} tasks run on until they end", view.tasks),
    };
    let was = match &view.drain {
        Some(_) => "; it was draining already",
        None => "",
    };
    let undo = match &view.drain {
        None => format!("stoa agent resume {id}"),
        Some(before) => command(&view, before, terminal.now_ms()),
    };
    let what = format!("{} ({id}): no new work, {rest}{was}", view.info.hostname);
    Said { order: &args.order, undo: &undo }.note(&what, terminal)?;
    if args.wait && !args.order.dry_run {
        until_empty(client, &view, args.at_most, terminal).await?;
    }
    Ok(Exit::Ok)
}

/// Gives an agent work again.
pub async fn resume(client: &Client, args: &ResumeArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let view = find::<AgentView>(client, List::default(), &args.agent).await?;
    let id = view.info.id.clone();
    order(client, Call::ResumeAgent(ResumeAgent { agent: id.clone() }), args.order.dry_run).await?;
    let undo = match &view.drain {
        Some(before) => command(&view, before, terminal.now_ms()),
        None => format!("stoa agent drain {id}"),
    };
    let what = format!("{} ({id}): gets work again", view.info.hostname);
    Said { order: &args.order, undo: &undo }.note(&what, terminal)?;
    Ok(Exit::Ok)
}

/// What to type for an agent to drain as it did.
fn command(view: &AgentView, before: &Drain, now_ms: u64) -> String {
    let mut text = format!("stoa agent drain {}", view.info.id);
    if before.deadline_ms > 0 {
        let left = Duration::from_millis(before.deadline_ms.saturating_sub(now_ms).max(1000));
        text.push_str(&format!(" --deadline {}s", left.as_secs()));
    }
    if !before.reason.is_empty() {
        text.push_str(&format!(" --reason '{}'", before.reason.replace('\'', "'\\''")));
    }
    text
}

/// Waits until nothing runs on the agent any more; says so whenever a task has ended.
async fn until_empty(
    client: &Client,
    view: &AgentView,
    at_most: Option<Duration>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Stop> {
    let id = &view.info.id;
    let until = at_most.map(|at_most| Instant::now() + at_most);
    // Watched before it is asked: no end of a task falls in between.
    let mut watcher = Watcher::from_snapshot(client);
    let mut said = None;
    loop {
        let next = watcher.next(terminal);
        let event = match until {
            None => next.await?,
            Some(until) => match timeout_at(until, next).await {
                Ok(event) => event?,
                Err(_) => {
                    let left = said.map_or_else(|| "tasks".to_owned(), |tasks: u64| format!("{tasks} tasks"));
                    let message = format!(
                        "{id} still runs {left} after {}",
                        show_duration(at_most.unwrap_or_default())
                    );
                    let hint = "it goes on draining; `stoa get tasks --agent` lists what is left, and a --deadline ends it";
                    return Err(Failure::unavailable(message, hint).into());
                }
            },
        };
        let concerns = match &event.kind {
            EventKind::Snapshot(_) => true,
            EventKind::AgentChanged(agent) => agent.info.id == *id,
            EventKind::TaskChanged(task) => task.agent == *id && task.status.state.is_terminal(),
            EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::OfferMade(_)
            | EventKind::OfferEnded(_)
            | EventKind::RoleChanged(_) => false,
        };
        if !concerns {
            continue;
        }
        let now = find::<AgentView>(client, List::default(), id.as_str()).await?;
        if now.tasks == 0 || now.state == AgentState::Gone {
            terminal.note(&escaped(&format!("{id} is drained")));
            return Ok(());
        }
        if now.drain.is_none() {
            let message = format!("somebody resumed {id} while {} tasks were left", now.tasks);
            return Err(Failure::new(Exit::Conflict, "conflict", message, "").into());
        }
        if said != Some(now.tasks) {
            terminal.note(&escaped(&format!("{id}: {} tasks left", now.tasks)));
            said = Some(now.tasks);
        }
    }
}
