//! Instances of a framework that take turns, on pretend masters: what is started is taken up, what is saved is not done again,
//! and who is cut off can do nothing any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use framework_sdk::author::{Builder, Framework, FrameworkError, Kept};
use framework_sdk::desired::{Group, TaskSpec};
use framework_sdk::door::Identity;
use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::id::TaskId;
use framework_sdk::reconciler::Event;
use framework_sdk::refusal::Code;
use framework_sdk::state::{Call, CallKind, Keys, Operation, State, campaign};
use framework_sdk::task::TaskState;
use framework_sdk::testing::{Cable, Cut, FakeCluster, FakeState};
use tokio::task::JoinHandle;

/// The principal of both.
const ME: &str = "framework/pair";

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn me() -> Identity {
    Identity::Framework("pair".to_owned())
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// Two masters, a machine, and a cable for each of two instances.
async fn pair() -> (FakeCluster, Cable, Cable) {
    let cluster = FakeCluster::of_masters(2).await.expect("a cluster");
    cluster.with(|fake| fake.add_agent(agent("a1", resources(4000, 4 << 30))));
    let (one, two) = (cluster.cable(&me()).await.expect("one"), cluster.cable(&me()).await.expect("two"));
    (cluster, one, two)
}

/// An instance; what it did about ends is written down once it has kept that it did.
fn instance(acts: &Arc<Mutex<Vec<String>>>) -> Builder {
    let acts = acts.clone();
    let act = move |event: &Event, kept: &mut Kept<'_>| -> Result<(), Failed> {
        let Event::Task(task) = event else { return Ok(()) };
        let key = format!("paid/{}", task.instance);
        if task.status.state == TaskState::Finished && kept.get(&key).is_none() {
            acts.lock().expect("no panic").push(task.instance.to_string());
            kept.put(&key, "yes")?;
        }
        Ok(())
    };
    Framework::builder("pair").high_availability().on_task_keeping(act)
}

type Starting = JoinHandle<Result<Framework, FrameworkError>>;

/// An instance that waits for its turn: it has said that it is there.
async fn waits(cluster: &FakeCluster, cable: &Cable, acts: &Arc<Mutex<Vec<String>>>) -> Starting {
    let waiting = tokio::spawn(instance(acts).connect(cable.profile()));
    let both = |state: &FakeState| state.leases(ME, "pair") == 2;
    soon("a lease of its own", cluster.until_state(both)).await;
    waiting
}

fn work() -> Group {
    Group::of(TaskSpec::shell("work")).named("work").expect("a name")
}

/// The one task of `work` runs.
async fn runs(cluster: &FakeCluster) -> TaskId {
    soon("a demand", cluster.until(|fake| !fake.demands().is_empty())).await;
    cluster.with(Fake::make_offers);
    soon("the launch", cluster.until(|fake| !fake.accepted.is_empty())).await;
    let id = cluster.with(|fake| fake.accepted[0].clone());
    cluster.with(|fake| fake.report(&id, TaskState::Running, None));
    id
}

/// Whether a call to the store keeps something under a key that begins so.
fn keeps(beginning: &'static str) -> impl Fn(&Call) -> bool {
    move |call| {
        let CallKind::Txn(txn) = &call.kind else { return false };
        txn.success
            .iter()
            .any(|step| matches!(step, Operation::Put(put) if put.key.starts_with(beginning.as_bytes())))
    }
}

async fn until_acknowledged(cluster: &FakeCluster, id: &TaskId) {
    let taken_in = |fake: &Fake| fake.task(id.as_str()).is_some_and(|task| task.unacknowledged() == 0);
    soon("the acknowledgement", cluster.until(taken_in)).await;
}

