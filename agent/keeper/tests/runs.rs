//! Runs from the agent's point of view: how they start, what they find, how they end. Real processes.

mod rig;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use agent_keeper::protocol::{Event, Failure, How, Output, Request, Rlimit, RunState, Spawn, Stage, User};
use rig::{Fifo, Rig, command, isolated, privileged, run_id, send_signal, shell};

#[test]
fn an_exit_code_and_what_was_used_are_told() {
    let mut rig = Rig::new("code");
    for spawn in modes(shell("exit 42"), "an_exit_code") {
        let id = rig.spawn(spawn);
        assert!(rig.spawned(id) > 0);
        let exit = rig.end(id).expect("started");
        assert_eq!(exit.how, How::Code(42));
        assert!(exit.at_ms > 1_700_000_000_000);
        assert!(exit.rusage.max_rss_bytes > 100_000, "{:?}", exit.rusage);
        assert!(exit.rusage.user_us + exit.rusage.system_us > 0);
    }
}

#[test]
fn a_death_by_signal_is_told_as_such() {
    let mut rig = Rig::new("signal");
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM] {
        for spawn in modes(shell(&format!("kill -{signal} $$")), "a_death_by_signal") {
            let id = rig.spawn(spawn);
            assert_eq!(rig.how(id), How::Signal(signal));
        }
    }
}

#[test]
fn a_command_that_cannot_be_executed_says_why() {
    let mut rig = Rig::new("exec");
    let file = rig.dir.join("not-executable");
    fs::write(&file, "text").expect("file");
    let missing = libc::ENOENT;
    let cases = [
        (command(&["/no/such/program"]), Stage::Exec, missing),
        (command(&["no-such-program-on-the-path"]), Stage::Exec, missing),
        (command(&[file.to_str().expect("utf-8")]), Stage::Exec, libc::EACCES),
        (Spawn { cwd: b"/no/such/dir".to_vec(), ..shell("true") }, Stage::Cwd, missing),
        (Spawn { cgroup_procs: vec![b"/no/tasks".to_vec()], ..shell("true") }, Stage::Cgroup, missing),
        (command(&[]), Stage::Request, libc::EINVAL),
    ];
    for (spawn, stage, errno) in cases {
        for spawn in modes(spawn, "a_command_that_cannot_be_executed") {
            let id = rig.spawn(spawn);
            let failure = Failure { stage, index: 0, errno };
            assert_eq!(rig.end(id), Err(failure));
            assert_eq!(rig.state(id), Some(RunState::Failed(failure)), "remembered until forgotten");
        }
    }
}

#[test]
fn a_program_is_found_on_the_tasks_own_path() {
    let mut rig = Rig::new("path");
    let bin = rig.dir.join("bin");
    fs::create_dir(&bin).expect("directory");
    std::os::unix::fs::symlink("/bin/echo", bin.join("only-here")).expect("link");
    let env = vec![[b"PATH=/nowhere:", bin.as_os_str().as_bytes()].concat()];
    let text = rig.output_of(Spawn { env, ..command(&["only-here", "found"]) });
    assert_eq!(text, "found\n");
}

