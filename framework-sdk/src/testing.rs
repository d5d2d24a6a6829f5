//! For tests of frameworks: [`Rehearsal`], a scheduler in a pretend pool on a pretend clock, without a socket;
//! [`FakeCluster`], a pretend master behind a real door (gRPC, mutual TLS), for whole programs; and [`FakeStore`], a store that
//! fails when the test says so.

mod door;
mod journal;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use framework_sdk_core::fake::Fake;
use proto::id::MasterId;
use proto::scheduler::Event;
use proto_grpc::services::operator::operator_server::OperatorServer;
use proto_grpc::services::scheduler::scheduler_server::SchedulerServer;
use proto_grpc::{Identity, ServeError, serve};
use proto_pki::{Authority, LEAF_VALIDITY, PkiError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tonic::service::Routes;

use door::Door;

use crate::profile::Profile;

pub use framework_sdk_core::life::Life;
pub use framework_sdk_core::rehearsal::{Agent, Behaviour, Mishap, Pace, Rehearsal};
pub use framework_sdk_core::tape::{BadTape, Divergence, Tape};
pub use journal::{Journal, Noted};
pub use store::{Failure, FakeStore};

/// How often a cluster with a life of its own looks what is due.
const TICK: Duration = Duration::from_millis(20);
/// Between two heartbeats of such a cluster.
const HEARTBEAT: Duration = Duration::from_secs(1);

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

/// Pretend masters behind real doors on loopback ports. They end when it is dropped.
pub struct FakeCluster {
    authority: Authority,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// The doors, in the order of the masters.
    addresses: Vec<String>,
    begun: Instant,
}

#[derive(Default)]
struct State {
    fake: Fake,
    session: Option<(u64, mpsc::UnboundedSender<Result<Event, Status>>)>,
    sessions: u64,
    /// What happens by itself, in real time.
    life: Option<Life>,
    heartbeat_at: Option<Instant>,
    /// Which master leads, from 0.
    leader: usize,
    /// No master takes a session.
    shut: bool,
    /// The leader dies once it has committed the next accept.
    dies_with_next_accept: bool,
    journal: Journal,
}

// === impl FakeCluster ===

impl FakeCluster {
    /// One master without agents.
    pub async fn start() -> Result<Self, FakeError> {
        FakeCluster::of_masters(1).await
    }

    /// So many masters, without agents; the first one leads.
    pub async fn of_masters(count: usize) -> Result<Self, FakeError> {
        let authority = Authority::create("fake")?;
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?.to_string());
            listeners.push(listener);
        }
        let state = State { fake: Fake::new(), ..State::default() };
        let (changed, begun) = (watch::Sender::new(0), Instant::now());
        let shared = Arc::new(Shared { state: Mutex::new(state), changed, addresses, begun });
        let stop = watch::Sender::new(false);
        for (number, listener) in listeners.into_iter().enumerate() {
            let credentials =
                authority.issue(&Identity::Master(MasterId(number as u64 + 1)), LEAF_VALIDITY)?;
            let door = Door { shared: shared.clone(), number };
            let routes =
                Routes::new(SchedulerServer::new(door.clone())).add_service(OperatorServer::new(door));
            let mut stopped = stop.subscribe();
            tokio::spawn(async move {
                let stopped = async {
                    // Dropping the sender means the same.
                    let _ = stopped.wait_for(|stop| *stop).await;
                };
                if let Err(error) = serve(listener, &credentials, routes, stopped).await {
                    tracing::error!(%error, "the pretend master failed");
                }
            });
        }
        Ok(FakeCluster { authority, shared, stop })
    }

    /// Credentials for somebody, and where the masters are.
    pub fn profile(&self, who: &Identity) -> Result<Profile, FakeError> {
        let credentials = self.authority.issue(who, LEAF_VALIDITY)?;
        Ok(Profile { credentials, masters: self.shared.addresses.clone() })
    }

    /// From now on tasks start and end well by themselves, and offers are made whenever something is wanted.
    pub fn be_lively(&self) {
        let pace = Pace { offers: Duration::ZERO, start: Duration::ZERO, ..Pace::default() };
        let mut life = Life::at(pace);
        life.behave("", Behaviour::Finish(Duration::ZERO));
        self.live(life);
    }

    /// From now on the pool has this life, in real time; and the leader its heartbeat.
    pub fn live(&self, life: Life) {
        let mut state = self.shared.lock();
        state.life = Some(life);
        let is_first = state.heartbeat_at.replace(Instant::now()).is_none();
        self.shared.flush(state);
        if is_first {
            tokio::spawn(tick(Arc::downgrade(&self.shared)));
        }
    }

    /// Does something with the pretend master; what it then has to say is sent.
    pub fn with<R>(&self, act: impl FnOnce(&mut Fake) -> R) -> R {
        let mut state = self.shared.lock();
        let result = act(&mut state.fake);
        self.shared.flush(state);
        result
    }

    /// What was said at the doors so far.
    pub fn journal(&self) -> Journal {
        self.shared.lock().journal.clone()
    }

    /// The leader dies and another takes over; at the same address when there is only one.
    pub fn fail_over(&self) {
        let mut state = self.shared.lock();
        self.shared.move_lead(&mut state);
        self.shared.flush(state);
    }

    /// The leader dies once it has committed the next accept: its answer is lost.
    pub fn fail_over_at_next_accept(&self) {
        self.shared.lock().dies_with_next_accept = true;
    }

    /// The session breaks.
    pub fn break_session(&self) {
        let mut state = self.shared.lock();
        state.fake.disconnect();
        state.end_session();
        self.shared.flush(state);
    }

    /// No master takes a session any more, or one does again; the one that stands breaks.
    pub fn shut(&self, shut: bool) {
        self.shared.lock().shut = shut;
        if shut {
            self.break_session();
        }
    }

    /// Resolves when something holds of the pretend master.
    pub async fn until(&self, holds: impl Fn(&Fake) -> bool) {
        self.until_noted(|fake, _| holds(fake).then_some(())).await;
    }

    /// Resolves when something is found in the pretend master and what was said at its doors.
    pub async fn until_noted<T>(&self, find: impl Fn(&Fake, &Journal) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        loop {
            {
                let state = self.shared.lock();
                if let Some(found) = find(&state.fake, &state.journal) {
                    return found;
                }
            }
            // The sender lives as long as `self`, so this never fails.
            let _ = changed.changed().await;
        }
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.shared.lock().session = None;
    }
}

/// Lets everything happen at its time, as long as the cluster is there.
async fn tick(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.lock();
        if state.heartbeat_at.is_some_and(|at| at <= Instant::now()) {
            state.heartbeat_at = Some(Instant::now() + HEARTBEAT);
            state.fake.heartbeat();
        }
        shared.flush(state);
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, mut state: MutexGuard<'_, State>) {
        let State { life, fake, .. } = &mut *state;
        if let Some(life) = life {
            let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            life.attend(proto_machine::Instant::from_nanos(nanos), fake);
        }
        while let Some(event) = state.fake.next_event() {
            if let Some((_, session)) = &state.session {
                // A session that is gone is noticed by its reader.
                let _ = session.send(Ok(event.clone()));
                state.journal.note(Noted::Told(event));
            }
        }
        self.notify(state);
    }

    fn notify(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    fn move_lead(&self, state: &mut State) {
        state.fake.elect();
        state.end_session();
        state.leader = (state.leader + 1) % self.addresses.len().max(1);
    }
}

impl State {
    fn end_session(&mut self) {
        if self.session.take().is_some() {
            self.journal.note(Noted::Broke);
        }
    }
}
