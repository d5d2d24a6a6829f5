//! Batches that are run, and a service that is changed again and again, among crashes, failovers, lost messages and lost
//! agents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::Dice;
use framework_sdk::id::TaskId;
use framework_sdk::task::{Exit, TaskState};

use super::super::{Order, Ticket};
use super::rig::*;
use crate::spec::{Command, JobSpec, Kind, Update};

fn changed(dice: &mut Dice, round: u32) -> JobSpec {
    let (max_surge, max_unavailable) = *dice.pick(&[(0, 1), (1, 0), (2, 1), (0, 3)]).expect("some");
    let update = Update { max_surge, max_unavailable, ..Update::DEFAULT };
    let instances = u32::try_from(1 + dice.below(4)).expect("small");
    let command = Command::Shell(format!("serve {round}"));
    JobSpec { command, update, ..spec("web", Kind::Service, instances) }
}

fn states_it(mut process: Process, dice: &mut Dice, spec: &JobSpec, round: u32) -> Process {
    // Repeated until it is stored, as a client does.
    while process.disk.jobs.get("web").is_none_or(|job| *job.spec != *spec) {
        process.harness.input_only(Order::Submit {
            ticket: Ticket(0),
            request: format!("request-{round}"),
            spec: spec.clone().into(),
            ephemeral: false,
            replace: true,
        });
        process.sync();
        process = process.buried(dice);
    }
    process
}

fn moves(process: &mut Process, dice: &mut Dice, lost: &mut BTreeSet<TaskId>) {
    let alive = process.harness.alive();
    let Some(task) = dice.pick(&alive) else { return };
    let id = TaskId::new(task).expect("an id");
    if lost.contains(&id) {
        lost.remove(&id);
        process.harness.master.declare(&id, TaskState::Running);
    } else if dice.chance(1, 5) {
        lost.insert(id.clone());
        process.harness.master.declare(&id, TaskState::Unreachable);
    } else {
        let state = *dice.pick(&[TaskState::Running, TaskState::Running, TaskState::Failed]).expect("some");
        process.harness.master.report(&id, state, None);
    }
}

#[test]
fn in_the_end_a_service_is_as_it_was_stated_last() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut process = start();
        let mut lost = BTreeSet::new();
        let mut rounds = 0;
        let mut wanted = changed(&mut dice, rounds);
        process = states_it(process, &mut dice, &wanted, rounds);
        for _ in 0..200 {
            match dice.below(14) {
                0 => process.harness.break_link(),
                1 => process.harness.fail_over(),
                2 | 3 => process.harness.master.make_offers(),
                4 => process.harness.master.redeliver(),
                5 => process.harness.advance(Duration::from_millis(dice.below(1500))),
                6 if dice.chance(1, 3) => {
                    rounds += 1;
                    wanted = changed(&mut dice, rounds);
                    process = states_it(process, &mut dice, &wanted, rounds);
                }
                7 | 8 => moves(&mut process, &mut dice, &mut lost),
                9 if process.harness.dies_after.is_none() && dice.chance(1, 2) => {
                    process.harness.dies_after = Some(dice.below(6) as usize);
                }
                10 => {
                    process.harness.deliver_event();
                }
                _ => {
                    process.harness.deliver_one();
                }
            }
            process.sync();
            process = process.buried(&mut dice);
            process.totals_hold();
        }
        process.harness.dies_after = None;
        for task in std::mem::take(&mut lost) {
            process.harness.master.declare(&task, TaskState::Running);
        }
        for _ in 0..40 {
            process.harness.advance(Duration::from_secs(5));
            process.harness.master.redeliver();
            process.go_on();
        }
        assert!(process.harness.master.doubled.is_empty(), "seed {seed}");
        let Command::Shell(script) = &wanted.command else { panic!("a script") };
        let scripts = vec![script.clone(); wanted.instances as usize];
        assert_eq!(process.scripts(), scripts, "seed {seed}");
        let view = process.job("web").expect("there");
        let seen: BTreeSet<String> = view.tasks.iter().map(|task| task.task_id.clone()).collect();
        let alive: BTreeSet<String> = process.harness.alive().into_iter().collect();
        assert_eq!(seen, alive, "seed {seed}: people see what there is");
        assert_eq!(view.summary.expect("a summary").running, wanted.instances, "seed {seed}");
        let mut instances = process.disk.jobs["web"].instances.values();
        assert!(instances.all(|instance| instance.earlier.is_empty()), "seed {seed}");
    }
}

/// Whatever dies when: each instance of a batch is started once, and in the end all have run.
#[test]
fn nothing_is_doubled_or_forgotten_wherever_it_dies() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let mut process = start();
        let mut jobs = 0;
        for _ in 0..200 {
            match dice.below(14) {
                0 => process.harness.break_link(),
                1 => process.harness.fail_over(),
                2 | 3 => process.harness.master.make_offers(),
                4 => process.harness.master.redeliver(),
                5 => process.harness.advance(Duration::from_millis(dice.below(1500))),
                6 if jobs < 5 => {
                    jobs += 1;
                    let instances = u32::try_from(1 + dice.below(6)).expect("small");
                    let spec = Arc::new(spec(&format!("b{jobs}"), Kind::Batch, instances));
                    let request = format!("request-{jobs}");
                    // Repeated until it is stored, as a client does.
                    while !process.disk.jobs.contains_key(&spec.name) {
                        process.harness.input_only(Order::Submit {
                            ticket: Ticket(0),
                            request: request.clone(),
                            spec: spec.clone(),
                            ephemeral: false,
                            replace: false,
                        });
                        process.sync();
                        process = process.buried(&mut dice);
                    }
                }
                7 => {
                    let alive = process.harness.alive();
                    if let Some(task) = dice.pick(&alive) {
                        let state = if dice.chance(1, 3) { TaskState::Running } else { TaskState::Finished };
                        process.harness.master.report(&TaskId::new(task).expect("an id"), state, None);
                    }
                }
                8 if process.harness.dies_after.is_none() && dice.chance(1, 2) => {
                    process.harness.dies_after = Some(dice.below(6) as usize);
                }
                9 => {
                    process.harness.deliver_event();
                }
                _ => {
                    process.harness.deliver_one();
                }
            }
            process = process.buried(&mut dice);
            process.totals_hold();
        }
        process.harness.dies_after = None;
        for _ in 0..12 {
            process.harness.advance(Duration::from_secs(5));
            process.harness.master.redeliver();
            process.offer();
            process.report_all(TaskState::Finished, Some(Exit::Code(0)));
        }
        assert!(process.harness.master.doubled.is_empty(), "seed {seed}");
        for ((job, instance), tasks) in process.started() {
            assert_eq!(tasks.len(), 1, "seed {seed}: {job}.{instance} ran as {tasks:?}");
        }
        for n in 1..=jobs {
            let summary = process.summary(&format!("b{n}"));
            assert!(summary.over && summary.failed == 0, "seed {seed}: b{n} {summary:?}");
        }
    }
}
