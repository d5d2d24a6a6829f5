//! `stoa exec`: a command beside a task that runs, as if it stood there: its streams or its terminal, and its exit code.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use framework_sdk::exec::{Exec, ExecError, Said, Stdin};
use proto::agent_link::{ExecStart, TerminalSize};
use proto::operator::{AgentView, List};
use proto::task::{Exit as Ended, TaskState};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::describe::task;
use super::resolve::find;
use crate::args::ExecArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;

/// Pieces of what is typed that wait for a slow agent, besides those on their way.
const PIECES_AHEAD: usize = 1;
const PIECE_BYTES: usize = 16 << 10;
/// What a terminal takes for the end of what is typed (Ctrl-D).
const END_OF_TYPING: u8 = 4;
/// A command that was ended by a signal has this and the signal's number for exit code, as in a shell.
const SIGNALED: u8 = 128;

/// Runs the command with the streams of this process; its exit code.
pub async fn run(client: &Client, args: &ExecArgs) -> Result<u8, Stop> {
    let found = task(client, &args.task, true).await?;
    if found.status.state != TaskState::Running {
        let message = format!("{} does not run: it is {}", found.full_name(), found.status.state.as_str());
        let hint = "a command runs beside a task that runs; see `stoa get tasks`";
        return Err(Failure::new(Exit::Conflict, "conflict", message, hint).into());
    }
    let at = List { agent: found.agent.to_string(), ..List::default() };
    let agent = find::<AgentView>(client, at, found.agent.as_str()).await?;
    let whom = format!("agent {} at {}", agent.info.hostname, agent.info.address);
    let door = client.agent(&agent.info.address).await?;

    let start = ExecStart {
        framework: found.framework.clone(),
        task: found.info.id.clone(),
        argv: args.command.clone(),
        terminal: args.tty.then(size),
        term: if args.tty { std::env::var("TERM").unwrap_or_default() } else { String::new() },
    };
    let mut command = Exec::begin(door, start).await.map_err(|error| failed(&whom, error))?;
    type_to(args, &command.stdin());
    let raw = (args.tty && args.stdin && io::stdin().is_terminal()).then(Raw::begin).flatten();
    let ended = loop {
        match command.next().await {
            Ok(Some(Said::Stdout(bytes))) => show(&mut io::stdout(), &bytes)?,
            Ok(Some(Said::Stderr(bytes))) => show(&mut io::stderr(), &bytes)?,
            Ok(Some(Said::Exit(Ended::Code(code)))) => break Ok(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            Ok(Some(Said::Exit(Ended::Signal(signal)))) => {
                break Ok(SIGNALED.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX)));
            }
            Ok(None) => break Err(failed(&whom, ExecError::Cut)),
            Err(error) => break Err(failed(&whom, error)),
        }
    };
    drop(raw);
    Ok(ended?)
}

/// Why it did not run, or not to its end.
fn failed(whom: &str, error: ExecError) -> Failure {
    match error {
        ExecError::Refused(status) => Failure::of_status(whom, &status),
        ExecError::Broken(status) => Failure::unavailable(
            format!("{whom} went away: {}", status.message()),
            "a command ends with its agent's process; run it again",
        ),
        ExecError::Cut => Failure::unavailable(format!("{whom} ended the stream before the command"), ""),
        // What is asked before the command begins is asked here by the client of this program.
        ExecError::Ask(_)
        | ExecError::Connect(_)
        | ExecError::NoTask { .. }
        | ExecError::NotRunning { .. }
        | ExecError::NoAgent { .. } => Failure::internal(error.to_string()),
    }
}

fn show(to: &mut dyn Write, bytes: &[u8]) -> Result<(), Stop> {
    Ok(to.write_all(bytes).and_then(|()| to.flush())?)
}

/// How large this process's terminal is; where there is none, of no size.
fn size() -> TerminalSize {
    let of = |stream: &dyn AsFd| tcgetwinsize(stream.as_fd()).ok().filter(|size| size.ws_col > 0);
    let found = of(&io::stdin()).or_else(|| of(&io::stdout())).or_else(|| of(&io::stderr()));
    found.map_or(TerminalSize { columns: 0, rows: 0 }, |size| TerminalSize {
        columns: u32::from(size.ws_col),
        rows: u32::from(size.ws_row),
    })
}

/// Passes on what is typed, and how large the terminal becomes.
fn type_to(args: &ExecArgs, stdin: &Stdin) {
    if args.tty
        && let Ok(mut changes) = signal(SignalKind::window_change())
    {
        let stdin = stdin.clone();
        tokio::spawn(async move { while changes.recv().await.is_some() && stdin.resize(size()).await {} });
    }
    let (stdin, on_terminal) = (stdin.clone(), args.tty);
    if !args.stdin {
        tokio::spawn(async move { stdin.end().await });
        return;
    }
    let (typed, mut pieces) = mpsc::channel::<Vec<u8>>(PIECES_AHEAD);
    // A thread of its own, which nobody waits for: a read of a terminal cannot be called off.
    std::thread::spawn(move || {
        let mut buffer = [0; PIECE_BYTES];
        while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            if typed.blocking_send(bytes).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(bytes) = pieces.recv().await {
            if !stdin.write(&bytes).await {
                return;
            }
        }
        match on_terminal {
            true => drop(stdin.write(&[END_OF_TYPING]).await),
            false => stdin.end().await,
        }
    });
}

/// This process's terminal, passing on every key, until it is dropped.
struct Raw(Termios);

impl Raw {
    fn begin() -> Option<Raw> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
