//! `Operator`: what people ask of a cluster, of whichever master answers.

use std::sync::{Arc, Mutex, PoisonError};

use proto::operator::{Call, Event, Join, Joined, Reply, ReplyKind, Watch};
use proto::refusal::{Code, Refusal};
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::{ConnectError, PeerRole, REPLY_BYTES_MAX, channel, joining_channel};
use proto_pki::{Credentials, JoinToken};
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tonic::Status;
use tonic::transport::Channel;
use tracing::debug;

use crate::doors::Doors;
use crate::profile::Profile;
use crate::tries::{Problem, Tries};

/// Events that may wait for a slow reader before the stream is held.
const EVENTS_WAITING_MAX: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The answer is no.
    #[error("{0}")]
    Refused(Refusal),
    /// No master was reached, or none could answer, in time.
    #[error("no master answered; the last said: {last}")]
    NoMaster {
        /// What went wrong last.
        last: String,
    },
    /// The cluster does not take the credentials, or does not understand the question.
    #[error("the master refused the connection: {}", .0.message())]
    Rejected(Status),
    /// The credentials or the address cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The master answered something else than was asked: its version is another.
    #[error("the master answered something unfitting to {asked}; are all versions the same?")]
    Unfitting {
        /// What was asked.
        asked: &'static str,
    },
}

/// Asks the masters. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Operator {
    credentials: Credentials,
    doors: Doors,
    /// The master that answered last, with its channel.
    last: Arc<Mutex<Option<(String, Channel)>>>,
}

/// Changes, one after another. Over breaks and elections it goes on by itself; after a break too long it begins anew
/// with a snapshot, which is an event like others.
#[derive(Debug)]
pub struct Watching {
    events: mpsc::Receiver<Result<Event, AskError>>,
}

// === impl Operator ===

impl Operator {
    /// Asks the masters of a profile.
    pub fn new(profile: &Profile) -> Self {
        Operator {
            credentials: profile.credentials.clone(),
            doors: Doors::new(&profile.masters),
            last: Arc::default(),
        }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Asks; follows redirects and tries other masters until one answers or ten seconds have passed. An order may then
    /// have been carried out all the same: all orders can be asked again.
    pub async fn ask(&self, call: Call) -> Result<Reply, AskError> {
        let mut tries = Tries::new(self.doors.clone());
        loop {
            let problem = match timeout_at(tries.deadline(), self.ask_one(&mut tries, &call)).await {
                Ok(Ok(reply)) => match reply.kind {
                    ReplyKind::Redirect(leader) => {
                        self.forget();
                        tries.redirected(leader)
                    }
                    ReplyKind::Refused(refusal) if passes(refusal.code) => refusal.to_string(),
                    ReplyKind::Refused(refusal) => return Err(AskError::Refused(refusal)),
                    _ => return Ok(reply),
                },
                Ok(Err(problem)) => {
                    self.forget();
                    tries.judge(problem)?
                }
                Err(_) => {
                    self.forget();
                    tries.silence()
                }
            };
            tries.wait(problem).await?;
        }
    }

    async fn ask_one(&self, tries: &mut Tries, call: &Call) -> Result<Reply, Problem> {
        let client = self.client(tries).await?;
        let mut client = client.max_decoding_message_size(REPLY_BYTES_MAX);
        let response = client.ask(call.clone()).await?;
        self.doors.learn(response.metadata());
        Ok(response.into_inner())
    }

    async fn client(&self, tries: &mut Tries) -> Result<OperatorClient<Channel>, Problem> {
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some((_, channel)), false) = (known, tries.is_directed()) {
            return Ok(OperatorClient::new(channel));
        }
        let address = tries.next();
        let channel = channel(&address, PeerRole::Master, &self.credentials).await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((address, channel.clone()));
        Ok(OperatorClient::new(channel))
    }

    fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Watches from a point on; the default is from a snapshot.
    pub fn watch(&self, from: Watch) -> Watching {
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let operator = self.clone();
        tokio::spawn(async move {
            if let Err(error) = operator.watch_on(from, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Watching { events }
    }

    async fn watch_on(
        &self,
        mut from: Watch,
        sender: &mpsc::Sender<Result<Event, AskError>>,
    ) -> Result<(), AskError> {
        let mut tries = Tries::new(self.doors.clone());
        loop {
            let problem = tokio::select! {
                problem = self.watch_one(&mut tries, &mut from, sender) => problem,
                () = sender.closed() => return Ok(()),
            };
            self.forget();
            let text = match problem {
                None => "the stream ended".to_owned(),
                Some(problem) => tries.judge(problem)?,
            };
            debug!(why = text, "watching anew");
            tries.wait(text).await?;
        }
    }

    async fn watch_one(
        &self,
        tries: &mut Tries,
        from: &mut Watch,
        sender: &mpsc::Sender<Result<Event, AskError>>,
    ) -> Option<Problem> {
        let deadline = tries.deadline();
        let opening = async {
            let client = self.client(tries).await?;
            let response = client.max_decoding_message_size(REPLY_BYTES_MAX).watch(*from).await?;
            self.doors.learn(response.metadata());
            Ok::<_, Problem>(response.into_inner())
        };
        let mut stream = match timeout_at(deadline, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(problem)) => return Some(problem),
            Err(_) => return None,
        };
        let ended = loop {
            match stream.message().await {
                Ok(Some(event)) => {
                    *from = Watch { epoch: event.epoch, sequence: event.sequence };
                    tries.restart();
                    if sender.send(Ok(event)).await.is_err() {
                        return None;
                    }
                }
                Ok(None) => break None,
                Err(status) => break Some(status.into()),
            }
        };
        tries.broken();
        ended
    }
}

// === impl Watching ===

impl Watching {
    /// The next change. An error is the end: nobody answers any more. `None` never comes before one.
    pub async fn next(&mut self) -> Option<Result<Event, AskError>> {
        self.events.recv().await
    }
}

/// Joins a cluster: the token says which and whom to trust, and becomes credentials with which a [`Profile`] is made.
pub async fn join(masters: &[String], token: &JoinToken, call: Join) -> Result<Joined, AskError> {
    let mut tries = Tries::new(Doors::new(masters));
    loop {
        let address = tries.next();
        let attempt = async {
            let channel = joining_channel(&address, token.ca_sha256).await?;
            Ok::<_, Problem>(OperatorClient::new(channel).join(call.clone()).await?.into_inner())
        };
        let problem = match timeout_at(tries.deadline(), attempt).await {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(problem)) => tries.judge(problem)?,
            Err(_) => tries.silence(),
        };
        tries.wait(problem).await?;
    }
}

/// Whether the same question may be answered better in a moment.
fn passes(code: Code) -> bool {
    matches!(code, Code::LeaderLost | Code::Unavailable)
}
