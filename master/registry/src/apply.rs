//! One function for each durable change; deterministic, and total: an entry that does not fit any more changes nothing.

use std::sync::Arc;

use proto::agent::{AgentInfo, AgentState};
use proto::caller::Caller;
use proto::id::{AgentId, FrameworkId, RunId};
use proto::log::{
    Accepted, AgentDrained, AgentRecord, Entry, FrameworkDisconnected, FrameworkRecord, FrameworkRegistered,
    KillWanted, QuotaSet, RightsSet, RoleRecord, TaskAdopted, TaskEnded, TaskRecord, TokenCreated, WeightSet,
};
use proto::operation::Operation;
use proto::operator::{Drain, TokenKind};
use proto::quota::Quota;
use proto::role::{Role, Weight};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};

use crate::effect::{Effect, TaskKey};
use crate::registry::{Framework, REMOVED_MAX, Registry};
use crate::total::{lacking_volume, rebased};

/// What became of one launch.
enum Launched {
    /// It is to run.
    Runs(TaskKey),
    /// It ended at once.
    Dropped(Box<TaskRecord>),
}

/// Where and when an entry stands in the log.
struct Place<'a> {
    index: u64,
    at_ms: u64,
    /// Launches so far of this index: makes the ids of runs.
    ordinal: &'a mut u64,
}

impl Registry {
    /// Applies one entry of the batch at `index`. `ordinal` counts the launches of that index and is zero at its start.
    pub fn apply(&mut self, index: u64, at_ms: u64, ordinal: &mut u64, entry: Entry) -> Effect {
        let told = self.told(&entry);
        let effect = self.carry_out(Place { index, at_ms, ordinal }, entry);
        self.tell(index, at_ms, told, &effect);
        effect
    }

    fn carry_out(&mut self, place: Place<'_>, entry: Entry) -> Effect {
        let at_ms = place.at_ms;
        match entry {
            Entry::AgentAdmitted(info) => self.admit_agent(info, at_ms),
            Entry::AgentUnreachable(id) => self.lose_agent(&id, at_ms),
            Entry::AgentGone(id) => self.give_agent_up(&id, at_ms),
            Entry::FrameworkRegistered(inner) => self.register_framework(inner, at_ms),
            Entry::FrameworkDisconnected(inner) => self.disconnect_framework(inner, at_ms),
            Entry::FrameworkReconnected(id) => self.reconnect_framework(&id, at_ms),
            Entry::FrameworkRemoved(id) => self.remove_framework(&id, at_ms),
            Entry::Accepted(inner) => self.accept(inner, place),
            Entry::TaskEnded(inner) => self.end_task(inner),
            Entry::KillWanted(inner) => self.want_kill(inner),
            Entry::TaskAdopted(inner) => self.adopt_task(inner, at_ms),
            Entry::QuotaSet(inner) => self.set_quota(inner),
            Entry::WeightSet(inner) => self.set_weight(inner),
            Entry::TokenCreated(inner) => self.create_token(inner, at_ms),
            Entry::TokenUsed(id) => self.use_token(&id),
            Entry::VolumesForgotten(inner) => self.forget_volumes(&inner),
            Entry::RightsSet(inner) => self.set_rights(inner),
            Entry::AgentDrained(inner) => self.drain_agent(inner, at_ms),
            Entry::AgentResumed(id) => self.resume_agent(&id),
            Entry::AgentOperated(inner) => self.operate_agent(&inner, place.index),
            Entry::MastersChanged(inner) => self.change_masters(inner, place.index),
            Entry::MastersSettled(version) => self.settle_masters(version, place.index),
            Entry::SecretSet(inner) => self.set_secret(inner, at_ms),
            Entry::SecretRemoved(inner) => self.remove_secret(&inner),
        }
    }

    // === agents ===

