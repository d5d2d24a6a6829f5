//! Things that are broken on purpose, each found by the command that one would type, with what to do about it.
//!
//! `docs/guide/running.md` has them as a table ("When something is wrong").

pub(crate) mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use framework_sdk::door::{Authority, Identity};

use crate::founding::doors;
use lab::{Lab, SmallDisk, finds, is_root, master, words};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn what_is_broken_is_found_with_what_to_do() {
    let small = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-broken-disk").display().to_string();
    let small = if is_root() { SmallDisk::mounted(&small, 64) } else { None };
    let mut lab = Lab::build();
    contexts(&lab);
    starts(&lab);
    orders(&lab);
    work(&lab);
    pool(&mut lab, small.as_ref());
    losses(&mut lab);
}

/// Who asks, and whom.
fn contexts(lab: &Lab) {
    let status = |dir: &str| ["--context".to_owned(), dir.to_owned(), "status".to_owned()];
    let tried = |what: &str, dir: &str, code: i32, parts: &[&str]| {
        let said = finds(&lab.hand, what, &words(&status(dir)), parts);
        assert_eq!(said.code, code, "{what}: {said:?}");
    };
    tried(
        "no such context",
        "/nonexistent",
        2,
        &["there is no context in /nonexistent", "cert.pem, key.pem and masters"],
    );
    let dir = lab.spoilt("no-masters");
    fs::write(format!("{dir}/masters"), "# none\n").unwrap();
    tried("a list of no masters", &dir, 2, &["names no master; write host:port, one a line"]);
    let dir = lab.spoilt("wrong-address");
    fs::write(format!("{dir}/masters"), "127.0.0.1:1\n").unwrap();
    tried(
        "a wrong address",
        &dir,
        2,
        &[
            "127.0.0.1:1 (Connection refused",
            "is the cluster up? `stoa up` starts one; --context names another",
        ],
    );
    let other = Authority::create("other").unwrap();
    let ada = Identity::User("ada".into());
    let dir = lab.spoilt("mixed");
    fs::write(format!("{dir}/ca.pem"), other.ca_pem()).unwrap();
    tried(
        "a certificate of another authority than beside it",
        &dir,
        2,
        &[
            "not a valid one of the authority beside it",
            "take ca.pem, cert.pem and key.pem from the same cluster",
        ],
    );
    let dir = lab.spoilt("foreign");
    other.issue(&ada, 100 * DAY).unwrap().save(Path::new(&dir)).unwrap();
    tried(
        "credentials of another cluster",
        &dir,
        2,
        &[
            "its certificate is not of this cluster",
            "name the credentials of this cluster with --context DIR",
        ],
    );

    let authority = Authority::load(Path::new(&lab.hand.path("m1/authority"))).unwrap();
    let doctor = |dir: &str| ["--context".to_owned(), dir.to_owned(), "doctor".to_owned()];
    let dir = lab.spoilt("soon");
    authority.issue(&ada, 10 * DAY).unwrap().save(Path::new(&dir)).unwrap();
    finds(
        &lab.hand,
        "a certificate that ends soon",
        &words(&doctor(&dir)),
        &["warn  certificate: this context's ends in 9d", "stoa token create --kind user"],
    );
    let dir = lab.spoilt("expired");
    authority.issue(&ada, Duration::from_secs(1)).unwrap().save(Path::new(&dir)).unwrap();
    finds(
        &lab.hand,
        "a certificate that has ended",
        &words(&doctor(&dir)),
        &["fail  certificate: this context's is out of time", "then `stoa join TOKEN`"],
    );
}

