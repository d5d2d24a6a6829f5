//! A framework in a few lines, over real gRPC and mutual TLS, against a pretend master: it fails over, and comes back.

use std::path::PathBuf;
use std::time::Duration;

use framework_sdk::author::{Builder, Framework, FrameworkError, Run};
use framework_sdk::desired::{Group, TaskSpec};
use framework_sdk::door::Identity;
use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::reconciler::{Change, Event};
use framework_sdk::store::{Loaded, StateStore, StoreError};
use framework_sdk::task::TaskState;
use framework_sdk::testing::FakeCluster;
use framework_sdk::{Profile, id::TaskId};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

async fn cluster() -> FakeCluster {
    let cluster = FakeCluster::start().await.expect("a cluster");
    cluster.with(|fake| fake.add_agent(agent("a1", resources(4000, 4 << 30))));
    cluster
}

fn profile(cluster: &FakeCluster) -> Profile {
    cluster.profile(&Identity::Framework("hello".to_owned())).expect("credentials")
}

fn state_file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("stoa-author-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn web(count: u32) -> Group {
    Group::of(TaskSpec::shell("serve")).named("web").expect("a name").count(count)
}

/// Fails instead of waiting for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

async fn start(builder: Builder, cluster: &FakeCluster) -> Framework {
    soon("a session", builder.connect(profile(cluster))).await.expect("it starts")
}

async fn until(run: &mut Run, wanted: &str) {
    let reading = async {
        while let Some(event) = run.next().await {
            if event.to_string() == wanted {
                return;
            }
        }
        panic!("the run ended without {wanted:?}");
    };
    soon(wanted, reading).await;
}

/// Makes offers until so many tasks were started, and lets them run.
async fn run_tasks(cluster: &FakeCluster, count: usize) {
    soon("a demand", cluster.until(move |fake| !fake.demands().is_empty() || fake.accepted.len() >= count))
        .await;
    cluster.with(Fake::make_offers);
    soon("the launches", cluster.until(move |fake| fake.accepted.len() >= count)).await;
    let tasks = cluster.with(|fake| fake.accepted.clone());
    for id in tasks {
        cluster.with(|fake| {
            if fake.task(id.as_str()).is_some_and(|task| task.state() == TaskState::Staging) {
                fake.report(&id, TaskState::Running, None);
            }
        });
    }
}

#[tokio::test]
async fn hello_runs_to_its_end_over_another_leader() {
    let cluster = cluster().await;
    let framework = start(Framework::builder("hello"), &cluster).await;
    let mut run = framework.submit(web(2)).await.expect("submitted");
    run_tasks(&cluster, 2).await;
    until(&mut run, "web is as stated").await;
    cluster.fail_over();
    let tasks: Vec<TaskId> = cluster.with(|fake| fake.accepted.clone());
    for id in &tasks {
        cluster.with(|fake| fake.report(id, TaskState::Finished, None));
    }
    until(&mut run, "web is over").await;
    assert_eq!(run.next().await, None);
    soon("the end", framework.finish()).await.expect("finished");
    assert!(cluster.with(|fake| fake.doubled.is_empty()));
}

#[tokio::test]
async fn the_next_process_goes_on_with_the_tasks_of_the_last() {
    let cluster = cluster().await;
    let path = state_file("lives");
    let builder = || Framework::builder("hello").state_file(&path);
    let framework = start(builder(), &cluster).await;
    let mut run = framework.submit(web(2)).await.expect("submitted");
    run_tasks(&cluster, 2).await;
    until(&mut run, "web is as stated").await;
    framework.leave().await.expect("it leaves");
    assert!(path.exists());

    let framework = start(builder(), &cluster).await;
    let mut run = framework.submit(web(2)).await.expect("submitted");
    until(&mut run, "web is as stated").await;
    assert_eq!(cluster.with(|fake| fake.accepted.len()), 2, "they are the same tasks");
    soon("the end", framework.finish()).await.expect("finished");
    assert!(!path.exists(), "there is nothing left to remember");
}

#[tokio::test]
async fn what_is_not_taken_in_is_told_again() {
    let cluster = cluster().await;
    let mut failures = 0;
    let take_in = move |event: &Event| {
        failures += 1;
        if failures == 1 { Err(format!("cannot take in: {event}").into()) } else { Ok(()) }
    };
    let framework = start(Framework::builder("hello").on_task(take_in), &cluster).await;
    let mut run = framework.submit(web(1)).await.expect("submitted");
    run_tasks(&cluster, 1).await;
    until(&mut run, "web.0 is running on a1").await;
    let id = cluster.with(|fake| fake.accepted[0].clone());
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    until(&mut run, "web.0 is finished on a1, and is over").await;
    soon("the end", framework.finish()).await.expect("finished");
}

#[tokio::test]
async fn what_cannot_be_is_said_at_once() {
    let cluster = cluster().await;
    let bad = Framework::builder("hello").role("a//b").connect(profile(&cluster)).await;
    assert!(matches!(bad, Err(FrameworkError::Role { .. })), "{bad:?}");
    let path = state_file("broken");
    std::fs::write(&path, "nonsense\n").expect("written");
    let bad = Framework::builder("hello").state_file(&path).connect(profile(&cluster)).await;
    assert!(matches!(bad, Err(FrameworkError::Store(_))), "{bad:?}");
    std::fs::write(&path, "framework\tF9\n").expect("written");
    let bad = Framework::builder("hello").state_file(&path).connect(profile(&cluster));
    let bad = soon("a refusal", bad).await;
    assert!(matches!(bad, Err(FrameworkError::Refused(_))), "{bad:?}");
    assert!(path.exists(), "a cluster that does not know it may be the wrong one");
    std::fs::remove_file(&path).expect("removed");
    let nowhere = state_file("no-such-directory").join("state");
    let bad = Framework::builder("hello").state_file(&nowhere).connect(profile(&cluster));
    let bad = soon("a failure", bad).await;
    assert!(matches!(bad, Err(FrameworkError::Failed(_))), "{bad:?}");
}

/// The promise of the README and of the guide.
#[test]
fn hello_world_has_at_most_thirty_lines() {
    let source = include_str!("../examples/hello.rs");
    let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = source.lines().filter(code).count();
    assert!((10..=30).contains(&lines), "{lines}");
}

/// Keeps nothing; it ends with the framework's thread.
struct Witness {
    _alive: oneshot::Sender<()>,
}

impl StateStore for Witness {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, _changes: &[Change], _fence: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn whoever_does_not_wait_for_the_session_leaves_no_framework_behind() {
    let cluster = cluster().await;
    // A master that is connected to and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let masters = vec![silent.local_addr().expect("an address").to_string()];
    let (alive, over) = oneshot::channel();
    let builder = Framework::builder("hello").store(Witness { _alive: alive });
    tokio::select! {
        end = builder.connect(Profile { masters, ..profile(&cluster) }) => panic!("{end:?}"),
        came = soon("it tries to connect", silent.accept()) => drop(came.expect("a connection")),
    }
    // It would have its session, and acknowledge what nobody is told, as soon as the master answered.
    assert!(soon("the end of its thread", over).await.is_err());
}
