//! What a caller may not read is taken out of what it is shown.

use std::sync::Arc;

use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::FrameworkId;
use proto::operator::{Event, EventKind, FrameworkView, TaskView};

use crate::read_model::ReadModel;

/// The eyes of one caller.
pub(crate) struct Eyes {
    caller: Caller,
    /// Whether it may read everybody's environment: then nothing needs to be looked through.
    all: bool,
}

// === impl Eyes ===

impl Eyes {
    pub fn of(caller: Caller) -> Eyes {
        let all = may_read(&caller, "");
        Eyes { caller, all }
    }

    /// Tasks as it may see them.
    pub fn tasks(&self, mut tasks: Vec<TaskView>, model: &ReadModel) -> Vec<TaskView> {
        if !self.all {
            let owners = model.owners();
            tasks.iter_mut().for_each(|task| {
                let owner = owners.get(&task.framework).map_or("", String::as_str);
                self.task(task, owner);
            });
        }
        tasks
    }

    /// An event as it may see it.
    pub fn event(&self, event: &Event, model: &ReadModel) -> Event {
        let mut event = event.clone();
        if self.all {
            return event;
        }
        match &mut event.kind {
            EventKind::Snapshot(snapshot) => {
                let owner_in = |frameworks: &[FrameworkView], id: &FrameworkId| {
                    frameworks.iter().find(|f| f.id == *id).map(|f| f.principal.clone()).unwrap_or_default()
                };
                for task in &mut snapshot.tasks {
                    let owner = owner_in(&snapshot.frameworks, &task.framework);
                    self.task(task, &owner);
                }
            }
            EventKind::TaskChanged(task) => {
                let owner = model.owner(&task.framework);
                self.task(task, &owner);
            }
            EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::OfferMade(_)
            | EventKind::OfferEnded(_)
            | EventKind::RoleChanged(_) => {}
        }
        event
    }

    fn task(&self, task: &mut TaskView, owner: &str) {
        let told = &task.info.command;
        let tells = !told.env.is_empty() || !told.secrets.is_empty();
        if tells && !may_read(&self.caller, owner) {
            let command = &mut Arc::make_mut(&mut task.info).command;
            command.env.clear();
            command.secrets.clear();
        }
    }
}

fn may_read(caller: &Caller, owner: &str) -> bool {
    authorize(caller, &Action::ReadEnvironment { owner: owner.to_owned() }).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::framework::FrameworkInfo;
    use proto::id::{AgentId, SecretName, TaskId};
    use proto::operator::{List, Snapshot, Watch};
    use proto::quantities::Quantities;
    use proto::resources::Resources;
    use proto::role::Role;
    use proto::secret::SecretFile;
    use proto::task::{CommandInfo, StatusReason, TaskInfo, TaskState, TaskStatus};

    use super::*;

    fn framework() -> FrameworkView {
        FrameworkView {
            id: FrameworkId::new("F1").unwrap(),
            info: FrameworkInfo {
                name: "jobs".into(),
                roles: vec![Role::default_role()],
                failover_timeout: Duration::ZERO,
                address: String::new(),
                labels: Default::default(),
            },
            principal: "framework/jobs".into(),
            connected: true,
            used: Quantities::ZERO,
            offered: Quantities::ZERO,
            tasks: 0,
            since_ms: 0,
            suppressed_roles: Vec::new(),
        }
    }

    fn task() -> TaskView {
        let id = TaskId::new("t1").unwrap();
        let env = [("PASSWORD".to_owned(), "hunter2".to_owned())].into();
        let secrets = vec![SecretFile::named(SecretName::new("db").unwrap())];
        TaskView {
            framework: FrameworkId::new("F1").unwrap(),
            framework_name: "jobs".into(),
            info: Arc::new(TaskInfo {
                id: id.clone(),
                name: "t".into(),
                command: CommandInfo { env, secrets, ..CommandInfo::default() },
                resources: Resources::EMPTY,
                kill_grace: Duration::ZERO,
                labels: Default::default(),
                group: None,
                checks: proto::check::Checks::default(),
                longest_run: None,
            }),
            agent: AgentId::new("a1").unwrap(),
            hostname: String::new(),
            status: TaskStatus::by_master(id, TaskState::Running, StatusReason::None, "", 0),
            role: Role::default_role(),
            accepted_ms: 0,
        }
    }

    #[test]
    fn only_its_owner_people_and_masters_see_what_a_task_is_told_in_confidence() {
        let model = ReadModel::default();
        let snapshot = Snapshot { frameworks: vec![framework()], tasks: vec![task()], ..Snapshot::default() };
        model.fold().changed(EventKind::Snapshot(snapshot));
        model.fold().changed(EventKind::TaskChanged(task()));
        for (caller, sees) in [
            ("user/ada", true),
            ("master/1", true),
            ("framework/jobs", true),
            ("framework/spark", false),
            ("agent/a1", false),
        ] {
            let eyes = Eyes::of(caller.parse().unwrap());
            let holds = |task: &TaskView| {
                let told = &task.info.command;
                assert_eq!(told.env.is_empty(), told.secrets.is_empty());
                told.env.contains_key("PASSWORD")
            };
            let listed = eyes.tasks(model.tasks(&List::default()), &model);
            assert_eq!(listed.iter().map(holds).collect::<Vec<_>>(), [sees], "{caller}");
            let mut seen = 0;
            for event in model.watch(Watch::default()).first {
                match eyes.event(&event, &model).kind {
                    EventKind::Snapshot(all) => {
                        assert_eq!(all.tasks.iter().map(holds).collect::<Vec<_>>(), [sees], "{caller}");
                        seen += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            let changed = Event {
                kind: EventKind::TaskChanged(task()),
                ..(*model.watch(Watch::default()).first[0]).clone()
            };
            let EventKind::TaskChanged(changed) = eyes.event(&changed, &model).kind else { panic!() };
            assert_eq!((seen, holds(&changed)), (1, sees), "{caller}");
        }
    }

    #[test]
    fn whose_framework_is_not_known_is_nobodys() {
        let model = ReadModel::default();
        model.fold().changed(EventKind::TaskChanged(task()));
        let eyes = Eyes::of("framework/jobs".parse().unwrap());
        let EventKind::TaskChanged(changed) = eyes
            .event(
                &Event { epoch: Default::default(), sequence: 1, kind: EventKind::TaskChanged(task()) },
                &model,
            )
            .kind
        else {
            panic!()
        };
        assert!(changed.info.command.env.is_empty());
    }
}
