//! `stoa kill`: ends tasks.

use proto::operator::{Call, KillTask, TaskView};

use super::describe::task;
use super::{Said, order};
use crate::args::KillArgs;
use crate::client::Client;
use crate::duration::show_duration;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::terminal::Terminal;

/// Ends each task that is named; all of them are looked up before the first is ended.
pub async fn run(client: &Client, args: &KillArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let mut tasks: Vec<TaskView> = Vec::new();
    for wanted in &args.tasks {
        tasks.push(running(client, wanted).await?);
    }
    for task in tasks {
        let grace = args.grace.unwrap_or(task.info.kill_grace);
        let kill =
            KillTask { framework: task.framework.to_string(), task: task.info.id.clone(), grace: args.grace };
        order(client, Call::KillTask(kill), args.order.dry_run).await?;
        let name = format!("{}/{}", task.framework_name, task.info.id);
        let what = format!("{name} on {}: TERM now, KILL after {}", task.hostname, show_duration(grace));
        Said { order: &args.order, undo: "" }.note(&what, terminal)?;
    }
    Ok(Exit::Ok)
}

/// Ended ones are looked at too: the name of a task that has ended must not pass for the beginning of another's.
async fn running(client: &Client, wanted: &str) -> Result<TaskView, Stop> {
    let found = task(client, wanted).await?;
    if !found.status.state.is_terminal() {
        return Ok(found);
    }
    let message = format!("{} has ended already: {}", found.full_name(), found.status.state.as_str());
    Err(Failure::new(Exit::Conflict, "conflict", message, "").into())
}
