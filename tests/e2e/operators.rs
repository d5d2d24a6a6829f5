//! What operators do to a pool that runs: rights given and taken, agents emptied, what happened told.

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

#[test]
fn an_agent_is_drained_over_a_failover_and_gets_work_again() {
    let mut cluster = Cluster::up("drains", &["--agents", "2", "--agent-resources", "cpus:2;mem:1GiB"]);
    let stoa = |words: &str| cluster.stoa(&words.split(' ').collect::<Vec<_>>());
    let file = cluster.file(
        "many.toml",
        "name = \"many\"\ncommand = [\"sleep\", \"1000\"]\ninstances = 6\ncpus = 0.1\nmem = \"8MiB\"\n",
    );
    assert_eq!(cluster.stoa(&["job", "apply", &file]).code, 0);
    let on = |agent: &str| {
        let tasks = cluster.list("tasks");
        tasks.iter().filter(|task| task["agent_id"] == agent && task["state"] == "running").count()
    };
    let all = || on("agent-1") + on("agent-2") == 6;
    eventually("six run", LIMIT, || all().then_some(()));
    let state = |agent: &str| {
        let agents = cluster.list("agents");
        agents.iter().find(|found| found["id"] == agent).cloned().unwrap_or_default()
    };
    let drained = stoa("agent drain agent-1 --reason disk");
    assert_eq!(drained.code, 0, "{drained:?}");
    assert!(drained.err.contains("undo with `stoa agent resume agent-1`"), "{drained:?}");

    // The next leader knows of it.
    let before = cluster.leader();
    cluster.kill_9(before.1);
    eventually("another leader", LIMIT, || cluster.try_leader().filter(|leader| leader.1 != before.1));
    eventually("both agents", LIMIT, || {
        ["agent-1", "agent-2"].iter().all(|agent| state(agent)["state"] == "active").then_some(())
    });
    assert_eq!(state("agent-1")["drain"]["reason"], "disk");

    // With a deadline what runs is ended, and starts again where there is work.
    let emptied = stoa("agent drain agent-1 --deadline 1s --wait --at-most 20s");
    assert_eq!(emptied.code, 0, "{emptied:?}");
    assert_eq!((on("agent-1"), &state("agent-1")["drain"]["drained"]), (0, &serde_json::Value::Bool(true)));
    eventually("six run on the other", LIMIT, || (on("agent-2") == 6).then_some(()));
    let described = stoa("describe agent agent-1");
    assert!(described.out.contains("nothing is left"), "{described:?}");

    let resumed = stoa("agent resume agent-1");
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(stoa("agent resume agent-1").code, 6, "it drains no more");
    let wide = stoa("run --count 2 --cpus 1.2 -- true");
    assert_eq!(wide.code, 0, "both agents are needed: {wide:?}");
    cluster.down();
}

#[test]
fn events_are_followed_over_a_failover_without_a_gap_or_a_double() {
    let mut cluster = Cluster::up("events", &["--agents", "1"]);
    let following = cluster.staying(&["events", "--watch", "--since", "0", "-o", "json"]);
    let mut seen: Vec<serde_json::Value> = Vec::new();
    let mut follow_until = |what: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| {
        following.until(what, Duration::from_secs(40), |line| {
            seen.push(serde_json::from_str(line).unwrap());
            wanted(seen.last().unwrap())
        });
    };
    assert_eq!(cluster.stoa(&["run", "--count", "20", "--", "true"]).code, 0);
    for round in 0..2 {
        let before = cluster.leader();
        cluster.kill_9(before.1);
        eventually("another leader", LIMIT, || cluster.try_leader().filter(|leader| leader.1 != before.1));
        let role = format!("round-{round}");
        let set = eventually("an order", LIMIT, || {
            Some(cluster.stoa(&["weight", "set", &role, "2"])).filter(|said| said.code == 0)
        });
        assert_eq!(set.code, 0);
        assert_eq!(cluster.stoa(&["run", "--count", "5", "--", "true"]).code, 0);
        follow_until("the weight of this round", &|event| event["subject"] == role.as_str());
    }
    let mark = cluster.stoa(&["weight", "set", "mark", "2"]);
    assert_eq!(mark.code, 0, "{mark:?}");
    follow_until("the mark", &|event| event["subject"] == "mark");
    let numbers: Vec<u64> = seen.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each once, in order");
    let of = |kind: &str| seen.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((of("task-launched"), of("task-ended")), (30, 30));
    // Every master tells the same: the whole of it again, from whoever leads now.
    let again = cluster.stoa(&["events", "--since", "0", "-o", "json"]);
    let again: Vec<serde_json::Value> =
        again.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(again[..seen.len()], seen[..]);
    cluster.down();
}

