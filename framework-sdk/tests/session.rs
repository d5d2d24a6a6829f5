//! The session over real gRPC and mutual TLS, against a pretend master.

use framework_sdk::client::{CallError, Client, Event, Lease};
use framework_sdk::demand::{DeclineReason, Demand, Filter};
use framework_sdk::door::Identity;
use framework_sdk::harness::{agent, config, resources};
use framework_sdk::id::{DemandId, TaskId};
use framework_sdk::quantities::Quantities;
use framework_sdk::refusal::Code;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::task::TaskState;
use framework_sdk::testing::FakeCluster;
use framework_sdk::{Config, StartError, tasks};

fn shape() -> Amount {
    Amount::scalars(Quantities::of(100, 1 << 20))
}

fn demand(count: u64) -> Vec<Demand> {
    vec![Demand {
        id: DemandId::new("d").expect("an id"),
        role: Role::default_role(),
        shape: shape(),
        count,
        constraints: Default::default(),
        priority: 0,
    }]
}

async fn cluster() -> FakeCluster {
    let cluster = FakeCluster::start().await.expect("a cluster");
    cluster.with(|fake| fake.add_agent(agent("a1", resources(4000, 4 << 30))));
    cluster
}

fn client(cluster: &FakeCluster, who: &Identity) -> Result<Client, StartError> {
    let profile = cluster.profile(who).expect("credentials");
    Client::start(profile.credentials, Config { masters: profile.masters, ..config("test") })
}

fn framework() -> Identity {
    Identity::Framework("test".to_owned())
}

async fn lease(client: &mut Client) -> Lease {
    loop {
        match client.next().await.expect("a session") {
            Event::Lease(lease) => return lease,
            Event::Ended(why) => panic!("ended: {why}"),
            Event::Session(_)
            | Event::Update(_)
            | Event::Rescinded(..)
            | Event::Failure(..)
            | Event::Draining(_)
            | Event::Resumed(_) => {}
        }
    }
}

async fn state(client: &mut Client) -> TaskState {
    loop {
        if let Event::Update(update) = client.next().await.expect("a session") {
            let state = update.status().state;
            client.done(update);
            return state;
        }
    }
}

#[tokio::test]
async fn a_task_is_demanded_leased_started_and_seen_to_its_end() {
    let cluster = cluster().await;
    let mut client = client(&cluster, &framework()).expect("a client");
    client.demand(demand(1)).await.expect("accepted");
    cluster.with(|fake| fake.make_offers());
    let mut room = lease(&mut client).await.room().expect("unused yet");
    let task = tasks::shell(TaskId::new("t").expect("an id"), "true");
    room.place(&shape(), task).expect("it fits");
    assert!(client.accept(vec![room], Filter::DEFAULT).await.expect("committed") > 0);

    let id = TaskId::new("t").expect("an id");
    cluster.with(|fake| fake.report(&id, TaskState::Running, None));
    cluster.fail_over();
    assert_eq!(state(&mut client).await, TaskState::Running);
    cluster.with(|fake| fake.report(&id, TaskState::Finished, None));
    assert_eq!(state(&mut client).await, TaskState::Finished);
    client.teardown().await.expect("torn down");
    assert!(matches!(client.kill(id, None).await, Err(CallError::Ended)));
}

#[tokio::test]
async fn a_lease_that_is_dropped_declines_itself() {
    let cluster = cluster().await;
    let mut client = client(&cluster, &framework()).expect("a client");
    client.demand(demand(2)).await.expect("accepted");
    cluster.with(|fake| fake.make_offers());
    let free =
        |milli| move |fake: &framework_sdk::harness::Fake| fake.free("a1").scalars.cpus_milli() == milli;
    let first = lease(&mut client).await;
    cluster.until(free(3800)).await;
    drop(first);
    cluster.until(free(4000)).await;
    cluster.with(|fake| fake.make_offers());
    lease(&mut client).await.decline(DeclineReason::TooSmall, Filter::DEFAULT);
    cluster.until(free(4000)).await;
}

#[tokio::test]
async fn a_refusal_is_an_error_of_the_call() {
    let cluster = cluster().await;
    let mut client = client(&cluster, &framework()).expect("a client");
    client.demand(demand(1)).await.expect("accepted");
    cluster.with(|fake| fake.make_offers());
    let mut room = lease(&mut client).await.room().expect("unused yet");
    room.place(&shape(), tasks::shell(TaskId::new("t").expect("an id"), "true")).expect("it fits");
    cluster.with(|fake| fake.make_offers());
    cluster.fail_over();
    match client.accept(vec![room], Filter::DEFAULT).await {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal.code, Code::StaleOffer),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_frameworks_hold_a_framework_session() {
    let cluster = cluster().await;
    let mut client = client(&cluster, &Identity::User("eve".to_owned())).expect("a client");
    loop {
        match client.next().await.expect("an end") {
            Event::Ended(why) => {
                assert_eq!(why.code, Code::Denied);
                break;
            }
            Event::Session(_) => panic!("eve has a session"),
            Event::Lease(_)
            | Event::Update(_)
            | Event::Rescinded(..)
            | Event::Failure(..)
            | Event::Draining(_)
            | Event::Resumed(_) => {}
        }
    }
    assert!(client.demand(demand(1)).await.is_err());
}

#[tokio::test]
async fn a_profile_reads_back_and_says_what_is_wrong() {
    let cluster = cluster().await;
    let dir = std::env::temp_dir().join(format!("stoa-profile-{}", std::process::id()));
    let profile = cluster.profile(&Identity::User("ada".to_owned())).expect("credentials");
    profile.save(&dir).expect("saved");
    let read = framework_sdk::Profile::load(&dir).expect("read");
    assert_eq!((&read.masters, &read.credentials), (&profile.masters, &profile.credentials));
    std::fs::write(dir.join("masters"), "# nobody\n\n").expect("written");
    let bad = framework_sdk::Profile::load(&dir).expect_err("no masters");
    assert!(bad.to_string().contains("names no master"), "{bad}");
    std::fs::remove_dir_all(&dir).expect("removed");
}
