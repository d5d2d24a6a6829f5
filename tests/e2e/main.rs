//! The real binary, end to end: a cluster from one command, work on it, and the death of each of its parts.

mod cluster;
mod docs;
mod founding;

use std::time::Duration;

use cluster::{Cluster, eventually};

#[test]
fn a_newcomer_runs_a_command_kills_the_leader_and_goes_on() {
    let cluster = Cluster::up("newcomer", &[]);
    let hello = cluster.stoa(&["run", "--", "echo", "hello"]);
    assert_eq!((hello.code, hello.out.as_str()), (0, "hello\n"), "{hello:?}");
    let seven = cluster.stoa(&["run", "--", "sh", "-c", "echo broken >&2; exit 7"]);
    assert_eq!(seven.code, 7, "the exit code is the task's: {seven:?}");
    assert!(seven.err.contains("broken"), "standard error comes through: {seven:?}");

    let status = cluster.stoa(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert_eq!(cluster.list("agents").len(), 3);

    let before = cluster.leader();
    cluster.kill_9(before.1);
    let after = eventually("another leader", Duration::from_secs(10), || {
        cluster.try_leader().filter(|leader| leader.1 != before.1)
    });
    assert_ne!(after.1, before.1);
    let again = cluster.stoa(&["run", "--", "echo", "again"]);
    assert_eq!((again.code, again.out.as_str()), (0, "again\n"), "{again:?}");
    eventually("three masters again", Duration::from_secs(10), || {
        (cluster.stoa(&["status"]).code == 0).then_some(())
    });
    cluster.down_leaves_nothing();
}

#[test]
fn services_and_batches_come_from_files() {
    let cluster = Cluster::up("files", &[]);
    let web = cluster.file(
        "web.toml",
        "name = \"web\"\ncommand = \"while :; do date; sleep 1; done\"\ninstances = 3\ncpus = 0.05\nmem = \"16MiB\"\n",
    );
    let applied = cluster.stoa(&["job", "apply", &web]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let running = || {
        let tasks = cluster.list("tasks");
        tasks
            .iter()
            .filter(|task| {
                task["name"].as_str().is_some_and(|n| n.starts_with("web")) && task["state"] == "running"
            })
            .count()
    };
    eventually("three instances", Duration::from_secs(20), || (running() == 3).then_some(()));

    let batch = cluster.file(
        "batch.yaml",
        "name: hundred\nkind: batch\ncommand: [\"true\"]\ninstances: 100\ncpus: 0.01\nmem: 4MiB\n",
    );
    let applied = cluster.stoa(&["job", "apply", &batch, "--wait"]);
    assert_eq!(applied.code, 0, "{applied:?}");

    let huge =
        cluster.file("huge.toml", "name = \"huge\"\ncommand = \"true\"\ncpus = 512\nmem = \"64MiB\"\n");
    assert_eq!(cluster.stoa(&["job", "apply", &huge]).code, 0);
    let why = eventually("a verdict", Duration::from_secs(10), || {
        let why = cluster.stoa(&["explain", "job", "huge"]);
        why.out.contains("cpus").then_some(why)
    });
    assert!(why.out.contains("agent-"), "it names the machines that came nearest: {}", why.out);

    let bad = cluster.file("bad.toml", "name = \"bad\"\ncomand = \"true\"\n");
    let refused = cluster.stoa(&["job", "apply", &bad]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("comand") && refused.err.contains("command"), "a suggestion: {refused:?}");
    let broken = cluster.file("broken.toml", "name = [[[");
    assert_eq!(cluster.stoa(&["job", "apply", &broken]).code, 2);

    assert_eq!(cluster.stoa(&["job", "stop", "web"]).code, 0);
    eventually("no instance left", Duration::from_secs(20), || (running() == 0).then_some(()));
    cluster.down_leaves_nothing();
}

#[test]
fn tasks_outlive_their_agents_process() {
    let cluster = Cluster::up("outlive", &["--agents", "1"]);
    let file = cluster.file(
        "sleepers.toml",
        "name = \"sleepers\"\ncommand = [\"sleep\", \"1000\"]\ninstances = 20\ncpus = 0.01\nmem = \"4MiB\"\n",
    );
    assert_eq!(cluster.stoa(&["job", "apply", &file]).code, 0);
    let pids = || {
        let mut pids: Vec<u64> = cluster
            .list("tasks")
            .iter()
            .filter(|task| task["state"] == "running")
            .filter_map(|task| task["pid"].as_u64())
            .collect();
        pids.sort_unstable();
        pids
    };
    eventually("twenty sleepers", Duration::from_secs(20), || (pids().len() == 20).then_some(()));
    let before = pids();
    let agent = cluster.child("agent-1");
    cluster.kill_9(agent);
    let agents = || cluster.list("agents");
    eventually("the agent is back", Duration::from_secs(20), || {
        let back = agents().iter().all(|agent| agent["state"] == "active");
        (back && cluster.child("agent-1") != agent).then_some(())
    });
    eventually("the same pids", Duration::from_secs(10), || (pids() == before).then_some(()));
    for pid in &before {
        assert!(cluster::is_alive(*pid as u32), "{pid} runs on");
    }
    cluster.down_leaves_nothing();
    for pid in &before {
        assert!(!cluster::is_alive(*pid as u32), "{pid} is ended with the cluster");
    }
}

#[test]
fn a_second_up_goes_on_where_the_first_stopped() {
    let mut cluster = Cluster::up("goes-on", &["--data-dir", "DATA"]);
    let file = cluster.file(
        "keeps.toml",
        "name = \"keeps\"\ncommand = [\"sleep\", \"1000\"]\ninstances = 2\ncpus = 0.05\nmem = \"8MiB\"\n",
    );
    assert_eq!(cluster.stoa(&["job", "apply", &file]).code, 0);
    let running =
        |cluster: &Cluster| cluster.list("tasks").iter().filter(|task| task["state"] == "running").count();
    eventually("two run", Duration::from_secs(20), || (running(&cluster) == 2).then_some(()));
    cluster.down();
    cluster.up_again();
    eventually("two run again", Duration::from_secs(20), || (running(&cluster) == 2).then_some(()));
    assert_eq!(cluster.stoa(&["job", "stop", "keeps"]).code, 0);
    eventually("none is left", Duration::from_secs(20), || (running(&cluster) == 0).then_some(()));
    cluster.down();
}
