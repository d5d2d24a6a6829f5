//! `stoa doctor`: each thing that can be not well is found, with what to do about it.

use std::sync::{Arc, Mutex};

use framework_sdk_cli::Exit;
use framework_sdk_cli::client::Client;
use proto::agent::AgentState;
use proto::attributes::AttributeValue;
use proto::id::AgentId;
use proto::operator::Happened;
use proto::quantities::{Quantities, Scalar};
use serde_json::Value;

use crate::pool::{Pool, PretendAgent, World, typed};
use crate::views;

#[tokio::test]
async fn the_doctor_says_what_is_not_well_and_what_to_do() {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    let client = pool.client(&[&master]);
    let nobody = crate::pool::nobody().await;
    let members = |silent: &[u64]| {
        let mut raft = views::members(Some(1), silent);
        raft.members.iter_mut().for_each(|member| member.address.clone_from(&master));
        raft
    };
    let verdicts = |out: &str| -> Vec<(String, String)> {
        let report: Value = serde_json::from_str(out).unwrap();
        let checks = report["checks"].as_array().unwrap().iter();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        checks
            .inspect(|check| assert_eq!(check["verdict"] == "ok", check["fix"] == "", "{check}"))
            .map(|check| (word(&check["name"]), word(&check["verdict"])))
            .collect()
    };
    // All that the small pool has: an agent out of sight, one that drains, and versions of another day.
    world.lock().unwrap().raft = members(&[]);
    let ran = typed(&client, "doctor -o json").await;
    assert_eq!(ran.exit, Exit::Bad, "{}", ran.err);
    let told = verdicts(&ran.out);
    let is = |name: &str, verdict: &str| told.contains(&(name.to_owned(), verdict.to_owned()));
    for (name, verdict) in [
        ("certificate", "ok"),
        ("reachable", "ok"),
        ("quorum", "ok"),
        ("agents", "fail"),
        ("drains", "warn"),
        ("frameworks", "ok"),
    ] {
        assert!(is(name, verdict), "{name}: {told:?}");
    }
    // What is mended is well.
    let agent = pool.agent(PretendAgent::silent()).await;
    {
        let mut world = world.lock().unwrap();
        world.snapshot.agents.truncate(1);
        world.snapshot.agents[0].info.address = agent;
        world.snapshot.agents[0].info.version = env!("CARGO_PKG_VERSION").to_owned();
    }
    let ran = typed(&client, "doctor").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.out);
    assert!(!ran.out.contains("fix:") && ran.err.contains("all is well"), "{}", ran.out);
    // One master less can be borne, but not one more; and one is not heard here.
    let mut raft = members(&[3]);
    raft.members[2].address.clone_from(&nobody);
    world.lock().unwrap().raft = raft;
    let ran = typed(&client, "doctor").await;
    assert_eq!(ran.exit, Exit::Bad, "{}", ran.out);
    assert!(ran.out.contains("warn  quorum: 2 of 3 masters are heard: the loss of one more"), "{}", ran.out);
    assert!(ran.out.contains(&format!("fail  reachable: the master at {nobody}")), "{}", ran.out);
    // A master without a leader says who is there; the lists, which it may not even have, are not asked for.
    let mut raft = views::members(None, &[2, 3]);
    raft.members.iter_mut().for_each(|member| member.address.clone_from(&master));
    world.lock().unwrap().raft = raft;
    let ran = typed(&client, "doctor -o json").await;
    let told = verdicts(&ran.out);
    assert_eq!(ran.exit, Exit::Bad, "{}", ran.err);
    assert!(told.contains(&("quorum".to_owned(), "fail".to_owned())), "{told:?}");
    assert!(told.iter().all(|(name, _)| name != "agents" && name != "frameworks"), "{told:?}");
    // Nobody at all: one failure with its fix, and no more.
    let ran = typed(&pool.client(&[&nobody]), "doctor -o json").await;
    let told = verdicts(&ran.out);
    assert_eq!((ran.exit, told.last()), (Exit::Bad, Some(&("masters".to_owned(), "fail".to_owned()))));
}

/// A pool that is well: one master of a group of three that all stand at its door, and one agent.
async fn healthy() -> (Pool, Client, Arc<Mutex<World>>) {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    let agent = pool.agent(PretendAgent::silent()).await;
    let client = pool.client(&[&master]);
    {
        let mut world = world.lock().unwrap();
        let mut raft = views::members(Some(1), &[]);
        raft.members.iter_mut().for_each(|member| member.address.clone_from(&master));
        world.raft = raft;
        world.snapshot.agents = vec![views::agent("a1", AgentState::Active, &agent)];
        world.snapshot.agents[0].info.version = env!("CARGO_PKG_VERSION").to_owned();
    }
    (pool, client, world)
}

/// Another value of one of the metrics.
fn set(world: &mut World, name: &str, value: u64) {
    let lines = world.page.lines().map(|line| match line.strip_prefix(name) {
        Some(rest) if rest.starts_with('{') => {
            format!("{name}{} {value}\n", rest.rsplit_once(' ').unwrap().0)
        }
        _ => format!("{line}\n"),
    });
    world.page = lines.collect();
}

