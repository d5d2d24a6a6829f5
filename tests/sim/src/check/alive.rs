//! P7: a running task depends on nobody: it is ended only because somebody asked for it, whoever dies or comes back.

use std::collections::BTreeSet;

use master_registry::Registry;
use proto::agent_link::{TaskRun, ToAgentKind};
use proto::id::RunId;

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
}

impl Alive {
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
                if owned && !launches.is_to_end(&task.framework, &task.info.id) {
                    return broken(PROMISE, format!("{} is to end, and nobody asked for it", task.info.id));
                }
                Ok(())
            }
            ToAgentKind::Shutdown(_) => {
                self.sent_away.insert(to);
                Ok(())
            }
            ToAgentKind::Registered(_)
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
