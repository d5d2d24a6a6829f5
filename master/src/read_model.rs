//! The read model: folds what the machine says has changed, serves every list, and feeds every watcher.
//!
//! Readers never ring the machine's doorbell. Sums (what is used and offered of an agent, by a framework, in a role) are
//! kept as changes pass, so that a list costs what it shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::agent::AgentState;
use proto::id::{AgentId, Epoch, FrameworkId, MasterId, OfferId, TaskId};
use proto::operator::{
    AgentView, Event, EventKind, FrameworkView, List, OfferView, RoleView, Snapshot, Status, TaskView, Watch,
};
use proto::quantities::Quantities;
use proto::quota::Quota;
use proto::role::{Role, Weight};
use proto::task::TaskState;
use tokio::sync::broadcast;

use crate::history::History;

/// Events kept for watchers that come back.
const EVENTS_KEPT: usize = 4096;
/// Ended tasks kept for each framework, as the registry does.
const ENDED_KEPT: usize = 1000;

/// The read model of one master.
pub(crate) struct ReadModel {
    state: Mutex<State>,
    news: broadcast::Sender<Arc<Event>>,
    history: History,
}

#[derive(Default)]
struct State {
    agents: BTreeMap<AgentId, AgentView>,
    frameworks: BTreeMap<FrameworkId, FrameworkView>,
    tasks: BTreeMap<(FrameworkId, TaskId), TaskView>,
    ended: BTreeMap<FrameworkId, VecDeque<TaskId>>,
    offers: BTreeMap<OfferId, OfferView>,
    roles: BTreeMap<Role, RoleView>,
    running: u64,
    /// Tasks that have not ended.
    alive: BTreeMap<TaskState, u64>,
    epoch: Epoch,
    leads: bool,
    leader: Option<MasterId>,
    /// Whether it has known a leader since it was started.
    was_led: bool,
    applied: u64,
    sequence: u64,
    kept: VecDeque<Arc<Event>>,
}

/// One batch of changes, folded under one lock.
pub(crate) struct Folded<'a> {
    state: MutexGuard<'a, State>,
    news: &'a broadcast::Sender<Arc<Event>>,
}

/// A change that was folded.
pub(crate) struct Passed {
    /// As watchers are told.
    pub event: Arc<Event>,
    /// Whether a task ended with it.
    pub ended: bool,
    /// Whether this master leads.
    pub leads: bool,
}

/// How many of each there are, and how they stand.
#[derive(Default)]
pub(crate) struct Standing {
    /// Tasks that have not ended.
    pub tasks: BTreeMap<TaskState, u64>,
    /// Agents, in every state they can be in.
    pub agents: BTreeMap<AgentState, u64>,
    /// Frameworks with a session.
    pub frameworks_connected: u64,
    /// Frameworks without one.
    pub frameworks_disconnected: u64,
    /// Open offers.
    pub offers: u64,
    /// As of which index.
    pub applied: u64,
}

/// Where a watcher starts.
pub(crate) struct Watching {
    /// To be told first.
    pub first: Vec<Arc<Event>>,
    /// What comes after.
    pub news: broadcast::Receiver<Arc<Event>>,
}

impl Default for ReadModel {
    fn default() -> Self {
        ReadModel {
            state: Mutex::default(),
            news: broadcast::channel(EVENTS_KEPT).0,
            history: History::default(),
        }
    }
}

// === impl ReadModel ===

