//! What one version of the framework, or one life of it, leaves to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::harness::{Fake, Harness, agent, resources};
use framework_sdk::id::{AgentId, TaskId};
use framework_sdk::offer::Offer;
use framework_sdk::task::{Exit, TaskState};
use framework_sdk::{Calls, Now, Room, Scheduler, Update};

use super::super::group::task_of;
use super::rig::*;
use crate::spec::{Command, GiveUp, JobSpec, Kind};
use crate::store::{Instance, Record, State};
use crate::wire;

/// Starts these tasks on its first offer: as a framework of an earlier version did.
struct Starts(Vec<framework_sdk::task::TaskInfo>);

impl Scheduler for Starts {
    type Input = ();
    type Output = ();

    fn offers(&mut self, _: Now, offers: Vec<Offer>, out: &mut Calls<()>) {
        for offer in offers {
            let mut room = Room::new(offer);
            for task in std::mem::take(&mut self.0) {
                let shape = task_of(&spec("any", Kind::Batch, 1)).shape();
                room.place(&shape, task).expect("there is room");
            }
            out.accept([room], framework_sdk::demand::Filter::DEFAULT);
        }
    }

    fn update(&mut self, _: Now, update: Update, out: &mut Calls<()>) {
        out.done(update);
    }
}

/// A master with these tasks running, named as the first version of this framework named them.
fn left_by_an_earlier_version(ids: &[&str]) -> Fake {
    let task = |id: &&str| {
        let mut task = framework_sdk::tasks::shell(TaskId::new(id).expect("an id"), "true");
        let (job, number) = id.split_once('-').and_then(|(name, _)| name.rsplit_once('.')).expect("a name");
        let labels = [("job", job), ("instance", number)];
        task.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        task
    };
    let tasks = Starts(ids.iter().map(task).collect());
    let mut harness = Harness::new(framework_sdk::harness::config("jobs"), tasks).expect("a harness");
    harness.master.add_agent(agent("a1", resources(4000, 4 << 30)));
    harness.offer();
    for id in ids {
        harness.report(id, TaskState::Running, None);
    }
    harness.crash()
}

fn instance(job: &str, number: u32, task: &str, state: wire::TaskState) -> Record {
    let instance = Instance {
        task: Some(TaskId::new(task).expect("an id")),
        state,
        agent: Some(AgentId::new("a1").expect("an id")),
        last: state.is_terminal(),
        ..Instance::waiting(number, 1)
    };
    Record::InstanceStored { job: job.to_owned(), instance }
}

/// What the first version stored of a service and a batch that are half done.
fn first_layout() -> State {
    let mut disk = State::default();
    disk.apply(Record::Header { format: 1, prefix: "old".to_owned() });
    disk.apply(Record::Framework(framework_sdk::harness::framework_id()));
    disk.apply(Record::SerialsReserved { below: 1000 });
    for spec in [spec("web", Kind::Service, 2), JobSpec { retries: 1, ..spec("b", Kind::Batch, 3) }] {
        let record = disk.store_job(spec.into(), "0123456789abcdef", 5, false);
        disk.apply(record);
    }
    use wire::TaskState::{TaskFinished, TaskStaging};
    disk.apply(instance("web", 0, "web.0-1", TaskStaging));
    disk.apply(instance("web", 1, "web.1-2", TaskStaging));
    disk.apply(instance("b", 0, "b.0-3", TaskStaging));
    disk.apply(instance("b", 1, "b.1-4", TaskFinished));
    // It was tried as often as it may be.
    let once = Instance { attempt: 2, failures: 1, ..Instance::waiting(2, 1) };
    disk.apply(Record::InstanceStored { job: "b".to_owned(), instance: once });
    disk.migrate(1);
    disk
}

