//! Commands that people run beside tasks: from the door's stream to a guest of the run, and back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_containerizer::{Containerizer, Guest, How, Launch, StartFailure, Terminal};
use proto::agent_link::{ExecInput, ExecOutput, ExecStart, TaskRun, TerminalSize};
use proto::refusal::{Code, Refusal};
use proto::task::Exit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use crate::containers::{TaskFacts, beside};

/// Commands beside tasks at a time, on one agent.
const COMMANDS_MAX: usize = 64;
/// The most bytes that a command and its arguments may take.
const ARGV_BYTES_MAX: usize = 64 << 10;
/// Output is sent in pieces of this size at most.
const CHUNK_BYTES: usize = 16 << 10;
/// Whoever asks has so long to say what.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Once the command has ended and so long nothing comes, nothing will: somebody whom it left behind holds its output open.
const REST_PATIENCE: Duration = Duration::from_millis(500);

/// What goes to whoever asked.
pub(crate) type Answers = mpsc::Sender<Result<ExecOutput, Status>>;

/// Runs commands beside tasks.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    containerizer: Containerizer,
    facts: Arc<TaskFacts>,
    free: Arc<Semaphore>,
}

/// A command that was begun.
pub(crate) struct Begun {
    guest: Guest,
    _place: OwnedSemaphorePermit,
}

// === impl Exec ===

impl Exec {
    /// For the runs of this containerizer.
    pub fn new(containerizer: Containerizer, facts: Arc<TaskFacts>) -> Exec {
        Exec { containerizer, facts, free: Arc::new(Semaphore::new(COMMANDS_MAX)) }
    }

    /// Begins a command beside a run.
    pub async fn begin(&self, given: &TaskRun, start: &ExecStart) -> Result<Begun, Status> {
        check(start)?;
        let place = self.free.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{COMMANDS_MAX} commands run beside tasks of this agent");
            Status::resource_exhausted(
                Refusal::new(Code::TooMuch, message).with_help("wait for one to end").to_string(),
            )
        })?;
        let mut launch: Launch = beside(given, &self.facts, start.argv.clone());
        if !start.term.is_empty() {
            launch.env.retain(|(name, _)| name != "TERM");
            launch.env.push(("TERM".to_owned(), start.term.clone()));
        }
        let guest = self
            .containerizer
            .enter(launch, start.terminal.map(size))
            .await
            .map_err(|e| status(start, &e))?;
        Ok(Begun { guest, _place: place })
    }
}

