//! Pretend masters and agents behind real TLS, and a terminal that remembers.

use std::collections::VecDeque;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use framework_sdk_cli::client::Client;
use framework_sdk_cli::profile::Profile;
use framework_sdk_cli::{Exit, Terminal, run_on};
use proto::agent_link::{ExecInput, ExecOutput, LogsChunk, LogsRequest};
use proto::id::{AgentId, Epoch, MasterId};
use proto::operator::{
    Call, Event, EventKind, Events, EventsAfter, Happened, Join, Joined, List, Raft, Reply, ReplyKind,
    SecretView, Snapshot, Status as Health, Token, Watch,
};
use proto::refusal::{Code, Refusal};
use proto_grpc::services::agent_door::agent_door_server::{AgentDoor, AgentDoorServer};
use proto_grpc::services::operator::operator_server::{Operator, OperatorServer};
use proto_grpc::{Identity, caller, serve, with_metrics};
use proto_pki::{Authority, LEAF_VALIDITY};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::views;

/// How a master answers.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    /// As the leader.
    #[default]
    Leads,
    /// Reads itself; sends orders on.
    Follows(String),
    /// Reads itself; knows no leader.
    Leaderless,
    /// Refuses every order.
    Refuses(Code),
}

/// What a master knows and was asked.
#[derive(Default)]
pub struct World {
    pub mood: Mood,
    pub snapshot: Snapshot,
    pub secrets: Vec<SecretView>,
    pub raft: Raft,
    pub health: Health,
    pub calls: Vec<Call>,
    pub watches: Vec<Watch>,
    /// For each watch in turn: its events; then the stream ends.
    pub scripts: VecDeque<Vec<Event>>,
    /// What happened; the first one is told while nobody waits, one more each time that somebody does.
    pub history: Vec<Happened>,
    pub told: usize,
    /// Its page of metrics.
    pub page: String,
    /// It has lists as a whole only, and finds nothing by its name.
    pub is_old: bool,
    /// So many lists break before their last part.
    pub lists_to_break: usize,
}

type Shared = Arc<Mutex<World>>;

struct PretendMaster(Shared);

fn of_list<T: Clone>(items: &[T], wanted: impl Fn(&T) -> bool) -> Vec<T> {
    items.iter().filter(|item| wanted(item)).cloned().collect()
}

/// Lists two by two.
fn in_parts(kind: ReplyKind) -> Vec<ReplyKind> {
    fn two_by_two<T: Clone>(items: &[T], kind: fn(Vec<T>) -> ReplyKind) -> Vec<ReplyKind> {
        if items.is_empty() {
            return vec![kind(Vec::new())];
        }
        items.chunks(2).map(|two| kind(two.to_vec())).collect()
    }
    match kind {
        ReplyKind::Agents(items) => two_by_two(&items, ReplyKind::Agents),
        ReplyKind::Frameworks(items) => two_by_two(&items, ReplyKind::Frameworks),
        ReplyKind::Tasks(items) => two_by_two(&items, ReplyKind::Tasks),
        ReplyKind::Offers(items) => two_by_two(&items, ReplyKind::Offers),
        ReplyKind::Roles(items) => two_by_two(&items, ReplyKind::Roles),
        other => vec![other],
    }
}

fn named(selection: &str, names: [&str; 2]) -> bool {
    selection.is_empty() || names.contains(&selection)
}

impl World {
    fn told(&mut self, asked: &EventsAfter) -> Events {
        if !asked.wait.is_zero() {
            self.told += 1;
        }
        let known: Vec<_> = self.history.iter().take(self.told.max(1)).cloned().map(Arc::new).collect();
        let (oldest, newest) =
            (known.first().map_or(0, |e| e.sequence), known.last().map_or(0, |e| e.sequence));
        let after = asked.since.unwrap_or(0);
        Events { events: known.into_iter().filter(|event| event.sequence > after).collect(), oldest, newest }
    }

