//! What is on a volume is there for the next task that has it, for nobody else, and until it is destroyed.

use std::collections::{BTreeMap, BTreeSet};

use master_registry::Registry;
use proto::agent::AgentState;
use proto::agent_link::{TaskRun, ToAgentKind};
use proto::id::{AgentId, RunId};
use proto::volume::Volume;

use super::{Verdict, broken};
use crate::agents::AgentNode;
use crate::node::Node;

const PROMISE: &str = "volumes";

/// What tasks have left on volumes, by their own account, and which volumes were said to be destroyed.
#[derive(Debug, Default)]
pub struct Volumes {
    left: BTreeMap<(Node, Volume), Vec<RunId>>,
    destroyed: BTreeSet<(Node, Volume)>,
}

impl Volumes {
    /// A leader tells an agent something; this is its registry.
    pub fn sent(&mut self, to: Node, id: &AgentId, kind: &ToAgentKind, registry: &Registry) -> Verdict {
        let Some(record) = registry.agent(id) else { return Ok(()) };
        let lives = |volume: &Volume| record.volumes.iter().any(|known| known.volume == *volume);
        match kind {
            ToAgentKind::DestroyVolumes(order) => {
                if let Some(volume) = order.volumes.iter().find(|volume| lives(volume)) {
                    return broken(PROMISE, format!("{id} is to delete {volume:?}, which is there"));
                }
                self.destroyed.extend(order.volumes.iter().map(|volume| (to, volume.clone())));
                Ok(())
            }
            ToAgentKind::Launch(launch) if record.state != AgentState::Gone => {
                for given in &launch.runs {
                    let role = registry.task_of_run(given.run).map(|task| &task.role);
                    for volume in &given.volumes {
                        if !lives(volume) {
                            let how = format!("{} has {volume:?}, which is not there", given.task.id);
                            return broken(PROMISE, how);
                        }
                        if role.is_some_and(|role| !role.is_within(&volume.role)) {
                            return broken(PROMISE, format!("{} has {volume:?} of others", given.task.id));
                        }
                    }
                }
                Ok(())
            }
            ToAgentKind::Launch(_)
            | ToAgentKind::Registered(_)
            | ToAgentKind::Masters(_)
            | ToAgentKind::Kill(_)
            | ToAgentKind::Acknowledge(_)
            | ToAgentKind::Shutdown(_)
            | ToAgentKind::Redirect(_)
            | ToAgentKind::Heartbeat => Ok(()),
        }
    }

    /// A run is executed, and finds this on a volume.
    pub fn used(&mut self, agent: Node, run: RunId, volume: &Volume, found: &[RunId]) -> Verdict {
        let key = (agent, volume.clone());
        if self.destroyed.contains(&key) {
            return broken(PROMISE, format!("{run} on {agent} has {volume:?}, which was destroyed"));
        }
        // A volume of this name with another birth would be found empty: the old one must have been destroyed.
        let same = |old: &Volume| old.role == volume.role && old.id == volume.id && old.birth != volume.birth;
        let older = self.left.keys().find(|(at, old)| *at == agent && same(old));
        if let Some(older) = older.filter(|older| !self.destroyed.contains(older)) {
            return broken(PROMISE, format!("{run} has {volume:?}, and {older:?} was never destroyed"));
        }
        let left = self.left.entry(key).or_default();
        if found != left {
            return broken(PROMISE, format!("{run} found {found:?} on {volume:?}, where {left:?} had been"));
        }
        left.push(run);
        Ok(())
    }

    /// The volumes of a run are those that its resources name.
    pub fn has_its_own(&self, given: &TaskRun) -> Verdict {
        let own: Vec<_> = given.volumes.iter().map(|volume| (&volume.role, &volume.id)).collect();
        let named: Vec<_> = given.task.resources.volumes().collect();
        if own == named {
            return Ok(());
        }
        broken(PROMISE, format!("{} has {own:?} and its resources name {named:?}", given.task.id))
    }

    /// What was on a volume is deleted while this run, if any, has it.
    pub fn deleted(&mut self, agent: Node, volume: &Volume, user: Option<RunId>) -> Verdict {
        let key = (agent, volume.clone());
        if !self.destroyed.contains(&key) {
            return broken(PROMISE, format!("{agent} deleted {volume:?}, which nobody had destroyed"));
        }
        if let Some(run) = user {
            return broken(PROMISE, format!("{agent} deleted {volume:?} under {run}"));
        }
        self.left.remove(&key);
        Ok(())
    }
}

/// What keeps the volumes of an agent from being at rest: data that nobody can use any more, or that was lost.
pub fn unsettled(agent: &AgentNode, registry: &Registry) -> Option<String> {
    let id = &agent.info.id;
    let record = registry.agent(id)?;
    let known = |volume: &Volume| record.volumes.iter().any(|known| known.volume == *volume);
    if let Some(volume) = agent.volumes.volumes().find(|volume| !known(volume)) {
        return Some(format!("{id} keeps what was on {volume:?}"));
    }
    // One that is gone is never heard again.
    let awaited = record.destroyed.first().filter(|_| record.state != AgentState::Gone)?;
    Some(format!("the log waits for {id} to delete {awaited:?}"))
}
