//! Checks of a framework's tasks through the whole house: what they say is seen, and a task that is not well is started anew.

use std::time::Duration;

use framework_sdk::check::Check;
use framework_sdk::desired::{BackOff, Group, TaskSpec};
use framework_sdk::{Framework, Profile};
use serde_json::Value;

use super::cluster::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(30);

fn often(script: &str) -> Check {
    Check::shell(script).delay(Duration::ZERO).grace(Duration::ZERO).interval(Check::INTERVAL_MIN).failures(2)
}

/// Its starts, ended ones too.
fn starts(cluster: &Cluster) -> Vec<Value> {
    let all = cluster.json(&["get", "tasks", "--all", "-o", "json"]).unwrap_or_default();
    let tasks = all["items"].as_array().cloned().unwrap_or_default();
    tasks.into_iter().filter(|task| task["name"] == "checked.0").collect()
}

#[test]
fn a_task_is_ready_when_it_says_so_and_started_anew_when_it_is_not_well() {
    let cluster = Cluster::up("checks", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let profile = Profile::load(&cluster.context()).unwrap();
    let framework = runtime.block_on(Framework::builder("checker").connect(profile)).unwrap();
    let spec = TaskSpec::shell("exec sleep 1000")
        .cpus_milli(50)
        .mem_mib(32)
        .readiness(often("test -e ready"))
        .health(often("test ! -e sick || { echo it is sick; exit 3; }"));
    let soon = Duration::from_millis(100);
    let group = Group::of(spec).named("checked").unwrap().back_off(BackOff { initial: soon, max: soon });
    let run = runtime.block_on(framework.submit(group)).unwrap();
    let says = |healthy: bool, ready: bool| {
        let seen =
            |task: &Value| task["state"] == "running" && task["healthy"] == healthy && task["ready"] == ready;
        eventually("the checks to say so", LIMIT, || starts(&cluster).into_iter().find(seen))
    };
    let first = says(true, false)["id"].clone();
    assert_eq!(cluster.stoa(&["exec", "checked.0", "--", "touch", "ready"]).code, 0);
    assert_eq!(says(true, true)["id"], first);
    let sheet = cluster.stoa(&["describe", "task", "checked.0"]).out;
    assert!(sheet.contains("Healthy:") && sheet.contains("Ready:"), "{sheet}");
    assert_eq!(cluster.stoa(&["exec", "checked.0", "--", "touch", "sick"]).code, 0);
    let ended = eventually("it is ended", LIMIT, || {
        starts(&cluster).into_iter().find(|task| task["id"] == first && task["state"] == "failed")
    });
    assert_eq!(ended["reason"], "unhealthy", "{ended}");
    let message = ended["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("failed 2 times in a row: the command exited with code 3: it is sick"),
        "{message}"
    );
    assert_ne!(says(true, false)["id"], first, "another start, in another sandbox");
    runtime.block_on(framework.withdraw(run.group())).unwrap();
    runtime.block_on(framework.finish()).unwrap();
    cluster.down_leaves_nothing();
}