impl ReadModel {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while folding ends the machine's thread and so the process: poison is never read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened, as the log tells it.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Opens the model for one batch of changes.
    pub fn fold(&self) -> Folded<'_> {
        Folded { state: self.lock(), news: &self.news }
    }

    /// The index as of which it speaks, whether this master leads, and who does.
    pub fn as_of(&self) -> (u64, bool, Option<MasterId>) {
        let state = self.lock();
        (state.applied, state.leads, state.leader)
    }

    /// Whether it has known a leader since it was started. Until then it knows the log as it stood long ago, if at all.
    pub fn was_led(&self) -> bool {
        self.lock().was_led
    }

    pub fn agents(&self, list: &List) -> Vec<AgentView> {
        let state = self.lock();
        state
            .agents
            .values()
            .filter(|agent| selects(&list.agent, agent.info.id.as_str(), &agent.info.hostname))
            .filter(|agent| list.is_called(agent.info.id.as_str(), &agent.info.hostname))
            .cloned()
            .collect()
    }

    /// Whether an agent was given up, as far as this master knows.
    pub fn is_gone(&self, id: &AgentId) -> bool {
        self.lock().agents.get(id).is_some_and(|agent| agent.state == AgentState::Gone)
    }

    pub fn frameworks(&self, list: &List) -> Vec<FrameworkView> {
        let state = self.lock();
        let all = state.frameworks.values();
        all.filter(|framework| selects(&list.framework, framework.id.as_str(), &framework.info.name))
            .filter(|framework| list.is_called(framework.id.as_str(), &framework.info.name))
            .cloned()
            .collect()
    }

    pub fn tasks(&self, list: &List) -> Vec<TaskView> {
        let state = self.lock();
        let selected = || {
            let all = state.tasks.values();
            all.filter(|task| list.ended || !task.status.state.is_terminal())
                .filter(|task| selects(&list.framework, task.framework.as_str(), &task.framework_name))
                .filter(|task| selects(&list.agent, task.agent.as_str(), &task.hostname))
        };
        // The id of a task may be what a thousand others begin with.
        let is_word = |id: &&str| list.called.iter().any(|word| word == id);
        let ids: BTreeSet<&str> = match list.called.is_empty() {
            true => BTreeSet::new(),
            false => selected().map(|task| task.info.id.as_str()).filter(is_word).collect(),
        };
        let called = |task: &&TaskView| {
            let (id, whose) = (task.info.id.as_str(), task.framework.as_str());
            list.is_called_with(&ids, id, &task.info.name) || list.is_called_in_full(whose, id)
        };
        selected().filter(called).cloned().collect()
    }

    pub fn offers(&self, list: &List) -> Vec<OfferView> {
        let state = self.lock();
        let all = state.offers.values();
        all.filter(|offer| selects(&list.framework, offer.framework.as_str(), &offer.framework_name))
            .filter(|offer| selects(&list.agent, offer.agent.as_str(), &offer.hostname))
            // To write an id costs more than to pass by.
            .filter(|offer| list.called.is_empty() || list.is_called(&offer.id.to_string(), ""))
            .cloned()
            .collect()
    }

    pub fn roles(&self, list: &List) -> Vec<RoleView> {
        let mut roles = self.lock().all_roles();
        roles.retain(|view| list.is_called(view.role.as_str(), ""));
        roles
    }

    /// Who registered each framework.
    pub fn owners(&self) -> BTreeMap<FrameworkId, String> {
        let state = self.lock();
        state.frameworks.values().map(|known| (known.id.clone(), known.principal.clone())).collect()
    }

    /// Who registered a framework; empty if that is not known.
    pub fn owner(&self, framework: &FrameworkId) -> String {
        self.lock().frameworks.get(framework).map(|known| known.principal.clone()).unwrap_or_default()
    }

    /// One task.
    pub fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<TaskView> {
        self.lock().tasks.get(&(framework.clone(), task.clone())).cloned()
    }

    /// How the cluster is, apart from the masters.
    pub fn status(&self) -> Status {
        let state = self.lock();
        let mut status = Status { tasks_running: state.running, ..Status::default() };
        for agent in state.agents.values() {
            match agent.state {
                AgentState::Active => {
                    status.agents_active += 1;
                    status.total.add(&agent.total.quantities());
                }
                AgentState::Disconnected | AgentState::Unreachable => status.agents_lost += 1,
                AgentState::Gone => {}
            }
            status.used.add(&agent.used);
        }
        for framework in state.frameworks.values() {
            if framework.connected {
                status.frameworks_connected += 1;
            } else {
                status.frameworks_disconnected += 1;
            }
        }
        status
    }

    /// How many of each there are.
    pub fn standing(&self) -> Standing {
        let state = self.lock();
        let mut standing = Standing {
            tasks: state.alive.clone(),
            offers: state.offers.len() as u64,
            applied: state.applied,
            ..Standing::default()
        };
        // Named even where there is none: whoever plots it wants a zero.
        for known in [AgentState::Active, AgentState::Disconnected, AgentState::Unreachable, AgentState::Gone]
        {
            standing.agents.insert(known, 0);
        }
        for agent in state.agents.values() {
            *standing.agents.entry(agent.state).or_default() += 1;
        }
        for framework in state.frameworks.values() {
            let count = match framework.connected {
                true => &mut standing.frameworks_connected,
                false => &mut standing.frameworks_disconnected,
            };
            *count += 1;
        }
        standing
    }

    /// Starts a watcher: after the event it names if that is still kept, else from a snapshot.
    pub fn watch(&self, from: Watch) -> Watching {
        let state = self.lock();
        // Subscribed under the lock: nothing falls between what is told first and what comes after.
        let news = self.news.subscribe();
        let missed =
            state.sequence.checked_sub(from.sequence).and_then(|missed| usize::try_from(missed).ok());
        let resumes = state.leads && from.epoch == state.epoch && from.sequence > 0;
        let first = match missed.filter(|missed| resumes && *missed <= state.kept.len()) {
            Some(missed) => state.kept.iter().skip(state.kept.len() - missed).cloned().collect(),
            None => vec![Arc::new(state.snapshot_event())],
        };
        Watching { first, news }
    }
}

