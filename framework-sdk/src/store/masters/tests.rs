//! A pretend master that loses answers, and the store before it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use proto::id::MasterId;
use proto::refusal::Refusal;
use proto::store::{Call, CallKind, Claimed, KeyValue, RangeReply, Reply, ReplyKind, TxnReply, WatchReply};
use proto_grpc::services::store::store_server;
use proto_grpc::{Identity, serve};
use proto_pki::{Authority, LEAF_VALIDITY};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::*;
use crate::profile::Profile;

/// What becomes of a transaction, by how many there were before it.
type Fate = fn(usize) -> Comes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    Well,
    /// It is carried out, and nobody learns it.
    Unanswered,
    /// Nobody leads any more.
    Never,
}

/// As much of a master as a store needs.
#[derive(Default)]
struct Books {
    keys: BTreeMap<Bytes, Bytes>,
    epoch: u64,
    txns: usize,
    fate: Option<Fate>,
}

#[derive(Clone, Default)]
struct Master(Arc<Mutex<Books>>);

impl Books {
    fn does(&mut self, call: Call) -> Result<ReplyKind, Status> {
        if call.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Ok(ReplyKind::Refused(Refusal::new(Code::Fenced, "claimed later")));
        }
        match call.kind {
            CallKind::Claim(_) => {
                self.epoch += 1;
                Ok(ReplyKind::Claimed(Claimed { epoch: self.epoch }))
            }
            CallKind::Range(range) => {
                let keys = Keys { key: range.key, end: range.range_end };
                let found = self.keys.iter().filter(|(key, _)| keys.contains(key));
                let kv = |(key, value): (&Bytes, &Bytes)| KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    ..KeyValue::default()
                };
                Ok(ReplyKind::Range(RangeReply { kvs: found.map(kv).collect(), ..RangeReply::default() }))
            }
            CallKind::Txn(txn) => {
                let comes = self.fate.map_or(Comes::Well, |fate| fate(self.txns));
                self.txns += 1;
                if comes == Comes::Never {
                    return Ok(ReplyKind::Refused(Refusal::new(Code::LeaderLost, "nobody leads")));
                }
                let is_large =
                    |step: &Operation| matches!(step, Operation::Put(put) if put.value.len() > 1 << 20);
                if txn.success.iter().any(is_large) {
                    return Ok(ReplyKind::Refused(Refusal::new(Code::TooMuch, "a value of more than 1 MiB")));
                }
                for step in txn.success {
                    match step {
                        Operation::Put(put) => drop(self.keys.insert(put.key, put.value)),
                        Operation::DeleteRange(delete) => {
                            let keys = Keys { key: delete.key, end: delete.range_end };
                            self.keys.retain(|key, _| !keys.contains(key));
                        }
                        step => panic!("{step:?}"),
                    }
                }
                if comes == Comes::Unanswered {
                    return Err(Status::unavailable("it broke"));
                }
                Ok(ReplyKind::Txn(TxnReply { succeeded: true, responses: Vec::new() }))
            }
            kind => panic!("{kind:?}"),
        }
    }
}

#[tonic::async_trait]
impl store_server::Store for Master {
    type WatchStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let kind = self.0.lock().unwrap().does(request.into_inner())?;
        Ok(Response::new(Reply { revision: 1, term: 1, kind }))
    }

    async fn watch(&self, _: Request<proto::store::Watch>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody watches"))
    }
}

/// A pretend master, and its space.
async fn master() -> (Master, State) {
    let authority = Authority::create("test").unwrap();
    let credentials = authority.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let master = Master::default();
    let routes = Routes::new(store_server::StoreServer::new(master.clone()));
    tokio::spawn(async move { serve(listener, &credentials, routes, std::future::pending()).await });
    let credentials = authority.issue(&Identity::Framework("jobs".into()), LEAF_VALIDITY).unwrap();
    (master, State::new(&Profile { credentials, masters: vec![address] }))
}

/// One life: it loads, and saves these changes. How that ended, and what it had found.
async fn lives(space: &State, given_up: bool, changes: Vec<Change>) -> (Loaded, Result<(), StoreError>) {
    let (_waits, given_up) = watch::channel(given_up);
    let mut store = MasterStore::new(space.clone(), 0, given_up);
    let life = spawn_blocking(move || {
        let loaded = store.load().unwrap();
        let saved = store.commit(&changes, loaded.fence);
        (loaded, saved)
    });
    life.await.unwrap()
}