/// What does not start.
fn starts(lab: &Lab) {
    let fails = |what: &str, line: &[&str], parts: &[&str]| {
        let said = lab.hand.stoa(line);
        assert_ne!(said.code, 0, "{what}: {said:?}");
        for part in parts {
            assert!(said.err.contains(part), "{what}: {part:?} is missing: {said:?}");
        }
    };
    let (door, free) = (&lab.doors[0], &doors(1)[0]);
    let path = |name: &str| lab.hand.path(name);
    let fresh = path("fresh");
    fails(
        "a port that is taken",
        &["master", "--data-dir", &fresh, "--listen", door],
        &["cannot listen on", "is another process using it?"],
    );
    fs::write(path("plain"), "").unwrap();
    let below = path("plain/x");
    fails(
        "a data directory that cannot be",
        &["master", "--data-dir", &below, "--listen", free],
        &["plain/x", "name a --data-dir"],
    );
    fs::create_dir_all(path("full")).unwrap();
    fs::write(path("full/something"), "").unwrap();
    let full = path("full");
    fails(
        "a data directory of something else",
        &["master", "--data-dir", &full, "--listen", free],
        &["not empty and holds no credentials", "name an empty --data-dir"],
    );
    let in_use = master(&lab.doors, 1, &path("m1"), &[])
        .join(" ")
        .replace(&format!("--listen={door}"), &format!("--listen={free}"));
    fails(
        "a data directory that is in use",
        &in_use.split(' ').collect::<Vec<_>>(),
        &["is in use by process", "give this one another directory"],
    );
    let members = [&format!("--member=1={free}"), &format!("--member=2={door}")];
    let second =
        ["master", "--id", "2", "--data-dir", &path("second"), "--listen", door, members[0], members[1]];
    fails("a second member before the first", &second, &["member 1 does: start that one first"]);

    let token = lab.token(&["--kind", "agent"]);
    let agent = |work: &str, more: &[&str]| {
        let mut line: Vec<String> =
            vec!["agent".into(), "--work-dir".into(), path(work), "--master".into(), door.clone()];
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    };
    fails(
        "a work directory that cannot be",
        &words(&agent("plain/w", &["--join", &token])),
        &["cannot create the sandboxes' directory", "name a --work-dir"],
    );
    fails(
        "an agent without credentials",
        &words(&agent("bare", &[])),
        &["no credentials", "give --join a token"],
    );
    fs::create_dir_all(path("twice")).unwrap();
    fs::write(path("twice/agent_id"), "a").unwrap();
    fails(
        "an agent's id twice",
        &words(&agent("twice", &["--join", &token])),
        &["there is an agent a already", "another id in a fresh work directory"],
    );
    fails(
        "a work directory that is in use",
        &words(&agent("a", &[])),
        &["is in use by process", "another work_dir"],
    );
    let user = lab.token(&["--kind", "user", "--name", "eve"]);
    let join = |dir: &str| {
        [
            "join".to_owned(),
            user.clone(),
            "--master".into(),
            door.clone(),
            "--as".into(),
            "user/eve".into(),
            "--dir".into(),
            path(dir),
        ]
    };
    assert_eq!(lab.hand.stoa(&words(&join("eve"))).code, 0);
    fails(
        "a token that is used up",
        &words(&join("eve2")),
        &["used up or out of time", "make a fresh one with `stoa token create`"],
    );
    let file = path("typo.toml");
    fs::write(&file, "[agent]\nwork-dri = '/w'\n").unwrap();
    fails(
        "a file with a key that is none",
        &["agent", "-c", &file],
        &["typo.toml:2: agent.work-dri", "did you mean work_dir?"],
    );
}

/// What is not done.
fn orders(lab: &Lab) {
    let refused = |what: &str, line: &[&str], code: i32, parts: &[&str]| {
        let said = lab.finds(what, line, parts);
        assert_eq!(said.code, code, "{what}: {said:?}");
    };
    refused(
        "a role that was not granted",
        &["run", "--role", "ops", "--", "true"],
        4,
        &["may not take offers in the role ops", "stoa auth grant framework/jobs --role ops"],
    );
    refused(
        "a volume without a reservation",
        &["volume", "create", "a", "db", "--role", "db", "--size", "1MiB"],
        6,
        &["stoa reserve a --role db --disk"],
    );
    refused(
        "more than there is",
        &["reserve", "a", "--role", "db", "--cpus", "64"],
        6,
        &["agent a has cpus:2", "ask for less"],
    );
    refused(
        "a name that is nearly right",
        &["agent", "drain", "aa"],
        3,
        &["there is no agent aa", "did you mean a?"],
    );
    refused("an undo that nobody confirmed", &["agent", "gone", "a"], 7, &["cannot be undone", "add --yes"]);
}

/// What waits or ends badly.
fn work(lab: &Lab) {
    lab.well(&["quota", "set", "jobs", "--limit", "cpus=0"]);
    lab.apply("huge", "cpus = 64");
    lab.apply("mars", "constraints = \"zone=mars\"");
    lab.apply("shut", "role = \"jobs\"");
    lab.apply("fetches", "artifacts = [\"file:///nonexistent/x.tgz\"]");
    lab.finds(
        "a demand that no agent has room for",
        &["explain", "job", "huge"],
        &["(too-large)", "the most is 2 on", "help: with cpus:2 instead of cpus:64"],
    );
    lab.finds(
        "a constraint that nothing meets",
        &["explain", "job", "mars"],
        &["(constraints)", "help: without the constraint zone=mars"],
    );
    lab.finds(
        "a limit of nothing",
        &["explain", "job", "shut"],
        &["(quota-limit)", "help: with a limit of cpus:0.1 for role jobs"],
    );
    lab.doctor(
        "a limit of nothing",
        &["warn  quotas: roles whose limit lets nothing run: jobs (no cpus)", "stoa quota clear ROLE"],
    );
    lab.well(&["quota", "clear", "jobs"]);
    lab.finds(
        "an artifact that is not taken",
        &["job", "get", "fetches"],
        &["this agent takes no files of its machine", "--artifact-root DIR"],
    );
    lab.finds(
        "a command that is not there",
        &["run", "--", "nonesuch"],
        &["could not execute the command: No such file"],
    );
    lab.finds(
        "a user that is not there",
        &["run", "--user", "nosuchuser", "--", "true"],
        &["user \"nosuchuser\" is not known"],
    );
    lab.finds(
        "what runs too long",
        &["run", "--cpus", "64", "--timeout", "1s", "--", "true"],
        &["not over after 1s", "--timeout"],
    );
    for job in ["huge", "mars", "shut", "fetches"] {
        lab.well(&["job", "stop", job]);
    }
}

