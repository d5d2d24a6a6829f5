//! Frameworks of the SDK among deaths: of the leader, and of their own process.

use std::collections::BTreeSet;
use std::time::Duration;

use framework_sdk::client::{Client, Event};
use framework_sdk::demand::{Demand, Filter};
use framework_sdk::desired::{Group, TaskSpec};
use framework_sdk::explain::Explanation;
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{DemandId, TaskId};
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::{Config, Framework, Profile, tasks as specs, unused_prefix};

use super::cluster::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(30);

/// The ids of its tasks that have not ended.
fn tasks(cluster: &Cluster) -> BTreeSet<String> {
    let tasks = cluster.list("tasks");
    let hello = tasks.iter().filter_map(|task| task["id"].as_str()).filter(|id| id.starts_with("hello."));
    hello.map(str::to_owned).collect()
}

#[test]
fn hello_goes_on_when_the_leader_and_then_its_own_process_are_killed() {
    let cluster = Cluster::up("author", &[]);
    let hello = cluster.example("hello");
    hello.until("all three run", LIMIT, |line| line == "hello is as stated");
    let begun = tasks(&cluster);
    assert_eq!(begun.len(), 3, "{begun:?}");

    cluster.kill_9(cluster.leader().1);
    hello.kill_9();
    let hello = cluster.example("hello");
    hello.until("it has taken them up", LIMIT, |line| line.starts_with("hello.0 is "));
    let now = tasks(&cluster);
    assert!(now.is_subset(&begun), "nothing is started twice: {now:?} after {begun:?}");
    hello.until("they run to their end", LIMIT, |line| line == "hello is over");
    while hello.line("it ends", LIMIT).is_some() {}
    cluster.is_healthy();
    cluster.down_leaves_nothing();
}

