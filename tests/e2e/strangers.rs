//! Forgers, strangers and talkers at the doors: refused in words, and nobody inside comes to harm.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use framework_sdk::conversation::{
    Accept, AcceptPart, Answer, Call, CallKind, Event, EventKind, Fault, Kill, Outcome, Subscribe,
};
use framework_sdk::demand::Filter;
use framework_sdk::door::{Authority, Credentials, Identity, LEAF_VALIDITY, PeerRole, channel};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{FrameworkId, OfferId, OperationId, TaskId};
use framework_sdk::refusal::Code;
use framework_sdk::role::Role;
use framework_sdk::task::TaskState;
use framework_sdk::views::{Call as Question, Join, List};
use framework_sdk::{Profile, conversation, tasks};
use proto::operation::{Launch, Operation};
use proto_grpc::joining_channel;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::services::scheduler::scheduler_client::SchedulerClient;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::cluster::{Cluster, Said, eventually};

const LIMIT: Duration = Duration::from_secs(20);
/// 25 times what a door takes.
const LARGE: usize = 100_000_000;

/// Fails instead of waiting for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

/// A framework's session, call by call: the SDK would not let itself be misused.
pub(super) struct Session {
    calls: mpsc::UnboundedSender<Call>,
    events: std::pin::Pin<Box<dyn Stream<Item = Result<Event, String>>>>,
    said: u32,
}

impl Session {
    pub(super) async fn open(leader: &str, credentials: &Credentials) -> Session {
        let (calls, queued) = mpsc::unbounded_channel();
        let channel = channel(leader, PeerRole::Master, credentials).await.unwrap();
        let mut door = SchedulerClient::new(channel);
        let session = door.session(UnboundedReceiverStream::new(queued));
        let events = soon("a session", session).await.unwrap().into_inner();
        let events = events.map(|event| event.map_err(|status| status.to_string()));
        Session { calls, events: Box::pin(events), said: 0 }
    }

    pub(super) fn say(&mut self, kind: CallKind) {
        self.said += 1;
        let bare = matches!(kind, CallKind::Subscribe(_));
        let operation = (!bare).then(|| OperationId::new(&format!("op-{}", self.said)).unwrap());
        self.calls.send(Call { operation, kind }).unwrap();
    }

    pub(super) fn subscribe(&mut self, name: String, id: Option<&FrameworkId>) {
        let framework = FrameworkInfo {
            name,
            roles: vec![Role::new("default").unwrap()],
            failover_timeout: Duration::from_secs(60),
            address: String::new(),
            labels: Default::default(),
        };
        let subscribe = Subscribe {
            framework,
            id: id.cloned(),
            resume: None,
            suppressed_roles: Vec::new(),
            demands: None,
            fence: 0,
        };
        self.say(CallKind::Subscribe(subscribe));
    }

    /// Reads on until an event is as wanted.
    pub(super) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(EventKind) -> Option<T>) -> T {
        let reading = async {
            while let Some(event) = self.events.next().await {
                let event = event.unwrap_or_else(|broken| panic!("{broken} instead of: {what}"));
                if let Some(found) = wanted(event.kind) {
                    return found;
                }
            }
            panic!("the session ended without: {what}")
        };
        soon(what, reading).await
    }

    pub(super) async fn fault(&mut self) -> framework_sdk::refusal::Refusal {
        self.until("a fault", |event| match event {
            EventKind::Fault(Fault { refusal }) => Some(refusal),
            _ => None,
        })
        .await
    }

    pub(super) async fn subscribed(&mut self) -> FrameworkId {
        self.until("a subscription", |event| match event {
            EventKind::Subscribed(conversation::Subscribed { framework, .. }) => Some(framework),
            _ => None,
        })
        .await
    }

    /// What came of a call that is about a task: the task's state, and the answer.
    pub(super) async fn outcome(&mut self) -> (TaskState, Outcome) {
        let (mut state, mut outcome) = (None, None);
        self.until("a status and an answer", |event| {
            match event {
                EventKind::Update(status) => state = Some(status.state),
                EventKind::Answer(Answer { outcome: answered, .. }) => outcome = Some(answered),
                _ => {}
            }
            state.zip(outcome.clone())
        })
        .await
    }
}

pub(super) fn leader_door(cluster: &Cluster) -> String {
    let raft = cluster.json(&["raft", "status", "-o", "json"]).unwrap();
    let leader = raft["members"].as_array().unwrap().iter().find(|member| member["leader"] == true).unwrap();
    leader["address"].as_str().unwrap().to_owned()
}

