//! `stoa logs`: the output of a task, from the agent that has it.

use proto::agent_link::LogsRequest;
use proto::operator::{AgentView, List, TaskView};
use proto::task::TaskState;
use tonic::Code;

use super::describe::{find, task};
use super::watch::Watcher;
use crate::args::LogsArgs;
use crate::client::Client;
use crate::escape::Sanitizer;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::{Change, View};
use crate::terminal::Terminal;

/// Prints the output of a task; with `--follow` until it has ended.
pub async fn run(client: &Client, args: &LogsArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let mut task = task(client, &args.task, true).await?;
    if args.follow {
        task = started(client, task, terminal).await?;
    }
    let at = List { agent: task.agent.to_string(), ..List::default() };
    let agent = find::<AgentView>(client, at, task.agent.as_str()).await?;
    let mut door = client.agent(&agent.info.address).await?;
    let request = LogsRequest {
        framework: task.framework.clone(),
        task: task.info.id.clone(),
        stderr: args.stderr,
        follow: args.follow,
        tail_lines: args.tail,
    };
    let whom = format!("agent {} at {}", agent.info.hostname, agent.info.address);
    let failed = |status: &tonic::Status| match status.code() {
        Code::NotFound => Failure::not_found(
            format!("{} has no output of {}: {}", agent.info.hostname, task.full_name(), status.message()),
            "the agent removes sandboxes of ended tasks after a while",
        ),
        _ => Failure::of_status(&whom, status),
    };
    let mut chunks = door.logs(request).await.map_err(|status| failed(&status))?.into_inner();
    // Raw bytes belong in a pipe or a file; a terminal would obey what is in them.
    let mut sanitizer = terminal.interactive.then(Sanitizer::default);
    while let Some(chunk) = chunks.message().await.map_err(|status| failed(&status))? {
        match &mut sanitizer {
            None => terminal.print_bytes(&chunk.data)?,
            Some(sanitizer) => terminal.print(&sanitizer.push(&chunk.data))?,
        }
    }
    if let Some(sanitizer) = sanitizer {
        terminal.print(&sanitizer.finish())?;
    }
    Ok(Exit::Ok)
}

/// The task once it has been started (or never will be).
async fn started(client: &Client, task: TaskView, terminal: &mut Terminal<'_>) -> Result<TaskView, Stop> {
    let waits = |task: &TaskView| task.status.state == TaskState::Staging;
    if !waits(&task) {
        return Ok(task);
    }
    terminal.note(&format!("{} has not started yet; waiting", task.full_name()));
    let name = task.full_name();
    let mut watcher = Watcher::from_snapshot(client);
    loop {
        let event = watcher.next(terminal).await?;
        let found = match TaskView::of_event(event.kind) {
            Change::All(all) => all.into_iter().find(|task| task.full_name() == name),
            Change::Put(task) if task.full_name() == name => Some(task),
            Change::Put(_) | Change::Gone(..) | Change::Other => None,
        };
        if let Some(task) = found.filter(|task| !waits(task)) {
            return Ok(task);
        }
    }
}
