//! Runs that follow one another in the namespaces of one init: what the next finds, and what must never reach it.

mod rig;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use agent_keeper::protocol::{Event, Failure, How, Loss, Request, RunId, Spawn, Stage};
use rig::{Fifo, command, guest, isolated, open_rig, run, send_signal, serve, shell, warm_up};

#[test]
fn a_run_finds_nothing_of_the_one_before() {
    let Some(mut rig) = open_rig("nothing") else { return };
    let init = warm_up(&mut rig);
    let fifo = Fifo::new(&rig.dir, "held");
    fs::set_permissions(&fifo.path, fs::Permissions::from_mode(0o666)).expect("chmod");
    let script =
        format!("exec 9>{}; setsid sleep 1000 & setsid sh -c 'sleep 1000 & wait' & exit 3", fifo.text());
    let id = rig.spawn(guest(shell(&script)));
    assert_eq!(fifo.read_to_end(), "", "all of it is dead");
    assert_eq!(rig.how(id), How::Code(3));
    let seen =
        "ls -d /proc/[0-9]* | wc -l; ls -1 /proc/self/fd | sort -n | tr '\\n' ' '; readlink /proc/self/fd/0;
        grep -E '^Sig(Blk|Ign)' /proc/self/status; umask; pwd; env | grep -c EARLIER";
    let next = guest(shell(&format!("{seen}; exit 0")));
    let id = next.run_id;
    let out = rig.output_of(next);
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].parse::<u32>().expect("count") <= 4, "{out}");
    assert_eq!(lines[1], "0 1 2 3 /dev/null", "{out}");
    assert_eq!(lines[2..], ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "0022", "/", "0"]);
    assert!(rig.state(id).is_some());
    let (same, _) = run(&mut rig, guest(command(&["true"])));
    assert_eq!(same, init, "it was kept all the time");
}

#[test]
fn each_of_many_runs_gets_its_own_end_output_and_usage() {
    let Some(mut rig) = open_rig("many") else { return };
    let out = rig.dir.join("out");
    fs::create_dir(&out).expect("directory");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).expect("chmod");
    let spawns: Vec<Spawn> = (0..300)
        .map(|n| {
            let file = out.join(format!("{n}"));
            guest(shell(&format!("echo {n} > {}; exit {}", file.display(), n % 100)))
        })
        .collect();
    let requests: Vec<_> = spawns.iter().cloned().map(|spawn| Request::Spawn(Box::new(spawn))).collect();
    rig.send(&requests);
    let mut inits = HashMap::new();
    let mut ends = HashMap::new();
    while ends.len() < spawns.len() {
        match rig.event() {
            Event::Spawned { run_id, pid, .. } => assert!(inits.insert(run_id, pid).is_none()),
            Event::Exited { run_id, exit } => {
                assert!(inits.contains_key(&run_id), "spawned before it is over");
                assert!(exit.rusage.user_us + exit.rusage.system_us > 0, "{exit:?}");
                assert!(ends.insert(run_id, exit.how).is_none());
            }
            other => panic!("{other:?}"),
        }
    }
    for (n, spawn) in spawns.iter().enumerate() {
        assert_eq!(ends[&spawn.run_id], How::Code((n % 100) as i32));
        assert_eq!(fs::read_to_string(out.join(n.to_string())).expect("ran"), format!("{n}\n"));
    }
    let different: HashSet<_> = inits.values().collect();
    assert!(different.len() <= 64, "{} inits for {} runs", different.len(), spawns.len());
}

#[test]
fn a_run_that_fails_to_start_says_why_and_the_next_one_starts() {
    let Some(mut rig) = open_rig("fails") else { return };
    let missing = |stage| Failure { stage, index: 0, errno: libc::ENOENT };
    let cases = [
        (guest(command(&["/no/such/program"])), missing(Stage::Exec)),
        (Spawn { cwd: b"/no/such/dir".to_vec(), ..guest(shell("true")) }, missing(Stage::Cwd)),
        (Spawn { cgroup_procs: vec![b"/no/tasks".to_vec()], ..guest(shell("true")) }, missing(Stage::Cgroup)),
        (guest(command(&[])), Failure { stage: Stage::Request, index: 0, errno: libc::EINVAL }),
    ];
    for (spawn, failure) in cases {
        warm_up(&mut rig);
        let id = rig.spawn(spawn);
        assert_eq!(rig.end(id), Err(failure));
    }
    assert_eq!(run(&mut rig, guest(shell("exit 4"))).1, How::Code(4));
}

#[test]
fn a_signal_reaches_the_run_it_is_for_and_no_other() {
    let Some(mut rig) = open_rig("signal") else { return };
    let init = warm_up(&mut rig);
    // As a stranger on the machine may do, while nobody is there to be meant.
    send_signal(init, libc::SIGTERM);
    let (same, how) = run(&mut rig, guest(shell("exit 0")));
    assert_eq!((same, how), (init, How::Code(0)));
    let fifo = Fifo::new(&rig.dir, "ready");
    fs::set_permissions(&fifo.path, fs::Permissions::from_mode(0o666)).expect("chmod");
    let script = format!("trap 'exit 7' TERM; echo > {}; while :; do sleep 0.05; done", fifo.text());
    let id = rig.spawn(guest(shell(&script)));
    assert_eq!(rig.spawned(id), init);
    drop(fifo.open());
    rig.send(&[Request::Signal { run_id: id, signal: libc::SIGTERM, whole_tree: false }]);
    assert_eq!(rig.how(id), How::Code(7));
    let id = rig.spawn(guest(shell("sleep 1000 & sleep 1000")));
    assert_eq!(rig.spawned(id), init);
    rig.send(&[Request::Signal { run_id: id, signal: libc::SIGKILL, whole_tree: true }]);
    assert_eq!(rig.how(id), How::Signal(libc::SIGKILL));
    assert_eq!(run(&mut rig, guest(shell("exit 8"))).1, How::Code(8));
}