/// The first word of whoever asks.
pub(crate) async fn first(input: &mut Streaming<ExecInput>) -> Result<ExecStart, Status> {
    let invalid = |message: &str| Status::invalid_argument(Refusal::new(Code::Invalid, message).to_string());
    match timeout(START_LIMIT, input.message()).await {
        Ok(Ok(Some(ExecInput::Start(start)))) => Ok(start),
        Ok(Ok(Some(_))) => Err(invalid("the first message must be start")),
        Ok(Ok(None)) => Err(invalid("nothing was said; the first message must be start")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(invalid("the first message, start, did not come in time")),
    }
}

fn check(start: &ExecStart) -> Result<(), Status> {
    let why = if start.argv.first().is_none_or(String::is_empty) {
        "argv is empty; name a program"
    } else if start.argv.iter().chain([&start.term]).any(|word| word.contains('\0')) {
        "argv or term holds a zero byte; take it out"
    } else if start.argv.iter().map(String::len).sum::<usize>() > ARGV_BYTES_MAX {
        "argv takes more than 65536 bytes; give it by standard input"
    } else {
        return Ok(());
    };
    Err(Status::invalid_argument(Refusal::new(Code::Invalid, why).to_string()))
}

/// A terminal of no size is one that nobody has measured.
fn size(size: TerminalSize) -> agent_containerizer::TerminalSize {
    let bounded = |value: u32, usual: u16| match u16::try_from(value) {
        Ok(0) => usual,
        Ok(value) => value,
        Err(_) => u16::MAX,
    };
    agent_containerizer::TerminalSize { columns: bounded(size.columns, 80), rows: bounded(size.rows, 24) }
}

/// Why there is no command, or nobody saw its end.
fn status(start: &ExecStart, failure: &StartFailure) -> Status {
    let message = format!("task {}: {failure}", start.task);
    match failure {
        StartFailure::NotRunning => not_running(start),
        StartFailure::TooLong { .. } => Status::invalid_argument(message),
        StartFailure::Keeper { .. } if failure.is_of_the_command() => Status::invalid_argument(message),
        // What this machine cannot do now it may do later.
        StartFailure::KeeperAway | StartFailure::Keeper { .. } => Status::unavailable(message),
        StartFailure::Visit(_) => Status::internal(message),
        StartFailure::Canceled
        | StartFailure::KeeperOld
        | StartFailure::UnknownUser(_)
        | StartFailure::RootForbidden
        | StartFailure::NotIsolated { .. }
        | StartFailure::Sandbox(_)
        | StartFailure::Volume(_)
        | StartFailure::Secrets(_)
        | StartFailure::Artifact { .. }
        | StartFailure::Cgroup(_) => Status::failed_precondition(message),
    }
}

/// A command needs a task that runs.
pub(crate) fn not_running(start: &ExecStart) -> Status {
    let refusal = Refusal::new(Code::Conflict, format!("task {} does not run", start.task))
        .with_help("a command runs beside a task that runs; see `stoa get tasks`");
    Status::failed_precondition(refusal.to_string())
}

// === impl Begun ===

impl Begun {
    /// Passes everything on, until the command has ended or whoever asked has gone: then it is killed.
    pub async fn converse(self, start: ExecStart, input: Streaming<ExecInput>, answers: Answers) {
        let Begun { mut guest, _place } = self;
        let (stdin, stdout, stderr) = (guest.stdin.take(), guest.stdout.take(), guest.stderr.take());
        let terminal = guest.terminal.take().map(Arc::new);
        let broken = async {
            if feed(input, stdin, terminal.clone()).await.is_ok() {
                // Nothing more is typed; the command may go on for long.
                std::future::pending::<()>().await;
            }
        };
        let (tell_over, over) = watch::channel(false);
        let shown = async {
            match &terminal {
                Some(terminal) => show_terminal(terminal, &answers, over.clone()).await,
                None => {
                    tokio::join!(
                        show(stdout, ExecOutput::Stdout, &answers, over.clone()),
                        show(stderr, ExecOutput::Stderr, &answers, over.clone())
                    );
                }
            }
        };
        tokio::pin!(broken, shown);
        let mut all = false;
        let ended = loop {
            tokio::select! {
                ended = guest.ended() => break ended,
                () = &mut shown, if !all => all = true,
                () = &mut broken => return,
                () = answers.closed() => return,
            }
        };
        tell_over.send_replace(true);
        if !all {
            tokio::select! {
                () = &mut shown => {}
                () = answers.closed() => return,
            }
        }
        let word = match ended {
            Ok(How::Code(code)) => Ok(ExecOutput::Exit(Exit::Code(code))),
            Ok(How::Signal(signal)) => Ok(ExecOutput::Exit(Exit::Signal(signal))),
            Ok(How::Lost(_)) => Err(Status::internal("nobody saw how the command ended")),
            Err(failure) => Err(status(&start, &failure)),
        };
        // Whoever asked may have gone meanwhile.
        let _ = answers.send(word).await;
    }
}

/// Gives the command what is said to it. An error: whoever asked is gone, or makes no sense.
async fn feed(
    mut input: Streaming<ExecInput>,
    mut stdin: Option<ChildStdin>,
    terminal: Option<Arc<Terminal>>,
) -> Result<(), Status> {
    while let Some(word) = input.message().await? {
        match (word, &terminal) {
            (ExecInput::Start(_), _) => return Err(Status::invalid_argument("started twice")),
            (ExecInput::Stdin(bytes), Some(terminal)) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    // A terminal that nobody has open any more takes nothing; the end of the command follows.
                    let Ok(count) = terminal.write(rest).await else { break };
                    rest = rest.get(count..).unwrap_or_default();
                }
            }
            (ExecInput::Stdin(bytes), None) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&bytes).await.is_err()
                {
                    // It reads no more; that is its right.
                    stdin = None;
                }
            }
            (ExecInput::StdinEnd, _) => stdin = None,
            (ExecInput::Resize(to), Some(terminal)) => {
                // The size of a terminal is a courtesy.
                let _ = terminal.resize(size(to));
            }
            (ExecInput::Resize(_), None) => {}
        }
    }
    Ok(())
}

async fn show(
    from: Option<impl AsyncRead + Unpin>,
    word: fn(Vec<u8>) -> ExecOutput,
    answers: &Answers,
    over: watch::Receiver<bool>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Some(count) = some(from.read(&mut buffer), &over).await {
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if answers.send(Ok(word(bytes))).await.is_err() {
            return;
        }
    }
}

async fn show_terminal(terminal: &Terminal, answers: &Answers, over: watch::Receiver<bool>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Some(count) = some(terminal.read(&mut buffer), &over).await {
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if answers.send(Ok(ExecOutput::Stdout(bytes))).await.is_err() {
            return;
        }
    }
}

/// How much was read; `None` at the end, or when the command is over and nothing more comes.
async fn some(read: impl Future<Output = io::Result<usize>>, over: &watch::Receiver<bool>) -> Option<usize> {
    let mut over = over.clone();
    let silence = async {
        // The one who tells is there for as long as this is asked.
        let _ = over.wait_for(|over| *over).await;
        sleep(REST_PATIENCE).await;
    };
    tokio::select! {
        biased;
        read = read => read.ok().filter(|count| *count > 0),
        () = silence => None,
    }
}

#[cfg(test)]
mod tests {
    use agent_keeper::protocol::{Failure, Stage};
    use rustix::io::Errno;
    use tonic::Code as Grpc;

    use super::*;

    #[test]
    fn what_the_machine_lacks_is_told_apart_from_what_was_typed_wrong() {
        let start = ExecStart {
            framework: proto::id::FrameworkId::new("F1-1").unwrap(),
            task: proto::id::TaskId::new("web.0").unwrap(),
            argv: vec!["ls".to_owned()],
            terminal: None,
            term: String::new(),
        };
        for (stage, errno, code) in [
            (Stage::Exec, Errno::NOENT, Grpc::InvalidArgument),
            (Stage::Exec, Errno::NOMEM, Grpc::Unavailable),
            (Stage::Clone, Errno::AGAIN, Grpc::Unavailable),
            (Stage::Cgroup, Errno::NOENT, Grpc::Unavailable),
        ] {
            let failure = Failure { stage, index: 0, errno: errno.raw_os_error() };
            let status = status(&start, &StartFailure::Keeper { failure });
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().starts_with("task web.0: "), "{status:?}");
        }
    }
}
