//! `State`: what a framework keeps on the masters, and what changes of it.
//!
//! The calls mean what etcd's v3 API says of them; `proto/v1/store.proto` names the differences. Each finds the leader by
//! itself. **Not every call can be sent again**: a [`State::put`] whose answer was lost may have been carried out, and
//! somebody else may have put since. Such a call ends in [`StateError::Unknown`]; read what is there. [`State::swap`] and
//! transactions that compare what they change can then be sent again without harm. Reads and calls about leases are
//! sent again until they are answered.

mod election;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::refusal::{Code, Refusal};
use proto_grpc::services::store::store_client::StoreClient;
use proto_grpc::{PeerRole, REPLY_BYTES_MAX, channel};
use proto_pki::Credentials;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tonic::transport::Channel;
use tracing::debug;

pub use election::{Leadership, campaign};
pub use proto::store::{
    Bytes, Call, CallKind, Claim, Compact, Compare, Comparison, DeleteRange, Event, KeyValue, Keys,
    LeaseGrant, LeaseKeepAlive, LeaseReply, LeaseRevoke, Operand, Operation, OperationReply, Put, Range,
    Reply, ReplyKind, Txn, TxnReply, Watch, WatchReply,
};

use crate::doors::Doors;
use crate::operator::AskError;
use crate::profile::Profile;
use crate::tries::{Problem, Tries};

/// Changes that may wait for a slow reader before the stream is held.
const CHANGES_WAITING_MAX: usize = 64;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The answer is no.
    #[error("{0}")]
    Refused(Refusal),
    /// Nobody knows whether it was carried out.
    #[error("it may have been carried out, or not ({why}); read what is there before it is tried again")]
    Unknown {
        /// What went wrong.
        why: String,
    },
    /// No master could be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// One space of a principal's state. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct State {
    credentials: Credentials,
    doors: Doors,
    /// The channel to the master that answered last.
    last: Arc<Mutex<Option<Channel>>>,
    space: String,
    epoch: Option<u64>,
}

/// Changes, one after another, without a gap over breaks and elections.
#[derive(Debug)]
pub struct Watching {
    changes: mpsc::Receiver<Result<WatchReply, StateError>>,
    next_revision: u64,
}

// === impl StateError ===

impl StateError {
    /// The stable code, if a master refused: `Fenced` and `Compacted` are what a framework acts on.
    pub fn code(&self) -> Option<Code> {
        match self {
            StateError::Refused(refusal) => Some(refusal.code),
            StateError::Unknown { .. } | StateError::Ask(_) => None,
        }
    }

    /// Whether the same may go well later, when masters are there again.
    pub fn passes(&self) -> bool {
        match self {
            StateError::Unknown { .. } | StateError::Ask(AskError::NoMaster { .. }) => true,
            StateError::Refused(_) | StateError::Ask(_) => false,
        }
    }
}

// === impl State ===

impl State {
    /// The first space of the profile's principal.
    pub fn new(profile: &Profile) -> Self {
        State {
            credentials: profile.credentials.clone(),
            doors: Doors::new(&profile.masters),
            last: Arc::default(),
            space: String::new(),
            epoch: None,
        }
    }

    /// Another space of the same principal.
    pub fn space(&self, name: &str) -> State {
        State { space: name.to_owned(), epoch: None, ..self.clone() }
    }

    /// Takes the space over: whoever claimed it before is `Fenced` from now on, and this, too, once somebody claims it later.
    pub async fn claim(&self) -> Result<State, StateError> {
        self.claim_under(0).await
    }

    /// Takes the space over if a lease still stands; `NotFound` when it has run out. 0 stands for no lease.
    pub async fn claim_under(&self, lease: u64) -> Result<State, StateError> {
        match self.free().ask(CallKind::Claim(Claim { lease })).await?.kind {
            ReplyKind::Claimed(claimed) => Ok(self.at(claimed.epoch)),
            _ => Err(unfitting("a claim")),
        }
    }

    /// The same space as whoever claimed it with this epoch has it.
    pub fn at(&self, epoch: u64) -> State {
        State { epoch: Some(epoch), ..self.clone() }
    }

    /// The epoch of the claim, if it is claimed.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The same space for calls that are not fenced.
    fn free(&self) -> State {
        State { epoch: None, ..self.clone() }
    }

