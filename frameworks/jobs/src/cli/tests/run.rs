//! `stoa run`.

use clap::Parser;
use tokio::sync::mpsc;
use tonic::Status;

use super::pretend::{Facts, Gone, Paper, Pretend, event};
use crate::cli::{RunArgs, Screen, run};
use crate::wire::{JobKind, Task, TaskState};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: RunArgs,
}

fn args(line: &[&str]) -> RunArgs {
    Command::parse_from(std::iter::once(&"run").chain(line)).args
}

async fn go(cluster: &Pretend, line: &[&str], paper: &Paper) -> u8 {
    let (_sender, interrupts) = mpsc::channel(1);
    run::run(&args(line), &cluster.profile, paper.screen(false), interrupts).await
}

fn ended(task: Task, code: i32) -> Task {
    let state = if code == 0 { TaskState::TaskFinished } else { TaskState::TaskFailed };
    Task { state: state.into(), exit_code: Some(code), ..task }
}

/// A cluster with a job of tasks that ran and ended with these codes; each printed something.
async fn with_tasks(codes: &[i32]) -> Pretend {
    let cluster = Pretend::start(Facts::default()).await;
    let wanted = codes.len() as u32;
    let task = |at: usize, state| Task { instance: at as u32, ..cluster.task(&format!("t{at}"), state) };
    let running = (0..codes.len()).map(|at| task(at, TaskState::TaskRunning)).collect();
    let over =
        codes.iter().enumerate().map(|(at, code)| ended(task(at, TaskState::TaskFailed), *code)).collect();
    cluster.with(|facts| {
        facts.events = vec![event(wanted, false, running), event(wanted, true, over)];
        for at in 0..codes.len() {
            let text = format!("out of {at}, line one\nand line two\n");
            facts.output.insert((format!("t{at}"), false), text.into_bytes());
            facts.output.insert((format!("t{at}"), true), format!("err of {at}\n").into_bytes());
        }
    });
    cluster
}

#[tokio::test]
async fn the_output_and_exit_code_of_the_task_are_ours() {
    let (cluster, paper) = (with_tasks(&[7]).await, Paper::default());
    let line = ["--cpus", "0.5", "--env", "A=b=c", "--constraint", "zone=b", "--", "sh", "-c", "exit 7"];
    assert_eq!(go(&cluster, &line, &paper).await, 7, "{}", paper.err());
    assert_eq!(paper.out(), "out of 0, line one\nand line two\n");
    assert_eq!(paper.err(), "err of 0\n");
    let submitted = cluster.with(|facts| facts.submitted.clone());
    let spec = submitted[0].spec.clone().unwrap();
    assert!(submitted[0].ephemeral && !submitted[0].replace && submitted[0].request_id.len() == 32);
    assert!(spec.name.starts_with("sh-") && spec.kind() == JobKind::JobBatch && !spec.shell, "{spec:?}");
    assert_eq!((spec.cpus_milli, spec.retries, spec.argv.len(), spec.env["A"].as_str()), (500, 0, 3, "b=c"));
    assert_eq!(spec.constraints, ["zone=b"]);
    assert!(cluster.with(|facts| facts.stopped.is_empty()));
}

#[tokio::test]
async fn the_output_of_a_task_that_ended_before_anybody_looked_is_shown() {
    let (cluster, paper) = (with_tasks(&[0]).await, Paper::default());
    cluster.with(|facts| drop(facts.events.remove(0)));
    assert_eq!(go(&cluster, &["--", "true"], &paper).await, 0);
    assert_eq!(paper.out(), "out of 0, line one\nand line two\n");
}

#[tokio::test]
async fn many_tasks_are_told_apart_and_the_highest_code_counts() {
    let (cluster, paper) = (with_tasks(&[0, 3, 2]).await, Paper::default());
    assert_eq!(go(&cluster, &["--count", "3", "--", "x"], &paper).await, 3);
    let mut lines: Vec<String> = paper.out().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.len(), 6);
    assert_eq!((lines[0].as_str(), lines[5].as_str()), ("t0| and line two", "t2| out of 2, line one"));
    assert!(
        paper.err().contains("t1| err of 1\n") && paper.err().contains("2 of 3 failed"),
        "{}",
        paper.err()
    );
}

