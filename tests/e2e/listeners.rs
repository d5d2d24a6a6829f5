//! Those who read one message a second while thousands of things happen: bounded, told in the end what is so, and cheap for all others.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::door::{Credentials, PeerRole, channel};
use framework_sdk::operator::Operator;
use framework_sdk::role::Role;
use framework_sdk::state::State;
use framework_sdk::views::{Call, EventKind, ReplyKind, SetWeight, Watch};
use proto::role::Weight;
use proto::store;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::services::store::store_client::StoreClient;
use proto_grpc::{Dialer, read_metrics};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::cluster::Cluster;
use super::hostile::{credentials, hello, resident_kib};
use super::strangers::leader_door;

const LIMIT: Duration = Duration::from_secs(20);
/// One after another: what is put together is told together. So many that they do not all wait for one listener.
const PUTS: u32 = 1_500;
const VALUE_BYTES: usize = 8 << 10;
const WEIGHTS: u32 = 6_000;
const HANDS: usize = 16;
const GROWN_MIB: u64 = 48;

/// Reads one message a second until it is told that enough has happened; the stream.
macro_rules! slowly {
    ($stream:expr, $over:expr, $seen:expr) => {{
        let mut stream = $stream;
        let mut pace = interval(Duration::from_secs(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*$over.borrow() {
            pace.tick().await;
            if let Ok(Ok(Some(message))) = timeout(Duration::from_millis(100), stream.message()).await {
                $seen(message);
            }
        }
        stream
    }};
}

/// What each of several does at once, as often as it has to.
async fn all_at_once<F: Future<Output = ()> + Send + 'static>(times: u32, each: impl Fn(u32) -> F) {
    let mut busy = JoinSet::new();
    for number in 0..times {
        if busy.len() >= HANDS {
            busy.join_next().await.expect("somebody is busy").unwrap();
        }
        busy.spawn(each(number));
    }
    while let Some(done) = busy.join_next().await {
        done.unwrap();
    }
}

async fn cut_off(door: &str, credentials: &Credentials) -> u64 {
    let page = read_metrics(door, PeerRole::Master, &Dialer::new(credentials).unwrap()).await.unwrap();
    let line = page.lines().find(|line| line.starts_with("slow_listeners_closed_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_a_message_a_second_misses_nothing_and_costs_the_masters_little() {
    let cluster = Cluster::up("listeners", &["--agents", "1", "--agent-resources", "cpus:2;mem:1GiB"]);
    let profile = Profile::load(&cluster.context()).unwrap();
    let leader = leader_door(&cluster);
    let masters: Vec<u32> = (1..=3).map(|number| cluster.child(&format!("master-{number}"))).collect();
    let own = credentials(&cluster, "keeper");
    let state = State::new(&Profile { credentials: own.clone(), masters: profile.masters.clone() });
    let first = state.put("k", "first").await.unwrap();
    let quiet = hello(&cluster);
    let sizes = || masters.iter().map(|pid| resident_kib(*pid) / 1024).collect::<Vec<_>>();
    let before = sizes();

    // What a framework keeps, and how the pool stands: each has a listener that is slow.
    let (done, over) = tokio::sync::watch::channel(false);
    let asked = |from: u64| store::Watch {
        space: String::new(),
        key: "k".into(),
        range_end: Default::default(),
        start_revision: from,
        prev_kv: false,
    };
    let mut kept = StoreClient::new(channel(&leader, PeerRole::Master, &own).await.unwrap());
    let changes = kept.watch(asked(first + 1)).await.unwrap().into_inner();
    let of_store = over.clone();
    let of_store = tokio::spawn(async move {
        let mut told = Vec::new();
        let stream = slowly!(changes, of_store, |reply: store::WatchReply| told.extend(reply.events));
        (stream, told)
    });
    let way = channel(&leader, PeerRole::Master, &profile.credentials).await.unwrap();
    let mut pool = OperatorClient::new(way).max_decoding_message_size(proto_grpc::REPLY_BYTES_MAX);
    let news = pool.watch(Watch::default()).await.unwrap().into_inner();
    let of_pool = tokio::spawn(async move {
        let (mut weights, mut read) = (BTreeMap::new(), 0);
        let stream = slowly!(news, over, |event: framework_sdk::views::Event| {
            read += 1;
            note(&mut weights, event.kind)
        });
        (stream, weights, read)
    });

    let value = vec![7_u8; VALUE_BYTES];
    let puts = async {
        for _ in 0..PUTS {
            state.put("k", value.clone()).await.unwrap();
        }
    };
    let operator = std::sync::Arc::new(Operator::new(&profile));
    let orders = all_at_once(WEIGHTS, |number| {
        let operator = operator.clone();
        async move {
            // Long names, so that what is told of them is not all within what is on its way.
            let role = Role::new(&format!("slow/{:0100}", number % 8)).unwrap();
            let weight = Weight::from_milli(1_000 + number).unwrap();
            let reply = operator.ask(Call::SetWeight(SetWeight { role, weight })).await.unwrap();
            assert!(matches!(reply.kind, ReplyKind::Done(_)), "{reply:?}");
        }
    });
    let busy = std::time::Instant::now();
    tokio::join!(puts, orders);
    let busy = busy.elapsed();
    let after = sizes();
    let beside = hello(&cluster);
    let closed = cut_off(&leader, &profile.credentials).await;
    done.send(true).unwrap();
    eprintln!(
        "{PUTS} puts and {WEIGHTS} orders in {busy:?}; {closed} cut off; masters had {before:?} MiB, then {after:?}; hello {beside:?}, \
         {quiet:?} before"
    );
    assert!(closed >= 1, "nobody was cut off");

    // What waits is read now. The watch of the state was ended, and goes on where it was; the other tells everything anew.
    let (mut changes, mut told) = of_store.await.unwrap();
    let slowly_read = told.len();
    while let Ok(Some(reply)) = timeout(LIMIT, changes.message()).await.expect("it was ended") {
        told.extend(reply.events);
    }
    let from = told.last().map_or(first, |event| event.kv.mod_revision);
    let (_, last) = state.list(framework_sdk::state::Keys::one("k")).await.unwrap();
    let mut rest = kept.watch(asked(from + 1)).await.unwrap().into_inner();
    while told.last().is_none_or(|event| event.kv.mod_revision < last) {
        let reply = timeout(LIMIT, rest.message()).await.expect("the rest").unwrap().unwrap();
        assert_eq!(reply.refused, None);
        told.extend(reply.events);
    }
    let revisions: Vec<u64> = told.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(revisions, (first + 1..=last).collect::<Vec<_>>(), "each once, in order");
    let (mut news, mut weights, read) = of_pool.await.unwrap();
    let now = |kind: ReplyKind| match kind {
        ReplyKind::Roles(roles) => {
            roles.into_iter().map(|view| (view.role.clone(), view.weight)).collect::<BTreeMap<_, _>>()
        }
        other => panic!("{other:?}"),
    };
    let wanted = now(operator.ask(Call::Roles(Default::default())).await.unwrap().kind);
    while weights != wanted {
        let event = timeout(LIMIT, news.message()).await.expect("how it stands").unwrap().unwrap();
        note(&mut weights, event.kind);
    }

    eprintln!("{slowly_read} changes and {read} events were read while all that happened");
    let grown = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before)).max();
    assert!(grown < Some(GROWN_MIB), "masters had {before:?} MiB, and {after:?}");
    assert!(beside < quiet + Duration::from_secs(5), "{beside:?}, and {quiet:?} before");
    drop((changes, rest, news));
    cluster.is_healthy();
    cluster.down_leaves_nothing();
}

/// Notes the weights of roles.
fn note(weights: &mut BTreeMap<Role, Weight>, kind: EventKind) {
    match kind {
        EventKind::Snapshot(snapshot) => {
            *weights = snapshot.roles.into_iter().map(|view| (view.role, view.weight)).collect();
        }
        EventKind::RoleChanged(view) => {
            weights.insert(view.role, view.weight);
        }
        _ => {}
    }
}
