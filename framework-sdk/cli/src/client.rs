//! `Client`: finds a master that answers, follows it to the leader, and says plainly when there is none.

mod gather;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use framework_sdk::Profile;
use proto::backup::Save;
use proto::operator::{Call, Event, Reply, ReplyKind, Watch};
use proto::refusal::{Code as RefusalCode, Refusal};
use proto::roster::Masters;
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use proto_grpc::services::backups::backups_client::BackupsClient;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::{ConnectError, MASTERS, PeerRole, REPLY_BYTES_MAX, channel, retry_after};
use proto_pki::Credentials;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::exit::Exit;
use crate::failure::{Failure, chain};
pub(crate) use gather::Gather;
use gather::Said;

/// How long a question may take in all; an election takes a second or two.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one master may take to answer before another is asked. Reads of a large pool take some hundred ms.
const ONE_TRY: Duration = Duration::from_secs(3);
/// How long the first master has to connect before the next is tried beside it: one that was stopped accepts and then
/// says nothing.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a backup may take in all.
const SAVE_LIMIT: Duration = Duration::from_secs(60);
/// Between two questions to masters that know no leader.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the masters of a profile.
pub struct Client {
    /// As far as is known; answers may tell of more.
    masters: Mutex<Vec<String>>,
    credentials: Credentials,
    patience: Duration,
    channels: Mutex<BTreeMap<String, Channel>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No master could be reached.
    #[error("no master answers: {0}")]
    Unreachable(Tried),
    /// Masters answer, but none leads.
    #[error("no master leads: {0}")]
    NoLeader(Tried),
    /// It took too long.
    #[error("no answer within {}: {tried}", crate::duration::show_duration(*.after))]
    TooLate {
        /// How long was waited.
        after: Duration,
        /// What was tried.
        tried: Tried,
    },
    /// A master answered with an error.
    #[error("{address}: {status}")]
    Answered {
        /// Which master.
        address: String,
        /// What it said.
        status: Box<Status>,
    },
    /// The master will not do it.
    #[error("{0}")]
    Refused(Refusal),
    /// The answer is to another question.
    #[error("the master at {address} answered something else than was asked")]
    OtherAnswer {
        /// Which master.
        address: String,
    },
    /// There is no such door.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Masters that were tried, and how each failed; the latest word of each.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    masters: BTreeMap<String, String>,
    knows_no_leader: bool,
    /// Somebody is there, but not of the authority that is trusted.
    strangers: BTreeSet<String>,
    /// Our own certificate is none of that authority.
    foreign: bool,
}

// === impl Tried ===

impl Tried {
    fn failed(&mut self, address: &str, why: impl Into<String>) {
        self.masters.insert(address.to_owned(), why.into());
        self.strangers.remove(address);
    }

    fn not_connected(&mut self, address: &str, error: &ConnectError) {
        self.failed(address, error.reason());
        if error.is_distrust() {
            self.strangers.insert(address.to_owned());
        }
        self.foreign |= matches!(error, ConnectError::Foreign { .. });
    }

