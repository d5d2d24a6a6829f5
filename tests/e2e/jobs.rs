//! What job files say of volumes and of several tasks, with the real binary and among the deaths of its parts.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(60);

fn job(cluster: &Cluster, name: &str) -> Option<Value> {
    let mut jobs = cluster.json(&["job", "get", name, "-o", "json"])?;
    Some(jobs["items"][0].take())
}

fn keeper(cluster: &Cluster, level: u32) -> String {
    let text = format!(
        "name = \"keeper\"\nenv = {{ LEVEL = \"{level}\" }}\ncpus = 0.05\nmem = \"16MiB\"\n\
         command = \"echo $LEVEL >> $STOA_VOLUME_DATA/starts; exec sleep 1000\"\n\
         restart = {{ initial = \"100ms\", max = \"1s\" }}\n\
         volumes = [{{ name = \"data\", size = \"16MiB\" }}, {{ name = \"log\", size = \"1MiB\" }}]\n"
    );
    cluster.file("keeper.toml", &text)
}

/// What its starts have written, and what was put there once.
fn kept(cluster: &Cluster) -> Option<(String, String)> {
    let read = |file: &str| {
        let script = format!("cat $STOA_VOLUME_{file}");
        let said = cluster.stoa(&["exec", "keeper", "--", "sh", "-c", &script]);
        (said.code == 0).then_some(said.out)
    };
    Some((read("DATA/starts")?, read("LOG/precious")?))
}

fn goes_on(cluster: &Cluster, level: u32, starts: &str) {
    let file = keeper(cluster, level);
    eventually("the framework takes it", LIMIT, || {
        (cluster.stoa(&["job", "apply", &file]).code == 0).then_some(())
    });
    eventually("it is started where its data is", LIMIT, || {
        kept(cluster).filter(|(seen, precious)| seen == starts && precious == "kept\n")
    });
}

/// The directories of volumes on all agents.
fn on_disk(cluster: &Cluster) -> Vec<PathBuf> {
    let below = |dir: PathBuf| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let agents = (1..=3).map(|n| cluster.path("data").join(format!("agent-{n}")));
    let roles = agents.flat_map(|agent| below(agent.join("work").join("volumes")));
    roles.flat_map(below).flat_map(below).collect()
}

#[test]
fn data_of_a_job_outlives_everything_but_a_purge() {
    let cluster = Cluster::up("job-volumes", &["--data-dir", "DATA"]);
    assert_eq!(cluster.stoa(&["job", "apply", &keeper(&cluster, 1), "--wait"]).code, 0);
    let put = "echo kept > $STOA_VOLUME_LOG/precious";
    eventually("something is put there", LIMIT, || {
        (cluster.stoa(&["exec", "keeper", "--", "sh", "-c", put]).code == 0).then_some(())
    });
    let states = |job: Value| {
        let all = job["volumes"].as_array().cloned().unwrap_or_default();
        all.iter().map(|volume| volume["state"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(job(&cluster, "keeper").map(states), Some(vec!["kept".to_owned(); 2]));
    assert_eq!(on_disk(&cluster).len(), 2);

    cluster.kill_9(cluster.child("framework jobs"));
    goes_on(&cluster, 2, "1\n2\n");
    for n in 1..=3 {
        cluster.kill_9(cluster.child(&format!("agent-{n}")));
    }
    cluster.kill_9(cluster.leader().1);
    goes_on(&cluster, 3, "1\n2\n3\n");
    assert_eq!(cluster.stoa(&["job", "stop", "keeper", "--wait"]).code, 0);
    goes_on(&cluster, 4, "1\n2\n3\n4\n");

    let asked = cluster.stoa(&["job", "stop", "keeper", "--purge"]);
    assert!(asked.code == 7 && asked.err.contains("destroy its 2 volumes"), "{asked:?}");
    let dry = cluster.stoa(&["job", "stop", "keeper", "--purge", "--dry-run"]);
    assert!(dry.code == 0 && dry.err.contains("nothing was done"), "{dry:?}");
    assert!(kept(&cluster).is_some(), "until somebody says yes");
    assert_eq!(cluster.stoa(&["job", "stop", "keeper", "--purge", "--yes", "--wait"]).code, 0);
    eventually("what was on them is gone", LIMIT, || on_disk(&cluster).is_empty().then_some(()));
    eventually("the masters know of none", LIMIT, || cluster.list("volumes").is_empty().then_some(()));
    assert_eq!(cluster.stoa(&["job", "get", "keeper"]).code, 3);
    let mut cluster = cluster;
    cluster.down();
}

const PAIR: &str = r#"
name = "pair"
restart = { initial = "100ms", max = "1s" }

[[task]]
name = "web"
command = "echo serves at $PORT_HTTP; exec sleep 1000"
ports = ["http"]
cpus = 0.05
mem = "16MiB"

[[task]]
name = "watcher"
command = "echo looks at $PORT_HTTP; while test ! -e sick; do sleep 0.1; done; exit 3"
cpus = 0.05
mem = "16MiB"
"#;

/// The tasks of the pair: name, state, attempt and id.
fn tasks(cluster: &Cluster) -> Vec<(String, String, u64, String)> {
    let job = job(cluster, "pair").unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = job["tasks"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|task| {
            let attempt = task["attempt"].as_u64().unwrap_or_default();
            (text(&task["name"]), text(&task["state"]), attempt, text(&task["id"]))
        })
        .collect()
}

#[test]
fn tasks_of_an_instance_share_its_fate() {
    let cluster = Cluster::up("job-group", &[]);
    assert_eq!(cluster.stoa(&["job", "apply", &cluster.file("pair.toml", PAIR), "--wait"]).code, 0);
    let runs = |attempt: u64| {
        eventually("both run", LIMIT, || {
            let seen = tasks(&cluster);
            let names: Vec<&str> = seen.iter().map(|task| task.0.as_str()).collect();
            let both = seen.iter().all(|task| task.1 == "running" && task.2 == attempt);
            (names == ["pair", "pair/watcher"] && both).then_some(seen)
        })
    };
    let first = runs(1);
    let logs = eventually("what both wrote", LIMIT, || {
        let said = cluster.stoa(&["logs", "pair"]).out;
        (said.lines().count() == 2).then_some(said)
    });
    let ports: Vec<&str> =
        logs.lines().filter_map(|line| line.rsplit_once(' ').map(|(_, port)| port)).collect();
    assert!(ports[0] == ports[1] && ports[0].parse::<u16>().is_ok(), "{logs}");
    assert!(logs.contains("pair.0| serves at") && logs.contains("pair.0/watcher| looks at"), "{logs}");
    assert!(cluster.stoa(&["logs", "pair/watcher"]).out.starts_with("looks at"));

    assert_eq!(cluster.stoa(&["exec", "pair/watcher", "--", "touch", "sick"]).code, 0);
    let second = runs(2);
    assert!(first.iter().all(|old| second.iter().all(|new| new.3 != old.3)), "{first:?} {second:?}");
    // The framework dies, and the next one knows them all.
    cluster.kill_9(cluster.child("framework jobs"));
    assert_eq!(runs(2), second);
    assert_eq!(cluster.stoa(&["exec", "pair/watcher", "--", "touch", "sick"]).code, 0);
    runs(3);
    assert_eq!(cluster.stoa(&["job", "stop", "pair", "--wait", "--purge"]).code, 0);
    cluster.down_leaves_nothing();
}
