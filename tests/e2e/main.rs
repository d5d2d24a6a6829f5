//! The real binary, end to end: a cluster from one command, work on it, and the death of each of its parts.

mod author;
mod backup;
mod broken;
mod certificates;
mod checks;
mod cluster;
mod config;
mod docs;
mod exec;
mod faults;
mod founding;
mod full;
mod hostile;
mod jobs;
mod ledgers;
mod listeners;
mod members;
mod mistakes;
mod operators;
mod pair;
mod secrets;
mod session;
mod slept;
mod state;
mod strangers;
mod template;
mod volumes;

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
