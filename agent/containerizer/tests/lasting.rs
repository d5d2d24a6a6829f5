//! Restarts of the agent, of the keeper, and life without privileges. Real processes.

mod rig;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use agent_containerizer::{
    Config, Containerizer, Event, How, Isolation, Launch, Loss, Need, Recovered, RecoveredState,
};
use rig::{Fifo, PATIENCE, Rig, Scratch, closed, launch};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn tasks_outlive_the_agent_and_their_ends_wait_for_it() {
    let mut rig = Rig::new("outlive").await;
    let go = Fifo::new(&rig.scratch.dir, "go");
    let done = Fifo::new(&rig.scratch.dir, "done");
    let stays = rig.launch(rig.script("sleep 1000"));
    let ends =
        rig.launch(rig.script(&format!("cat {} > /dev/null; exec 9>{}; exit 42", go.text(), done.text())));
    let fails = rig.launch(launch(&["/no/such/program"]));
    let failure = rig.end(fails).await.expect_err("no such program");
    let oom = rig
        .has("memory")
        .then(|| rig.launch(Launch { mem_bytes: 32 << 20, ..launch(&["tail", "/dev/zero"]) }));
    if let Some(oom) = oom {
        assert!(rig.end(oom).await.expect("started").oom);
    }
    let (pid, keeper) = (rig.started(stays).await, rig.containerizer.keeper_pid());

    let Rig { containerizer, mut events, scratch, .. } = rig;
    drop(containerizer);
    while timeout(PATIENCE, events.recv()).await.expect("the engine ends").is_some() {}
    go.write().await;
    done.read_to_end().await;

    let mut rig = Rig::of(scratch).await;
    assert_eq!(rig.containerizer.keeper_pid(), keeper);
    let state = |rig: &Rig, id| {
        let found = rig.recovered.iter().find(|recovered| recovered.run_id == id);
        found.map(|recovered| recovered.state.clone())
    };
    assert!(matches!(state(&rig, stays), Some(RecoveredState::Running { pid: same, .. }) if same == pid));
    assert_eq!(state(&rig, fails), Some(RecoveredState::StartFailed(failure)));
    if let Some(oom) = oom {
        let found = state(&rig, oom);
        assert!(matches!(found, Some(RecoveredState::Exited(exit)) if exit.oom), "{found:?}");
    }
    match state(&rig, ends) {
        Some(RecoveredState::Exited(exit)) => assert_eq!(exit.how, How::Code(42)),
        // The pipe is closed a moment before the keeper sees the end.
        Some(RecoveredState::Running { .. }) => assert_eq!(rig.how(ends).await, How::Code(42)),
        other => panic!("{other:?}"),
    }
    // What was taken over can be ended like any other.
    rig.containerizer.kill(stays, Duration::ZERO);
    assert_eq!(rig.how(stays).await, How::Signal(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_keeper_loses_its_runs_and_nothing_else() {
    let mut rig = Rig::new("keeper").await;
    let fifo = Fifo::new(&rig.scratch.dir, "held");
    let id = rig.launch(rig.script(&format!("exec 9>{}; echo >&9; sleep 1000", fifo.text())));
    rig.started(id).await;
    let held = fifo.open().await;
    let ended = rig.launch(rig.script("exit 3"));
    assert_eq!(rig.how(ended).await, How::Code(3));
    let keeper = Pid::from_raw(rig.containerizer.keeper_pid()).expect("pid");
    kill_process(keeper, Signal::KILL).expect("killed");
    assert_eq!(rig.how(id).await, How::Lost(Loss::KeeperDied));
    closed(held).await;
    let next = rig.launch(rig.script("exit 4"));
    assert_eq!(rig.how(next).await, How::Code(4), "another keeper has taken its place");
    rig.containerizer.destroy(id);
    rig.containerizer.destroy(ended);
    let rig = rig.restart().await;
    let left: Vec<_> = rig.recovered.iter().map(|recovered| recovered.run_id).collect();
    assert_eq!(left, [next]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_made_while_there_is_no_keeper_starts_with_the_next() {
    let mut rig = Rig::new("gap").await;
    let keeper = Pid::from_raw(rig.containerizer.keeper_pid()).expect("pid");
    let starts = rig.scratch.dir.join("starts");
    let script = format!("echo x >> {}; exit 6", starts.display());
    kill_process(keeper, Signal::KILL).expect("killed");
    let ids: Vec<_> = (0..5).map(|_| rig.launch(rig.script(&script))).collect();
    let mut codes = 0;
    for _ in &ids {
        let end = loop {
            if let Event::Exited { exit, .. } = rig.event().await {
                break exit.how;
            }
        };
        match end {
            How::Code(6) => codes += 1,
            // Begun by the old one in its last moment.
            How::Lost(Loss::KeeperDied) => {}
            other => panic!("{other:?}"),
        }
    }
    let started = fs::read_to_string(&starts).unwrap_or_default().lines().count();
    assert!(started >= codes && started <= ids.len(), "none starts twice: {started}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_keeper_of_another_build_is_replaced_and_a_busy_one_is_not() {
    let rig = Rig::new("build").await;
    let program = fs::read_dir(rig.scratch.config.work_dir.join("bin")).expect("bin");
    let program = program.flatten().next().expect("the program").path();
    assert_eq!(fs::metadata(&program).expect("program").permissions().mode() & 0o777, 0o755);
    rig.containerizer.end_keeper(false).await.expect("nothing runs");
    let Rig { containerizer, scratch, .. } = rig;
    drop(containerizer);
    let serve = |build: &str| {
        let served = Command::new(&program).arg("serve").arg(scratch.keeper_dir()).arg(build).status();
        served.expect("served").success()
    };
    // The old one is out of reach a moment before it lets go of its directory.
    let deadline = Instant::now() + PATIENCE;
    while !serve("another build") {
        assert!(Instant::now() < deadline, "the old keeper does not let go");
    }
    let (before, mut events) = Containerizer::start(scratch.config.clone()).await.expect("started");
    assert!(matches!(events.recv().await, Some(Event::Recovered(none)) if none.is_empty()));
    let id = {
        let launch = launch(&["sleep", "1000"]);
        let id = launch.run_id;
        before.launch(launch);
        assert!(matches!(events.recv().await, Some(Event::Started { .. })));
        id
    };
    let keeper = before.keeper_pid();
    assert_eq!(before.end_keeper(false).await, Err(1), "it has a run");
    drop(before);
    while events.recv().await.is_some() {}
    let rig = Rig::of(scratch).await;
    assert_eq!(rig.containerizer.keeper_pid(), keeper, "of the same build now, and busy");
    assert!(
        matches!(&rig.recovered[..], [Recovered { run_id, state: RecoveredState::Running { .. } }] if *run_id == id)
    );
    rig.containerizer.end_keeper(true).await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_directory_that_cannot_be_is_a_reason() {
    let config = Config::new("/proc/no/such/place", "agent");
    let why = Containerizer::start(config).await.expect_err("refused").to_string();
    assert!(why.starts_with("work directory /proc/no/such/place/keeper: "), "{why}");
}

/// Set for the process that has given its privileges up.
const INNER: &str = "STOA_TEST_WITHOUT_PRIVILEGES";

#[test]
fn without_privileges_tasks_run_with_less_isolation_and_the_report_says_so() {
    if std::env::var_os(INNER).is_some() || !rustix::process::geteuid().is_root() {
        return inner();
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: there is no setpriv to give privileges up with");
        return;
    }
    let dir = std::env::temp_dir().join(format!("stoa-test-{}-setpriv", std::process::id()));
    fs::create_dir_all(&dir).expect("scratch directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("chmod");
    // Where this program is, others may not be let in.
    let program = dir.join("test");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("copied");
    let test = "without_privileges_tasks_run_with_less_isolation_and_the_report_says_so";
    let out = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .env("TMPDIR", &dir)
        .output()
        .expect("setpriv");
    fs::remove_dir_all(&dir).expect("removed");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    eprintln!("{text}");
    assert!(out.status.success());
    assert!(text.contains("1 passed"), "the inner test has run");
}

fn inner() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let mut rig = Rig::of(Scratch::new("unprivileged")).await;
        let report = rig.containerizer.report().clone();
        eprintln!("{report}");
        for (name, isolation) in [("users", &report.users), ("memory", &report.memory)] {
            let Isolation::Off { why } = isolation else { panic!("{name} without privileges") };
            assert!(why.contains("denied") || why.contains("not permitted"), "{name}: {why}");
        }
        let id = rig.launch(rig.script("exit 7"));
        assert_eq!(rig.how(id).await, How::Code(7));
        let id = rig.launch(Launch { mem_bytes: 1 << 20, limits: Need::Required, ..rig.script("exit 0") });
        assert!(rig.end(id).await.is_err());
        // The group still dies with its task.
        let fifo = Fifo::new(&rig.scratch.dir, "held");
        let script = format!("exec 9>{}; trap '' TERM; sleep 1000 & echo >&9; wait; wait", fifo.text());
        let id = rig.launch(rig.script(&script));
        let held = fifo.open().await;
        rig.containerizer.kill(id, Duration::from_millis(20));
        assert_eq!(rig.how(id).await, How::Signal(9));
        closed(held).await;
        let other = rig.launch(Launch { user: Some("root".into()), ..rig.script("exit 0") });
        let why = rig.end(other).await.expect_err("refused").to_string();
        assert!(why.starts_with("a user of its own is required"), "{why}");
    });
}
