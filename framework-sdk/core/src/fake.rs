//! `Fake`: a master, its log and its agents in one small struct, for tests of frameworks.
//!
//! It keeps what matters to a framework: an answered accept is never forgotten, an operation id is carried out once,
//! each task's updates come one at a time until acknowledged, a new leader knows tasks and answers and nothing else.

mod agents;
mod mishaps;
pub(crate) mod offers;
mod state;
mod task;
mod updates;
mod volumes;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::demand::Demand;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, Epoch, FrameworkId, OfferId, OperationId, RunId, TaskId, VolumeId};
use proto::operation::Operation;
use proto::refusal::{Code, Refusal};
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{
    Accept, Answer, Call, CallKind, Event, EventKind, Fault, Outcome, Redirect, Rescind, RescindReason,
    Resume, Subscribe, Subscribed,
};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};

pub use mishaps::Mishap;
use mishaps::Mishaps;
pub use state::{FakeState, FakeWatch};
pub use task::Task;
pub use wishes::Wish;

/// Says of a call whether it is meant.
pub type WhichCall = fn(&CallKind) -> bool;

/// A pretend master with pretend agents.
#[derive(Debug, Default)]
pub struct Fake {
    epoch: u64,
    index: u64,
    offer_numbers: u64,
    framework: Option<FrameworkId>,
    removed: bool,
    /// The latest instance of the framework.
    fence: u64,
    connected: bool,
    roles: Vec<Role>,
    info: Option<FrameworkInfo>,
    suppressed: BTreeSet<Role>,
    agents: BTreeMap<AgentId, Agent>,
    offers: BTreeMap<OfferId, (AgentId, Resources)>,
    tasks: BTreeMap<TaskId, Task>,
    answers: BTreeMap<OperationId, Outcome>,
    /// `None`: plain offers.
    demands: Option<Vec<Demand>>,
    history: Vec<Event>,
    sequence: u64,
    outbox: VecDeque<Event>,
    /// Tasks of accepts that the log takes in only with its next entry.
    late: BTreeSet<TaskId>,
    /// Every task start that was accepted, in order.
    pub accepted: Vec<TaskId>,
    /// Tasks whose id was launched a second time: must stay empty.
    pub doubled: Vec<TaskId>,
    /// Operation ids seen with two different calls: must stay empty.
    pub reused: Vec<OperationId>,
    calls: BTreeMap<OperationId, CallKind>,
    mishaps: Mishaps,
    wishes: VecDeque<Wish>,
    /// Tasks that were declared unreachable, and whether they were killed since: that is done once they are seen again.
    out_of_sight: BTreeMap<TaskId, bool>,
    /// Volumes that are not offered.
    hidden: BTreeSet<VolumeId>,
    /// Kills are wishes for whoever plays the agents, and not done at once.
    pub kills_take_time: bool,
    /// The next call of a kind is refused with this.
    pub refuse_next: Option<(WhichCall, Refusal)>,
}

#[derive(Debug)]
struct Agent {
    info: Arc<AgentInfo>,
    free: Resources,
    /// The master does not hear it.
    away: bool,
    /// Others have what is free of it.
    withheld: bool,
    /// An operator wants it empty.
    drain: Option<agents::Drain>,
}

// === impl Fake ===

impl Fake {
    /// A master in its first term, without agents.
    pub fn new() -> Self {
        Fake { epoch: 1, ..Fake::default() }
    }

    /// An agent joins.
    pub fn add_agent(&mut self, info: AgentInfo) {
        let free = info.resources.clone();
        self.agents.insert(
            info.id.clone(),
            Agent { info: Arc::new(info), free, away: false, withheld: false, drain: None },
        );
    }