    fn answer(&mut self, call: Call) -> ReplyKind {
        self.calls.push(call.clone());
        let (all, is_old) = (&self.snapshot, self.is_old);
        match call {
            Call::Status | Call::StatusHere => ReplyKind::Status(self.health.clone()),
            Call::Raft | Call::RaftHere => ReplyKind::Raft(self.raft.clone()),
            Call::Agents(list) => ReplyKind::Agents(of_list(&all.agents, |agent| {
                named(&list.agent, [agent.info.id.as_str(), &agent.info.hostname])
            })),
            Call::Frameworks(_) => ReplyKind::Frameworks(all.frameworks.clone()),
            Call::Tasks(list) => ReplyKind::Tasks(of_list(&all.tasks, |task| {
                let List { framework, agent, ended, stale: _, called: _ } = &list;
                let (id, whose) = (task.info.id.as_str(), task.framework.as_str());
                let called = list.is_called(id, &task.info.name) || list.is_called_in_full(whose, id);
                (is_old || called)
                    && named(framework, [task.framework.as_str(), &task.framework_name])
                    && named(agent, [task.agent.as_str(), &task.hostname])
                    && (*ended || !task.status.state.is_terminal())
            })),
            Call::Offers(_) => ReplyKind::Offers(all.offers.clone()),
            Call::Roles(_) => ReplyKind::Roles(all.roles.clone()),
            Call::Secrets => ReplyKind::Secrets(self.secrets.clone()),
            Call::Explain(what) => match what {
                proto::operator::Explain::Task(task) if task.task.as_str() != "web.10" => ReplyKind::Refused(
                    Refusal::new(Code::NotFound, format!("task {} is not known", task.task)),
                ),
                proto::operator::Explain::Summary => ReplyKind::Waiting(views::waiting()),
                _ => ReplyKind::Explain(vec![views::explanation()]),
            },
            Call::Events(asked) => ReplyKind::Events(self.told(&asked)),
            Call::WhoAmI => ReplyKind::Principal(views::principal("user/ada", false)),
            Call::Principals => ReplyKind::Principals(vec![views::principal("framework/jobs", true)]),
            Call::CanI(asked) => views::verdict(&asked),
            order => match &self.mood {
                Mood::Leads => match order {
                    Call::CreateToken(_) => {
                        ReplyKind::Token(Token { token: "SJ1.aa.bb.cc".into(), expires_ms: views::NOW_MS })
                    }
                    _ => ReplyKind::Done(77),
                },
                Mood::Follows(leader) => ReplyKind::Redirect(leader.clone()),
                Mood::Leaderless => ReplyKind::Redirect(String::new()),
                Mood::Refuses(code) => ReplyKind::Refused(Refusal::new(*code, "no, thank you")),
            },
        }
    }
}

