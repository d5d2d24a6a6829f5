//! What agents said of runs lately: soft, learned again from them by the next leader.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::{AgentId, FrameworkId, RunId, TaskId};
use proto::task::TaskStatus;

/// Soft facts of runs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The latest status of each run that has not ended in the log.
    latest: BTreeMap<RunId, TaskStatus>,
    /// Runs of which their frameworks were told that they are out of sight.
    out_of_sight: BTreeSet<RunId>,
    /// Updates that the framework has not acknowledged, in order.
    unacknowledged: BTreeMap<FrameworkId, BTreeMap<(RunId, u64), TaskStatus>>,
    /// Ends that are proposed and not yet committed.
    ending: BTreeSet<RunId>,
    /// Acknowledgements of such ends: the agent must not forget before the log knows.
    parked: BTreeMap<RunId, (AgentId, u64)>,
    /// Task ids in accepts that are proposed and not yet committed.
    launching: BTreeSet<(FrameworkId, TaskId)>,
}

impl Table {
    pub fn latest(&self, run: RunId) -> Option<&TaskStatus> {
        self.latest.get(&run)
    }

    /// Takes in a status; false when it is not newer than what is known.
    pub fn learn(&mut self, run: RunId, status: &TaskStatus) -> bool {
        let newer = self.latest.get(&run).is_none_or(|known| known.sequence < status.sequence);
        if newer {
            self.latest.insert(run, status.clone());
        }
        newer
    }

    /// The agent of a run was silent for too long: what it said last is not how the run stands.
    pub fn lose_sight(&mut self, run: RunId) {
        if !self.ending.contains(&run) {
            self.latest.remove(&run);
            self.out_of_sight.insert(run);
        }
    }

    /// The agent of a run is back; whether the run was out of sight.
    pub fn back_in_sight(&mut self, run: RunId) -> bool {
        self.out_of_sight.remove(&run)
    }

    /// The run is over and the log knows it: returns the acknowledgement that waited for this.
    pub fn ended(&mut self, run: RunId) -> Option<(AgentId, u64)> {
        self.latest.remove(&run);
        self.out_of_sight.remove(&run);
        self.ending.remove(&run);
        self.parked.remove(&run)
    }

    /// Marks an end as proposed; false when it is already.
    pub fn end(&mut self, run: RunId) -> bool {
        self.ending.insert(run)
    }

    pub fn is_ending(&self, run: RunId) -> bool {
        self.ending.contains(&run)
    }

    pub fn park(&mut self, run: RunId, agent: AgentId, sequence: u64) {
        self.parked.insert(run, (agent, sequence));
    }

    pub fn await_acknowledgement(&mut self, framework: &FrameworkId, run: RunId, status: &TaskStatus) {
        self.unacknowledged
            .entry(framework.clone())
            .or_default()
            .insert((run, status.sequence), status.clone());
    }

    /// Drops what the framework acknowledged; returns the agent it came from, if it was still waited for.
    pub fn acknowledge(&mut self, framework: &FrameworkId, run: RunId, sequence: u64) -> Option<AgentId> {
        let waiting = self.unacknowledged.get_mut(framework)?;
        let keys: Vec<_> = waiting.range((run, 0)..=(run, sequence)).map(|(key, _)| *key).collect();
        let mut agent = None;
        for key in keys {
            agent = waiting.remove(&key).and_then(|status| status.agent).or(agent);
        }
        if waiting.is_empty() {
            self.unacknowledged.remove(framework);
        }
        agent
    }

    /// Whether an update of this run waits for its acknowledgement.
    pub fn waits(&self, framework: &FrameworkId, run: RunId) -> bool {
        let waiting = self.unacknowledged.get(framework);
        waiting.is_some_and(|waiting| waiting.range((run, 0)..=(run, u64::MAX)).next().is_some())
    }

    pub fn unacknowledged(&self, framework: &FrameworkId) -> Vec<TaskStatus> {
        self.unacknowledged.get(framework).into_iter().flat_map(|waiting| waiting.values().cloned()).collect()
    }

    pub fn forget_framework(&mut self, framework: &FrameworkId) -> Vec<TaskStatus> {
        self.unacknowledged.remove(framework).into_iter().flat_map(BTreeMap::into_values).collect()
    }

    pub fn launching(&self, framework: &FrameworkId, task: &TaskId) -> bool {
        !self.launching.is_empty() && self.launching.contains(&(framework.clone(), task.clone()))
    }

    pub fn launch(&mut self, framework: &FrameworkId, task: &TaskId) {
        self.launching.insert((framework.clone(), task.clone()));
    }

    pub fn launched(&mut self, framework: &FrameworkId, task: &TaskId) {
        self.launching.remove(&(framework.clone(), task.clone()));
    }
}
