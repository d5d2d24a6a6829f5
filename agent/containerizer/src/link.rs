//! The connection to the keeper: opened to the one that runs or to one started now, read and written in batches.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_keeper::protocol::{Event, Frames, Request, Run, VERSION};
use agent_keeper::{EXIT_ALREADY_RUNNING, SOCKET_NAME};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::binary::Program;

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It did not start.
    #[error("keeper program {} did not start: {why}", program.display())]
    Start { program: PathBuf, why: String },
    /// It cannot be spoken to.
    #[error("connection to the keeper: {0}")]
    Io(#[from] io::Error),
    /// It said something that was not expected.
    #[error("the keeper said {0}")]
    Unexpected(String),
}

/// A keeper must answer within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often opening is tried, when a keeper ends between being found and being spoken to.
const ATTEMPTS: u32 = 40;

const PAUSE: Duration = Duration::from_millis(50);

/// Where the keeper is, and what to start if none is there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) program: Program,
}

/// What a keeper says of itself and of its runs.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) pid: i32,
    pub(crate) boot_id: [u8; 16],
    pub(crate) runs: Vec<Run>,
}

/// An open connection.
pub(crate) struct Connection {
    stream: UnixStream,
    inbox: Inbox,
    /// What both sides speak, once the keeper has said so.
    version: u16,
}

#[derive(Default)]
struct Inbox {
    frames: Frames,
    buffer: Vec<u8>,
}

/// Connects to the keeper of the place, starting it if need be. One that runs nothing and is of another build is
/// replaced first, so that upgrades of an agent reach its keeper when they can do no harm.
pub(crate) async fn open(place: &Place) -> Result<(Connection, Greeting), Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match open_once(place).await {
            Ok(Some(opened)) => return Ok(opened),
            // It was replaced, or ended while we came.
            Ok(None) if attempt < ATTEMPTS => {}
            Err(Error::Io(e)) if attempt < ATTEMPTS => tracing::debug!(error = %e, "keeper not reached yet"),
            Ok(None) => return Err(Error::Unexpected("goodbye, again and again".to_owned())),
            Err(e) => return Err(e),
        }
        sleep(PAUSE).await;
    }
}

async fn open_once(place: &Place) -> Result<Option<(Connection, Greeting)>, Error> {
    let stream = match connect(&place.dir).await {
        Ok(stream) => stream,
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&e.kind()) => {
            start(place).await?;
            connect(&place.dir).await?
        }
        Err(e) => return Err(e.into()),
    };
    let mut connection = Connection { stream, inbox: Inbox::default(), version: 0 };
    connection.send(&[Request::Hello { version: VERSION }, Request::List]).await?;
    let Some((greeting, build)) = connection.greeting().await? else { return Ok(None) };
    if build != place.program.build && greeting.runs.is_empty() {
        tracing::info!(old = build, new = place.program.build, "replacing an idle keeper of another build");
        connection.send(&[Request::Shutdown { kill: false }]).await?;
        while connection.event().await?.is_some() {}
        return Ok(None);
    }
    Ok(Some((connection, greeting)))
}

/// Connects through a descriptor of the directory: a socket's address holds 108 bytes, a path may have more.
async fn connect(dir: &Path) -> io::Result<UnixStream> {
    let dir = fs::File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_raw_fd())).await
}

/// Starts the keeper; returns once it accepts connections.
async fn start(place: &Place) -> Result<(), Error> {
    let Place { dir, program } = place.clone();
    let failed = |why: String| Error::Start { program: place.program.path.clone(), why };
    let run = move || {
        let mut command = Command::new(&program.path);
        // No environment of ours goes to the tasks. std spawns without forking us, nothing being set that would need it.
        command
            .arg("serve")
            .arg(&dir)
            .arg(&program.build)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.output()
    };
    let out = tokio::task::spawn_blocking(run).await.map_err(|e| failed(e.to_string()))?;
    let out = out.map_err(|e| failed(e.to_string()))?;
    match out.status.code() {
        Some(0 | EXIT_ALREADY_RUNNING) => Ok(()),
        Some(_) | None => {
            Err(failed(format!("{} {}", out.status, String::from_utf8_lossy(&out.stderr).trim())))
        }
    }
}

