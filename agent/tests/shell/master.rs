//! A master that does what the test wants: it takes sessions of agents and lets the test speak on them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::agent_link::{
    Acknowledge, Kill, Launch, Register, Registered, SecretsReply, SecretsRequest, TaskRun, ToAgent,
    ToAgentKind, ToMaster, Update,
};
use proto::id::{Epoch, FrameworkId, MasterId, RunId, TaskId};
use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::task::{CommandInfo, TaskInfo, TaskState, TaskStatus};
use proto_grpc::services::agent_link::agent_link_server::{AgentLink, AgentLinkServer};
use proto_grpc::{caller, serve};
use proto_pki::{Authority, Identity, LEAF_VALIDITY};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::soon;

/// A master's door and the sessions that come through it.
pub struct Master {
    pub address: String,
    pub epoch: u64,
    pub secrets: Arc<Mutex<Secrets>>,
    sessions: mpsc::UnboundedReceiver<Session>,
    serving: JoinHandle<()>,
}

/// One session of one agent.
pub struct Session {
    pub agent: Identity,
    epoch: u64,
    said: Streaming<ToMaster>,
    tell: mpsc::UnboundedSender<Result<ToAgent, Status>>,
}

/// What secrets are answered with, in turn, and what was asked for.
#[derive(Default)]
pub struct Secrets {
    pub answers: VecDeque<Result<SecretsReply, Status>>,
    pub asked: Vec<SecretsRequest>,
}

struct Door {
    sessions: mpsc::UnboundedSender<Session>,
    secrets: Arc<Mutex<Secrets>>,
}

#[tonic::async_trait]
impl AgentLink for Door {
    type SessionStream = UnboundedReceiverStream<Result<ToAgent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<ToMaster>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let agent = caller(&request)?;
        let (tell, told) = mpsc::unbounded_channel();
        let session = Session { agent, epoch: 0, said: request.into_inner(), tell };
        self.sessions.send(session).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(UnboundedReceiverStream::new(told)))
    }

    async fn secrets(&self, request: Request<SecretsRequest>) -> Result<Response<SecretsReply>, Status> {
        let mut secrets = self.secrets.lock().unwrap();
        secrets.asked.push(request.into_inner());
        let answer = secrets.answers.pop_front();
        answer.unwrap_or_else(|| Err(Status::unavailable("not yet"))).map(Response::new)
    }
}

