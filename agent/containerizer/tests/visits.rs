//! Commands beside runs, with real processes: what they find, how they end, and that they never outlive anybody.

mod rig;

use std::path::PathBuf;
use std::time::Duration;

use agent_containerizer::{Guest, How, Launch, RunId, StartFailure, TerminalSize};
use rig::{Fifo, Rig, closed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A run that stays until it is ended, and its launch.
async fn host(rig: &mut Rig) -> (RunId, Launch) {
    let launch = Launch { env: vec![("A".into(), "b c".into())], ..rig.script("exec sleep 3600") };
    host_of(rig, launch).await
}

async fn host_of(rig: &mut Rig, launch: Launch) -> (RunId, Launch) {
    let id = rig.launch(launch.clone());
    rig.started(id).await;
    (id, launch)
}

fn beside(launch: &Launch, script: &str) -> Launch {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Launch { argv, ..launch.clone() }
}

async fn visit(rig: &Rig, launch: &Launch, script: &str) -> Guest {
    rig.containerizer.enter(beside(launch, script), None).await.expect("it enters")
}

async fn ended(guest: &mut Guest) -> Result<How, StartFailure> {
    timeout(rig::PATIENCE, guest.ended()).await.expect("an end in time")
}

/// All that it wrote and how it ended.
async fn all(mut guest: Guest) -> (String, String, How) {
    drop(guest.stdin.take());
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) =
        (guest.stdout.take().expect("stdout"), guest.stderr.take().expect("stderr"));
    let read = async { tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) };
    let (first, second) = timeout(rig::PATIENCE, read).await.expect("the end of its output");
    first.and(second).expect("text");
    let how = ended(&mut guest).await.expect("it was executed");
    (out, err, how)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_what_its_run_has_and_its_own_streams() {
    let mut rig = Rig::new("visit").await;
    let spaces = "readlink /proc/self/ns/pid; readlink /proc/self/ns/mnt; cat /proc/self/cgroup";
    let script = format!("{{ {spaces}; }} > spaces; exec sleep 3600");
    let launch = Launch { env: vec![("A".into(), "b c".into())], ..rig.script(&script) };
    let (_, launch) = host_of(&mut rig, launch).await;
    let guest =
        visit(&rig, &launch, &format!("echo \"$A\" $PWD; echo bad >&2; {{ {spaces}; }} > more; exit 7"))
            .await;
    let (out, err, how) = all(guest).await;
    let sandbox = rig.sandbox(&launch);
    assert_eq!((out, err.as_str(), how), (format!("b c {}\n", sandbox.display()), "bad\n", How::Code(7)));
    let read = |name: &str| std::fs::read_to_string(sandbox.join(name)).expect("written");
    assert_eq!(read("more"), read("spaces"), "the same namespaces and cgroups");
    assert!(!read("more").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_the_user_of_its_run_and_raises_no_privileges() {
    let mut rig = Rig::new("visit-user").await;
    if !rig.has("users") {
        return;
    }
    let launch = Launch { user: Some("nobody".into()), ..rig.script("exec sleep 3600") };
    let (_, launch) = host_of(&mut rig, launch).await;
    let (out, _, how) = all(visit(&rig, &launch, "id -un; grep NoNewPrivs /proc/self/status").await).await;
    assert_eq!((out.as_str(), how), ("nobody\nNoNewPrivs:\t1\n", How::Code(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_who_its_run_was_started_as_whatever_the_agent_says_later() {
    let mut rig = Rig::new("visit-user-changed").await;
    if !rig.has("users") {
        return;
    }
    let launch = Launch { user: Some("nobody".into()), ..rig.script("exec sleep 3600") };
    let (_, launch) = host_of(&mut rig, launch).await;
    for later in [Some("root".to_owned()), None] {
        let launch = Launch { user: later, ..launch.clone() };
        let (out, _, how) = all(visit(&rig, &launch, "id -un").await).await;
        assert_eq!((out.as_str(), how), ("nobody\n", How::Code(0)));
    }
    // And the other way round: one that was root is entered as root, or not at all.
    let launch = Launch { user: Some("root".into()), ..rig.script("exec sleep 3600") };
    let (_, launch) = host_of(&mut rig, launch).await;
    rig.scratch.config.allow_root = false;
    let rig = rig.restart().await;
    let launch = Launch { user: Some("nobody".into()), ..launch };
    let failure = rig.containerizer.enter(beside(&launch, "true"), None).await.expect_err("it was root");
    assert_eq!(failure, StartFailure::RootForbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_the_limits_that_its_run_was_started_with_whatever_the_agent_finds_later() {
    let mut rig = Rig::new("visit-cgroups").await;
    if !rig.has("memory") {
        return;
    }
    let (id, launch) = host(&mut rig).await;
    let (before, ..) = all(visit(&rig, &launch, "cat /proc/self/cgroup").await).await;
    assert!(before.contains(&id.to_string()), "{before}");
    let root = rig.scratch.config.cgroups_root.clone();
    // An agent that looks elsewhere, and one that finds no cgroups at all: no directory has this name.
    for later in [root.join("other"), PathBuf::from("\0")] {
        rig.scratch.config.cgroups_root = later;
        rig = rig.restart().await;
        let (out, _, how) = all(visit(&rig, &launch, "cat /proc/self/cgroup").await).await;
        assert_eq!((out, how), (before.clone(), How::Code(0)));
    }
    assert!(!rig.has("memory"), "the second agent has none");
    rig.scratch.config.cgroups_root = root;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_not_spared_when_memory_is_short_as_the_agent_may_be() {
    let mut rig = Rig::new("visit-oom").await;
    let (_, launch) = host(&mut rig).await;
    let own = "/proc/self/oom_score_adj";
    let before = std::fs::read_to_string(own).expect("a score");
    if std::fs::write(own, "-10").is_err() {
        eprintln!("skipped: this process may not lower its score");
        return;
    }
    let (out, _, how) = all(visit(&rig, &launch, "cat /proc/self/oom_score_adj").await).await;
    std::fs::write(own, before.trim()).expect("as it was");
    assert_eq!((out.as_str(), how), ("0\n", How::Code(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_a_guest_it_reads_and_then_the_end() {
    let mut rig = Rig::new("visit-stdin").await;
    let (_, launch) = host(&mut rig).await;
    let mut guest = visit(&rig, &launch, "cat; echo end").await;
    let mut stdin = guest.stdin.take().expect("stdin");
    stdin.write_all(b"one\ntwo\n").await.expect("written");
    drop(stdin);
    let (out, _, how) = all(guest).await;
    assert_eq!((out.as_str(), how), ("one\ntwo\nend\n", How::Code(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_nobody_wants_any_more_is_killed_with_its_process_group() {
    let mut rig = Rig::new("visit-drop").await;
    let (id, launch) = host(&mut rig).await;
    let fifo = Fifo::new(&rig.scratch.dir, "held");
    let script = format!("trap '' TERM HUP; exec 3> {}; echo x >&3; sleep 3600 & wait", fifo.text());
    let guest = visit(&rig, &launch, &script).await;
    let held = fifo.open().await;
    drop(guest);
    closed(held).await;
    assert_eq!(all(visit(&rig, &launch, "true").await).await.2, How::Code(0), "the run runs on");
    rig.containerizer.kill(id, Duration::ZERO);
    assert_eq!(rig.how(id).await, How::Signal(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_shell_end_with_it() {
    let mut rig = Rig::new("visit-jobs").await;
    let (_, launch) = host(&mut rig).await;
    for hangs_up in [true, false] {
        let fifo = Fifo::new(&rig.scratch.dir, &format!("held-{hangs_up}"));
        // With job control, for which it needs a terminal, each is a process group of its own.
        let job =
            format!("sh -c 'trap \"\" TERM HUP; exec 3> {}; echo x >&3; sleep 3600; true'", fifo.text());
        let size = TerminalSize { columns: 80, rows: 25 };
        let script = beside(&launch, &format!("set -m; {job} & read line; exit 5"));
        let mut guest = rig.containerizer.enter(script, Some(size)).await.expect("it enters");
        let held = fifo.open().await;
        if hangs_up {
            drop(guest);
        } else {
            let terminal = guest.terminal.as_ref().expect("a terminal");
            assert_eq!(terminal.write(b"\n").await.expect("typed"), 1);
            assert_eq!(ended(&mut guest).await, Ok(How::Code(5)));
        }
        closed(held).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_guest_is_left_when_its_run_is_over() {
    let mut rig = Rig::new("visit-over").await;
    if !rig.has("pid_namespace") || !rig.has("users") {
        return;
    }
    // Such a run's namespaces would be given to the next.
    let launch = Launch { user: Some("nobody".into()), ..rig.script("exec sleep 3600") };
    let (id, launch) = host_of(&mut rig, launch).await;
    let (fifo, other) = (Fifo::new(&rig.scratch.dir, "held"), Fifo::new(&rig.scratch.dir, "other"));
    // One that has left the process group, and the session.
    let script = format!("setsid sh -c 'exec 3> {}; echo x >&3; exec sleep 3600' & cat; exit 0", fifo.text());
    let mut left = visit(&rig, &launch, &script).await;
    let mut guest =
        visit(&rig, &launch, &format!("exec 3> {}; echo x >&3; exec sleep 3600", other.text())).await;
    let (held, too) = (fifo.open().await, other.open().await);
    drop(left.stdin.take());
    assert_eq!(ended(&mut left).await, Ok(How::Code(0)));
    rig.containerizer.kill(id, Duration::ZERO);
    assert_eq!(rig.how(id).await, How::Signal(9));
    closed(held).await;
    closed(too).await;
    assert_eq!(ended(&mut guest).await, Ok(How::Signal(9)));
    let failure = rig.containerizer.enter(beside(&launch, "true"), None).await.expect_err("it is over");
    assert_eq!(failure, StartFailure::NotRunning);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_executed_is_told_as_such() {
    let mut rig = Rig::new("visit-none").await;
    let (_, launch) = host(&mut rig).await;
    let launch = Launch { argv: vec!["/no/such/program".into()], ..launch };
    let mut guest = rig.containerizer.enter(launch, None).await.expect("it enters");
    let failure = ended(&mut guest).await.expect_err("not executed");
    assert_eq!(failure.to_string(), "could not execute the command: No such file or directory (os error 2)");
    let left: Vec<_> = std::fs::read_dir(rig.scratch.keeper_dir())
        .expect("a directory")
        .filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("visit-"))
        })
        .collect();
    drop(guest);
    assert_eq!(left.len(), 1, "its file, while it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_visited_after_a_restart_of_the_agent_too() {
    let mut rig = Rig::new("visit-again").await;
    let (_, launch) = host(&mut rig).await;
    let rig = rig.restart().await;
    let (out, _, how) = all(visit(&rig, &launch, "echo $A").await).await;
    assert_eq!((out.as_str(), how), ("b c\n", How::Code(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_a_terminal_has_it_for_its_own() {
    let mut rig = Rig::new("visit-tty").await;
    let (_, launch) = host(&mut rig).await;
    let size = TerminalSize { columns: 97, rows: 31 };
    let script = "tty; stty size; read line; echo got $line; stty size; echo again > /dev/tty; exit 3";
    let mut guest = rig.containerizer.enter(beside(&launch, script), Some(size)).await.expect("it enters");
    assert!(guest.stdin.is_none() && guest.stdout.is_none());
    let terminal = guest.terminal.take().expect("a terminal");
    let mut shown = String::new();
    let mut buffer = [0; 4096];
    let mut asked = false;
    loop {
        let count = timeout(rig::PATIENCE, terminal.read(&mut buffer)).await.expect("in time").expect("read");
        if count == 0 {
            break;
        }
        shown.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        if shown.contains("31 97") && !asked {
            asked = true;
            terminal.resize(TerminalSize { columns: 120, rows: 40 }).expect("resized");
            assert_eq!(terminal.write(b"word\n").await.expect("typed"), 5);
        }
    }
    assert!(shown.starts_with("/dev/pts/"), "{shown}");
    for wanted in ["got word\r\n", "40 120\r\n", "again\r\n"] {
        assert!(shown.contains(wanted), "{wanted:?} in {shown:?}");
    }
    assert_eq!(ended(&mut guest).await, Ok(How::Code(3)));
}
