//! `stoa teardown` and `stoa gone`: what cannot be undone, and is asked about first.

use proto::operator::{AgentView, Call, FrameworkView, List, MarkAgentGone, TeardownFramework};

use super::resolve::find;
use super::{Said, order};
use crate::args::{GoneArgs, TeardownArgs};
use crate::client::Client;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::terminal::Terminal;

/// Ends a framework and its tasks.
pub async fn teardown(
    client: &Client,
    args: &TeardownArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let framework = find::<FrameworkView>(client, List::default(), &args.framework).await?;
    let what = format!("{} ({}) and its {} tasks", framework.info.name, framework.id, framework.tasks);
    if !args.order.dry_run {
        confirmed(&format!("end {what} for good?"), args.yes, terminal)?;
    }
    let call = Call::TeardownFramework(TeardownFramework { framework: framework.id });
    order(client, call, args.order.dry_run).await?;
    Said { order: &args.order, undo: "" }.note(&format!("ended {what}"), terminal)?;
    Ok(Exit::Ok)
}

/// Gives an agent up.
pub async fn gone(client: &Client, args: &GoneArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let agent = find::<AgentView>(client, List::default(), &args.agent).await?;
    let what = format!("{} ({}) and its {} tasks", agent.info.hostname, agent.info.id, agent.tasks);
    if !args.order.dry_run {
        confirmed(&format!("give up {what} for good?"), args.yes, terminal)?;
    }
    let call = Call::MarkAgentGone(MarkAgentGone { agent: agent.info.id });
    order(client, call, args.order.dry_run).await?;
    Said { order: &args.order, undo: "" }.note(&format!("gave up {what}"), terminal)?;
    Ok(Exit::Ok)
}

pub(super) fn confirmed(question: &str, yes: bool, terminal: &mut Terminal<'_>) -> Result<(), Stop> {
    if yes {
        return Ok(());
    }
    let refused =
        |message: &str, hint: &str| Err(Failure::new(Exit::Unconfirmed, "unconfirmed", message, hint).into());
    match terminal.confirm(&escaped(question)) {
        Some(true) => Ok(()),
        Some(false) => refused("nothing was done", ""),
        None => refused("this cannot be undone, and nobody is here to confirm it", "add --yes"),
    }
}