#[tokio::test]
async fn output_that_broke_in_the_middle_is_shown_once_and_whole() {
    let (cluster, paper) = (with_tasks(&[0]).await, Paper::default());
    let long: Vec<u8> = (0..5000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    cluster.with(|facts| {
        facts.output.insert(("t0".into(), false), long.clone());
        facts.break_output.insert(("t0".into(), false));
    });
    assert_eq!(go(&cluster, &["--", "x"], &paper).await, 0);
    assert_eq!(paper.out().into_bytes(), long);
    assert_eq!(cluster.with(|facts| facts.read.iter().filter(|(_, stderr)| !stderr).count()), 2);
}

#[tokio::test]
async fn a_framework_that_is_restarted_meanwhile_is_asked_again() {
    let (cluster, paper) = (with_tasks(&[4]).await, Paper::default());
    cluster.with(|facts| {
        facts.break_watch_after = Some(1);
        facts.submit_errors = vec![Status::unavailable("starting"), Status::unavailable("starting")];
    });
    assert_eq!(go(&cluster, &["--", "x"], &paper).await, 4);
    assert_eq!(paper.out(), "out of 0, line one\nand line two\n", "once, over two watches");
    let (submitted, watches) = cluster.with(|facts| (facts.submitted.clone(), facts.watches));
    assert_eq!((submitted.len(), watches), (3, 2));
    assert!(submitted.iter().all(|request| *request == submitted[0]), "the same request");
}

#[tokio::test]
async fn output_that_is_gone_is_said_to_be() {
    let (cluster, paper) = (with_tasks(&[0]).await, Paper::default());
    cluster.with(|facts| facts.output.clear());
    assert_eq!(go(&cluster, &["--", "x"], &paper).await, 0);
    assert!(paper.err().contains("standard output of t0 could not be read to its end"), "{}", paper.err());
}

#[tokio::test]
async fn an_interruption_stops_the_job_and_waits_for_it() {
    let (cluster, paper) = (with_tasks(&[0]).await, Paper::default());
    cluster.with(|facts| {
        facts.events.truncate(1);
        let killed = Task {
            state: TaskState::TaskKilled.into(),
            exit_signal: Some(15),
            ..facts.events[0].tasks[0].clone()
        };
        facts.after_stop = vec![event(1, true, vec![killed])];
    });
    let (sender, interrupts) = mpsc::channel(1);
    let args = args(&["--name", "mine", "--", "sleep", "60"]);
    let interrupting = async {
        cluster.until(|facts| facts.read.len() == 2).await;
        sender.send(130).await.unwrap();
    };
    let running = run::run(&args, &cluster.profile, paper.screen(false), interrupts);
    let (code, ()) = tokio::join!(running, interrupting);
    assert_eq!(code, 130);
    assert_eq!(cluster.with(|facts| facts.stopped.clone()), ["mine"]);
    assert!(paper.err().contains("stopping"), "{}", paper.err());
}

#[tokio::test]
async fn the_second_interruption_does_not_wait() {
    let (cluster, paper) = (with_tasks(&[0]).await, Paper::default());
    cluster.with(|facts| facts.events.truncate(1));
    let (sender, interrupts) = mpsc::channel(1);
    let args = args(&["--", "sleep", "60"]);
    let interrupting = async {
        cluster.until(|facts| facts.read.len() == 2).await;
        sender.send(130).await.unwrap();
        cluster.until(|facts| facts.stopped.len() == 1).await;
        sender.send(143).await.unwrap();
    };
    let running = run::run(&args, &cluster.profile, paper.screen(false), interrupts);
    let (code, ()) = tokio::join!(running, interrupting);
    assert_eq!(code, 143);
    assert!(paper.err().contains("not waiting"), "{}", paper.err());
}

#[tokio::test]
async fn when_nobody_reads_the_job_is_stopped() {
    let cluster = with_tasks(&[0]).await;
    cluster.with(|facts| facts.events.truncate(1));
    let screen = Screen { out: Box::new(Gone), err: Box::new(Gone), interactive: false };
    let (_sender, interrupts) = mpsc::channel(1);
    assert_eq!(run::run(&args(&["--", "yes"]), &cluster.profile, screen, interrupts).await, 141);
    assert_eq!(cluster.with(|facts| facts.stopped.len()), 1);
}

#[tokio::test]
async fn what_cannot_run_is_explained_once_and_stopped_in_time() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    cluster.with(|facts| {
        facts.events = vec![event(1, false, Vec::new())];
        facts.after_stop = vec![event(0, true, Vec::new())];
        facts.demands = vec!["d1".into()];
        facts.held = vec!["instance 0 starts again in 3s".into()];
    });
    assert_eq!(go(&cluster, &["--timeout", "2500ms", "--", "x"], &paper).await, 5);
    let told = paper.err();
    for part in [
        "waiting: larger than any agent",
        "host-1 lacks cpus:2",
        "instance 0 starts again",
        "not over after 2s500ms",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains('\u{1b}'), "what others chose is made harmless");
    assert_eq!(cluster.with(|facts| (facts.explained, facts.stopped.len())), (1, 1));
}

