//! The agent as a process of its own, killed outright with tasks running.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use agent::Config;
use proto::id::RunId;
use proto::task::TaskState;
use tonic::service::Routes;

use super::master::{Master, command, script};
use super::node::Node;

const WORK: &str = "STOA_TEST_WORK";
const MASTER: &str = "STOA_TEST_MASTER";

/// Not a test of its own: what the other tests of this file start as a process.
#[tokio::test]
async fn the_process() {
    let (Some(dir), Ok(master)) = (std::env::var_os(WORK).map(PathBuf::from), std::env::var(MASTER)) else {
        return;
    };
    let config = Config::new(dir.join("work"), vec![master], dir.join("credentials"));
    agent::run(config, String::new, std::future::pending()).await.unwrap();
}

fn process(node: &Node, master: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["process::the_process", "--exact", "--nocapture"])
        .env(WORK, node.dir())
        .env(MASTER, master)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn killed_with_fifty_tasks_running_it_finds_them_with_the_same_pids() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let mut child = process(&node, &master.address);
    let (mut session, _) = master.admit().await;
    session.launch((1..=50).map(|n| command(n, &["sleep", "600"])).collect());
    let mut pids = std::collections::BTreeMap::new();
    while pids.len() < 50 {
        let status = session.acknowledged().await;
        assert_eq!(status.state, TaskState::Running);
        pids.insert(status.run.unwrap(), status.pid);
    }
    // Some more are on their way when it dies.
    session.launch((51..=100).map(|n| script(n, "exit 0")).collect());
    session.update().await;
    child.kill().unwrap();
    child.wait().unwrap();

    let mut child = process(&node, &master.address);
    let (mut session, register) = master.admit().await;
    for (run, pid) in &pids {
        let report = register.runs.iter().find(|report| report.run == *run).expect("not forgotten");
        assert_eq!((report.status.state, report.status.pid), (TaskState::Running, *pid));
    }
    // What did not arrive is launched again, as a master does; all of them end once, well.
    let known: Vec<RunId> = register.runs.iter().map(|report| report.run).collect();
    let missing = (51..=100).filter(|n| !known.contains(&RunId::at(*n, 0)));
    session.launch(missing.map(|n| script(n, "exit 0")).collect());
    let more: Vec<RunId> = (51..=100).map(|n| RunId::at(n, 0)).collect();
    let seen = session.until_over(&more).await;
    assert!(more.iter().all(|run| seen[run].last().unwrap().state == TaskState::Finished));
    child.kill().unwrap();
    child.wait().unwrap();
}