#[test]
fn a_batch_in_one_write_is_carried_out_whole() {
    let mut rig = Rig::new("batch");
    let spawns: Vec<Spawn> =
        (0..120).flat_map(|n| modes(shell(&format!("exit {}", n % 100)), "a_batch")).collect();
    let requests: Vec<_> = spawns.iter().cloned().map(|spawn| Request::Spawn(Box::new(spawn))).collect();
    rig.send(&requests);
    let mut ends = std::collections::HashMap::new();
    let mut spawned = 0;
    while ends.len() < spawns.len() {
        match rig.event() {
            Event::Exited { run_id, exit } => assert!(ends.insert(run_id, exit.how).is_none()),
            Event::Spawned { .. } => spawned += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(spawned, spawns.len());
    for spawn in &spawns {
        let code = String::from_utf8_lossy(&spawn.argv[2]).trim_start_matches("exit ").parse().expect("code");
        assert_eq!(ends.get(&spawn.run_id), Some(&How::Code(code)));
    }
}

#[test]
fn a_run_known_already_is_never_started_again() {
    let mut rig = Rig::new("once");
    for spawn in modes(shell(""), "a_run_known_already") {
        let file = rig.dir.join(format!("starts-{}", spawn.run_id));
        let spawn = Spawn { argv: shell(&format!("echo x >> {}", file.display())).argv, ..spawn };
        let again = || Request::Spawn(Box::new(spawn.clone()));
        rig.send(&[again(), again(), again()]);
        let first = rig.end(spawn.run_id);
        rig.send(&[again(), again()]);
        assert_eq!(rig.end(spawn.run_id), first);
        assert_eq!(rig.end(spawn.run_id), first, "each is answered with what is known");
        rig.reconnect();
        rig.send(&[again()]);
        assert_eq!(rig.end(spawn.run_id), first);
        assert_eq!(fs::read_to_string(&file).expect("file"), "x\n");
    }
}

#[test]
fn a_task_finds_clean_descriptors_signals_and_session() {
    let mut rig = Rig::new("clean");
    for spawn in modes(shell(""), "a_task_finds_clean") {
        let script = "ls -1 /proc/self/fd | sort -n | tr '\\n' ' '; readlink /proc/self/fd/0;
            grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f6 /proc/$$/stat; echo $$; umask";
        let text = rig.output_of(Spawn { argv: shell(script).argv, ..spawn });
        let lines: Vec<_> = text.lines().collect();
        // 3 is the directory that ls reads.
        assert_eq!(lines[0], "0 1 2 3 /dev/null", "{text}");
        assert_eq!(lines[1], "SigBlk:\t0000000000000000");
        assert_eq!(lines[2], "SigIgn:\t0000000000000000");
        assert_eq!(lines[3], lines[4], "leader of its own session");
        assert_eq!(lines[5], "0022");
    }
}

#[test]
fn a_task_has_the_environment_directory_and_limits_it_was_given() {
    let mut rig = Rig::new("given");
    for spawn in modes(shell("env | grep -v -E '^(PWD|_|SHLVL)='; pwd; ulimit -n; ulimit -c"), "given") {
        let limit = |resource, value| Rlimit { resource, soft: value, hard: value };
        let spawn = Spawn {
            env: vec![b"A=1".to_vec(), b"PATH=/usr/bin:/bin".to_vec()],
            cwd: b"/tmp".to_vec(),
            rlimits: vec![limit(libc::RLIMIT_NOFILE, 77), limit(libc::RLIMIT_CORE, 0)],
            ..spawn
        };
        let text = rig.output_of(spawn);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, ["A=1", "PATH=/usr/bin:/bin", "/tmp", "77", "0"]);
    }
}

#[test]
fn the_limit_of_open_files_is_the_agents_not_the_keepers() {
    let mut rig = Rig::new("nofile");
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit lives through the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(rig.output_of(shell("ulimit -n")).trim(), limit.rlim_cur.to_string());
}

#[test]
fn a_task_runs_as_the_user_it_was_given_without_privileges() {
    if !privileged("a_task_runs_as_the_user") {
        return;
    }
    let mut rig = Rig::new("user");
    open_to_all(&rig.dir);
    for spawn in modes(shell("id -u; id -g; id -G; grep -E 'NoNewPrivs|CapBnd' /proc/self/status"), "user") {
        let user = User { uid: 65534, gid: 65534, groups: vec![65534, 100] };
        let spawn = Spawn { user: Some(user), no_new_privs: true, dropped_capabilities: u64::MAX, ..spawn };
        let text = rig.output_of(spawn);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, ["65534", "65534", "65534 100", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]);
    }
}

#[test]
fn a_pid_namespace_shows_the_task_only_itself() {
    if !privileged("a_pid_namespace") {
        return;
    }
    let mut rig = Rig::new("pids");
    let text = rig.output_of(isolated(shell("ls -d /proc/[0-9]* | wc -l; echo $$; cat /proc/1/comm")));
    let lines: Vec<_> = text.lines().collect();
    // The init, the shell, ls or wc with their subshell.
    assert!(lines[0].parse::<u32>().expect("count") <= 4, "{text}");
    assert_eq!(lines[1], "2");
    assert_eq!(lines[2], "stoa-keeper");
    assert!(fs::read_dir("/proc").expect("our own /proc is untouched").count() > 10);
}

#[test]
fn what_a_task_leaves_behind_dies_with_its_namespace() {
    if !privileged("what_a_task_leaves_behind") {
        return;
    }
    let mut rig = Rig::new("orphans");
    let fifo = Fifo::new(&rig.dir, "held");
    let script =
        format!("exec 9>{}; setsid sleep 1000 & setsid sh -c 'sleep 1000 & wait' & exit 3", fifo.text());
    let id = rig.spawn(isolated(shell(&script)));
    assert_eq!(fifo.read_to_end(), "", "ends only when no process holds it");
    assert_eq!(rig.how(id), How::Code(3));
}

