//! `Member`: where an instance of a group runs and by which ports it is reached, for those that need it.

use std::collections::BTreeMap;

use framework_sdk_core::desired::{GroupName, InstanceName};
use proto::id::TaskId;
use proto::operator::{Call, List, ReplyKind, TaskView};
use proto::task::TaskState;

use super::Framework;
use crate::operator::AskError;

/// A task of a group that has not ended, as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose task.
    pub instance: InstanceName,
    /// Which.
    pub task: TaskId,
    /// How it stands.
    pub state: TaskState,
    /// Whether it can serve: it runs, and no check of it says otherwise.
    pub ready: bool,
    /// The name of its machine.
    pub hostname: String,
    /// By which its machine is reached: the host of its agent's own door.
    pub host: String,
    /// Its ports, in the order of `PORT0`, `PORT1` and so on.
    pub ports: Vec<u64>,
}

impl Framework {
    /// The tasks of a group that have not ended, also those that earlier lives of the framework launched. Ask again when the
    /// group's events tell of a change: an instance that was started again has other ports, and may be elsewhere.
    pub async fn members(&self, group: &GroupName) -> Result<Vec<Member>, AskError> {
        let own = List { framework: self.id.to_string(), ..List::default() };
        let ReplyKind::Tasks(tasks) = self.operator.ask(Call::Tasks(own)).await?.kind else {
            return Err(AskError::Unfitting { asked: "tasks" });
        };
        let ReplyKind::Agents(agents) = self.operator.ask(Call::Agents(List::default())).await?.kind else {
            return Err(AskError::Unfitting { asked: "agents" });
        };
        let hosts: BTreeMap<_, _> =
            agents.into_iter().map(|agent| (agent.info.id, host(&agent.info.address))).collect();
        let member = |task: TaskView| {
            let instance = InstanceName::of_task(&task.info.id)?;
            let ports = task.info.resources.flatten().range("ports");
            (instance.group == *group).then(|| Member {
                instance,
                task: task.info.id.clone(),
                state: task.status.state,
                ready: task.status.state == TaskState::Running
                    && task.status.ready != Some(false)
                    && task.status.healthy != Some(false),
                host: hosts.get(&task.agent).cloned().unwrap_or_default(),
                hostname: task.hostname,
                ports: ports.iter().collect(),
            })
        };
        Ok(tasks.into_iter().filter_map(member).collect())
    }
}

/// The host of `host:port`; one of IPv6 without its brackets.
fn host(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

#[test]
fn a_host_is_what_stands_before_the_port() {
    assert_eq!((host("10.0.0.1:7071"), host("[::1]:7071")), ("10.0.0.1".to_owned(), "::1".to_owned()));
}
