//! kill -9 of each part of a cluster at its busiest: nothing is lost and nothing happens twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, eventually, is_alive};
use super::ledgers::{Gate, Job, Told, WAITS, wrote};

/// Room for every task of a test at once, whatever this machine has.
const ROOMY: [&str; 2] = ["--agent-resources", "cpus:4;mem:4GiB"];
const JOBS: &str = "framework jobs";

fn kill_the_leader(cluster: &Cluster) -> u32 {
    let (_, leader) = cluster.leader();
    cluster.kill_9(leader);
    leader
}

fn another_leads(cluster: &Cluster, dead: u32) {
    eventually("another leader", Duration::from_secs(10), || {
        cluster.try_leader().filter(|(_, pid)| *pid != dead)
    });
}

#[test]
fn the_leader_dies_with_200_launches_in_flight() {
    let cluster = Cluster::up("leader", &ROOMY);
    // Before it has launched, while it launches, and then together with the framework.
    let gate = Gate::closed(&cluster, "early.gate");
    let early = Job::submit(&cluster, "batch", "early", 200, &gate, WAITS);
    let dead = kill_the_leader(&cluster);
    early.have_started(200);
    another_leads(&cluster, dead);
    gate.open();
    early.ends_with_each_once(&cluster);
    cluster.is_healthy();

    let gate = Gate::closed(&cluster, "midst.gate");
    let midst = Job::submit(&cluster, "batch", "midst", 200, &gate, WAITS);
    midst.have_started(3);
    let dead = kill_the_leader(&cluster);
    let in_flight = 200 - midst.started().len();
    midst.have_started(200);
    another_leads(&cluster, dead);
    gate.open();
    midst.ends_with_each_once(&cluster);
    assert!(in_flight > 20, "the leader died too late to show anything: {in_flight} were in flight");
    cluster.is_healthy();

    let gate = Gate::closed(&cluster, "both.gate");
    let both = Job::submit(&cluster, "batch", "both", 100, &gate, WAITS);
    both.have_started(3);
    let framework = cluster.child(JOBS);
    let dead = kill_the_leader(&cluster);
    cluster.kill_9(framework);
    both.have_started(100);
    another_leads(&cluster, dead);
    gate.open();
    both.ends_with_each_once(&cluster);
    cluster.is_healthy();
    // What ended before the deaths that followed is still known as it was.
    early.ends_with_each_once(&cluster);
    midst.ends_with_each_once(&cluster);
    cluster.down_leaves_nothing();
}

/// The processes that the masters tell of are those that wrote the ledger.
fn are_who_they_say(job: &Job, running: &BTreeMap<String, Told>) {
    for (task, pids) in job.started() {
        let pid = running[&task].pid.unwrap();
        assert!(wrote(pid, &task, pids[0]), "{task} wrote {pids:?} and is told as {pid}");
    }
}

#[test]
fn an_agent_dies_with_50_tasks_running() {
    let cluster = Cluster::up("agent", &["--agents", "1", "--agent-resources", "cpus:4;mem:4GiB"]);
    let gate = Gate::closed(&cluster, "gate");
    let fifty = Job::submit(&cluster, "batch", "fifty", 50, &gate, WAITS);
    let stays = Job::submit(&cluster, "service", "stays", 2, &gate, "exec sleep 1000");
    let (before, staying) = (fifty.run(&cluster, 50), stays.run(&cluster, 2));
    are_who_they_say(&fifty, &before);
    let agent = cluster.child("agent-1");
    cluster.kill_9(agent);
    eventually("the agent is back", Duration::from_secs(20), || {
        let agents = cluster.list("agents");
        let back = !agents.is_empty() && agents.iter().all(|agent| agent["state"] == "active");
        (back && cluster.child("agent-1") != agent).then_some(())
    });
    assert_eq!(fifty.run(&cluster, 50), before, "the same tasks, runs and processes");
    assert_eq!(stays.run(&cluster, 2), staying);
    are_who_they_say(&fifty, &before);

    gate.open();
    fifty.ends_with_each_once(&cluster);
    // One that is killed is reported, and its place is taken by a new task with a process of its own.
    let (victim, told) = staying.first_key_value().unwrap();
    let killed = cluster.stoa(&["kill", victim]);
    assert_eq!(killed.code, 0, "{killed:?}");
    eventually("it is reported killed", Duration::from_secs(20), || {
        (stays.accepted(&cluster).get(victim)?.state == "killed").then_some(())
    });
    let after = stays.run(&cluster, 2);
    assert!(!after.contains_key(victim) && !is_alive(told.pid.unwrap() as u32));
    assert_eq!(after.values().filter(|told| staying.values().any(|other| other == *told)).count(), 1);
    // Running is told when the shell is executed, a moment before it writes its line.
    stays.have_started(3);
    assert_eq!(stays.started().values().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    cluster.down_leaves_nothing();
    for pid in after.values().filter_map(|told| told.pid) {
        assert!(!is_alive(pid as u32), "{pid} is ended with the cluster");
    }
}

#[test]
fn the_framework_dies_in_the_middle_of_a_batch() {
    let cluster = Cluster::up("framework", &ROOMY);
    let gate = Gate::closed(&cluster, "gate");
    let service = Job::submit(&cluster, "service", "service", 3, &gate, "exec sleep 1000");
    let before = service.run(&cluster, 3);
    // Every other one ends at once, so that starts and ends are under way when the framework dies.
    let then = format!("[ $((STOA_INSTANCE % 2)) = 0 ] || {WAITS}");
    let batch = Job::submit(&cluster, "batch", "batch", 100, &gate, &then);
    batch.have_started(5);
    let framework = cluster.child(JOBS);
    cluster.kill_9(framework);
    assert!(batch.started().len() < 100, "the framework died too late to show anything");
    batch.have_started(100);
    eventually("the framework is back", Duration::from_secs(20), || {
        let back = cluster.children().iter().any(|(pid, line)| line.contains(JOBS) && *pid != framework);
        (back && batch.reported(&cluster).is_some()).then_some(())
    });
    gate.open();
    batch.ends_with_each_once(&cluster);
    assert_eq!(service.run(&cluster, 3), before, "the same tasks, runs and processes");
    assert!(service.started().values().all(|pids| pids.len() == 1), "{:?}", service.started());
    cluster.is_healthy();
    cluster.down_leaves_nothing();
}
