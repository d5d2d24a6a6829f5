//! The operator client: redirects, masters that are down, refusals that pass and that last, and streams that go on.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use framework_sdk::Profile;
use framework_sdk::door::{Authority, Identity, LEAF_VALIDITY, serve};
use framework_sdk::id::{Epoch, MasterId};
use framework_sdk::operator::{AskError, Operator};
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::views::{
    Call, Event, EventKind, Join, Joined, Reply, ReplyKind, Snapshot, Status as Health, Watch,
};
use proto_grpc::services::operator::operator_server;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What one pretend master says, in order; the last one again and again.
#[derive(Default)]
struct Script {
    replies: Vec<Result<ReplyKind, Status>>,
    /// How many events each watch gets before it breaks.
    per_watch: usize,
    asked: usize,
    watched_from: Vec<Watch>,
}

struct Master(Arc<Mutex<Script>>);

#[tonic::async_trait]
impl operator_server::Operator for Master {
    type ListStream = Pin<Box<dyn Stream<Item = Result<Reply, Status>> + Send>>;

    async fn list(&self, _: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("list"))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn ask(&self, _: Request<Call>) -> Result<Response<Reply>, Status> {
        let mut script = self.0.lock().expect("not poisoned");
        let at = script.asked.min(script.replies.len() - 1);
        script.asked += 1;
        let kind = script.replies[at].clone()?;
        Ok(Response::new(Reply { as_of: 7, from_leader: true, kind }))
    }

    async fn watch(&self, request: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        let from = request.into_inner();
        let mut script = self.0.lock().expect("not poisoned");
        script.watched_from.push(from);
        let numbers = from.sequence + 1..=from.sequence + script.per_watch as u64;
        let events: Vec<_> = numbers
            .map(|sequence| {
                Ok(Event { epoch: Epoch(1), sequence, kind: EventKind::Snapshot(Snapshot::default()) })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn join(&self, _: Request<Join>) -> Result<Response<Joined>, Status> {
        Err(Status::unimplemented("not of this test"))
    }
}

struct Cluster {
    authority: Authority,
}

impl Cluster {
    fn new() -> Self {
        Cluster { authority: Authority::create("test").expect("an authority") }
    }

    async fn master(&self, script: Script) -> (SocketAddr, Arc<Mutex<Script>>) {
        let script = Arc::new(Mutex::new(script));
        let credentials =
            self.authority.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).expect("issued");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let routes = Routes::new(operator_server::OperatorServer::new(Master(script.clone())));
        tokio::spawn(async move { serve(listener, &credentials, routes, std::future::pending()).await });
        (address, script)
    }

    fn operator(&self, masters: &[SocketAddr]) -> Operator {
        let ada = Identity::User("ada".to_owned());
        let credentials = self.authority.issue(&ada, LEAF_VALIDITY).expect("issued");
        let masters = masters.iter().map(ToString::to_string).collect();
        Operator::new(&Profile { credentials, masters })
    }
}

fn healthy() -> ReplyKind {
    ReplyKind::Status(Health { masters: 3, ..Health::default() })
}

fn script(replies: Vec<Result<ReplyKind, Status>>) -> Script {
    Script { replies, ..Script::default() }
}

fn refused(code: Code) -> Result<ReplyKind, Status> {
    Ok(ReplyKind::Refused(Refusal::new(code, "no")))
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port")
}

#[tokio::test]
async fn a_redirect_is_followed_and_remembered() {
    let cluster = Cluster::new();
    let (leader, leads) = cluster.master(script(vec![Ok(healthy())])).await;
    let (follower, follows) = cluster.master(script(vec![Ok(ReplyKind::Redirect(leader.to_string()))])).await;
    let operator = cluster.operator(&[follower]);
    for _ in 0..3 {
        assert_eq!(operator.ask(Call::Status).await.expect("answered").kind, healthy());
    }
    assert_eq!(follows.lock().expect("not poisoned").asked, 1);
    assert_eq!(leads.lock().expect("not poisoned").asked, 3);
}

#[tokio::test]
async fn a_master_that_is_down_or_fails_is_passed_over() {
    let cluster = Cluster::new();
    let (good, _) = cluster.master(script(vec![Ok(healthy())])).await;
    let (ill, _) = cluster.master(script(vec![Err(Status::unavailable("stopping"))])).await;
    let operator = cluster.operator(&[nobody().await, ill, good]);
    assert_eq!(operator.ask(Call::Status).await.expect("answered").kind, healthy());
}

#[tokio::test]
async fn a_refusal_that_passes_is_asked_again_and_one_that_lasts_is_told() {
    let cluster = Cluster::new();
    let passing = vec![refused(Code::LeaderLost), Ok(ReplyKind::Redirect(String::new())), Ok(healthy())];
    let (address, said) = cluster.master(script(passing)).await;
    let operator = cluster.operator(&[address]);
    assert_eq!(operator.ask(Call::Status).await.expect("answered").kind, healthy());
    assert_eq!(said.lock().expect("not poisoned").asked, 3);

    let (address, said) = cluster.master(script(vec![refused(Code::NotFound)])).await;
    match cluster.operator(&[address]).ask(Call::Status).await {
        Err(AskError::Refused(refusal)) => assert_eq!(refusal.code, Code::NotFound),
        other => panic!("{other:?}"),
    }
    assert_eq!(said.lock().expect("not poisoned").asked, 1);
}

#[tokio::test]
async fn a_rejected_certificate_is_no_reason_to_try_for_long() {
    let cluster = Cluster::new();
    let (address, said) = cluster.master(script(vec![Err(Status::permission_denied("not you"))])).await;
    match cluster.operator(&[address]).ask(Call::Status).await {
        Err(AskError::Rejected(status)) => assert_eq!(status.message(), "not you"),
        other => panic!("{other:?}"),
    }
    assert_eq!(said.lock().expect("not poisoned").asked, 1);
}

#[tokio::test]
async fn masters_of_another_authority_are_named_at_once() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let (first, _) = theirs.master(script(vec![Ok(healthy())])).await;
    let (second, _) = theirs.master(script(vec![Ok(healthy())])).await;
    let limit = std::time::Duration::from_secs(5);
    let asked = ours.operator(&[first, second]);
    match tokio::time::timeout(limit, asked.ask(Call::Status)).await.expect("long before the limit") {
        Err(AskError::Connect(error)) => assert!(error.is_distrust(), "{error:?}"),
        other => panic!("{other:?}"),
    }
    // One stranger among them is passed over.
    let (own, _) = ours.master(script(vec![Ok(healthy())])).await;
    assert_eq!(ours.operator(&[first, own]).ask(Call::Status).await.expect("answered").kind, healthy());
}

#[tokio::test]
async fn a_watch_goes_on_where_it_broke() {
    let cluster = Cluster::new();
    let (address, said) = cluster.master(Script { per_watch: 2, ..script(vec![Ok(healthy())]) }).await;
    let mut watching = cluster.operator(&[address]).watch(Watch::default());
    for expected in 1..=6 {
        let event = watching.next().await.expect("no end").expect("an event");
        assert_eq!(event.sequence, expected);
    }
    let from: Vec<u64> =
        said.lock().expect("not poisoned").watched_from.iter().map(|watch| watch.sequence).collect();
    assert_eq!(from[..3], [0, 2, 4]);
}