#[test]
fn what_an_earlier_version_left_goes_on() {
    let master = left_by_an_earlier_version(&["web.0-1", "web.1-2", "b.0-3"]);
    let mut process = boot(first_layout(), master, 1);
    process.harness.run();
    process.offer();
    let alive = process.harness.alive();
    assert_eq!(alive.len(), 4, "one instance waited: {alive:?}");
    for old in ["web.0-1", "web.1-2", "b.0-3"] {
        assert!(alive.iter().any(|task| task == old), "{alive:?}");
    }
    let retried = alive.iter().find(|task| task.starts_with("b.2-")).expect("the third").clone();
    process.harness.report(&retried, TaskState::Failed, Some(Exit::Code(1)));
    process.harness.report("b.0-3", TaskState::Finished, Some(Exit::Code(0)));
    process.sync();
    let summary = process.summary("b");
    assert_eq!((summary.finished, summary.failed, summary.over), (2, 1, true), "one retry was used before");

    // They are as the job has them, until that changes.
    process.submit(spec("web", Kind::Service, 3)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    let alive = process.harness.alive();
    assert!(alive.len() == 3 && alive.contains(&"web.0-1".to_owned()), "{alive:?}");
    let changed = JobSpec { command: Command::Shell("false".to_owned()), ..spec("web", Kind::Service, 3) };
    process.submit(changed).expect("taken");
    for _ in 0..3 {
        process.offer();
        process.report_all(TaskState::Running, None);
    }
    let alive = process.harness.alive();
    assert!(
        alive.len() == 3 && !alive.iter().any(|task| task == "web.0-1" || task == "web.1-2"),
        "{alive:?}"
    );
}

#[test]
fn what_was_stored_and_never_asked_for_is_started_again() {
    let mut process = start();
    process.submit(spec("b", Kind::Batch, 1)).expect("taken");
    process.harness.master.make_offers();
    process.harness.dies_after = Some(1);
    process.harness.run();
    let mut process = process.restart();
    assert_eq!(process.summary("b").running, 0);
    process.harness.run();
    process.offer();
    let view = process.job("b").expect("there");
    assert_eq!((view.tasks[0].attempt, view.tasks[0].state()), (2, wire::TaskState::TaskStaging), "{view:?}");
    assert_eq!(view.summary.expect("a summary").restarts, 0, "it never began");
}

#[test]
fn a_task_that_was_given_up_is_ended_by_a_later_life_too() {
    let mut process = start();
    process.submit(spec("web", Kind::Service, 1)).expect("taken");
    process.offer();
    process.report_all(TaskState::Running, None);
    let first = TaskId::new(&process.harness.alive()[0]).expect("an id");
    process.harness.master.declare(&first, TaskState::Unreachable);
    process.harness.advance(Duration::from_secs(301));
    process.offer();
    process.sync();
    let states = |process: &mut Process| {
        let tasks = process.job("web").expect("there").tasks;
        tasks.iter().map(|task| (task.attempt, task.state())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(states(&mut process), BTreeMap::from([(2, wire::TaskState::TaskStaging)]));
    let mut process = process.restart();
    process.harness.run();
    process.harness.master.declare(&first, TaskState::Running);
    process.harness.run();
    process.sync();
    let alive = process.harness.alive();
    assert!(alive.len() == 1 && alive[0] != first.as_str(), "{alive:?}");
    assert!(process.disk.jobs["web"].instances[&0].earlier.is_empty(), "it is known to have ended");
}

/// A service whose first task is out of sight, given up, and may come back.
fn with_one_out_of_sight(job: JobSpec) -> (Process, TaskId) {
    let mut process = start();
    process.submit(job).expect("taken");
    process.go_on();
    let first = TaskId::new(&process.harness.alive()[0]).expect("an id");
    process.harness.master.declare(&first, TaskState::Unreachable);
    process.harness.advance(Duration::from_secs(301));
    process.go_on();
    assert_eq!(process.disk.jobs["web"].instances[&0].earlier.len(), 1);
    (process, first)
}

/// The latest task of the service fails.
fn fail(process: &mut Process, but: &TaskId) {
    let alive = process.harness.alive();
    let latest = alive.iter().find(|task| *task != but.as_str()).expect("another runs");
    process.harness.report(latest, TaskState::Failed, Some(Exit::Code(1)));
    process.sync();
}

#[test]
fn what_is_out_of_sight_keeps_nobody_from_giving_up_and_beginning_anew() {
    let give_up = Some(GiveUp { attempts: 1, window: Duration::from_secs(3600) });
    let job = || JobSpec { give_up, ..spec("web", Kind::Service, 1) };
    let (mut process, first) = with_one_out_of_sight(job());
    let started = |process: &Process| process.harness.master.accepted.len();
    for _ in 0..2 {
        fail(&mut process, &first);
        process.harness.advance(Duration::from_secs(100));
        process.go_on();
    }
    assert_eq!(started(&process), 3, "it was started again once, and then given up");
    let task = process.job("web").expect("there").tasks[0].clone();
    assert!(task.last, "{task:?}");
    process.stop("web", false).expect("stopped");
    process.submit(job()).expect("taken");
    process.go_on();
    assert_eq!(started(&process), 4, "applied again it begins anew");
    let instance = process.disk.jobs["web"].instances[&0].clone();
    assert_eq!((instance.attempt, instance.failures, instance.earlier.len()), (4, 0, 1), "{instance:?}");
    let mut process = process.restart();
    process.harness.run();
    process.harness.master.declare(&first, TaskState::Running);
    process.harness.run();
    assert!(!process.harness.alive().contains(&first.to_string()), "what it went on without still ends");
    assert_eq!(process.harness.alive().len(), 1);
}
