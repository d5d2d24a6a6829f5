//! Launches from the agent's point of view, with real processes: starting, limits, ending, output.

mod rig;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use agent_containerizer::{Event, How, Launch, LogLimits, Need, StartFailure, Usage};
use rig::{Fifo, Rig, Scratch, closed, launch};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_and_ends_with_its_exit_code() {
    let mut rig = Rig::new("code").await;
    assert!(rig.recovered.is_empty());
    let launch =
        Launch { env: vec![("A".into(), "b c".into())], ..rig.script("echo \"$A\" $STOA_SANDBOX; exit 7") };
    let sandbox = rig.sandbox(&launch);
    let id = rig.launch(launch);
    assert!(matches!(rig.event().await, Event::Started { run_id, pid, .. } if run_id == id && pid > 0));
    let exit = rig.end(id).await.expect("started");
    assert_eq!((exit.how, exit.oom), (How::Code(7), false));
    assert!(exit.rusage.max_rss_bytes > 100_000);
    assert!(exit.at.elapsed().expect("in the past") < rig::PATIENCE);
    let text = fs::read_to_string(sandbox.join("stdout")).expect("stdout");
    assert_eq!(text, format!("b c {}\n", sandbox.display()));
    assert!(!sandbox.join("stderr").exists(), "created at the first byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_by_signal_is_told_as_such() {
    let mut rig = Rig::new("signal").await;
    let id = rig.launch(rig.script("kill -SEGV $$"));
    assert_eq!(rig.how(id).await, How::Signal(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_launches_at_once_all_run() {
    let mut rig = Rig::new("many").await;
    let ids: Vec<_> = (0..150).map(|n| rig.launch(rig.script(&format!("exit {n}")))).collect();
    let mut ends = std::collections::HashMap::new();
    while ends.len() < ids.len() {
        if let Event::Exited { run_id, exit } = rig.event().await {
            assert!(ends.insert(run_id, exit.how).is_none(), "told twice");
        }
    }
    for (n, id) in (0..).zip(&ids) {
        assert_eq!(ends.get(id), Some(&How::Code(n)));
    }
    ids.iter().for_each(|id| rig.containerizer.destroy(*id));
    let rig = rig.restart().await;
    assert!(rig.recovered.is_empty(), "forgotten: {:?}", rig.recovered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_repeated_starts_nothing() {
    let mut rig = Rig::new("once").await;
    let starts = rig.scratch.dir.join("starts");
    let launch = rig.script(&format!("echo x >> {}", starts.display()));
    let id = rig.launch(launch.clone());
    rig.launch(launch.clone());
    assert_eq!(rig.how(id).await, How::Code(0));
    // Also over a restart, as long as it is not destroyed.
    let mut rig = rig.restart().await;
    rig.launch(launch.clone());
    let other = rig.launch(rig.script("exit 0"));
    assert_eq!(rig.how(other).await, How::Code(0));
    assert_eq!(fs::read_to_string(&starts).expect("file"), "x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_cannot_start_says_why() {
    let mut rig = Rig::new("why").await;
    let cases = [
        (
            launch(&["/no/such/program"]),
            "could not execute the command: No such file or directory (os error 2)",
        ),
        (
            launch(&["no-such-program"]),
            "could not execute the command: No such file or directory (os error 2)",
        ),
        (launch(&["/etc/passwd"]), "could not execute the command: Permission denied (os error 13)"),
        (launch(&[]), "the launch request is invalid: Invalid argument (os error 22)"),
        (
            Launch { user: Some("nobody-of-that-name".into()), ..launch(&["true"]) },
            "user \"nobody-of-that-name\" is not known on this node",
        ),
    ];
    for (launch, why) in cases {
        let id = rig.launch(launch);
        assert_eq!(rig.end(id).await.expect_err("refused").to_string(), why);
        rig.containerizer.destroy(id);
    }
    let huge = Launch { env: vec![("A".into(), "x".repeat(3 << 20))], ..launch(&["true"]) };
    let id = rig.launch(huge);
    assert!(matches!(rig.end(id).await, Err(StartFailure::TooLong { bytes }) if bytes > 3 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_asked_to_end_and_given_time() {
    let mut rig = Rig::new("term").await;
    let fifo = Fifo::new(&rig.scratch.dir, "ready");
    let script =
        format!("trap 'echo bye; exit 5' TERM; echo > {}; while :; do sleep 0.05; done", fifo.text());
    let launch = rig.script(&script);
    let sandbox = rig.sandbox(&launch);
    let id = rig.launch(launch);
    drop(fifo.open().await);
    rig.containerizer.kill(id, LONG);
    rig.containerizer.kill(id, LONG);
    assert_eq!(rig.how(id).await, How::Code(5));
    assert_eq!(fs::read_to_string(sandbox.join("stdout")).expect("stdout"), "bye\n", "asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_will_not_end_is_killed_with_all_it_started() {
    let mut rig = Rig::new("kill").await;
    for pid_namespace in [Need::IfAvailable, Need::Unwanted] {
        let fifo = Fifo::new(&rig.scratch.dir, &format!("ready-{pid_namespace:?}"));
        let script =
            format!("exec 9>{}; trap '' TERM; setsid sleep 1000 & echo >&9; wait; wait", fifo.text());
        let id = rig.launch(Launch { pid_namespace, ..rig.script(&script) });
        let held = fifo.open().await;
        rig.containerizer.kill(id, LONG);
        // A later, shorter grace counts.
        rig.containerizer.kill(id, Duration::from_millis(50));
        assert_eq!(rig.how(id).await, How::Signal(9));
        if rig.has("kill") {
            closed(held).await;
        }
        rig.containerizer.destroy(id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_before_it_started_does_not_start() {
    let mut rig = Rig::new("cancel").await;
    let started = rig.scratch.dir.join("started");
    let id = rig.launch(rig.script(&format!("touch {}", started.display())));
    rig.containerizer.kill(id, Duration::ZERO);
    assert_eq!(rig.end(id).await, Err(StartFailure::Canceled));
    rig.containerizer.destroy(id);
    let other = rig.launch(rig.script("exit 0"));
    assert_eq!(rig.how(other).await, How::Code(0));
    assert!(!started.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_over_its_memory_is_killed_and_that_is_told() {
    let mut rig = Rig::new("oom").await;
    if !rig.has("memory") {
        return;
    }
    // Takes in a line that never ends.
    let limited = |argv: &[&str], mem_bytes| Launch { mem_bytes, limits: Need::Required, ..launch(argv) };
    let id = rig.launch(limited(&["tail", "/dev/zero"], 32 << 20));
    let exit = rig.end(id).await.expect("started");
    assert_eq!((exit.how, exit.oom), (How::Signal(9), true));
    let id = rig.launch(limited(&["true"], 1));
    let exit = rig.end(id).await.expect("started");
    assert_eq!((exit.how, exit.oom), (How::Code(0), false), "the smallest limit leaves room for the runtime");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_no_more_processes_than_it_was_given() {
    let mut rig = Rig::new("pids").await;
    if !rig.has("pids") {
        return;
    }
    // The shell is one, the init of its namespace is not counted.
    let script =
        |children: usize| format!("for n in $(seq {children}); do sleep 1000 & done; echo fine; kill -9 -1");
    let launched = |children, pids_max| {
        let launch = Launch { pids_max, limits: Need::Required, ..rig.script(&script(children)) };
        (rig.sandbox(&launch), rig.launch(launch))
    };
    let (fits, fits_id) = launched(3, 5);
    let (bursts, bursts_id) = launched(20, 5);
    let mut over = 0;
    while over < 2 {
        over += usize::from(
            matches!(rig.event().await, Event::Exited { run_id, .. } if [fits_id, bursts_id].contains(&run_id)),
        );
    }
    assert_eq!(fs::read_to_string(fits.join("stdout")).expect("stdout"), "fine\n");
    let errors = fs::read_to_string(bursts.join("stderr")).expect("stderr");
    assert!(errors.to_lowercase().contains("fork"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_stand_in_the_cgroup_and_use_is_measured() {
    let mut rig = Rig::new("usage").await;
    let launch = Launch { cpus_milli: 1500, mem_bytes: 256 << 20, ..rig.script("while :; do :; done") };
    let id = rig.launch(launch);
    rig.started(id).await;
    let v1 = rig.v1_cgroup("cpu", id);
    if rig.has("cpu") && v1.exists() {
        assert_eq!(fs::read_to_string(v1.join("cpu.shares")).expect("shares").trim(), "1536");
        assert_eq!(fs::read_to_string(v1.join("cpu.cfs_quota_us")).expect("quota").trim(), "150000");
    }
    if rig.has("cpu") && rig.has("memory") && rig.has("pids") {
        let first = rig.containerizer.usage(id).await;
        assert!(first.memory_bytes.expect("memory") > 10_000);
        assert!((1..=3).contains(&first.pids.expect("pids")));
        while rig.containerizer.usage(id).await.cpu_ns <= first.cpu_ns {}
    }
    rig.containerizer.kill(id, Duration::ZERO);
    assert_eq!(rig.how(id).await, How::Signal(9));
    rig.containerizer.destroy(id);
    let other = rig.launch(rig.script("exit 0"));
    assert_eq!(rig.how(other).await, How::Code(0));
    // Jobs are done in order, so that the removal before this question is over.
    assert_eq!(rig.containerizer.usage(id).await, Usage::default());
    assert!(!v1.exists(), "destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation_that_is_required_and_missing_is_a_refusal() {
    let mut scratch = Scratch::new("required");
    // No cgroup can be made below a name that is none.
    scratch.config.cgroups_root = PathBuf::from("/\0");
    let mut rig = Rig::of(scratch).await;
    assert!(!rig.containerizer.report().memory.is_enforced());
    let wanted = Launch { mem_bytes: 64 << 20, ..rig.script("exit 0") };
    let id = rig.launch(Launch { limits: Need::Required, ..wanted.clone() });
    let why = rig.end(id).await.expect_err("refused").to_string();
    assert!(why.starts_with("a memory limit is required, and this node cannot enforce it: "), "{why}");
    let id = rig.launch(Launch { run_id: rig::run_id(), ..wanted });
    assert_eq!(rig.how(id).await, How::Code(0), "without insisting it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_leaves_behind_dies_with_it() {
    let mut rig = Rig::new("orphans").await;
    if !rig.has("pid_namespace") {
        return;
    }
    let fifo = Fifo::new(&rig.scratch.dir, "held");
    let script = format!("exec 9>{}; setsid sleep 1000 & echo >&9; exit 3", fifo.text());
    let id = rig.launch(Launch { pid_namespace: Need::Required, ..rig.script(&script) });
    let held = fifo.open().await;
    assert_eq!(rig.how(id).await, How::Code(3));
    closed(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_as_its_user_in_a_sandbox_of_its_own() {
    let mut rig = Rig::new("user").await;
    if !rig.has("users") {
        return;
    }
    let script =
        "id -un; pwd; echo mine > file; echo oops >&2; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status";
    let launch = Launch { user: Some("nobody".into()), ..rig.script(script) };
    let sandbox = rig.sandbox(&launch);
    let id = rig.launch(launch);
    assert_eq!(rig.how(id).await, How::Code(0));
    let text = fs::read_to_string(sandbox.join("stdout")).expect("stdout");
    let expected = format!("nobody\n{}\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n", sandbox.display());
    assert_eq!(text, expected);
    let of_dir = fs::metadata(&sandbox).expect("sandbox");
    let of_file = fs::metadata(sandbox.join("file")).expect("file");
    let of_log = fs::metadata(sandbox.join("stderr")).expect("stderr");
    assert_eq!((of_dir.uid(), of_dir.permissions().mode() & 0o7777), (of_file.uid(), 0o750));
    assert_eq!((of_log.uid(), of_log.permissions().mode() & 0o7777), (of_file.uid(), 0o640));
    assert_ne!(of_file.uid(), 0);
    let parent = fs::metadata(sandbox.parent().expect("parent")).expect("parent");
    assert_eq!(parent.uid(), 0, "the way to it stays the agent's");
    assert!(sandbox.starts_with(rig.scratch.config.work_dir.join("sandboxes")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_as_root_unless_that_is_allowed_and_asked_for_by_name() {
    let mut scratch = Scratch::new("no-root");
    scratch.config.allow_root = false;
    let mut rig = Rig::of(scratch).await;
    if !rig.has("users") {
        return;
    }
    let of = |user: Option<&str>| Launch { user: user.map(str::to_owned), ..launch(&["id", "-u"]) };
    for user in [None, Some("root")] {
        let id = rig.launch(of(user));
        let failure = rig.end(id).await.expect_err("refused");
        assert_eq!(failure, StartFailure::RootForbidden, "{user:?}");
        assert!(failure.to_string().contains("--allow-root-tasks"), "{failure}");
    }
    let id = rig.launch(of(Some("nobody")));
    assert_eq!(rig.how(id).await, How::Code(0));

    let mut rig = Rig::new("root").await;
    let root = of(Some("root"));
    let stdout = rig.sandbox(&root).join("stdout");
    let id = rig.launch(root);
    assert_eq!(rig.how(id).await, How::Code(0));
    assert_eq!(fs::read_to_string(stdout).expect("stdout"), "0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_begins_in_its_sandbox_whoever_is_let_through_above() {
    let scratch = Scratch::new("closed");
    fs::set_permissions(&scratch.dir, fs::Permissions::from_mode(0o700)).expect("chmod");
    let mut rig = Rig::of(scratch).await;
    if !rig.has("users") {
        return;
    }
    let launch = Launch { user: Some("nobody".into()), ..rig.script("echo mine > file && cat file") };
    let stdout = rig.sandbox(&launch).join("stdout");
    let id = rig.launch(launch);
    assert_eq!(rig.how(id).await, How::Code(0));
    assert_eq!(fs::read_to_string(stdout).expect("stdout"), "mine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_keeper_keeps_is_shown_to_nobody_else() {
    let rig = Rig::new("modes").await;
    let mode = fs::metadata(rig.scratch.keeper_dir()).expect("directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_task_cannot_lift_its_limits() {
    let mut rig = Rig::new("caps").await;
    if !rig.has("capabilities") {
        return;
    }
    let launch = rig.script("ulimit -n 100 && ulimit -Hn 100 && ulimit -Hn 200 && echo lifted");
    let sandbox = rig.sandbox(&launch);
    let id = rig.launch(launch);
    assert_ne!(rig.how(id).await, How::Code(0));
    assert!(!sandbox.join("stdout").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_bounded() {
    let mut rig = Rig::new("logs").await;
    let launch = Launch {
        logs: LogLimits { file_bytes_max: 4096, rotated_max: 2 },
        ..rig.script("seq 100000; echo last")
    };
    let sandbox = rig.sandbox(&launch);
    let id = rig.launch(launch);
    assert_eq!(rig.how(id).await, How::Code(0));
    let names = ["stdout", "stdout.1", "stdout.2", "stdout.3"];
    let sizes = names.map(|name| fs::metadata(sandbox.join(name)).map(|file| file.len()).ok());
    assert!(sizes[0].expect("stdout") <= 4096);
    assert_eq!(sizes[1..], [Some(4096), Some(4096), None]);
    assert!(fs::read_to_string(sandbox.join("stdout")).expect("stdout").ends_with("100000\nlast\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_names_every_kind_of_isolation() {
    let rig = Rig::new("report").await;
    let text = rig.containerizer.report().to_string();
    for (name, _) in rig.containerizer.report().entries() {
        assert!(text.contains(&format!("{name} ")), "{text}");
    }
    eprintln!("{text}");
    assert_ne!(rig.containerizer.boot_id(), [0; 16]);
}
