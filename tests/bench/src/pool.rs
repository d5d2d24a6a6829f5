//! Pretend agents on real sockets: each has a certificate and a session of its own, and says of every task that it runs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Between two tries of an agent that has no leader.
const PAUSE: Duration = Duration::from_millis(100);
/// So often an agent says something at least; what the masters ask for is more.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// What each has.
const CPUS_MILLI: u64 = 4000;
const MEM_BYTES: u64 = 8 << 30;

/// So many agents; they end with it.
pub struct Pool {
    _agents: JoinSet<()>,
}

/// One of them.
struct Agent {
    info: AgentInfo,
    credentials: Credentials,
    masters: Vec<String>,
    epoch: Epoch,
    runs: BTreeMap<RunId, RunReport>,
}

// === impl Pool ===

impl Pool {
    /// Starts them: the cluster's authority vouches for each.
    pub fn start(count: usize, authority: &Authority, profile: &Profile) -> Result<Pool, String> {
        let mut agents = JoinSet::new();
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
            let agent = Agent { info, credentials, masters, epoch: Epoch::default(), runs: BTreeMap::new() };
            agents.spawn(agent.live());
        }
        Ok(Pool { _agents: agents })
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
        let runs = self.runs.values().cloned().collect();
        let register = Register { agent: self.info.clone(), epoch: self.epoch, runs };
        say.send(ToMaster::Register(register)).ok()?;
        let mut client = AgentLinkClient::new(channel);
        let mut heard = client.session(UnboundedReceiverStream::new(said)).await.ok()?.into_inner();
        let mut beats = tokio::time::interval(HEARTBEAT);
        loop {
            let message = tokio::select! {
                message = heard.message() => message.ok()??,
                _ = beats.tick() => {
                    say.send(ToMaster::Heartbeat).ok()?;
                    continue;
                }
            };
            match message.kind {
                ToAgentKind::Registered(registered) => self.epoch = registered.epoch,
                ToAgentKind::Launch(launch) => {
                    for run in launch.runs {
                        let status = self.status(run.run, &run.task.id, TaskState::Running, 1);
                        let framework = run.framework.clone();
                        say.send(ToMaster::Update(Update { framework, status: status.clone() })).ok()?;
                        let report =
                            RunReport { framework: run.framework, run: run.run, status, task: run.task };
                        self.runs.insert(run.run, report);
                    }
                }
                ToAgentKind::Kill(kill) => {
                    let Some(report) = self.runs.remove(&kill.run) else { continue };
                    let status = self.status(kill.run, &report.task.id, TaskState::Killed, 2);
                    say.send(ToMaster::Update(Update { framework: report.framework, status })).ok()?;
                }
                ToAgentKind::Shutdown(_) | ToAgentKind::Redirect(_) => return None,
                ToAgentKind::Acknowledge(_)
                | ToAgentKind::Heartbeat
                | ToAgentKind::DestroyVolumes(_)
                | ToAgentKind::Masters(_) => {}
            }
        }
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