/// What is made wrong, the check that finds it, how bad it is, what is said, and what helps.
type Ill = (fn(&mut World), &'static str, &'static str, &'static str, &'static str);

const NOW_S: u64 = views::NOW_MS / 1000;
const DAY_S: u64 = 24 * 3600;

const ILLS: [Ill; 19] = [
    (|w| set(w, "process_clock_seconds", NOW_S + 3600), "clocks", "warn", "master 1 (3600.0 s ahead)", "NTP"),
    (|w| set(w, "process_clock_seconds", NOW_S - 2), "clocks", "warn", "2.0 s behind", "chrony"),
    (
        |w| {
            set(w, "certificate_ends_seconds", NOW_S + 10 * DAY_S);
            set(w, "certificate_renews_seconds", NOW_S - 4 * DAY_S);
        },
        "certificates",
        "warn",
        "10d",
        "--join TOKEN",
    ),
    (|w| set(w, "directory_free_bytes", 100), "disk", "warn", "master 1 (10 %)", "larger disk"),
    (|w| set(w, "directory_free_bytes", 10), "disk", "fail", "(1 %)", "delete what is not needed"),
    (|w| set(w, "directory_free_inodes", 50), "inodes", "warn", "(5 %)", "small files"),
    (|w| set(w, "process_max_fds", 256), "files", "warn", "20 of 256", "LimitNOFILE"),
    (|w| set(w, "process_open_fds", 60_000), "files", "warn", "60000 of 65536", "ulimit -n"),
    (
        |w| set(w, "log_sync_seconds_count", 1100),
        "fsync",
        "warn",
        "master 1 (9 % of 1100)",
        "a disk of its own",
    ),
    (|w| set(w, "authority_key_exposed", 1), "authority", "fail", "ca-key.pem", "chmod 600"),
    (
        |w| w.page = w.page.replace("version=\"", "version=\"9."),
        "versions",
        "warn",
        "master 1",
        "followers first",
    ),
    (|w| w.snapshot.agents[0].info.version = "9.9".into(), "versions", "warn", "a1", "its tasks run on"),
    (|w| w.snapshot.offers[0].made_ms = views::ago(300), "offers", "warn", "jobs (1, for 5m)", "decline"),
    (|w| w.snapshot.frameworks[0].connected = false, "frameworks", "warn", "jobs", "failover timeout"),
    (
        |w| w.snapshot.roles[0].quota.guarantees = Quantities::of(100_000, 0),
        "quotas",
        "fail",
        "cpus:96 less",
        "quota set",
    ),
    (
        |w| *w.snapshot.roles[0].quota.limits.0.entry(Scalar::Cpus).or_default() = 0,
        "quotas",
        "warn",
        "eng (no cpus)",
        "stoa quota clear",
    ),
    (
        |w| {
            let back = |sequence| Happened {
                sequence,
                at_ms: views::ago(600),
                kind: "agent-back".into(),
                agent: AgentId::new("a1").ok(),
                ..Happened::default()
            };
            w.history = (1..=3).map(back).collect();
        },
        "flapping",
        "warn",
        "a1 (3 times)",
        "stoa agent drain",
    ),
    (
        |w| {
            let off = AttributeValue::Text("off".to_owned());
            w.snapshot.agents[0].info.attributes.0.insert("isolation/memory".to_owned(), off);
        },
        "isolation",
        "warn",
        "off (memory) on: a1",
        "cgroups",
    ),
    (
        |w| w.snapshot.agents[0].info.address = "127.0.0.1:1".into(),
        "doors",
        "fail",
        "a1 at 127.0.0.1:1",
        "--advertise",
    ),
];

#[tokio::test]
async fn each_ill_is_found_by_its_check_and_no_other() {
    let (_pool, client, world) = healthy().await;
    let report = async || -> Value {
        let ran = typed(&client, "doctor -o json").await;
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err))
    };
    let well = report().await;
    assert_eq!(well["verdict"], "ok", "{well:#}");
    let before = {
        let world = world.lock().unwrap();
        (world.snapshot.clone(), world.page.clone(), world.history.clone())
    };
    for (make, name, verdict, what, fix) in ILLS {
        make(&mut world.lock().unwrap());
        let told = report().await;
        let ill: Vec<&Value> =
            told["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] != "ok").collect();
        assert_eq!(ill.len(), 1, "{name}: {ill:#?}");
        assert_eq!((&ill[0]["name"], &ill[0]["verdict"]), (&name.into(), &verdict.into()), "{ill:#?}");
        assert!(ill[0]["what"].as_str().unwrap().contains(what), "{name}: {what:?} is missing: {ill:#?}");
        assert!(ill[0]["fix"].as_str().unwrap().contains(fix), "{name}: {fix:?} is missing: {ill:#?}");
        let mut world = world.lock().unwrap();
        (world.snapshot, world.page, world.history) = before.clone();
    }
    assert_eq!(report().await["verdict"], "ok", "what is mended is well");
}
