//! `Printer`: one thread writes everything, in order, so that a slow reader holds up the output and nothing else.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::failure::{Failure, Stop};

/// Pieces that wait for a slow reader before whoever makes them is held.
const PIECES_WAITING_MAX: usize = 64;
/// How long a message waits behind output that nobody reads.
const NOTE_LIMIT: Duration = Duration::from_secs(1);
/// As a shell says it of a writer that was ended by SIGPIPE.
const HUNG_UP: u8 = 141;

/// Where to write: data on `out`, everything else on `err`.
pub struct Screen {
    /// Data.
    pub out: Box<dyn Write + Send>,
    /// Messages.
    pub err: Box<dyn Write + Send>,
    /// Whether `err` is a terminal: then progress is shown on it.
    pub interactive: bool,
}

impl Screen {
    /// That of this process.
    pub fn of_process() -> Screen {
        let interactive = io::stderr().is_terminal();
        Screen { out: Box::new(io::stdout()), err: Box::new(io::stderr()), interactive }
    }
}

enum Piece {
    Data(Vec<u8>),
    Message(Vec<u8>),
}

/// Hands pieces to the thread that writes them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Printer {
    pieces: mpsc::Sender<Piece>,
    done: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
    pub interactive: bool,
}

// === impl Printer ===

impl Printer {
    pub fn start(screen: Screen) -> Printer {
        let (pieces, incoming) = mpsc::channel(PIECES_WAITING_MAX);
        let (finished, done) = oneshot::channel();
        let interactive = screen.interactive;
        std::thread::spawn(move || {
            write(screen, incoming);
            // Nobody waits if the process is ending anyway.
            let _ = finished.send(());
        });
        Printer { pieces, done: Arc::new(Mutex::new(Some(done))), interactive }
    }

    /// Resolves when whoever read the output has gone.
    pub async fn hung_up(&self) {
        self.pieces.closed().await;
    }

    /// Writes data.
    pub async fn data(&self, bytes: impl Into<Vec<u8>>) -> Result<(), Stop> {
        self.pieces.send(Piece::Data(bytes.into())).await.map_err(|_| Stop::HungUp)
    }

    /// Writes a task's standard error, or progress, as it is.
    pub async fn raw_message(&self, bytes: impl Into<Vec<u8>>) -> Result<(), Stop> {
        self.pieces.send(Piece::Message(bytes.into())).await.map_err(|_| Stop::HungUp)
    }

    /// Writes a message line. That nobody reads messages, or not now, is no reason to stop or to wait.
    pub async fn note(&self, text: &str) {
        let _ = timeout(NOTE_LIMIT, self.raw_message(format!("{text}\n"))).await;
    }

    /// Writes a failure.
    pub async fn failure(&self, failure: &Failure) {
        self.note(&format!("error: {}", failure.message)).await;
        if !failure.hint.is_empty() {
            self.note(&format!("help:  {}", failure.hint)).await;
        }
    }

    /// The result of a verb as an exit code, its failure written, and everything before it.
    pub async fn end(self, result: Result<u8, Stop>) -> u8 {
        let code = match result {
            Ok(code) => code,
            Err(Stop::HungUp) => HUNG_UP,
            Err(Stop::Failed(failure)) => {
                self.failure(&failure).await;
                failure.exit
            }
        };
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self);
        if let Some(done) = done {
            // An error means that the thread is gone, which is the same.
            let _ = done.await;
        }
        code
    }
}

fn write(mut screen: Screen, mut incoming: mpsc::Receiver<Piece>) {
    while let Some(piece) = incoming.blocking_recv() {
        let written = match piece {
            Piece::Data(bytes) => screen.out.write_all(&bytes).and_then(|()| screen.out.flush()),
            Piece::Message(bytes) => screen.err.write_all(&bytes).and_then(|()| screen.err.flush()),
        };
        // Nobody reads: dropping the receiver tells everybody who writes.
        if written.is_err() {
            return;
        }
    }
}