#[test]
fn without_a_namespace_the_process_group_dies_with_the_task() {
    let mut rig = Rig::new("group");
    let fifo = Fifo::new(&rig.dir, "held");
    let id = rig.spawn(shell(&format!("exec 9>{}; sleep 1000 & sleep 1000 & exit 3", fifo.text())));
    assert_eq!(fifo.read_to_end(), "");
    assert_eq!(rig.how(id), How::Code(3));
}

#[test]
fn orphans_are_reaped() {
    let mut rig = Rig::new("reap");
    // Children of the keeper once their parent is gone, and out of reach of what ends the process group.
    let id = rig.spawn(shell("for n in 1 2 3 4; do setsid sh -c 'exit 0' & done; exit 0"));
    assert_eq!(rig.how(id), How::Code(0));
    let children = |keeper: i32| {
        let stats = fs::read_dir("/proc").expect("/proc").flatten();
        let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        let parent = |stat: &String| stat.rsplit(") ").next()?.split(' ').nth(1)?.parse::<i32>().ok();
        stats.filter(|stat| parent(stat) == Some(keeper)).count()
    };
    let mut turns = 0;
    while children(rig.keeper_pid) > 0 {
        let next = rig.spawn(shell("exit 0"));
        assert_eq!(rig.how(next), How::Code(0));
        turns += 1;
        assert!(turns < 1000, "zombies stay");
    }
}

#[test]
fn signals_reach_the_command() {
    let mut rig = Rig::new("forward");
    for spawn in modes(shell(""), "signals_reach") {
        let fifo = Fifo::new(&rig.dir, &format!("ready-{}", spawn.run_id));
        let script = format!("trap 'exit 7' TERM; echo > {}; while :; do sleep 0.05; done", fifo.text());
        let id = rig.spawn(Spawn { argv: shell(&script).argv, ..spawn });
        drop(fifo.open());
        rig.send(&[Request::Signal { run_id: id, signal: libc::SIGTERM, whole_tree: false }]);
        assert_eq!(rig.how(id), How::Code(7));
    }
}

#[test]
fn a_task_that_ignores_term_is_killed_with_all_it_started() {
    let mut rig = Rig::new("stubborn");
    for spawn in modes(shell(""), "a_task_that_ignores_term") {
        let fifo = Fifo::new(&rig.dir, &format!("ready-{}", spawn.run_id));
        let script = format!("exec 9>{}; trap '' TERM; sleep 1000 & echo >&9; wait; wait", fifo.text());
        let id = rig.spawn(Spawn { argv: shell(&script).argv, ..spawn });
        let mut held = fifo.open();
        let signal = |signal| Request::Signal { run_id: id, signal, whole_tree: true };
        rig.spawned(id);
        rig.send(&[signal(libc::SIGTERM)]);
        assert_eq!(rig.event(), Event::Signaled { run_id: id, errno: 0 });
        assert!(matches!(rig.state(id), Some(RunState::Running { .. })));
        rig.send(&[signal(libc::SIGKILL)]);
        assert_eq!(rig.how(id), How::Signal(libc::SIGKILL));
        assert_eq!(std::io::copy(&mut held, &mut std::io::sink()).expect("end of all writers"), 0);
        rig.send(&[signal(libc::SIGTERM)]);
        assert_eq!(rig.event(), Event::Signaled { run_id: id, errno: libc::ESRCH });
    }
}

#[test]
fn stop_stops_the_command_and_not_its_init() {
    if !privileged("stop_stops") {
        return;
    }
    let mut rig = Rig::new("stop");
    let fifo = Fifo::new(&rig.dir, "ready");
    let id = rig
        .spawn(isolated(shell(&format!("trap 'exit 9' CONT; echo >{0}; sleep 1000; exit 1", fifo.text()))));
    let pid = rig.spawned(id);
    drop(fifo.open());
    let signal = |signal| Request::Signal { run_id: id, signal, whole_tree: false };
    rig.send(&[signal(libc::SIGSTOP)]);
    assert_eq!(rig.event(), Event::Signaled { run_id: id, errno: 0 });
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("init");
    assert!(!stat.contains(") T "), "{stat}");
    rig.send(&[signal(libc::SIGKILL)]);
    assert_eq!(rig.how(id), How::Signal(libc::SIGKILL));
}

