//! Batch jobs: one after another, a few at a time, the important ones first.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::check::{self, CheckPort, HttpCheck, TcpCheck};
use framework_sdk::harness::agent;
use framework_sdk::quantities::Quantities;
use framework_sdk::ranges::Ranges;
use framework_sdk::refusal::Code;
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::task::{Exit, TaskState};

use super::rig::*;
use crate::spec::{Check, CheckKind, Command, JobSpec, Kind};
use crate::wire::SubmitOutcome;

const LIMIT: Duration = Duration::from_secs(90);

fn after(name: &str, others: &[&str]) -> JobSpec {
    JobSpec { after: others.iter().map(|name| (*name).to_owned()).collect(), ..spec(name, Kind::Batch, 1) }
}

fn end(process: &mut Process, job: &str, state: TaskState) {
    let task = process.harness.alive().into_iter().find(|task| task.starts_with(&format!("{job}.")));
    process.harness.report(&task.expect("it runs"), state, Some(Exit::Code(0)));
    process.sync();
}

#[test]
fn a_job_begins_once_all_that_it_comes_after_have_ended_well() {
    let mut process = start();
    process.submit(spec("a", Kind::Batch, 1)).expect("taken");
    process.submit(spec("b", Kind::Batch, 1)).expect("taken");
    process.submit(after("c", &["a", "b"])).expect("taken");
    process.go_on();
    assert_eq!(process.harness.alive().len(), 2);
    end(&mut process, "a", TaskState::Finished);
    process.stop("a", true).expect("forgotten");
    assert!(process.held("c").held[0].contains("after job b"), "{:?}", process.held("c"));
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    end(&mut process, "b", TaskState::Finished);
    process.go_on();
    assert!(process.harness.alive()[0].starts_with("c.0-"), "that a ended well is remembered");
    end(&mut process, "c", TaskState::Finished);
    assert!(process.summary("c").over);
    process.submit(after("late", &["b"])).expect("taken");
    process.go_on();
    assert!(process.harness.alive()[0].starts_with("late.0-"), "b had ended before");
}

#[test]
fn a_job_fails_with_the_one_that_it_comes_after() {
    for how in ["fails", "stops"] {
        let mut process = start();
        process.submit(spec("a", Kind::Batch, 1)).expect("taken");
        process.submit(after("b", &["a"])).expect("taken");
        process.submit(after("c", &["b"])).expect("taken");
        process.go_on();
        if how == "fails" {
            end(&mut process, "a", TaskState::Failed);
        } else {
            process.stop("a", false).expect("stopped");
        }
        let mut process = process.restart();
        process.harness.run();
        process.go_on();
        for name in ["b", "c"] {
            let summary = process.summary(name);
            assert!(summary.over && summary.failed == 1, "{name} {summary:?}");
        }
        assert!(process.held("b").held[0].contains("job a"), "{:?}", process.held("b"));
        assert_eq!(process.harness.master.accepted.len(), 1);
        // With another try all goes well.
        process.submit(spec("a", Kind::Batch, 1)).ok();
        if how == "fails" {
            process.submit(JobSpec { priority: 1, ..spec("a", Kind::Batch, 1) }).expect("taken");
        }
        let again = process.submit(after("b", &["a"])).expect("taken");
        assert_eq!(
            (again.revision, again.outcome()),
            (2, SubmitOutcome::SubmitUpdated),
            "what failed goes on"
        );
        process.go_on();
        end(&mut process, "a", TaskState::Finished);
        process.go_on();
        end(&mut process, "b", TaskState::Finished);
        assert_eq!(process.summary("b").failed, 0, "{how}");
    }
}

#[test]
fn an_order_that_cannot_be_is_refused() {
    let mut process = start();
    let refused = |process: &mut Process, spec| process.submit(spec).expect_err("refused");
    let unknown = refused(&mut process, after("b", &["a"]));
    assert_eq!(unknown.code, Code::NotFound, "{unknown}");
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    let endless = refused(&mut process, after("b", &["web"]));
    assert!(endless.to_string().contains("has no end"), "{endless}");
    process.submit(spec("a", Kind::Batch, 1)).expect("taken");
    process.submit(after("b", &["a"])).expect("taken");
    process.stop("a", false).expect("stopped");
    let circle = refused(&mut process, after("a", &["b"]));
    assert!(circle.to_string().contains("after itself"), "{circle}");
}