impl Master {
    pub async fn open(ca: &Authority, number: u64, more: Routes) -> Master {
        let credentials = ca.issue(&Identity::Master(MasterId(number)), LEAF_VALIDITY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (door, sessions) = mpsc::unbounded_channel();
        let secrets = Arc::<Mutex<Secrets>>::default();
        let door = Door { sessions: door, secrets: secrets.clone() };
        let routes = more.add_service(AgentLinkServer::new(door));
        let serving = tokio::spawn(async move {
            serve(listener, &credentials, routes, std::future::pending()).await.unwrap();
        });
        Master { address, epoch: number, secrets, sessions, serving }
    }

    /// The next session; it is not yet answered.
    pub async fn session(&mut self) -> Session {
        let mut session = soon("a session", self.sessions.recv()).await.expect("the door is open");
        session.epoch = self.epoch;
        session
    }

    /// The next session, admitted, and what it registered with.
    pub async fn admit(&mut self) -> (Session, Register) {
        let mut session = self.session().await;
        let register = session.admit().await;
        (session, register)
    }

    /// Ends as a process that is killed: all its connections break.
    pub async fn die(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

impl Session {
    /// Waits for Register, and admits.
    pub async fn admit(&mut self) -> Register {
        let ToMaster::Register(register) = self.next().await else { panic!("Register comes first") };
        self.tell(ToAgentKind::Registered(Registered {
            epoch: Epoch(self.epoch),
            heartbeat_interval: Duration::from_secs(1),
            silence_limit: Duration::from_secs(600),
        }));
        register
    }

    pub async fn next(&mut self) -> ToMaster {
        soon("a word of the agent", self.said.message()).await.expect("no fault").expect("no end")
    }

    /// Whether the agent has closed the session.
    pub async fn closed(&mut self) {
        soon("the end of the session", async { while let Ok(Some(_)) = self.said.message().await {} }).await;
    }

    pub fn tell(&self, kind: ToAgentKind) {
        // The agent may have gone, as the test wanted it.
        let _ = self.tell.send(Ok(ToAgent { epoch: Epoch(self.epoch), kind }));
    }

    pub fn launch(&self, runs: Vec<TaskRun>) {
        self.tell(ToAgentKind::Launch(Launch { runs }));
    }

    pub fn kill(&self, run: RunId, grace: Duration) {
        self.tell(ToAgentKind::Kill(Kill { run, grace }));
    }

    pub fn acknowledge(&self, status: &TaskStatus) {
        let run = status.run.expect("a run");
        self.tell(ToAgentKind::Acknowledge(Acknowledge { run, sequence: status.sequence }));
    }

    /// The next update, not acknowledged.
    pub async fn update(&mut self) -> TaskStatus {
        loop {
            match self.next().await {
                ToMaster::Update(Update { status, .. }) => return status,
                ToMaster::Heartbeat | ToMaster::VolumesDestroyed(_) => {}
                ToMaster::Register(register) => panic!("registered twice: {register:?}"),
            }
        }
    }

    /// The next update, acknowledged.
    pub async fn acknowledged(&mut self) -> TaskStatus {
        let status = self.update().await;
        self.acknowledge(&status);
        status
    }

    /// Acknowledges everything until all these runs are over; the statuses of each, in order.
    pub async fn until_over(&mut self, runs: &[RunId]) -> BTreeMap<RunId, Vec<TaskStatus>> {
        let mut seen: BTreeMap<RunId, Vec<TaskStatus>> = BTreeMap::new();
        let mut over = 0;
        while over < runs.len() {
            let status = self.acknowledged().await;
            let list = seen.entry(status.run.expect("a run")).or_default();
            if list.iter().all(|earlier| earlier.sequence < status.sequence) {
                over += usize::from(status.state.is_terminal());
                list.push(status);
            }
        }
        seen
    }

    /// Starts a run and waits until it runs.
    pub async fn start(&mut self, given: TaskRun) -> TaskStatus {
        let run = given.run;
        self.launch(vec![given]);
        let status = self.acknowledged().await;
        assert_eq!((status.run, status.state), (Some(run), TaskState::Running), "{status:?}");
        status
    }
}

pub fn framework() -> FrameworkId {
    FrameworkId::new("fw-1").unwrap()
}

pub fn task(number: u64) -> TaskId {
    TaskId::new(&format!("t.{number}")).unwrap()
}

/// Run `number` of task `number`: a script for the shell.
pub fn script(number: u64, script: &str) -> TaskRun {
    let mut given = command(number, &[script]);
    given.task.command.shell = true;
    given
}

/// Run `number` of task `number`: a program and its arguments.
pub fn command(number: u64, argv: &[&str]) -> TaskRun {
    let amount = Amount::scalars(Quantities::of(50, 32 << 20)).with_ports(Ranges::single(31000, 31001));
    TaskRun {
        run: RunId::at(number, 0),
        framework: framework(),
        principal: "framework/jobs".into(),
        volumes: Vec::new(),
        task: TaskInfo {
            id: task(number),
            name: "t".into(),
            command: CommandInfo {
                argv: argv.iter().map(|word| (*word).to_owned()).collect(),
                ..CommandInfo::default()
            },
            resources: Resources::unreserved(amount),
            kill_grace: Duration::from_secs(5),
            labels: BTreeMap::new(),
            group: None,
            checks: proto::check::Checks::default(),
            longest_run: None,
        },
    }
}
