//! Runs commands beside tasks, at their agents' doors: streams in and out, an exit code, and an end when nobody wants it any more.

use proto::agent_link::{ExecInput, ExecOutput, ExecStart};
use proto::id::{FrameworkId, TaskId};
use proto::operator::{AgentView, Call, List, ReplyKind, TaskView};
use proto::task::{Exit, TaskState};
use proto_grpc::ConnectError;
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::logs::{AgentDoor, LogsError};
use crate::operator::{AskError, Operator};

/// Pieces of its standard input that wait for a slow agent.
const PIECES_AHEAD: usize = 4;

pub use proto::agent_link::{ExecOutput as Said, TerminalSize};

/// Why a command does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No master says where the task is.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There is no such task.
    #[error("framework {framework} has no task {task}")]
    NoTask {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
    },
    /// A command runs beside a task that runs.
    #[error("task {task} does not run: it is {}", .state.as_str())]
    NotRunning {
        /// Which.
        task: TaskId,
        /// How it stands.
        state: TaskState,
    },
    /// The agent of the task is not among those that the masters know.
    #[error("the masters do not know agent {agent} on which task {task} runs")]
    NoAgent {
        /// Which task.
        task: TaskId,
        /// Where it runs.
        agent: String,
    },
    /// The agent cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The agent says no: the task has ended meanwhile, the program is not there, or whoever asks may not.
    #[error("the agent says: {}", .0.message())]
    Refused(Status),
    /// The agent went away, and the command with it.
    #[error("the agent went away, and a command ends with its agent's process: {}", .0.message())]
    Broken(Status),
    /// The agent ended the stream before the command's last word.
    #[error("the agent ended the stream before the command")]
    Cut,
}

/// A command that runs beside a task. **Dropped, it is killed** with all it has started.
#[derive(Debug)]
pub struct Exec {
    output: Streaming<ExecOutput>,
    /// Held until the end: whoever hangs up ends the command.
    say: mpsc::Sender<ExecInput>,
    is_over: bool,
    /// Gone with this: whoever waits until something is read lets go of it too.
    held: watch::Sender<()>,
}

/// What goes to a command. Cheap to clone, for whoever writes while another reads.
#[derive(Clone, Debug)]
pub struct Stdin {
    /// Not what keeps the talk open: that is the command's.
    say: mpsc::WeakSender<ExecInput>,
    /// Closed once nobody listens to the command any more.
    listening: watch::Receiver<()>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

// === impl Exec ===

impl Exec {
    /// Begins a command at the door of the agent that has the task.
    pub async fn begin(mut door: AgentDoorClient<Channel>, start: ExecStart) -> Result<Exec, ExecError> {
        let (say, said) = mpsc::channel(PIECES_AHEAD);
        // There is room for the first.
        let _ = say.send(ExecInput::Start(start)).await;
        let output = door.exec(ReceiverStream::new(said)).await.map_err(judged)?.into_inner();
        Ok(Exec { output, say, is_over: false, held: watch::Sender::new(()) })
    }

    /// Where its standard input is written to.
    pub fn stdin(&self) -> Stdin {
        Stdin { say: self.say.downgrade(), listening: self.held.subscribe() }
    }

    /// What it says next; how it ended is the last word, and behind that comes `None`.
    pub async fn next(&mut self) -> Result<Option<Said>, ExecError> {
        if self.is_over {
            return Ok(None);
        }
        let word = self.output.message().await.map_err(judged)?.ok_or(ExecError::Cut)?;
        self.is_over = matches!(word, ExecOutput::Exit(_));
        Ok(Some(word))
    }

    /// Gives it all of this as its standard input, keeps all that it writes, and waits for its end.
    pub async fn run(mut self, input: &[u8]) -> Result<Ran, ExecError> {
        let stdin = self.stdin();
        let typing = async {
            // Whoever does not read its input to the end is no fault: how it ends says more.
            let _ = stdin.write(input).await;
            stdin.end().await;
        };
        let reading = async {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            loop {
                match self.next().await? {
                    Some(Said::Stdout(bytes)) => stdout.extend(bytes),
                    Some(Said::Stderr(bytes)) => stderr.extend(bytes),
                    Some(Said::Exit(exit)) => return Ok(Ran { exit, stdout, stderr }),
                    None => return Err(ExecError::Cut),
                }
            }
        };
        let (mut typing, mut reading) = (std::pin::pin!(typing), std::pin::pin!(reading));
        tokio::select! {
            ran = &mut reading => return ran,
            () = &mut typing => {}
        }
        reading.await
    }
}

// === impl Stdin ===

impl Stdin {
    const PIECE_BYTES: usize = 16 << 10;

