//! What services, batch and cron jobs, task groups and volumes may say.

use std::time::Duration;

use super::{complaint, one, toml};
use crate::cron::Schedule;
use crate::spec::{CheckKind, Command, Cron, GiveUp, JobSpec, Overlap, RestartPolicy, Spread, Volume};

/// What a service may say beyond the plain one.
pub(super) const SERVICE: &str = r#"
name = "web"
command = "serve"
instances = 6
ports = ["http", "admin"]
health = { tcp = "admin", interval = "5s", timeout = "2s", failures = 5, delay = "1s", grace = "1m" }
readiness = { http = "/ready" }
update = { max_surge = 2, min_healthy = "10s", progress_deadline = "5m", rollback = true, canary = 1 }
restart = { policy = "on-failure", initial = "2s", attempts = 5, window = "10m" }
spread = { by = "zone", at_most = 3 }
prefer = "disk=ssd"
priority = -7
"#;

/// What a service with data says.
pub(super) const STORE: &str = r#"
name = "store"
command = "serve"
volumes = [
  { name = "data", size = "1GiB", anew_after = "1h" },
  { name = "log-files", size = "64MiB", anew_after = "2h" },
]
"#;

#[test]
fn volumes_say_how_large_they_are_and_how_long_they_are_waited_for() {
    let job = one(toml(STORE));
    let hours = |n: u64| Some(Duration::from_secs(n * 3600));
    let data = Volume { name: "data".into(), size_bytes: 1 << 30, anew_after: hours(1) };
    let logs = Volume { name: "log-files".into(), size_bytes: 64 << 20, anew_after: hours(2) };
    assert_eq!(logs.variable(), "STOA_VOLUME_LOG_FILES");
    assert_eq!(job.volumes, [data, logs]);
    assert_eq!(JobSpec::from_wire(job.to_wire()), Ok(job.clone()));
    let longer = one(toml(&STORE.replace("\"2h\"", "\"3h\"")));
    let differences = job.differences(&longer);
    let [difference] = &differences[..] else { panic!("{differences:?}") };
    assert_eq!((difference.key.as_str(), difference.replaces()), ("volumes[log-files].anew_after", false));
    let larger = one(toml(&STORE.replace("1GiB", "2GiB")));
    assert!(job.differences(&larger).iter().all(|difference| difference.replaces()));
}

#[test]
fn a_service_says_how_it_is_kept() {
    let job = one(toml(SERVICE));
    let health = job.health.clone().unwrap();
    assert_eq!(health.kind, CheckKind::Tcp { port: "ADMIN".into() });
    let secs = |n| Duration::from_secs(n);
    assert_eq!((health.interval, health.timeout, health.failures), (secs(5), secs(2), 5));
    assert_eq!((health.delay, health.grace), (secs(1), secs(60)));
    let ready = job.readiness.clone().unwrap();
    assert_eq!(
        ready.kind,
        CheckKind::Http { path: "/ready".into(), port: "HTTP".into(), https: false },
        "a port that is not named is the first"
    );
    assert_eq!((job.update.max_surge, job.update.max_unavailable), (2, 0), "surge alone keeps all");
    assert_eq!((job.update.min_healthy, job.update.progress_deadline), (secs(10), secs(300)));
    assert_eq!((job.update.rollback, job.update.canary), (true, 1));
    assert_eq!(job.restart_policy, RestartPolicy::OnFailure);
    assert_eq!(job.give_up, Some(GiveUp { attempts: 5, window: secs(600) }));
    assert_eq!(job.spread, Some(Spread { by: "zone".into(), at_most: Some(3) }));
    assert_eq!((job.prefer.0.len(), job.priority), (1, -7));
    assert_eq!(JobSpec::from_wire(job.to_wire()), Ok(job));
}

pub(super) const BATCH: &str = r#"
name = "load"
kind = "batch"
command = ["load"]
instances = 100
after = ["fetch", "clean"]
parallel = 10
time_limit = "1h"
retries = 2
"#;

pub(super) const CRON: &str = r#"
name = "nightly"
kind = "cron"
command = ["backup"]
schedule = "30 2 * * mon-fri"
timezone = "europe/berlin"
overlap = "forbid"
missed = "10m"
history = 5
paused = true
"#;

