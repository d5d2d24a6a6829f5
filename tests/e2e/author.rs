//! The hello world of the SDK among deaths: of the leader, and of its own process.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cluster::Cluster;

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
