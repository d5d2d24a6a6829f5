//! State and acknowledgement together: what a life has saved is not done again by the next, and what it has not is told again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::author::{Builder, Framework, FrameworkError, Kept, Run};
use framework_sdk::conversation::{Acknowledge, CallKind};
use framework_sdk::desired::{Group, TaskSpec};
use framework_sdk::door::Identity;
use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::id::TaskId;
use framework_sdk::reconciler::{Change, Event};
use framework_sdk::store::{StateFile, StateStore};
use framework_sdk::task::TaskState;
use framework_sdk::testing::{Failure, FakeCluster, FakeStore};

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn cluster() -> FakeCluster {
    let cluster = FakeCluster::start().await.expect("a cluster");
    cluster.with(|fake| fake.add_agent(agent("a1", resources(4000, 4 << 30))));
    cluster
}

fn profile(cluster: &FakeCluster) -> Profile {
    cluster.profile(&Identity::Framework("hello".to_owned())).expect("credentials")
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

async fn start(builder: Builder, cluster: &FakeCluster) -> Framework {
    soon("a session", builder.connect(profile(cluster))).await.expect("it starts")
}

fn work() -> Group {
    Group::of(TaskSpec::shell("work")).named("work").expect("a name")
}

/// Its one task is started, runs, and ends well.
async fn starts(cluster: &FakeCluster) -> TaskId {
    soon("a demand", cluster.until(|fake| !fake.demands().is_empty())).await;
    cluster.with(Fake::make_offers);
    soon("the launch", cluster.until(|fake| !fake.accepted.is_empty())).await;
    let id = cluster.with(|fake| fake.accepted[0].clone());
    cluster.with(|fake| fake.report(&id, TaskState::Running, None));
    id
}

fn acknowledged(kind: &CallKind, id: &TaskId) -> bool {
    // The second update of its run is its end.
    matches!(kind, CallKind::Acknowledge(Acknowledge { task, sequence: 2, .. }) if task == id)
}

async fn until_acknowledged(cluster: &FakeCluster, id: &TaskId) {
    let find = |_: &Fake, journal: &framework_sdk::testing::Journal| {
        journal.calls(0).any(|(_, kind)| acknowledged(kind, id)).then_some(())
    };
    soon("the acknowledgement", cluster.until_noted(find)).await;
}

async fn until_over(run: &mut Run) {
    let reading = async { while run.next().await.is_some_and(|event| !matches!(event, Event::Over(_))) {} };
    soon("the end", reading).await;
}

fn is_of(prefix: &'static str) -> impl Fn(&[Change]) -> bool {
    move |changes| changes.iter().any(|change| change.key.starts_with(prefix))
}

#[tokio::test]
async fn an_end_is_acknowledged_only_when_what_follows_is_saved() {
    let cluster = cluster().await;
    let store = FakeStore::new();
    let framework = start(Framework::builder("hello").store(store.clone()), &cluster).await;
    let mut run = framework.submit(work()).await.expect("submitted");
    let id = starts(&cluster).await;
    let running = |event: &Event| event.to_string() == "work.0 is running on a1";
    soon("it runs", async { while !run.next().await.as_ref().is_some_and(running) {} }).await;
    store.hold();
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    soon("a save", store.until_one_waits()).await;
    let said: Vec<CallKind> = cluster.journal().calls(0).map(|(_, kind)| kind.clone()).collect();
    assert!(!said.iter().any(|kind| acknowledged(kind, &id)), "{said:?}");
    store.release();
    until_over(&mut run).await;
    until_acknowledged(&cluster, &id).await;
    assert!(store.known().contains_key("over/work.0"));
}

/// The first life fails at a save; the next one is told of the end again. How often the author acted, and how the first ended.
async fn dies_at(prefix: &'static str, failure: Failure) -> (Vec<String>, FrameworkError, FakeCluster) {
    dies_and_states(prefix, failure, true).await
}

/// The same; the next life states the group again, or that nothing should be.
async fn dies_and_states(
    prefix: &'static str,
    failure: Failure,
    again: bool,
) -> (Vec<String>, FrameworkError, FakeCluster) {
    let cluster = cluster().await;
    let store = FakeStore::new();
    let acts: Arc<Mutex<Vec<String>>> = Arc::default();
    let builder = || {
        let acts = acts.clone();
        let act = move |event: &Event, kept: &mut Kept<'_>| -> Result<(), Failed> {
            let Event::Task(task) = event else { return Ok(()) };
            let key = format!("paid/{}", task.instance);
            if task.status.state == TaskState::Finished && kept.get(&key).is_none() {
                acts.lock().unwrap().push(task.instance.to_string());
                kept.put(&key, "yes")?;
            }
            Ok(())
        };
        Framework::builder("hello").store(store.clone()).on_task_keeping(act)
    };
    let mut first = start(builder(), &cluster).await;
    let mut run = first.submit(work()).await.expect("submitted");
    let id = starts(&cluster).await;
    let running = |event: &Event| event.to_string() == "work.0 is running on a1";
    soon("it runs", async { while !run.next().await.as_ref().is_some_and(running) {} }).await;
    store.fail_when(is_of(prefix), failure);
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    let end = soon("the first life ends", first.ended()).await.expect_err("its store failed");
    let said = cluster.journal().calls(0).any(|(_, kind)| acknowledged(kind, &id));
    assert!(!said, "what was not saved as far as it knows is not acknowledged");
    drop(first);

    let second = start(builder(), &cluster).await;
    if again {
        let mut run = second.submit(work()).await.expect("submitted");
        until_over(&mut run).await;
    } else {
        second.exactly(Vec::new()).await.expect("stated");
    }
    until_acknowledged(&cluster, &id).await;
    assert_eq!(cluster.with(|fake| fake.accepted.clone()), [id], "it has run once");
    assert_eq!(store.known().get("kept/paid/work.0").map(String::as_str), Some("yes"));
    let acts = acts.lock().unwrap().clone();
    (acts, end, cluster)
}

