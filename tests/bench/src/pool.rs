//! Pretend agents on real sockets: each has a certificate and a session of its own, and says of every task that it is over, or that it
//! runs, and if it is told to, how it stands again and again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use framework_sdk::Profile;
use framework_sdk::agent::AgentInfo;
use framework_sdk::agent_link::{Register, RunReport, ToAgentKind, ToMaster, Update};
use framework_sdk::attributes::Attributes;
use framework_sdk::door::{Authority, Credentials, Identity, LEAF_VALIDITY, PeerRole, channel};
use framework_sdk::id::{AgentId, Epoch, RunId};
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::task::{StatusReason, StatusSource, TaskState, TaskStatus};
use proto_grpc::services::agent_link::agent_link_client::AgentLinkClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::figures::Timings;

/// Between two tries of an agent that has no leader.
const PAUSE: Duration = Duration::from_millis(100);
/// So often an agent says something at least; what the masters ask for is more.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// So often an agent that reports much does it.
const BEAT: Duration = Duration::from_millis(100);
/// What each has.
const CPUS_MILLI: u64 = 4000;
const MEM_BYTES: u64 = 8 << 30;

/// So many agents; they end with it.
pub struct Pool {
    _agents: JoinSet<()>,
    orders: watch::Sender<Orders>,
    /// What all of them did.
    pub tally: Arc<Tally>,
}

/// How long their tasks last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// They run until they are killed.
    Stay,
    /// They finish as soon as they are launched.
    Finish,
}

/// What they are to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    /// Status updates that each makes in a thousand seconds.
    milli_updates: u64,
    /// How often all have gone away and come back.
    reconnects: u64,
}

/// What they did.
#[derive(Default)]
pub struct Tally {
    /// Updates that were made.
    pub told: AtomicU64,
    /// Updates that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Sessions in which an agent was taken in.
    pub registered: AtomicU64,
    /// How long the acknowledgements took, and the time between two words of the leader's that say nothing else.
    pub times: Mutex<(Timings, Timings)>,
}

/// One of them.
struct Agent {
    info: AgentInfo,
    credentials: Credentials,
    masters: Vec<String>,
    epoch: Epoch,
    tasks: Tasks,
    runs: BTreeMap<RunId, Run>,
    /// Runs of which all was acknowledged, the first to be told of first.
    idle: VecDeque<RunId>,
    orders: watch::Receiver<Orders>,
    tally: Arc<Tally>,
}

/// A run of it, and whether the last that was told of it is acknowledged.
struct Run {
    report: RunReport,
    told: Option<Instant>,
}

// === impl Pool ===

