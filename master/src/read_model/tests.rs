//! What is counted of changes as they pass.

use std::sync::Arc;

use proto::id::RunId;
use proto::task::{CommandInfo, StatusReason, TaskInfo, TaskStatus};

use super::*;

fn task(id: &str, state: TaskState) -> EventKind {
    let task = TaskId::new(id).unwrap();
    let mut status = TaskStatus::by_master(task.clone(), state, StatusReason::None, "", 1);
    status.run = Some(RunId::at(9, 1));
    EventKind::TaskChanged(TaskView {
        framework: FrameworkId::new("F-1").unwrap(),
        framework_name: "jobs".to_owned(),
        info: Arc::new(TaskInfo {
            id: task,
            name: id.to_owned(),
            command: CommandInfo::default(),
            resources: proto::resources::Resources::EMPTY,
            kill_grace: TaskInfo::KILL_GRACE_DEFAULT,
            labels: BTreeMap::new(),
            group: None,
            checks: proto::check::Checks::default(),
            longest_run: None,
        }),
        agent: AgentId::new("a1").unwrap(),
        hostname: "node-a1".to_owned(),
        status,
        role: Role::default_role(),
        accepted_ms: 1,
    })
}

#[test]
fn tasks_are_counted_by_the_state_they_are_in() {
    let model = ReadModel::default();
    let ended = |kind| model.fold().changed(kind).ended;
    assert!(!ended(task("a", TaskState::Staging)));
    assert!(!ended(task("b", TaskState::Staging)));
    assert!(!ended(task("a", TaskState::Running)));
    let alive = |state| model.standing().tasks.get(&state).copied().unwrap_or_default();
    assert_eq!((alive(TaskState::Staging), alive(TaskState::Running)), (1, 1));
    assert!(ended(task("a", TaskState::Failed)), "it ends once");
    assert!(!ended(task("a", TaskState::Failed)), "and is not counted when it is told again");
    assert_eq!((alive(TaskState::Staging), alive(TaskState::Running)), (1, 0));
    // A new leader tells everything anew.
    model.fold().changed(EventKind::Snapshot(Snapshot::default()));
    assert_eq!(alive(TaskState::Staging), 0);
    assert_eq!(model.standing().agents.len(), 4, "states without agents are zeros");
}
