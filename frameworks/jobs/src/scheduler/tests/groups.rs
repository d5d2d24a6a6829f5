//! Instances that are several tasks: one fate, and every one of them known before it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use framework_sdk::Dice;
use framework_sdk::check::{CheckKind as Asked, CheckPort, TcpCheck};
use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::id::TaskId;
use framework_sdk::task::{Exit, TaskState};

use super::super::{Order, Output, Ticket, Watcher};
use super::rig::*;
use crate::spec::{Check, CheckKind, Command, GroupTask, JobSpec, Kind};
use crate::store::State;
use crate::wire;

fn part(name: &str, script: &str) -> GroupTask {
    GroupTask {
        name: name.to_owned(),
        leader: false,
        command: Command::Shell(script.to_owned()),
        cpus_milli: 100,
        mem_bytes: 64 << 20,
        disk_bytes: 0,
        ports: Vec::new(),
        env: BTreeMap::new(),
        artifacts: Vec::new(),
        secrets: BTreeMap::new(),
        health: None,
        readiness: None,
    }
}

/// The leader is the second in the file.
fn pair(kind: Kind, instances: u32, script: &str) -> JobSpec {
    let health = Some(Check::of(CheckKind::Tcp { port: "HTTP".to_owned() }));
    let ports = vec!["HTTP".to_owned()];
    let web = GroupTask { leader: true, ports, health, ..part("web", script) };
    let log =
        GroupTask { env: BTreeMap::from([("LEVEL".to_owned(), "4".to_owned())]), ..part("log", "ship") };
    let env = BTreeMap::from([("LEVEL".to_owned(), "3".to_owned())]);
    let plain = spec("pair", kind, instances);
    JobSpec {
        command: Command::Argv(Vec::new()),
        cpus_milli: 0,
        mem_bytes: 0,
        tasks: vec![log, web],
        env,
        ..plain
    }
}

fn begin() -> Process {
    let mut master = Fake::new();
    let ports = framework_sdk::ranges::Ranges::from_pairs([(31_000, 31_009)]);
    let mut info = agent("a1", resources(4000, 4 << 30));
    info.resources.add(&framework_sdk::resources::Resources::unreserved(
        framework_sdk::resources::Amount::default().with_ports(ports),
    ));
    master.add_agent(info);
    let mut process = boot(State::default(), master, 1);
    process.harness.run();
    process
}

/// The latest task of an instance, the leader (0) or the one beside it (1).
fn task(process: &Process, number: u32, part: u32) -> TaskId {
    let of = |id: &&TaskId| {
        let (_, n) = framework_sdk::desired::InstanceName::part_of_launch(id).expect("ours");
        n == part && id.as_str().starts_with(&format!("pair.{number}-"))
    };
    process.harness.master.accepted.iter().rev().find(of).expect("it was started").clone()
}

fn report(process: &mut Process, task: &TaskId, state: TaskState, code: Option<i32>) {
    process.harness.report(task.as_str(), state, code.map(Exit::Code));
    process.sync();
}

/// Each task as people see it: its name, its attempt, and how it stands.
fn seen(process: &mut Process) -> Vec<(String, u32, wire::TaskState)> {
    let tasks = process.job("pair").expect("there").tasks;
    tasks.iter().map(|task| (task.name.clone(), task.attempt, task.state())).collect()
}

