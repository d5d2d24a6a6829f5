//! Frameworks' state on three masters with real sockets, certificates and disks: written, watched, and there after deaths.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use master::{Config, StoreLimits};
use proto::id::MasterId;
use proto::refusal::Code;
use proto::store::{Call, CallKind, Claim, Compact, LeaseGrant, Put, Range, Reply, ReplyKind, Watch};
use proto_drive::telemetry::Metrics;
use proto_grpc::services::store::store_client::StoreClient;
use proto_pki::{Authority, Credentials, Identity, LEAF_VALIDITY, PeerRole};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::codegen::{Body, Service, http};
use tonic::transport::Channel;

struct Group {
    dir: PathBuf,
    addresses: BTreeMap<MasterId, SocketAddr>,
    jobs: Credentials,
    agent: Credentials,
    ada: Credentials,
    limits: StoreLimits,
    running: BTreeMap<MasterId, (oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Group {
    fn new(name: &str) -> Group {
        Group::within(name, StoreLimits::default())
    }

    fn within(name: &str, limits: StoreLimits) -> Group {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&dir);
        let authority = Authority::create("test").unwrap();
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut addresses = BTreeMap::new();
        for (number, listener) in (1..).zip(&held) {
            let id = MasterId(number);
            addresses.insert(id, listener.local_addr().unwrap());
            let credentials = authority.issue(&Identity::Master(id), LEAF_VALIDITY).unwrap();
            credentials.save(&dir.join(format!("credentials-{number}"))).unwrap();
        }
        let issue = |identity| authority.issue(&identity, LEAF_VALIDITY).unwrap();
        let jobs = issue(Identity::Framework("jobs".into()));
        let agent = issue(Identity::Agent(proto::id::AgentId::new("a1").unwrap()));
        let ada = issue(Identity::User("ada".into()));
        let mut group = Group { dir, addresses, jobs, agent, ada, limits, running: BTreeMap::new() };
        drop(held);
        (1..=3).for_each(|number| group.start(MasterId(number)));
        group
    }

    fn start(&mut self, id: MasterId) {
        let config = Config {
            id,
            listen: self.addresses[&id],
            members: self.addresses.iter().map(|(id, address)| (*id, address.to_string())).collect(),
            data_dir: self.dir.join(format!("data-{id}")),
            credentials_dir: self.dir.join(format!("credentials-{id}")),
            authority_dir: None,
            root_tasks: BTreeSet::new(),
            offer_timeout: None,
            agent_unreachable_after: None,
            store_limits: self.limits,
            founds: true,
            limits: Default::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            master::run(config, render, stopped).await.unwrap();
        });
        self.running.insert(id, (stop, task));
    }

    async fn stop(&mut self, id: MasterId) {
        let (stop, task) = self.running.remove(&id).unwrap();
        let _ = stop.send(());
        task.await.unwrap();
    }

    async fn client(&self, id: MasterId) -> Option<StoreClient<Channel>> {
        let address = self.addresses[&id].to_string();
        proto_grpc::channel(&address, PeerRole::Master, &self.jobs).await.ok().map(StoreClient::new)
    }