#[test]
fn a_run_can_be_killed_before_it_is_begun() {
    let mut rig = Rig::new("cancel");
    // So many before it that it must wait.
    let mut requests: Vec<_> = (0..60).map(|_| Request::Spawn(Box::new(shell("exit 0")))).collect();
    let last = shell("exit 5");
    let id = last.run_id;
    requests.push(Request::Spawn(Box::new(last)));
    requests.push(Request::Signal { run_id: id, signal: libc::SIGTERM, whole_tree: true });
    rig.send(&requests);
    let failure = Failure { stage: Stage::Canceled, index: 0, errno: libc::ECANCELED };
    assert_eq!(rig.end(id), Err(failure));
}

#[test]
fn output_is_kept_in_rotated_files_of_the_tasks_user() {
    let mut rig = Rig::new("output");
    for spawn in modes(shell(""), "output") {
        let dir = rig.dir.join(format!("logs-{}", spawn.run_id));
        fs::create_dir(&dir).expect("directory");
        let output =
            Output { dir: dir.as_os_str().as_bytes().to_vec(), file_bytes_max: 1000, rotated_max: 2 };
        let script = "i=0; while [ $i -lt 500 ]; do echo 0123456; i=$((i+1)); done; echo oops >&2";
        let id = rig.spawn(Spawn { argv: shell(script).argv, output: Some(output), ..spawn });
        assert_eq!(rig.how(id), How::Code(0));
        let size = |name: &str| fs::metadata(dir.join(name)).map(|file| file.len()).ok();
        assert_eq!(["stdout.2", "stdout.1", "stdout.3"].map(size), [Some(1000), Some(1000), None]);
        assert!(size("stdout").expect("stdout") <= 1000);
        assert_eq!(fs::read_to_string(dir.join("stderr")).expect("stderr"), "oops\n");
        let mode = fs::metadata(dir.join("stderr")).expect("stderr").mode() & 0o7777;
        assert_eq!(mode, 0o640);
    }
}

#[test]
fn a_process_that_keeps_the_pipe_does_not_hold_up_the_end() {
    let mut rig = Rig::new("pipe");
    let dir = rig.dir.join("logs");
    fs::create_dir(&dir).expect("directory");
    let fifo = Fifo::new(&rig.dir, "escaped");
    let output = Output { dir: dir.as_os_str().as_bytes().to_vec(), file_bytes_max: 1000, rotated_max: 1 };
    // It leaves the process group, so that the end of the task does not reach it.
    let script =
        format!("echo before; setsid sh -c 'echo $$ > {}; exec sleep 1000' & cat {0}.go", fifo.text());
    let go = Fifo::new(&rig.dir, "escaped.go");
    let id = rig.spawn(Spawn { output: Some(output), ..shell(&script) });
    let escaped: i32 = fifo.read_to_end().trim().parse().expect("pid");
    fs::write(&go.path, "x").expect("go");
    assert_eq!(rig.how(id), How::Code(0));
    assert_eq!(fs::read_to_string(dir.join("stdout")).expect("stdout"), "before\nx");
    send_signal(escaped, libc::SIGKILL);
}

#[test]
fn a_forgotten_run_is_unknown() {
    let mut rig = Rig::new("forget");
    let id = rig.spawn(shell("sleep 1000"));
    rig.spawned(id);
    rig.send(&[Request::Forget { run_id: id }]);
    let refused = Event::Refused { cause: agent_keeper::protocol::Cause::NotEnded(id) };
    assert_eq!(rig.event(), refused);
    rig.send(&[Request::Signal { run_id: id, signal: libc::SIGKILL, whole_tree: true }]);
    assert_eq!(rig.how(id), How::Signal(libc::SIGKILL));
    rig.send(&[Request::Forget { run_id: id }]);
    assert_eq!(rig.state(id), None);
    rig.send(&[Request::Signal { run_id: run_id(), signal: 0, whole_tree: false }]);
    assert!(matches!(rig.event(), Event::Signaled { errno: libc::ESRCH, .. }));
}

/// The command as it is and, where this process may, in namespaces of its own, with ids of their own.
fn modes(spawn: Spawn, test: &str) -> Vec<Spawn> {
    let plain = Spawn { run_id: run_id(), ..spawn.clone() };
    if privileged(test) { vec![plain, isolated(Spawn { run_id: run_id(), ..spawn })] } else { vec![plain] }
}

/// Lets any user reach a directory.
fn open_to_all(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    for dir in dir.ancestors().take(2) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}