#[test]
fn tasks_of_an_instance_start_together_know_each_other_and_have_names() {
    let mut process = begin();
    process.submit(pair(Kind::Service, 2, "serve")).expect("taken");
    process.go_on();
    let alive = process.harness.alive();
    assert_eq!(alive.len(), 4, "{alive:?}");
    let info =
        |part| process.harness.master.task(task(&process, 1, part).as_str()).expect("there").info.clone();
    let (web, log) = (info(0), info(1));
    assert_eq!((web.name.as_str(), log.name.as_str()), ("pair.1", "pair.1/log"));
    assert!(web.group.is_some() && web.group == log.group, "the agent knows that they share their fate");
    assert_eq!(web.command.env["PORT_HTTP"], log.command.env["PORT_HTTP"]);
    assert!(!log.command.env.contains_key("PORT"), "which is not its own");
    assert_eq!((&*web.command.env["LEVEL"], &*log.command.env["LEVEL"]), ("3", "4"), "its own goes before");
    assert_eq!((&*log.command.env["STOA_JOB"], &*log.command.env["STOA_INSTANCE"]), ("pair", "1"));
    assert_eq!((&*web.labels["task"], &*log.labels["task"], &*log.labels["instance"]), ("web", "log", "1"));
    let tcp = Asked::Tcp(TcpCheck { port: CheckPort::Index(0) });
    assert_eq!(web.checks.health.as_ref().map(|check| check.kind.clone()), Some(tcp));
    assert!(log.checks.health.is_none());
    use wire::TaskState::TaskRunning;
    let rows = ["pair.0", "pair.0/log", "pair.1", "pair.1/log"].map(|name| (name.to_owned(), 1, TaskRunning));
    assert_eq!(seen(&mut process), rows);
    let parts: Vec<String> =
        process.job("pair").expect("there").tasks.into_iter().map(|task| task.part).collect();
    assert_eq!(parts, ["web", "log", "web", "log"]);
    assert_eq!(process.summary("pair").running, 2, "instances are counted");
}

#[test]
fn an_instance_runs_when_all_of_it_runs() {
    let mut process = begin();
    process.submit(pair(Kind::Service, 1, "serve")).expect("taken");
    process.offer();
    let (web, log) = (task(&process, 0, 0), task(&process, 0, 1));
    report(&mut process, &web, TaskState::Running, None);
    assert_eq!(process.summary("pair").running, 0);
    report(&mut process, &log, TaskState::Running, None);
    assert_eq!(process.summary("pair").running, 1);
    report(&mut process, &log, TaskState::Finished, Some(0));
    assert_eq!(process.summary("pair").running, 1, "a good end of another than the leader is its own affair");
    assert_eq!(process.harness.alive().len(), 1);
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert_eq!((process.summary("pair").running, process.harness.master.accepted.len()), (1, 2));
    use wire::TaskState::{TaskFinished, TaskRunning};
    let rows = [("pair".to_owned(), 1, TaskRunning), ("pair/log".to_owned(), 1, TaskFinished)];
    assert_eq!(seen(&mut process), rows, "what has ended is known to have");
}

#[test]
fn a_bad_end_of_one_starts_all_again_and_is_told() {
    let mut process = begin();
    process.submit(pair(Kind::Service, 1, "serve")).expect("taken");
    process.go_on();
    let log = task(&process, 0, 1);
    report(&mut process, &log, TaskState::Failed, Some(7));
    assert!(process.harness.alive().is_empty(), "what shares its fate has ended, too");
    let held = process.held("pair").held;
    assert!(held.iter().any(|why| why.contains("after 1 ends in a row (log failed)")), "{held:?}");
    process.harness.advance(Duration::from_secs(1));
    process.go_on();
    use wire::TaskState::TaskRunning;
    let rows = ["pair", "pair/log"].map(|name| (name.to_owned(), 2, TaskRunning));
    assert_eq!(seen(&mut process), rows);
    assert_eq!((process.summary("pair").restarts, process.harness.master.accepted.len()), (1, 4));
}

