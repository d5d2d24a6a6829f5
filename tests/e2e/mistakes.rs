//! What people get wrong: each mistake is refused with its place and its remedy, and the cluster does not notice.

use std::time::Duration;

use super::cluster::{Cluster, Said, eventually};

/// A file, and what must be said of it: its place, what is wrong, what would be right.
const FILES: [(&str, &str, &[&str]); 11] = [
    // What is not TOML or YAML at all.
    ("open.toml", "name = \"a\"\ncommand = [\"true\"\ninstances = 3\n", &["open.toml:3: is not TOML"]),
    ("half.toml", "name = \"a\"\ncommand = \"true\nkind = \"batch\"\n", &["half.toml:2: is not TOML"]),
    ("colon.yaml", "name: a\ncommand: [true\nkind: batch\n", &["colon.yaml:3: is not YAML"]),
    ("deep.yml", "name: a\n  command: x\n", &["deep.yml:2: is not YAML"]),
    ("job.json", "{}", &["job.json", "neither TOML nor YAML"]),
    ("none.toml", "", &["name: is missing", "command: is missing"]),
    // Keys that are not known, with the one that was meant.
    (
        "key.toml",
        "name = \"a\"\ncommand = \"true\"\ninstnaces = 3\n",
        &["key.toml:3: instnaces", "did you mean \"instances\"?"],
    ),
    ("key.yaml", "name: a\ncommand: x\ncpu: 3\n", &["key.yaml:3: cpu", "did you mean \"cpus\"?"]),
    // Values that fit no key; all that is wrong is said at once.
    (
        "values.toml",
        "name = \"a\"\ncommand = \"true\"\ninstances = -3\nmem = \"12 bananas\"\nkind = \"servce\"\n",
        &[
            "values.toml:3: instances: is -3",
            "values.toml:4: mem: \"12 bananas\"",
            "512MiB",
            "values.toml:5: kind",
            "did you mean \"service\"?",
        ],
    ),
    ("twice.yaml", "name: a\ncommand: x\n---\nname: a\ncommand: y\n", &["two jobs", "named \"a\""]),
    ("name.toml", "name = \"a b/c\"\ncommand = \"true\"\n", &["name.toml:1: name"]),
];

/// A command line, its exit code, and what must be said.
const COMMANDS: [(&[&str], i32, &[&str]); 10] = [
    (&["job", "apply", "/nonexistent/job.toml"], 2, &["/nonexistent/job.toml", "No such file"]),
    (&["run", "--cpus", "lots", "--", "true"], 2, &["--cpus", "such as 0.5"]),
    (&["run", "--mem", "5", "--", "true"], 2, &["mem", "64MiB"]),
    (&["run", "--constraint", "???", "--", "true"], 2, &["constraint", "zone=b"]),
    (&["run", "--role", "../x", "--", "true"], 2, &["role", "eng/web"]),
    (&["explain", "job", "nobody"], 3, &["no job nobody", "stoa job get"]),
    (&["explain", "task", "nobody"], 3, &["no task nobody", "stoa get"]),
    (&["kill", "nobody"], 3, &["no task nobody"]),
    (&["logs", "nobody"], 3, &["no task nobody"]),
    (&["--context", "/nonexistent", "status"], 2, &["/nonexistent", "ca.pem"]),
];

fn is_told(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    for part in parts {
        assert!(said.err.contains(part), "{part:?} is missing: {said:?}");
    }
}

#[test]
fn each_is_refused_by_name_and_nobody_is_down() {
    let cluster = Cluster::up("mistakes", &["--agents", "2", "--agent-resources", "cpus:2;mem:1GiB"]);
    let before = cluster.children();
    for (name, text, parts) in FILES {
        is_told(&cluster.stoa(&["job", "apply", &cluster.file(name, text)]), 2, parts);
    }
    let endless = cluster.file("endless.toml", &"a".repeat(5 << 20));
    is_told(&cluster.stoa(&["job", "apply", &endless]), 2, &["endless.toml", "larger than"]);
    for (command, code, parts) in COMMANDS {
        is_told(&cluster.stoa(command), code, parts);
    }
    let jobs = cluster.json(&["job", "get", "-o", "json"]).unwrap();
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(0), "nothing was taken on: {jobs}");

    // Larger than any machine is no mistake for ever: a machine may come. It waits, and why is said.
    let huge = cluster.file("huge.toml", "name = \"huge\"\ncommand = \"true\"\ncpus = 1\nmem = \"9TiB\"\n");
    cluster.apply(&huge);
    let why = eventually("a verdict", Duration::from_secs(20), || {
        let why = cluster.stoa(&["explain", "job", "huge", "-vv"]);
        why.out.contains("too-large").then_some(why.out)
    });
    for part in [
        "agent-1 lacks mem:",
        "agent-2 lacks mem:",
        "help: with mem:1GiB instead of mem:9TiB: then it is offered agent-",
    ] {
        assert!(why.contains(part), "{part:?} is missing: {why}");
    }
    let impatient = cluster.stoa(&["run", "--cpus", "64", "--timeout", "3s", "--", "true"]);
    is_told(&impatient, 5, &["more than any agent has", "agent-1 lacks cpus:62", "--timeout"]);
    // A command that is not there is the task's failure, not the cluster's.
    is_told(&cluster.stoa(&["run", "--", "nonesuch"]), 1, &["nonesuch", "No such file"]);

    assert_eq!(cluster.children(), before, "nobody died");
    assert_eq!(cluster.stoa(&["status"]).code, 0);
    cluster.down_leaves_nothing();
}