#[test]
fn what_is_reserved_is_for_its_role_and_outlives_the_leader() {
    let resources = "cpus:1;mem:512MiB;disk:1GiB";
    let mut cluster = Cluster::up("reserves", &["--agents", "1", "--agent-resources", resources]);
    let stoa = |words: &str| cluster.stoa(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(stoa("run --cpus 0.5 -- true").code, 0);
    let rehearsed = stoa("reserve agent-1 --role db --cpus 0.9 --disk 64MiB --dry-run");
    assert!(rehearsed.code == 0 && rehearsed.err.starts_with("dry run"), "{rehearsed:?}");
    assert!(cluster.list("reservations").is_empty());
    let reserved = stoa("reserve agent-1 --role db --cpus 0.9 --disk 64MiB");
    assert_eq!(reserved.code, 0, "{reserved:?}");
    assert!(
        reserved.err.contains("undo with `stoa unreserve agent-1 --role db --cpus 0.9 --disk 64MiB`"),
        "{reserved:?}"
    );
    let elsewhere = stoa("run --cpus 0.5 --timeout 3s -- true");
    assert_eq!(elsewhere.code, 5, "nobody else is offered it: {elsewhere:?}");
    assert_eq!(stoa("run --role db --cpus 0.5 -- true").code, 0);

    // What is in use stays; who has it is said.
    let file = cluster.file(
        "db.toml",
        "name = \"db\"\ncommand = [\"sleep\", \"1000\"]\ncpus = 0.5\nmem = \"8MiB\"\nrole = \"db\"\n",
    );
    cluster.apply(&file);
    eventually("it runs", LIMIT, || {
        cluster.list("tasks").iter().any(|task| task["state"] == "running").then_some(())
    });
    let refused = stoa("unreserve agent-1 --role db --cpus 0.9");
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.err.contains("in use by task db.0"), "{refused:?}");

    let made = stoa("volume create agent-1 journal --role db --size 64MiB");
    assert_eq!(made.code, 0, "{made:?}");
    let before = cluster.leader();
    cluster.kill_9(before.1);
    eventually("another leader", LIMIT, || cluster.try_leader().filter(|leader| leader.1 != before.1));
    let volumes = eventually("the agent", LIMIT, || {
        Some(cluster.list("volumes")).filter(|all| all.iter().any(|one| one["agent_state"] == "active"))
    });
    assert_eq!((&volumes[0]["id"], &volumes[0]["role"]), (&"journal".into(), &"db".into()));
    assert_eq!(stoa("volume destroy agent-1 journal").code, 7, "nobody is here to confirm it");
    let destroyed = stoa("volume destroy agent-1 journal --yes");
    assert_eq!(destroyed.code, 0, "{destroyed:?}");

    assert_eq!(stoa("job stop db --wait").code, 0);
    // That a task has ended is in the log a moment later.
    eventually("all of it is free", LIMIT, || {
        let undone = stoa("unreserve agent-1 --role db --cpus 0.9 --disk 64MiB");
        (undone.code == 0).then_some(())
    });
    assert!(cluster.list("reservations").is_empty());
    assert_eq!(stoa("run --cpus 0.5 -- true").code, 0, "everybody is offered it again");
    let events = stoa("events --kind reserved --kind volume -o json");
    assert!(events.out.contains("by user/"), "{events:?}");
    cluster.down();
}

#[test]
fn the_output_of_a_job_is_that_of_all_its_instances_and_of_those_that_come() {
    let mut cluster = Cluster::up("logs", &["--masters", "1", "--agents", "2"]);
    let many = |instances: u32| {
        let text = format!(
            "name = \"many\"\ncommand = \"echo I am $STOA_INSTANCE; echo twice; exec sleep 1000\"\n\
             instances = {instances}\ncpus = 0.05\nmem = \"8MiB\"\n"
        );
        let file = cluster.file("many.toml", &text);
        let applied = cluster.stoa(&["job", "apply", &file, "--wait"]);
        assert_eq!(applied.code, 0, "{applied:?}");
    };
    many(2);
    let both = "many.0| I am 0\nmany.0| twice\nmany.1| I am 1\nmany.1| twice\n";
    for line in [&["logs", "many"][..], &["logs", "-l", "name=many"], &["logs", "many.0", "many.1"]] {
        let said = eventually("both have written", LIMIT, || {
            Some(cluster.stoa(line)).filter(|said| said.out == both)
        });
        assert_eq!(said.code, 0, "{said:?}");
    }
    let following = cluster.staying(&["logs", "-f", "many"]);
    let mut seen = Vec::new();
    following.until("the first two", LIMIT, |line| {
        seen.push(line.to_owned());
        seen.len() == 4
    });
    many(3);
    following.until("the third", LIMIT, |line| {
        seen.push(line.to_owned());
        line == "many.2| twice"
    });
    let of = |name: &str| -> Vec<&str> { seen.iter().filter_map(|line| line.strip_prefix(name)).collect() };
    for number in 0..3 {
        let own = format!("I am {number}");
        assert_eq!(of(&format!("many.{number}| ")), [own.as_str(), "twice"], "each once, in order: {seen:?}");
    }
    cluster.down();
}
