//! The registry holds what the log said, once, and reads back from its image as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use master_registry::{Effect, Registry};
use proto::agent::{AgentInfo, AgentState};
use proto::attributes::Attributes;
use proto::caller::Caller;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, FrameworkId, OperationId, RunId, TaskId, VolumeId};
use proto::log::{
    Accepted, AcceptedPart, AgentDrained, Entry, FrameworkRegistered, RightsSet, TaskAdopted, TaskEnded,
};
use proto::operation::{CreateVolume, DestroyVolume, Launch, Operation, Reserve};
use proto::operator::Drain;
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::rights::Rights;
use proto::role::Role;
use proto::task::{CommandInfo, StatusReason, TaskInfo, TaskState, TaskStatus};

const GIB: u64 = 1 << 30;

fn agent(id: &str) -> AgentInfo {
    AgentInfo {
        id: AgentId::new(id).unwrap(),
        hostname: id.to_owned(),
        address: String::new(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(4000, 8 * GIB).with_disk(100 * GIB))),
        attributes: Attributes::default(),
        version: String::new(),
    }
}

fn task(id: &str) -> TaskInfo {
    TaskInfo {
        id: TaskId::new(id).unwrap(),
        name: id.to_owned(),
        command: CommandInfo::default(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(500, GIB))),
        kill_grace: Duration::from_secs(3),
        labels: BTreeMap::new(),
        group: None,
        checks: proto::check::Checks::default(),
        longest_run: None,
    }
}

fn accept(operation: &str, operations: Vec<Operation>) -> Entry {
    Entry::Accepted(Accepted {
        framework: FrameworkId::new("F1").unwrap(),
        operation: OperationId::new(operation).unwrap(),
        parts: vec![AcceptedPart {
            agent: AgentId::new("a1").unwrap(),
            role: Role::new("eng").unwrap(),
            operations,
        }],
    })
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    let info = FrameworkInfo {
        name: "jobs".into(),
        roles: vec![Role::new("eng").unwrap()],
        failover_timeout: Duration::from_secs(60),
        address: String::new(),
        labels: BTreeMap::new(),
    };
    let id = FrameworkId::new("F1").unwrap();
    let framework = FrameworkRegistered { id, info, principal: "framework/jobs".into(), fence: 0 };
    registry.apply(1, 10, &mut 0, Entry::AgentAdmitted(agent("a1")));
    registry.apply(2, 20, &mut 0, Entry::FrameworkRegistered(framework));
    registry
}

fn ended(task: &str, state: TaskState) -> Entry {
    let id = TaskId::new(task).unwrap();
    let status = TaskStatus::by_master(id, state, StatusReason::CommandExited, "", 99);
    Entry::TaskEnded(TaskEnded { framework: FrameworkId::new("F1").unwrap(), status })
}

#[test]
fn an_accept_is_carried_out_once_however_often_it_is_logged() {
    let mut registry = registry();
    let entry = accept("op-1", vec![Operation::Launch(Launch { tasks: vec![task("t1"), task("t2")] })]);
    let Effect::Launched { runs: first, dropped } = registry.apply(3, 30, &mut 0, entry.clone()) else {
        panic!()
    };
    assert!(dropped.is_empty());
    assert_eq!(first.len(), 2);
    assert_ne!(first[0].1, first[1].1, "each run has an id of its own");
    assert_eq!(registry.apply(4, 40, &mut 0, entry), Effect::Repeated(3));
    assert_eq!(registry.task_count(), 2);
}

#[test]
fn a_task_id_is_not_used_again_while_it_is_remembered() {
    let mut registry = registry();
    let launch = |op: &str| accept(op, vec![Operation::Launch(Launch { tasks: vec![task("t1")] })]);
    registry.apply(3, 30, &mut 0, launch("op-1"));
    assert!(matches!(registry.apply(4, 40, &mut 0, ended("t1", TaskState::Finished)), Effect::Ended(_)));
    let nothing = Effect::Launched { runs: vec![], dropped: vec![] };
    assert_eq!(registry.apply(5, 50, &mut 0, launch("op-2")), nothing);
    assert_eq!(registry.apply(6, 60, &mut 0, ended("t1", TaskState::Failed)), Effect::Nothing);
}

