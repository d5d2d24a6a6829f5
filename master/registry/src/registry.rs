//! The remembered facts, with the indexes that keep every question short.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proto::caller::Caller;
use proto::id::{AgentId, FrameworkId, OperationId, RunId, TaskId};
use proto::log::{AgentRecord, FrameworkRecord, Restored, RoleRecord, TaskRecord, TokenCreated};
use proto::quota::Quota;
use proto::rights::Rights;
use proto::role::{Role, Weight};
use proto::roster::Roster;

use crate::effect::TaskKey;
use crate::history::History;
use crate::secrets::Secrets;

/// Ended tasks remembered for each framework (Mesos: `max_completed_tasks_per_framework`, 1000).
pub const ENDED_MAX: usize = 1000;
/// Ended frameworks remembered (Mesos: `max_completed_frameworks`, 50).
pub const REMOVED_MAX: usize = 50;
/// Carried-out operations remembered for each framework: far more than a client may have unanswered.
pub const OPERATIONS_MAX: usize = 4096;

/// A framework as remembered, with its operations and ended tasks at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framework {
    /// What is remembered of itself; its `operations` stand in this struct instead.
    pub record: FrameworkRecord,
    pub(crate) operations: BTreeMap<OperationId, u64>,
    pub(crate) operation_order: VecDeque<OperationId>,
    pub(crate) ended: VecDeque<TaskRecord>,
    pub(crate) ended_ids: BTreeSet<TaskId>,
}

/// Everything the log remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    pub(crate) agents: BTreeMap<AgentId, AgentRecord>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) tasks: BTreeMap<TaskKey, TaskRecord>,
    pub(crate) tasks_by_agent: BTreeMap<AgentId, BTreeSet<TaskKey>>,
    pub(crate) by_run: BTreeMap<RunId, TaskKey>,
    pub(crate) roles: BTreeMap<Role, RoleRecord>,
    pub(crate) tokens: BTreeMap<String, TokenCreated>,
    pub(crate) removed: VecDeque<FrameworkRecord>,
    pub(crate) rights: BTreeMap<Caller, Rights>,
    pub(crate) secrets: Secrets,
    pub(crate) history: History,
    pub(crate) restored: Option<Restored>,
    pub(crate) roster: Option<Roster>,
}

// === impl Framework ===

impl Framework {
    pub(crate) fn new(record: FrameworkRecord) -> Self {
        Framework {
            record,
            operations: BTreeMap::new(),
            operation_order: VecDeque::new(),
            ended: VecDeque::new(),
            ended_ids: BTreeSet::new(),
        }
    }

    /// Where in the log this operation was carried out.
    pub fn operation(&self, id: &OperationId) -> Option<u64> {
        self.operations.get(id).copied()
    }

    /// Its ended tasks, oldest first.
    pub fn ended(&self) -> impl DoubleEndedIterator<Item = &TaskRecord> {
        self.ended.iter()
    }

    pub(crate) fn remember_operation(&mut self, id: OperationId, index: u64) {
        if self.operations.insert(id.clone(), index).is_none() {
            self.operation_order.push_back(id);
        }
        while self.operation_order.len() > OPERATIONS_MAX {
            if let Some(oldest) = self.operation_order.pop_front() {
                self.operations.remove(&oldest);
            }
        }
    }

    pub(crate) fn remember_ended(&mut self, task: TaskRecord) {
        self.ended_ids.insert(task.info.id.clone());
        self.ended.push_back(task);
        while self.ended.len() > ENDED_MAX {
            if let Some(oldest) = self.ended.pop_front() {
                self.ended_ids.remove(&oldest.info.id);
            }
        }
    }
}

// === impl Registry ===

impl Registry {
    /// The agents, by id.
    pub fn agents(&self) -> impl Iterator<Item = &AgentRecord> {
        self.agents.values()
    }

    /// One agent.
    pub fn agent(&self, id: &AgentId) -> Option<&AgentRecord> {
        self.agents.get(id)
    }

