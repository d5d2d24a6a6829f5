//! The client of frameworks' state: what is sent again and what is not, redirects, and watches that go on where they stopped.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use framework_sdk::Profile;
use framework_sdk::door::{Authority, Identity, LEAF_VALIDITY, serve};
use framework_sdk::id::MasterId;
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::state::{
    Call, CallKind, Claim, Event, KeyValue, Keys, LeaseReply, OperationReply, Reply, ReplyKind, State,
    StateError, TxnReply, Watch, WatchReply, campaign,
};
use proto::store::{Claimed, PutReply, RangeReply};
use proto_grpc::services::store::store_server;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What one pretend master says, in order; the last one again and again.
#[derive(Default)]
struct Script {
    replies: Vec<Result<ReplyKind, Status>>,
    asked: Vec<Call>,
    /// The revisions from which each watch asked.
    watched_from: Vec<u64>,
    /// From this revision on everything is compacted.
    compacted_from: u64,
    /// A watch stays open, and quiet, until it is told to break.
    breaks: Option<Arc<Notify>>,
}

struct Master(Arc<Mutex<Script>>);

#[tonic::async_trait]
impl store_server::Store for Master {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let mut script = self.0.lock().unwrap();
        let at = script.asked.len().min(script.replies.len() - 1);
        script.asked.push(request.into_inner());
        let kind = script.replies[at].clone()?;
        Ok(Response::new(Reply { revision: 7, term: 1, kind }))
    }

    /// Each watch gets the changes of two revisions, and breaks.
    async fn watch(&self, request: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        let from = request.into_inner().start_revision;
        let mut script = self.0.lock().unwrap();
        script.watched_from.push(from);
        let replies = if from >= script.compacted_from {
            let refused = Some(Refusal::new(Code::Compacted, "gone"));
            vec![Ok(WatchReply { refused, ..WatchReply::default() })]
        } else {
            let told = |revision| WatchReply { revision, events: vec![event(revision)], refused: None };
            vec![
                Ok(WatchReply { revision: from - 1, ..WatchReply::default() }),
                Ok(told(from)),
                Ok(told(from + 1)),
            ]
        };
        let breaks = script.breaks.clone();
        let (sender, stream) = mpsc::channel(replies.len());
        tokio::spawn(async move {
            for reply in replies {
                let _ = sender.send(reply).await;
            }
            if let Some(breaks) = breaks {
                breaks.notified().await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

fn event(revision: u64) -> Event {
    let kv = KeyValue { key: "a".into(), mod_revision: revision, ..KeyValue::default() };
    Event { kv, ..Event::default() }
}

struct Cluster(Authority);

impl Cluster {
    fn new() -> Self {
        Cluster(Authority::create("test").unwrap())
    }

    async fn master(&self, script: Script) -> (SocketAddr, Arc<Mutex<Script>>) {
        let script = Arc::new(Mutex::new(script));
        let credentials = self.0.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Routes::new(store_server::StoreServer::new(Master(script.clone())));
        tokio::spawn(async move { serve(listener, &credentials, routes, std::future::pending()).await });
        (address, script)
    }

    fn state(&self, masters: &[SocketAddr]) -> State {
        let credentials = self.0.issue(&Identity::Framework("jobs".into()), LEAF_VALIDITY).unwrap();
        State::new(&Profile { credentials, masters: masters.iter().map(ToString::to_string).collect() })
    }
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).unwrap()
}

fn script(replies: Vec<Result<ReplyKind, Status>>) -> Script {
    Script { replies, ..Script::default() }
}

fn refused(code: Code) -> Result<ReplyKind, Status> {
    Ok(ReplyKind::Refused(Refusal::new(code, "no")))
}

fn found() -> Result<ReplyKind, Status> {
    let kv = KeyValue { key: "a".into(), value: "1".into(), ..KeyValue::default() };
    Ok(ReplyKind::Range(RangeReply { kvs: vec![kv], more: false, count: 1 }))
}

fn done() -> Result<ReplyKind, Status> {
    Ok(ReplyKind::Put(PutReply::default()))
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_not_sent_again_and_what_was_not_is() {
    let cluster = Cluster::new();
    for doubtful in [refused(Code::LeaderLost), Err(Status::unavailable("it broke"))] {
        let (address, said) = cluster.master(script(vec![doubtful.clone(), done()])).await;
        let answer = cluster.state(&[address]).put("a", "1").await;
        assert!(matches!(answer, Err(StateError::Unknown { .. })), "{answer:?}");
        assert_eq!(said.lock().unwrap().asked.len(), 1);
        // A read is as good the second time.
        let (address, said) = cluster.master(script(vec![doubtful, found()])).await;
        let kv = cluster.state(&[address]).get("a").await.unwrap().unwrap();
        assert_eq!((kv.value, said.lock().unwrap().asked.len()), ("1".into(), 2));
    }
    let (address, said) = cluster.master(script(vec![refused(Code::Unavailable), done()])).await;
    assert_eq!(cluster.state(&[address]).put("a", "1").await.unwrap(), 7);
    assert_eq!(said.lock().unwrap().asked.len(), 2, "it was never proposed");
    let (address, said) = cluster.master(script(vec![refused(Code::TooMuch), done()])).await;
    let answer = cluster.state(&[address]).put("a", "1").await.unwrap_err();
    assert_eq!((answer.code(), said.lock().unwrap().asked.len()), (Some(Code::TooMuch), 1));
}

#[tokio::test]
async fn a_change_follows_to_the_leader_and_the_next_goes_there_at_once() {
    let cluster = Cluster::new();
    let (leader, led) = cluster.master(script(vec![done()])).await;
    let (follower, followed) =
        cluster.master(script(vec![Ok(ReplyKind::Redirect(leader.to_string()))])).await;
    let state = cluster.state(&[follower]);
    state.put("a", "1").await.unwrap();
    state.put("a", "2").await.unwrap();
    assert_eq!((led.lock().unwrap().asked.len(), followed.lock().unwrap().asked.len()), (2, 1));
}

#[tokio::test]
async fn whoever_claimed_a_space_says_so_in_every_call() {
    let cluster = Cluster::new();
    let claimed = Ok(ReplyKind::Claimed(Claimed { epoch: 5 }));
    let (address, said) = cluster.master(script(vec![claimed, done(), refused(Code::Fenced)])).await;
    let state = cluster.state(&[address]).space("jobs").claim().await.unwrap();
    state.put("a", "1").await.unwrap();
    assert_eq!(state.put("a", "2").await.unwrap_err().code(), Some(Code::Fenced));
    let asked = &said.lock().unwrap().asked;
    assert_eq!((&asked[0].kind, asked[0].epoch), (&CallKind::Claim(Claim::default()), None));
    assert!(
        asked[1..].iter().all(|call| call.epoch == Some(5)) && asked.iter().all(|call| call.space == "jobs")
    );
}

#[tokio::test]
async fn a_broken_watch_goes_on_with_the_next_revision_until_that_is_gone() {
    let cluster = Cluster::new();
    let (address, said) = cluster.master(Script { compacted_from: 8, ..Script::default() }).await;
    let mut watching = cluster.state(&[address]).watch(Keys::one("a"), 4);
    for revision in 4..8 {
        let reply = watching.next().await.unwrap().unwrap();
        assert_eq!((reply.revision, reply.events), (revision, vec![event(revision)]));
    }
    let end = watching.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Some(Code::Compacted));
    assert!(watching.next().await.is_none());
    assert_eq!(said.lock().unwrap().watched_from, [4, 6, 8]);
}

#[tokio::test]
async fn a_watch_that_was_quiet_for_long_still_finds_another_master_when_it_breaks() {
    let cluster = Cluster::new();
    let breaks = Arc::new(Notify::new());
    let script = Script { compacted_from: 100, breaks: Some(breaks.clone()), ..Script::default() };
    let (address, said) = cluster.master(script).await;
    let mut watching = cluster.state(&[nobody().await, address]).watch(Keys::one("a"), 4);
    for revision in [4, 5] {
        assert_eq!(watching.next().await.unwrap().unwrap().revision, revision);
    }
    // Longer than a search may take.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    breaks.notify_one();
    assert_eq!(watching.next().await.unwrap().unwrap().revision, 6);
    assert_eq!(said.lock().unwrap().watched_from, [4, 6]);
}

#[tokio::test]
async fn whoever_waits_for_the_lead_watches_from_where_it_looked_and_does_not_hammer() {
    let cluster = Cluster::new();
    let lease = Ok(ReplyKind::Lease(LeaseReply { id: 9, ttl_ms: 60_000 }));
    // The leader came long before the revision at which it is seen.
    let kv = KeyValue { key: "election/one".into(), mod_revision: 3, lease: 4, ..KeyValue::default() };
    let looked = OperationReply::Range(RangeReply { kvs: vec![kv], more: false, count: 1 });
    let led = Ok(ReplyKind::Txn(TxnReply { succeeded: false, responses: vec![looked] }));
    // Every watch of this master is told that what it asks for is compacted.
    let (address, said) = cluster.master(script(vec![lease, led])).await;
    let state = cluster.state(&[address]);
    let begun = Instant::now();
    let campaign = tokio::spawn(async move { campaign(&state, "one", "me", Duration::from_secs(60)).await });
    let mut every = tokio::time::interval(Duration::from_millis(10));
    while said.lock().unwrap().watched_from.len() < 3 {
        every.tick().await;
        assert!(!campaign.is_finished() && begun.elapsed() < Duration::from_secs(30));
    }
    assert!(begun.elapsed() >= Duration::from_millis(400), "it waits before it looks again");
    assert!(said.lock().unwrap().watched_from.iter().all(|from| *from == 8));
    campaign.abort();
}
