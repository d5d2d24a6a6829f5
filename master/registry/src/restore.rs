//! A log that is begun anew from a backup: what the old one gave after it must not be given again, nor be believed to be known.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proto::agent::AgentState;
use proto::id::{MasterId, RunId};
use proto::log::{AgentRecord, Restored};
use proto::operator::Happened;

use crate::history::History;
use crate::registry::Registry;

impl Registry {
    /// The registry of a log that begins anew at `restored.index`, in a group of these masters. A list of masters that was never
    /// changed is that of the new founding.
    ///
    /// Its history begins anew, too: events that followed in the old log had numbers that would be given again. The first one
    /// has the number of its place in the log, which is beyond them; whoever follows sees that some are missing.
    ///
    /// Deadlines that went on while there were no masters end nothing: frameworks that were away have as long as ever to come
    /// back, and agents that are drained end by themselves.
    ///
    /// What runs on an agent now only it can say: agents are awaited, until they come or are out of sight.
    pub fn restored(mut self, restored: Restored, masters: &BTreeMap<MasterId, String>) -> Registry {
        self.roster = self.roster.map(|old| old.restored(restored.index, masters));
        for framework in self.frameworks.values_mut().filter(|framework| framework.record.deadline_ms > 0) {
            let timeout_ms =
                u64::try_from(framework.record.info.failover_timeout.as_millis()).unwrap_or(u64::MAX);
            framework.record.deadline_ms = restored.at_ms.saturating_add(timeout_ms).max(1);
        }
        for drain in self.agents.values_mut().filter_map(|agent| agent.drain.as_mut()) {
            drain.deadline_ms = 0;
        }
        for agent in self.agents.values_mut().filter(|agent| agent.state == AgentState::Active) {
            agent.since_ms = restored.at_ms;
        }
        let told = Happened {
            sequence: restored.index,
            at_ms: restored.at_ms,
            index: restored.index,
            kind: Cow::Borrowed("restored"),
            message: format!("from a backup that knew the log up to {}", restored.known_index),
            ..Happened::default()
        };
        self.history = History::of_image(vec![told.into()]);
        self.restored = Some(restored);
        self
    }

    /// Whether this log was begun anew from a backup.
    pub fn is_restored(&self) -> bool {
        self.restored.is_some()
    }

    /// Whether an agent has not come yet since the log was begun anew. It may run what nobody else knows.
    pub fn is_awaited(&self, agent: &AgentRecord) -> bool {
        agent.state == AgentState::Active
            && self.restored.is_some_and(|restored| agent.since_ms == restored.at_ms)
    }

    /// Whether any is awaited: so long nobody knows all that runs.
    pub fn awaits_agents(&self) -> bool {
        self.is_restored() && self.agents.values().any(|agent| self.is_awaited(agent))
    }

    /// Whether a run was launched by the log that a backup was made of. What became of such a run only its agent knows.
    pub fn is_of_before(&self, run: RunId) -> bool {
        self.restored.is_some_and(|restored| run < RunId::at(restored.index, 0))
    }
}
