//! The scheduler of jobs against a pretend master, through restarts, crashes, failovers and lost messages.

mod batches;
mod changes;
mod chaos;
mod cost;
mod groups;
mod lives;
mod places;
mod rig;
mod roles;
mod schedules;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::conversation::CallKind;
use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::id::TaskId;
use framework_sdk::refusal::Code;
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::role::Role;
use framework_sdk::task::{Exit, TaskState};

use super::{Order, Output, Reply, Ticket, Watcher};
use crate::spec::{Command, JobSpec, Kind};
use crate::wire;

use rig::*;

#[test]
fn a_batch_runs_each_instance_once_and_is_over() {
    let mut process = start();
    let reply = process.submit(spec("b", Kind::Batch, 3)).expect("taken");
    assert_eq!((reply.revision, reply.outcome()), (1, wire::SubmitOutcome::SubmitCreated));
    assert_eq!(process.harness.master.demands().len(), 1);
    assert_eq!(process.harness.master.demands()[0].count, 3);
    process.offer();
    assert_eq!(process.calls(|call| matches!(call, CallKind::Accept(_))), 1, "all in one accept");
    process.report_all(TaskState::Running, None);
    assert_eq!(process.summary("b").running, 3);
    process.report_all(TaskState::Finished, Some(Exit::Code(0)));
    let summary = process.summary("b");
    assert!(summary.over && summary.finished == 3 && summary.failed == 0, "{summary:?}");
    assert!(process.harness.master.demands().is_empty());
    process.offer();
    assert_eq!(process.harness.master.accepted.len(), 3);
}

#[test]
fn nothing_is_asked_or_answered_before_it_is_stored() {
    let mut process = start();
    let spec = Arc::new(spec("b", Kind::Batch, 2));
    let request = "request".to_owned();
    let submit = Order::Submit { ticket: Ticket(1), request, spec, ephemeral: false, replace: false };
    process.sync();
    process.harness.input(submit);
    assert!(stores_come_first(&process.harness.outputs));
    process.sync();
    // An offer is answered, and the process dies after the first thing it does about it.
    process.harness.master.make_offers();
    process.harness.dies_after = Some(1);
    process.harness.run();
    assert!(matches!(process.harness.outputs[..], [Output::Store(_)]));
    assert_eq!(process.calls(|call| matches!(call, CallKind::Accept(_))), 0);
    assert!(process.harness.master.accepted.is_empty());
    let mut process = process.restart();
    process.harness.run();
    process.offer();
    assert_eq!(process.harness.master.accepted.len(), 2);
}

#[test]
fn people_are_told_that_there_is_no_session() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    let none = "the framework has no session with a master".to_owned();
    assert!(!process.held("web").held.contains(&none));
    process.harness.break_link();
    process.harness.input_only(Order::Explain { ticket: Ticket(9), name: "web".to_owned() });
    let told = process.sync().into_iter().find_map(|output| match output {
        Output::Reply(Ticket(9), Reply::Explained(reply)) => Some(reply.held),
        _ => None,
    });
    assert_eq!(told, Some(vec![none.clone()]));
    process.harness.advance(Duration::from_secs(10));
    assert!(!process.held("web").held.contains(&none), "it is taken up again by itself");
}

#[test]
fn a_request_that_is_repeated_is_carried_out_once() {
    let mut process = start();
    let first = process.submit_as("0123456789abcdef", spec("b", Kind::Batch, 1), false).expect("taken");
    let again = process.submit_as("0123456789abcdef", spec("b", Kind::Batch, 1), false).expect("the same");
    assert_eq!(first, again);
    let mut process = process.restart();
    process.harness.run();
    let after = process.submit_as("0123456789abcdef", spec("b", Kind::Batch, 1), false).expect("the same");
    assert_eq!((after.revision, after.outcome), (first.revision, first.outcome));
    let other = process.submit_as("fedcba9876543210", spec("b", Kind::Batch, 1), false);
    assert_eq!(other.map_err(|refusal| refusal.code), Err(Code::Conflict));
}

#[test]
fn a_service_that_ends_comes_back_after_a_pause_in_a_new_task() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    process.offer();
    let first = process.harness.alive();
    process.report_all(TaskState::Running, None);
    process.report_all(TaskState::Failed, Some(Exit::Code(3)));
    process.offer();
    assert!(process.harness.alive().is_empty(), "it rests");
    let held = process.held("web");
    assert!(held.held[0].contains("instance 0"), "{held:?}");
    process.harness.advance(Duration::from_secs(1));
    process.offer();
    let second = process.harness.alive();
    assert!(second.len() == 1 && second != first, "{second:?}");
    assert_eq!(process.summary("web").restarts, 1);
}

