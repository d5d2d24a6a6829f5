//! The protocol's promises: what is written is read again, and no bytes whatever make the reader panic.

use agent_keeper::protocol::{
    Cause, Event, Exit, FRAME_BYTES_MAX, Failure, Frames, How, Loss, Output, Request, Rlimit, Run, RunId,
    RunState, Rusage, SecretFile, Secrets, Spawn, Stage, User,
};

const RUN: RunId = RunId([0xab; 16]);

fn exit(how: How) -> Exit {
    Exit { how, rusage: Rusage { user_us: 1, system_us: u64::MAX, max_rss_bytes: 3 }, at_ms: 4 }
}

fn full_spawn() -> Spawn {
    Spawn {
        run_id: RUN,
        argv: vec![b"sh".to_vec(), b"-c".to_vec(), vec![0xff, 0xfe]],
        env: vec![b"A=b".to_vec(), b"".to_vec()],
        cwd: b"/tmp".to_vec(),
        user: Some(User { uid: 1, gid: 2, groups: vec![3, 4] }),
        cgroup_procs: vec![b"/sys/fs/cgroup/x".to_vec()],
        pid_namespace: true,
        mount_namespace: false,
        no_new_privs: true,
        dropped_capabilities: 1 << 24,
        rlimits: vec![Rlimit { resource: 7, soft: 1, hard: u64::MAX }],
        output: Some(Output { dir: b"/var".to_vec(), file_bytes_max: 5, rotated_max: 6 }),
        secrets: Some(Secrets {
            dir: b"/s".to_vec(),
            files: vec![SecretFile { name: b"key".to_vec(), content: vec![0, 0xff] }],
        }),
    }
}

fn requests() -> Vec<Request> {
    let bare = Spawn { user: None, output: None, secrets: None, argv: vec![], ..full_spawn() };
    vec![
        Request::Hello { version: 1 },
        Request::Spawn(Box::new(full_spawn())),
        Request::Spawn(Box::new(bare)),
        Request::Signal { run_id: RUN, signal: -3, whole_tree: true },
        Request::Forget { run_id: RUN },
        Request::List,
        Request::Visit { run_id: RUN },
        Request::Shutdown { kill: false },
    ]
}

fn events() -> Vec<Event> {
    let failure = Failure { stage: Stage::Exec, index: 1, errno: 2 };
    let listed = |state| Event::Listed(Run { run_id: RUN, state });
    vec![
        Event::Welcome { version: 1, pid: 2, boot_id: [3; 16], build: "über".to_owned() },
        Event::Spawned { run_id: RUN, pid: 5, start_time: 6 },
        Event::SpawnFailed { run_id: RUN, failure },
        Event::Exited { run_id: RUN, exit: exit(How::Code(-1)) },
        Event::Exited { run_id: RUN, exit: exit(How::Signal(9)) },
        Event::Exited { run_id: RUN, exit: exit(How::Lost(Loss::Rebooted)) },
        Event::Exited { run_id: RUN, exit: exit(How::Lost(Loss::KeeperDied)) },
        Event::Signaled { run_id: RUN, errno: 3 },
        Event::Visited {
            run_id: RUN,
            errno: 0,
            pid: 7,
            start_time: 8,
            cgroup_procs: vec![b"/sys/fs/cgroup/x".to_vec()],
        },
        listed(RunState::Starting),
        listed(RunState::Running { pid: 1, start_time: 2 }),
        listed(RunState::Exited(exit(How::Code(0)))),
        listed(RunState::Failed(failure)),
        Event::ListEnd,
        Event::Refused { cause: Cause::RunsAlive(7) },
        Event::Refused { cause: Cause::NotEnded(RUN) },
        Event::Bye,
        Event::Broken { text: "why".to_owned() },
    ]
}

/// The bodies of the frames in `bytes`, fed in pieces of `step`.
fn bodies(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
    let mut frames = Frames::new();
    let mut bodies = Vec::new();
    for piece in bytes.chunks(step) {
        frames.extend(piece);
        while let Some(body) = frames.next_body().expect("well-formed") {
            bodies.push(body.to_vec());
        }
    }
    bodies
}

