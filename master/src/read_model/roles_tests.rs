//! What roles use, as the read model shows it.

use super::*;
use std::time::Duration;

use proto::resources::{Amount, Resources};
use proto::task::{CommandInfo, StatusReason, TaskInfo, TaskStatus};

fn task(role: &str, state: TaskState) -> EventKind {
    let id = TaskId::new("t1").unwrap();
    let info = TaskInfo {
        id: id.clone(),
        name: String::new(),
        command: CommandInfo::default(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(500, 0))),
        kill_grace: Duration::ZERO,
        labels: BTreeMap::new(),
        group: None,
        checks: proto::check::Checks::default(),
        longest_run: None,
    };
    EventKind::TaskChanged(TaskView {
        framework: FrameworkId::new("F1").unwrap(),
        framework_name: String::new(),
        info: Arc::new(info),
        agent: AgentId::new("a1").unwrap(),
        hostname: String::new(),
        status: TaskStatus::by_master(id, state, StatusReason::None, "", 1),
        role: Role::new(role).unwrap(),
        accepted_ms: 1,
    })
}

fn used(model: &ReadModel) -> Vec<(String, u64)> {
    model.roles(&List::default()).iter().map(|view| (view.role.to_string(), view.used.cpus_milli())).collect()
}

#[test]
fn what_a_role_uses_counts_for_those_above_it_and_whenever_it_is_first_heard_of() {
    let model = ReadModel::default();
    model.fold().changed(task("eng/web", TaskState::Running));
    assert_eq!(used(&model), [("eng".to_owned(), 500), ("eng/web".to_owned(), 500)]);
    let mut late = plain_role(Role::new("eng/web").unwrap());
    late.weight = Weight::from_milli(2000).unwrap();
    model.fold().changed(EventKind::RoleChanged(late));
    assert_eq!(used(&model)[1].1, 500);
    assert_eq!(model.roles(&List::default())[1].weight.milli(), 2000);
    model.fold().changed(task("eng/web", TaskState::Finished));
    assert_eq!(used(&model), [("eng".to_owned(), 0), ("eng/web".to_owned(), 0)]);
}