#[test]
fn a_run_called_to_a_dead_init_begins_in_another() {
    let Some(mut rig) = open_rig("dead") else { return };
    for _ in 0..50 {
        let init = warm_up(&mut rig);
        // In one go, so that the keeper may or may not have seen the death when it begins the run.
        send_signal(init, libc::SIGKILL);
        let (_, how) = run(&mut rig, guest(shell("exit 5")));
        assert_eq!(how, How::Code(5));
    }
}

#[test]
fn who_may_change_a_namespace_gets_one_of_its_own() {
    let Some(mut rig) = open_rig("own") else { return };
    let init = warm_up(&mut rig);
    let root = || isolated(shell("mount -t tmpfs none /mnt && touch /mnt/left-behind"));
    let (first, how) = run(&mut rig, root());
    assert_eq!(how, How::Code(0));
    let (second, _) = run(&mut rig, root());
    assert!(first != init && second != init && first != second);
    assert_eq!(run(&mut rig, guest(shell("test ! -e /mnt/left-behind"))), (init, How::Code(0)));
}

#[test]
fn a_request_too_long_for_a_mail_is_run_all_the_same() {
    let Some(mut rig) = open_rig("long") else { return };
    let init = warm_up(&mut rig);
    let long = Spawn {
        env: vec![[b"LONG=".to_vec(), vec![b'x'; 60_000]].concat()],
        ..guest(shell("test ${#LONG} = 60000"))
    };
    let (other, how) = run(&mut rig, long);
    assert_eq!(how, How::Code(0));
    assert_ne!(other, init);
}

#[test]
fn idle_inits_do_not_outlive_the_keeper_and_what_runs_under_a_kept_one_is_lost_with_it() {
    let Some(mut rig) = open_rig("outlive") else { return };
    let idle = warm_up(&mut rig);
    let fifo = Fifo::new(&rig.dir, "held");
    fs::set_permissions(&fifo.path, fs::Permissions::from_mode(0o666)).expect("chmod");
    let script = |fifo: &Fifo| guest(shell(&format!("exec 9>{}; echo >&9; sleep 1000; exit 1", fifo.text())));
    let running: RunId = rig.spawn(script(&fifo));
    let init = rig.spawned(running);
    assert_eq!(init, idle);
    let mut held = fifo.open();
    let (other, _) = run(&mut rig, guest(command(&["true"])));
    let death = pidfd(other);
    send_signal(rig.keeper_pid, libc::SIGKILL);
    wait(&death);
    let keeper = pidfd_if_alive(rig.keeper_pid);
    keeper.iter().for_each(wait);
    assert!(serve(&rig.dir).status.success());
    assert_eq!(std::io::copy(&mut held, &mut std::io::sink()).expect("its processes are dead"), 0);
    rig.reconnect();
    assert_eq!(rig.list().iter().filter(|run| run.run_id == running).count(), 1);
    let again = Request::Spawn(Box::new(Spawn { run_id: running, ..guest(command(&["true"])) }));
    rig.send(&[again]);
    assert_eq!(rig.how(running), How::Lost(Loss::KeeperDied));
}

fn pidfd(pid: i32) -> fs::File {
    pidfd_if_alive(pid).expect("a living process")
}

fn pidfd_if_alive(pid: i32) -> Option<fs::File> {
    use std::os::fd::FromRawFd;
    // SAFETY: plain system call; the descriptor is new and ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32;
        (fd >= 0).then(|| fs::File::from_raw_fd(fd))
    }
}

/// Waits for a process to die.
fn wait(process: &fs::File) {
    use std::os::fd::AsRawFd;
    let mut poll = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let patience = i32::try_from(rig::PATIENCE.as_millis()).expect("fits");
    // SAFETY: one live pollfd.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, patience) }, 1, "it lives on");
}

#[test]
fn an_init_whose_run_was_visited_has_no_other_run() {
    let Some(mut rig) = open_rig("visited") else { return };
    let init = warm_up(&mut rig);
    // Any file that may be written will do to be joined by.
    let joined = b"/dev/null".to_vec();
    let spawn = Spawn { cgroup_procs: vec![joined.clone()], ..guest(command(&["sleep", "1000"])) };
    let id = rig.spawn(spawn);
    assert_eq!(rig.spawned(id), init, "it had runs before");
    rig.send(&[Request::Visit { run_id: id }]);
    match rig.event() {
        Event::Visited { run_id, errno: 0, pid, start_time, cgroup_procs } => {
            assert_eq!((run_id, pid, cgroup_procs), (id, init, vec![joined]));
            assert!(start_time > 0);
        }
        other => panic!("{other:?}"),
    }
    rig.send(&[Request::Signal { run_id: id, signal: libc::SIGKILL, whole_tree: true }]);
    assert_eq!(rig.how(id), How::Signal(libc::SIGKILL));
    let (other, _) = run(&mut rig, guest(command(&["true"])));
    assert_ne!(other, init);
    rig.send(&[Request::Visit { run_id: id }]);
    assert_eq!(
        rig.event(),
        Event::Visited { run_id: id, errno: libc::ESRCH, pid: 0, start_time: 0, cgroup_procs: vec![] },
        "it is over"
    );
}