#[test]
fn pauses_outlive_a_restart_of_the_framework() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    for _ in 0..4 {
        process.offer();
        process.report_all(TaskState::Running, None);
        process.report_all(TaskState::Failed, None);
        if process.summary("web").restarts < 4 {
            process.harness.advance(Duration::from_secs(8));
        }
    }
    // The fourth pause is eight seconds.
    let mut process = process.restart();
    process.harness.run();
    process.offer();
    process.harness.advance(Duration::from_secs(6));
    process.offer();
    assert!(process.harness.alive().is_empty(), "it still rests");
    process.harness.advance(Duration::from_secs(3));
    process.offer();
    assert_eq!(process.harness.alive().len(), 1);
}

#[test]
fn retries_are_counted_and_losses_before_the_start_are_not() {
    let mut process = start();
    process.submit(JobSpec { retries: 1, ..spec("b", Kind::Batch, 1) }).expect("taken");
    process.offer();
    let id = TaskId::new(&process.harness.alive()[0]).expect("an id");
    process.harness.master.declare(&id, TaskState::Dropped);
    process.harness.run();
    process.offer();
    assert_eq!(process.harness.alive().len(), 1, "at once, and not counted");
    process.report_all(TaskState::Failed, Some(Exit::Code(1)));
    process.harness.advance(Duration::from_secs(2));
    process.offer();
    process.report_all(TaskState::Failed, Some(Exit::Code(1)));
    process.harness.advance(Duration::from_secs(100));
    process.offer();
    let summary = process.summary("b");
    assert!(summary.over && summary.failed == 1, "{summary:?}");
    assert_eq!(process.harness.master.accepted.len(), 3);
}

#[test]
fn a_job_that_is_stopped_ends_and_may_be_forgotten() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 2)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    let reply = process.stop("web", false).expect("stopped");
    assert_eq!((reply.was_stopped, reply.killing), (false, 2));
    assert!(process.harness.alive().is_empty());
    let summary = process.summary("web");
    assert!(summary.over && summary.stopped, "{summary:?}");
    assert!(process.stop("web", true).expect("again").was_stopped);
    assert!(process.job("web").is_none(), "forgotten");
    assert_eq!(process.stop("web", false).map_err(|refusal| refusal.code), Err(Code::NotFound));
    // The same name again: other task ids.
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    process.offer();
    assert!(process.harness.master.doubled.is_empty());
    assert_eq!(process.harness.alive().len(), 1);
}

#[test]
fn a_stop_that_was_stored_is_carried_out_after_a_crash() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 2)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    process.harness.dies_after = Some(1);
    process.harness.input(Order::Stop { ticket: Ticket(99), name: "web".to_owned(), purge: false });
    assert_eq!(process.harness.alive().len(), 2, "it died behind the store");
    let mut process = process.restart();
    process.harness.run();
    process.sync();
    assert!(process.harness.alive().is_empty());
    assert!(process.summary("web").over);
}

#[test]
fn a_changed_service_is_replaced_one_at_a_time() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 3)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    let old = process.harness.alive();
    let changed = JobSpec { command: Command::Shell("false".to_owned()), ..spec("web", Kind::Service, 3) };
    let reply = process.submit(changed).expect("taken");
    assert_eq!((reply.revision, reply.outcome()), (2, wire::SubmitOutcome::SubmitUpdated));
    for replaced in 1..=3 {
        let left = process.harness.alive();
        assert_eq!(left.len(), 2, "one is ended");
        process.offer();
        assert_eq!(process.harness.alive().len(), 3);
        let fresh: Vec<String> =
            process.harness.alive().into_iter().filter(|task| !left.contains(task)).collect();
        assert_eq!(fresh.len(), 1, "replaced {replaced}");
        process.harness.report(&fresh[0], TaskState::Running, None);
        process.sync();
    }
    assert!(process.harness.alive().iter().all(|task| !old.contains(task)));
    assert_eq!(process.summary("web").restarts, 3);
    assert_eq!(process.harness.master.accepted.len(), 6);
}

#[test]
fn a_service_grows_and_shrinks_without_touching_the_others() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 2)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    let first = process.harness.alive();
    process.submit(spec("web", Kind::Service, 4)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    assert_eq!(process.harness.alive().len(), 4);
    process.submit(spec("web", Kind::Service, 2)).expect("taken");
    assert_eq!(process.harness.alive(), first);
    let view = process.job("web").expect("there");
    assert_eq!(view.tasks.len(), 2);
    let unchanged = process.submit(spec("web", Kind::Service, 2)).expect("taken");
    assert_eq!((unchanged.revision, unchanged.outcome()), (3, wire::SubmitOutcome::SubmitUnchanged));
}

