//! Data of instances: it outlives their tasks, the framework and everything but a purge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use framework_sdk::Dice;
use framework_sdk::agent::AgentInfo;
use framework_sdk::harness::{Fake, agent};
use framework_sdk::id::{AgentId, TaskId};
use framework_sdk::quantities::Quantities;
use framework_sdk::refusal::Code;
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::role::Role;
use framework_sdk::task::TaskState;

use super::super::{Order, Ticket};
use super::rig::*;
use crate::spec::{Command, JobSpec, Kind, Volume};
use crate::store::State;
use crate::wire;

const GIB: u64 = 1 << 30;

/// An agent with room for two.
fn disk_agent(name: &str) -> AgentInfo {
    let all = Amount::scalars(Quantities::of(1000, 4 * GIB).with_disk(10 * GIB));
    agent(name, Resources::unreserved(all))
}

fn begin(agents: &[&str]) -> Process {
    let mut master = Fake::new();
    agents.iter().for_each(|name| master.add_agent(disk_agent(name)));
    let mut process = boot(State::default(), master, 1);
    process.harness.run();
    process
}

fn volume(name: &str, gib: u64) -> Volume {
    Volume { name: name.to_owned(), size_bytes: gib * GIB, anew_after: None }
}

fn store(instances: u32) -> JobSpec {
    let volumes = vec![volume("data", 3), volume("log", 1)];
    JobSpec { cpus_milli: 500, volumes, ..spec("store", Kind::Service, instances) }
}

fn anew(instances: u32, seconds: u64) -> JobSpec {
    let mut job = store(instances);
    job.volumes.iter_mut().for_each(|volume| volume.anew_after = Some(Duration::from_secs(seconds)));
    job
}

/// The latest task of an instance: where it is, and its volumes as it finds them.
fn latest(process: &Process, number: u32) -> (String, String, String) {
    let began = |id: &&TaskId| id.as_str().starts_with(&format!("store.{number}-"));
    let id = process.harness.master.accepted.iter().rev().find(began).expect("it was started");
    let task = process.harness.master.task(id.as_str()).expect("accepted");
    let path = |name: &str| task.info.command.env.get(name).cloned().expect("it has the volume");
    (task.agent().to_string(), path("STOA_VOLUME_DATA"), path("STOA_VOLUME_LOG"))
}

fn fail_all(process: &mut Process) {
    process.report_all(TaskState::Failed, None);
    process.harness.advance(Duration::from_secs(61));
    process.go_on();
}

fn volumes(process: &mut Process) -> Vec<(String, wire::VolumeState)> {
    let volumes = process.job("store").expect("there").volumes;
    volumes.iter().map(|volume| (format!("{}.{}", volume.instance, volume.name), volume.state())).collect()
}

#[test]
fn an_instance_comes_back_to_its_volumes_in_every_life() {
    let mut process = begin(&["a1", "a2"]);
    process.submit(store(2)).expect("taken");
    process.go_on();
    let before = [latest(&process, 0), latest(&process, 1)];
    assert_ne!(before[0].1, before[1].1, "each has its own");
    use wire::VolumeState::VolumeKept;
    let kept = ["0.data", "0.log", "1.data", "1.log"].map(|name| (name.to_owned(), VolumeKept));
    assert_eq!(volumes(&mut process), kept);
    let view = process.job("store").expect("there").volumes.remove(0);
    assert_eq!((view.agent_id, view.size_bytes), (before[0].0.clone(), 3 * GIB));
    assert!(!view.hostname.is_empty());
    fail_all(&mut process);
    assert_eq!([latest(&process, 0), latest(&process, 1)], before);
    let mut process = process.restart();
    process.harness.run();
    fail_all(&mut process);
    assert_eq!([latest(&process, 0), latest(&process, 1)], before, "the next life knows them");
    assert_eq!(process.harness.alive().len(), 2);
    // Another command is another task in the same place.
    let changed = JobSpec { command: Command::Shell("false".to_owned()), ..store(2) };
    process.submit(changed).expect("taken");
    for _ in 0..3 {
        process.go_on();
    }
    assert_eq!(process.scripts(), ["false", "false"]);
    assert_eq!([latest(&process, 0), latest(&process, 1)], before);
}

