//! What the programs of this house write themselves, and lines as people write them.

use std::collections::BTreeMap;

use agent_keeper::Record;
use agent_keeper::protocol::{
    Cause, Event, Exit, Failure, How, Loss, Outcome, Output, Request, Rlimit, Run, RunId, RunState, Rusage,
    SecretFile, Secrets, Spawn, Stage, User, Visit,
};
use bytes::Bytes;
use frameworks_jobs::spec::{Command, JobSpec, Kind};
use master_raft::{ConfState, Entry, EntryKind, HardState, NodeId, Persist, Snapshot};
use master_storage::Group;
use proto::id::{AgentId, MasterId};
use proto_pki::{Authority, Identity, JoinToken, KeyAndRequest};
use tests_fuzz::engine::tree;
use tests_fuzz::targets::disks;

use crate::Seeds;

pub fn all(seeds: &mut Seeds) {
    disk(seeds);
    keeper(seeds);
    journal(seeds);
    credentials(seeds);
    sandbox(seeds);
    lines(seeds);
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    tree::put_bytes(&mut input, number, bytes);
    input
}

fn disk(seeds: &mut Seeds) {
    let conf_state = ConfState::of(&[NodeId(1), NodeId(2), NodeId(3)]);
    let entry = |index| Entry { index, term: 2, kind: EntryKind::Normal, data: Bytes::from_static(b"data") };
    let entries = Persist {
        sequence: 1,
        entries: (1..5).map(entry).collect(),
        hard_state: Some(HardState { term: 2, vote: Some(NodeId(1)), commit: 3 }),
        conf_state: Some((2, conf_state.clone())),
        ..Persist::default()
    };
    let image = disks::image(b"state");
    let snapshot = Snapshot { index: 3, term: 2, conf_state, image };
    let snapshot =
        Persist { sequence: 2, snapshot: Some(snapshot), compact_to: Some(3), ..Persist::default() };
    let cut = Persist { sequence: 3, truncate_from: Some(4), entries: vec![entry(4)], ..Persist::default() };
    let group = Group(1);
    let batch = |persist: &Persist| disks::batch_of(&[(group, persist.clone())]);
    let first = field(2, &batch(&entries));
    let second = [first.clone(), field(2, &batch(&cut))].concat();
    let mut file = Vec::new();
    tree::put_number(&mut file, 1, 1);
    tree::put_number(&mut file, 2, 3);
    tree::put_bytes(&mut file, 3, b"state");
    let third = [first.clone(), field(5, &file), field(2, &batch(&snapshot))].concat();
    let next = [first.clone(), field(3, &[]), field(2, &batch(&cut))].concat();
    let torn = [first.clone(), field(4, b"half a batch")].concat();
    seeds.insert("log", vec![first, second, third, next, torn]);
    let mut file = b"STOASNAP\x01\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0".to_vec();
    file.extend(5u64.to_le_bytes());
    file.extend(crc32fast::hash(b"state").to_le_bytes());
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file.extend(b"state");
    seeds.insert("snapshot", vec![file]);
}