#[tonic::async_trait]
impl Operator for PretendMaster {
    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        caller(&request)?;
        let mut world = self.0.lock().unwrap();
        let kind = world.answer(request.into_inner());
        Ok(Response::new(Reply { as_of: 93, from_leader: matches!(world.mood, Mood::Leads), kind }))
    }

    type ListStream = ReceiverStream<Result<Reply, Status>>;
    async fn list(&self, request: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        if self.0.lock().unwrap().is_old {
            return Err(Status::unimplemented("lists in parts"));
        }
        let Reply { as_of, from_leader, kind } = self.ask(request).await?.into_inner();
        let mut parts: Vec<_> =
            in_parts(kind).into_iter().map(|kind| Ok(Reply { as_of, from_leader, kind })).collect();
        let mut world = self.0.lock().unwrap();
        if world.lists_to_break > 0 {
            world.lists_to_break -= 1;
            parts.pop();
            parts.push(Err(Status::unavailable("it went away")));
        }
        let (sender, stream) = mpsc::channel(parts.len());
        for part in parts {
            sender.try_send(part).expect("there is room for all");
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type WatchStream = ReceiverStream<Result<Event, Status>>;
    async fn watch(&self, request: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        caller(&request)?;
        let script = {
            let mut world = self.0.lock().unwrap();
            world.watches.push(request.into_inner());
            world.scripts.pop_front()
        };
        let script = script.ok_or_else(|| Status::unavailable("no more scripts"))?;
        let (sender, events) = mpsc::channel(script.len().max(1));
        for event in script {
            sender.try_send(Ok(event)).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn join(&self, _: Request<Join>) -> Result<Response<Joined>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// An agent with fixed output.
pub struct PretendAgent {
    pub chunks: Vec<&'static [u8]>,
    pub asked: Arc<Mutex<Vec<LogsRequest>>>,
    /// So many streams break after their first chunk, as when the process of the agent dies.
    pub breaks: Arc<Mutex<usize>>,
}

impl PretendAgent {
    /// One that has no output.
    pub fn silent() -> PretendAgent {
        PretendAgent { chunks: Vec::new(), asked: Arc::default(), breaks: Arc::default() }
    }
}

#[tonic::async_trait]
impl AgentDoor for PretendAgent {
    type LogsStream = ReceiverStream<Result<LogsChunk, Status>>;
    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        caller(&request)?;
        let start = request.get_ref().offset.unwrap_or(0);
        self.asked.lock().unwrap().push(request.into_inner());
        if self.chunks.is_empty() {
            return Err(Status::not_found("the sandbox is gone"));
        }
        let breaks = {
            let mut left = self.breaks.lock().unwrap();
            let breaks = *left > 0;
            *left = left.saturating_sub(1);
            breaks
        };
        let (sender, chunks) = mpsc::channel(self.chunks.len() + 1);
        let mut offset = 0;
        for data in &self.chunks {
            let end = offset + data.len() as u64;
            if end > start {
                let rest = &data[usize::try_from(start.saturating_sub(offset)).unwrap()..];
                let chunk = LogsChunk { data: rest.to_vec(), offset: offset.max(start) };
                sender.try_send(Ok(chunk)).unwrap();
                if breaks {
                    sender.try_send(Err(Status::unavailable("the agent dies"))).unwrap();
                    break;
                }
            }
            offset = end;
        }
        Ok(Response::new(ReceiverStream::new(chunks)))
    }

    type ExecStream = ReceiverStream<Result<ExecOutput, Status>>;
    async fn exec(&self, _: Request<Streaming<ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// A cluster's authority, and its processes as long as this lives.
pub struct Pool {
    ca: Authority,
    stops: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Pool {
    pub fn new() -> Self {
        Pool { ca: Authority::create("pool-1").unwrap(), stops: Mutex::new(Vec::new()) }
    }

    /// A master at work; its address and what it knows.
    pub async fn master(&self, id: u64) -> (String, Shared) {
        let world = World {
            snapshot: views::snapshot(),
            secrets: views::secrets(),
            raft: views::members(Some(1), &[]),
            health: views::status(0),
            history: views::history(),
            told: 3,
            page: views::page("log_sync_seconds"),
            ..World::default()
        };
        let shared = Arc::new(Mutex::new(world));
        let page = shared.clone();
        let routes = Routes::new(OperatorServer::new(PretendMaster(shared.clone())));
        let routes = with_metrics(routes, move || page.lock().unwrap().page.clone());
        (self.open(&Identity::Master(MasterId(id)), routes).await, shared)
    }

    /// An agent at work; its address.
    pub async fn agent(&self, agent: PretendAgent) -> String {
        let identity = Identity::Agent(AgentId::new("a1").unwrap());
        let routes = Routes::new(AgentDoorServer::new(agent));
        let routes = with_metrics(routes, || views::page("agent_ledger_sync_seconds"));
        self.open(&identity, routes).await
    }

    async fn open(&self, identity: &Identity, routes: Routes) -> String {
        let credentials = self.ca.issue(identity, LEAF_VALIDITY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(
            async move { serve(listener, &credentials, routes, async { drop(stopped.await) }).await },
        );
        self.stops.lock().unwrap().push(stop);
        address
    }

    /// Who lets everybody in.
    pub fn authority(&self) -> &Authority {
        &self.ca
    }

    /// A context of these masters.
    pub fn profile(&self, masters: &[&str]) -> Profile {
        let credentials = self.ca.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap();
        Profile { masters: masters.iter().map(|master| (*master).to_owned()).collect(), credentials }
    }

    /// A client of these masters.
    pub fn client(&self, masters: &[&str]) -> Client {
        Client::new(&self.profile(masters))
    }
}

/// An address where nobody is.
pub async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// An event of a watch.
pub fn event(epoch: u64, sequence: u64, kind: EventKind) -> Event {
    Event { epoch: Epoch(epoch), sequence, kind }
}

/// What a verb left behind.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

/// How the terminal of a run is.
#[derive(Clone, Copy, Default)]
pub struct Screen<'a> {
    pub interactive: bool,
    /// What somebody would type.
    pub answer: Option<&'a str>,
    /// What another program writes to its standard input.
    pub piped: Option<&'a [u8]>,
    /// After so many lines nobody reads any more.
    pub reads: Option<usize>,
}

struct Pipe {
    text: Vec<u8>,
    reads: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.iter().filter(|byte| **byte == b'\n').count() >= self.reads {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Types a command line after `stoa` and waits for its end.
pub async fn type_in(client: &Client, line: &str, screen: Screen<'_>) -> Ran {
    let mut out = Pipe { text: Vec::new(), reads: screen.reads.unwrap_or(usize::MAX) };
    let mut err = Vec::new();
    let mut answers = screen.answer.map(|answer| Cursor::new(answer.to_owned()));
    let mut piped = screen.piped.map(Cursor::new);
    let action = crate::parsing::parsed(line);
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        answers: answers.as_mut().map(|answers| answers as &mut dyn io::BufRead),
        piped: piped.as_mut().map(|piped| piped as &mut dyn io::BufRead),
        interactive: screen.interactive,
        colours: false,
        clock: || views::NOW_MS,
    };
    let run = run_on(client, &action, &mut terminal);
    let exit = tokio::time::timeout(Duration::from_secs(60), run).await.expect("it ends");
    Ran { exit, out: String::from_utf8_lossy(&out.text).into_owned(), err: String::from_utf8(err).unwrap() }
}

/// Types a command line where nobody answers and all is read.
pub async fn typed(client: &Client, line: &str) -> Ran {
    type_in(client, line, Screen::default()).await
}
