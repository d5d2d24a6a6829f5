//! The drill: every master loses its disk, a backup brings them back, and nothing that runs is touched.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, eventually, within};

const LIMIT: Duration = Duration::from_secs(60);

fn service(cluster: &Cluster, name: &str) {
    let text = format!(
        "name = \"{name}\"\ncommand = [\"sleep\", \"1000\"]\ninstances = 2\ncpus = 0.05\nmem = \"8MiB\"\n"
    );
    let file = cluster.file(&format!("{name}.toml"), &text);
    let said = cluster.stoa(&["job", "apply", &file, "--wait"]);
    assert_eq!(said.code, 0, "{said:?}");
}

/// The tasks that run, with their processes.
fn running(cluster: &Cluster) -> BTreeMap<String, u64> {
    let tasks = cluster.list("tasks");
    let runs = tasks.iter().filter(|task| task["state"] == "running");
    runs.filter_map(|task| Some((task["id"].as_str()?.to_owned(), task["pid"].as_u64()?))).collect()
}

#[test]
fn three_masters_are_restored_from_a_backup_and_nothing_that_runs_is_touched() {
    let mut cluster = Cluster::up("backup", &["--data-dir", "DATA"]);
    service(&cluster, "known");
    let kept = cluster.dir().join("pool.backup").display().to_string();
    let saved = cluster.stoa(&["snapshot", "save", &kept]);
    assert_eq!(saved.code, 0, "{saved:?}");
    assert!(saved.out.contains("2 tasks"), "{saved:?}");
    let again = cluster.stoa(&["snapshot", "save", &kept]);
    assert_eq!(again.code, 6, "nothing is overwritten: {again:?}");
    let inspected = cluster.json(&["snapshot", "inspect", &kept, "-o", "json"]).unwrap();
    assert_eq!(
        (inspected["tasks"].as_u64(), inspected["agents"].as_u64()),
        (Some(2), Some(3)),
        "{inspected}"
    );

    // What the backup does not know.
    service(&cluster, "later");
    assert_eq!(cluster.stoa(&["job", "stop", "known"]).code, 0);
    service(&cluster, "known-no-more");
    let before = eventually("six have run, two are over", LIMIT, || {
        Some(running(&cluster)).filter(|tasks| tasks.len() == 4)
    });
    cluster.down();

    let data = cluster.dir().join("data");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    for id in ["1", "2", "3"] {
        let dir = data.join(format!("master-{id}/data"));
        let place = dir.display().to_string();
        let restore = ["snapshot", "restore", &kept, "--id", id, "--data-dir", &place, "--at", &now];
        let used = cluster.stoa(&restore);
        assert_eq!(used.code, 6, "a log that is there stays: {used:?}");
        std::fs::remove_dir_all(&dir).unwrap();
        let said = cluster.stoa(&restore);
        assert_eq!(said.code, 0, "{said:?}");
    }
    cluster.up_again();

    let back = within(LIMIT, || (running(&cluster) == before).then_some(()));
    assert!(
        back.is_some(),
        "each of them is the process that it was: {before:?}, and now {:?}\n{}",
        cluster.list("tasks"),
        cluster.stoa(&["events", "--last", "1000"]).out
    );
    // What had ended since is not started again by the masters: its framework is told that it is lost.
    let lost = eventually("the two that were stopped are lost", LIMIT, || {
        let events = cluster.stoa(&["events", "--last", "1000", "-o", "json"]).out;
        let lost: Vec<String> = events
            .lines()
            .filter(|line| line.contains("\"task-ended\"") && line.contains("known."))
            .map(str::to_owned)
            .collect();
        (lost.len() == 2).then_some(lost)
    });
    assert!(lost.iter().all(|line| line.contains("lost")), "{lost:?}");
    let gap = cluster.stoa(&["events", "--since", "0"]);
    assert_eq!(gap.code, 6, "whoever follows is told what is lost: {gap:?}");
    let events = cluster.stoa(&["events", "--last", "1000", "-o", "json"]).out;
    assert!(events.lines().next().is_some_and(|line| line.contains("\"restored\"")), "{events}");
    let work = cluster.stoa(&["run", "--", "echo", "goes on"]);
    assert_eq!((work.code, work.out.as_str()), (0, "goes on\n"), "{work:?}");
    assert_eq!(running(&cluster), before);
    for name in ["later", "known-no-more"] {
        assert_eq!(cluster.stoa(&["job", "stop", name]).code, 0);
    }
    eventually("all have ended", LIMIT, || running(&cluster).is_empty().then_some(()));
    cluster.down();
}