#[test]
fn a_batch_is_over_with_its_leader_once_the_others_have_ended() {
    let mut process = begin();
    process.submit(pair(Kind::Batch, 1, "work")).expect("taken");
    process.go_on();
    process.harness.master.kills_take_time = true;
    process.harness.input(Order::Watch { watcher: Watcher(1), name: "pair".to_owned(), until_over: true });
    let (web, log) = (task(&process, 0, 0), task(&process, 0, 1));
    process.harness.report(web.as_str(), TaskState::Finished, Some(Exit::Code(0)));
    let told = process.sync();
    assert!(!process.summary("pair").over);
    use wire::TaskState::{TaskFinished, TaskKilled, TaskKilling, TaskRunning};
    let rows = seen(&mut process);
    assert_eq!(rows[0], ("pair".to_owned(), 1, TaskFinished));
    assert!([TaskKilling, TaskRunning].contains(&rows[1].2), "{rows:?}");
    process.harness.report(log.as_str(), TaskState::Killed, None);
    let mut told: Vec<Output> = told.into_iter().chain(process.sync()).collect();
    let summary = process.summary("pair");
    assert_eq!((summary.over, summary.finished, summary.failed), (true, 1, 0));
    assert_eq!(seen(&mut process)[1].2, TaskKilled);
    told.extend(process.sync());
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for output in told {
        if let Output::Tell(Watcher(1), event) = output {
            for task in event.tasks.iter().filter(|task| task.state().is_terminal()) {
                *ends.entry(task.name.clone()).or_default() += 1;
            }
        }
    }
    assert_eq!(ends, BTreeMap::from([("pair".to_owned(), 1), ("pair/log".to_owned(), 1)]), "each end once");
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert_eq!(process.harness.master.accepted.len(), 2, "what is over stays over");
}

/// The one that decided it dies before the others have ended: what follows is not forgotten, and nothing runs twice.
#[test]
fn what_was_decided_is_done_in_the_next_life() {
    use TaskState::{Failed, Finished};
    for (kind, end, retries) in [
        (Kind::Service, Finished, 0),
        (Kind::Batch, Finished, 0),
        (Kind::Batch, Failed, 0),
        (Kind::Batch, Failed, 1),
    ] {
        let case = format!("{kind:?} {end:?} {retries}");
        let mut process = begin();
        process.submit(JobSpec { retries, ..pair(kind, 1, "serve") }).expect("taken");
        process.go_on();
        process.harness.master.kills_take_time = true;
        let (web, log) = (task(&process, 0, 0), task(&process, 0, 1));
        process.harness.master.report(&web, end, Some(Exit::Code(i32::from(end == Failed))));
        // What became of the other one is not heard any more.
        while process.disk.jobs["pair"].instances[&0].decided.is_none() {
            assert!(process.harness.deliver_event().is_some(), "{case}");
            process.sync();
        }
        let mut process = process.restart();
        process.harness.run();
        process.harness.advance(Duration::from_secs(10));
        process.harness.offer();
        process.sync();
        if end == Finished {
            assert_eq!(process.harness.master.accepted.len(), 2, "{case}: the other one still runs");
            report(&mut process, &log, TaskState::Killed, None);
        }
        process.harness.advance(Duration::from_secs(10));
        process.go_on();
        let again = kind == Kind::Service || retries > 0;
        assert_eq!(process.harness.alive().len(), if again { 2 } else { 0 }, "{case}");
        assert_eq!(process.harness.master.accepted.len(), if again { 4 } else { 2 }, "{case}");
        let summary = process.summary("pair");
        assert_eq!(summary.failed, u32::from(!again && end == Failed), "{case}");
        assert_eq!(summary.finished, u32::from(!again && end == Finished), "{case}");
        assert_eq!(summary.restarts, u64::from(again), "{case}");
    }
}

#[test]
fn a_changed_task_replaces_all_of_its_instance() {
    let mut process = begin();
    process.submit(pair(Kind::Service, 2, "serve")).expect("taken");
    process.go_on();
    let mut other = pair(Kind::Service, 2, "serve");
    other.tasks[0].command = Command::Shell("ship faster".to_owned());
    process.submit(other).expect("taken");
    for _ in 0..4 {
        process.go_on();
    }
    assert_eq!(process.scripts(), ["serve", "serve", "ship faster", "ship faster"]);
    // A job of one task becomes one of several, and the other way round.
    process.submit(spec("pair", Kind::Service, 2)).expect("taken");
    for _ in 0..4 {
        process.go_on();
    }
    assert_eq!(process.scripts(), ["true", "true"]);
    assert_eq!(seen(&mut process).len(), 2);
    process.stop("pair", true).expect("stopped");
    assert!(process.harness.alive().is_empty() && process.jobs().is_empty());
}