impl Pool {
    /// Starts them: the cluster's authority vouches for each.
    pub fn start(
        count: usize,
        tasks: Tasks,
        authority: &Authority,
        profile: &Profile,
    ) -> Result<Pool, String> {
        let mut agents = JoinSet::new();
        let (orders, heard) = watch::channel(Orders::default());
        let tally = Arc::new(Tally::default());
        for number in 0..count {
            let id = AgentId::new(&format!("pretend-{number}")).map_err(|bad| bad.to_string())?;
            let credentials = authority.issue(&Identity::Agent(id.clone()), LEAF_VALIDITY);
            let credentials = credentials.map_err(|error| error.to_string())?;
            let info = AgentInfo {
                hostname: id.to_string(),
                id,
                // Nobody listens there: outputs of pretend tasks cannot be read.
                address: "127.0.0.1:9".to_owned(),
                resources: Resources::unreserved(Amount::scalars(Quantities::of(CPUS_MILLI, MEM_BYTES))),
                attributes: Attributes::default(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let masters = profile.masters.clone();
            let agent = Agent {
                info,
                credentials,
                masters,
                epoch: Epoch::default(),
                tasks,
                runs: BTreeMap::new(),
                idle: VecDeque::new(),
                orders: heard.clone(),
                tally: tally.clone(),
            };
            agents.spawn(agent.live());
        }
        Ok(Pool { _agents: agents, orders, tally })
    }

    /// From now on all of them together say so many times a second how one of their tasks stands. Of one task the next is said
    /// only when the last was acknowledged, as agents do.
    pub fn report(&self, updates_a_second: u64, agents: u64) {
        self.orders.send_modify(|orders| orders.milli_updates = updates_a_second * 1000 / agents.max(1));
    }

    /// All of them lose their connection at once, and come back.
    pub fn reconnect(&self) {
        self.orders.send_modify(|orders| orders.reconnects += 1);
    }
}

// === impl Agent ===

impl Agent {
    async fn live(mut self) {
        for at in 0.. {
            let master = self.masters[at % self.masters.len()].clone();
            // Whoever cannot be reached, or does not lead, is one of several.
            let _ = self.session(&master).await;
            let _ = tokio::time::timeout(PAUSE, std::future::pending::<()>()).await;
        }
    }

    async fn session(&mut self, master: &str) -> Option<()> {
        let channel = channel(master, PeerRole::Master, &self.credentials).await.ok()?;
        let (say, said) = mpsc::unbounded_channel();
        let runs = self.runs.values().map(|run| run.report.clone()).collect();
        let register = Register { agent: self.info.clone(), epoch: self.epoch, runs };
        say.send(ToMaster::Register(register)).ok()?;
        let mut client = AgentLinkClient::new(channel);
        let mut heard = client.session(UnboundedReceiverStream::new(said)).await.ok()?.into_inner();
        let mut beats = tokio::time::interval(HEARTBEAT);
        let mut reports = tokio::time::interval(BEAT);
        reports.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut due, mut beat) = (0, None::<Instant>);
        let mut orders = self.orders.clone();
        let reconnects = orders.borrow_and_update().reconnects;
        loop {
            let message = tokio::select! {
                message = heard.message() => message.ok()??,
                _ = beats.tick() => {
                    say.send(ToMaster::Heartbeat).ok()?;
                    continue;
                }
                changed = orders.changed() => {
                    changed.ok()?;
                    if orders.borrow_and_update().reconnects > reconnects {
                        return None;
                    }
                    continue;
                }
                _ = reports.tick(), if self.orders.borrow().milli_updates > 0 => {
                    // What cannot be said now is not made up for: there is no task of which the last is acknowledged.
                    due = due % 1_000 + orders.borrow().milli_updates / 10;
                    for _ in 0..due / 1_000 {
                        let Some(run) = self.idle.pop_front() else { break };
                        self.tell(run, TaskState::Running, &say)?;
                    }
                    continue;
                }
            };
            match message.kind {
                ToAgentKind::Registered(registered) => {
                    self.epoch = registered.epoch;
                    self.tally.registered.fetch_add(1, Ordering::Relaxed);
                    // Whatever is not acknowledged is said again.
                    for run in self.runs.values().filter(|run| run.told.is_some()) {
                        let RunReport { framework, status, .. } = run.report.clone();
                        say.send(ToMaster::Update(Update { framework, status })).ok()?;
                    }
                }
                ToAgentKind::Launch(launch) => {
                    for run in launch.runs {
                        if self.runs.contains_key(&run.run) {
                            continue;
                        }
                        let status = self.status(run.run, &run.task.id, TaskState::Staging, 0);
                        let report =
                            RunReport { framework: run.framework, run: run.run, status, task: run.task };
                        self.runs.insert(run.run, Run { report, told: None });
                        let state = match self.tasks {
                            Tasks::Stay => TaskState::Running,
                            Tasks::Finish => TaskState::Finished,
                        };
                        self.tell(run.run, state, &say)?;
                    }
                }
                ToAgentKind::Kill(kill) => {
                    self.tell(kill.run, TaskState::Killed, &say)?;
                    self.runs.remove(&kill.run);
                }
                ToAgentKind::Acknowledge(word) => {
                    let Some(run) = self.runs.get_mut(&word.run) else { continue };
                    if run.report.status.sequence == word.sequence
                        && let Some(told) = run.told.take()
                    {
                        if run.report.status.state.is_terminal() {
                            self.runs.remove(&word.run);
                        } else {
                            self.idle.push_back(word.run);
                        }
                        self.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                        self.tally.times().0.note(told.elapsed());
                    }
                }
                ToAgentKind::Heartbeat => {
                    let now = Instant::now();
                    if let Some(last) = beat.replace(now) {
                        self.tally.times().1.note(now - last);
                    }
                }
                ToAgentKind::Shutdown(_) | ToAgentKind::Redirect(_) => return None,
                ToAgentKind::DestroyVolumes(_) | ToAgentKind::Masters(_) => {}
            }
        }
    }

    /// Says how a run stands, as its next status; `None` when nobody listens any more.
    fn tell(&mut self, run: RunId, state: TaskState, say: &mpsc::UnboundedSender<ToMaster>) -> Option<()> {
        let Some(Run { report, .. }) = self.runs.get(&run) else { return Some(()) };
        let sequence = report.status.sequence + 1;
        let mut status = self.status(run, &report.task.id, state, sequence);
        // Something that changes each time, as the health of a task may.
        status.healthy = Some(sequence % 2 == 0);
        let framework = report.framework.clone();
        say.send(ToMaster::Update(Update { framework, status: status.clone() })).ok()?;
        self.tally.told.fetch_add(1, Ordering::Relaxed);
        if let Some(run) = self.runs.get_mut(&run) {
            (run.report.status, run.told) = (status, Some(Instant::now()));
        }
        Some(())
    }

    fn status(
        &self,
        run: RunId,
        task: &framework_sdk::id::TaskId,
        state: TaskState,
        sequence: u64,
    ) -> TaskStatus {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TaskStatus {
            task: task.clone(),
            state,
            reason: StatusReason::None,
            source: StatusSource::Agent,
            message: String::new(),
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            agent: Some(self.info.id.clone()),
            run: Some(run),
            sequence,
            exit: None,
            pid: 0,
            healthy: None,
            ready: None,
            grace: None,
        }
    }
}

// === impl Tally ===

impl Tally {
    /// What is timed.
    pub fn times(&self) -> std::sync::MutexGuard<'_, (Timings, Timings)> {
        // Nobody panics while holding it.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