impl Connection {
    /// Writes requests of the connection's opening, which are short.
    pub(crate) async fn send(&mut self, requests: &[Request]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for request in requests {
            request.encode(&mut bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        }
        self.stream.write_all(&bytes).await
    }

    /// The next event; `None` when the keeper has closed the connection.
    pub(crate) async fn event(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.inbox.next()? {
                return Ok(Some(event));
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox.buffer)).await;
            if read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
                return Ok(None);
            }
            self.inbox.take_in();
        }
    }

    /// Welcome and the list of runs, with the keeper's build; `None` if it closes instead.
    async fn greeting(&mut self) -> Result<Option<(Greeting, String)>, Error> {
        let (mut greeting, build) = match self.event().await? {
            Some(Event::Welcome { pid, boot_id, build, version }) => {
                self.version = version;
                (Greeting { pid, boot_id, runs: Vec::new() }, build)
            }
            Some(other) => return Err(Error::Unexpected(format!("{other:?}"))),
            None => return Ok(None),
        };
        loop {
            match self.event().await? {
                Some(Event::Listed(run)) => greeting.runs.push(run),
                Some(Event::ListEnd) => return Ok(Some((greeting, build))),
                // The list that follows says it too.
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Goes over to working in batches: bytes to send go in, batches of events come out. Both end with the connection.
    pub(crate) fn split(self) -> Link {
        let version = self.version;
        let (reader, mut writer) = self.stream.into_split();
        let (events_in, events) = mpsc::unbounded_channel();
        let (requests, mut requests_out) = mpsc::unbounded_channel::<Vec<u8>>();
        let writer = tokio::spawn(async move {
            let mut batches = Vec::new();
            while requests_out.recv_many(&mut batches, 64).await > 0 {
                // The reader learns why.
                if writer.write_all(&batches.concat()).await.is_err() {
                    return;
                }
                batches.clear();
            }
        });
        tokio::spawn(read_on(reader, self.inbox, events_in));
        Link { requests, events, version, writer }
    }
}

async fn read_on(mut reader: OwnedReadHalf, mut inbox: Inbox, events: mpsc::UnboundedSender<Vec<Event>>) {
    let why = loop {
        let batch = match inbox.drain() {
            Ok(batch) => batch,
            Err(e) => break e.to_string(),
        };
        if !batch.is_empty() && events.send(batch).is_err() {
            return;
        }
        match reader.read_buf(&mut inbox.buffer).await {
            Ok(0) => break "closed".to_owned(),
            Ok(_) => inbox.take_in(),
            Err(e) => break e.to_string(),
        }
    };
    tracing::debug!(why, "connection to the keeper ended");
}

impl Inbox {
    fn take_in(&mut self) {
        self.frames.extend(&self.buffer);
        self.buffer.clear();
    }

    fn next(&mut self) -> io::Result<Option<Event>> {
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        let Some(body) = self.frames.next_body().map_err(invalid)? else { return Ok(None) };
        Event::decode(body).map(Some).map_err(invalid)
    }

    fn drain(&mut self) -> io::Result<Vec<Event>> {
        let mut batch = Vec::new();
        while let Some(event) = self.next()? {
            batch.push(event);
        }
        Ok(batch)
    }
}

/// A connection that works in batches. Its events end when it is broken.
pub(crate) struct Link {
    pub(crate) requests: mpsc::UnboundedSender<Vec<u8>>,
    pub(crate) events: mpsc::UnboundedReceiver<Vec<Event>>,
    /// What both sides speak.
    pub(crate) version: u16,
    writer: JoinHandle<()>,
}

impl Link {
    /// Ends the connection once all that was to be sent is.
    pub(crate) async fn finish(self) {
        drop(self.requests);
        // Longer than this the keeper has not read, and will not.
        let _written_or_late = timeout(PATIENCE, self.writer).await;
    }
}