#[test]
fn reservations_and_volumes_change_the_agents_total_and_nothing_is_lost() {
    let mut registry = registry();
    let role = Role::new("eng").unwrap();
    let volume = VolumeId::new("v1").unwrap();
    let amount = Amount::scalars(Quantities::of(1000, GIB).with_disk(10 * GIB));
    let operations = vec![
        Operation::Reserve(Reserve { role: role.clone(), amount }),
        Operation::CreateVolume(CreateVolume {
            role: role.clone(),
            volume: volume.clone(),
            disk_bytes: 4 * GIB,
        }),
    ];
    registry.apply(3, 30, &mut 0, accept("op-1", operations));
    let id = AgentId::new("a1").unwrap();
    let whole = agent("a1").resources.quantities();
    let total = &registry.agent(&id).unwrap().total;
    assert_eq!(total.portions().len(), 3, "unreserved, reserved, volume: {total}");
    assert_eq!(total.quantities(), whole);
    let destroy = vec![Operation::DestroyVolume(DestroyVolume { role, volume })];
    registry.apply(4, 40, &mut 0, accept("op-2", destroy));
    let total = &registry.agent(&id).unwrap().total;
    assert_eq!((total.portions().len(), total.quantities()), (2, whole));
}

#[test]
fn an_agent_that_is_gone_takes_its_tasks_with_it_and_never_comes_back() {
    let mut registry = registry();
    registry.apply(
        3,
        30,
        &mut 0,
        accept("op-1", vec![Operation::Launch(Launch { tasks: vec![task("t1")] })]),
    );
    let id = AgentId::new("a1").unwrap();
    let Effect::Ended(records) = registry.apply(4, 40, &mut 0, Entry::AgentGone(id.clone())) else {
        panic!()
    };
    assert_eq!(records[0].status.state, TaskState::GoneByOperator);
    assert_eq!(registry.apply(5, 50, &mut 0, Entry::AgentAdmitted(agent("a1"))), Effect::Nothing);
    assert_eq!(registry.agent(&id).unwrap().state, AgentState::Gone);
}

#[test]
fn a_launch_on_an_agent_that_was_lost_before_it_ends_at_once() {
    let id = AgentId::new("a1").unwrap();
    for (entry, reason) in [
        (Entry::AgentGone(id.clone()), StatusReason::AgentGone),
        (Entry::AgentUnreachable(id.clone()), StatusReason::AgentUnreachable),
    ] {
        let mut registry = registry();
        registry.apply(3, 30, &mut 0, entry);
        let launch = Operation::Launch(Launch { tasks: vec![task("t1")] });
        let Effect::Launched { runs, dropped } =
            registry.apply(4, 40, &mut 0, accept("op-1", vec![launch.clone()]))
        else {
            panic!()
        };
        assert!(runs.is_empty());
        assert_eq!((dropped[0].status.state, dropped[0].status.reason), (TaskState::Dropped, reason));
        assert_eq!(registry.task_count(), 0);
        let framework = FrameworkId::new("F1").unwrap();
        assert!(registry.knows_task(&framework, &TaskId::new("t1").unwrap()), "it is remembered as ended");
        assert_eq!(Registry::from_image(&registry.to_image()).unwrap(), registry);
    }
}

#[test]
fn a_framework_that_ended_is_not_registered_again() {
    let mut registry = registry();
    let id = FrameworkId::new("F1").unwrap();
    let info = registry.framework(&id).unwrap().record.info.clone();
    assert!(matches!(registry.apply(3, 30, &mut 0, Entry::FrameworkRemoved(id.clone())), Effect::ToKill(_)));
    let again = FrameworkRegistered { id: id.clone(), info, principal: "framework/jobs".into(), fence: 0 };
    assert_eq!(registry.apply(4, 40, &mut 0, Entry::FrameworkRegistered(again)), Effect::Nothing);
    assert!(registry.framework(&id).is_none());
}

#[test]
fn a_run_is_adopted_only_where_somebody_can_end_it() {
    let adopt = |task_id: &str| {
        let mut status = TaskStatus::by_master(
            TaskId::new(task_id).unwrap(),
            TaskState::Running,
            StatusReason::None,
            "",
            5,
        );
        status.run = Some(RunId::at(90, 0));
        Entry::TaskAdopted(TaskAdopted {
            framework: FrameworkId::new("F1").unwrap(),
            agent: AgentId::new("a1").unwrap(),
            task: task(task_id),
            status,
        })
    };
    for entry in [
        Entry::AgentGone(AgentId::new("a1").unwrap()),
        Entry::FrameworkRemoved(FrameworkId::new("F1").unwrap()),
    ] {
        let mut registry = registry();
        registry.apply(3, 30, &mut 0, entry);
        assert_eq!(registry.apply(4, 40, &mut 0, adopt("t1")), Effect::Nothing);
        assert_eq!(registry.task_count(), 0);
    }
    assert!(matches!(registry().apply(3, 30, &mut 0, adopt("t1")), Effect::Launched { .. }));
}

