//! `stoa logs`: the output of a task, from the agent that has it.

use std::time::Duration;

use proto::agent_link::LogsRequest;
use proto::operator::{AgentView, List, TaskView};
use proto::task::TaskState;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::describe::{find, task};
use super::watch::Watcher;
use crate::args::LogsArgs;
use crate::client::{AskError, Client};
use crate::escape::Sanitizer;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::{Change, View};
use crate::terminal::Terminal;

/// The first wait before a followed stream that broke is taken up again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the output of a task that has ended is tried for: an agent that was killed is back in less.
const ENDED_LIMIT: Duration = Duration::from_secs(15);

/// Prints the output of a task; with `--follow` until it has ended and all is read, whatever becomes of the agent's
/// process meanwhile.
pub async fn run(client: &Client, args: &LogsArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let mut task = task(client, &args.task, true).await?;
    if args.follow {
        task = started(client, task, terminal).await?;
    }
    // Raw bytes belong in a pipe or a file; a terminal would obey what is in them.
    let sanitizer = terminal.interactive.then(Sanitizer::default);
    let mut reading = Reading { client, args, task, sanitizer, next: None };
    match reading.read_all(terminal).await {
        Ok(()) => {}
        Err(stop) => {
            reading.finish(terminal)?;
            return Err(stop);
        }
    }
    reading.finish(terminal)?;
    Ok(Exit::Ok)
}

/// One stream of a task, as far as it is shown.
struct Reading<'a> {
    client: &'a Client,
    args: &'a LogsArgs,
    task: TaskView,
    sanitizer: Option<Sanitizer>,
    /// Where to go on: behind what is shown.
    next: Option<u64>,
}

/// How a stream ended before its end.
enum Broken {
    /// Nobody reads what is printed, or nobody can answer.
    Stop(Stop),
    /// The agent's word; asking again may bring another.
    Agent(Failure, Option<Code>),
}

// === impl Reading ===

impl Reading<'_> {
    async fn read_all(&mut self, terminal: &mut Terminal<'_>) -> Result<(), Stop> {
        let mut wait = WAITS.0;
        let mut give_up: Option<Instant> = None;
        loop {
            let before = self.next;
            let (failure, code) = match self.once(terminal).await {
                Ok(()) => return Ok(()),
                Err(Broken::Stop(stop)) => return Err(stop),
                Err(Broken::Agent(failure, code)) => (failure, code),
            };
            if !self.args.follow {
                return Err(failure.into());
            }
            if self.next > before {
                (wait, give_up) = (WAITS.0, None);
            } else if wait == WAITS.0 {
                terminal
                    .note(&format!("{}; going on when it is back", crate::escape::escaped(&failure.message)));
            }
            if matches!(code, Some(Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument)) {
                return Err(failure.into());
            }
            // A task that runs is waited for; one that has ended has an end to its output too.
            if self.has_ended().await {
                let until = *give_up.get_or_insert_with(|| Instant::now() + ENDED_LIMIT);
                if code == Some(Code::NotFound) || Instant::now() >= until {
                    return Err(failure.into());
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// One stream, from where the last one broke.
    async fn once(&mut self, terminal: &mut Terminal<'_>) -> Result<(), Broken> {
        let at = List { agent: self.task.agent.to_string(), ..List::default() };
        let agent =
            find::<AgentView>(self.client, at, self.task.agent.as_str()).await.map_err(Broken::Stop)?;
        let whom = format!("agent {} at {}", agent.info.hostname, agent.info.address);
        let broken = |status: &Status| {
            let failure = match status.code() {
                Code::NotFound => Failure::not_found(
                    format!(
                        "{} has no output of {}: {}",
                        agent.info.hostname,
                        self.task.full_name(),
                        status.message()
                    ),
                    "the agent removes sandboxes of ended tasks after a while",
                ),
                _ => Failure::of_status(&whom, status),
            };
            Broken::Agent(failure, Some(status.code()))
        };
        let mut door = match self.client.agent(&agent.info.address).await {
            Ok(door) => door,
            Err(AskError::Connect(error)) => {
                return Err(Broken::Agent(AskError::Connect(error).into(), None));
            }
            Err(error) => return Err(Broken::Stop(error.into())),
        };
        let request = LogsRequest {
            framework: self.task.framework.clone(),
            task: self.task.info.id.clone(),
            stderr: self.args.stderr,
            follow: self.args.follow,
            tail_lines: if self.next.is_none() { self.args.tail } else { None },
            offset: self.next,
        };
        let mut chunks = door.logs(request).await.map_err(|status| broken(&status))?.into_inner();
        while let Some(chunk) = chunks.message().await.map_err(|status| broken(&status))? {
            self.next = Some(chunk.offset.saturating_add(chunk.data.len() as u64));
            let shown = match &mut self.sanitizer {
                None => terminal.print_bytes(&chunk.data),
                Some(sanitizer) => terminal.print(&sanitizer.push(&chunk.data)),
            };
            shown.map_err(Broken::Stop)?;
        }
        Ok(())
    }

    /// What the sanitizer holds back until it knows what follows.
    fn finish(&mut self, terminal: &mut Terminal<'_>) -> Result<(), Stop> {
        match self.sanitizer.take() {
            Some(sanitizer) => terminal.print(&sanitizer.finish()),
            None => Ok(()),
        }
    }

    /// Whether the masters say that it has ended; one they no longer know has too.
    async fn has_ended(&self) -> bool {
        match task(self.client, &self.task.full_name(), true).await {
            Ok(task) => task.status.state.is_terminal(),
            Err(Stop::Failed(failure)) => failure.exit == Exit::NotFound,
            Err(Stop::HungUp) => true,
        }
    }
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
