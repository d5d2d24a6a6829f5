//! What operators do to a pool that runs: rights given and taken.

use std::time::Duration;

use super::cluster::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_framework_takes_offers_in_the_roles_it_was_given_and_an_environment_is_its_owners() {
    let mut cluster = Cluster::up("rights", &["--masters", "1", "--agents", "1"]);
    let stoa = |words: &str| cluster.stoa(&words.split(' ').collect::<Vec<_>>());
    let whoami = stoa("auth whoami -o json");
    assert_eq!(whoami.code, 0, "{whoami:?}");
    let me: serde_json::Value = serde_json::from_str(&whoami.out).unwrap();
    assert!(me["principal"].as_str().unwrap().starts_with("user/"), "{me}");

    // Who ran `stoa up` runs in any role, until somebody narrows it.
    assert_eq!(stoa("run --role prod/web -- true").code, 0);
    assert_eq!(stoa("auth can-i subscribe --role ops --as framework/jobs").code, 0);
    let narrowed = stoa("auth grant framework/jobs --role default --role prod/*");
    assert_eq!(narrowed.code, 0, "{narrowed:?}");
    assert!(narrowed.err.contains("undo with `stoa auth grant framework/jobs --role '*'`"), "{narrowed:?}");
    assert_eq!(stoa("auth can-i subscribe --role ops --as framework/jobs").code, 1);
    let refused = stoa("run --role ops -- true");
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("stoa auth grant framework/jobs --role ops"), "{refused:?}");
    assert_eq!(stoa("run --role prod/web -- true").code, 0, "what it may, it still does");

    // Another framework joins with a token that names its roles, and sees the tasks of the first without their secrets.
    let token = stoa("token create --kind framework --name spy --role spy/*");
    let raft = cluster.json(&["raft", "status", "-o", "json"]).unwrap();
    let door = raft["members"][0]["address"].as_str().unwrap().to_owned();
    let dir = cluster.dir().join("spy").display().to_string();
    let join = ["join", token.out.trim(), "--master", &door, "--as", "framework/spy", "--dir", &dir];
    let joined = cluster.stoa(&join);
    assert_eq!(joined.code, 0, "{joined:?}");
    let file = cluster.file(
        "secret.toml",
        "name = \"secret\"\ncommand = [\"sleep\", \"1000\"]\ncpus = 0.05\nmem = \"8MiB\"\nenv = { PASSWORD = \"hunter2\" }\n",
    );
    assert_eq!(cluster.stoa(&["job", "apply", &file]).code, 0);
    let names = |args: &[&str]| {
        let tasks = cluster.json(args)?;
        let task = tasks["items"].as_array()?.iter().find(|task| task["name"] == "secret")?.clone();
        Some(task["command"]["env_names"].as_array()?.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let own = eventually("its task", LIMIT, || names(&["get", "tasks", "-o", "json"]));
    assert!(own.iter().any(|name| name.contains("PASSWORD")), "{own:?}");
    let theirs =
        names(&["--context", &dir, "get", "tasks", "-o", "json"]).expect("the spy sees that it runs");
    assert_eq!(theirs, [""; 0], "but not what it was told");
    let spy =
        cluster.stoa(&["--context", &dir, "auth", "can-i", "read-environment", "--owner", "framework/jobs"]);
    assert_eq!(spy.code, 1, "{spy:?}");
    let spy = cluster.stoa(&["--context", &dir, "auth", "can-i", "subscribe", "--role", "spy/one"]);
    assert_eq!((spy.code, spy.out.as_str()), (0, "yes\n"), "{spy:?}");
    let spy = cluster.stoa(&["--context", &dir, "quota", "set", "spy", "--limit", "cpus=1", "--dry-run"]);
    assert_eq!(spy.code, 4, "{spy:?}");
    cluster.down();
}
