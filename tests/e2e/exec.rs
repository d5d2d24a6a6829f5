//! Commands beside tasks, typed: their output, their exit code, a terminal, and clear words when there is nothing to run beside.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use super::cluster::{Cluster, eventually};

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