    fn admit_agent(&mut self, info: AgentInfo, at_ms: u64) -> Effect {
        let awaited = self.agents.get(&info.id).is_some_and(|record| self.is_awaited(record));
        // Never the moment of the restoring itself, however clocks stand.
        let now_ms = self.restored.map_or(at_ms, |restored| at_ms.max(restored.at_ms.saturating_add(1)));
        match self.agents.get_mut(&info.id) {
            Some(record) if record.state == AgentState::Gone => Effect::Nothing,
            Some(record) => {
                if record.state != AgentState::Active || awaited {
                    record.since_ms = now_ms;
                }
                record.total = rebased(record, &info.resources);
                record.state = AgentState::Active;
                record.info = info;
                Effect::Done
            }
            None => {
                let total = info.resources.clone();
                let id = info.id.clone();
                let record = AgentRecord {
                    info,
                    state: AgentState::Active,
                    total,
                    since_ms: now_ms,
                    volumes: Vec::new(),
                    destroyed: Vec::new(),
                    last_birth: 0,
                    drain: None,
                };
                self.agents.insert(id, record);
                Effect::Done
            }
        }
    }

    fn lose_agent(&mut self, id: &AgentId, at_ms: u64) -> Effect {
        let Some(record) = self.agents.get_mut(id).filter(|record| record.state == AgentState::Active) else {
            return Effect::Nothing;
        };
        record.state = AgentState::Unreachable;
        record.since_ms = at_ms;
        let keys: Vec<TaskKey> = self.tasks_by_agent.get(id).into_iter().flatten().cloned().collect();
        Effect::OutOfSight(keys)
    }

    fn give_agent_up(&mut self, id: &AgentId, at_ms: u64) -> Effect {
        let Some(record) = self.agents.get_mut(id).filter(|record| record.state != AgentState::Gone) else {
            return Effect::Nothing;
        };
        record.state = AgentState::Gone;
        record.drain = None;
        record.since_ms = at_ms;
        // It never comes back into the pool, so nobody can ever use them again.
        record.destroyed.extend(record.volumes.drain(..).map(|known| known.volume));
        let keys: Vec<TaskKey> = self.tasks_by_agent.get(id).into_iter().flatten().cloned().collect();
        let mut ended = Vec::with_capacity(keys.len());
        for (framework, task) in keys {
            let mut status = TaskStatus::by_master(
                task,
                TaskState::GoneByOperator,
                StatusReason::AgentGone,
                "an operator said that the agent is gone",
                at_ms,
            );
            status.agent = Some(id.clone());
            if let Effect::Ended(records) = self.end_task(TaskEnded { framework, status }) {
                ended.extend(records);
            }
        }
        Effect::Ended(ended)
    }

    fn drain_agent(&mut self, inner: AgentDrained, at_ms: u64) -> Effect {
        let record = self.agents.get_mut(&inner.agent).filter(|record| record.state != AgentState::Gone);
        let Some(record) = record else { return Effect::Nothing };
        // One that is draining and gets another deadline goes on.
        let since_ms = record.drain.as_ref().map_or(at_ms, |drain| drain.since_ms);
        record.drain = Some(Drain { since_ms, ..inner.drain });
        Effect::Done
    }

    fn resume_agent(&mut self, id: &AgentId) -> Effect {
        match self.agents.get_mut(id).and_then(|record| record.drain.take()) {
            Some(_) => Effect::Done,
            None => Effect::Nothing,
        }
    }

    // === frameworks ===

    fn register_framework(&mut self, inner: FrameworkRegistered, at_ms: u64) -> Effect {
        let FrameworkRegistered { id, info, principal, fence } = inner;
        if self.was_removed(&id) {
            // Proposed while it could still come back, and committed behind its end: that id is dead.
            return Effect::Nothing;
        }
        match self.frameworks.get_mut(&id) {
            Some(framework) if fence < framework.record.fence => {
                return Effect::Fenced(framework.record.fence);
            }
            Some(framework) => {
                framework.record.info = info;
                framework.record.deadline_ms = 0;
                framework.record.fence = fence;
            }
            None => {
                let record = FrameworkRecord {
                    id: id.clone(),
                    info,
                    principal,
                    deadline_ms: 0,
                    since_ms: at_ms,
                    operations: Vec::new(),
                    fence,
                };
                self.frameworks.insert(id, Framework::new(record));
            }
        }
        Effect::Done
    }

    fn disconnect_framework(&mut self, inner: FrameworkDisconnected, at_ms: u64) -> Effect {
        let Some(framework) = self.frameworks.get_mut(&inner.framework) else { return Effect::Nothing };
        framework.record.deadline_ms = inner.deadline_ms;
        framework.record.since_ms = at_ms;
        Effect::Done
    }

