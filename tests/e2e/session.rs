//! A session as a person types it: files in, work that comes and goes, output, answers, and the reason when it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(30);

/// What the servers say of themselves goes to standard error and is not held back in a buffer: as in the README.
const WEB: &str = r#"
name = "web"
command = "exec python3 -u -m http.server $PORT0"
instances = 3
cpus = 0.1
mem = "64MiB"
ports = 1
"#;

const HUNDRED: &str = "
name: hundred
kind: batch
command: [\"true\"]
instances: 100
cpus: 0.01
mem: 4MiB
";

/// The running instances of a job: name and first port.
fn ports(cluster: &Cluster, job: &str) -> BTreeMap<String, u16> {
    let tasks = cluster.list("tasks");
    let mine = tasks.iter().filter(|task| task["labels"]["job"] == job && task["state"] == "running");
    mine.filter_map(|task| {
        let port = task["resources"][0]["ranges"]["ports"][0][0].as_u64()?;
        Some((task["name"].as_str()?.to_owned(), u16::try_from(port).ok()?))
    })
    .collect()
}

/// What a server answers, once it listens.
fn get(port: u16, path: &str) -> String {
    eventually("an answer over HTTP", LIMIT, || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}

#[test]
fn a_web_server_of_three_a_batch_of_a_hundred_and_one_that_cannot_fit() {
    let cluster = Cluster::up("session", &[]);
    let watch = cluster.staying(&["get", "tasks", "--watch", "-o", "json"]);
    cluster.apply(&cluster.file("web.toml", WEB));
    let web =
        eventually("three servers", LIMIT, || Some(ports(&cluster, "web")).filter(|ports| ports.len() == 3));
    assert_eq!(web.keys().collect::<Vec<_>>(), ["web.0", "web.1", "web.2"]);
    assert_eq!(web.values().collect::<BTreeSet<_>>().len(), 3, "each has a port of its own: {web:?}");
    for port in web.values() {
        let answer = get(*port, "/");
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    }

    let log = cluster.staying(&["logs", "-f", "--stderr", "web.1"]);
    log.until("the first request", LIMIT, |line| line.contains("GET / "));
    get(web["web.1"], "/written-while-somebody-reads");
    log.until("the next request", LIMIT, |line| line.contains("GET /written-while-somebody-reads "));

    let hundred = cluster.file("hundred.yaml", HUNDRED);
    let applied = cluster.stoa(&["job", "apply", &hundred, "--wait"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert!(applied.err.contains("100 of 100 finished, 0 failed"), "{applied:?}");
    comes_and_goes(&watch);

    let huge =
        cluster.file("huge.toml", "name = \"huge\"\ncommand = \"true\"\ncpus = 512\nmem = \"64MiB\"\n");
    cluster.apply(&huge);
    let why = eventually("a verdict", LIMIT, || {
        let why = cluster.stoa(&["explain", "job", "huge", "-vv"]);
        why.out.contains("too-large").then_some(why.out)
    });
    for part in ["more than any agent has", "came nearest", "agent-1 lacks cpus:", "help: with cpus:"] {
        assert!(why.contains(part), "{part:?} is missing: {why}");
    }

    assert_eq!(cluster.stoa(&["job", "stop", "web", "--wait"]).code, 0);
    assert!(ports(&cluster, "web").is_empty());
    let mut killed = BTreeSet::new();
    watch.until("three servers go", LIMIT, |line| {
        let (name, state, _) = change(line);
        if name.starts_with("web.") && state == "killed" {
            killed.insert(name);
        }
        killed.len() == 3
    });
    // The reader of a task's output is told when there will be no more of it.
    while log.line("the end of the log", LIMIT).is_some() {}
    cluster.down_leaves_nothing();
}

/// A line of the watch: whose, in which state, and the task's id.
fn change(line: &str) -> (String, String, String) {
    let change: Value = serde_json::from_str(line).expect("each line of a watch is JSON");
    let word = |key: &str| change["item"][key].as_str().unwrap_or_default().to_owned();
    (word("name"), word("state"), word("id"))
}

/// Reads until a hundred have ended, and each of them had come before.
fn comes_and_goes(watch: &super::cluster::Staying) {
    let (mut come, mut gone) = (BTreeSet::new(), BTreeSet::new());
    watch.until("a hundred come and go", LIMIT, |line| {
        let (name, state, id) = change(line);
        if name.starts_with("hundred.") {
            match state.as_str() {
                "finished" => assert!(come.contains(&id) && gone.insert(id), "{line}"),
                _ => assert!(come.insert(id.clone()) || !gone.contains(&id), "{line}"),
            }
        }
        gone.len() == 100
    });
}