#[test]
fn a_batch_is_replaced_only_when_it_is_over() {
    let mut process = start();
    process.submit(spec("b", Kind::Batch, 2)).expect("taken");
    process.offer();
    let other = || JobSpec { cpus_milli: 200, ..spec("b", Kind::Batch, 1) };
    assert_eq!(process.submit(other()).map_err(|refusal| refusal.code), Err(Code::Conflict));
    let kind = process.submit(spec("b", Kind::Service, 1));
    assert_eq!(kind.map_err(|refusal| refusal.code), Err(Code::Conflict));
    process.report_all(TaskState::Finished, Some(Exit::Code(0)));
    assert_eq!(process.submit(other()).expect("taken").revision, 2);
    process.offer();
    process.report_all(TaskState::Finished, Some(Exit::Code(0)));
    let summary = process.summary("b");
    assert!(summary.over && summary.finished == 1, "{summary:?}");
    assert_eq!(process.harness.master.accepted.len(), 3);
}

#[test]
fn an_unreachable_service_is_replaced_in_time_and_ended_when_it_is_back() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    process.submit(spec("b", Kind::Batch, 1)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    for task in process.harness.alive() {
        process.harness.master.declare(&TaskId::new(&task).expect("an id"), TaskState::Unreachable);
    }
    process.harness.advance(Duration::from_secs(290));
    process.offer();
    assert_eq!(process.harness.alive().len(), 2, "not yet");
    process.harness.advance(Duration::from_secs(20));
    process.offer();
    assert_eq!(process.harness.alive().len(), 3, "the service is; the batch is waited for");
    let old: Vec<String> = process.started()[&("web".to_owned(), "0".to_owned())].clone();
    process.harness.master.declare(&TaskId::new(&old[0]).expect("an id"), TaskState::Running);
    process.harness.run();
    assert!(!process.harness.alive().contains(&old[0]));
    assert_eq!(process.harness.alive().len(), 2);
}

#[test]
fn a_role_is_made_known_before_anything_is_wanted_in_it() {
    let mut process = start();
    let role = Role::new("eng/web").expect("a role");
    process.submit(JobSpec { role: Some(role.clone()), ..spec("web", Kind::Service, 1) }).expect("taken");
    let order: Vec<&str> = process
        .harness
        .calls
        .iter()
        .filter_map(|call| match call {
            CallKind::UpdateFramework(update) if update.framework.roles.contains(&role) => Some("role"),
            CallKind::UpdateDemands(demands) if !demands.demands.is_empty() => Some("demand"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["role", "demand"]);
    let mut process = process.restart();
    process.harness.run();
    process.offer();
    assert_eq!(process.harness.alive().len(), 1, "after a restart it is known from the start");
}

#[test]
fn ports_are_taken_from_the_offer_and_told_to_the_task() {
    let mut process = start();
    let amount = Amount::scalars(framework_sdk::quantities::Quantities::of(1000, 1 << 30))
        .with_ports(framework_sdk::ranges::Ranges::single(31_000, 31_009));
    process.harness.master.add_agent(agent("a2", Resources::unreserved(amount)));
    let ports = vec!["HTTP".to_owned(), "ADMIN".to_owned()];
    process.submit(JobSpec { ports, ..spec("web", Kind::Service, 1) }).expect("taken");
    process.offer();
    let alive = process.harness.alive();
    let task = process.harness.master.task(&alive[0]).expect("there");
    let env = &task.info.command.env;
    assert_eq!((env["PORT_HTTP"].as_str(), env["PORT_ADMIN"].as_str()), ("31000", "31001"));
}

#[test]
fn a_watcher_sees_everything_once_and_the_end() {
    let mut process = start();
    process.submit(spec("b", Kind::Batch, 2)).expect("taken");
    process.harness.input(Order::Watch { watcher: Watcher(1), name: "b".to_owned(), until_over: true });
    process.offer_keeping();
    process.report_keeping(TaskState::Running);
    process.report_keeping(TaskState::Finished);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut over = false;
    for output in std::mem::take(&mut process.harness.outputs) {
        match output {
            Output::Tell(Watcher(1), event) => {
                assert!(!over);
                for task in event.tasks.iter().filter(|task| task.state().is_terminal()) {
                    *ends.entry(task.task_id.clone()).or_default() += 1;
                }
            }
            Output::WatchOver(Watcher(1), why) => {
                assert!(why.is_none());
                over = true;
            }
            _ => {}
        }
    }
    assert!(over && ends.len() == 2 && ends.values().all(|n| *n == 1), "{ends:?}");
    process.harness.input(Order::Watch { watcher: Watcher(2), name: "none".to_owned(), until_over: true });
    assert!(process.sync().iter().any(|output| {
        matches!(output, Output::WatchOver(Watcher(2), Some(refusal)) if refusal.code == Code::NotFound)
    }));
}

#[test]
fn a_framework_that_was_removed_begins_anew_with_its_jobs() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 2)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    process.harness.master.fault(Code::FrameworkRemoved);
    process.harness.run();
    process.sync();
    assert!(process.disk.framework.is_none());
    let mut master = Fake::new();
    master.add_agent(agent("a1", resources(4000, 4 << 30)));
    let mut process = boot(process.disk, master, 2);
    process.harness.run();
    process.sync();
    process.harness.advance(Duration::from_secs(2));
    process.offer();
    assert_eq!(process.harness.alive().len(), 2);
}