    fn reconnect_framework(&mut self, id: &FrameworkId, at_ms: u64) -> Effect {
        let Some(framework) = self.frameworks.get_mut(id) else { return Effect::Nothing };
        framework.record.deadline_ms = 0;
        framework.record.since_ms = at_ms;
        Effect::Done
    }

    fn remove_framework(&mut self, id: &FrameworkId, at_ms: u64) -> Effect {
        let Some(framework) = self.frameworks.remove(id) else { return Effect::Nothing };
        let mut record = framework.record;
        record.since_ms = at_ms;
        self.removed.push_back(record);
        while self.removed.len() > REMOVED_MAX {
            self.removed.pop_front();
        }
        let keys: Vec<TaskKey> = self.tasks_of(id).map(|task| (id.clone(), task.info.id.clone())).collect();
        for key in &keys {
            if let Some(task) = self.tasks.get_mut(key) {
                task.kill_grace = Some(task.info.kill_grace);
            }
        }
        Effect::ToKill(keys)
    }

    // === tasks ===

    fn accept(&mut self, inner: Accepted, place: Place<'_>) -> Effect {
        let Some(framework) = self.frameworks.get_mut(&inner.framework) else { return Effect::Nothing };
        if let Some(index) = framework.operation(&inner.operation) {
            return Effect::Repeated(index);
        }
        framework.remember_operation(inner.operation, place.index);
        let Place { index, at_ms, ordinal } = place;
        let (mut runs, mut dropped) = (Vec::new(), Vec::new());
        for part in inner.parts {
            let owner = (&inner.framework, &part.agent, &part.role);
            let mut launch = |registry: &mut Registry, task: TaskInfo| {
                let run = RunId::at(index, *ordinal);
                *ordinal += 1;
                match registry.launch(owner, task, run, at_ms) {
                    Some(Launched::Runs(key)) => runs.push((key, run)),
                    Some(Launched::Dropped(record)) => dropped.push(*record),
                    None => {}
                }
            };
            for operation in part.operations {
                match operation {
                    Operation::Launch(inner) => inner.tasks.into_iter().for_each(|task| launch(self, task)),
                    Operation::LaunchGroup(inner) => {
                        for mut task in inner.tasks {
                            task.group = Some(inner.group.clone());
                            launch(self, task);
                        }
                    }
                    Operation::Reserve(_)
                    | Operation::Unreserve(_)
                    | Operation::CreateVolume(_)
                    // What does not fit any more is left out.
                    | Operation::DestroyVolume(_) => drop(self.transform(&part.agent, &operation, index)),
                }
            }
        }
        Effect::Launched { runs, dropped }
    }

    fn launch(
        &mut self,
        (framework, agent, role): (&FrameworkId, &AgentId, &Role),
        info: TaskInfo,
        run: RunId,
        at_ms: u64,
    ) -> Option<Launched> {
        if self.knows_task(framework, &info.id) {
            return None;
        }
        // Nobody would ever report the end of a task on an agent that was lost before it in the log.
        let lost = || format!("agent {agent} was lost before this was committed");
        let void = match self.agents.get(agent) {
            Some(record) => match record.state {
                AgentState::Active | AgentState::Disconnected => lacking_volume(record, &info.resources),
                AgentState::Unreachable => Some((StatusReason::AgentUnreachable, lost())),
                AgentState::Gone => Some((StatusReason::AgentGone, lost())),
            },
            None => Some((StatusReason::AgentGone, lost())),
        };
        let is_void = void.is_some();
        let (state, reason, message) = match void {
            None => (TaskState::Staging, StatusReason::None, String::new()),
            Some((reason, message)) => (TaskState::Dropped, reason, message),
        };
        let mut status = TaskStatus::by_master(info.id.clone(), state, reason, &message, at_ms);
        status.agent = Some(agent.clone());
        status.run = Some(run);
        let record = TaskRecord {
            framework: framework.clone(),
            agent: agent.clone(),
            role: role.clone(),
            info: Arc::new(info),
            status,
            accepted_ms: at_ms,
            kill_grace: None,
        };
        if is_void {
            if let Some(framework) = self.frameworks.get_mut(framework) {
                framework.remember_ended(record.clone());
            }
            return Some(Launched::Dropped(Box::new(record)));
        }
        let key = (record.framework.clone(), record.info.id.clone());
        self.insert_task(record);
        Some(Launched::Runs(key))
    }

