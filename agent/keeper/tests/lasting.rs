//! What the keeper outlives, and what outlives it: agents, garbage, second keepers, its own death.

mod rig;

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use agent_keeper::client::Client;
use agent_keeper::protocol::{Cause, Event, Exit, How, Loss, Request, RunState};
use agent_keeper::{EXIT_ALREADY_RUNNING, LOG_NAME, SOCKET_NAME};
use rig::{Fifo, PATIENCE, Rig, isolated, privileged, send_signal, serve, shell};

#[test]
fn runs_outlive_the_agent_and_their_ends_wait_for_the_next() {
    let mut rig = Rig::new("outlive");
    let go = Fifo::new(&rig.dir, "go");
    let done = Fifo::new(&rig.dir, "done");
    let stays = rig.spawn(shell("sleep 1000"));
    let ends = rig.spawn(shell(&format!("cat {} >/dev/null; exec 9>{}; exit 42", go.text(), done.text())));
    let pid = rig.spawned(stays);
    let keeper_pid = rig.keeper_pid;
    // Gone without a word, as an agent killed by -9 is.
    rig.client = Client::connect(&rig.dir).expect("a connection that is dropped at once");
    fs::write(&go.path, "x").expect("go");
    done.read_to_end();
    rig.reconnect();
    assert_eq!(rig.keeper_pid, keeper_pid);
    // The run has closed its end; its collection may come a moment later, and is then told.
    match rig.state(ends) {
        Some(RunState::Exited(Exit { how, .. })) => assert_eq!(how, How::Code(42)),
        Some(RunState::Running { .. }) => assert_eq!(rig.how(ends), How::Code(42)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(rig.state(stays), Some(RunState::Running { pid: same, .. }) if same == pid));
}

#[test]
fn the_keeper_is_nobodys_child_and_deaf_to_term_and_hup() {
    let mut rig = Rig::new("deaf");
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        send_signal(rig.keeper_pid, signal);
    }
    let id = rig.spawn(shell("exit 0"));
    assert_eq!(rig.how(id), How::Code(0));
    let stat = fs::read_to_string(format!("/proc/{}/stat", rig.keeper_pid)).expect("stat");
    let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    assert_ne!(fields[1], std::process::id().to_string(), "its parent");
    assert_ne!(fields[3], fields[1], "a session of its own");
}

#[test]
fn a_keeper_that_dies_takes_its_runs_along_and_they_are_told_as_lost() {
    for namespaces in [false, true] {
        if namespaces && !privileged("a_keeper_that_dies") {
            continue;
        }
        let mut rig = Rig::new(if namespaces { "died-ns" } else { "died" });
        let fifo = Fifo::new(&rig.dir, "held");
        let script = format!("exec 9>{}; sleep 1000 & echo >&9; wait", fifo.text());
        let spawn = if namespaces { isolated(shell(&script)) } else { shell(&script) };
        let alive = rig.spawn(spawn.clone());
        let mut held = fifo.open();
        rig.spawned(alive);
        let ended = rig.spawn(shell("exit 9"));
        let exit = rig.end(ended).expect("started");
        let forgotten = rig.spawn(shell("exit 8"));
        rig.end(forgotten).expect("started");
        rig.send(&[Request::Forget { run_id: forgotten }]);
        assert_eq!(rig.state(forgotten), None);

        let dead = rig.keeper_pid;
        send_signal(dead, libc::SIGKILL);
        assert!(matches!(rig.client.event(), Ok(None) | Err(_)));
        restart(&mut rig);
        assert_ne!(rig.keeper_pid, dead);
        assert_eq!(std::io::copy(&mut held, &mut std::io::sink()).expect("end of all writers"), 0);
        match rig.state(alive) {
            Some(RunState::Exited(exit)) => assert_eq!(exit.how, How::Lost(Loss::KeeperDied)),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.state(ended), Some(RunState::Exited(exit)));
        assert_eq!(rig.list().len(), 2);
        rig.send(&[Request::Spawn(Box::new(spawn))]);
        assert_eq!(rig.how(alive), How::Lost(Loss::KeeperDied), "it is not started a second time");
    }
}

/// Starts a keeper in the place of one that was killed a moment ago and may still hold the lock.
fn restart(rig: &mut Rig) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while serve(&rig.dir).status.code() == Some(EXIT_ALREADY_RUNNING) {
        assert!(std::time::Instant::now() < deadline);
    }
    rig.reconnect();
}

#[test]
fn a_directory_has_one_keeper() {
    let mut rig = Rig::new("one");
    assert_eq!(serve(&rig.dir).status.code(), Some(EXIT_ALREADY_RUNNING));
    let id = rig.spawn(shell("exit 0"));
    assert_eq!(rig.how(id), How::Code(0), "the first is undisturbed");
}

#[test]
fn a_directory_that_is_not_there_is_a_reason() {
    let out = serve(std::path::Path::new("/no/such/dir"));
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("/no/such/dir: No such file"), "{out:?}");
}