fn changes(count: usize, bytes: usize) -> Vec<Change> {
    let value = |n: usize| Change { key: format!("home/web.{n}"), value: Some("x".repeat(bytes)) };
    (0..count).map(value).collect()
}

fn one() -> Vec<Change> {
    vec![Change { key: "last".to_owned(), value: Some("1".to_owned()) }]
}

#[test]
fn changes_go_together_as_far_as_one_transaction_takes_them() {
    assert_eq!(parts(&changes(TXN_CHANGES_MAX, 9)).len(), 1);
    assert_eq!(parts(&changes(250, 9)), [0..100, 100..200, 200..250]);
    assert_eq!(parts(&changes(3, TXN_BYTES_MAX / 2)), [0..1, 1..2, 2..3]);
    let all = parts(&changes(1000, 2000)).into_iter().flatten().count();
    assert_eq!(all, 1000);
}

#[test]
fn of_two_changes_of_a_key_the_later_one_counts() {
    let change = |key: &str, value: Option<&str>| Change { key: key.into(), value: value.map(str::to_owned) };
    let both = [change("a", Some("1")), change("b", None), change("a", None)];
    assert_eq!(latest(&both), [change("b", None), change("a", None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_are_saved_whatever_answers_are_lost_and_nothing_is_left_of_the_way() {
    let (master, space) = master().await;
    master.0.lock().unwrap().fate =
        Some(|number| if number % 2 == 0 { Comes::Unanswered } else { Comes::Well });
    let (_, saved) = lives(&space, false, changes(250, 9)).await;
    saved.unwrap();
    let (loaded, saved) = lives(&space, false, one()).await;
    saved.unwrap();
    assert_eq!((loaded.known.len(), loaded.fence), (250, 2));
    let keys: Vec<Bytes> = master.0.lock().unwrap().keys.keys().cloned().collect();
    assert!(keys.iter().all(|key| key.starts_with(KEPT.as_bytes())), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_longer_as_it_is_written_is_saved_among_others() {
    let (master, space) = master().await;
    let long = "\né".repeat(300 << 10);
    let mut all = changes(3, 9);
    all.push(Change { key: "long".to_owned(), value: Some(long.clone()) });
    let (_, saved) = lives(&space, false, all).await;
    saved.unwrap();
    let (loaded, _) = lives(&space, false, one()).await;
    assert!(loaded.known.len() == 4 && loaded.known["long"] == long);
    let keys: Vec<Bytes> = master.0.lock().unwrap().keys.keys().cloned().collect();
    assert!(keys.iter().all(|key| key.starts_with(KEPT.as_bytes())), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_ends_within_many_changes_has_saved_all_of_them_or_none() {
    // They are one deletion, three parts, the word that it is all, and then three changes and the end.
    let fates: [Fate; 8] = [
        |number| if number < 1 { Comes::Well } else { Comes::Never },
        |number| if number < 2 { Comes::Well } else { Comes::Never },
        |number| if number < 3 { Comes::Well } else { Comes::Never },
        |number| if number < 4 { Comes::Well } else { Comes::Never },
        |number| if number < 5 { Comes::Well } else { Comes::Never },
        |number| if number < 6 { Comes::Well } else { Comes::Never },
        |number| if number < 7 { Comes::Well } else { Comes::Never },
        |number| if number < 8 { Comes::Well } else { Comes::Never },
    ];
    for (well, fate) in (1..).zip(fates) {
        let (master, space) = master().await;
        master.0.lock().unwrap().fate = Some(fate);
        let (_, saved) = lives(&space, true, changes(250, 9)).await;
        assert!(matches!(saved, Err(StoreError::Unknown(_))), "{well}: {saved:?}");
        master.0.lock().unwrap().fate = None;
        let (loaded, saved) = lives(&space, false, one()).await;
        saved.unwrap();
        assert_eq!(
            loaded.known.len(),
            if well < 5 { 0 } else { 250 },
            "{well} transactions were carried out"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_is_fenced_once_the_next_one_has_loaded() {
    let (_master, space) = master().await;
    let (_waits, given_up) = watch::channel(false);
    let mut store = MasterStore::new(space.clone(), 0, given_up);
    let (mut store, loaded) = spawn_blocking(move || {
        let loaded = store.load().unwrap();
        (store, loaded)
    })
    .await
    .unwrap();
    lives(&space, false, one()).await.1.unwrap();
    let late = spawn_blocking(move || store.commit(&one(), loaded.fence)).await.unwrap();
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
}