    /// The frameworks that have not ended, by id.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// One framework that has not ended.
    pub fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id)
    }

    /// Ended frameworks, oldest first.
    pub fn removed_frameworks(&self) -> impl Iterator<Item = &FrameworkRecord> {
        self.removed.iter()
    }

    /// Whether a framework of this id ended and is still remembered.
    pub fn was_removed(&self, id: &FrameworkId) -> bool {
        self.removed.iter().any(|record| record.id == *id)
    }

    /// The tasks that have not ended, by framework and id.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskRecord> {
        self.tasks.values()
    }

    /// One task that has not ended.
    pub fn task(&self, key: &TaskKey) -> Option<&TaskRecord> {
        self.tasks.get(key)
    }

    /// The task of a run that has not ended.
    pub fn task_of_run(&self, run: RunId) -> Option<&TaskRecord> {
        self.by_run.get(&run).and_then(|key| self.tasks.get(key))
    }

    /// The tasks of one framework that have not ended.
    pub fn tasks_of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a TaskRecord> {
        // Ids cannot be empty, so no key of the framework sorts before the first that is really there.
        self.tasks
            .range(first_key(framework)..)
            .take_while(move |((owner, _), _)| owner == framework)
            .map(|(_, record)| record)
    }

    /// The tasks on one agent that have not ended.
    pub fn tasks_on(&self, agent: &AgentId) -> impl Iterator<Item = &TaskRecord> {
        self.tasks_by_agent.get(agent).into_iter().flatten().filter_map(|key| self.tasks.get(key))
    }

    /// How many tasks have not ended.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the framework may not use this task id: it is running under it, or ended and is still remembered.
    pub fn knows_task(&self, framework: &FrameworkId, task: &TaskId) -> bool {
        self.tasks.contains_key(&(framework.clone(), task.clone()))
            || self.frameworks.get(framework).is_some_and(|f| f.ended_ids.contains(task))
    }

    /// Roles that somebody set something of.
    pub fn roles(&self) -> impl Iterator<Item = &RoleRecord> {
        self.roles.values()
    }

    /// The quota of a role; nothing guaranteed and nothing limited if nobody set it.
    pub fn quota(&self, role: &Role) -> Quota {
        self.roles.get(role).map(|record| record.quota.clone()).unwrap_or_default()
    }

    /// The weight of a role.
    pub fn weight(&self, role: &Role) -> Weight {
        self.roles.get(role).map(|record| record.weight).unwrap_or_default()
    }

    /// A join token by its public part.
    pub fn token(&self, id: &str) -> Option<&TokenCreated> {
        self.tokens.get(id)
    }

    /// What a principal may: what somebody said, or what its kind may.
    pub fn rights(&self, principal: &Caller) -> Rights {
        self.rights.get(principal).cloned().unwrap_or_else(|| Rights::of_kind(principal))
    }

    /// Principals of which somebody said what they may.
    pub fn principals(&self) -> impl Iterator<Item = (&Caller, &Rights)> {
        self.rights.iter()
    }

    /// Whether somebody said what this principal may.
    pub fn names_principal(&self, principal: &Caller) -> bool {
        self.rights.contains_key(principal)
    }

    /// The list of masters; `None`: it is that of the founding, which the log does not know.
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    pub(crate) fn insert_task(&mut self, record: TaskRecord) {
        let key = (record.framework.clone(), record.info.id.clone());
        if let Some(run) = record.status.run {
            self.by_run.insert(run, key.clone());
        }
        self.tasks_by_agent.entry(record.agent.clone()).or_default().insert(key.clone());
        self.tasks.insert(key, record);
    }

    pub(crate) fn take_task(&mut self, key: &TaskKey) -> Option<TaskRecord> {
        let record = self.tasks.remove(key)?;
        if let Some(run) = record.status.run {
            self.by_run.remove(&run);
        }
        if let Some(keys) = self.tasks_by_agent.get_mut(&record.agent) {
            keys.remove(key);
            if keys.is_empty() {
                self.tasks_by_agent.remove(&record.agent);
            }
        }
        Some(record)
    }
}

fn first_key(framework: &FrameworkId) -> TaskKey {
    // "!" is the smallest character an id may hold.
    (framework.clone(), TaskId::new("!").unwrap_or_else(|_| unreachable_id()))
}

fn unreachable_id() -> TaskId {
    unreachable!("\"!\" is a well-formed id")
}
