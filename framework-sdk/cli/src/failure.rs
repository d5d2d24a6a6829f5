//! `Failure`: what went wrong, what to do about it, and with which exit code.

use std::error::Error;
use std::io;

use proto::refusal::{Code, Refusal};
use serde::Serialize;
use tonic::Status;

use crate::escape::escaped;
use crate::exit::Exit;
use crate::table::Tone;
use crate::terminal::Terminal;

/// What went wrong. In JSON it is `{code, message, hint, retryable}` on stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A stable code: a refusal's, or one of `usage`, `not-found`, `denied`, `unavailable`, `unconfirmed`, `internal`.
    pub code: &'static str,
    /// What is wrong, naming it.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// Whether the same may work in a moment.
    pub retryable: bool,
    /// The exit code.
    #[serde(skip)]
    pub exit: Exit,
}

/// Why a verb stopped early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed.
    Failed(Box<Failure>),
    /// Nobody reads any more (`| head`): no failure.
    HungUp,
}

// === impl Failure ===

impl Failure {
    /// A failure of this code and exit.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let retryable = exit == Exit::Unavailable;
        Failure { code, message: message.into(), hint: hint.into(), retryable, exit }
    }

    /// What was typed makes no sense.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure::new(Exit::Usage, "usage", message, hint)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure::new(Exit::NotFound, "not-found", message, hint)
    }

    /// Nobody answers.
    pub fn unavailable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure::new(Exit::Unavailable, "unavailable", message, hint)
    }

    /// A fault of ours, or of a peer of another version.
    pub fn internal(message: impl Into<String>) -> Self {
        let hint = "this is a bug, or the master is of another version than this `stoa`";
        Failure::new(Exit::Bad, "internal", message, hint)
    }

    /// What a gRPC status means; `whom` is who said it.
    pub fn of_status(whom: &str, status: &Status) -> Self {
        use tonic::Code as C;
        let message = format!("{whom}: {}", status.message());
        match status.code() {
            C::Unauthenticated | C::PermissionDenied => {
                Failure::new(Exit::Denied, "denied", message, Code::Denied.help())
            }
            C::NotFound => Failure::not_found(message, ""),
            C::InvalidArgument | C::OutOfRange => {
                Failure::new(Exit::Usage, "invalid", message, Code::Invalid.help())
            }
            C::AlreadyExists | C::Aborted | C::FailedPrecondition => {
                Failure::new(Exit::Conflict, "conflict", message, Code::Conflict.help())
            }
            C::Unavailable | C::DeadlineExceeded | C::Cancelled | C::ResourceExhausted => {
                Failure::unavailable(message, Code::Unavailable.help())
            }
            C::Unimplemented => Failure::internal(message),
            C::Ok | C::Unknown | C::Internal | C::DataLoss => {
                Failure::internal(format!("{whom}: {}", chain(status)))
            }
        }
    }

    /// Prints it: for people, or as one line of JSON.
    pub fn report(&self, json: bool, terminal: &mut Terminal<'_>) {
        if json {
            // A struct of texts and a bool always serializes.
            let line = serde_json::to_string(self).unwrap_or_default();
            return terminal.note(&line);
        }
        let colours = terminal.colours;
        terminal.note(&format!("{} {}", Tone::Bad.paint("error:", colours), escaped(&self.message)));
        if !self.hint.is_empty() {
            terminal.note(&format!("{}  {}", Tone::Dim.paint("help:", colours), escaped(&self.hint)));
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.code {
            Code::Denied | Code::BadToken => Exit::Denied,
            Code::NotFound | Code::FrameworkRemoved => Exit::NotFound,
            Code::Invalid => Exit::Usage,
            Code::Conflict
            | Code::StaleOffer
            | Code::SessionReplaced
            | Code::AgentGone
            | Code::Compacted
            | Code::Fenced => Exit::Conflict,
            Code::LeaderLost | Code::TooMuch | Code::Unavailable => Exit::Unavailable,
        };
        Failure::new(exit, refusal.code.as_str(), refusal.message, refusal.help)
    }
}

impl<F: Into<Failure>> From<F> for Stop {
    fn from(failure: F) -> Self {
        Stop::Failed(Box::new(failure.into()))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Stop::HungUp;
        }
        Stop::from(Failure::new(Exit::Bad, "internal", format!("cannot write the output: {error}"), ""))
    }
}

/// An error with all its causes, on one line, none said twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
