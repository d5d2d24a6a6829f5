//! P7: a running task depends on nobody: it is ended only because somebody asked for it, whoever dies or comes back.

use std::collections::BTreeSet;

use master_registry::Registry;
use proto::agent_link::{TaskRun, ToAgentKind};
use proto::id::{AgentId, RunId};

use super::launches::Launches;
use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "P7 tasks live on";

/// Which runs are to end, by the word of a master.
#[derive(Debug, Default)]
pub struct Alive {
    asked: BTreeSet<RunId>,
    /// Agents that a master sent away: what runs there ends with that.
    sent_away: BTreeSet<Node>,
    /// Agents that somebody wants empty by some time.
    draining: BTreeSet<AgentId>,
}

impl Alive {
    /// Somebody wants an agent empty by some time: what runs there may be ended.
    pub fn drains(&mut self, agent: &AgentId) {
        self.draining.insert(agent.clone());
    }

    /// All agents have work again, and what was to end has ended.
    pub fn nobody_drains(&mut self) {
        self.draining.clear();
    }

    /// A leader, whose registry this is, says something to an agent.
    pub fn sent(
        &mut self,
        to: Node,
        kind: &ToAgentKind,
        registry: &Registry,
        launches: &Launches,
    ) -> Verdict {
        match kind {
            ToAgentKind::Kill(order) => {
                self.asked.insert(order.run);
                // One that is not in the log, or of a framework that is not there any more, is nobody's.
                let Some(task) = registry.task_of_run(order.run) else { return Ok(()) };
                let owned = registry.framework(&task.framework).is_some();
                let asked = launches.is_to_end(&task.framework, &task.info.id);
                if owned && !asked && !self.draining.contains(&task.agent) {
                    return broken(PROMISE, format!("{} is to end, and nobody asked for it", task.info.id));
                }
                Ok(())
            }
            ToAgentKind::Shutdown(_) => {
                self.sent_away.insert(to);
                Ok(())
            }
            ToAgentKind::Registered(_)
            | ToAgentKind::Masters(_)
            | ToAgentKind::Launch(_)
            | ToAgentKind::Acknowledge(_)
            | ToAgentKind::DestroyVolumes(_)
            | ToAgentKind::Redirect(_)
            | ToAgentKind::Heartbeat => Ok(()),
        }
    }

    /// An agent ends a run. One of a group may end for the others' sake.
    pub fn ends(&self, agent: Node, given: &TaskRun) -> Verdict {
        let asked = self.asked.contains(&given.run) || self.sent_away.contains(&agent);
        if asked || given.task.group.is_some() {
            return Ok(());
        }
        broken(PROMISE, format!("{agent} ends {}, and no master asked for it", given.task.id))
    }
}
