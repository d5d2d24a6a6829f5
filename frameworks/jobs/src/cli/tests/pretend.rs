//! A pretend cluster: it says what the test tells it to, and notes what it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use framework_sdk::Profile;
use framework_sdk::agent::AgentInfo;
use framework_sdk::agent_link::{ExecInput, ExecOutput, LogsChunk, LogsRequest};
use framework_sdk::attributes::Attributes;
use framework_sdk::demand::Demand;
use framework_sdk::door::{Authority, Identity, LEAF_VALIDITY, caller, serve};
use framework_sdk::explain::{Explanation, FunnelStep, NearMiss, Remedy, RemedyStep};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{AgentId, FrameworkId, MasterId};
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::role::Role;
use framework_sdk::views::{
    Call, Event, Explain, FrameworkView, Join, Joined, Reply, ReplyKind, Supposed, Watch,
};
use proto_grpc::services::agent_door::agent_door_server::{AgentDoor, AgentDoorServer};
use proto_grpc::services::operator::operator_server::{Operator, OperatorServer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::cli::Screen;
use crate::wire::service::jobs_server::{Jobs, JobsServer};
use crate::wire::{
    ExplainReply, ExplainRequest, GetReply, GetRequest, JobEvent, PromoteReply, PromoteRequest,
    RollbackReply, RollbackRequest, StopReply, StopRequest, SubmitOutcome, SubmitReply, SubmitRequest,
    Summary, Task, TaskState, WatchRequest,
};

/// What the cluster says and was asked.
#[derive(Default)]
pub struct Facts {
    /// Whether there is a jobs framework.
    pub no_framework: bool,
    /// Answers to Submit before the good one.
    pub submit_errors: Vec<Status>,
    pub submitted: Vec<SubmitRequest>,
    pub stopped: Vec<String>,
    pub explained: usize,
    pub watches: usize,
    /// The events of the job; each watch begins with the first.
    pub events: Vec<JobEvent>,
    /// Later events, once a stop was asked for.
    pub after_stop: Vec<JobEvent>,
    /// The first watch breaks after so many events.
    pub break_watch_after: Option<usize>,
    pub jobs: GetReply,
    pub held: Vec<String>,
    pub demands: Vec<String>,
    /// By task and whether it is standard error: the output, whole.
    pub output: BTreeMap<(String, bool), Vec<u8>>,
    /// Demands that the masters were asked about.
    pub supposed: Vec<Supposed>,
    /// What they say to that; else all of it fits.
    pub supposed_reply: Option<ReplyKind>,
    /// The first reading of these breaks in the middle.
    pub break_output: BTreeSet<(String, bool)>,
    /// Tasks whose output has been asked for, as often as it was.
    pub read: Vec<(String, bool)>,
}

pub struct Pretend {
    pub profile: Profile,
    facts: Arc<Mutex<Facts>>,
    changed: watch::Sender<u64>,
    pub agent_address: String,
}

#[derive(Clone)]
struct Door {
    facts: Arc<Mutex<Facts>>,
    changed: watch::Sender<u64>,
    framework_address: String,
    agent_address: String,
}

// === impl Pretend ===

impl Pretend {
    pub async fn start(facts: Facts) -> Pretend {
        let authority = Authority::create("test").unwrap();
        let facts = Arc::new(Mutex::new(facts));
        let changed = watch::Sender::new(0);
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (master, framework, agent) = (listen().await, listen().await, listen().await);
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let door = Door {
            facts: facts.clone(),
            changed: changed.clone(),
            framework_address: address(&framework),
            agent_address: address(&agent),
        };
        let masters = vec![address(&master)];
        let doors = [
            (master, Identity::Master(MasterId(1)), Routes::new(OperatorServer::new(door.clone()))),
            (framework, Identity::Framework("jobs".into()), Routes::new(JobsServer::new(door.clone()))),
            (
                agent,
                Identity::Agent(AgentId::new("a1").unwrap()),
                Routes::new(AgentDoorServer::new(door.clone())),
            ),
        ];
        for (listener, identity, routes) in doors {
            let credentials = authority.issue(&identity, LEAF_VALIDITY).unwrap();
            tokio::spawn(async move { serve(listener, &credentials, routes, std::future::pending()).await });
        }
        let credentials = authority.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap();
        let profile = Profile { credentials, masters };
        Pretend { profile, facts, changed, agent_address: door.agent_address }
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Facts) -> T) -> T {
        let result = act(&mut self.facts.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Resolves when something holds of what was asked.
    pub async fn until(&self, holds: impl Fn(&Facts) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(&self.facts.lock().unwrap()) {
            changed.changed().await.unwrap();
        }
    }

    /// A task of the job, on the one agent.
    pub fn task(&self, id: &str, state: TaskState) -> Task {
        Task {
            task_id: id.into(),
            name: id.into(),
            attempt: 1,
            state: state.into(),
            agent_id: "a1".into(),
            hostname: "host-1".into(),
            agent_address: self.agent_address.clone(),
            ..Task::default()
        }
    }
}

pub fn event(wanted: u32, over: bool, tasks: Vec<Task>) -> JobEvent {
    let count = |state| tasks.iter().filter(|task| task.state() == state).count() as u32;
    let summary = Summary {
        wanted,
        running: count(TaskState::TaskRunning),
        finished: count(TaskState::TaskFinished),
        failed: count(TaskState::TaskFailed),
        over,
        ..Summary::default()
    };
    JobEvent { summary: Some(summary), tasks, framework_id: "F1".into(), ..JobEvent::default() }
}

// === impl Door ===

impl Door {
    fn with<T>(&self, act: impl FnOnce(&mut Facts) -> T) -> T {
        let result = act(&mut self.facts.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }
}

fn agent(address: &str) -> AgentInfo {
    AgentInfo {
        id: AgentId::new("a1").unwrap(),
        hostname: "host-1".into(),
        address: address.to_owned(),
        resources: Resources::EMPTY,
        attributes: Attributes::default(),
        version: String::new(),
    }
}

fn framework(address: &str) -> FrameworkView {
    FrameworkView {
        id: FrameworkId::new("F1").unwrap(),
        info: FrameworkInfo {
            name: "jobs".into(),
            roles: vec![Role::default_role()],
            failover_timeout: FrameworkInfo::FAILOVER_TIMEOUT_DEFAULT,
            address: address.to_owned(),
            labels: BTreeMap::new(),
        },
        principal: "jobs".into(),
        connected: true,
        used: Quantities::ZERO,
        offered: Quantities::ZERO,
        tasks: 0,
        since_ms: 1,
        suppressed_roles: Vec::new(),
    }
}

fn explanation() -> Explanation {
    Explanation {
        subject: "demand web".into(),
        code: "too-large".into(),
        verdict: "larger than any agent".into(),
        funnel: vec![FunnelStep {
            name: "cpus".into(),
            left: 0,
            fell_out: vec!["host-1".into()],
            more: 2,
            ..FunnelStep::default()
        }],
        nearest: vec![NearMiss {
            agent: AgentId::new("a1").unwrap(),
            hostname: "host-1".into(),
            lacking: Amount::scalars(Quantities::of(2000, 0)),
            rule: String::new(),
        }],
        help: vec!["ask for 2 cpus less\u{1b}[31m".into()],
        tried: vec![Remedy {
            steps: vec![RemedyStep { change: "when host-1 is resumed".into(), ..RemedyStep::default() }],
            helps: false,
            outcome: "too much is in use".into(),
            code: "no-room".into(),
        }],
        untried: 3,
        ..Explanation::default()
    }
}

#[tonic::async_trait]
impl Operator for Door {
    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        caller(&request)?;
        let kind = match request.into_inner() {
            Call::Frameworks(_) if self.with(|facts| facts.no_framework) => ReplyKind::Frameworks(Vec::new()),
            Call::Frameworks(_) => ReplyKind::Frameworks(vec![framework(&self.framework_address)]),
            Call::Explain(Explain::Supposed(supposed)) => self.with(|facts| {
                let fits = |demand: &Demand| Explanation {
                    code: "served".into(),
                    fits: demand.count,
                    ..Explanation::default()
                };
                let all = supposed.demands.iter().map(fits).collect();
                facts.supposed.push(supposed);
                facts.supposed_reply.clone().unwrap_or(ReplyKind::Explain(all))
            }),
            Call::Explain(_) => {
                self.with(|facts| facts.explained += 1);
                ReplyKind::Explain(vec![explanation()])
            }
            Call::Agents(_) => {
                let info = agent(&self.agent_address);
                ReplyKind::Agents(vec![framework_sdk::views::AgentView {
                    info,
                    state: framework_sdk::agent::AgentState::Active,
                    total: Resources::EMPTY,
                    used: Quantities::ZERO,
                    offered: Quantities::ZERO,
                    tasks: 0,
                    since_ms: 0,
                    drain: None,
                }])
            }
            other => return Err(Status::unimplemented(format!("{other:?}"))),
        };
        Ok(Response::new(Reply { as_of: 1, from_leader: true, kind }))
    }

    type ListStream = ReceiverStream<Result<Reply, Status>>;
    async fn list(&self, _: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("list"))
    }

    type WatchStream = ReceiverStream<Result<Event, Status>>;
    async fn watch(&self, _: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }

    async fn join(&self, _: Request<Join>) -> Result<Response<Joined>, Status> {
        Err(Status::unimplemented("join"))
    }
}

#[tonic::async_trait]
impl Jobs for Door {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        caller(&request)?;
        let request = request.into_inner();
        self.with(|facts| {
            facts.submitted.push(request.clone());
            if !facts.submit_errors.is_empty() {
                return Err(facts.submit_errors.remove(0));
            }
            Ok(Response::new(SubmitReply {
                name: request.spec.unwrap_or_default().name,
                revision: 1,
                outcome: SubmitOutcome::SubmitCreated.into(),
                framework_id: "F1".into(),
            }))
        })
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetReply>, Status> {
        let name = request.into_inner().name;
        let mut reply = self.with(|facts| facts.jobs.clone());
        reply.jobs.retain(|job| name.is_empty() || job.spec.as_ref().is_some_and(|spec| spec.name == name));
        if reply.jobs.is_empty() && !name.is_empty() {
            return Err(Status::not_found(format!("there is no job {name:?}")));
        }
        Ok(Response::new(reply))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopReply>, Status> {
        let name = request.into_inner().name;
        self.with(|facts| {
            facts.stopped.push(name);
            let more = std::mem::take(&mut facts.after_stop);
            facts.events.extend(more);
        });
        Ok(Response::new(StopReply { was_stopped: false, killing: 1 }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<JobEvent, Status>> + Send>>;
    async fn promote(&self, _: Request<PromoteRequest>) -> Result<Response<PromoteReply>, Status> {
        Ok(Response::new(PromoteReply { revision: 2 }))
    }

    async fn rollback(&self, _: Request<RollbackRequest>) -> Result<Response<RollbackReply>, Status> {
        Err(Status::already_exists("job web has nothing to go back to"))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let until_over = request.into_inner().until_over;
        let break_after = self.with(|facts| {
            facts.watches += 1;
            facts.break_watch_after.take()
        });
        let (sender, events) = mpsc::channel(1);
        let (door, mut changed) = (self.clone(), self.changed.subscribe());
        tokio::spawn(async move {
            let mut at = 0;
            loop {
                let next = door.facts.lock().unwrap().events.get(at).cloned();
                if break_after == Some(at) {
                    let _ = sender.send(Err(Status::unavailable("restarting"))).await;
                    return;
                }
                let Some(event) = next else {
                    tokio::select! {
                        changed = changed.changed() => changed.unwrap(),
                        () = sender.closed() => return,
                    }
                    continue;
                };
                at += 1;
                let over = event.summary.is_some_and(|summary| summary.over);
                if sender.send(Ok(event)).await.is_err() || (over && until_over) {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        self.with(|facts| {
            Ok(Response::new(ExplainReply {
                framework_id: "F1".into(),
                demand_ids: facts.demands.clone(),
                held: facts.held.clone(),
                summary: None,
            }))
        })
    }
}

#[tonic::async_trait]
impl AgentDoor for Door {
    type LogsStream = ReceiverStream<Result<LogsChunk, Status>>;
    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        caller(&request)?;
        let asked = request.into_inner();
        assert!(asked.follow && asked.tail_lines.is_none() && asked.framework.as_str() == "F1");
        let key = (asked.task.to_string(), asked.stderr);
        let (content, breaks) = self.with(|facts| {
            facts.read.push(key.clone());
            (facts.output.get(&key).cloned(), facts.break_output.remove(&key))
        });
        let mut content = content.ok_or_else(|| Status::not_found("no such task here"))?;
        content.drain(..usize::try_from(asked.offset.unwrap_or_default()).expect("small"));
        let (sender, chunks) = mpsc::channel(1);
        tokio::spawn(async move {
            let shown = if breaks { content.len() / 2 } else { content.len() };
            for piece in content[..shown].chunks(7) {
                if sender.send(Ok(LogsChunk { data: piece.to_vec(), offset: 0 })).await.is_err() {
                    return;
                }
            }
            if breaks {
                let _ = sender.send(Err(Status::unavailable("the agent restarts"))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(chunks)))
    }

    type ExecStream = ReceiverStream<Result<ExecOutput, Status>>;
    async fn exec(&self, _: Request<Streaming<ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// A screen that can be read afterwards.
#[derive(Clone, Default)]
pub struct Paper {
    out: Sheet,
    err: Sheet,
}

#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A screen that nobody looks at.
pub struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub fn screen(&self, interactive: bool) -> Screen {
        Screen { out: Box::new(self.out.clone()), err: Box::new(self.err.clone()), interactive }
    }
    pub fn out(&self) -> String {
        String::from_utf8(self.out.0.lock().unwrap().clone()).unwrap()
    }
    pub fn err(&self) -> String {
        String::from_utf8(self.err.0.lock().unwrap().clone()).unwrap()
    }
}