fn running(cluster: &Cluster) -> Vec<(String, Option<u64>)> {
    let tasks = cluster.list("tasks");
    let running = tasks.iter().filter(|task| task["state"] == "running");
    running.map(|task| (task["id"].as_str().unwrap().to_owned(), task["pid"].as_u64())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_forged_framework_id_opens_nothing() {
    let cluster = Cluster::up("forger", &["--agents", "1", "--agent-resources", "cpus:2;mem:1GiB"]);
    cluster.apply(&cluster.file(
        "kept.toml",
        "name = \"kept\"\ncommand = [\"sleep\", \"1000\"]\ncpus = 0.1\nmem = \"16MiB\"\n",
    ));
    let kept = eventually("a task", LIMIT, || Some(running(&cluster)).filter(|tasks| tasks.len() == 1));
    let before = (cluster.children(), cluster.list("frameworks"));
    let jobs = FrameworkId::new(before.1[0]["id"].as_str().unwrap()).unwrap();
    let leader = leader_door(&cluster);
    // Certificates of the right authority: what is forged is only whose framework it is.
    let authority = Authority::load(&cluster.context().join("../authority")).unwrap();
    let forger = authority.issue(&Identity::Framework("forger".to_owned()), LEAF_VALIDITY).unwrap();
    let holder = authority.issue(&Identity::Framework("holder".to_owned()), LEAF_VALIDITY).unwrap();

    let mut session = Session::open(&leader, &forger).await;
    session.subscribe("jobs".to_owned(), Some(&jobs));
    let refusal = session.fault().await;
    assert_eq!(refusal.code, Code::Denied);
    assert_eq!(refusal.message, "framework/forger may not take up a framework of framework/jobs");

    let mut session = Session::open(&leader, &forger).await;
    session.subscribe("jobs".to_owned(), Some(&FrameworkId::new("F77-7").unwrap()));
    let refusal = session.fault().await;
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::NotFound, "framework_id F77-7 is unknown"));

    let victim = TaskId::new(&kept[0].0).unwrap();
    let kill = || CallKind::Kill(Kill { task: victim.clone(), grace: None });
    let mut session = Session::open(&leader, &forger).await;
    session.say(kill());
    assert!(session.fault().await.message.contains("must be Subscribe"));

    // In a session of its own, the offers and tasks of others are nothing to it.
    let mut other = Session::open(&leader, &holder).await;
    other.subscribe("holder".to_owned(), None);
    let offer = other
        .until("an offer", |event| match event {
            EventKind::Offers(offers) => offers.offers.first().map(|offer| offer.id),
            _ => None,
        })
        .await;
    let mut session = Session::open(&leader, &forger).await;
    session.subscribe("forger".to_owned(), None);
    session.subscribed().await;
    session.say(kill());
    assert_eq!(session.outcome().await.0, TaskState::Unknown, "there is no such task of the forger's");
    session.say(steal(offer));
    let (state, outcome) = session.outcome().await;
    assert_eq!(state, TaskState::Dropped, "{outcome:?}");
    let offers = cluster.list("offers");
    assert!(
        offers.iter().any(|open| open["id"] == offer.to_string().as_str()),
        "{offer} is still the holder's: {offers:?}"
    );

    assert_eq!(running(&cluster), kept, "the task runs on in its process");
    assert_eq!(cluster.children(), before.0, "nobody died");
    let jobs_now = cluster.list("frameworks").into_iter().find(|framework| framework["id"] == jobs.as_str());
    assert_eq!(jobs_now.unwrap()["since_ms"], before.1[0]["since_ms"], "its session never broke");
    drop((session, other));
    cluster.is_healthy();
    cluster.down_leaves_nothing();
}

/// A launch on somebody else's offer.
pub(super) fn steal(offer: OfferId) -> CallKind {
    let task = tasks::shell(TaskId::new("stolen").unwrap(), "echo mine");
    let operations = vec![Operation::Launch(Launch { tasks: vec![task] })];
    let parts = vec![AcceptPart { offers: vec![offer], operations }];
    CallKind::Accept(Accept { parts, all_or_nothing: false, filter: Filter::DEFAULT })
}

/// What commands say with these credentials: none works, and each says what to do.
fn is_turned_away(cluster: &Cluster, dir: &Path, credentials: Credentials, says: &str, help: &str) {
    let masters = Profile::load(&cluster.context()).unwrap().masters;
    Profile { credentials, masters }.save(dir).unwrap();
    let context = dir.display().to_string();
    for command in [&["status"][..], &["get", "agents"], &["run", "--", "true"], &["job", "get"]] {
        let said: Said = cluster.stoa(&[&["--context", &context], command].concat());
        assert_ne!(said.code, 0, "{command:?}: {said:?}");
        assert!(said.err.contains(says) && said.err.contains(help), "{command:?}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_clusters_certificate_and_100_mb_are_refused_at_the_door() {
    let cluster = Cluster::up("strangers", &["--agents", "1"]);
    let before = cluster.children();
    let profile = Profile::load(&cluster.context()).unwrap();
    let other = Authority::create("other").unwrap();
    let theirs = other.issue(&Identity::User("eve".to_owned()), LEAF_VALIDITY).unwrap();
    let sly = Credentials { ca_pem: profile.credentials.ca_pem.clone(), ..theirs.clone() };
    let dir = cluster.path("other");
    is_turned_away(&cluster, &dir, theirs, "not of this cluster", "--context DIR");
    is_turned_away(&cluster, &dir, sly, "(cert.pem) is not a valid one of the authority", "the same cluster");

    let large = || "x".repeat(LARGE);
    let leader = leader_door(&cluster);
    let whole = channel(&leader, PeerRole::Master, &profile.credentials).await.unwrap();
    let question = Question::Tasks(List { framework: large(), ..List::default() });
    let refused = soon("a refusal", OperatorClient::new(whole).ask(question)).await.unwrap_err();
    assert!(refused.message().contains("too large"), "{refused:?}");
    // This door opens to those without a certificate.
    let anonymous = joining_channel(&leader, profile.credentials.ca_sha256().unwrap()).await.unwrap();
    let join = Join { token: "x".to_owned(), csr_pem: large(), name: "eve".to_owned() };
    let refused = soon("a refusal", OperatorClient::new(anonymous).join(join)).await.unwrap_err();
    assert!(refused.message().contains("too large"), "{refused:?}");
    let mut session = Session::open(&leader, &profile.credentials).await;
    session.subscribe(large(), None);
    let ended = soon("the end of the session", session.events.next()).await;
    assert!(ended.is_some_and(|event| event.is_err_and(|why| why.contains("too large"))));

    assert_eq!(cluster.children(), before, "nobody died");
    assert_eq!(cluster.stoa(&["status"]).code, 0);
    let hello = cluster.stoa(&["run", "--", "echo", "hello"]);
    assert_eq!((hello.code, hello.out.as_str()), (0, "hello\n"), "{hello:?}");
    cluster.down_leaves_nothing();
}