#[test]
fn the_image_reads_back() {
    let mut registry = registry();
    let agent = AgentId::new("a1").unwrap();
    let drain = Drain { since_ms: 0, deadline_ms: 9, reason: "disk".into(), by: "user/ada".into() };
    registry.apply(3, 30, &mut 0, Entry::AgentDrained(AgentDrained { agent: agent.clone(), drain }));
    assert_eq!(registry.agent(&agent).unwrap().drain.as_ref().map(|drain| drain.since_ms), Some(30));
    let principal: Caller = "framework/spark".parse().unwrap();
    let rights = Some(Rights::all());
    registry.apply(3, 30, &mut 0, Entry::RightsSet(RightsSet { principal, rights }));
    let launch = Operation::Launch(Launch { tasks: vec![task("t1"), task("t2")] });
    registry.apply(3, 30, &mut 0, accept("op-1", vec![launch]));
    registry.apply(4, 40, &mut 0, ended("t1", TaskState::Finished));
    let back = Registry::from_image(&registry.to_image()).unwrap();
    assert_eq!(back, registry);
    assert_eq!(Registry::from_image(&[]).unwrap(), Registry::default());
    assert!(Registry::from_image(b"\xff\xff\xff").is_err());
}

fn told(registry: &Registry, after: u64) -> Vec<(u64, String)> {
    registry.history_after(after).map(|event| (event.sequence, event.kind.to_string())).collect()
}

#[test]
fn what_happened_is_told_once_and_in_order() {
    let mut registry = registry();
    let before = told(&registry, 0);
    assert_eq!(
        before,
        [(1, "agent-admitted".to_owned()), (2, "framework-registered".to_owned())],
        "from the first entry on"
    );
    let launch = Operation::Launch(Launch { tasks: vec![task("t1"), task("t2")] });
    registry.apply(3, 30, &mut 0, accept("op-1", vec![launch.clone()]));
    registry.apply(4, 40, &mut 0, accept("op-1", vec![launch]));
    registry.apply(5, 50, &mut 0, ended("t1", TaskState::Failed));
    registry.apply(6, 60, &mut 0, ended("t1", TaskState::Failed));
    registry.apply(7, 70, &mut 0, Entry::AgentGone(AgentId::new("a1").unwrap()));
    registry.apply(8, 80, &mut 0, Entry::AgentAdmitted(agent("a1")));
    let kinds = ["task-launched", "task-launched", "task-ended", "agent-gone", "task-ended"];
    let expected: Vec<(u64, String)> = (3..).zip(kinds.map(str::to_owned)).collect();
    assert_eq!(told(&registry, 2), expected, "what changes nothing is not told");
    let last = registry.history_after(4).next().unwrap();
    assert_eq!((last.index, last.at_ms, last.message.as_str()), (5, 50, "failed"));
    assert_eq!(last.task.as_ref().map(|task| task.as_str()), Some("t1"));
    let back = Registry::from_image(&registry.to_image()).unwrap();
    assert_eq!(told(&back, 0), told(&registry, 0), "an image goes on with the same numbers");
}

#[test]
fn only_the_last_events_are_remembered_and_their_numbers_go_on() {
    let mut registry = registry();
    let weight = Entry::WeightSet(proto::log::WeightSet {
        role: Role::default_role(),
        weight: proto::role::Weight::default(),
    });
    let count = master_registry::HISTORY_MAX as u64 + 5;
    (0..count).for_each(|index| drop(registry.apply(3 + index, 30, &mut 0, weight.clone())));
    let all = told(&registry, 0);
    assert_eq!(all.len(), master_registry::HISTORY_MAX);
    assert_eq!((all[0].0, all.last().unwrap().0), (8, count + 2));
    assert_eq!(told(&registry, count + 1).len(), 1);
    assert_eq!(told(&registry, u64::MAX).len(), 0);
}

#[test]
fn an_earlier_instance_changes_nothing_of_a_framework_and_the_snapshot_remembers_which_is_the_latest() {
    let mut registry = registry();
    let id = FrameworkId::new("F1").unwrap();
    let info = registry.framework(&id).unwrap().record.info.clone();
    let said = |name: &str, fence| {
        let info = FrameworkInfo { name: name.into(), ..info.clone() };
        let principal = "framework/jobs".into();
        Entry::FrameworkRegistered(FrameworkRegistered { id: id.clone(), info, principal, fence })
    };
    assert_eq!(registry.apply(3, 30, &mut 0, said("seven", 7)), Effect::Done);
    assert_eq!(registry.apply(4, 40, &mut 0, said("six", 6)), Effect::Fenced(7));
    let mut back = Registry::from_image(&registry.to_image()).unwrap();
    assert_eq!(back.apply(5, 50, &mut 0, said("none", 0)), Effect::Fenced(7));
    assert_eq!(back.framework(&id).unwrap().record.info.name, "seven");
    assert_eq!(back.apply(6, 60, &mut 0, said("again", 7)), Effect::Done);
}
