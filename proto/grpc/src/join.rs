//! How a stranger becomes one of the cluster: a key made here, a request with a join token, a certificate back.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use proto::operator::{Join, Joined};
use proto::roster::Roster;
use proto_pki::{Credentials, JoinToken, KeyAndRequest};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::connect::joining_channel;
use crate::services::operator::operator_client::OperatorClient;

/// Where a master that does not lead says who does, in the metadata of its refusal.
pub const LEADER: &str = "stoa-leader";
/// How long masters that answer, but have no leader yet, are asked again: a group that was just started elects one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// What a stranger is given.
#[derive(Debug)]
pub struct Admitted {
    /// Which master gave it.
    pub by: String,
    /// What it shows from now on.
    pub credentials: Credentials,
    /// `host:port` of every master.
    pub masters: Vec<String>,
    /// The key of the authority; for masters only, empty for others.
    pub authority_key_pem: String,
    /// For a master that comes into a group which runs: who is there.
    pub roster: Option<Roster>,
}

/// Nobody let the stranger in.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub struct JoinError {
    said: String,
    /// Whether a master has said no, rather than that none could be asked.
    pub refused: bool,
}

// === impl JoinError ===

impl JoinError {
    /// None answered well; what came of each.
    pub(crate) fn unanswered(tried: &[String]) -> JoinError {
        JoinError { said: tried.join("; "), refused: false }
    }
}

enum Refused {
    /// It says why, and another master would say the same.
    ForGood(String),
    /// Another one may know better.
    Perhaps(String, Option<String>),
    /// It answers, but no order can be carried out yet.
    NotYet(String, Option<String>),
}

/// Asks the masters in turn, and the leader that they name, to certify a fresh key as `name`: an agent's id,
/// `framework/NAME`, `user/NAME` or `master/NUMBER`.
pub async fn join(masters: &[String], token: &JoinToken, name: &str) -> Result<Admitted, JoinError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut waiting: Vec<String> = masters.iter().rev().cloned().collect();
        let mut asked = BTreeSet::new();
        let (mut tried, mut not_yet) = (Vec::new(), false);
        while let Some(address) = waiting.pop() {
            if !asked.insert(address.clone()) {
                continue;
            }
            match ask(&address, token, name).await {
                Ok(admitted) => return Ok(admitted),
                Err(Refused::ForGood(why)) => {
                    return Err(JoinError { said: format!("{address}: {why}"), refused: true });
                }
                Err(Refused::Perhaps(why, leader)) => {
                    tried.push(format!("{address}: {why}"));
                    waiting.extend(leader);
                }
                Err(Refused::NotYet(why, leader)) => {
                    not_yet = true;
                    tried.push(format!("{address}: {why}"));
                    waiting.extend(leader);
                }
            }
        }
        if !not_yet || Instant::now() >= until {
            return Err(JoinError::unanswered(&tried));
        }
        sleep(PAUSE).await;
    }
}

async fn ask(address: &str, token: &JoinToken, name: &str) -> Result<Admitted, Refused> {
    let perhaps = |error: &dyn Error| Refused::Perhaps(chain(error), None);
    let request = KeyAndRequest::generate().map_err(|error| perhaps(&error))?;
    let channel = joining_channel(address, token.ca_sha256).await.map_err(|error| perhaps(&error))?;
    let call = Join { token: token.to_string(), csr_pem: request.csr_pem.clone(), name: name.to_owned() };
    let joined = OperatorClient::new(channel).join(call).await.map_err(refused)?.into_inner();
    let Joined { certificate_pem, ca_pem, masters, authority_key_pem, roster } = joined;
    let credentials = request.complete(certificate_pem, ca_pem).map_err(|error| perhaps(&error))?;
    // A master that answers with another authority than the token named is not believed.
    match credentials.ca_sha256() {
        Ok(hash) if hash == token.ca_sha256 => {
            Ok(Admitted { by: address.to_owned(), credentials, masters, authority_key_pem, roster })
        }
        Ok(_) => Err(Refused::Perhaps("it answered with the CA of another cluster".to_owned(), None)),
        Err(error) => Err(perhaps(&error)),
    }
}

fn refused(status: Status) -> Refused {
    let leader = status.metadata().get(LEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let why = status.message().to_owned();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Refused::NotYet(why, leader),
        Code::PermissionDenied | Code::InvalidArgument => Refused::ForGood(why),
        _ => Refused::Perhaps(why, leader),
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
