//! `stoa logs`: the output of tasks, from the agents that have it.

mod group;
mod reading;

use proto::operator::TaskView;
use proto::task::TaskState;

use super::describe::Among;
use super::resolve;
use super::watch::Watcher;
use crate::args::LogsArgs;
use crate::client::Client;
use crate::escape::Sanitizer;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::nouns::{Change, View};
use crate::terminal::Terminal;
use group::{Group, Wanted, is_called};
use reading::{Reading, Said};

/// Prints the output of a task; with `--follow` until it has ended and all is read, whatever becomes of the agent's
/// process meanwhile. The output of several is printed line by line, each with the name of its task.
pub async fn run(client: &Client, args: &LogsArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let (mut tasks, mut wanted) = (Vec::new(), Vec::new());
    for word in &args.tasks {
        match meant(client, word).await? {
            Meant::One(task) => {
                if !tasks.iter().any(|known: &TaskView| known.full_name() == task.full_name()) {
                    tasks.push(*task);
                }
            }
            Meant::All(all) => wanted.push(all),
        }
    }
    if !args.labels.is_empty() {
        wanted.push(Wanted::Labelled(args.labels.clone()));
    }
    match (tasks.as_slice(), wanted.is_empty()) {
        ([one], true) => single(client, args, one.clone(), terminal).await,
        _ => Group::new(client, args, tasks, wanted).run(terminal).await,
    }
}

/// What a word means.
enum Meant {
    One(Box<TaskView>),
    All(Wanted),
}

/// One task, or all tasks of a name: those of a job, say.
async fn meant(client: &Client, word: &str) -> Result<Meant, Stop> {
    let Among { items, framework, id } = Among::tasks(client, word, false).await?;
    let exact = items.iter().any(|task| task.info.id.as_str() == id);
    // What is called so comes before what begins so.
    let mut alive = items.iter().filter(|task| !exact && is_called(task, &id) && !task.is_over());
    let one = match (alive.next(), alive.next()) {
        (Some(_), Some(_)) => {
            return Ok(Meant::All(Wanted::Named { framework, name: id }));
        }
        (Some(one), None) => one,
        (None, _) => resolve::one(&items, &id)?,
    };
    Ok(Meant::One(Box::new(one.clone())))
}

async fn single(
    client: &Client,
    args: &LogsArgs,
    mut task: TaskView,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    if args.follow {
        task = started(client, task, terminal).await?;
    }
    // Raw bytes belong in a pipe or a file; a terminal would obey what is in them.
    let mut sanitizer = terminal.interactive.then(Sanitizer::default);
    let mut reading = Reading::new(client, args, task);
    let ended = loop {
        match reading.next().await {
            Ok(Some(Said::Data(bytes))) => match &mut sanitizer {
                None => terminal.print_bytes(&bytes)?,
                Some(sanitizer) => terminal.print(&sanitizer.push(&bytes))?,
            },
            Ok(Some(Said::Note(note))) => terminal.note(&note),
            Ok(None) => break Ok(Exit::Ok),
            Err(stop) => break Err(stop),
        }
    };
    // What is held back until it is known what follows.
    if let Some(sanitizer) = sanitizer {
        terminal.print(&sanitizer.finish())?;
    }
    ended
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