#[test]
fn requests_and_events_come_back_as_they_were_however_the_stream_is_cut() {
    let mut bytes = Vec::new();
    requests().iter().for_each(|request| request.encode(&mut bytes).expect("fits"));
    for step in [1, 3, 64, bytes.len()] {
        let read: Vec<_> =
            bodies(&bytes, step).iter().map(|body| Request::decode(body).expect("request")).collect();
        assert_eq!(read, requests());
    }
    let mut bytes = Vec::new();
    events().iter().for_each(|event| event.encode(&mut bytes));
    for step in [1, 3, 64, bytes.len()] {
        let read: Vec<_> =
            bodies(&bytes, step).iter().map(|body| Event::decode(body).expect("event")).collect();
        assert_eq!(read, events());
    }
}

#[test]
fn a_body_cut_short_or_with_something_behind_it_is_malformed() {
    let mut bytes = Vec::new();
    requests().iter().for_each(|request| request.encode(&mut bytes).expect("fits"));
    for body in bodies(&bytes, 64) {
        for cut in 0..body.len() {
            assert!(Request::decode(&body[..cut]).is_err());
        }
        assert!(Request::decode(&[&body[..], &[0]].concat()).is_err());
    }
    let mut bytes = Vec::new();
    events().iter().for_each(|event| event.encode(&mut bytes));
    for body in bodies(&bytes, 64) {
        for cut in 0..body.len() {
            assert!(Event::decode(&body[..cut]).is_err());
        }
        assert!(Event::decode(&[&body[..], &[0]].concat()).is_err());
    }
}

#[test]
fn flipped_bytes_are_read_or_refused_but_never_a_panic() {
    let mut bytes = Vec::new();
    requests().iter().for_each(|request| request.encode(&mut bytes).expect("fits"));
    let mut read = 0;
    for body in bodies(&bytes, 64) {
        for at in 0..body.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut bad = body.clone();
                bad[at] = value;
                read += usize::from(Request::decode(&bad).is_ok());
                read += usize::from(Event::decode(&bad).is_ok());
            }
        }
    }
    assert!(read > 0, "a changed byte of an id is still a request");
}

#[test]
fn random_bytes_are_never_a_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut refused = 0;
    for _ in 0..20_000 {
        let len = (next() % 80) as usize;
        let bytes: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        refused += usize::from(Request::decode(&bytes).is_err());
        let _ = Event::decode(&bytes);
        let mut frames = Frames::new();
        frames.extend(&bytes);
        while let Ok(Some(_)) = frames.next_body() {}
    }
    assert!(refused > 10_000);
}

#[test]
fn a_forged_count_reserves_no_memory() {
    // Spawn, a run id, and four billion arguments.
    let body = [&[2][..], &[0; 16], &u32::MAX.to_le_bytes()].concat();
    assert!(Request::decode(&body).is_err());
}

#[test]
fn a_frame_longer_than_the_limit_ends_the_stream() {
    let mut frames = Frames::new();
    frames.extend(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    assert!(frames.next_body().is_err());
}

#[test]
fn a_request_too_long_for_a_frame_is_refused_whole() {
    let mut out = b"before".to_vec();
    let spawn = Spawn { argv: vec![vec![b'x'; FRAME_BYTES_MAX]], ..full_spawn() };
    let refused = Request::Spawn(Box::new(spawn)).encode(&mut out).expect_err("too long");
    assert!(refused.bytes > FRAME_BYTES_MAX);
    assert_eq!(out, b"before");
}

#[test]
fn a_run_id_is_read_back_from_its_text() {
    assert_eq!(RUN.to_string().parse(), Ok(RUN));
    for bad in ["", "ab", "zz0102030405060708090a0b0c0d0e0f", "0000000000000000000000000000000é"] {
        assert!(bad.parse::<RunId>().is_err(), "{bad}");
    }
}