/// Whether an empty text, an id or a name selects a thing.
fn selects(wanted: &str, id: &str, name: &str) -> bool {
    wanted.is_empty() || wanted == id || wanted == name
}

// === impl Folded ===

impl Folded<'_> {
    /// One change.
    pub fn changed(&mut self, kind: EventKind) -> Passed {
        let state = &mut *self.state;
        let mut ended = false;
        let kind = match kind {
            EventKind::Snapshot(snapshot) => {
                state.replace(snapshot);
                EventKind::Snapshot(state.snapshot())
            }
            EventKind::AgentChanged(view) => EventKind::AgentChanged(state.put_agent(view)),
            EventKind::FrameworkChanged(view) => EventKind::FrameworkChanged(state.put_framework(view)),
            EventKind::FrameworkRemoved(id) => {
                state.remove_framework(&id);
                EventKind::FrameworkRemoved(id)
            }
            EventKind::TaskChanged(view) => {
                ended = state.put_task(view.clone());
                EventKind::TaskChanged(view)
            }
            EventKind::OfferMade(view) => {
                state.put_offer(view.clone());
                EventKind::OfferMade(view)
            }
            EventKind::OfferEnded(over) => {
                state.end_offer(over.offer);
                EventKind::OfferEnded(over)
            }
            EventKind::RoleChanged(view) => EventKind::RoleChanged(state.put_role(view)),
        };
        state.sequence += 1;
        let event = Arc::new(Event { epoch: state.told_as(), sequence: state.sequence, kind });
        state.kept.push_back(event.clone());
        if state.kept.len() > EVENTS_KEPT {
            state.kept.pop_front();
        }
        let _ = self.news.send(event.clone());
        Passed { event, ended, leads: state.leads }
    }

    /// The part this master plays has changed: a new stream of events begins.
    pub fn part(&mut self, term: u64, leads: bool, leader: Option<MasterId>) {
        let state = &mut *self.state;
        if state.epoch != Epoch(term) || state.leads != leads {
            state.kept.clear();
        }
        state.epoch = Epoch(term);
        state.leads = leads;
        state.leader = leader;
        state.was_led |= leads || leader.is_some();
    }

    /// The registry stands at this index now.
    pub fn applied(&mut self, index: u64) {
        self.state.applied = index;
    }
}