#[test]
fn only_so_many_run_at_once() {
    let mut process = start();
    process.submit(JobSpec { parallel: Some(2), ..spec("b", Kind::Batch, 5) }).expect("taken");
    let mut most = 0;
    for _ in 0..5 {
        process.go_on();
        most = most.max(process.harness.alive().len());
        if let Some(task) = process.harness.alive().first().cloned() {
            process.harness.report(&task, TaskState::Finished, Some(Exit::Code(0)));
            process.sync();
        }
    }
    assert_eq!(most, 2);
    assert!(process.summary("b").over);
    assert_eq!(process.harness.master.accepted.len(), 5);
}

#[test]
fn the_more_important_job_goes_first() {
    let mut process = start();
    let large = |name: &str, priority| JobSpec { priority, cpus_milli: 4000, ..spec(name, Kind::Batch, 1) };
    process.submit(large("a", -1)).expect("taken");
    process.submit(large("b", 5)).expect("taken");
    process.submit(large("c", 0)).expect("taken");
    let mut order = Vec::new();
    for _ in 0..3 {
        process.go_on();
        let task = process.harness.alive()[0].clone();
        order.push(task[..1].to_owned());
        process.harness.report(&task, TaskState::Finished, Some(Exit::Code(0)));
        process.sync();
    }
    assert_eq!(order, ["b", "c", "a"]);
}

#[test]
fn checks_and_limits_go_with_the_tasks() {
    let mut process = start();
    let amount = Amount::scalars(Quantities::of(1000, 1 << 30)).with_ports(Ranges::single(31_000, 31_009));
    process.harness.master.add_agent(agent("a2", Resources::unreserved(amount)));
    let admin = CheckKind::Http { path: "/".to_owned(), port: "ADMIN".to_owned(), https: false };
    let web = JobSpec {
        ports: vec!["HTTP".to_owned(), "ADMIN".to_owned()],
        health: Some(Check::of(CheckKind::Tcp { port: "HTTP".to_owned() })),
        readiness: Some(Check { failures: 7, ..Check::of(admin) }),
        ..spec("web", Kind::Service, 1)
    };
    process.submit(web).expect("taken");
    process.submit(JobSpec { time_limit: Some(LIMIT), ..spec("b", Kind::Batch, 1) }).expect("taken");
    process.go_on();
    let task = |job: &str| {
        let tasks = process.harness.master.tasks();
        tasks.map(|(_, task)| task.info.clone()).find(|info| info.labels["job"] == job).expect("it runs")
    };
    let checks = task("web").checks;
    let to = |at| CheckPort::Index(at);
    assert_eq!(checks.health.map(|check| check.kind), Some(check::CheckKind::Tcp(TcpCheck { port: to(0) })));
    let readiness = checks.readiness.expect("one");
    assert!(matches!(readiness.kind, check::CheckKind::Http(HttpCheck { port, .. }) if port == to(1)));
    assert_eq!(readiness.failures, 7);
    assert_eq!(task("b").longest_run, Some(LIMIT));
}

#[test]
fn a_task_finds_who_it_is() {
    let mut process = start();
    let amount = Amount::scalars(Quantities::of(1000, 1 << 30)).with_ports(Ranges::single(31_000, 31_001));
    process.harness.master.add_agent(agent("a2", Resources::unreserved(amount)));
    let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let job = JobSpec {
        command: Command::Argv(vec!["serve".to_owned(), "-v".to_owned()]),
        ports: vec!["HTTP".to_owned(), "METRICS".to_owned()],
        env: texts(&[("GREETING", "hello"), ("STOA_INSTANCES", "mine")]),
        kill_grace: LIMIT,
        user: "ada".to_owned(),
        retries: 1,
        ..spec("web", Kind::Batch, 2)
    };
    process.submit(job).expect("taken");
    process.go_on();
    process.report_all(TaskState::Failed, Some(Exit::Code(1)));
    process.harness.advance(Duration::from_secs(5));
    process.go_on();
    let alive = process.harness.alive();
    let info = &process.harness.master.task(&alive[0]).expect("it runs").info;
    assert_eq!((info.name.as_str(), info.command.shell, info.kill_grace), ("web.0", false, LIMIT));
    assert_eq!((info.command.argv[1].as_str(), info.command.user.as_str()), ("-v", "ada"));
    let expected = [
        ("GREETING", "hello"),
        ("PORT", "31000"),
        ("PORT0", "31000"),
        ("PORT1", "31001"),
        ("PORT_HTTP", "31000"),
        ("PORT_METRICS", "31001"),
        ("STOA_ATTEMPT", "2"),
        ("STOA_INSTANCE", "0"),
        // What a job says itself goes before.
        ("STOA_INSTANCES", "mine"),
        ("STOA_JOB", "web"),
    ];
    assert_eq!(info.command.env, texts(&expected));
    let labels = [("attempt", "2"), ("instance", "0"), ("job", "web")];
    assert_eq!(info.labels, texts(&labels));
}
