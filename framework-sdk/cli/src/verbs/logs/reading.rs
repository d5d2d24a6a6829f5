//! `Reading`: one stream of one task, piece by piece, over whatever becomes of the agent's process meanwhile.

use std::time::Duration;

use proto::agent_link::{LogsChunk, LogsRequest};
use proto::operator::{AgentView, List, TaskView};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, Streaming};

use crate::args::LogsArgs;
use crate::client::{AskError, Client};
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::verbs::describe::task;
use crate::verbs::resolve::find;

/// The first wait before a followed stream that broke is taken up again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the output of a task that has ended is tried for: an agent that was killed is back in less.
const ENDED_LIMIT: Duration = Duration::from_secs(15);

/// One stream of a task, as far as it is read.
pub(super) struct Reading<'a> {
    client: &'a Client,
    args: &'a LogsArgs,
    task: TaskView,
    /// Where to go on: behind what is read.
    next: Option<u64>,
    stream: Option<(AgentView, Streaming<LogsChunk>)>,
    /// The wait after the next break.
    wait: Duration,
    /// To be waited before the next try.
    pause: Option<Duration>,
    give_up: Option<Instant>,
}

/// What comes of it.
pub(super) enum Said {
    /// Output.
    Data(Vec<u8>),
    /// A word beside it.
    Note(String),
}

/// How a stream ended before its end.
enum Broken {
    /// Nobody can answer.
    Stop(Stop),
    /// The agent's word; asking again may bring another.
    Agent(Failure, Option<Code>),
}

// === impl Reading ===

impl<'a> Reading<'a> {
    pub fn new(client: &'a Client, args: &'a LogsArgs, task: TaskView) -> Self {
        Reading { client, args, task, next: None, stream: None, wait: WAITS.0, pause: None, give_up: None }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Said>, Stop> {
        loop {
            if let Some(pause) = self.pause.take() {
                sleep(pause).await;
            }
            let (failure, code) = match self.once().await {
                Ok(Some(data)) => {
                    (self.wait, self.give_up) = (WAITS.0, None);
                    return Ok(Some(Said::Data(data)));
                }
                Ok(None) => return Ok(None),
                Err(Broken::Stop(stop)) => return Err(stop),
                Err(Broken::Agent(failure, code)) => (failure, code),
            };
            self.stream = None;
            if !self.args.follow
                || matches!(
                    code,
                    Some(Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument)
                )
            {
                return Err(failure.into());
            }
            // A task that runs is waited for; one that has ended has an end to its output too.
            if self.has_ended().await {
                let until = *self.give_up.get_or_insert_with(|| Instant::now() + ENDED_LIMIT);
                if code == Some(Code::NotFound) || Instant::now() >= until {
                    return Err(failure.into());
                }
            }
            let first = self.wait == WAITS.0;
            self.pause = Some(self.wait);
            self.wait = (self.wait * 2).min(WAITS.1);
            if first {
                let note = format!("{}; going on when it is back", escaped(&failure.message));
                return Ok(Some(Said::Note(note)));
            }
        }
    }

    /// The next piece of the stream, which is opened where the last one broke.
    async fn once(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        if self.stream.is_none() {
            self.stream = Some(self.open().await?);
        }
        let Some((agent, chunks)) = &mut self.stream else { return Ok(None) };
        match chunks.message().await {
            Ok(Some(chunk)) => {
                self.next = Some(chunk.offset.saturating_add(chunk.data.len() as u64));
                Ok(Some(chunk.data))
            }
            Ok(None) => Ok(None),
            Err(status) => Err(broken(&self.task, agent, &status)),
        }
    }

    async fn open(&self) -> Result<(AgentView, Streaming<LogsChunk>), Broken> {
        let at = List { agent: self.task.agent.to_string(), ..List::default() };
        let agent = match find::<AgentView>(self.client, at, self.task.agent.as_str()).await {
            Ok(agent) => agent,
            // The masters are away, too.
            Err(Stop::Failed(failure)) if failure.retryable => return Err(Broken::Agent(*failure, None)),
            Err(stop) => return Err(Broken::Stop(stop)),
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
        match door.logs(request).await {
            Ok(chunks) => Ok((agent, chunks.into_inner())),
            Err(status) => Err(broken(&self.task, &agent, &status)),
        }
    }

    /// Whether the masters say that it has ended; one they no longer know has too.
    async fn has_ended(&self) -> bool {
        match task(self.client, &self.task.full_name()).await {
            Ok(task) => task.status.state.is_terminal(),
            Err(Stop::Failed(failure)) => failure.exit == Exit::NotFound,
            Err(Stop::HungUp) => true,
        }
    }
}

fn broken(task: &TaskView, agent: &AgentView, status: &Status) -> Broken {
    let failure = match status.code() {
        Code::NotFound => Failure::not_found(
            format!("{} has no output of {}: {}", agent.info.hostname, task.full_name(), status.message()),
            "the agent removes sandboxes of ended tasks after a while",
        ),
        _ => Failure::of_status(&format!("agent {} at {}", agent.info.hostname, agent.info.address), status),
    };
    Broken::Agent(failure, Some(status.code()))
}
