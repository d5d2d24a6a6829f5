//! The output of tasks, from their agents' doors to the screen, whole: a stream that breaks is taken up again behind what
//! was shown.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::agent_link::LogsRequest;
use framework_sdk::id::{FrameworkId, TaskId};
use framework_sdk::logs::{AgentDoor, Lines, LogsError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use super::client::Client;
use super::failure::{Stop, chain};
use super::printer::Printer;
use crate::wire::Task;

/// The first wait before a stream that broke is read again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the output of a task that has ended is tried for: an agent that was killed is back in less.
const ENDED_LIMIT: Duration = Duration::from_secs(15);

/// Reads the output of many tasks at once.
pub(super) struct Readers {
    client: Client,
    printer: Printer,
    /// Whether each line begins with the name of its task.
    prefixed: bool,
    streams: JoinSet<Result<(), Stop>>,
    /// By task id: told when the task has ended.
    tasks: BTreeMap<String, watch::Sender<bool>>,
}

// === impl Readers ===

impl Readers {
    pub fn new(client: Client, printer: Printer, prefixed: bool) -> Readers {
        Readers { client, printer, prefixed, streams: JoinSet::new(), tasks: BTreeMap::new() }
    }

    /// Begins to read both streams of a task.
    pub fn read(&mut self, framework: &str, task: &Task) {
        let ended = watch::Sender::new(task.state().is_terminal());
        let (Ok(framework), Ok(id)) = (FrameworkId::new(framework), TaskId::new(&task.task_id)) else {
            // The framework tells ids that it got from the master; one that is none has no output.
            return;
        };
        for stderr in [false, true] {
            let stream = Stream {
                client: self.client.clone(),
                printer: self.printer.clone(),
                name: task.name.clone(),
                agent: task.agent_id.clone(),
                address: task.agent_address.clone(),
                request: LogsRequest {
                    framework: framework.clone(),
                    task: id.clone(),
                    stderr,
                    follow: true,
                    tail_lines: None,
                    offset: None,
                },
                lines: self.prefixed.then(|| Lines::new(format!("{}| ", task.name))),
                shown: 0,
                ended: ended.subscribe(),
            };
            self.streams.spawn(stream.read());
        }
        self.tasks.insert(task.task_id.clone(), ended);
    }

    /// A task has ended: what its agent cannot say soon is not waited for for ever.
    pub fn ended(&mut self, task: &str) {
        if let Some(ended) = self.tasks.get(task) {
            ended.send_replace(true);
        }
    }

    /// Resolves when a stream ends; `None` when there is none. Dropping it loses nothing.
    pub async fn next_end(&mut self) -> Option<Result<(), Stop>> {
        // A stream does not panic on what it reads; if one does, its panic has been printed.
        self.streams.join_next().await.map(|joined| joined.unwrap_or(Ok(())))
    }

    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }
}

/// One stream of one task.
struct Stream {
    client: Client,
    printer: Printer,
    name: String,
    agent: String,
    address: String,
    request: LogsRequest,
    lines: Option<Lines>,
    /// Bytes of it that are on the screen.
    shown: u64,
    ended: watch::Receiver<bool>,
}

// === impl Stream ===

impl Stream {
    async fn read(mut self) -> Result<(), Stop> {
        let mut wait = WAITS.0;
        let mut give_up: Option<Instant> = None;
        loop {
            let before = self.shown;
            let error = match self.read_once().await? {
                Ok(()) => break,
                Err(error) => error,
            };
            if self.shown > before {
                (wait, give_up) = (WAITS.0, None);
            }
            if *self.ended.borrow() {
                let until = *give_up.get_or_insert_with(|| Instant::now() + ENDED_LIMIT);
                if is_final(&error) || Instant::now() >= until {
                    let which = if self.request.stderr { "standard error" } else { "standard output" };
                    let (name, why) = (&self.name, chain(&error));
                    self.printer
                        .note(&format!("warning: {which} of {name} could not be read to its end: {why}"))
                        .await;
                    break;
                }
            }
            self.address = self.find_again().await;
            // Its end is a reason to look again at once: then an answer is due.
            let mut ended = self.ended.clone();
            let news = async {
                if *ended.borrow_and_update() || ended.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let _ = timeout(wait, news).await;
            wait = (wait * 2).min(WAITS.1);
        }
        match self.lines.as_mut().map(Lines::rest) {
            Some(rest) if !rest.is_empty() => self.show(rest).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Outer: the screen is gone. Inner: how the stream ended.
    async fn read_once(&mut self) -> Result<Result<(), LogsError>, Stop> {
        let opened = async {
            let door = AgentDoor::connect(&self.address, &self.client.credentials).await?;
            // Of one that was never read, all there is.
            let offset = Some(self.shown).filter(|shown| *shown > 0);
            door.logs(LogsRequest { offset, ..self.request.clone() }).await
        };
        let mut logs = match opened.await {
            Ok(logs) => logs,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let data = match logs.next().await {
                Ok(Some(data)) => data,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            self.shown += data.len() as u64;
            let text = match &mut self.lines {
                Some(lines) => lines.push(&data),
                None => data,
            };
            if !text.is_empty() {
                self.show(text).await?;
            }
        }
    }

    async fn show(&self, bytes: Vec<u8>) -> Result<(), Stop> {
        if self.request.stderr {
            self.printer.raw_message(bytes).await
        } else {
            self.printer.data(bytes).await
        }
    }

    /// An agent that was restarted may stand elsewhere.
    async fn find_again(&self) -> String {
        if self.agent.is_empty() {
            return self.address.clone();
        }
        match self.client.agent_address(&self.agent).await {
            Ok(Some(address)) if !address.is_empty() => address,
            // The masters have their own troubles; the old one may do.
            Ok(_) | Err(_) => {
                sleep(WAITS.0).await;
                self.address.clone()
            }
        }
    }
}

/// Whether asking again will give the same answer.
fn is_final(error: &LogsError) -> bool {
    match error {
        LogsError::Connect(_) => false,
        LogsError::Agent(status) => matches!(
            status.code(),
            Code::NotFound
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::InvalidArgument
                | Code::Unimplemented
        ),
    }
}