#[tokio::test]
async fn killed_between_the_save_and_the_acknowledgement_it_does_not_act_twice() {
    for prefix in ["over/", "kept/"] {
        let (acts, end, _) = dies_at(prefix, Failure::LostAnswer).await;
        assert_eq!(acts, ["work.0"], "{prefix}");
        assert!(matches!(end, FrameworkError::Failed(_)), "{end:?}");
    }
}

#[tokio::test]
async fn killed_before_the_save_it_is_told_again_and_acts() {
    // It had not come to act.
    assert_eq!(dies_at("over/", Failure::NotSaved).await.0, ["work.0"]);
    // It had acted, and nothing of that is kept.
    assert_eq!(dies_at("kept/", Failure::NotSaved).await.0, ["work.0", "work.0"]);
}

#[tokio::test]
async fn an_end_in_a_group_that_is_not_wanted_any_more_is_told_all_the_same() {
    for failure in [Failure::LostAnswer, Failure::NotSaved] {
        let (acts, ..) = dies_and_states("over/", failure, false).await;
        assert_eq!(acts, ["work.0"], "{failure:?}");
    }
}

#[tokio::test]
async fn a_life_that_is_refused_by_the_fence_says_so() {
    let (acts, end, _) = dies_at("over/", Failure::Fenced).await;
    assert!(matches!(end, FrameworkError::Fenced { .. }), "{end:?}");
    assert!(end.to_string().contains("another instance"), "{end}");
    assert_eq!(acts, ["work.0"]);
}

#[tokio::test]
async fn a_deposed_instance_ends_and_cannot_take_the_session_back() {
    let cluster = cluster().await;
    let store = FakeStore::new();
    let builder = || Framework::builder("hello").store(store.clone());
    let mut first = start(builder(), &cluster).await;
    let second = start(builder(), &cluster).await;
    let end = soon("the first ends", first.ended()).await.expect_err("it is deposed");
    assert!(matches!(end, FrameworkError::Fenced { .. }), "{end:?}");
    let mut run = second.submit(work()).await.expect("submitted");
    let id = starts(&cluster).await;
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    until_over(&mut run).await;
}

#[tokio::test]
async fn high_availability_wants_its_state_on_the_masters() {
    let cluster = cluster().await;
    let builder = Framework::builder("hello").state_file("hello.state").high_availability();
    let refused = builder.connect(profile(&cluster)).await.expect_err("a file is no place for it");
    assert!(refused.to_string().contains("`.state("), "{refused}");
}

#[test]
fn stores_keep_what_was_committed_for_the_next_life() {
    let path = std::env::temp_dir().join(format!("stoa-kept-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let fake = FakeStore::new();
    let stores: [&dyn Fn() -> Box<dyn StateStore>; 2] =
        [&|| Box::new(StateFile::at(&path)), &|| Box::new(fake.clone())];
    for open in stores {
        let mut first = open();
        let fence = first.load().expect("empty").fence;
        let change =
            |key: &str, value: Option<&str>| Change { key: key.into(), value: value.map(str::to_owned) };
        first
            .commit(&[change("a", Some("1\t2\n")), change("b", Some("")), change("c", Some("3"))], fence)
            .unwrap();
        first.commit(&[change("c", None)], fence).unwrap();
        let known = open().load().expect("there").known;
        assert_eq!(
            known.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "1\t2\n".to_owned()), ("b".to_owned(), String::new())]
        );
    }
    std::fs::remove_file(&path).expect("removed");
}
