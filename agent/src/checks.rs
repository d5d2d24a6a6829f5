//! Carries out the checks of tasks, and tells the machine what came of each, also when nothing could.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_containerizer::{Containerizer, Guest, How, StartFailure};
use agent_core::{Ask, CheckOutcome, Checked, Container, Input};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use proto::agent_link::TaskRun;
use proto::check::{CheckKind, CheckPort, CheckRole, CommandCheck, HttpCheck};
use proto::id::RunId;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::warn;

use crate::containers::{TaskFacts, beside, words};
use crate::master_link::LateMachine;
use crate::unverified;

/// Commands of checks at a time: with more the machine would be busy with looking at what it does.
const COMMANDS_MAX: usize = 32;

/// Of what a command writes so much is told: the end of it, where the reason usually is.
const WORDS_BYTES_MAX: usize = 200;

/// A command takes no longer than this to be brought beside its task, unless this machine is in trouble.
const ENTER_PATIENCE: Duration = Duration::from_secs(10);

/// What a command wrote before its end is waited for this long, should somebody whom it left behind hold it open.
const REST_PATIENCE: Duration = Duration::from_millis(100);

/// Carries out checks.
#[derive(Clone)]
pub(crate) struct Checker {
    containerizer: Containerizer,
    facts: Arc<TaskFacts>,
    machine: LateMachine,
    runtime: Runtime,
    commands: Arc<Semaphore>,
    questions: Questions,
    tls: Result<TlsConnector, String>,
}

impl Checker {
    /// Nothing is asked yet.
    pub fn new(
        containerizer: Containerizer,
        facts: Arc<TaskFacts>,
        machine: LateMachine,
        runtime: Runtime,
    ) -> Checker {
        let tls = unverified::client()
            .map(|client| TlsConnector::from(Arc::new(client)))
            .map_err(|e| e.to_string());
        let commands = Arc::new(Semaphore::new(COMMANDS_MAX));
        let questions = Questions::default();
        Checker { containerizer, facts, machine, runtime, commands, questions, tls }
    }

    /// Carries out a check; the machine is told.
    pub fn carry_out(&self, ask: Ask) {
        if !self.questions.ask((ask.given.run, ask.role), ask.number) {
            return;
        }
        let checker = self.clone();
        self.runtime.spawn(async move {
            let result = checker.check(&ask).await;
            let Ask { given, role, number } = ask;
            let number = checker.questions.answer((given.run, role)).unwrap_or(number);
            let (word, result) = match result {
                Ok(()) => ("succeeded", CheckOutcome::Good),
                Err(Trouble::Task(why)) => ("failed", CheckOutcome::Bad(why)),
                Err(Trouble::Machine(why)) => {
                    warn!(run_id = %given.run, check = role.as_str(), why, "a check could not be carried out");
                    ("not_carried_out", CheckOutcome::NotCarriedOut)
                }
            };
            metrics::counter!("agent_checks_total", "check" => role.as_str(), "result" => word).increment(1);
            let checked = Checked { run: given.run, role, number, result };
            if let Some(machine) = checker.machine.get() {
                // Stopped: the next process of the agent asks anew.
                let _ = machine.send_async(Input::Container(Container::Checked(checked))).await;
            }
        });
    }