fn keeper(seeds: &mut Seeds) {
    let run_id = RunId([7; 16]);
    let exit = |how| Exit { how, rusage: Rusage { user_us: 1, system_us: 2, max_rss_bytes: 3 }, at_ms: 4 };
    let failure = Failure { stage: Stage::Exec, index: 1, errno: 2 };
    let mut log = Vec::new();
    let records = [
        Record::Head { format: 1, boot_id: [9; 16] },
        Record::Started { run_id, pid: 12, start_time: 34 },
        Record::Exited { run_id, exit: exit(How::Code(3)) },
        Record::Failed { run_id, failure },
        Record::Forgotten { run_id },
    ];
    records.iter().for_each(|record| record.encode(&mut log));
    seeds.insert("keeper-log", vec![log.clone(), [log, vec![0; 64]].concat()]);
    let spawn = Spawn {
        run_id,
        argv: vec![b"sh".to_vec(), b"-c".to_vec(), b"true".to_vec()],
        env: vec![b"A=b".to_vec()],
        cwd: b"/tmp".to_vec(),
        user: Some(User { uid: 1, gid: 2, groups: vec![3] }),
        cgroup_procs: vec![b"/sys/fs/cgroup/x/cgroup.procs".to_vec()],
        pid_namespace: true,
        mount_namespace: true,
        no_new_privs: true,
        dropped_capabilities: 7,
        rlimits: vec![Rlimit { resource: 1, soft: 2, hard: 3 }],
        output: Some(Output { dir: b"/tmp".to_vec(), file_bytes_max: 1_000, rotated_max: 2 }),
        secrets: None,
    };
    let file = SecretFile { name: b"key".to_vec(), content: b"open".to_vec() };
    let secrets = Some(Secrets { dir: b"/tmp/secrets".to_vec(), files: vec![file] });
    let visit = Visit { asker_pid: 1, pid: 2, start_time: 3, terminal: true, spawn: spawn.clone() };
    let requests = [
        Request::Hello { version: 3 },
        Request::Spawn(Box::new(spawn.clone())),
        Request::Spawn(Box::new(Spawn { secrets, ..spawn })),
        Request::Signal { run_id, signal: 15, whole_tree: true },
        Request::Forget { run_id },
        Request::List,
        Request::Visit { run_id },
        Request::Shutdown { kill: true },
    ];
    let running = RunState::Running { pid: 5, start_time: 6 };
    let events = [
        Event::Welcome { version: 3, pid: 1, boot_id: [9; 16], build: "1".to_owned() },
        Event::Spawned { run_id, pid: 5, start_time: 6 },
        Event::SpawnFailed { run_id, failure },
        Event::Exited { run_id, exit: exit(How::Lost(Loss::Rebooted)) },
        Event::Signaled { run_id, errno: 3 },
        Event::Visited { run_id, errno: 0, pid: 5, start_time: 6, cgroup_procs: vec![b"/x".to_vec()] },
        Event::Listed(Run { run_id, state: running }),
        Event::Listed(Run { run_id, state: RunState::Exited(exit(How::Signal(9))) }),
        Event::Listed(Run { run_id, state: RunState::Failed(failure) }),
        Event::ListEnd,
        Event::Refused { cause: Cause::RunsAlive(1) },
        Event::Refused { cause: Cause::NotEnded(run_id) },
        Event::Bye,
        Event::Broken { text: "the disk is full".to_owned() },
    ];
    let mut inputs = vec![[vec![2], visit.encode().expect("it is short")].concat()];
    inputs.push([vec![3], Outcome::Ended(How::Code(1)).encode()].concat());
    inputs.push([vec![3], Outcome::Failed(failure).encode()].concat());
    for request in requests {
        let mut input = vec![0];
        request.encode(&mut input).expect("it is short");
        inputs.push(input);
    }
    for event in events {
        let mut input = vec![1];
        event.encode(&mut input);
        inputs.push(input);
    }
    seeds.insert("keeper", inputs);
}

fn journal(seeds: &mut Seeds) {
    let mut job = JobSpec::new("web", Kind::Service, Command::Shell("exec sleep 60".to_owned()));
    job.env = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
    let dir = std::env::temp_dir().join(format!("stoa-fuzz-journal-{}", std::process::id()));
    let mut store = frameworks_jobs::store::Store::open(&dir).expect("a new journal");
    let record = store.state().store_job(std::sync::Arc::new(job), "request-1", 5, false);
    store.append(vec![record]).expect("a journal takes a record");
    let bytes = std::fs::read(dir.join("journal")).expect("the journal");
    std::fs::remove_dir_all(&dir).expect("it is removed");
    // The frames without their sums, which the target makes itself.
    let mut input = Vec::new();
    let mut rest = &bytes[8..];
    while rest.len() > 12 {
        let length = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        let mut payload = &rest[12..12 + length];
        while !payload.is_empty() {
            let record = prost::decode_length_delimiter(&mut payload).expect("a length");
            tree::put_bytes(&mut input, 2, &payload[..record]);
            payload = &payload[record..];
        }
        rest = &rest[12 + length..];
    }
    seeds.insert("journal", vec![input, field(1, &bytes)]);
}

fn credentials(seeds: &mut Seeds) {
    let authority = Authority::create("fuzz").expect("an authority");
    let mut inputs = Vec::new();
    for identity in [Identity::Agent(AgentId::new("a1").expect("an id")), Identity::Master(MasterId(1))] {
        let issued = authority.issue(&identity, proto_pki::LEAF_VALIDITY).expect("a certificate");
        inputs.push([&[0], issued.certificate().expect("it reads").as_ref()].concat());
    }
    let asked = KeyAndRequest::generate().expect("a request");
    inputs.push([&[1], asked.csr_pem.as_bytes()].concat());
    inputs.push([&[2], authority.ca_pem().as_bytes()].concat());
    seeds.insert("credentials", inputs);
    let token = JoinToken::generate([7; 32]).expect("a token").to_string();
    seeds.entry("words").or_default().push(token.into_bytes());
}