    /// Writes to its standard input. False once it is over, or called off.
    pub async fn write(&self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(Stdin::PIECE_BYTES) {
            if !self.say(ExecInput::Stdin(piece.to_vec())).await {
                return false;
            }
        }
        true
    }

    /// Nothing more comes for its standard input.
    pub async fn end(&self) {
        // Whoever is over need not know.
        self.say(ExecInput::StdinEnd).await;
    }

    /// Its terminal has another size now. False once it is over, or called off.
    pub async fn resize(&self, size: TerminalSize) -> bool {
        self.say(ExecInput::Resize(size)).await
    }

    async fn say(&self, word: ExecInput) -> bool {
        let Some(say) = self.say.upgrade() else { return false };
        let mut listening = self.listening.clone();
        tokio::select! {
            biased;
            // Nothing is ever sent there: it changes by its end.
            _ = listening.changed() => false,
            sent = say.send(word) => sent.is_ok(),
        }
    }
}

// === impl AgentDoor ===

impl AgentDoor {
    /// Begins a command beside a task that runs on this agent.
    pub async fn exec(&self, start: ExecStart) -> Result<Exec, ExecError> {
        Exec::begin(self.client(), start).await
    }
}

// === impl Operator ===

impl Operator {
    /// Begins a command beside a task, wherever it runs: in its namespaces, limits and sandbox, as its user, with its
    /// environment.
    pub async fn exec<S: Into<String>>(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        argv: impl IntoIterator<Item = S>,
    ) -> Result<Exec, ExecError> {
        let start = ExecStart {
            framework: framework.clone(),
            task: task.clone(),
            argv: argv.into_iter().map(Into::into).collect(),
            terminal: None,
            term: String::new(),
        };
        let address = self.agent_of(framework, task).await?;
        let door = AgentDoor::connect(&address, self.credentials()).await.map_err(|error| match error {
            LogsError::Connect(error) => ExecError::Connect(error),
            LogsError::Agent(status) => ExecError::Refused(status),
        })?;
        door.exec(start).await
    }

    /// The address of the agent on which a task runs.
    async fn agent_of(&self, framework: &FrameworkId, task: &TaskId) -> Result<String, ExecError> {
        let own = List { framework: framework.to_string(), ended: true, ..List::default() };
        let ReplyKind::Tasks(tasks) = self.ask(Call::Tasks(own)).await?.kind else {
            return Err(AskError::Unfitting { asked: "tasks" }.into());
        };
        let is_it = |view: &TaskView| view.info.id == *task && view.framework == *framework;
        let found = tasks
            .into_iter()
            .find(is_it)
            .ok_or_else(|| ExecError::NoTask { framework: framework.clone(), task: task.clone() })?;
        if found.status.state != TaskState::Running {
            return Err(ExecError::NotRunning { task: task.clone(), state: found.status.state });
        }
        let at = List { agent: found.agent.to_string(), ..List::default() };
        let ReplyKind::Agents(agents) = self.ask(Call::Agents(at)).await?.kind else {
            return Err(AskError::Unfitting { asked: "agents" }.into());
        };
        let is_there = |agent: &AgentView| agent.info.id == found.agent;
        let there = agents.into_iter().find(is_there);
        there
            .map(|agent| agent.info.address)
            .ok_or_else(|| ExecError::NoAgent { task: task.clone(), agent: found.agent.to_string() })
    }
}

/// How the talk with an agent ended too early.
fn judged(status: Status) -> ExecError {
    // One that was made here, by the transport, has a source.
    match std::error::Error::source(&status).is_some() {
        true => ExecError::Broken(status),
        false => ExecError::Refused(status),
    }
}
