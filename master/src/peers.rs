//! The streams to the other masters: messages may be lost, snapshots have a stream of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use master_raft::NodeId;
use proto::id::MasterId;
use proto::raft::Envelope;
use proto_grpc::Shown;
use proto_grpc::services::raft::raft_client::RaftClient;
use proto_grpc::services::store_raft::store_raft_client::StoreRaftClient;
use proto_pki::PeerRole;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tracing::debug;

use crate::book::{Book, says_removed};
use proto::roster::Known;

/// A message larger than this travels in parts; well below what a door takes at once.
const PART_BYTES: usize = 1 << 20;
/// Messages that may wait for a peer; more are lost, which consensus bears.
const WAITING_MAX: usize = 4096;
/// How long to wait before a broken stream is tried again: a peer that restarts is back within a second.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// A peer that was not heard for so long is shown as not alive: a dozen heartbeats.
const SILENT: Duration = Duration::from_secs(1);

/// What is known of the other masters' processes.
#[derive(Default)]
pub(crate) struct Heard(Mutex<BTreeMap<MasterId, (u32, Instant)>>);

/// Sends to the other masters.
pub(crate) struct Peers {
    own: Own,
    known: watch::Receiver<Known>,
    /// A stream to each other master, and where it goes.
    queues: BTreeMap<NodeId, (String, mpsc::Sender<Bytes>)>,
    group: Talk,
    reporting: Reporting,
    runtime: tokio::runtime::Handle,
}

/// Brings something for consensus to the machine of a group; false when it is stopping.
pub(crate) type Tell = Arc<dyn Fn(master_raft::Input) -> bool + Send + Sync>;

/// Where the ends of snapshot transfers are told: the machine's handle, which exists only after its hands do.
pub(crate) type Reporting = Arc<OnceLock<Tell>>;

/// Which group talks, each at a door of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// The registry's.
    Registry,
    /// That of the frameworks' state.
    Store,
}

/// What every envelope of this master says.
#[derive(Clone)]
pub(crate) struct Own {
    pub id: MasterId,
    pub cluster: String,
    pub shown: Shown,
    /// Who else there is.
    pub book: Book,
    /// Becomes true when another master says that this one was removed.
    pub removed: Arc<watch::Sender<bool>>,
}

// === impl Heard ===

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<MasterId, (u32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An envelope came.
    pub fn heard(&self, from: MasterId, pid: u32) {
        self.lock().insert(from, (pid, Instant::now()));
    }

    /// A peer's process, and whether it was heard lately.
    pub fn of(&self, id: MasterId) -> (u32, bool) {
        self.lock().get(&id).map_or((0, false), |(pid, at)| (*pid, at.elapsed() < SILENT))
    }
}

// === impl Own ===

impl Own {
    fn envelope(&self, to: MasterId, part: Vec<u8>, more: bool) -> Envelope {
        Envelope {
            from: self.id,
            to,
            cluster: self.cluster.clone(),
            part,
            more,
            announces: false,
            image: false,
            pid: std::process::id(),
        }
    }

    /// One message as one envelope or several.
    fn envelopes(&self, to: MasterId, bytes: &[u8]) -> Vec<Envelope> {
        let count = bytes.len().div_ceil(PART_BYTES).max(1);
        let part = |at: usize| {
            let end = (at + 1) * PART_BYTES;
            let part = bytes.get(at * PART_BYTES..end.min(bytes.len())).unwrap_or_default();
            self.envelope(to, part.to_vec(), at + 1 < count)
        };
        (0..count).map(part).collect()
    }
}

// === impl Talk ===

impl Talk {
    async fn deliver(
        self,
        own: Own,
        channel: Channel,
        envelopes: impl Stream<Item = Envelope> + Send + 'static,
    ) -> Result<(), Status> {
        let mut request = Request::new(envelopes);
        own.book.introduce(own.id, request.metadata_mut());
        match self {
            Talk::Registry => RaftClient::new(channel).deliver(request).await.map(|_| ()),
            Talk::Store => StoreRaftClient::new(channel).deliver(request).await.map(|_| ()),
        }
    }
}

// === impl Peers ===