    async fn check(&self, ask: &Ask) -> Result<(), Trouble> {
        let given = &*ask.given;
        let Some(check) = given.task.checks.get(ask.role) else {
            return Err(Trouble::Machine("the task has no such check".to_owned()));
        };
        // Waiting for one's turn is not the task's fault.
        let _turn = match &check.kind {
            CheckKind::Command(_) => self.commands.acquire().await.ok(),
            CheckKind::Http(_) | CheckKind::Tcp(_) => None,
        };
        let late = |what: String| format!("{what}: no answer within {:?}", check.timeout);
        match &check.kind {
            CheckKind::Tcp(tcp) => {
                let port = port(given, tcp.port)?;
                let what = format!("connecting to port {port}");
                let done = timeout(check.timeout, connect(port, &what)).await;
                done.map_err(|_| late(what))?.map(drop)
            }
            CheckKind::Http(http) => {
                let port = port(given, http.port)?;
                let what = format!("GET {} on port {port}", http.path);
                let tls = if http.https { Some(self.tls()?) } else { None };
                let status = timeout(check.timeout, status(http, port, tls, &what)).await;
                let status = status.map_err(|_| late(what.clone()))??;
                if (200..400).contains(&status) {
                    Ok(())
                } else {
                    Err(format!("{what}: status {status}").into())
                }
            }
            CheckKind::Command(command) => {
                let guest = self.enter(given, command).await?;
                match timeout(check.timeout, judge(guest)).await {
                    Ok(done) => done,
                    // Dropped, it is killed with its process group.
                    Err(_) => {
                        Err(format!("the command did not end within {:?} and was killed", check.timeout)
                            .into())
                    }
                }
            }
        }
    }

    /// That this process has no TLS is not the task's fault.
    fn tls(&self) -> Result<&TlsConnector, Trouble> {
        self.tls.as_ref().map_err(|why| Trouble::Machine(format!("TLS could not be set up: {why}")))
    }

    async fn enter(&self, given: &TaskRun, command: &CommandCheck) -> Result<Guest, Trouble> {
        let launch = beside(given, &self.facts, words(&command.argv, command.shell));
        match timeout(ENTER_PATIENCE, self.containerizer.enter(launch, None)).await {
            Ok(entered) => entered.map_err(|e| Trouble::of(&e)),
            Err(_) => Err(Trouble::Machine(format!("nobody let the command in within {ENTER_PATIENCE:?}"))),
        }
    }
}

/// What the end of a command says of its task.
async fn judge(mut guest: Guest) -> Result<(), Trouble> {
    drop(guest.stdin.take());
    let mut said = Tail::default();
    let (mut stdout, mut stderr) = (guest.stdout.take(), guest.stderr.take());
    let how = {
        let reading = async {
            let mut other = Tail::default();
            tokio::join!(said.read(&mut stderr), other.read(&mut stdout));
            if said.is_empty() {
                said = other;
            }
        };
        tokio::pin!(reading);
        let mut read = false;
        let how = loop {
            tokio::select! {
                how = guest.ended() => break how,
                () = &mut reading, if !read => read = true,
            }
        };
        if !read {
            // Whoever was left behind may hold it open for ever.
            let _all = timeout(REST_PATIENCE, reading).await;
        }
        how
    };
    match how {
        Ok(How::Code(0)) => Ok(()),
        Ok(How::Code(code)) => Err(format!("the command exited with code {code}{said}").into()),
        Ok(How::Signal(signal)) => Err(format!("the command was ended by signal {signal}{said}").into()),
        Ok(How::Lost(_)) => Err(Trouble::Machine("nobody saw how the command ended".to_owned())),
        Err(e) => Err(Trouble::of(&e)),
    }
}

/// The numbers of the questions that are at work. A question that is asked again while its first asking still waits for its
/// turn keeps its place: one at a time is enough for a check, and the others' turns are theirs.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<BTreeMap<(RunId, CheckRole), u64>>>);

impl Questions {
    /// Whether somebody has to begin; else who is at it will answer this number.
    fn ask(&self, check: (RunId, CheckRole), number: u64) -> bool {
        self.table().insert(check, number).is_none()
    }

    /// The number to answer: the newest.
    fn answer(&self, check: (RunId, CheckRole)) -> Option<u64> {
        self.table().remove(&check)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<(RunId, CheckRole), u64>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a check was not good.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The task did not do what was asked.
    Task(String),
    /// It could not be asked.
    Machine(String),
}

impl Trouble {
    /// Only what cannot be executed at all is the task's own doing.
    fn of(failure: &StartFailure) -> Trouble {
        let why = format!("the command did not start: {failure}");
        if failure.is_of_the_command() { Trouble::Task(why) } else { Trouble::Machine(why) }
    }