#[test]
fn a_volume_that_was_stored_and_never_asked_for_holds_nobody_up() {
    let mut process = begin(&["a1"]);
    process.submit(store(1)).expect("taken");
    process.harness.master.make_offers();
    process.harness.dies_after = Some(1);
    process.harness.run();
    let mut process = process.restart();
    use wire::VolumeState::{VolumeAskedFor, VolumeKept};
    let both = |state| [("0.data".to_owned(), state), ("0.log".to_owned(), state)];
    assert_eq!(volumes(&mut process), both(VolumeAskedFor), "it is known before it may be there");
    process.harness.run();
    for _ in 0..4 {
        process.harness.advance(Duration::from_secs(10));
        process.go_on();
    }
    assert_eq!(volumes(&mut process), both(VolumeKept));
    assert_eq!(process.harness.alive().len(), 1);
    assert_eq!(process.harness.master.free("a1").scalars.disk_bytes(), 6 * GIB, "only one pair was made");
}

#[test]
fn what_a_job_says_of_volumes_that_are_there_cannot_change() {
    let mut process = begin(&["a1"]);
    process.submit(spec("store", Kind::Service, 1)).expect("taken");
    process.go_on();
    process.submit(store(1)).expect("it had none");
    for _ in 0..3 {
        process.go_on();
    }
    let before = latest(&process, 0);
    let tasks = process.harness.alive();
    let larger = JobSpec { volumes: vec![volume("data", 4), volume("log", 1)], ..store(1) };
    let fewer = JobSpec { volumes: vec![volume("data", 3)], ..store(1) };
    let elsewhere = JobSpec { role: Some(Role::new("ops").expect("a role")), ..store(1) };
    for other in [larger, fewer, elsewhere, spec("store", Kind::Service, 1)] {
        let refusal = process.submit(other).expect_err("refused");
        assert_eq!(refusal.code, Code::Conflict);
        assert!(refusal.help.contains("stoa job stop --purge store"), "{refusal:?}");
    }
    assert_eq!(process.roll_back("store").expect_err("refused").code, Code::Conflict);
    process.submit(anew(1, 600)).expect("how long they are waited for can");
    process.go_on();
    assert_eq!(
        (latest(&process, 0), process.harness.alive()),
        (before, tasks),
        "and nothing starts again for it"
    );
    let ephemeral = process.order(|ticket| Order::Submit {
        ticket,
        request: "another".to_owned(),
        spec: JobSpec { name: "other".to_owned(), ..store(1) }.into(),
        ephemeral: true,
        replace: false,
    });
    assert!(
        matches!(ephemeral, Some(super::super::Reply::Refused(refusal)) if refusal.code == Code::Invalid)
    );
}

#[test]
fn a_stopped_job_finds_its_data_again_and_a_purged_one_leaves_nothing() {
    let mut process = begin(&["a1"]);
    process.submit(store(2)).expect("taken");
    process.go_on();
    let before = [latest(&process, 0), latest(&process, 1)];
    process.stop("store", false).expect("stopped");
    assert!(process.harness.alive().is_empty());
    assert_eq!(volumes(&mut process).len(), 4);
    let mut process = process.restart();
    process.harness.run();
    process.submit(store(2)).expect("taken");
    process.go_on();
    assert_eq!([latest(&process, 0), latest(&process, 1)], before);
    process.stop("store", false).expect("stopped");
    process.stop("store", true).expect("and purged");
    assert!(process.jobs().is_empty(), "it is forgotten");
    for _ in 0..3 {
        process.harness.advance(Duration::from_secs(10));
        process.offer();
    }
    let free = process.harness.master.free("a1").scalars;
    assert_eq!((free.disk_bytes(), free.cpus_milli()), (10 * GIB, 1000));
    assert!(process.disk.memory.is_empty(), "{:?}", process.disk.memory);
}

#[test]
fn a_purge_goes_on_in_the_next_life_though_no_job_is_in_that_role() {
    let mut process = begin(&["a1"]);
    let role = Role::new("ops/db").expect("a role");
    process.submit(JobSpec { role: Some(role.clone()), ..store(1) }).expect("taken");
    process.go_on();
    process.harness.master.kills_take_time = true;
    process.stop("store", true).expect("stopped");
    use wire::VolumeState::VolumeToBeDestroyed;
    assert!(volumes(&mut process).iter().all(|(_, state)| *state == VolumeToBeDestroyed));
    let task = process.harness.alive()[0].clone();
    process.harness.report(&task, TaskState::Killed, None);
    process.sync();
    assert!(process.jobs().is_empty());
    let mut process = process.restart();
    assert!(process.harness.scheduler().info().roles.contains(&role));
    process.harness.run();
    for _ in 0..3 {
        process.harness.advance(Duration::from_secs(10));
        process.offer();
    }
    assert_eq!(process.harness.master.free("a1").scalars.disk_bytes(), 10 * GIB);
    assert!(process.disk.memory.is_empty(), "{:?}", process.disk.memory);
}

