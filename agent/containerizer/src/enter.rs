//! A command beside a run: the keeper's program as a child of this process, its streams or its terminal, and how it ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_keeper::protocol::{self, Outcome, Spawn, Visit};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::event::{How, StartFailure};
use crate::link::Place;

/// What the files are called by which guests and this process speak.
const FILE_PREFIX: &str = "visit-";

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// A command beside a run. It is killed when this is dropped before its end.
#[derive(Debug)]
pub struct Guest {
    /// Its standard input; dropped, it is at its end. None on a terminal.
    pub stdin: Option<ChildStdin>,
    /// Its standard output. None on a terminal.
    pub stdout: Option<ChildStdout>,
    /// Its standard error. None on a terminal.
    pub stderr: Option<ChildStderr>,
    /// Its terminal, if it has one.
    pub terminal: Option<Terminal>,
    child: Child,
    file: Exchange,
    is_over: bool,
}

/// Our side of a terminal.
#[derive(Debug)]
pub struct Terminal {
    master: AsyncFd<OwnedFd>,
}

/// The file by which the keeper's program is told what to run and tells what came of it.
#[derive(Debug)]
struct Exchange {
    path: PathBuf,
}

/// Removes what an agent that was killed has left.
pub(crate) fn sweep(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(FILE_PREFIX)) {
        let _gone_already = fs::remove_file(entry.path());
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> StartFailure {
    move |e| StartFailure::Visit(format!("{what}: {e}"))
}

// === impl Guest ===

impl Guest {
    /// Begins the command beside the run with this first process.
    pub(crate) fn begin(
        place: &Place,
        pid: i32,
        start_time: u64,
        spawn: Spawn,
        size: Option<TerminalSize>,
    ) -> Result<Guest, StartFailure> {
        let asker_pid = i32::try_from(std::process::id()).unwrap_or(0);
        let visit = Visit { asker_pid, pid, start_time, terminal: size.is_some(), spawn };
        let content = visit.encode().map_err(|e| StartFailure::TooLong { bytes: e.bytes })?;
        let file = Exchange::new(&place.dir, &content).map_err(failed("writing what to run"))?;
        let mut command = Command::new(&place.program.path);
        command.arg("enter").arg(&file.path).env_clear();
        let terminal = match size {
            None => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
            Some(size) => {
                let (terminal, theirs) = Terminal::open(size).map_err(failed("opening a terminal"))?;
                let copy = || theirs.try_clone().map_err(failed("opening a terminal"));
                command.stdin(copy()?).stdout(copy()?).stderr(theirs);
                Some(terminal)
            }
        };
        let mut child = command.spawn().map_err(failed("starting the keeper's program"))?;
        // It holds copies of the terminal's other side.
        drop(command);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Guest { stdin, stdout, stderr, terminal, child, file, is_over: false })
    }

    /// Waits for the end of the command; what it has written may still be read after it. Dropping this loses nothing.
    ///
    /// # Errors
    /// The command was not executed, or nobody saw how it ended.
    pub async fn ended(&mut self) -> Result<How, StartFailure> {
        let status = self.child.wait().await.map_err(failed("waiting for its end"))?;
        self.is_over = true;
        match self.file.outcome() {
            Ok(Outcome::Ended(protocol::How::Code(code))) => Ok(How::Code(code)),
            Ok(Outcome::Ended(protocol::How::Signal(signal))) => Ok(How::Signal(signal)),
            Ok(Outcome::Ended(protocol::How::Lost(loss))) => Ok(How::Lost(loss)),
            Ok(Outcome::Failed(failure)) => Err(StartFailure::of(failure)),
            Err(e) => {
                Err(StartFailure::Visit(format!("the keeper's program ended ({status}) without a word: {e}")))
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // TERM, so that it takes its command along. Not collected yet, it is no other process's number.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !self.is_over) {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
    }
}

// === impl Exchange ===

impl Exchange {
    fn new(dir: &Path, content: &[u8]) -> io::Result<Exchange> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{FILE_PREFIX}{}-{number}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let exchange = Exchange { path };
        file.write_all(content)?;
        Ok(exchange)
    }

    fn outcome(&self) -> io::Result<Outcome> {
        let mut content = Vec::new();
        File::open(&self.path)?.read_to_end(&mut content)?;
        Outcome::decode(&content).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _swept_later = fs::remove_file(&self.path);
    }
}

// === impl Terminal ===

impl Terminal {
    /// A new terminal: our side of it, and the one for the command.
    fn open(size: TerminalSize) -> io::Result<(Terminal, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let theirs = ioctl_tiocgptpeer(&master, flags)?;
        let nonblocking = rustix::fs::fcntl_getfl(&master)? | OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&master, nonblocking)?;
        #[allow(
            deprecated,
            reason = "the other ways are unsafe; an OwnedFd is its own for as long as it is registered"
        )]
        let terminal = Terminal { master: AsyncFd::new(master)? };
        terminal.resize(size)?;
        Ok((terminal, theirs))
    }

    /// It has another size now; whoever runs in it is told.
    ///
    /// # Errors
    /// Those of the system.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.master.as_fd(), size)?)
    }

    /// Reads what was written to it; 0 when nobody has it open any more. Dropping this loses nothing.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.readable().await?;
            match ready.try_io(|master| Ok(rustix::io::read(master, &mut *buffer)?)) {
                // How a terminal says that its other side is closed.
                Ok(Err(e)) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(0),
                Ok(result) => return result,
                Err(_not_ready) => {}
            }
        }
    }

    /// Writes some of this to it, as if typed.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.writable().await?;
            match ready.try_io(|master| Ok(rustix::io::write(master, bytes)?)) {
                Ok(result) => return result,
                Err(_not_ready) => {}
            }
        }
    }
}
