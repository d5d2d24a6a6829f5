//! The conversation of an agent with the master, and the agent's own door.

use std::time::Duration;

use crate::agent::AgentInfo;
use crate::id::{Epoch, FileName, FrameworkId, RunId, TaskId};
use crate::refusal::Refusal;
use crate::roster::Masters;
use crate::scheduler::Redirect;
use crate::secret::Confidential;
use crate::task::{Exit, TaskInfo, TaskStatus};
use crate::volume::Volume;

/// What an agent tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// It presents itself.
    Register(Register),
    /// A status, sent until it is acknowledged.
    Update(Update),
    /// It is still there.
    Heartbeat,
    /// What was on these volumes is deleted.
    VolumesDestroyed(VolumesDestroyed),
}

/// An agent presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// What it says of itself.
    pub agent: AgentInfo,
    /// The highest epoch it has obeyed.
    pub epoch: Epoch,
    /// Every run it has not forgotten.
    pub runs: Vec<RunReport>,
}

/// One run as the agent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Whose.
    pub framework: FrameworkId,
    /// Which.
    pub run: RunId,
    /// Its latest status.
    pub status: TaskStatus,
    /// What it is.
    pub task: TaskInfo,
}

/// A status of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Whose.
    pub framework: FrameworkId,
    /// The status; its run and sequence are set.
    pub status: TaskStatus,
}

/// What was on these volumes is deleted: nobody needs to remember any more that they were destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesDestroyed {
    /// They.
    pub volumes: Vec<Volume>,
}

/// What the master tells an agent, fenced by its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToAgent {
    /// The sender's; an agent drops what is older than it has obeyed.
    pub epoch: Epoch,
    /// What.
    pub kind: ToAgentKind,
}

/// What the master can tell an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgentKind {
    /// Admitted.
    Registered(Registered),
    /// Start these.
    Launch(Launch),
    /// End this run.
    Kill(Kill),
    /// The framework has this update.
    Acknowledge(Acknowledge),
    /// Leave the pool.
    Shutdown(Shutdown),
    /// Another master leads.
    Redirect(Redirect),
    /// Is still there.
    Heartbeat,
    /// Delete what is on these volumes.
    DestroyVolumes(DestroyVolumes),
    /// Where the masters are now.
    Masters(Masters),
}

/// The agent is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The leader.
    pub epoch: Epoch,
    /// How often the agent says something at least.
    pub heartbeat_interval: Duration,
    /// Silence of the master for so long means: look for another.
    pub silence_limit: Duration,
}

/// One task to run, once and never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRun {
    /// The incarnation.
    pub run: RunId,
    /// Whose.
    pub framework: FrameworkId,
    /// What.
    pub task: TaskInfo,
    /// Who registered the framework, and so may read the output.
    pub principal: String,
    /// The volumes among its resources.
    pub volumes: Vec<Volume>,
}

/// Start these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// They.
    pub runs: Vec<TaskRun>,
}

/// End this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Which.
    pub run: RunId,
    /// Time between TERM and KILL.
    pub grace: Duration,
}

/// The framework has this update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// Of which run.
    pub run: RunId,
    /// Which.
    pub sequence: u64,
}

/// These volumes are destroyed: what is on them is to be deleted, and nothing else ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestroyVolumes {
    /// They.
    pub volumes: Vec<Volume>,
}

/// Leave the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Why.
    pub refusal: Refusal,
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
}

/// What to run, and beside which task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecStart {
    /// Whose.
    pub framework: FrameworkId,
    /// Beside which task.
    pub task: TaskId,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// On a terminal of this size: all output is then standard output.
    pub terminal: Option<TerminalSize>,
    /// The kind of terminal, for `TERM` in its environment; empty: not set.
    pub term: String,
}

/// To a command beside a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecInput {
    /// What to run; the first word.
    Start(ExecStart),
    /// For its standard input.
    Stdin(Vec<u8>),
    /// Nothing more comes for its standard input; ignored on a terminal.
    StdinEnd,
    /// The terminal has another size now.
    Resize(TerminalSize),
}

/// From a command beside a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    /// From its standard output, or its terminal.
    Stdout(Vec<u8>),
    /// From its standard error.
    Stderr(Vec<u8>),
    /// How it ended; the last word.
    Exit(Exit),
}

/// Which output of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsRequest {
    /// Whose.
    pub framework: FrameworkId,
    /// Of which task.
    pub task: TaskId,
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// Stay until the task has ended and all is read.
    pub follow: bool,
    /// Start at the last so many lines.
    pub tail_lines: Option<u64>,
    /// Start behind so many bytes of what there is: to go on where a stream broke. Not together with `tail_lines`.
    pub offset: Option<u64>,
}

/// Some of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsChunk {
    /// Raw bytes.
    pub data: Vec<u8>,
    /// Where they begin, in bytes from the beginning of what there was when the stream began.
    pub offset: u64,
}

/// Asks what the secrets of a run hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsRequest {
    /// Which run.
    pub run: RunId,
    /// Whose.
    pub framework: FrameworkId,
    /// Of which task.
    pub task: TaskId,
}

/// A file for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretContent {
    /// Its name.
    pub file: FileName,
    /// What it holds.
    pub value: Confidential,
}

/// Every secret that a run's task names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsReply {
    /// They.
    pub files: Vec<SecretContent>,
}