    /// Nothing more of an agent is offered, as if others had it.
    pub fn withhold(&mut self, agent: &str) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.withheld = true;
        }
    }

    /// The task, as its agent has it.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.tasks.iter()
    }

    /// The term of the leader.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// What the framework says it wants; empty without demands.
    pub fn demands(&self) -> &[Demand] {
        self.demands.as_deref().unwrap_or_default()
    }

    /// The next event for the framework.
    pub fn next_event(&mut self) -> Option<Event> {
        self.outbox.pop_front()
    }

    /// The session broke: what was on its way is lost, offers come back.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.outbox.clear();
        self.mishaps.clear();
        self.rescind_all(RescindReason::Operator);
    }

    /// Another leader: the log is kept, memory is not.
    pub fn elect(&mut self) {
        self.disconnect();
        self.epoch += 1;
        self.history.clear();
        self.sequence = 0;
        self.demands = None;
    }

    fn void_offers(&mut self) {
        for (_, (agent, resources)) in std::mem::take(&mut self.offers) {
            self.give_back(&agent, &resources);
        }
    }

    fn give_back(&mut self, agent: &AgentId, resources: &Resources) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.free.add(resources);
        }
    }

    /// Takes offers back.
    pub fn rescind_all(&mut self, reason: RescindReason) {
        let ids: Vec<OfferId> = self.offers.keys().copied().collect();
        self.void_offers();
        for offer in ids {
            self.tell(EventKind::Rescind(Rescind { offer, reason }));
        }
    }

    fn tell(&mut self, kind: EventKind) {
        if self.framework.is_none() {
            return;
        }
        for (kind, lost) in self.mishaps.pass(kind) {
            self.say(kind, lost);
        }
    }

    fn say(&mut self, kind: EventKind, lost: bool) {
        self.sequence += 1;
        let event = Event { sequence: self.sequence, kind };
        self.history.push(event.clone());
        if self.connected && !lost {
            self.outbox.push_back(event);
        }
    }

    fn tell_aside(&mut self, kind: EventKind) {
        self.outbox.push_back(Event { sequence: 0, kind });
    }

    /// Says that it is there.
    pub fn heartbeat(&mut self) {
        if self.connected {
            self.tell_aside(EventKind::Heartbeat);
        }
    }

    /// Says something that only a broken master would say.
    pub fn inject(&mut self, event: Event) {
        self.outbox.push_back(event);
    }

    /// Sends the framework elsewhere.
    pub fn redirect(&mut self, leader: &str) {
        self.tell_aside(EventKind::Redirect(Redirect { leader_address: leader.to_owned() }));
        self.connected = false;
    }

    /// Ends the session for good.
    pub fn fault(&mut self, code: Code) {
        self.tell_aside(EventKind::Fault(Fault { refusal: Refusal::new(code, "as the test wants") }));
        self.connected = false;
    }

    /// A call of the framework.
    pub fn hear(&mut self, call: Call) {
        if let CallKind::Subscribe(subscribe) = call.kind {
            self.subscribe(subscribe);
            return;
        }
        if !self.connected {
            return;
        }
        let outcome = match call.kind {
            CallKind::Subscribe(_) | CallKind::Heartbeat => return,
            CallKind::Acknowledge(acknowledge) => {
                self.acknowledge(&acknowledge.task, acknowledge.run, acknowledge.sequence);
                return;
            }
            kind => {
                let Some(operation) = call.operation else { return };
                if self.calls.get(&operation).is_some_and(|known| *known != kind) {
                    self.reused.push(operation.clone());
                }
                self.calls.insert(operation.clone(), kind.clone());
                let known = self.answers.get(&operation).cloned();
                let outcome = known.unwrap_or_else(|| self.carry_out(kind));
                let passing =
                    matches!(&outcome, Outcome::Refused(refusal) if refusal.code == Code::LeaderLost);
                if !passing {
                    self.answers.insert(operation.clone(), outcome.clone());
                }
                (operation, outcome)
            }
        };
        self.tell(EventKind::Answer(Answer { operation: outcome.0, outcome: outcome.1 }));
    }

    /// Why this asks for a session in vain, if it does.
    pub fn turns_away(&self, subscribe: &Subscribe) -> Option<Refusal> {
        let code = if self.removed {
            Code::FrameworkRemoved
        } else if subscribe.id.is_some() && subscribe.id != self.framework {
            Code::NotFound
        } else if subscribe.fence < self.fence {
            Code::Fenced
        } else {
            return None;
        };
        Some(Refusal::new(code, "as the test wants"))
    }

    fn subscribe(&mut self, subscribe: Subscribe) {
        self.outbox.clear();
        if let Some(refusal) = self.turns_away(&subscribe) {
            self.fault(refusal.code);
            return;
        }
        self.fence = subscribe.fence;
        let framework = self.framework.clone().or_else(|| FrameworkId::new("F1").ok());
        let Some(framework) = framework else { return };
        self.framework = Some(framework.clone());
        self.info = Some(subscribe.framework.clone());
        self.roles = subscribe.framework.roles;
        self.suppressed = subscribe.suppressed_roles.into_iter().collect();
        self.connected = true;
        let from = subscribe.resume.filter(|resume: &Resume| resume.epoch.0 == self.epoch);
        match subscribe.demands {
            Some(said) => self.demands = said.demand_driven.then_some(said.demands),
            None if from.is_none() => self.demands = None,
            None => {}
        }
        let tasks = match from {
            Some(_) => Vec::new(),
            None => self.listed().map(Task::acknowledged).collect(),
        };
        self.tell_aside(EventKind::Subscribed(Subscribed {
            framework,
            epoch: Epoch(self.epoch),
            heartbeat_interval: Duration::from_secs(1),
            resumed: from.is_some(),
            tasks,
        }));
        match from {
            Some(resume) => {
                let missed = self.history.iter().filter(|event| event.sequence > resume.sequence).cloned();
                self.outbox.extend(missed);
            }
            None => {
                self.history.clear();
                self.sequence = 0;
                self.void_offers();
                self.tell_drains();
            }
        }
    }

    /// The tasks that a new session is told of: an end that was acknowledged is history.
    fn listed(&self) -> impl Iterator<Item = &Task> {
        let stands = |task: &&Task| !task.latest.state.is_terminal() || !task.stream.is_empty();
        self.tasks.values().filter(stands).filter(|task| !self.late.contains(&task.info.id))
    }

    /// The last calls of a process that has died: they were proposed to the log, and are in it only with the next entry.
    pub(crate) fn hear_late(&mut self, calls: impl IntoIterator<Item = Call>) {
        let before = self.accepted.len();
        calls.into_iter().for_each(|call| self.hear(call));
        self.late.extend(self.accepted[before..].iter().cloned());
    }

    fn carry_out(&mut self, kind: CallKind) -> Outcome {
        if let Some((_, refusal)) = self.refuse_next.take_if(|(is_meant, _)| is_meant(&kind)) {
            return Outcome::Refused(refusal);
        }
        match kind {
            CallKind::Accept(accept) => self.accept(accept),
            CallKind::Decline(decline) => {
                for id in decline.offers {
                    if let Some((agent, resources)) = self.offers.remove(&id) {
                        self.give_back(&agent, &resources);
                        self.wishes.push_back(Wish::Refuse { agent, refuse: decline.filter.refuse });
                    }
                }
                Outcome::Committed(0)
            }
            CallKind::UpdateDemands(demands) => {
                self.demands = demands.demand_driven.then_some(demands.demands);
                Outcome::Committed(0)
            }
            CallKind::Kill(kill) => {
                let alive = self.tasks.get(&kill.task).is_some_and(|task| !task.latest.state.is_terminal());
                if let Some(killed) = self.out_of_sight.get_mut(&kill.task) {
                    *killed = true;
                } else if alive && self.kills_take_time {
                    self.wishes.push_back(Wish::Kill { task: kill.task, grace: kill.grace });
                } else if alive {
                    self.report(&kill.task, TaskState::Killed, None);
                }
                Outcome::Committed(0)
            }
            CallKind::Reconcile(reconcile) => {
                let all = || self.listed().map(|task| task.info.id.clone()).collect();
                let asked = if reconcile.tasks.is_empty() { all() } else { reconcile.tasks };
                for id in asked {
                    let status = self.tasks.get(&id).map_or_else(
                        || {
                            let reason = StatusReason::TaskUnknown;
                            TaskStatus::by_master(id.clone(), TaskState::Unknown, reason, "", 0)
                        },
                        Task::acknowledged,
                    );
                    self.tell(EventKind::Update(status));
                }
                Outcome::Committed(0)
            }
            CallKind::Teardown => {
                self.removed = true;
                self.commit()
            }
            CallKind::UpdateFramework(update) => {
                self.info = Some(update.framework.clone());
                self.roles = update.framework.roles;
                self.commit()
            }
            CallKind::Suppress(suppress) => {
                self.suppress(suppress.roles);
                Outcome::Committed(0)
            }
            CallKind::Revive(revive) => {
                self.revive(&revive.roles);
                Outcome::Committed(0)
            }
            CallKind::Subscribe(_) | CallKind::Acknowledge(_) | CallKind::Heartbeat => Outcome::Committed(0),
        }
    }

    fn commit(&mut self) -> Outcome {
        self.late.clear();
        self.index += 1;
        Outcome::Committed(self.index)
    }

    fn accept(&mut self, accept: Accept) -> Outcome {
        let ids: Vec<OfferId> = accept.parts.iter().flat_map(|part| part.offers.clone()).collect();
        if ids.iter().any(|id| !self.offers.contains_key(id)) {
            // What the others of them held comes back: an accept ends every offer it names.
            for id in ids {
                if let Some((agent, resources)) = self.offers.remove(&id) {
                    self.give_back(&agent, &resources);
                }
            }
            return Outcome::Refused(Refusal::new(Code::StaleOffer, "an offer is over"));
        }
        let outcome = self.commit();
        let mut ordinal = 0;
        for part in accept.parts {
            let mut agent = None;
            let mut rest = Resources::EMPTY;
            for id in part.offers {
                if let Some((of, resources)) = self.offers.remove(&id) {
                    rest.add(&resources);
                    agent = Some(of);
                }
            }
            let Some(agent) = agent else { continue };
            for operation in part.operations {
                let tasks = match operation {
                    Operation::Launch(launch) => launch.tasks,
                    Operation::LaunchGroup(launch) => {
                        let group = Some(launch.group);
                        let together = |task| TaskInfo { group: group.clone(), ..task };
                        launch.tasks.into_iter().map(together).collect()
                    }
                    kept @ (Operation::Reserve(_)
                    | Operation::Unreserve(_)
                    | Operation::CreateVolume(_)
                    | Operation::DestroyVolume(_)) => {
                        volumes::carry_out(&mut rest, kept);
                        continue;
                    }
                };
                for task in tasks {
                    ordinal += 1;
                    self.launch(task, &agent, &mut rest, ordinal);
                }
            }
            self.give_back(&agent, &rest);
            if !rest.is_empty() {
                self.wishes.push_back(Wish::Refuse { agent, refuse: accept.filter.refuse });
            }
        }
        outcome
    }

    fn launch(&mut self, info: TaskInfo, agent: &AgentId, rest: &mut Resources, ordinal: u64) {
        if self.tasks.contains_key(&info.id) {
            self.doubled.push(info.id);
            return;
        }
        if info.resources.is_empty() || !rest.try_sub(&info.resources) {
            let reason = StatusReason::TaskInvalid;
            let status = TaskStatus::by_master(info.id, TaskState::Dropped, reason, "more than offered", 0);
            self.tell(EventKind::Update(status));
            return;
        }
        self.accepted.push(info.id.clone());
        let mut latest =
            TaskStatus::by_master(info.id.clone(), TaskState::Staging, StatusReason::None, "", 0);
        let run = RunId::at(self.index, ordinal);
        latest.run = Some(run);
        latest.agent = Some(agent.clone());
        let task = Task {
            run,
            agent: agent.clone(),
            latest,
            stream: VecDeque::new(),
            sequence: 0,
            info: info.clone(),
        };
        self.tasks.insert(info.id, task);
    }

    /// What is free of an agent.
    pub fn free(&self, agent: &str) -> Amount {
        self.agents.get(agent).map(|agent| agent.free.flatten()).unwrap_or_default()
    }
}