impl Peers {
    /// Starts a stream to each other master of the book; they connect as they can.
    pub fn start(own: Own, group: Talk, reporting: Reporting) -> Peers {
        let runtime = tokio::runtime::Handle::current();
        let known = own.book.subscribe();
        let mut peers = Peers { own, known, queues: BTreeMap::new(), group, reporting, runtime };
        peers.follow_book();
        peers
    }

    /// Streams to those who are there now, and to nobody else.
    fn follow_book(&mut self) {
        let known = self.known.borrow_and_update().clone();
        let others = known.others(self.own.id);
        self.queues.retain(|id, (address, _)| others.get(&MasterId(id.0)) == Some(&address.as_str()));
        for (id, address) in others {
            let id = NodeId(id.0);
            if !self.queues.contains_key(&id) {
                let (queue, waiting) = mpsc::channel(WAITING_MAX);
                let sending =
                    keep_sending(self.own.clone(), self.group, MasterId(id.0), address.to_owned(), waiting);
                self.runtime.spawn(sending);
                self.queues.insert(id, (address.to_owned(), queue));
            }
        }
    }

    /// Sends a message, or loses it.
    pub fn send(&mut self, to: NodeId, bytes: Bytes) {
        if self.known.has_changed().unwrap_or(false) {
            self.follow_book();
        }
        let lost = self.queues.get(&to).is_none_or(|(_, queue)| queue.try_send(bytes).is_err());
        if lost {
            metrics::counter!("raft_messages_dropped_total").increment(1);
        }
    }

    /// Sends a snapshot on a stream of its own, and tells how it ended.
    pub fn send_snapshot(&self, to: NodeId, message: Bytes, image: Bytes) {
        let Some(tell) = self.reporting.get().cloned() else { return };
        let address = self.own.book.address(MasterId(to.0));
        let Some(address) = address else {
            tell(master_raft::Input::SnapshotReport { peer: to, delivered: false });
            return;
        };
        let (own, group) = (self.own.clone(), self.group);
        self.runtime.spawn(async move {
            let delivered = deliver_snapshot(&own, group, MasterId(to.0), &address, &message, &image).await;
            if let Err(why) = &delivered {
                debug!(peer = to.0, why, "a snapshot was not delivered");
            }
            let report = master_raft::Input::SnapshotReport { peer: to, delivered: delivered.is_ok() };
            tell(report);
        });
    }
}

async fn keep_sending(
    own: Own,
    group: Talk,
    to: MasterId,
    address: String,
    mut waiting: mpsc::Receiver<Bytes>,
) {
    let mut retry = RETRY;
    loop {
        let connected = proto_grpc::channel(&address, PeerRole::Master, &own.shown.now()).await;
        if let Ok(channel) = connected {
            retry = RETRY;
            // What waited while there was no stream is old: consensus sends what is needed anew.
            while waiting.try_recv().is_ok() {}
            let (sender, receiver) = mpsc::channel(64);
            let mut streaming =
                tokio::spawn(group.deliver(own.clone(), channel, ReceiverStream::new(receiver)));
            loop {
                tokio::select! {
                    ended = &mut streaming => {
                        if let Ok(Err(status)) = &ended && says_removed(status, own.id) {
                            own.removed.send_replace(true);
                        }
                        debug!(peer = to.0, ?ended, "the stream to a peer ended");
                        break;
                    }
                    message = waiting.recv() => {
                        let Some(bytes) = message else { return };
                        for envelope in own.envelopes(to, &bytes) {
                            if sender.send(envelope).await.is_err() {
                                break;
                            }
                        }
                    }
                }
            }
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
        if waiting.is_closed() && waiting.is_empty() {
            return;
        }
    }
}

async fn deliver_snapshot(
    own: &Own,
    group: Talk,
    to: MasterId,
    address: &str,
    message: &[u8],
    image: &[u8],
) -> Result<(), String> {
    let channel = proto_grpc::channel(address, PeerRole::Master, &own.shown.now())
        .await
        .map_err(|error| error.to_string())?;
    let mut envelopes = own.envelopes(to, message);
    if let Some(last) = envelopes.last_mut() {
        last.announces = true;
    }
    envelopes.extend(own.envelopes(to, image).into_iter().map(|mut part| {
        part.image = true;
        part
    }));
    group
        .deliver(own.clone(), channel, tokio_stream::iter(envelopes))
        .await
        .map_err(|status| status.to_string())
}
