//! `Failure`: what went wrong, what to do about it, and the exit code.

use std::error::Error;

use framework_sdk::door::ConnectError;
use framework_sdk::operator::AskError;
use framework_sdk::refusal::{Code, Refusal};
use tonic::Status;

/// A task or job ended badly, or the answer is bad news.
pub(super) const BAD: u8 = 1;
/// What was typed makes no sense.
pub(super) const USAGE: u8 = 2;
/// There is no such thing.
pub(super) const NOT_FOUND: u8 = 3;
const DENIED: u8 = 4;
/// Nobody answers, or too late.
pub(super) const UNAVAILABLE: u8 = 5;
/// It is not as it has to be for that.
pub(super) const CONFLICT: u8 = 6;
/// Nobody said yes.
pub(super) const UNCONFIRMED: u8 = 7;

/// What to do about a name that nobody knows.
pub(super) const LIST_HINT: &str = "list the jobs with `stoa job get`";

/// What went wrong, what to do about it, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub exit: u8,
    pub message: String,
    /// May be empty.
    pub hint: String,
}

/// Why a verb stopped early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Failed(Failure),
    /// Nobody reads any more (`| head`).
    HungUp,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

// === impl Failure ===

impl Failure {
    pub fn new(exit: u8, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: hint.into() }
    }

    /// What the jobs framework answered.
    pub fn of_status(status: &Status) -> Failure {
        use tonic::Code as C;
        let (exit, hint) = match status.code() {
            C::Unauthenticated | C::PermissionDenied => (DENIED, Code::Denied.help()),
            C::NotFound => (NOT_FOUND, LIST_HINT),
            C::InvalidArgument | C::OutOfRange => (USAGE, Code::Invalid.help()),
            C::AlreadyExists => (CONFLICT, "choose another name, or stop that job with `stoa job stop`"),
            C::Aborted | C::FailedPrecondition => (CONFLICT, "look at it with `stoa job get`"),
            C::Unavailable | C::DeadlineExceeded | C::Cancelled | C::ResourceExhausted => {
                (UNAVAILABLE, "try again in a moment; `stoa status` says how the cluster is")
            }
            C::Ok | C::Unknown | C::Internal | C::DataLoss | C::Unimplemented => {
                (BAD, "this is a bug, or the framework is of another version than this `stoa`")
            }
        };
        Failure::new(exit, format!("the jobs framework says: {}", status.message()), hint)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.code {
            Code::Denied | Code::BadToken => DENIED,
            Code::NotFound | Code::FrameworkRemoved => NOT_FOUND,
            Code::Invalid => USAGE,
            Code::Conflict
            | Code::StaleOffer
            | Code::SessionReplaced
            | Code::AgentGone
            | Code::Compacted
            | Code::Fenced => CONFLICT,
            Code::LeaderLost | Code::TooMuch | Code::Unavailable => UNAVAILABLE,
        };
        Failure::new(exit, refusal.message, refusal.help)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => refusal.into(),
            AskError::Rejected(status) => {
                Failure::new(DENIED, format!("the master says: {}", status.message()), Code::Denied.help())
            }
            AskError::Connect(error) => error.into(),
            AskError::NoMaster { .. } => Failure::new(
                UNAVAILABLE,
                chain(&error),
                "is the cluster up? `stoa status` tells, `stoa up` starts one",
            ),
            AskError::Unfitting { .. } => Failure::new(BAD, chain(&error), ""),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let (exit, hint) = match &error {
            ConnectError::Unreachable { address, role, .. } if error.is_distrust() => {
                let message = format!("{address} is no {role} that we trust: {}", error.reason());
                return Failure::new(
                    DENIED,
                    message,
                    "name the credentials of this cluster with --context DIR",
                );
            }
            ConnectError::Unreachable { .. } => {
                (UNAVAILABLE, "try again in a moment; `stoa status` says how the cluster is")
            }
            ConnectError::Address { .. } => (BAD, ""),
            ConnectError::Foreign { .. } => (
                DENIED,
                "take ca.pem, cert.pem and key.pem from the same cluster, or ask for a new certificate",
            ),
            ConnectError::Credentials(_) | ConnectError::Tls(_) => {
                (DENIED, "the context's certificate or key is broken; ask for new ones")
            }
        };
        Failure::new(exit, chain(&error), hint)
    }
}

/// An error with all its causes, on one line, none said twice.
pub(super) fn chain(error: &dyn Error) -> String {
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