#[test]
fn batch_and_cron_say_when() {
    let job = one(toml(BATCH));
    assert_eq!(job.after, ["fetch", "clean"]);
    assert_eq!((job.parallel, job.time_limit), (Some(10), Some(Duration::from_secs(3600))));
    assert_eq!(JobSpec::from_wire(job.to_wire()), Ok(job));

    let job = one(toml(CRON));
    let cron = job.cron.clone().unwrap();
    assert_eq!(cron.schedule.to_string(), "30 2 * * mon-fri");
    assert_eq!(cron.timezone.to_string(), "Europe/Berlin", "in the case of the tables");
    assert_eq!((cron.overlap, cron.missed), (Overlap::Forbid, Duration::from_secs(600)));
    assert_eq!((cron.history, cron.paused), (5, true));
    assert_eq!(JobSpec::from_wire(job.to_wire()), Ok(job));

    let little = one(toml("name = \"a\"\nkind = \"cron\"\ncommand = \"b\"\nschedule = \"@daily\""));
    assert_eq!(little.cron, Some(Cron::of(Schedule::parse("@daily").unwrap())));
}

pub(super) const GROUP: &str = r#"
name = "shop"
env = { LEVEL = "3" }

[[task]]
name = "web"
command = "serve"
cpus = 0.5
mem = "128MiB"
ports = ["http"]
health = { http = { path = "/ok" } }

[[task]]
name = "log"
command = ["ship"]
env = { LEVEL = "4" }
"#;

/// What a job may ask is what agents carry out.
#[test]
fn the_command_of_a_check_is_bounded() {
    let asking = |bytes: usize| {
        toml(&format!("name = \"a\"\ncommand = \"b\"\nhealth = {{ command = {:?} }}", "x".repeat(bytes)))
    };
    assert!(asking(16 << 10).is_ok());
    let told = complaint(asking((16 << 10) + 1));
    assert_eq!(told, "job.toml:3: health.command: takes more than 16384 bytes; move it into an artifact");
}

#[test]
fn a_paused_job_has_no_next_run() {
    let cron = Cron::of(Schedule::parse("0,5,30 * * * *").unwrap());
    assert_eq!(cron.next(0), Some(5 * 60_000));
    assert_eq!(Cron { paused: true, ..cron }.next(0), None);
}

/// `NAME-20260131T0405` is the name of a run, and must be one of a job.
#[test]
fn the_name_of_a_cron_job_leaves_room_for_those_of_its_runs() {
    let named = |bytes: usize| toml(&CRON.replace("nightly", &"n".repeat(bytes)));
    assert!(named(50).is_ok());
    let told = complaint(named(51));
    assert!(told.contains("name: of a cron job has at most 50 bytes"), "{told}");
}

#[test]
fn tasks_of_a_group_have_each_their_own() {
    let job = one(toml(GROUP));
    let [web, log] = job.tasks.as_slice() else { panic!("{:?}", job.tasks) };
    assert!(web.leader && !log.leader, "the first unless said");
    assert_eq!(
        (web.cpus_milli, web.mem_bytes, log.cpus_milli, log.mem_bytes),
        (500, 128 << 20, 100, 64 << 20)
    );
    assert_eq!(
        web.health.as_ref().map(|check| &check.kind),
        Some(&CheckKind::Http { path: "/ok".into(), port: "HTTP".into(), https: false })
    );
    assert_eq!((job.command.clone(), job.cpus_milli, job.mem_bytes), (Command::Argv(Vec::new()), 0, 0));
    assert_eq!(JobSpec::from_wire(job.to_wire()), Ok(job));

    let told = complaint(toml(&GROUP.replace("env = { LEVEL = \"3\" }", "cpus = 1\ncommand = \"x\"")));
    assert_eq!(
        told,
        "job.toml:3: cpus: belongs to each task of the job; write it under [[task]]\n\
         job.toml:4: command: belongs to each task of the job; write it under [[task]]"
    );
    let told = complaint(toml(
        &GROUP.replace("command = [\"ship\"]", "command = [\"ship\"]\nleader = true\nports = [\"http\"]"),
    ));
    assert!(!told.contains("leaders"), "only the second says so: {told}");
    assert!(told.contains("task[1].ports: HTTP is a port of another task"), "{told}");
    let told = complaint(toml(&GROUP.replace("command =", "leader = true\ncommand =")));
    assert!(told.contains("task: 2 are leaders; exactly one is"), "{told}");
    let told = complaint(toml(&GROUP.replace("\"log\"", "\"web\"")));
    assert!(told.contains("task[1].name: two are named \"web\""), "{told}");
}