    fn end_task(&mut self, inner: TaskEnded) -> Effect {
        let key = (inner.framework, inner.status.task.clone());
        // An update of an earlier run of the same id must not end the present one.
        let same_run = self
            .tasks
            .get(&key)
            .is_some_and(|task| inner.status.run.is_none() || task.status.run == inner.status.run);
        if !same_run || !inner.status.state.is_terminal() {
            return Effect::Nothing;
        }
        let Some(mut record) = self.take_task(&key) else { return Effect::Nothing };
        let run = record.status.run;
        record.status = inner.status;
        record.status.run = run;
        if let Some(framework) = self.frameworks.get_mut(&key.0) {
            framework.remember_ended(record.clone());
        }
        Effect::Ended(vec![record])
    }

    fn want_kill(&mut self, inner: KillWanted) -> Effect {
        let key = (inner.framework, inner.task);
        let Some(task) = self.tasks.get_mut(&key) else { return Effect::Nothing };
        task.kill_grace = Some(inner.grace);
        Effect::ToKill(vec![key])
    }

    fn adopt_task(&mut self, inner: TaskAdopted, at_ms: u64) -> Effect {
        let known = inner.status.run.is_none_or(|run| self.by_run.contains_key(&run));
        let there = self.agents.get(&inner.agent).is_some_and(|agent| agent.state == AgentState::Active)
            && self.frameworks.contains_key(&inner.framework);
        if known
            || !there
            || self.knows_task(&inner.framework, &inner.task.id)
            || inner.status.state.is_terminal()
        {
            return Effect::Nothing;
        }
        let role = self
            .frameworks
            .get(&inner.framework)
            .and_then(|framework| framework.record.info.roles.first().cloned())
            .unwrap_or_else(Role::default_role);
        let key = (inner.framework.clone(), inner.task.id.clone());
        self.insert_task(TaskRecord {
            framework: inner.framework,
            agent: inner.agent,
            role,
            info: Arc::new(inner.task),
            status: inner.status,
            accepted_ms: at_ms,
            kill_grace: None,
        });
        let run = self.tasks.get(&key).and_then(|task| task.status.run);
        Effect::Launched { runs: run.map(|run| (key, run)).into_iter().collect(), dropped: Vec::new() }
    }

    // === roles and tokens ===

    fn role_mut(&mut self, role: &Role) -> &mut RoleRecord {
        self.roles.entry(role.clone()).or_insert_with(|| RoleRecord {
            role: role.clone(),
            weight: Weight::default(),
            quota: Quota::default(),
        })
    }

    fn set_quota(&mut self, inner: QuotaSet) -> Effect {
        self.role_mut(&inner.role).quota = inner.quota;
        Effect::Done
    }

    fn set_weight(&mut self, inner: WeightSet) -> Effect {
        self.role_mut(&inner.role).weight = inner.weight;
        Effect::Done
    }

    fn create_token(&mut self, inner: TokenCreated, at_ms: u64) -> Effect {
        self.tokens.retain(|_, token| token.expires_ms > at_ms && token.uses > 0);
        self.tokens.insert(inner.id.clone(), inner);
        Effect::Done
    }

    fn use_token(&mut self, id: &str) -> Effect {
        let Some(token) = self.tokens.get_mut(id) else { return Effect::Nothing };
        token.uses = token.uses.saturating_sub(1);
        let granted = match token.kind {
            TokenKind::Framework => token.rights.clone().map(|rights| (token.name.clone(), rights)),
            TokenKind::Agent | TokenKind::Master | TokenKind::User => None,
        };
        if token.uses == 0 {
            self.tokens.remove(id);
        }
        let Some((name, rights)) = granted else { return Effect::Done };
        let principal = Caller::Framework(name);
        self.rights.insert(principal.clone(), rights);
        Effect::Granted(principal)
    }

    fn set_rights(&mut self, inner: RightsSet) -> Effect {
        match inner.rights {
            Some(rights) => drop(self.rights.insert(inner.principal, rights)),
            None => drop(self.rights.remove(&inner.principal)),
        }
        Effect::Done
    }
}
