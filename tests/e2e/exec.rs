//! Commands beside tasks, typed: their output, their exit code, a terminal, and clear words when there is nothing to run beside.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use framework_sdk::desired::{Group, TaskSpec};
use framework_sdk::exec::ExecError;
use framework_sdk::id::TaskId;
use framework_sdk::reconciler::Event;
use framework_sdk::task::Exit;
use framework_sdk::{Framework, Profile};

use super::cluster::{Cluster, eventually, is_sleeping};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_command_beside_a_task_prints_what_it_finds_and_ends_as_it_says() {
    let cluster = Cluster::up("exec", &[]);
    let file = cluster.file(
        "stays.toml",
        "name = \"stays\"\ncommand = \"echo here > note; exec sleep 1000\"\ninstances = 2\ncpus = 0.05\nmem = \"16MiB\"\n",
    );
    assert_eq!(cluster.stoa(&["job", "apply", &file, "--wait"]).code, 0);
    eventually("it runs", LIMIT, || {
        let tasks = cluster.list("tasks");
        tasks.iter().any(|task| task["name"] == "stays.0" && task["state"] == "running").then_some(())
    });

    let ran =
        cluster.stoa(&["exec", "stays.0", "--", "sh", "-c", "cat note; echo $STOA_TASK_ID >&2; exit 7"]);
    assert_eq!((ran.code, ran.out.as_str()), (7, "here\n"), "{ran:?}");
    assert!(ran.err.contains("stays"), "standard error comes through: {ran:?}");
    let mut typed = cluster.command(env!("CARGO_BIN_EXE_stoa"));
    typed.args(["exec", "-i", "stays.1", "--", "sh", "-c", "cat; echo end"]);
    let mut typed = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    typed.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let typed = typed.wait_with_output().unwrap();
    assert_eq!((typed.status.code(), typed.stdout.as_slice()), (Some(0), &b"typed\nend\n"[..]), "{typed:?}");
    let killed = cluster.stoa(&["exec", "stays.0", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.code, 128 + 15, "{killed:?}");
    let terminal = cluster.stoa(&["exec", "-t", "stays.0", "--", "tty"]);
    assert_eq!(terminal.code, 0, "{terminal:?}");
    assert!(terminal.out.starts_with("/dev/pts/"), "{terminal:?}");

    goes_with_the_agent(&cluster);

    let unknown = cluster.stoa(&["exec", "stays.0", "--", "/no/such/program"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("could not execute the command"), "{unknown:?}");
    let missing = cluster.stoa(&["exec", "stay.0", "--", "true"]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.err.contains("did you mean stays.0?"), "{missing:?}");
    assert_eq!(cluster.stoa(&["job", "stop", "stays", "--wait"]).code, 0);
    let over = cluster.stoa(&["exec", "stays.0", "--", "true"]);
    assert_eq!(over.code, 6, "{over:?}");
    assert!(over.err.contains("does not run: it is killed"), "{over:?}");
    cluster.down_leaves_nothing();
}

#[test]
fn a_framework_runs_commands_beside_its_tasks_and_calls_them_off() {
    let cluster = Cluster::up("exec-sdk", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(beside_its_own(&Profile::load(&cluster.context()).unwrap())).unwrap();
    cluster.down_leaves_nothing();
}

async fn beside_its_own(profile: &Profile) -> Result<(), Box<dyn std::error::Error>> {
    let framework = Framework::builder("beside").connect(profile.clone()).await?;
    let spec = TaskSpec::shell("echo here > note; exec sleep 1000").cpus_milli(50).mem_mib(16);
    let mut run = framework.submit(Group::of(spec).named("stays")?).await?;
    while !run.next().await.is_some_and(|event| matches!(event, Event::AsStated(_))) {}
    let task = framework.members(run.group()).await?.remove(0).task;

    let command = framework.exec(&task, ["sh", "-c", "cat note -; echo $STOA_TASK_ID >&2; exit 7"]).await?;
    let ran = command.run(b"typed\n").await?;
    assert_eq!((ran.exit, ran.stdout), (Exit::Code(7), b"here\ntyped\n".to_vec()));
    assert_eq!(String::from_utf8(ran.stderr)?.trim(), task.as_str());

    let asleep = framework.exec(&task, ["sleep", "86397.75"]).await?;
    eventually("it sleeps", LIMIT, || is_sleeping("86397.75").then_some(()));
    drop(asleep);
    eventually("it is called off", LIMIT, || (!is_sleeping("86397.75")).then_some(()));

    let unknown = framework.exec(&task, ["/no/such/program"]).await;
    let unknown = match unknown {
        Ok(command) => command.run(b"").await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(unknown, Err(ExecError::Refused(_))), "{unknown:?}");
    let missing = framework.exec(&TaskId::new("other").unwrap(), ["true"]).await;
    assert!(matches!(missing, Err(ExecError::NoTask { .. })), "{missing:?}");
    framework.withdraw(run.group()).await?;
    while run.next().await.is_some() {}
    let over = framework.exec(&task, ["true"]).await;
    assert!(matches!(over, Err(ExecError::NotRunning { .. })), "{over:?}");
    Ok(framework.finish().await?)
}

/// An agent that is killed takes its commands along, and the tasks run on.
fn goes_with_the_agent(cluster: &Cluster) {
    const SLEEP: &str = "86399.25";
    let sleeps = || is_sleeping(SLEEP);
    let task = |state: &str| {
        let tasks = cluster.list("tasks");
        tasks.into_iter().find(|task| task["name"] == "stays.0" && task["state"] == state)
    };
    let before = eventually("it runs", LIMIT, || task("running"));
    let command = cluster.staying(&["exec", "stays.0", "--", "sleep", SLEEP]);
    eventually("the command runs", LIMIT, || sleeps().then_some(()));
    cluster.kill_9(cluster.child(before["hostname"].as_str().unwrap()));
    eventually("the command is gone", LIMIT, || (!sleeps()).then_some(()));
    while command.line("it ends", LIMIT).is_some() {}
    let ran = eventually("commands are run again", LIMIT, || {
        Some(cluster.stoa(&["exec", "stays.0", "--", "cat", "note"])).filter(|ran| ran.code == 0)
    });
    assert_eq!(ran.out, "here\n");
    assert_eq!(task("running").map(|task| task["id"].clone()), Some(before["id"].clone()), "it ran on");
}
