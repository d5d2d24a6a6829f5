//! The runs an agent has taken on and not forgotten, and which of them share their fate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::agent_link::TaskRun;
use proto::id::{FrameworkId, GroupId, RunId};
use proto_machine::WallTime;

/// One run.
pub(crate) struct Run {
    /// What was given by the master; never changes.
    pub given: Arc<TaskRun>,
    /// Where it stands.
    pub phase: Phase,
    /// Set once somebody wants it to end.
    pub kill: Option<Kill>,
    /// Why, for people, when the agent itself wants it.
    pub why: String,
    /// When its command was executed; kept for runs that are watched.
    pub begun: Option<WallTime>,
    /// It was not taken on: in the ledger there is only that.
    pub refused: bool,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Asked for; nothing heard of it.
    Launching,
    /// Its command was executed.
    Running,
    /// A terminal status is in the ledger.
    Over,
}

/// Somebody wants a run to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// Time between TERM and KILL.
    pub grace: Duration,
    /// Who.
    pub cause: Cause,
    /// When it was asked; `None` after a restart, when it is not known.
    pub asked: Option<WallTime>,
}

/// Who wants a run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The framework, or the master for it.
    Requested,
    /// Another task of its group ended badly.
    GroupEnded,
    /// The agent was declared gone.
    AgentGone,
    /// The operator wants the agent to end.
    AgentEnding,
    /// It ran for longer than it may.
    TimeLimit,
    /// Its health check failed too often.
    Unhealthy,
}

/// A group as it was launched once: a framework may use the same name again, but one launch is one entry in the log,
/// whose place is the upper half of the run's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    framework: FrameworkId,
    group: GroupId,
    entry: u64,
}

#[derive(Default)]
struct Group {
    members: Vec<RunId>,
    ended_badly: bool,
}

/// All runs not forgotten.
#[derive(Default)]
pub(crate) struct Table {
    runs: BTreeMap<RunId, Run>,
    groups: BTreeMap<GroupKey, Group>,
    /// How many are not `Over`.
    alive: usize,
}

fn group_key(given: &TaskRun) -> Option<GroupKey> {
    let group = given.task.group.clone()?;
    Some(GroupKey { framework: given.framework.clone(), group, entry: (given.run.0 >> 64) as u64 })
}

impl Table {
    /// Takes a run on; false, and nothing changed, when it is known.
    pub fn add(&mut self, given: Arc<TaskRun>) -> bool {
        let id = given.run;
        if self.runs.contains_key(&id) {
            return false;
        }
        if let Some(key) = group_key(&given) {
            self.groups.entry(key).or_default().members.push(id);
        }
        let (phase, why) = (Phase::Launching, String::new());
        self.runs.insert(id, Run { given, phase, kill: None, why, begun: None, refused: false });
        self.alive += 1;
        true
    }

    /// One run.
    pub fn get(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// Its command was executed; false when that is old news, or the run unknown.
    pub fn set_running(&mut self, id: RunId) -> bool {
        match self.runs.get_mut(&id) {
            Some(run) if run.phase == Phase::Launching => {
                run.phase = Phase::Running;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A terminal status is known; false when that is old news, or the run unknown.
    pub fn set_over(&mut self, id: RunId, badly: bool) -> bool {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.phase != Phase::Over) else { return false };
        run.phase = Phase::Over;
        self.alive -= 1;
        if badly
            && let Some(key) = group_key(&run.given)
            && let Some(group) = self.groups.get_mut(&key)
        {
            group.ended_badly = true;
        }
        true
    }

    /// Somebody wants it to end.
    pub fn set_kill(&mut self, id: RunId, kill: Kill, why: String) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.kill = Some(kill);
            run.why = why;
        }
    }

    /// It is not taken on.
    pub fn set_refused(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.refused = true;
        }
    }

    /// It is known when its command was executed.
    pub fn set_begun(&mut self, id: RunId, begun: WallTime) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.begun = Some(begun);
        }
    }

    /// Forgets a run.
    pub fn remove(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        if run.phase != Phase::Over {
            self.alive -= 1;
        }
        if let Some(key) = group_key(&run.given)
            && let Some(group) = self.groups.get_mut(&key)
        {
            group.members.retain(|member| *member != id);
            if group.members.is_empty() {
                self.groups.remove(&key);
            }
        }
        Some(run)
    }

    /// Those of a run's group that must end because one of the group has ended badly.
    pub fn doomed_with(&self, id: RunId) -> Vec<RunId> {
        let group = self
            .runs
            .get(&id)
            .and_then(|run| group_key(&run.given))
            .and_then(|key| self.groups.get(&key))
            .filter(|group| group.ended_badly);
        let doomed = |member: &&RunId| {
            self.runs.get(member).is_some_and(|run| run.phase != Phase::Over && run.kill.is_none())
        };
        group.map(|group| group.members.iter().filter(doomed).copied().collect()).unwrap_or_default()
    }

    /// Whether one of a run's group has ended badly.
    pub fn group_ended_badly(&self, id: RunId) -> bool {
        self.runs
            .get(&id)
            .and_then(|run| group_key(&run.given))
            .and_then(|key| self.groups.get(&key))
            .is_some_and(|group| group.ended_badly)
    }

    /// All runs, by id.
    pub fn iter(&self) -> impl Iterator<Item = (RunId, &Run)> + '_ {
        self.runs.iter().map(|(id, run)| (*id, run))
    }

    /// The ids of all that are not over.
    pub fn alive_ids(&self) -> Vec<RunId> {
        self.iter().filter(|(_, run)| run.phase != Phase::Over).map(|(id, _)| id).collect()
    }

    /// How many are not over.
    pub fn alive(&self) -> usize {
        self.alive
    }

    /// How many are not forgotten.
    pub fn len(&self) -> usize {
        self.runs.len()
    }
}