// === impl State ===

impl State {
    fn replace(&mut self, snapshot: Snapshot) {
        let (epoch, leads, leader, was_led) = (self.epoch, self.leads, self.leader, self.was_led);
        let (applied, sequence, kept) = (self.applied, self.sequence, std::mem::take(&mut self.kept));
        *self = State { epoch, leads, leader, was_led, applied, sequence, kept, ..State::default() };
        snapshot.roles.into_iter().for_each(|view| drop(self.put_role(view)));
        snapshot.agents.into_iter().for_each(|view| drop(self.put_agent(view)));
        snapshot.frameworks.into_iter().for_each(|view| drop(self.put_framework(view)));
        for view in snapshot.tasks {
            self.put_task(view);
        }
        snapshot.offers.into_iter().for_each(|view| self.put_offer(view));
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            agents: self.agents.values().cloned().collect(),
            frameworks: self.frameworks.values().cloned().collect(),
            tasks: self.tasks.values().cloned().collect(),
            offers: self.offers.values().cloned().collect(),
            roles: self.all_roles(),
        }
    }

    fn snapshot_event(&self) -> Event {
        Event { epoch: self.told_as(), sequence: self.sequence, kind: EventKind::Snapshot(self.snapshot()) }
    }

    /// Whose numbers they are. Each master counts its own, so only a leader's can be gone on with: of what a follower tells
    /// in the same term the next master must begin anew.
    fn told_as(&self) -> Epoch {
        if self.leads { self.epoch } else { Epoch(0) }
    }

    fn all_roles(&self) -> Vec<RoleView> {
        let mut roles: Vec<RoleView> = self.roles.values().cloned().collect();
        for view in &mut roles {
            let takes = |f: &&FrameworkView| f.info.roles.contains(&view.role);
            view.frameworks = self.frameworks.values().filter(takes).count() as u64;
            for agent in self.agents.values() {
                let reserved = |p: &&proto::resources::Portion| {
                    p.reservation.as_ref().is_some_and(|role| role.is_within(&view.role))
                };
                agent
                    .total
                    .portions()
                    .iter()
                    .filter(reserved)
                    .for_each(|p| view.reserved.add(&p.amount.scalars));
            }
        }
        roles
    }

    fn put_agent(&mut self, mut view: AgentView) -> AgentView {
        if let Some(old) = self.agents.get(&view.info.id) {
            (view.used, view.offered, view.tasks) = (old.used.clone(), old.offered.clone(), old.tasks);
        }
        self.agents.insert(view.info.id.clone(), view.clone());
        view
    }

    fn put_framework(&mut self, mut view: FrameworkView) -> FrameworkView {
        if let Some(old) = self.frameworks.get(&view.id) {
            (view.used, view.offered, view.tasks) = (old.used.clone(), old.offered.clone(), old.tasks);
        }
        for role in &view.info.roles {
            self.roles.entry(role.clone()).or_insert_with(|| plain_role(role.clone()));
        }
        self.frameworks.insert(view.id.clone(), view.clone());
        view
    }

    fn put_role(&mut self, mut view: RoleView) -> RoleView {
        if let Some(old) = self.roles.get(&view.role) {
            (view.used, view.offered) = (old.used.clone(), old.offered.clone());
        }
        self.roles.insert(view.role.clone(), view.clone());
        view
    }

    fn remove_framework(&mut self, id: &FrameworkId) {
        self.frameworks.remove(id);
        for task in self.ended.remove(id).unwrap_or_default() {
            self.tasks.remove(&(id.clone(), task));
        }
    }

    /// Whether it ended with that.
    fn put_task(&mut self, view: TaskView) -> bool {
        let key = (view.framework.clone(), view.info.id.clone());
        if let Some(old) = self.tasks.get(&key).filter(|old| !old.status.state.is_terminal())
            && let Some(count) = self.alive.get_mut(&old.status.state)
        {
            *count = count.saturating_sub(1);
        }
        if !view.status.state.is_terminal() {
            *self.alive.entry(view.status.state).or_default() += 1;
        }
        let was = self.tasks.get(&key).map(|old| (!old.status.state.is_terminal(), counts_as_running(old)));
        let (was_alive, was_running) = was.unwrap_or((false, false));
        let (alive, running) = (!view.status.state.is_terminal(), counts_as_running(&view));
        if alive != was_alive {
            let quantities = view.info.resources.quantities();
            let book = if alive { book_in } else { book_out };
            if let Some(agent) = self.agents.get_mut(&view.agent) {
                book(&mut agent.used, &quantities, &mut agent.tasks);
            }
            if let Some(framework) = self.frameworks.get_mut(&view.framework) {
                book(&mut framework.used, &quantities, &mut framework.tasks);
            }
            let mut ignored = 1;
            self.for_role_and_above(&view.role, |role| book(&mut role.used, &quantities, &mut ignored));
        }
        self.running =
            self.running + u64::from(running) - u64::from(was_running).min(self.running + u64::from(running));
        if !alive && (was_alive || was.is_none()) {
            if !self.frameworks.contains_key(&view.framework) {
                self.tasks.remove(&key);
                return was_alive;
            }
            let ended = self.ended.entry(view.framework.clone()).or_default();
            ended.push_back(view.info.id.clone());
            if ended.len() > ENDED_KEPT
                && let Some(oldest) = ended.pop_front()
            {
                self.tasks.remove(&(view.framework.clone(), oldest));
            }
        }
        self.tasks.insert(key, view);
        was_alive && !alive
    }

    fn put_offer(&mut self, view: OfferView) {
        let quantities = view.resources.quantities();
        if let Some(agent) = self.agents.get_mut(&view.agent) {
            agent.offered.add(&quantities);
        }
        if let Some(framework) = self.frameworks.get_mut(&view.framework) {
            framework.offered.add(&quantities);
        }
        self.for_role_and_above(&view.role, |role| role.offered.add(&quantities));
        self.offers.insert(view.id, view);
    }

    fn end_offer(&mut self, id: OfferId) {
        let Some(view) = self.offers.remove(&id) else { return };
        let quantities = view.resources.quantities();
        if let Some(agent) = self.agents.get_mut(&view.agent) {
            agent.offered = agent.offered.saturating_sub(&quantities);
        }
        if let Some(framework) = self.frameworks.get_mut(&view.framework) {
            framework.offered = framework.offered.saturating_sub(&quantities);
        }
        self.for_role_and_above(&view.role, |role| role.offered = role.offered.saturating_sub(&quantities));
    }

    fn for_role_and_above(&mut self, role: &Role, mut change: impl FnMut(&mut RoleView)) {
        let mut next = Some(role.clone());
        while let Some(role) = next {
            next = role.parent();
            change(self.roles.entry(role.clone()).or_insert_with(|| plain_role(role)));
        }
    }
}

/// A role of which nobody set anything.
pub(crate) fn plain_role(role: Role) -> RoleView {
    RoleView {
        role,
        weight: Weight::default(),
        quota: Quota::default(),
        used: Quantities::ZERO,
        offered: Quantities::ZERO,
        reserved: Quantities::ZERO,
        frameworks: 0,
    }
}

fn counts_as_running(view: &TaskView) -> bool {
    matches!(view.status.state, TaskState::Running | TaskState::Killing)
}

fn book_in(sum: &mut Quantities, quantities: &Quantities, count: &mut u64) {
    sum.add(quantities);
    *count += 1;
}

fn book_out(sum: &mut Quantities, quantities: &Quantities, count: &mut u64) {
    *sum = sum.saturating_sub(quantities);
    *count = count.saturating_sub(1);
}

#[cfg(test)]
#[path = "read_model/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "read_model/roles_tests.rs"]
mod roles_tests;
