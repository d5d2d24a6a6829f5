//! `Tries`: round the masters, from one to the next, until one answers or the time is over.

use std::time::Duration;

use proto_grpc::ConnectError;
use tokio::time::{Instant, sleep};
use tonic::{Code as GrpcCode, Status};

use crate::doors::Doors;
use crate::link::chain;
use crate::operator::AskError;

/// How long a question may take over all masters and tries: an election and a retry fit in.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// How long one master may take, before another is tried.
const MASTER_LIMIT: Duration = Duration::from_secs(5);
/// The first wait after every master was tried, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// So many redirects in a row are followed at once.
const REDIRECTS_MAX: u32 = 3;

/// What went wrong with one try.
pub(crate) enum Problem {
    Connect(ConnectError),
    Status(Status),
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        Problem::Connect(error)
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        Problem::Status(status)
    }
}

/// Goes round the masters until the time is over.
pub(crate) struct Tries {
    doors: Doors,
    masters: Vec<String>,
    at: usize,
    since_wait: usize,
    directed: Option<String>,
    redirects: u32,
    wait: Duration,
    until: Instant,
    /// How many in a row were not of the authority that is trusted.
    strangers: usize,
    /// What went wrong last.
    last: Option<String>,
}

// === impl Tries ===

impl Tries {
    pub fn new(doors: Doors) -> Self {
        Tries {
            masters: doors.all(),
            doors,
            at: 0,
            since_wait: 0,
            directed: None,
            redirects: 0,
            wait: BACKOFF.0,
            until: Instant::now() + ASK_LIMIT,
            strangers: 0,
            last: None,
        }
    }

    /// Something came: a break from now on is a first break again.
    pub fn restart(&mut self) {
        self.redirects = 0;
        self.wait = BACKOFF.0;
    }

    /// What was open broke: however long that was quiet, the time to find another begins now.
    pub fn broken(&mut self) {
        self.until = Instant::now() + ASK_LIMIT;
    }

    pub fn deadline(&self) -> Instant {
        self.until.min(Instant::now() + MASTER_LIMIT)
    }

    pub fn is_directed(&self) -> bool {
        self.directed.is_some()
    }

    pub fn next(&mut self) -> String {
        if let Some(address) = self.directed.take() {
            return address;
        }
        if self.since_wait == 0 {
            // Each round goes to all that are known by then.
            self.masters = self.doors.all();
        }
        let address = self.masters.get(self.at % self.masters.len().max(1)).cloned().unwrap_or_default();
        self.at += 1;
        address
    }

    pub fn redirected(&mut self, leader: String) -> String {
        self.redirects += 1;
        if leader.is_empty() {
            return "there is no leader".to_owned();
        }
        let text = format!("the leader is {leader}");
        self.directed = Some(leader);
        text
    }

    /// What went wrong in words; an error when no other try can do better.
    pub fn judge(&mut self, problem: Problem) -> Result<String, AskError> {
        match problem {
            Problem::Connect(error) if error.is_distrust() => {
                self.strangers += 1;
                if self.strangers >= self.masters.len() {
                    return Err(AskError::Connect(error));
                }
                return Ok(error.reason());
            }
            Problem::Connect(_) | Problem::Status(_) => self.strangers = 0,
        }
        match problem {
            Problem::Connect(error @ ConnectError::Unreachable { .. }) => Ok(chain(&error)),
            Problem::Connect(error) => Err(AskError::Connect(error)),
            Problem::Status(status) => match status.code() {
                GrpcCode::Unauthenticated
                | GrpcCode::PermissionDenied
                | GrpcCode::InvalidArgument
                // Larger than any master takes.
                | GrpcCode::OutOfRange
                | GrpcCode::Unimplemented => Err(AskError::Rejected(status)),
                _ => Ok(status.message().to_owned()),
            },
        }
    }

    /// What to say of a master that is silent. When the time is over it had no time to answer: what went wrong before says
    /// more.
    pub fn silence(&self) -> String {
        match &self.last {
            Some(last) if Instant::now() >= self.until => last.clone(),
            Some(_) | None => "it did not answer in time".to_owned(),
        }
    }

    /// Waits before the next try, where it is not another master's turn at once.
    pub async fn wait(&mut self, last: String) -> Result<(), AskError> {
        self.last = Some(last.clone());
        if Instant::now() >= self.until {
            return Err(AskError::NoMaster { last });
        }
        if self.directed.is_some() && self.redirects <= REDIRECTS_MAX {
            return Ok(());
        }
        self.since_wait += 1;
        if self.since_wait < self.masters.len() {
            return Ok(());
        }
        self.since_wait = 0;
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(BACKOFF.1);
        Ok(())
    }
}
