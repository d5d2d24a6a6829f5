//! Three masters with real sockets, certificates and disks, in one process: they elect, agree, and outlive their leader.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use master::Config;
use proto::id::MasterId;
use proto::operator::{Call, List, ReplyKind, SetWeight};
use proto::role::{Role, Weight};
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_pki::{Authority, Credentials, Identity, LEAF_VALIDITY, PeerRole};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

struct Group {
    dir: PathBuf,
    addresses: BTreeMap<MasterId, SocketAddr>,
    operator: Credentials,
    running: BTreeMap<MasterId, (oneshot::Sender<()>, JoinHandle<()>)>,
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Group {
    fn new(name: &str) -> Group {
        let dir = scratch(name);
        let authority = Authority::create("test").unwrap();
        authority.save(&dir.join("authority")).unwrap();
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut addresses = BTreeMap::new();
        for (number, listener) in (1..).zip(&held) {
            let id = MasterId(number);
            addresses.insert(id, listener.local_addr().unwrap());
            let credentials = authority.issue(&Identity::Master(id), LEAF_VALIDITY).unwrap();
            credentials.save(&dir.join(format!("credentials-{number}"))).unwrap();
        }
        let operator = authority.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap();
        Group { dir, addresses, operator, running: BTreeMap::new() }
    }

    fn start(&mut self, id: MasterId) {
        let config = Config {
            id,
            listen: self.addresses[&id],
            members: self.addresses.iter().map(|(id, address)| (*id, address.to_string())).collect(),
            data_dir: self.dir.join(format!("data-{id}")),
            credentials_dir: self.dir.join(format!("credentials-{id}")),
            authority_dir: Some(self.dir.join("authority")),
            root_tasks: BTreeSet::new(),
            offer_timeout: None,
            agent_unreachable_after: None,
            store_limits: Default::default(),
            founds: true,
            limits: Default::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            master::run(config, String::new, stopped).await.unwrap();
        });
        self.running.insert(id, (stop, task));
    }

    async fn stop(&mut self, id: MasterId) {
        let (stop, task) = self.running.remove(&id).unwrap();
        let _ = stop.send(());
        task.await.unwrap();
    }

    async fn client(&self, id: MasterId) -> Option<OperatorClient<Channel>> {
        let address = self.addresses[&id].to_string();
        proto_grpc::channel(&address, PeerRole::Master, &self.operator).await.ok().map(OperatorClient::new)
    }

    /// Asks every running master until one of them gives an answer of its own that `wanted` takes.
    async fn eventually<T>(&self, call: Call, wanted: impl Fn(MasterId, ReplyKind) -> Option<T>) -> T {
        let asking = async {
            loop {
                for id in self.running.keys() {
                    let Some(mut client) = self.client(*id).await else { continue };
                    let Ok(reply) = client.ask(call.clone()).await else { continue };
                    if let Some(found) = wanted(*id, reply.into_inner().kind) {
                        return found;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await; // eventually
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("it happens within twenty seconds")
    }

    async fn leader(&self) -> MasterId {
        self.eventually(Call::Raft, |id, kind| match kind {
            ReplyKind::Raft(raft) => {
                raft.members.iter().any(|member| member.id == id && member.leader).then_some(id)
            }
            _ => None,
        })
        .await
    }
}

fn set(milli: u32) -> Call {
    Call::SetWeight(SetWeight { role: Role::new("eng").unwrap(), weight: Weight::from_milli(milli).unwrap() })
}

/// Each master may answer for itself.
fn stale() -> List {
    List { stale: true, ..List::default() }
}

fn weight(kind: &ReplyKind) -> Option<u32> {
    match kind {
        ReplyKind::Roles(roles) => {
            roles.iter().find(|view| view.role.as_str() == "eng").map(|view| view.weight.milli())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_the_leader_and_a_restart() {
    let mut group = Group::new("group");
    for number in 1..=3 {
        group.start(MasterId(number));
    }
    let leader = group.leader().await;
    let mut client = group.client(leader).await.unwrap();
    let reply = client.ask(set(2000)).await.unwrap().into_inner();
    assert!(matches!(reply.kind, ReplyKind::Done(index) if index > 0), "{reply:?}");

    let follower = *group.running.keys().find(|id| **id != leader).unwrap();
    let mut client = group.client(follower).await.unwrap();
    let reply = client.ask(set(9000)).await.unwrap().into_inner();
    assert_eq!(
        reply.kind,
        ReplyKind::Redirect(group.addresses[&leader].to_string()),
        "followers redirect orders"
    );

    group.stop(leader).await;
    let next = group.leader().await;
    assert_ne!(next, leader);
    let found = group
        .eventually(Call::Roles(stale()), |id, kind| (id == next).then(|| weight(&kind)).flatten())
        .await;
    assert_eq!(found, 2000);

    group.start(leader);
    let found = group
        .eventually(Call::Roles(stale()), |id, kind| (id == leader).then(|| weight(&kind)).flatten())
        .await;
    assert_eq!(found, 2000, "the old leader has caught up");
    for number in 1..=3 {
        group.stop(MasterId(number)).await;
    }
    for number in 1..=3 {
        group.start(MasterId(number));
    }
    let found = group.eventually(Call::Roles(stale()), |_, kind| weight(&kind)).await;
    assert_eq!(found, 2000, "it is on the disks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_knows_no_leader_yet_tells_no_tale_of_long_ago() {
    let mut group = Group::new("alone");
    for number in 1..=3 {
        group.start(MasterId(number));
    }
    let leader = group.leader().await;
    let mut client = group.client(leader).await.unwrap();
    client.ask(set(2000)).await.unwrap();
    for number in 1..=3 {
        group.stop(MasterId(number)).await;
    }
    // Alone it cannot know what the others have agreed on since.
    group.start(leader);
    let alone = Call::Roles(List::default());
    group
        .eventually(alone.clone(), |_, kind| match kind {
            ReplyKind::Redirect(address) => address.is_empty().then_some(()),
            other => panic!("{other:?}"),
        })
        .await;
    // Who wants its word all the same has it, and who is there can be told.
    group.eventually(Call::Roles(stale()), |_, kind| matches!(kind, ReplyKind::Roles(_)).then_some(())).await;
    group.eventually(Call::Raft, |_, kind| matches!(kind, ReplyKind::Raft(_)).then_some(())).await;
    group.start(*group.addresses.keys().find(|id| **id != leader).unwrap());
    let weight = group.eventually(alone, |_, kind| weight(&kind)).await;
    assert_eq!(weight, 2000);
}