    /// What this process lacks to connect with says nothing of whoever would have been connected to.
    fn of_connecting(what: &str, e: &io::Error) -> Trouble {
        let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
        let is_lack = lacks.iter().any(|lack| Some(lack.raw_os_error()) == e.raw_os_error());
        let why = format!("{what}: {e}");
        if is_lack { Trouble::Machine(why) } else { Trouble::Task(why) }
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Trouble {
        Trouble::Task(why)
    }
}

/// The port that is meant. The masters let only the task's own pass.
fn port(given: &TaskRun, port: CheckPort) -> Result<u16, String> {
    let ports = given.task.resources.flatten().range("ports");
    port.among(&ports).ok_or_else(|| format!("the task has no such port: {port:?}"))
}

async fn connect(port: u16, what: &str) -> Result<TcpStream, Trouble> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    connected.map_err(|e| Trouble::of_connecting(what, &e))
}

/// The status that a server answers.
async fn status(http: &HttpCheck, port: u16, tls: Option<&TlsConnector>, what: &str) -> Result<u16, Trouble> {
    let stream = connect(port, what).await?;
    let answered = match tls {
        None => get(TokioIo::new(stream), http, port).await,
        Some(tls) => {
            let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
            match tls.connect(name, stream).await {
                Ok(stream) => get(TokioIo::new(stream), http, port).await,
                Err(e) => Err(Chain::of(e)),
            }
        }
    };
    answered.map_err(|e| Trouble::Task(format!("{what}: {e}")))
}

/// Asks once and reads no more than the head of the answer.
async fn get<S: Read + Write + Unpin>(stream: S, http: &HttpCheck, port: u16) -> Result<u16, Chain> {
    let (mut sender, connection) = handshake(stream).await.map_err(Chain::of)?;
    let request = Request::get(&http.path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("user-agent", "stoa-check")
        .header("accept", "*/*")
        .header("connection", "close")
        .body(String::new())
        .map_err(Chain::of)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // Over before the answer was taken: it is there, or never comes.
        _ = &mut connection => answer.await,
    };
    Ok(answer.map_err(Chain::of)?.status().as_u16())
}

/// An error with what is behind it.
struct Chain(String);

impl Chain {
    fn of(error: impl std::error::Error) -> Chain {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Chain(text)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The end of what was written.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    async fn read(&mut self, from: &mut Option<impl AsyncRead + Unpin>) {
        let Some(from) = from else { return };
        let mut buffer = [0; 4096];
        // What cannot be read is not told; how it ended is.
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.0.extend(buffer.iter().take(count));
            let over = self.0.len().saturating_sub(WORDS_BYTES_MAX);
            self.0.drain(..over);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        // In one line of a status, and nothing for a terminal to obey.
        let line: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
        write!(f, ": {}", line.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_lacks_to_connect_with_is_not_the_fault_of_a_task() {
        let trouble = |errno: Errno| {
            Trouble::of_connecting("GET /", &io::Error::from_raw_os_error(errno.raw_os_error()))
        };
        for lack in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL] {
            assert!(matches!(trouble(lack), Trouble::Machine(why) if why.starts_with("GET /: ")), "{lack}");
        }
        for own in [Errno::CONNREFUSED, Errno::CONNRESET] {
            assert!(matches!(trouble(own), Trouble::Task(why) if why.starts_with("GET /: ")), "{own}");
        }
    }

    #[test]
    fn a_question_that_is_asked_again_is_carried_out_once_and_answers_the_newest() {
        let questions = Questions::default();
        let (health, readiness) =
            ((RunId::at(7, 1), CheckRole::Health), (RunId::at(7, 1), CheckRole::Readiness));
        assert!(questions.ask(health, 1));
        assert!(questions.ask(readiness, 2), "another check");
        assert!(!questions.ask(health, 3), "it waits for its turn already");
        assert_eq!(questions.answer(health), Some(3));
        assert!(questions.ask(health, 4), "the next one");
        assert_eq!(questions.answer(readiness), Some(2));
    }
}