#[test]
fn only_the_owner_may_touch_socket_and_log() {
    let rig = Rig::new("mode");
    for name in [SOCKET_NAME, LOG_NAME] {
        let mode = fs::metadata(rig.dir.join(name)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_new_agent_takes_the_place_of_the_old() {
    let mut rig = Rig::new("replace");
    let mut old = std::mem::replace(&mut rig.client, Client::connect(&rig.dir).expect("connected"));
    assert!(matches!(rig.event(), Event::Welcome { .. }));
    assert!(matches!(old.event(), Ok(Some(Event::Broken { .. }))));
    assert!(matches!(old.event(), Ok(None)));
    let id = rig.spawn(shell("exit 0"));
    assert_eq!(rig.how(id), How::Code(0));
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let mut rig = Rig::new("garbage");
    let id = rig.spawn(shell("sleep 1000"));
    let pid = rig.spawned(id);
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = (0..5000).map(|_| random()).collect();
    let framed = [&16u32.to_le_bytes()[..], &noise[..16]].concat();
    let samples: [&[u8]; 5] = [&[0xff; 64], &noise, &framed, &[0, 0, 0, 0], &[1, 0, 0, 0, 99]];
    for sample in samples {
        let mut client = Client::connect(&rig.dir).expect("connected");
        client.set_timeout(PATIENCE).expect("timeout");
        client.send_raw(sample).expect("sent");
        // Broken says why; what was sent on after it may turn the end of the stream into a reset.
        let mut broken = false;
        while let Ok(Some(event)) = client.event() {
            broken |= matches!(event, Event::Broken { .. });
        }
        assert!(broken, "{sample:?}");
    }
    rig.reconnect();
    assert!(matches!(rig.state(id), Some(RunState::Running { pid: same, .. }) if same == pid));
}

#[test]
fn whoever_does_not_say_hello_is_not_served() {
    let rig = Rig::new("hello");
    for first in [Request::List, Request::Shutdown { kill: true }] {
        let stream = std::os::unix::net::UnixStream::connect(short_path(&rig).join(SOCKET_NAME));
        let mut bytes = Vec::new();
        first.encode(&mut bytes).expect("fits");
        let mut stream = stream.expect("connected");
        std::io::Write::write_all(&mut stream, &bytes).expect("sent");
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).expect("closed");
        let event = Event::decode(answer.get(4..).expect("a frame")).expect("an event");
        assert!(matches!(event, Event::Broken { .. }), "{event:?}");
    }
}

/// Another name of the rig's directory, short enough for a socket's address.
fn short_path(rig: &Rig) -> std::path::PathBuf {
    let link = rig.dir.parent().expect("parent").join("s");
    if !link.exists() {
        std::os::unix::fs::symlink(&rig.dir, &link).expect("link");
    }
    link
}

#[test]
fn shutdown_waits_for_leave_to_kill() {
    let mut rig = Rig::new("shutdown");
    let fifo = Fifo::new(&rig.dir, "held");
    let id = rig.spawn(shell(&format!("exec 9>{}; echo >&9; sleep 1000", fifo.text())));
    let mut held = fifo.open();
    rig.spawned(id);
    rig.send(&[Request::Shutdown { kill: false }]);
    assert_eq!(rig.event(), Event::Refused { cause: Cause::RunsAlive(1) });
    rig.send(&[Request::Shutdown { kill: true }]);
    assert_eq!(rig.how(id), How::Signal(libc::SIGKILL));
    assert_eq!(rig.event(), Event::Bye);
    assert!(matches!(rig.client.event(), Ok(None)));
    assert_eq!(std::io::copy(&mut held, &mut std::io::sink()).expect("end of all writers"), 0);
    restart(&mut rig);
    assert!(matches!(rig.state(id), Some(RunState::Exited(Exit { how: How::Signal(9), .. }))));
}

#[test]
fn an_idle_keeper_ends_but_not_while_it_remembers_something() {
    let mut rig = Rig::with_idle("idle", 1);
    let id = rig.spawn(shell("exit 3"));
    assert_eq!(rig.how(id), How::Code(3));
    let death = Death::of(rig.keeper_pid);
    rig.client.close().expect("closed");
    assert!(!death.within(Duration::from_millis(1500)), "an end not yet forgotten keeps it");
    rig.reconnect();
    rig.send(&[Request::Forget { run_id: id }]);
    assert_eq!(rig.state(id), None);
    assert!(!death.within(Duration::from_millis(1500)), "an agent keeps it");
    rig.client.close().expect("closed");
    assert!(death.within(PATIENCE));
}

#[test]
fn a_keeper_whose_directory_is_gone_does_not_stay_for_ever() {
    let mut rig = Rig::with_idle("gone", 1);
    let id = rig.spawn(shell("exit 3"));
    assert_eq!(rig.how(id), How::Code(3));
    let death = Death::of(rig.keeper_pid);
    fs::remove_dir_all(&rig.dir).expect("removed");
    rig.client.close().expect("closed");
    assert!(death.within(PATIENCE));
}

/// A descriptor that becomes readable when a process dies.
struct Death {
    pidfd: OwnedFd,
}

impl Death {
    fn of(pid: i32) -> Death {
        // SAFETY: a plain system call, and a descriptor that is ours alone.
        let pidfd = unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32) };
        Death { pidfd }
    }

    fn within(&self, time: Duration) -> bool {
        let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd.
        unsafe { libc::poll(&mut poll, 1, time.as_millis() as i32) == 1 }
    }
}
