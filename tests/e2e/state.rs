//! Frameworks' state as a framework uses it: kept over deaths of masters, watched without a gap, and one of two acts.

use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::refusal::Code;
use framework_sdk::state::{Bytes, Keys, Operation, Put, State, StateError, Txn, campaign};

use super::cluster::{Cluster, eventually, examples};

const LIMIT: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Puts until it is known to be there: what was put is the same each time.
async fn puts(state: &State, key: &str, value: String) {
    loop {
        match state.put(key.to_owned(), value.clone()).await {
            Ok(_) => return,
            Err(StateError::Unknown { .. } | StateError::Ask(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn state_is_kept_and_watched_over_the_death_of_each_master() {
    let cluster = Cluster::up("state", &[]);
    let state = State::new(&Profile::load(&cluster.context()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert_eq!(state.get("a").await.unwrap(), None);
        let first = state.swap("a", 0, "1").await.unwrap().expect("it is not there");
        assert_eq!(state.swap("a", 0, "2").await.unwrap(), None, "it is there");
        assert!(state.swap("a", first, "2").await.unwrap().is_some_and(|revision| revision > first));
        let mut watching = state.watch(Keys::prefix("n/"), first);
        let mut told: Vec<Bytes> = Vec::new();
        for round in 0..3 {
            let master = cluster.child(&format!("master-{}", round + 1));
            for n in 0..10 {
                if n == 5 {
                    cluster.kill_9(master);
                }
                puts(&state, "n/x", format!("{round}-{n}")).await;
            }
            let last = format!("{round}-9");
            while told.last().is_none_or(|value| *value != last) {
                let reply = soon("a change", watching.next()).await.expect("it goes on").unwrap();
                told.extend(reply.events.into_iter().map(|event| event.kv.value));
            }
            eventually("three masters again", LIMIT, || (cluster.stoa(&["status"]).code == 0).then_some(()));
        }
        // A put whose answer was lost was sent again: only such may be there twice.
        told.dedup();
        let all: Vec<String> =
            (0..3).flat_map(|round| (0..10).map(move |n| format!("{round}-{n}"))).collect();
        assert_eq!(told, all);
        assert_eq!(state.get("a").await.unwrap().map(|kv| kv.value), Some(Bytes::from("2")));
    });
    cluster.down_leaves_nothing();
}

#[test]
fn of_two_instances_one_acts_and_the_other_takes_over() {
    let cluster = Cluster::up("election", &[]);
    let state = State::new(&Profile::load(&cluster.context()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let ttl = Duration::from_secs(2);
        let mine = state.claim().await.unwrap();
        let one = soon("the lead", campaign(&state, "jobs", "one", ttl)).await.unwrap();
        let second = state.clone();
        let waiting = tokio::spawn(async move { campaign(&second, "jobs", "two", ttl).await });
        let write = |value: &str| {
            Operation::Put(Put { key: "acts".into(), value: value.to_owned().into(), ..Put::default() })
        };
        let guarded =
            |guard, value: &str| Txn { compare: vec![guard], success: vec![write(value)], failure: vec![] };
        let (reply, _) = state.txn(guarded(one.guard(), "one")).await.unwrap();
        assert!(reply.succeeded && !waiting.is_finished());
        // It lets go without a word: its lease runs out.
        let (token, guard) = (one.token(), one.guard());
        drop(one);
        let two = soon("the second", waiting).await.unwrap().unwrap();
        assert!(two.token() > token);
        let (reply, _) = state.txn(guarded(guard, "one")).await.unwrap();
        assert!(!reply.succeeded, "who was deposed writes nothing");
        // And who claims the space fences everybody else.
        mine.put("acts", "mine").await.unwrap();
        let theirs = state.claim().await.unwrap();
        assert_eq!(mine.put("acts", "mine").await.unwrap_err().code(), Some(Code::Fenced));
        theirs.put("acts", "theirs").await.unwrap();
        // A lead that is given up is free at once, and whoever had it knows.
        let third = state.clone();
        let waiting = tokio::spawn(async move { campaign(&third, "jobs", "three", ttl).await });
        two.resign().await.unwrap();
        let three = soon("the third", waiting).await.unwrap().unwrap();
        let taken = state.get("election/jobs").await.unwrap().expect("a leader");
        assert_eq!((taken.value, taken.create_revision), (Bytes::from("three"), three.token()));
        state.revoke(taken.lease).await.unwrap();
        soon("the news of it", three.lost()).await;
    });
    cluster.down_leaves_nothing();
}

#[test]
fn limits_of_the_store_are_settings_of_the_masters() {
    let mut cluster = Cluster::prepared("store-limits", &["--no-jobs"]);
    let wrong = cluster.stoa(&["master", "--data-dir", "never", "--store-value-limit", "3MiB"]);
    assert!(wrong.code != 0 && wrong.err.contains("1KiB to 2MiB"), "{wrong:?}");
    let mut command = cluster.command(env!("CARGO_BIN_EXE_stoa"));
    command.args(["up", "--no-jobs"]).env("STOA_MASTER_STORE_VALUE_LIMIT", "2KiB");
    cluster.up_by(command);
    let state = State::new(&Profile::load(&cluster.context()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        state.put("a", "x".repeat(2048)).await.unwrap();
        let why = state.put("a", "x".repeat(2049)).await.unwrap_err();
        assert_eq!(why.code(), Some(Code::TooMuch));
        let said = why.to_string();
        assert!(said.contains("2048 bytes") && said.contains("--store-value-limit"), "{said}");
    });
    cluster.down_leaves_nothing();
}

#[test]
fn a_framework_that_keeps_its_state_on_the_masters_is_examined_like_any_other() {
    let cluster = Cluster::prepared("state-card", &[]);
    let pair = examples().join("pair").display().to_string();
    let card = cluster.stoa(&["sdk", "conformance", "--only", "failover", &pair]);
    assert_eq!(card.code, 0, "{card:?}");
}