#[test]
fn large_jobs_go_out_in_accepts_that_a_master_takes() {
    let mut process = start();
    process.harness.master.add_agent(agent("big", resources(1_000_000, 1 << 40)));
    let env = BTreeMap::from([("TEXT".to_owned(), "x".repeat(30_000))]);
    let heavy = JobSpec { cpus_milli: 10, mem_bytes: 1 << 20, env, ..spec("heavy", Kind::Batch, 200) };
    process.submit(heavy).expect("taken");
    let light = JobSpec { cpus_milli: 10, mem_bytes: 1 << 20, ..spec("light", Kind::Batch, 2500) };
    process.submit(light).expect("taken");
    for _ in 0..10 {
        process.offer();
    }
    assert_eq!(process.harness.master.accepted.len(), 2700);
    for call in &process.harness.calls {
        if let CallKind::Accept(accept) = call {
            let operations = accept.parts.iter().flat_map(|part| &part.operations);
            let tasks: Vec<_> = operations
                .flat_map(|operation| match operation {
                    framework_sdk::operation::Operation::Launch(launch) => launch.tasks.clone(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let bytes: usize =
                tasks.iter().map(|task| task.command.env.values().map(String::len).sum::<usize>()).sum();
            assert!(tasks.len() <= 1000 && bytes < 3 << 20, "{} tasks, {bytes} bytes", tasks.len());
        }
    }
}

#[test]
fn what_happens_is_noted_and_counted() {
    use super::report::{Note, Totals};
    let mut process = start();
    process.sync();
    let spec = Arc::new(spec("s", Kind::Service, 2));
    let submit = Order::Submit {
        ticket: Ticket(9),
        request: "request".to_owned(),
        spec,
        ephemeral: false,
        replace: true,
    };
    process.harness.input(submit);
    let mut outputs = process.sync();
    process.harness.offer();
    outputs.extend(process.sync());
    let first = process.harness.alive()[0].clone();
    process.harness.report(&first, TaskState::Running, None);
    process.harness.report(&first, TaskState::Failed, Some(Exit::Code(3)));
    outputs.extend(process.sync());
    let notes: Vec<&Note> = outputs
        .iter()
        .filter_map(|output| if let Output::Note(note) = output { Some(note) } else { None })
        .collect();
    assert!(matches!(notes[0], Note::Job { job, what: "created" } if job == "s"), "{notes:?}");
    assert_eq!(notes.iter().filter(|note| matches!(note, Note::Launch { .. })).count(), 2, "{notes:?}");
    assert!(
        notes.iter().any(|note| matches!(note,
            Note::Ended { task, state: wire::TaskState::TaskFailed, again: true, .. } if task.as_str() == first)),
        "{notes:?}"
    );
    let totals = outputs
        .iter()
        .rev()
        .find_map(|output| if let Output::Totals(totals) = output { Some(*totals) } else { None });
    let expected = Totals { active: 1, waiting: 1, starting: 1, restarts: 1, ..Totals::default() };
    assert_eq!(totals, Some(expected));
    assert!(process.stop("s", true).is_ok());
    process.report_all(TaskState::Killed, None);
    assert!(process.job("s").is_none(), "it is forgotten");
    assert_eq!(process.harness.scheduler().told, Totals { restarts: 1, ..Totals::default() });
}
