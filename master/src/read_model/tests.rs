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

#[test]
fn things_are_found_by_what_they_are_called() {
    let model = ReadModel::default();
    for id in ["web.0-1a", "web.10-1b", "webber", "db", "db.1"] {
        model.fold().changed(task(id, TaskState::Running));
    }
    let found = |words: &[&str]| {
        let called = words.iter().map(|word| (*word).to_owned()).collect();
        let tasks = model.tasks(&List { called, ..List::default() });
        tasks.iter().map(|task| task.info.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]).len(), 5, "nothing was said");
    assert_eq!(found(&["web."]), ["web.0-1a", "web.10-1b"]);
    assert_eq!(found(&["webber", "F-1/db"]), ["db", "webber"]);
    assert_eq!(found(&["db"]), ["db"], "of an id nothing else is meant");
    assert_eq!(found(&["d", "web.1"]), ["db", "db.1", "web.10-1b"]);
    assert_eq!(found(&["F-2/db", "eb", ""]), [""; 0], "of another framework, in the middle, nothing");
}
