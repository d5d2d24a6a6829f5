//! For tests of frameworks: [`Rehearsal`], a scheduler in a pretend pool on a pretend clock, without a socket; and
//! [`FakeCluster`], a pretend master behind a real door (gRPC, mutual TLS), for whole programs.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use framework_sdk_core::fake::Fake;
use proto::id::{MasterId, TaskId};
use proto::scheduler::{Call, Event};
use proto::task::{Exit, TaskState};
use proto_grpc::services::scheduler::scheduler_server::{Scheduler, SchedulerServer};
use proto_grpc::{Identity, ServeError, caller, serve};
use proto_pki::{Authority, LEAF_VALIDITY, PkiError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::profile::Profile;

pub use framework_sdk_core::life::Life;
pub use framework_sdk_core::rehearsal::{Agent, Behaviour, Mishap, Pace, Rehearsal};
pub use framework_sdk_core::tape::{BadTape, Divergence, Tape};

/// Why a test has no cluster.
#[derive(Debug, thiserror::Error)]
pub enum FakeError {
    /// No port.
    #[error("cannot listen")]
    Listen(#[from] std::io::Error),
    /// No certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The door does not stand.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A pretend master behind a real door on a loopback port. It ends when it is dropped.
pub struct FakeCluster {
    authority: Authority,
    address: SocketAddr,
    state: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    fake: Fake,
    session: Option<(u64, mpsc::UnboundedSender<Result<Event, Status>>)>,
    sessions: u64,
    /// Tasks run and end by themselves, and offers are made whenever there may be something to offer.
    lively: bool,
    /// How many of the accepted tasks were seen to.
    seen: usize,
}

// === impl FakeCluster ===

impl FakeCluster {
    /// A cluster without agents.
    pub async fn start() -> Result<Self, FakeError> {
        let authority = Authority::create("fake")?;
        let credentials = authority.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = State { fake: Fake::new(), ..State::default() };
        let state = Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(0) });
        let (stop, stopped) = oneshot::channel();
        let routes = Routes::new(SchedulerServer::new(Door(state.clone())));
        tokio::spawn(async move {
            let stopped = async {
                // Dropping the sender means the same.
                let _ = stopped.await;
            };
            if let Err(error) = serve(listener, &credentials, routes, stopped).await {
                tracing::error!(%error, "the pretend master failed");
            }
        });
        Ok(FakeCluster { authority, address, state, stop: Some(stop) })
    }

    /// Credentials for somebody, and where the master is.
    pub fn profile(&self, who: &Identity) -> Result<Profile, FakeError> {
        let credentials = self.authority.issue(who, LEAF_VALIDITY)?;
        Ok(Profile { credentials, masters: vec![self.address.to_string()] })
    }

    /// From now on tasks start and end well by themselves, and offers are made whenever something is wanted.
    pub fn be_lively(&self) {
        self.state.lock().lively = true;
        self.with(|_| ());
    }

    /// Does something with the pretend master; what it then has to say is sent.
    pub fn with<R>(&self, act: impl FnOnce(&mut Fake) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state.fake);
        self.state.flush(state);
        result
    }

    /// The leader dies and another takes over, at the same address.
    pub fn fail_over(&self) {
        let mut state = self.state.lock();
        state.fake.elect();
        state.session = None;
        self.state.flush(state);
    }

    /// The session breaks.
    pub fn break_session(&self) {
        let mut state = self.state.lock();
        state.fake.disconnect();
        state.session = None;
        self.state.flush(state);
    }

    /// Resolves when something holds of the pretend master.
    pub async fn until(&self, holds: impl Fn(&Fake) -> bool) {
        let mut changed = self.state.changed.subscribe();
        loop {
            if holds(&self.state.lock().fake) {
                return;
            }
            // The sender lives as long as `self`.
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.state.lock().session = None;
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, mut state: MutexGuard<'_, State>) {
        if state.lively {
            state.live();
        }
        while let Some(event) = state.fake.next_event() {
            if let Some((_, session)) = &state.session {
                // A session that is gone is noticed by its reader.
                let _ = session.send(Ok(event));
            }
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl State {
    fn live(&mut self) {
        let fresh: Vec<TaskId> = self.fake.accepted.iter().skip(self.seen).cloned().collect();
        self.seen += fresh.len();
        for id in &fresh {
            self.fake.report(id, TaskState::Running, None);
            self.fake.report(id, TaskState::Finished, Some(Exit::Code(0)));
        }
        if !self.fake.demands().is_empty() {
            self.fake.make_offers();
        }
    }
}

struct Door(Arc<Shared>);

#[tonic::async_trait]
impl Scheduler for Door {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<Call>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if !matches!(caller(&request)?, Identity::Framework(_)) {
            return Err(Status::permission_denied("only frameworks hold a framework's session"));
        }
        let mut calls = request.into_inner();
        let (sender, events) = mpsc::unbounded_channel();
        let shared = self.0.clone();
        let number = {
            let mut state = shared.lock();
            state.fake.disconnect();
            state.sessions += 1;
            state.session = Some((state.sessions, sender));
            state.sessions
        };
        tokio::spawn(async move {
            let mine = |state: &State| state.session.as_ref().is_some_and(|(n, _)| *n == number);
            while let Ok(Some(call)) = calls.message().await {
                let mut state = shared.lock();
                if !mine(&state) {
                    return;
                }
                state.fake.hear(call);
                shared.flush(state);
            }
            let mut state = shared.lock();
            if mine(&state) {
                state.fake.disconnect();
                state.session = None;
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(events))))
    }
}