/// Each line is added to a good job of the kind, and the complaint is exactly that.
#[test]
fn what_does_not_go_together_is_said() {
    let cases = [
        ("service", "parallel = 3", "parallel: is for batch jobs; a service has no end"),
        ("service", "time_limit = \"5s\"", "time_limit: is for batch jobs; a service has no end"),
        ("service", "after = \"x\"", "after: is for batch jobs; a service has no end"),
        ("service", "schedule = \"@daily\"", "schedule: is for cron jobs; write kind = \"cron\""),
        ("service", "timezone = \"UTC\"", "timezone: is for cron jobs; write kind = \"cron\""),
        ("batch", "paused = true", "paused: is for cron jobs; write kind = \"cron\""),
        ("batch", "after = [\"a\"]", "after: names the job itself"),
        ("batch", "after = [\"b\", \"b\"]", "after: names b twice"),
        (
            "batch",
            "update = { max_surge = 2 }",
            "update: is for services; nothing else is changed while it runs",
        ),
        (
            "batch",
            "time_limit = \"0s\"",
            "time_limit: is not between 1ms and a year; write for example \"1h\"",
        ),
        (
            "batch",
            "restart = { policy = \"never\" }",
            "restart.policy: is for services; of a batch job, retries says how often an instance is tried again",
        ),
        (
            "service",
            "update = { max_surge = 0, max_unavailable = 0 }",
            "update.max_unavailable: is 0 and max_surge too: nothing could ever be replaced; make one of them 1",
        ),
        (
            "service",
            "update = { min_healthy = \"1h\" }",
            "update.progress_deadline: is no more than min_healthy: every change would fail",
        ),
        (
            "service",
            "restart = { policy = \"onfailure\" }",
            "restart.policy: is \"onfailure\"; write \"always\", \"on-failure\" or \"never\"; did you mean \"on-failure\"?",
        ),
        ("service", "priority = 1001", "priority: 1001 is not between -1000 and 1000"),
        (
            "service",
            "spread = \"a zone\"",
            "spread.by: is no name of an attribute; write for example \"zone\" or \"hostname\"",
        ),
        ("service", "health = {}", "health: asks nothing; write one of command, http and tcp"),
        (
            "service",
            "health = { tcp = \"x\", command = \"y\" }",
            "health: asks several things; keep one of command, http and tcp",
        ),
        (
            "service",
            "health = { tcp = \"x\" }",
            "health.tcp.port: there are no ports to check; give some, such as ports = [\"http\"]",
        ),
        (
            "service",
            "health = { command = [] }",
            "health.command: is empty; write a script, or a list of a program and its arguments",
        ),
        (
            "service",
            "health = { command = \"true\", interval = \"1ms\" }",
            "health.interval: is not between 100ms and a day",
        ),
        (
            "service",
            "volumes = [{ name = \"d\", size = \"1KiB\" }]",
            "volumes[0].size: 1KiB is not between 1MiB and 1024TiB; write for example \"1GiB\"",
        ),
        (
            "service",
            "volumes = [{ name = \"d\", size = \"1GiB\", path = \"/d\" }]",
            "volumes[0].path: there is no such key; known are name, size, anew_after",
        ),
        (
            "service",
            "volumes = [{ name = \"a.b\", size = \"1GiB\" }]",
            "volumes[0].name: \"a.b\" is not the name of a volume; use at most 30 letters, digits, - and _, beginning with a letter or digit",
        ),
        (
            "service",
            "volumes = [{ name = \"a-b\", size = \"1GiB\" }, { name = \"A_b\", size = \"1GiB\" }]",
            "volumes[1].name: two are found as STOA_VOLUME_A_B in the environment",
        ),
        (
            "service",
            "volumes = [{ name = \"a\", size = \"1GiB\" }, { name = \"b\", size = \"1GiB\", anew_after = \"1h\" }]",
            "volumes[0].anew_after: is missing: an instance begins anew without any of its volumes; give it to each",
        ),
        (
            "service",
            "volumes = [{ name = \"a\", size = \"1GiB\", anew_after = \"1ms\" }]",
            "volumes[0].anew_after: is not between 1s and a year; write for example \"1h\"",
        ),
        (
            "service",
            "update = { max_surge = 1 }\nvolumes = [{ name = \"a\", size = \"1GiB\" }]",
            "update.max_surge: is for jobs without volumes: a new instance has the data once the old one has ended",
        ),
    ];
    for (kind, line, expected) in cases {
        let told = complaint(toml(&format!("name = \"a\"\ncommand = \"b\"\nkind = \"{kind}\"\n{line}")));
        assert_eq!(told, format!("job.toml:4: {expected}"));
    }
    let cron =
        |text: &str| complaint(toml(&format!("name = \"a\"\ncommand = \"b\"\nkind = \"cron\"\n{text}")));
    assert_eq!(cron(""), "job.toml:1: schedule: is missing; write for example \"*/5 * * * *\" or \"@daily\"");
    assert_eq!(
        cron("schedule = \"61 * * * *\"\ntimezone = \"Berlin\"\noverlap = \"forbids\""),
        "job.toml:4: schedule: \"61\" is no minute (0 to 59); write for example 0, */5 or 10,40\n\
         job.toml:5: timezone: \"Berlin\" is no time zone; did you mean \"Europe/Berlin\"?\n\
         job.toml:6: overlap: is \"forbids\"; write \"allow\", \"forbid\" or \"replace\"; did you mean \"forbid\"?"
    );
}