/// What is not well though all of it runs.
fn pool(lab: &mut Lab, small: Option<&SmallDisk>) {
    lab.well(&["agent", "drain", "a", "--reason", "forgotten"]);
    lab.doctor("a drain that was forgotten", &["warn  drains: no new work for: a", "stoa agent resume NAME"]);
    lab.well(&["agent", "resume", "a"]);
    lab.well(&["quota", "set", "big", "--guarantee", "cpus=1000"]);
    lab.doctor(
        "a guarantee larger than the pool",
        &["fail  quotas: the pool has cpus:996 less than is guaranteed to big", "add agents"],
    );
    lab.well(&["quota", "clear", "big"]);

    let key = lab.hand.path("m1/authority/ca-key.pem");
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    lab.doctor(
        "an authority that others can read",
        &["fail  authority: others than its owner can read its key: master 1", "chmod 600 ca-key.pem"],
    );
    mode(0o600);

    // One with few files, and a disk that is nearly full where this can be made.
    let work = small.map_or_else(|| lab.hand.path("c"), |disk| disk.0.clone());
    fs::create_dir_all(&work).unwrap();
    fs::write(format!("{work}/agent_id"), "c").unwrap();
    let token = lab.token(&["--kind", "agent"]);
    let line: Vec<String> = lab
        .agent_line("c", &["--join", &token])
        .into_iter()
        .map(|word| if word.starts_with("--work-dir=") { format!("--work-dir={work}") } else { word })
        .collect();
    lab.hand.start_with_files("c", 200, &words(&line));
    lab.doctor(
        "a low limit of files",
        &["warn  files: few files can be opened more: c (", "LimitNOFILE=65536"],
    );
    if small.is_some() {
        let free = || {
            let said = Command::new("df").args(["--output=avail", "-k", &work]).output().unwrap();
            String::from_utf8_lossy(&said.stdout)
                .lines()
                .nth(1)
                .and_then(|line| line.trim().parse::<u64>().ok())
                .unwrap()
        };
        let fill = free().saturating_sub(256) * 1024;
        fs::write(format!("{work}/filler"), vec![1; usize::try_from(fill).unwrap()]).unwrap();
        lab.doctor(
            "a disk that is nearly full",
            &["fail  disk: little is free: c (", "delete what is not needed"],
        );
        fs::remove_file(format!("{work}/filler")).unwrap();
    }
    lab.hand.kill("c");
    lab.doctor("an agent that died", &["fail  agents: out of sight: c", "stoa agent gone NAME"]);
    lab.well(&["agent", "gone", "c", "--yes"]);
}

/// What dies.
fn losses(lab: &mut Lab) {
    lab.well(&["reserve", "b", "--role", "db", "--disk", "64MiB"]);
    lab.well(&["volume", "create", "b", "journal", "--role", "db", "--size", "64MiB"]);
    lab.hand.kill("b");
    lab.finds("an agent that died", &["status"], &["degraded", "1 agent is out of sight"]);
    lab.doctor(
        "a volume on an agent that died",
        &["warn  volumes: out of reach with their agents: journal of db on b", "start the agent"],
    );
    lab.finds("where the volume is", &["get", "volumes"], &["journal", "disconnected"]);

    lab.hand.kill("jobs-log");
    lab.doctor(
        "a framework that died",
        &["warn  frameworks: without a session: jobs", "before their failover timeout"],
    );
    let asked = lab.finds(
        "a framework that died, asked for its jobs",
        &["job", "get"],
        &["cannot reach a framework at", "`stoa status` says how the cluster is"],
    );
    assert_eq!(asked.code, 5, "{asked:?}");

    lab.hand.kill("m3");
    lab.finds("a master that died", &["status"], &["degraded", "master 3 at"]);
    lab.doctor(
        "a master that died",
        &[
            "fail  reachable: the master at",
            "warn  quorum: 2 of 3 masters are heard: the loss of one more stops all orders",
        ],
    );
    lab.hand.kill("m2");
    let down = lab.finds("two of three masters died", &["status"], &["down", "nothing can be ordered"]);
    assert_eq!(down.code, 2, "{down:?}");
    lab.doctor(
        "two of three masters died",
        &["fail  quorum: 1 of 3 masters are heard, and nothing can be ordered without 2", "stoa raft status"],
    );
    let order = lab.finds(
        "an order without a leader",
        &["weight", "set", "eng", "2"],
        &["no master leads", "without a majority there is none"],
    );
    assert_eq!(order.code, 5, "{order:?}");
    // What is started again is well again.
    let again = master(&lab.doors, 2, &lab.hand.path("m2"), &[]);
    lab.hand.start("m2-again", &words(&again));
    lab.well(&["weight", "set", "eng", "1"]);
}
