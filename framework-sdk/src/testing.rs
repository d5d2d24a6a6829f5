//! For tests of frameworks: [`Rehearsal`], a scheduler in a pretend pool on a pretend clock, without a socket;
//! [`FakeCluster`], a pretend master behind a real door (gRPC, mutual TLS), for whole programs, and a [`Cable`] to it for each
//! of several instances; and [`FakeStore`], a store that fails when the test says so.

mod cable;
mod door;
mod journal;
mod state;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use framework_sdk_core::fake::Fake;
use proto::id::MasterId;
use proto::scheduler::Event;
use proto_grpc::services::operator::operator_server::OperatorServer;
use proto_grpc::services::scheduler::scheduler_server::SchedulerServer;
use proto_grpc::services::store::store_server::StoreServer;
use proto_grpc::{Identity, ServeError, serve};
use proto_pki::{Authority, LEAF_VALIDITY, PkiError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tonic::service::Routes;

use cable::Wiring;
use door::Door;

use crate::profile::Profile;

pub use cable::{Cable, Cut};
pub use framework_sdk_core::fake::FakeState;
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
    masters: usize,
    stop: watch::Sender<bool>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    begun: Instant,
}

/// The session that stands.
struct Session {
    number: u64,
    cable: usize,
    sender: mpsc::UnboundedSender<Result<Event, Status>>,
}

#[derive(Default)]
struct State {
    fake: Fake,
    /// What frameworks keep.
    kept: FakeState,
    /// The ways to the masters; the first one is that of all who have none of their own.
    cables: Vec<Wiring>,
    session: Option<Session>,
    sessions: u64,
    is_ticking: bool,
    /// The cluster is dropped.
    is_over: bool,
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
        let state = State { fake: Fake::new(), ..State::default() };
        let (changed, begun) = (watch::Sender::new(0), Instant::now());
        let shared = Arc::new(Shared { state: Mutex::new(state), changed, begun });
        let cluster = FakeCluster { authority, shared, masters: count, stop: watch::Sender::new(false) };
        cluster.lay_cable().await?;
        Ok(cluster)
    }

    /// One door more to each master; the number of this way to them.
    async fn lay_cable(&self) -> Result<usize, FakeError> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..self.masters {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?.to_string());
            listeners.push(listener);
        }
        let cable = {
            let mut state = self.shared.lock();
            state.cables.push(Wiring::new(addresses));
            state.cables.len() - 1
        };
        for (number, listener) in listeners.into_iter().enumerate() {
            let credentials =
                self.authority.issue(&Identity::Master(MasterId(number as u64 + 1)), LEAF_VALIDITY)?;
            let door = Door { shared: self.shared.clone(), number, cable };
            let routes = Routes::new(SchedulerServer::new(door.clone()))
                .add_service(OperatorServer::new(door.clone()))
                .add_service(StoreServer::new(door));
            let mut stopped = self.stop.subscribe();
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
        Ok(cable)
    }

    /// Credentials for somebody, and where the masters are.
    pub fn profile(&self, who: &Identity) -> Result<Profile, FakeError> {
        self.profile_by(0, who)
    }

    fn profile_by(&self, cable: usize, who: &Identity) -> Result<Profile, FakeError> {
        let credentials = self.authority.issue(who, LEAF_VALIDITY)?;
        Ok(Profile { credentials, masters: self.shared.lock().cables[cable].addresses.clone() })
    }

    /// A way to the masters of somebody's own: of one of several instances, which can be cut off.
    pub async fn cable(&self, who: &Identity) -> Result<Cable, FakeError> {
        let number = self.lay_cable().await?;
        Ok(Cable::new(self.shared.clone(), number, self.profile_by(number, who)?))
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
        state.heartbeat_at.get_or_insert_with(Instant::now);
        self.shared.tick(&mut state);
        self.shared.flush(state);
    }

    /// Does something with the pretend master; what it then has to say is sent.
    pub fn with<R>(&self, act: impl FnOnce(&mut Fake) -> R) -> R {
        let mut state = self.shared.lock();
        let result = act(&mut state.fake);
        self.shared.flush(state);
        result
    }

    /// Does something with what frameworks keep on the pretend masters, or looks at it.
    pub fn with_state<R>(&self, act: impl FnOnce(&mut FakeState) -> R) -> R {
        let mut state = self.shared.lock();
        let result = act(&mut state.kept);
        self.shared.notify(state);
        result
    }

    /// Resolves when something holds of what frameworks keep.
    pub async fn until_state(&self, holds: impl Fn(&FakeState) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !holds(&self.shared.lock().kept) {
            // The sender lives as long as `self`, so this never fails.
            let _ = changed.changed().await;
        }
    }

    /// All leases run out now, as if their holders had been silent for long enough: whoever has its turn has lost it. They
    /// run out in real time, too.
    pub fn let_leases_run_out(&self) {
        self.with_state(FakeState::let_leases_run_out);
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
        let mut state = self.shared.lock();
        state.session = None;
        state.is_over = true;
        self.shared.notify(state);
    }
}

/// Lets everything happen at its time, as long as the cluster is there.
async fn tick(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.lock();
        if state.is_over {
            return;
        }
        state.kept.attend(shared.now());
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

    /// The pretend masters' clock.
    fn now(&self) -> proto_machine::Instant {
        let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        proto_machine::Instant::from_nanos(nanos)
    }

    /// Things happen at their time from now on.
    fn tick(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_ticking, true) {
            tokio::spawn(tick(Arc::downgrade(self)));
        }
    }

    fn flush(&self, mut state: MutexGuard<'_, State>) {
        let State { life, fake, .. } = &mut *state;
        if let Some(life) = life {
            life.attend(self.now(), fake);
        }
        while let Some(event) = state.fake.next_event() {
            if let Some(session) = &state.session {
                // A session that is gone is noticed by its reader.
                let _ = session.sender.send(Ok(event.clone()));
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
        state.kept.elect(self.now());
        state.end_session();
        state.leader = (state.leader + 1) % state.cables[0].addresses.len().max(1);
    }
}

impl State {
    /// Whether this session is the one that stands.
    fn stands(&self, number: u64) -> bool {
        self.session.as_ref().is_some_and(|session| session.number == number)
    }

    /// Where the leader is reached by a cable.
    fn leader_by(&self, cable: usize) -> String {
        self.cables[cable].addresses.get(self.leader).cloned().unwrap_or_default()
    }

    fn end_session(&mut self) {
        if self.session.take().is_some() {
            self.journal.note(Noted::Broke);
        }
    }
}