#[test]
fn without_its_agent_an_instance_waits_and_says_so_or_begins_anew_if_it_may() {
    let mut process = begin(&["a1", "a2"]);
    process.submit(store(1)).expect("taken");
    process.go_on();
    let before = latest(&process, 0);
    process.harness.master.lose_agent(&AgentId::new(&before.0).expect("an id"));
    process.harness.run();
    process.harness.advance(Duration::from_secs(301));
    for _ in 0..5 {
        process.harness.advance(Duration::from_secs(3600));
        process.go_on();
    }
    assert_eq!(process.summary("store").running, 0);
    let held = process.held("store").held;
    let expected = format!("instance 0 waits for its volumes on agent {}", before.0);
    assert!(held.iter().any(|why| why.starts_with(&expected) && why.ends_with("nowhere else")), "{held:?}");
    process.submit(anew(1, 600)).expect("taken");
    process.go_on();
    let held = process.held("store").held;
    assert!(held.iter().any(|why| why.ends_with("after 10m without that it begins anew")), "{held:?}");
    let mut process = process.restart();
    process.harness.run();
    process.harness.advance(Duration::from_secs(601));
    for _ in 0..4 {
        process.harness.advance(Duration::from_secs(10));
        process.go_on();
    }
    let after = latest(&process, 0);
    assert!(after.0 != before.0 && after.1 != before.1, "{before:?} {after:?}");
    use wire::VolumeState::{VolumeKept, VolumeToBeDestroyed};
    let states: BTreeSet<wire::VolumeState> =
        process.job("store").expect("there").volumes.iter().map(|volume| volume.state()).collect();
    assert_eq!(states, BTreeSet::from([VolumeKept, VolumeToBeDestroyed]));
    process.harness.master.return_agent(&AgentId::new(&before.0).expect("an id"));
    process.harness.run();
    for _ in 0..6 {
        process.harness.advance(Duration::from_secs(10));
        process.offer();
    }
    assert_eq!(
        process.harness.master.free(&before.0).scalars.disk_bytes(),
        10 * GIB,
        "the old ones are destroyed"
    );
}

/// Every volume that an instance was ever started with.
fn all_volumes(process: &Process) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in &process.harness.master.accepted {
        let info = &process.harness.master.task(id.as_str()).expect("accepted").info;
        let volumes = info.resources.portions().iter().filter_map(|portion| portion.volume.as_ref());
        all.entry(info.labels["instance"].clone()).or_default().extend(volumes.map(ToString::to_string));
    }
    all
}

/// Whatever dies when: no instance ever runs without its data, and no volume is made twice for one.
#[test]
fn an_instance_has_the_same_volumes_wherever_it_dies() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut process = begin(&["a1", "a2", "a3"]);
        while process.disk.jobs.is_empty() {
            process.harness.input_only(Order::Submit {
                ticket: Ticket(0),
                request: "request".to_owned(),
                spec: store(3).into(),
                ephemeral: false,
                replace: true,
            });
            process.sync();
        }
        for _ in 0..200 {
            match dice.below(14) {
                0 => process.harness.break_link(),
                1 => process.harness.fail_over(),
                2 | 3 => process.harness.master.make_offers(),
                4 => process.harness.master.redeliver(),
                5 => process.harness.advance(Duration::from_millis(dice.below(3000))),
                6..=8 => {
                    let alive = process.harness.alive();
                    if let Some(task) = dice.pick(&alive) {
                        let id = TaskId::new(task).expect("an id");
                        let state = *dice.pick(&[TaskState::Running, TaskState::Failed]).expect("some");
                        process.harness.master.report(&id, state, None);
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
        }
        process.harness.dies_after = None;
        for _ in 0..40 {
            process.harness.advance(Duration::from_secs(5));
            process.harness.master.redeliver();
            process.go_on();
        }
        assert_eq!(process.harness.alive().len(), 3, "seed {seed}");
        for (instance, volumes) in all_volumes(&process) {
            assert_eq!(volumes.len(), 2, "seed {seed}: instance {instance} had {volumes:?}");
        }
        process.stop("store", true).expect("stopped");
        for _ in 0..6 {
            process.harness.advance(Duration::from_secs(10));
            process.offer();
        }
        for name in ["a1", "a2", "a3"] {
            let free = process.harness.master.free(name).scalars;
            assert_eq!(free.disk_bytes(), 10 * GIB, "seed {seed}: something is left on {name}");
        }
        assert!(process.disk.memory.is_empty(), "seed {seed}: {:?}", process.disk.memory);
    }
}