#[test]
fn a_framework_learns_why_its_group_waits() {
    let cluster = Cluster::up("author-waits", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let profile = Profile::load(&cluster.context()).unwrap();
    let framework = runtime.block_on(Framework::builder("greedy").connect(profile)).unwrap();
    let large = Group::of(TaskSpec::shell("true").cpus_milli(1_000_000_000)).named("large").unwrap();
    let run = runtime.block_on(framework.submit(large)).unwrap();
    let why = || runtime.block_on(framework.explain(run.group())).unwrap();
    let why: Vec<Explanation> = eventually("a verdict", LIMIT, || Some(why()).filter(|why| !why.is_empty()));
    assert_eq!(why[0].code, "too-large", "{why:?}");
    runtime.block_on(framework.withdraw(run.group())).unwrap();
    eventually("nothing waits", LIMIT, || {
        let why = runtime.block_on(framework.explain(run.group())).unwrap();
        why.is_empty().then_some(())
    });
    runtime.block_on(framework.finish()).unwrap();
    cluster.down_leaves_nothing();
}

/// All that the log tells of.
fn all_events(cluster: &Cluster) -> String {
    cluster.stoa(&["events", "--since", "0", "-o", "json"]).out
}

/// The instances that the log tells of in its events of a kind, each as often as it does.
fn told(events: &str, kind: &str, message: &str) -> Vec<String> {
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let wanted = events.filter(|event| {
        event["event"] == kind && event["message"].as_str().is_some_and(|text| text.starts_with(message))
    });
    let instance = |event: serde_json::Value| {
        let parts: Vec<&str> = event["task_id"].as_str()?.rsplitn(3, '-').collect();
        parts.last().map(|instance| (*instance).to_owned())
    };
    let mut instances: Vec<String> = wanted.filter_map(instance).collect();
    instances.sort();
    instances
}

#[test]
fn two_kinds_of_tasks_lose_and_double_nothing_when_all_is_killed() {
    let cluster = Cluster::up("author-served", &[]);
    let served = cluster.example("served");
    served.until("some work runs", LIMIT, |line| line.starts_with("work-") && line.contains(" is running"));
    cluster.kill_9(cluster.leader().1);
    served.kill_9();
    let served = cluster.example("served");
    served.until("the work is done", LIMIT, |line| line == "the work is done");
    while served.line("it ends", LIMIT).is_some() {}
    let work: Vec<String> = (0..6).map(|number| format!("work-{number}.0")).collect();
    let all = [&["server.0".to_owned()], &work[..]].concat();
    let events = all_events(&cluster);
    assert_eq!(told(&events, "task-launched", ""), all, "each was launched once: {events}");
    assert_eq!(told(&events, "task-ended", "finished"), work, "each piece of work was done once: {events}");
    cluster.down_leaves_nothing();
}

#[test]
fn work_follows_its_server_to_another_port() {
    let cluster = Cluster::up("author-moves", &[]);
    let served = cluster.example("served");
    served.until("the server runs", LIMIT, |line| line.starts_with("server.0 is running"));
    let server = cluster
        .list("tasks")
        .iter()
        .find_map(|task| task["id"].as_str().filter(|id| id.starts_with("server.0")).map(str::to_owned));
    let killed = cluster.stoa(&["kill", &server.expect("it runs")]);
    assert_eq!(killed.code, 0, "{killed:?}");
    served.until("it runs again", LIMIT, |line| line.starts_with("server.0 is running"));
    served.until("the work is done", LIMIT, |line| line == "the work is done");
    while served.line("it ends", LIMIT).is_some() {}
    let done: BTreeSet<String> = told(&all_events(&cluster), "task-ended", "finished").into_iter().collect();
    assert_eq!(done.len(), 6, "{done:?}");
    cluster.down_leaves_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_framework_that_wants_nothing_is_offered_nothing() {
    let cluster = Cluster::up("author-idle", &[]);
    let profile = Profile::load(&cluster.context()).unwrap();
    let role = Role::default_role();
    let info = FrameworkInfo {
        name: "idle".to_owned(),
        roles: vec![role.clone()],
        failover_timeout: Duration::ZERO,
        address: String::new(),
        labels: Default::default(),
    };
    let config = Config {
        info,
        id: None,
        operation_prefix: unused_prefix(),
        masters: profile.masters,
        seed: 1,
        believed: Vec::new(),
    };
    let mut client = Client::start(profile.credentials, config).unwrap();
    let shape = Amount::scalars(Quantities::of(100, 16 << 20));
    let demand = Demand {
        id: DemandId::new("once").unwrap(),
        role,
        shape: shape.clone(),
        count: 1,
        constraints: Default::default(),
        priority: 0,
    };
    client.demand(vec![demand]).await.unwrap();
    let mut room = loop {
        if let Event::Lease(lease) = client.next().await.expect("a session") {
            break lease.room().expect("an offer that is open");
        }
    };
    room.place(&shape, specs::shell(TaskId::new("once").unwrap(), "true")).unwrap();
    client.accept(vec![room], Filter { refuse: Duration::ZERO }).await.unwrap();
    client.demand(Vec::new()).await.unwrap();
    let mut over = false;
    // What it was offered before that was heard, it was told before the answer.
    while let Ok(event) = tokio::time::timeout(Duration::ZERO, client.next()).await {
        if let Event::Update(update) = event.expect("a session") {
            over |= update.status().state.is_terminal();
            client.done(update);
        }
    }
    // Others come and go: so often the master looks what it can offer to whom.
    for _ in 0..5 {
        assert_eq!(cluster.stoa(&["run", "--", "true"]).code, 0);
    }
    // What was told before this is answered has been told.
    client.demand(Vec::new()).await.unwrap();
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(200), client.next()).await {
        match event.expect("a session") {
            Event::Lease(_) => panic!("it wants nothing and is offered something"),
            Event::Update(update) => {
                over |= update.status().state.is_terminal();
                client.done(update);
            }
            Event::Session(_)
            | Event::Rescinded(..)
            | Event::Failure(..)
            | Event::Draining(_)
            | Event::Resumed(_)
            | Event::Ended(_) => {}
        }
    }
    assert!(over, "its task has ended, and it was told");
    drop(client);
    cluster.down_leaves_nothing();
}