    /// One key.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<KeyValue>, StateError> {
        Ok(self.list(Keys::one(key)).await?.0.pop())
    }

    /// Some keys in their order, and the revision at which they were so: watch from the next one.
    pub async fn list(&self, keys: Keys) -> Result<(Vec<KeyValue>, u64), StateError> {
        let range = Range { key: keys.key, range_end: keys.end, ..Range::default() };
        let reply = self.ask(CallKind::Range(range)).await?;
        match reply.kind {
            ReplyKind::Range(range) => Ok((range.kvs, reply.revision)),
            _ => Err(unfitting("a range")),
        }
    }

    /// Sets a key; the revision of that.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<u64, StateError> {
        let put = Put { key: key.into(), value: value.into(), ..Put::default() };
        Ok(self.ask(CallKind::Put(put)).await?.revision)
    }

    /// Sets a key if it is as it was last seen: `seen` is the `mod_revision` it had, 0 if it was not there. The revision of
    /// that, or `None` if it is otherwise now.
    pub async fn swap(
        &self,
        key: impl Into<Bytes>,
        seen: u64,
        value: impl Into<Bytes>,
    ) -> Result<Option<u64>, StateError> {
        let key = key.into();
        let compare = Compare {
            key: key.clone(),
            range_end: Bytes::new(),
            comparison: Comparison::Equal,
            operand: Operand::ModRevision(seen),
        };
        let put = Operation::Put(Put { key, value: value.into(), ..Put::default() });
        let txn = Txn { compare: vec![compare], success: vec![put], failure: Vec::new() };
        let (reply, revision) = self.txn(txn).await?;
        Ok(reply.succeeded.then_some(revision))
    }

    /// Deletes keys; how many there were.
    pub async fn delete(&self, keys: Keys) -> Result<u64, StateError> {
        let delete = DeleteRange { key: keys.key, range_end: keys.end, prev_kv: false };
        match self.ask(CallKind::DeleteRange(delete)).await?.kind {
            ReplyKind::DeleteRange(reply) => Ok(reply.deleted),
            _ => Err(unfitting("a deletion")),
        }
    }

    /// Looks, and then does one thing or the other, as one revision.
    pub async fn txn(&self, txn: Txn) -> Result<(TxnReply, u64), StateError> {
        let reply = self.ask(CallKind::Txn(txn)).await?;
        match reply.kind {
            ReplyKind::Txn(txn) => Ok((txn, reply.revision)),
            _ => Err(unfitting("a transaction")),
        }
    }

    /// Makes a lease; keys put with it go with it.
    pub async fn grant(&self, ttl: Duration) -> Result<LeaseReply, StateError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.lease(CallKind::LeaseGrant(LeaseGrant { ttl_ms, id: 0 })).await
    }

    /// Lets a lease begin again. `NotFound` when it has run out.
    pub async fn keep_alive(&self, id: u64) -> Result<LeaseReply, StateError> {
        self.lease(CallKind::LeaseKeepAlive(LeaseKeepAlive { id })).await
    }

    async fn lease(&self, kind: CallKind) -> Result<LeaseReply, StateError> {
        match self.ask(kind).await?.kind {
            ReplyKind::Lease(lease) => Ok(lease),
            _ => Err(unfitting("a lease")),
        }
    }

    /// Ends a lease and deletes its keys; one that is gone already is no fault.
    pub async fn revoke(&self, id: u64) -> Result<(), StateError> {
        match self.ask(CallKind::LeaseRevoke(LeaseRevoke { id })).await {
            Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
            ended => ended.map(|_| ()),
        }
    }

    /// Asks; follows redirects and tries other masters until one answers, ten seconds have passed, or it is not known
    /// whether it was carried out.
    pub async fn ask(&self, kind: CallKind) -> Result<Reply, StateError> {
        let repeatable = repeats(&kind);
        let call = Call { space: self.space.clone(), epoch: self.epoch, kind };
        let mut tries = Tries::new(self.doors.clone());
        loop {
            let mut sent = false;
            let deadline = tries.deadline();
            let attempt = async {
                let mut client = self.client(&mut tries).await?;
                sent = true;
                let response = client.ask(call.clone()).await?;
                self.doors.learn(response.metadata());
                Ok::<_, Problem>(response.into_inner())
            };
            let ended = timeout_at(deadline, attempt).await;
            let in_doubt = sent && !repeatable;
            let why = match ended {
                Ok(Ok(reply)) => match reply.kind {
                    ReplyKind::Redirect(leader) => {
                        self.forget();
                        tries.redirected(leader)
                    }
                    ReplyKind::Refused(refusal) => match refusal.code {
                        // Not proposed, or only a read.
                        Code::Unavailable => refusal.to_string(),
                        Code::LeaderLost if repeatable => refusal.to_string(),
                        Code::LeaderLost => return Err(StateError::Unknown { why: refusal.message }),
                        _ => return Err(StateError::Refused(refusal)),
                    },
                    _ => return Ok(reply),
                },
                Ok(Err(problem)) => {
                    self.forget();
                    let why = tries.judge(problem)?;
                    if in_doubt {
                        return Err(StateError::Unknown { why });
                    }
                    why
                }
                Err(_) => {
                    self.forget();
                    let why = tries.silence();
                    if in_doubt {
                        return Err(StateError::Unknown { why });
                    }
                    why
                }
            };
            tries.wait(why).await?;
        }
    }

    async fn client(&self, tries: &mut Tries) -> Result<StoreClient<Channel>, Problem> {
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let channel = match known {
            Some(channel) if !tries.is_directed() => channel,
            Some(_) | None => {
                let channel = channel(&tries.next(), PeerRole::Master, &self.credentials).await?;
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel.clone());
                channel
            }
        };
        Ok(StoreClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX))
    }

    fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The changes of some keys from a revision on; with 0, from now on.
    pub fn watch(&self, keys: Keys, from: u64) -> Watching {
        let (sender, changes) = mpsc::channel(CHANGES_WAITING_MAX);
        let state = self.clone();
        let ask = Watch {
            space: self.space.clone(),
            key: keys.key,
            range_end: keys.end,
            start_revision: from,
            prev_kv: false,
        };
        tokio::spawn(async move {
            if let Err(error) = state.watch_on(ask, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Watching { changes, next_revision: from }
    }

    async fn watch_on(
        &self,
        mut ask: Watch,
        sender: &mpsc::Sender<Result<WatchReply, StateError>>,
    ) -> Result<(), StateError> {
        let mut tries = Tries::new(self.doors.clone());
        loop {
            let ended = tokio::select! {
                ended = self.watch_one(&mut tries, &mut ask, sender) => ended,
                () = sender.closed() => return Ok(()),
            };
            self.forget();
            let why = match ended {
                Ok(why) => why,
                Err(Broken::Problem(problem)) => tries.judge(problem)?,
                Err(Broken::Refused(refusal)) => return Err(StateError::Refused(refusal)),
            };
            debug!(why, "watching anew");
            tries.wait(why).await?;
        }
    }

    async fn watch_one(
        &self,
        tries: &mut Tries,
        ask: &mut Watch,
        sender: &mpsc::Sender<Result<WatchReply, StateError>>,
    ) -> Result<String, Broken> {
        let deadline = tries.deadline();
        let opening = async {
            let mut client = self.client(tries).await?;
            let response = client.watch(ask.clone()).await?;
            self.doors.learn(response.metadata());
            Ok::<_, Problem>(response.into_inner())
        };
        let mut stream = match timeout_at(deadline, opening).await {
            Ok(opened) => opened.map_err(Broken::Problem)?,
            Err(_) => return Ok(tries.silence()),
        };
        let ended = loop {
            match stream.message().await {
                Ok(Some(WatchReply { refused: Some(refusal), .. })) => return Err(Broken::Refused(refusal)),
                Ok(Some(reply)) => {
                    ask.start_revision = reply.revision.saturating_add(1);
                    tries.restart();
                    if sender.send(Ok(reply)).await.is_err() {
                        return Ok("nobody listens".to_owned());
                    }
                }
                Ok(None) => break Ok("the stream ended".to_owned()),
                Err(status) => break Err(Broken::Problem(status.into())),
            }
        };
        tries.broken();
        ended
    }
}

// === impl Watching ===

impl Watching {
    /// The next changes, of whole revisions. An error is the end: `Compacted`, or nobody answers any more.
    pub async fn next(&mut self) -> Option<Result<WatchReply, StateError>> {
        loop {
            let reply = match self.changes.recv().await? {
                Ok(reply) => reply,
                Err(error) => return Some(Err(error)),
            };
            self.next_revision = reply.revision.saturating_add(1);
            if !reply.events.is_empty() {
                return Some(Ok(reply));
            }
        }
    }

    /// Where a watch that takes up this one begins: everything wanted before has been given by `next`. It moves on with
    /// what is compacted though none of the keys changes, as the last change's own revision does not. 0 as long as a
    /// watch from now on has heard nothing.
    pub fn next_revision(&self) -> u64 {
        self.next_revision
    }
}

enum Broken {
    Problem(Problem),
    Refused(Refusal),
}

/// Whether doing it twice is as good as once: a lease that nobody knows of runs out, a second claim raises the epoch again.
fn repeats(kind: &CallKind) -> bool {
    match kind {
        CallKind::LeaseGrant(_) | CallKind::LeaseRevoke(_) | CallKind::Claim(_) => true,
        CallKind::Put(_) | CallKind::DeleteRange(_) | CallKind::Txn(_) | CallKind::Compact(_) => false,
        CallKind::Range(_) | CallKind::LeaseKeepAlive(_) | CallKind::LeaseLook(_) | CallKind::Leases => true,
    }
}

fn unfitting(asked: &'static str) -> StateError {
    StateError::Ask(AskError::Unfitting { asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_that_ends_is_taken_up_behind_what_its_masters_looked_through() {
        let (sender, changes) = mpsc::channel(CHANGES_WAITING_MAX);
        let mut watching = Watching { changes, next_revision: 2 };
        let changed = WatchReply { revision: 5, events: vec![Event::default()], refused: None };
        let compacted = WatchReply { revision: 9, ..WatchReply::default() };
        for reply in [Ok(changed.clone()), Ok(compacted), Err(unfitting("a watch"))] {
            sender.send(reply).await.expect("somebody listens");
        }
        assert_eq!(watching.next_revision(), 2);
        assert_eq!(watching.next().await.expect("a reply").expect("changes"), changed);
        assert_eq!(watching.next_revision(), 6, "what waits behind it is not given yet");
        let ended = watching.next().await.expect("the end, and no reply without a change");
        assert!(matches!(ended, Err(StateError::Ask(_))), "{ended:?}");
        assert_eq!(watching.next_revision(), 10);
    }
}