    /// What the user can do when none was reached.
    fn help(&self) -> &'static str {
        if self.foreign {
            "take ca.pem, cert.pem and key.pem from the same cluster, or ask for a new certificate"
        } else if !self.strangers.is_empty() && self.strangers.len() == self.masters.len() {
            "name the credentials of this cluster with --context DIR"
        } else {
            "is the cluster up? `stoa up` starts one; --context names another"
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.masters.iter().map(|(address, why)| format!("{address} ({why})")).collect();
        f.write_str(if parts.is_empty() { "nobody was heard" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

// === impl Client ===

impl Client {
    /// A client of a profile's masters. Connects when it is asked something.
    pub fn new(profile: &Profile) -> Self {
        Client {
            masters: Mutex::new(profile.masters.clone()),
            credentials: profile.credentials.clone(),
            patience: PATIENCE,
            channels: Mutex::new(BTreeMap::new()),
        }
    }

    /// What it shows at every door.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where the masters are, as far as is known by now.
    pub(crate) fn masters(&self) -> Vec<String> {
        self.masters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a master says of where they are, if their list was changed since the founding.
    fn learn(&self, said: &MetadataMap) {
        if let Some(text) = said.get(MASTERS).and_then(|text| text.to_str().ok()) {
            let told = Masters { addresses: text.split(',').map(str::to_owned).collect() };
            told.learn(&mut self.masters.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The same of one master alone.
    pub(crate) fn only(&self, master: &str) -> Client {
        let credentials = self.credentials.clone();
        Client::new(&Profile { masters: vec![master.to_owned()], credentials })
    }

    /// With another patience than 5 s.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// One question or order. Reads are answered by any master; where only the leader can answer, this follows the
    /// redirect. Orders may reach the leader twice if a connection breaks between: each of them means the same twice.
    pub async fn ask(&self, call: Call) -> Result<Reply, AskError> {
        let reply = self.ask_patiently(&call, None).await?;
        // Only who gathers is told of nothing.
        reply.ok_or_else(|| AskError::OtherAnswer { address: self.masters().join(", ") })
    }

    /// Has a list gathered while it comes.
    pub(crate) async fn gather(&self, call: Call, gather: &mut dyn Gather) -> Result<(), AskError> {
        self.ask_patiently(&call, Some(gather)).await.map(drop)
    }

    async fn ask_patiently(
        &self,
        call: &Call,
        gather: Option<&mut (dyn Gather + '_)>,
    ) -> Result<Option<Reply>, AskError> {
        let mut tried = Tried::default();
        // Who the masters are is told by one that knows no leader, too: the next one may know more.
        let mut without_leader = None;
        let asked = self.ask_until_answered(call, gather, &mut without_leader, &mut tried);
        match timeout(self.patience, asked).await {
            Ok(answer) => answer,
            Err(_) if without_leader.is_some() => Ok(without_leader),
            Err(_) if tried.knows_no_leader => Err(AskError::NoLeader(tried)),
            Err(_) => Err(AskError::TooLate { after: self.patience, tried }),
        }
    }

    /// The answer; none when it was gathered.
    async fn ask_until_answered(
        &self,
        call: &Call,
        mut gather: Option<&mut (dyn Gather + '_)>,
        without_leader: &mut Option<Reply>,
        tried: &mut Tried,
    ) -> Result<Option<Reply>, AskError> {
        let mut silent = BTreeSet::new();
        let mut leader = None;
        loop {
            let Some((address, channel)) = self.next_master(leader.take(), &mut silent, tried).await? else {
                if without_leader.is_some() {
                    return Ok(without_leader.take());
                }
                continue;
            };
            let mut door = OperatorClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
            // Lent anew for each try.
            let gatherer = gather.as_deref_mut();
            let reply = match timeout(ONE_TRY, gather::ask(&mut door, call, gatherer)).await {
                Ok(Ok(Said::Whole(reply, metadata))) => {
                    self.learn(&metadata);
                    reply
                }
                Ok(Ok(Said::Gathered)) => return Ok(None),
                Ok(Ok(Said::Other)) => return Err(AskError::OtherAnswer { address }),
                Ok(Err(status)) => {
                    if let Some(wait) = retry_after(&status) {
                        tried.failed(&address, status.message());
                        sleep(wait).await;
                        continue;
                    }
                    self.next_after(address, status, &mut silent, tried)?;
                    continue;
                }
                Err(_) => {
                    self.forget(&address);
                    tried.failed(&address, "does not answer");
                    silent.insert(address);
                    continue;
                }
            };
            match reply.kind {
                ReplyKind::Redirect(to) if to.is_empty() => {
                    tried.knows_no_leader = true;
                    tried.failed(&address, "knows no leader");
                    sleep(PAUSE).await;
                }
                ReplyKind::Redirect(to) if to == address => {
                    tried.failed(&address, "names itself as the leader and then redirects");
                    sleep(PAUSE).await;
                }
                ReplyKind::Redirect(to) => {
                    tried.failed(&address, format!("says that {to} leads"));
                    leader = Some(to);
                }
                ReplyKind::Refused(refusal) if refusal.code == RefusalCode::Unavailable => {
                    tried.failed(&address, refusal.message);
                    sleep(PAUSE).await;
                }
                ReplyKind::Refused(refusal) => return Err(AskError::Refused(refusal)),
                ReplyKind::Raft(_) if *call == Call::Raft && !reply.from_leader => {
                    self.forget(&address);
                    tried.failed(&address, "knows no leader");
                    silent.insert(address);
                    *without_leader = Some(reply);
                }
                ReplyKind::Status(_)
                | ReplyKind::Raft(_)
                | ReplyKind::Agents(_)
                | ReplyKind::Frameworks(_)
                | ReplyKind::Tasks(_)
                | ReplyKind::Offers(_)
                | ReplyKind::Roles(_)
                | ReplyKind::Explain(_)
                | ReplyKind::Done(_)
                | ReplyKind::Principal(_)
                | ReplyKind::Principals(_)
                | ReplyKind::Verdict(_)
                | ReplyKind::Events(_)
                | ReplyKind::Waiting(_)
                | ReplyKind::Secrets(_)
                | ReplyKind::Audit(_)
                | ReplyKind::Token(_) => return Ok(Some(reply)),
            }
        }
    }

    /// Everything, then every change, from any master; taken up after `from` if that master can.
    pub async fn watch(&self, from: Watch) -> Result<Streaming<Event>, AskError> {
        let mut tried = Tried::default();
        match timeout(self.patience, self.watch_until_answered(from, &mut tried)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::TooLate { after: self.patience, tried }),
        }
    }

    async fn watch_until_answered(
        &self,
        from: Watch,
        tried: &mut Tried,
    ) -> Result<Streaming<Event>, AskError> {
        let mut silent = BTreeSet::new();
        loop {
            let Some((address, channel)) = self.next_master(None, &mut silent, tried).await? else {
                continue;
            };
            let mut door = OperatorClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
            match timeout(ONE_TRY, door.watch(from)).await {
                Ok(Ok(stream)) => {
                    self.learn(stream.metadata());
                    return Ok(stream.into_inner());
                }
                Ok(Err(status)) => self.next_after(address, status, &mut silent, tried)?,
                Err(_) => {
                    self.forget(&address);
                    tried.failed(&address, "does not answer");
                    silent.insert(address);
                }
            }
        }
    }

    /// All that the masters remember, from any master that hears a leader: the bytes of a backup's file.
    pub async fn save(&self) -> Result<Vec<u8>, AskError> {
        let mut tried = Tried::default();
        match timeout(SAVE_LIMIT, self.save_until_answered(&mut tried)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::TooLate { after: SAVE_LIMIT, tried }),
        }
    }

    async fn save_until_answered(&self, tried: &mut Tried) -> Result<Vec<u8>, AskError> {
        let mut silent = BTreeSet::new();
        loop {
            let Some((address, channel)) = self.next_master(None, &mut silent, tried).await? else {
                continue;
            };
            match saved(BackupsClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX)).await {
                Ok(file) => return Ok(file),
                Err(status) => self.next_after(address, status, &mut silent, tried)?,
            }
        }
    }

    /// The door of an agent.
    pub async fn agent(&self, address: &str) -> Result<AgentDoorClient<Channel>, AskError> {
        let channel = channel(address, PeerRole::Agent, &self.credentials).await?;
        Ok(AgentDoorClient::new(channel))
    }

    /// The leader if one was named, else the first master that connects and has not just failed. `None`: once more.
    async fn next_master(
        &self,
        leader: Option<String>,
        silent: &mut BTreeSet<String>,
        tried: &mut Tried,
    ) -> Result<Option<(String, Channel)>, AskError> {
        let asks_anyone = leader.is_none();
        let candidates: Vec<String> = match leader {
            Some(leader) => vec![leader],
            None => self.masters().into_iter().filter(|master| !silent.contains(master)).collect(),
        };
        if let Some(found) = self.first_to_connect(candidates, tried).await {
            return Ok(Some(found));
        }
        if asks_anyone && silent.is_empty() {
            return Err(AskError::Unreachable(tried.clone()));
        }
        // The leader that was named may be dying, or those that are left are: the whole group is asked anew.
        silent.clear();
        sleep(PAUSE).await;
        Ok(None)
    }

    async fn first_to_connect(
        &self,
        candidates: Vec<String>,
        tried: &mut Tried,
    ) -> Option<(String, Channel)> {
        let mut racing = JoinSet::new();
        let mut waiting = candidates.into_iter();
        loop {
            match waiting.next() {
                Some(address) => {
                    if let Some(channel) = self.known(&address) {
                        return Some((address, channel));
                    }
                    let credentials = self.credentials.clone();
                    racing.spawn(async move {
                        let channel = channel(&address, PeerRole::Master, &credentials).await;
                        (address, channel)
                    });
                }
                None if racing.is_empty() => return None,
                None => {}
            }
            let finished = if waiting.len() > 0 {
                timeout(HEAD_START, racing.join_next()).await.ok().flatten()
            } else {
                racing.join_next().await
            };
            match finished {
                Some(Ok((address, Ok(channel)))) => {
                    self.keep(&address, &channel);
                    return Some((address, channel));
                }
                Some(Ok((address, Err(error)))) => tried.not_connected(&address, &error),
                Some(Err(_)) | None => {}
            }
        }
    }

    /// What an error of a master means: the answer, or a reason to ask the next one.
    fn next_after(
        &self,
        address: String,
        status: Status,
        silent: &mut BTreeSet<String>,
        tried: &mut Tried,
    ) -> Result<(), AskError> {
        // A status that was made here, by the transport, has a source; one that the master sent has none.
        let broken = std::error::Error::source(&status).map(chain);
        if broken.is_some() || status.code() == Code::Unavailable {
            self.forget(&address);
            let why = broken.unwrap_or_else(|| status.message().to_owned());
            tried.failed(&address, why);
            silent.insert(address);
            return Ok(());
        }
        Err(AskError::Answered { address, status: Box::new(status) })
    }

    fn known(&self, address: &str) -> Option<Channel> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }

    fn keep(&self, address: &str, channel: &Channel) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(address.to_owned(), channel.clone());
    }

    fn forget(&self, address: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}

async fn saved(mut door: BackupsClient<Channel>) -> Result<Vec<u8>, Status> {
    let mut pieces = door.save(Save {}).await?.into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.message().await? {
        file.extend(piece.bytes);
    }
    Ok(file)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.masters().join(", "))
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::Unreachable(tried) => Failure::unavailable(message, tried.help()),
            AskError::NoLeader(_) => Failure::unavailable(
                message,
                "an election takes a second or two; without a majority there is none",
            ),
            AskError::TooLate { .. } => Failure::unavailable(message, RefusalCode::Unavailable.help()),
            AskError::Answered { address, status } => Failure::of_status(&address, &status),
            AskError::Refused(refusal) => refusal.into(),
            AskError::OtherAnswer { .. } => Failure::internal(message),
            AskError::Connect(error) => match error {
                ConnectError::Unreachable { .. } => Failure::unavailable(
                    chain(&error),
                    "its process or its machine may be down; see `stoa get agents`",
                ),
                ConnectError::Address { .. } => Failure::internal(chain(&error)),
                ConnectError::Credentials(_) | ConnectError::Tls(_) | ConnectError::Foreign { .. } => {
                    Failure::new(
                        Exit::Denied,
                        "denied",
                        chain(&error),
                        "the context's certificate or key is broken; ask for new ones",
                    )
                }
            },
        }
    }
}