/// The first instance is killed where it keeps what it did about an end; the second one takes over. How often they acted.
async fn killed_where_it_keeps(cut: Cut) -> Vec<String> {
    let (cluster, one, two) = pair().await;
    let acts: Arc<Mutex<Vec<String>>> = Arc::default();
    let first = soon("a turn", instance(&acts).connect(one.profile())).await.expect("it starts");
    let waiting = waits(&cluster, &two, &acts).await;
    first.submit(work()).await.expect("submitted");
    let id = runs(&cluster).await;
    one.cut_at(keeps("framework/kept/paid/"), cut);
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    soon("the first one is killed", one.until_cut()).await;
    assert!(!waiting.is_finished(), "the first one has its turn until its lease runs out");
    cluster.let_leases_run_out();
    let second = soon("its turn", waiting).await.expect("no panic").expect("it starts");
    let mut run = second.submit(work()).await.expect("submitted");
    soon("the end", async { while run.next().await.is_some() {} }).await;
    until_acknowledged(&cluster, &id).await;
    assert_eq!(cluster.with(|fake| fake.accepted.clone()), [id], "it has run once");
    let paid = cluster.with_state(|state| state.get(ME, "pair", "framework/kept/paid/work.0").cloned());
    assert_eq!(paid.expect("kept").value, "yes");
    drop(first);
    acts.lock().expect("no panic").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_saved_before_it_was_killed_is_not_done_again() {
    assert_eq!(killed_where_it_keeps(Cut::After).await, ["work.0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_saved_before_it_was_killed_is_told_to_the_next() {
    assert_eq!(killed_where_it_keeps(Cut::Before).await, ["work.0", "work.0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_ends_by_its_own_clock_and_its_tasks_are_taken_up() {
    let (cluster, one, two) = pair().await;
    let acts = Arc::default();
    let mut first = soon("a turn", instance(&acts).connect(one.profile())).await.expect("it starts");
    let waiting = waits(&cluster, &two, &acts).await;
    first.submit(work()).await.expect("submitted");
    let id = runs(&cluster).await;
    one.cut();
    // Nobody says that it shall: three seconds pass here and there.
    let end = soon("the first one ends", first.ended()).await.expect_err("it has lost its turn");
    assert!(matches!(end, FrameworkError::Fenced { .. }), "{end:?}");
    let second = soon("its turn", waiting).await.expect("no panic").expect("it starts");
    second.submit(work()).await.expect("submitted");
    // It comes back, and cannot write: the space was claimed later.
    one.mend();
    let late = first.state().expect("its space").put("mine", "late").await.expect_err("fenced");
    assert_eq!(late.code(), Some(Code::Fenced), "{late}");
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    until_acknowledged(&cluster, &id).await;
    assert_eq!(cluster.with(|fake| fake.accepted.clone()), [id], "it was not started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_slept_through_its_lease_is_fenced_when_it_wakes() {
    let (cluster, one, two) = pair().await;
    let acts = Arc::default();
    let mut first = soon("a turn", instance(&acts).connect(one.profile())).await.expect("it starts");
    let waiting = waits(&cluster, &two, &acts).await;
    cluster.let_leases_run_out();
    let _second = soon("its turn", waiting).await.expect("no panic").expect("it starts");
    let end = soon("the first one ends", first.ended()).await.expect_err("it is deposed");
    assert!(matches!(end, FrameworkError::Fenced { .. }), "{end:?}");
    assert!(
        cluster.with(|fake| fake.is_connected()),
        "the first one's attempts do not end the session of the second"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_lets_the_next_one_in_at_once_also_under_another_leader() {
    let (cluster, one, two) = pair().await;
    let acts = Arc::default();
    let first = soon("a turn", instance(&acts).connect(one.profile())).await.expect("it starts");
    let waiting = waits(&cluster, &two, &acts).await;
    cluster.fail_over();
    soon("its session", cluster.until(Fake::is_connected)).await;
    first.leave().await.expect("it leaves");
    soon("its turn", waiting).await.expect("no panic").expect("it starts");
}

#[tokio::test]
async fn a_watch_tells_each_change_once_over_leaders_and_a_cut() {
    let cluster = FakeCluster::of_masters(2).await.expect("a cluster");
    let cable = cluster.cable(&me()).await.expect("a cable");
    let (near, far) =
        (State::new(&cluster.profile(&me()).expect("credentials")), State::new(&cable.profile()));
    let first = near.put("w/0", "0").await.expect("put");
    let mut changes = far.watch(Keys::prefix("w/"), first);
    let mut told = Vec::new();
    for number in 0..6 {
        if number > 0 {
            near.put(format!("w/{number}"), number.to_string()).await.expect("put");
        }
        let reply = soon("a change", changes.next()).await.expect("it goes on").expect("no fault");
        told.extend(reply.events.into_iter().map(|event| event.kv.key));
        match number {
            1 => cluster.fail_over(),
            3 => cable.cut(),
            _ => {}
        }
        cable.mend();
    }
    let all: Vec<String> = (0..6).map(|number| format!("w/{number}")).collect();
    assert_eq!(told, all);
    assert!(near.put("", "x").await.expect_err("no key").to_string().contains("the key is empty"));
}

#[tokio::test]
async fn a_lease_ends_with_its_time_and_begins_anew_with_a_leader() {
    let cluster = FakeCluster::of_masters(2).await.expect("a cluster");
    let state = State::new(&cluster.profile(&me()).expect("credentials"));
    let lead = campaign(&state, "e", "one", Duration::from_secs(3)).await.expect("it leads");
    cluster.fail_over();
    let claimed = lead.claim().await.expect("the next leader knows the lease");
    claimed.put("a", "1").await.expect("put");
    let short = state.grant(Duration::from_secs(1)).await.expect("granted");
    let put = framework_sdk::state::Put {
        key: "b".into(),
        value: "1".into(),
        lease: short.id,
        ..Default::default()
    };
    let put = claimed.ask(CallKind::Put(put)).await.expect("put").revision;
    let mut changes = state.watch(Keys::one("b"), put + 1);
    let gone = soon("its end", changes.next()).await.expect("it goes on").expect("no fault");
    assert!(gone.events[0].deleted && state.get("b").await.expect("an answer").is_none());
    cluster.let_leases_run_out();
    soon("the lead is lost", lead.lost()).await;
    assert_eq!(lead.claim().await.expect_err("lost").code(), Some(Code::NotFound));
}