#[tokio::test]
async fn detached_it_prints_the_name_and_no_output() {
    let (cluster, paper) = (with_tasks(&[0]).await, Paper::default());
    assert_eq!(go(&cluster, &["-d", "--name", "mine", "--", "x"], &paper).await, 0);
    assert_eq!(paper.out(), "mine\n");
    assert_eq!(cluster.with(|facts| (facts.watches, facts.read.len())), (0, 0));
}

#[tokio::test]
async fn progress_is_for_terminals_and_many() {
    let (cluster, paper) = (with_tasks(&[0, 0]).await, Paper::default());
    let (_sender, interrupts) = mpsc::channel(1);
    let args = args(&["--count", "2", "--no-logs", "--", "x"]);
    assert_eq!(run::run(&args, &cluster.profile, paper.screen(true), interrupts).await, 0);
    assert_eq!(paper.out(), "");
    assert!(paper.err().ends_with("\r\u{1b}[K2 of 2 finished, 0 running\n"), "{:?}", paper.err());
    assert!(cluster.with(|facts| facts.read.is_empty()));
}

#[tokio::test]
async fn a_task_that_never_ran_is_a_failure_with_a_reason() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    let task = Task { message: "no such user".into(), ..cluster.task("t0", TaskState::TaskError) };
    cluster.with(|facts| facts.events = vec![event(1, true, vec![task])]);
    assert_eq!(go(&cluster, &["--user", "nobody9", "--", "x"], &paper).await, 1);
    assert_eq!(paper.err(), "t0 error on host-1: no such user\n");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_exit_code() {
    let cluster = Pretend::start(Facts { no_framework: true, ..Facts::default() }).await;
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["--", "x"], &paper).await, 5);
    assert!(
        paper.err().starts_with("error: no jobs framework is connected") && paper.err().contains("help:  ")
    );
    for (line, part) in [
        (["--name", "a b", "--", "x"], "name: \"a b\" is not a name"),
        (["--count", "0", "--", "x"], "instances: 0 is not between"),
        (["--constraint", "=", "--", "x"], "is not a constraint"),
        (["--role", "/", "--", "x"], "is not a role"),
        (["--mem", "1", "--", "x"], "mem: 1B is not between"),
    ] {
        let paper = Paper::default();
        assert_eq!(go(&cluster, &line, &paper).await, 2, "{line:?}");
        assert!(paper.err().contains(part), "{part} in {}", paper.err());
    }
    for line in [
        ["run", "--cpus", "x", "--", "x"],
        ["run", "--env", "A", "--", "x"],
        ["run", "--timeout", "5", "--", "x"],
    ] {
        assert!(Command::try_parse_from(line).is_err(), "{line:?}");
    }
    let cluster = Pretend::start(Facts::default()).await;
    for (status, code) in [
        (Status::already_exists("there is a job \"mine\""), 6),
        (Status::permission_denied("role eng is not yours"), 4),
        (Status::invalid_argument("spec.cpus"), 2),
    ] {
        let (paper, why) = (Paper::default(), status.message().to_owned());
        cluster.with(|facts| facts.submit_errors = vec![status]);
        assert_eq!(go(&cluster, &["--name", "mine", "--", "x"], &paper).await, code);
        assert!(paper.err().contains(&why), "{}", paper.err());
    }
}