fn sandbox(seeds: &mut Seeds) {
    let entry = |field: u64, name: u64, what: u64, content: &[u8]| {
        let mut entry = Vec::new();
        tree::put_number(&mut entry, 1, name);
        tree::put_number(&mut entry, 2, what);
        tree::put_bytes(&mut entry, 3, content);
        let mut input = Vec::new();
        tree::put_bytes(&mut input, field, &entry);
        input
    };
    let start = |field, number| {
        let mut input = Vec::new();
        tree::put_number(&mut input, field, number);
        input
    };
    let files =
        [entry(1, 0, 0, b"newest\n"), entry(1, 1, 0, b"older\nand\n"), entry(1, 2, 0, b"oldest\n")].concat();
    let mut output =
        vec![files.clone(), [files.clone(), start(2, 2)].concat(), [files.clone(), start(3, 8)].concat()];
    output.extend((1..7).map(|what| [files.clone(), entry(4, what % 3, what, b"../secret")].concat()));
    seeds.insert("output", output);
    let inside = [
        entry(1, 5, 0, b"plain"),
        entry(1, 4, 1, b"../secret"),
        entry(1, 7, 7, b""),
        entry(1, 6, 0, b"deep"),
    ]
    .concat();
    let paths =
        ["other", "stderr", "dir/inner", "dir/../other", "../secret", "/etc/passwd", "localhost/etc/passwd"];
    let mut all: Vec<Vec<u8>> =
        paths.iter().map(|path| [inside.clone(), field(2, path.as_bytes())].concat()).collect();
    all.extend(
        [("web", "web.0"), ("..", "."), ("a/b", "a%2Fb")]
            .map(|(one, other)| [field(5, one.as_bytes()), field(6, other.as_bytes())].concat()),
    );
    seeds.insert("paths", all);
}

fn lines(seeds: &mut Seeds) {
    let all: [(&str, &[&str]); 8] = [
        (
            "resources",
            &[
                "cpus:4.5; mem:8GiB;disk:20GiB;gpus:2;ports:[31000-31009, 8080];fpga:2;license:{b,a};\nzone=b\nrack=12",
                "cpus:0.001\nheight=-1.5\nserial=007",
            ],
        ),
        (
            "constraint",
            &["zone=b", "zone=b|c", "zone!=b", "zone", "!zone", "rack>=3", "rack<=9.5", "hostname=h1"],
        ),
        (
            "words",
            &[
                "64MiB",
                "0.5",
                "1h",
                "90s",
                "250ms",
                "31000-32000,8080",
                "eng/prod",
                "eng/*",
                "*",
                "user/ada",
                "framework/jobs",
                "O5-7",
                "spiffe://fuzz/agent/a1",
                "agent/a1",
                "18446744073709551615",
                "1.5GiB",
                "12",
            ],
        ),
        (
            "cron",
            &[
                "* * * * *\nUTC\n1774746000000",
                "*/5 9-17 * * mon-fri\nEurope/Berlin\n1774746000000",
                "@daily\nAmerica/New_York",
                "30 2 29 2 sun\nAustralia/Lord_Howe\n0",
                "0 0 1,15 * 1\nPacific/Apia\n1325239200000",
            ],
        ),
        (
            "tape",
            &["stoa-session 1\n1 2 lost\n3 4 woke\n5 6 told \"a\\nb\\u{1b}\"\n7 8 heard 0807 # heartbeat\n"],
        ),
        ("terminal", &["\u{8}plain text\n", "\u{3}\u{1b}[31mred\u{1b}[0m\r\n\u{202e}x", "\u{1}é€𝄞"]),
        (
            "settings",
            &["[agent]\nwork_dir = \"/tmp/x\"\nlisten = \"127.0.0.1:1\"\nmaster = [\"127.0.0.1:7070\"]\n"],
        ),
        (
            "arguments",
            &[
                "master\n--data-dir=/tmp/x\n--listen=127.0.0.1:7070\n--member=1=127.0.0.1:7070",
                "agent\n--work-dir=/tmp/x\n--listen=127.0.0.1:7071\n--master=127.0.0.1:7070\n--resources=cpus:4",
                "jobs\n--data-dir=/tmp/x\n--master=127.0.0.1:7070\n--credentials=/tmp/y",
            ],
        ),
    ];
    for (name, lines) in all {
        seeds.entry(name).or_default().extend(lines.iter().map(|line| line.as_bytes().to_vec()));
    }
}
