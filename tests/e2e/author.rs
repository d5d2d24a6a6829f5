//! The hello world of the SDK among deaths: of the leader, and of its own process.

use std::collections::BTreeSet;
use std::time::Duration;

use framework_sdk::desired::{Group, TaskSpec};
use framework_sdk::explain::Explanation;
use framework_sdk::{Framework, Profile};

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