    /// The metrics page of a master, as a person reads it.
    async fn metrics(&self, id: MasterId) -> String {
        let address = self.addresses[&id].to_string();
        let mut channel = proto_grpc::channel(&address, PeerRole::Master, &self.ada).await.unwrap();
        let request =
            http::Request::get("https://master.stoa/metrics").body(tonic::body::Body::empty()).unwrap();
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let mut body = channel.call(request).await.unwrap().into_body();
        let mut page = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            page.extend(frame.unwrap().into_data().unwrap_or_default());
        }
        String::from_utf8(page).unwrap()
    }

    /// Asks every running master until one of them carries it out; who that was.
    async fn done(&self, call: &Call) -> (MasterId, Reply) {
        let asking = async {
            loop {
                for id in self.running.keys() {
                    let Some(mut client) = self.client(*id).await else { continue };
                    let Ok(reply) = client.ask(call.clone()).await else { continue };
                    let reply = reply.into_inner();
                    let passes = match &reply.kind {
                        ReplyKind::Redirect(_) => true,
                        ReplyKind::Refused(refusal) => {
                            matches!(refusal.code, Code::Unavailable | Code::LeaderLost)
                        }
                        _ => false,
                    };
                    if !passes {
                        return (*id, reply);
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await; // eventually
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("it happens within twenty seconds")
    }
}

/// The metrics of this process: its masters share them.
fn render() -> String {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| Metrics::install("master", "1").unwrap()).render()
}

/// The value of the line that begins with this name and has these labels.
fn measured(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let is_it = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    page.lines().find(is_it)?.rsplit(' ').next()?.parse().ok()
}

fn call(kind: CallKind) -> Call {
    Call { space: String::new(), epoch: None, kind }
}

fn put(key: &str, value: &str) -> Call {
    call(CallKind::Put(Put { key: key.to_owned().into(), value: value.to_owned().into(), ..Put::default() }))
}

fn get(key: &str) -> Call {
    call(CallKind::Range(Range { key: key.to_owned().into(), ..Range::default() }))
}

fn value(reply: &Reply) -> String {
    match &reply.kind {
        ReplyKind::Range(range) => String::from_utf8(range.kvs[0].value.to_vec()).unwrap(),
        kind => panic!("{kind:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_written_watched_and_outlives_its_leader_and_a_restart() {
    let mut group = Group::new("store");
    let (leader, reply) = group.done(&put("a", "1")).await;
    assert_eq!((reply.revision, &reply.kind), (2, &ReplyKind::Put(Default::default())));
    let follower = *group.addresses.keys().find(|id| **id != leader).unwrap();
    let mut at_follower = group.client(follower).await.unwrap();
    let sent_on = at_follower.ask(put("a", "elsewhere")).await.unwrap().into_inner();
    assert_eq!(sent_on.kind, ReplyKind::Redirect(group.addresses[&leader].to_string()));
    assert_eq!(value(&at_follower.ask(get("a")).await.unwrap().into_inner()), "1", "followers read");

    let ask = Watch { key: "a".into(), start_revision: 2, ..Watch::default() };
    let mut watch = at_follower.watch(ask).await.unwrap().into_inner();
    let large = "x".repeat(1 << 20);
    group.done(&put("a", &large)).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(watch.message().await.unwrap().expect("it goes on").events);
    }
    assert_eq!((told[0].kv.value.len(), told[1].kv.value.len()), (1, 1 << 20));
    drop(watch);

    group.stop(leader).await;
    let (next, reply) = group.done(&get("a")).await;
    assert_ne!(next, leader);
    assert_eq!((value(&reply), reply.revision), (large.clone(), 3));
    for id in group.running.keys().copied().collect::<Vec<_>>() {
        group.stop(id).await;
    }
    (1..=3).for_each(|number| group.start(MasterId(number)));
    assert_eq!(value(&group.done(&get("a")).await.1), large, "it is on the disks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_deposed_is_fenced_and_an_agent_has_no_state() {
    let group = Group::new("store-fence");
    let claim = call(CallKind::Claim(Claim::default()));
    let epoch = |reply: Reply| match reply.kind {
        ReplyKind::Claimed(claimed) => claimed.epoch,
        kind => panic!("{kind:?}"),
    };
    let first = epoch(group.done(&claim).await.1);
    let second = epoch(group.done(&claim).await.1);
    let with = |epoch| Call { epoch: Some(epoch), ..put("a", "1") };
    let (leader, reply) = group.done(&with(second)).await;
    assert!(matches!(reply.kind, ReplyKind::Put(_)), "{reply:?}");
    let (_, reply) = group.done(&with(first)).await;
    assert!(matches!(&reply.kind, ReplyKind::Refused(why) if why.code == Code::Fenced), "{reply:?}");

    let address = group.addresses[&leader].to_string();
    let channel = proto_grpc::channel(&address, PeerRole::Master, &group.agent).await.unwrap();
    let reply = StoreClient::new(channel.clone()).ask(get("a")).await.unwrap().into_inner();
    assert!(matches!(&reply.kind, ReplyKind::Refused(why) if why.code == Code::Denied), "{reply:?}");
    let ask = Watch { key: "a".into(), ..Watch::default() };
    let mut watch = StoreClient::new(channel).watch(ask).await.unwrap().into_inner();
    let last = watch.message().await.unwrap().expect("a word");
    assert_eq!(last.refused.map(|why| why.code), Some(Code::Denied));
    assert!(watch.message().await.unwrap().is_none(), "it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_those_of_the_configuration_and_how_full_a_space_is_can_be_read() {
    // Before the masters look up their meters.
    render();
    let group = Group::within("store-limits", StoreLimits { space_bytes: 2000, value_bytes: 1000 });
    let refused = |reply: Reply| match reply.kind {
        ReplyKind::Refused(refusal) => refusal,
        kind => panic!("{kind:?}"),
    };
    let why = refused(group.done(&put("a", &"x".repeat(1001))).await.1);
    assert_eq!(why.code, Code::TooMuch);
    assert!(why.message.contains("1000 bytes") && why.help.contains("--store-value-limit"), "{why:?}");
    group.done(&put("a", &"x".repeat(900))).await;
    group.done(&put("b", "1")).await;
    let (leader, reply) = group.done(&put("c", &"x".repeat(1000))).await;
    let why = refused(reply);
    assert!(why.message.contains("2000") && why.help.contains("delete keys"), "{why:?}");
    let mut watching = group.client(leader).await.unwrap();
    let ask = Watch { key: "a".into(), start_revision: 2, ..Watch::default() };
    let mut watching = watching.watch(ask).await.unwrap().into_inner();
    watching.message().await.unwrap().expect("it listens");
    let grant = CallKind::LeaseGrant(LeaseGrant { ttl_ms: 60_000, id: 0 });
    group.done(&call(grant)).await;
    group.done(&put("b", "2")).await;
    group.done(&call(CallKind::Compact(Compact { revision: 3 }))).await;

    let page = group.metrics(leader).await;
    let space = ["principal=\"framework/jobs\"", "space=\"\""];
    let of_space = |name: &str| measured(&page, name, &space).unwrap_or_else(|| panic!("{name}: {page}"));
    assert_eq!(of_space("store_revision"), 4.0);
    assert_eq!(of_space("store_compacted_revision"), 3.0);
    assert_eq!((of_space("store_keys"), of_space("store_leases")), (2.0, 1.0));
    // Each key costs its name, its value and a hundred bytes.
    assert_eq!((of_space("store_live_bytes"), of_space("store_history_bytes")), (1103.0, 102.0));
    let of_group = |name: &str| measured(&page, name, &[]).unwrap_or_else(|| panic!("{name}: {page}"));
    assert_eq!((of_group("store_leads"), of_group("store_watches")), (1.0, 1.0));
    assert!(of_group("store_term") >= 1.0 && of_group("store_applied_index") >= 7.0);
    assert!(of_group("store_compactions_total") >= 1.0 && of_group("store_calls_answered_total") >= 5.0);
    assert!(of_group("store_sync_seconds_count") >= 5.0);
    assert!(measured(&page, "store_calls_refused_total", &["code=\"too-much\""]).is_some_and(|n| n >= 2.0));
}