#[test]
fn a_stopped_group_ends_as_a_whole() {
    let mut process = begin();
    process.submit(pair(Kind::Service, 1, "serve")).expect("taken");
    process.go_on();
    process.harness.master.kills_take_time = true;
    assert_eq!(process.stop("pair", false).expect("stopped").killing, 2);
    let (web, log) = (task(&process, 0, 0), task(&process, 0, 1));
    report(&mut process, &log, TaskState::Finished, Some(0));
    assert!(!process.summary("pair").over);
    report(&mut process, &web, TaskState::Killed, None);
    assert!(process.summary("pair").over);
}

/// Whatever dies when: all tasks of an instance run or none does, none twice, and people see what there is.
#[test]
fn one_fate_wherever_it_dies() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut process = begin();
        let mut lost = BTreeSet::new();
        for (round, script) in ["serve", "serve more"].into_iter().enumerate() {
            let wanted = pair(Kind::Service, 3, script);
            while process.disk.jobs.get("pair").is_none_or(|job| *job.spec != wanted) {
                process.harness.input_only(Order::Submit {
                    ticket: Ticket(0),
                    request: format!("request-{round}"),
                    spec: wanted.clone().into(),
                    ephemeral: false,
                    replace: true,
                });
                process.sync();
                process = process.buried(&mut dice);
            }
            for _ in 0..120 {
                match dice.below(14) {
                    0 => process.harness.break_link(),
                    1 => process.harness.fail_over(),
                    2 | 3 => process.harness.master.make_offers(),
                    4 => process.harness.master.redeliver(),
                    5 => process.harness.advance(Duration::from_millis(dice.below(1500))),
                    6..=8 => {
                        let alive = process.harness.alive();
                        if let Some(task) = dice.pick(&alive) {
                            let id = TaskId::new(task).expect("an id");
                            if lost.remove(&id) {
                                process.harness.master.declare(&id, TaskState::Running);
                            } else if dice.chance(1, 6) {
                                process.harness.master.declare(&id, TaskState::Unreachable);
                                lost.insert(id);
                            } else {
                                let states = [TaskState::Running, TaskState::Running, TaskState::Failed];
                                process.harness.master.report(&id, *dice.pick(&states).expect("some"), None);
                            }
                        }
                    }
                    9 if process.harness.dies_after.is_none() && dice.chance(1, 2) => {
                        process.harness.dies_after = Some(dice.below(6) as usize);
                    }
                    _ => {
                        process.harness.deliver_one();
                    }
                }
                process.sync();
                process = process.buried(&mut dice);
                process.totals_hold();
            }
        }
        process.harness.dies_after = None;
        // Some have ended since with the others of their instance.
        let alive = process.harness.alive();
        for task in lost.into_iter().filter(|task| alive.contains(&task.to_string())) {
            process.harness.master.declare(&task, TaskState::Running);
        }
        for _ in 0..40 {
            process.harness.advance(Duration::from_secs(5));
            process.harness.master.redeliver();
            process.go_on();
        }
        assert!(process.harness.master.doubled.is_empty(), "seed {seed}");
        let scripts = ["serve more", "serve more", "serve more", "ship", "ship", "ship"];
        assert_eq!(process.scripts(), scripts, "seed {seed}");
        let view = process.job("pair").expect("there");
        let seen: BTreeSet<String> = view.tasks.iter().map(|task| task.task_id.clone()).collect();
        let alive: BTreeSet<String> = process.harness.alive().into_iter().collect();
        assert_eq!(seen, alive, "seed {seed}: people see what there is");
        assert_eq!(view.summary.expect("a summary").running, 3, "seed {seed}");
        assert!(view.tasks.iter().all(|task| task.state() == wire::TaskState::TaskRunning), "seed {seed}");
        let mut instances = process.disk.jobs["pair"].instances.values();
        assert!(instances.all(|instance| instance.earlier.is_empty()), "seed {seed}");
    }
}
