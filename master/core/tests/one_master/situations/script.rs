//! A small language for situations: agents and frameworks by name, what they do, and what an explanation says would help,
//! done for real.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use master_core::{Input, LinkId, OperatorCall, SessionId, Ticket};
use proto::agent::AgentInfo;
use proto::agent_link::{Register, RunReport, TaskRun, ToAgentKind, ToMaster, Update};
use proto::attributes::{AttributeValue, Attributes, Constraint, Constraints, Predicate};
use proto::caller::Caller;
use proto::demand::{DeclineReason, Demand, Filter};
use proto::explain::RemedyStep;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, DemandId, Epoch, FrameworkId, OperationId, TaskId};
use proto::offer::Offer;
use proto::operation::{Launch, Operation, Unreserve};
use proto::operator::{
    DrainAgent, EventKind as Changed, Explain, MarkAgentGone, ReplyKind, ResumeAgent, SetQuota, SetRights,
    SetWeight, TeardownFramework,
};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::resources::{Amount, Resources};
use proto::rights::Rights;
use proto::role::{Role, Weight};
use proto::scheduler::{
    Accept, AcceptPart, Call, CallKind, Decline, EventKind, Revive, Subscribe, Suppress, UpdateDemands,
};
use proto::task::{Exit, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus};

use super::super::rig::{GIB, World};

/// A framework as its author knows it.
struct Known {
    id: Option<FrameworkId>,
    session: u64,
    role: Role,
    demands: Vec<Demand>,
    offers: Vec<Offer>,
    /// Since the last time anybody asked.
    offered: BTreeSet<Option<DemandId>>,
}

/// One pool, told step by step.
pub struct Script {
    pub world: World,
    frameworks: BTreeMap<String, Known>,
    agents: BTreeMap<String, (u64, AgentInfo)>,
    /// What runs, by task.
    runs: BTreeMap<TaskId, (String, TaskRun)>,
    quotas: BTreeMap<Role, Quota>,
    next: u64,
}

pub fn cpus(milli: u64) -> Amount {
    amount(milli, 1)
}

pub fn amount(milli: u64, gib: u64) -> Amount {
    Amount::scalars(Quantities::of(milli, gib * GIB))
}

pub fn role(path: &str) -> Role {
    Role::new(path).unwrap()
}

fn demand_id(name: &str) -> DemandId {
    DemandId::new(name).unwrap()
}

// === impl Script ===

impl Script {
    pub fn new() -> Script {
        Script {
            world: World::new(),
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            runs: BTreeMap::new(),
            quotas: BTreeMap::new(),
            next: 1,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn say(&mut self, input: Input) {
        self.say_all([input]);
    }

    /// All of it before anything is offered.
    pub fn say_all(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.world.say_at_once(inputs);
        self.hear();
    }

    /// Takes in what frameworks and agents are told.
    fn hear(&mut self) {
        for (session, event) in std::mem::take(&mut self.world.to_framework) {
            let own = self.frameworks.values_mut().find(|known| known.session == session.0);
            match (own, event) {
                (Some(known), EventKind::Subscribed(subscribed)) => known.id = Some(subscribed.framework),
                (Some(known), EventKind::Offers(made)) => {
                    known.offered.extend(made.offers.iter().map(|offer| offer.demand.clone()));
                    known.offers.extend(made.offers);
                }
                _ => {}
            }
        }
        for change in std::mem::take(&mut self.world.changed) {
            if let Changed::OfferEnded(ended) = change {
                self.frameworks.values_mut().for_each(|known| known.offers.retain(|o| o.id != ended.offer));
            }
        }
        for (link, kind) in std::mem::take(&mut self.world.to_agent) {
            let host = self.agents.iter().find(|(_, (own, _))| *own == link.0).map(|(name, _)| name.clone());
            if let (Some(host), ToAgentKind::Launch(launch)) = (host, kind) {
                for run in launch.runs {
                    self.runs.insert(run.task.id.clone(), (host.clone(), run));
                }
            }
        }
    }

    /// Time passes for everybody who is there, with the signs of life that keep links and sessions.
    pub fn pass(&mut self, wait: Duration) {
        let mut left = wait;
        while !left.is_zero() {
            let part = left.min(Duration::from_secs(4));
            self.world.run(part);
            left -= part;
            let sessions: Vec<(String, u64)> =
                self.frameworks.iter().map(|(name, known)| (name.clone(), known.session)).collect();
            for (name, _) in sessions.into_iter().filter(|(_, session)| *session > 0) {
                self.calls(&name, CallKind::Heartbeat);
            }
            let links: Vec<(String, u64)> =
                self.agents.iter().map(|(name, (link, _))| (name.clone(), *link)).collect();
            for (name, _) in links.into_iter().filter(|(_, link)| *link > 0) {
                self.agent_says(&name, ToMaster::Heartbeat);
            }
        }
        self.hear();
    }

    // --- agents ---

    pub fn agent(&mut self, name: &str, milli: u64) {
        self.agent_like(name, amount(milli, 8), "zone=a");
    }

    pub fn agent_like(&mut self, name: &str, has: Amount, like: &str) {
        let pairs = like.split(',').filter_map(|pair| pair.split_once('='));
        let attributes =
            pairs.map(|(key, value)| (key.to_owned(), AttributeValue::Text(value.to_owned()))).collect();
        let info = AgentInfo {
            id: AgentId::new(name).unwrap(),
            hostname: format!("host-{name}"),
            address: String::new(),
            resources: Resources::unreserved(has),
            attributes: Attributes(attributes),
            version: String::new(),
        };
        self.agents.insert(name.to_owned(), (0, info));
        self.comes(name);
    }

    /// An agent connects, with what runs on it.
    pub fn comes(&mut self, name: &str) {
        let link = self.number();
        let Some((own, info)) = self.agents.get_mut(name) else { panic!("no agent {name}") };
        *own = link;
        let agent = info.clone();
        let here = self.runs.values().filter(|(host, _)| host == name);
        let runs = here.map(|(_, run)| RunReport {
            framework: run.framework.clone(),
            run: run.run,
            status: status(run, TaskState::Running, 1),
            task: run.task.clone(),
        });
        let register = Register { agent, epoch: Epoch(0), runs: runs.collect() };
        self.agent_says(name, ToMaster::Register(register));
    }

    /// Its link breaks.
    pub fn leaves(&mut self, name: &str) {
        let link = self.agents.get_mut(name).map(|(link, _)| std::mem::take(link)).unwrap();
        self.say(Input::AgentClosed { link: LinkId(link) });
    }

    fn agent_says(&mut self, name: &str, message: ToMaster) {
        let link = LinkId(self.agents[name].0);
        self.say(Input::Agent { link, agent: AgentId::new(name).unwrap(), message });
    }

    pub fn drains(&mut self, name: &str) {
        let agent = AgentId::new(name).unwrap();
        let order = DrainAgent { agent, within: None, reason: "new disk".into() };
        self.orders(OperatorCall::DrainAgent(order));
    }

    pub fn gone(&mut self, name: &str) {
        self.orders(OperatorCall::MarkAgentGone(MarkAgentGone { agent: AgentId::new(name).unwrap() }));
    }

    /// Another leader begins, which knows the log and nothing else: links and sessions are gone.
    pub fn new_leader(&mut self) {
        self.world.restart();
        self.agents.values_mut().for_each(|(link, _)| *link = 0);
        for known in self.frameworks.values_mut() {
            (known.session, known.offers) = (0, Vec::new());
        }
        self.hear();
    }

    // --- operators ---

    fn orders(&mut self, call: OperatorCall) {
        let ticket = Ticket(self.number());
        self.say(Input::Operator { ticket, caller: Caller::User("ada".into()), call });
        let answered = self.world.replies.iter().find(|(to, _)| *to == ticket);
        assert!(matches!(answered, Some((_, ReplyKind::Done(_)))), "{answered:?}");
    }

    pub fn quota(&mut self, path: &str, guaranteed: u64, limit: Option<u64>) {
        let limits = Limits(limit.map(|milli| (Scalar::Cpus, milli)).into_iter().collect());
        self.set_quota(role(path), Quota { guarantees: Quantities::of(guaranteed, 0), limits });
    }

    fn set_quota(&mut self, role: Role, quota: Quota) {
        self.quotas.insert(role.clone(), quota.clone());
        self.orders(OperatorCall::SetQuota(SetQuota { role, quota }));
    }

    pub fn grants(&mut self, name: &str, rights: Rights) {
        let (principal, rights) = (Caller::Framework(name.into()), Some(rights));
        self.orders(OperatorCall::SetRights(SetRights { principal, rights }));
    }

    pub fn tears_down(&mut self, name: &str) {
        let framework = self.frameworks.remove(name).and_then(|known| known.id).unwrap();
        self.orders(OperatorCall::TeardownFramework(TeardownFramework { framework }));
    }

    // --- frameworks ---

    /// Connects in a role, wanting nothing.
    pub fn framework(&mut self, name: &str, path: &str) {
        self.grants(name, Rights::all());
        let known = Known {
            id: None,
            session: 0,
            role: role(path),
            demands: Vec::new(),
            offers: Vec::new(),
            offered: BTreeSet::new(),
        };
        self.frameworks.insert(name.to_owned(), known);
        self.connects(name, true);
    }

    /// Connects in a role and takes whatever is offered.
    pub fn plain_framework(&mut self, name: &str, path: &str) {
        self.framework(name, path);
        self.calls(name, demands(Vec::new(), false));
    }

    pub fn connects(&mut self, name: &str, demand_driven: bool) {
        let session = self.number();
        let known = self.frameworks.get_mut(name).unwrap();
        known.session = session;
        let info = FrameworkInfo {
            name: name.into(),
            roles: vec![known.role.clone()],
            failover_timeout: Duration::from_secs(3600),
            address: String::new(),
            labels: BTreeMap::new(),
        };
        let stated = UpdateDemands { demands: known.demands.clone(), demand_driven };
        let subscribe = Subscribe {
            framework: info,
            id: known.id.clone(),
            resume: None,
            suppressed_roles: vec![],
            demands: Some(stated),
            fence: 0,
        };
        self.calls(name, CallKind::Subscribe(subscribe));
    }

    pub fn disconnects(&mut self, name: &str) {
        let session = std::mem::take(&mut self.frameworks.get_mut(name).unwrap().session);
        self.say(Input::FrameworkClosed { session: SessionId(session) });
    }

    pub fn calls(&mut self, name: &str, kind: CallKind) {
        let call = self.call(name, kind);
        self.say(call);
    }

    fn call(&mut self, name: &str, kind: CallKind) -> Input {
        let operation = matches!(kind, CallKind::Accept(_))
            .then(|| OperationId::new(&format!("op-{}", self.number())).unwrap());
        let session = SessionId(self.frameworks[name].session);
        Input::Framework { session, caller: Caller::Framework(name.into()), call: Call { operation, kind } }
    }

    /// One more demand, `web` unless it has that already; the call that says so.
    pub fn wanting(&mut self, name: &str, count: u64, shape: Amount, like: &[&str]) -> Input {
        let known = self.frameworks.get_mut(name).unwrap();
        let id = if known.demands.is_empty() { "web" } else { "second" };
        let constraints = like.iter().map(|text| Constraint::parse(text).unwrap()).collect();
        known.demands.push(Demand {
            id: demand_id(id),
            role: known.role.clone(),
            shape,
            count,
            constraints: Constraints(constraints),
            priority: 0,
        });
        let stated = demands(known.demands.clone(), true);
        self.call(name, stated)
    }

    pub fn wants(&mut self, name: &str, count: u64, shape: Amount, like: &[&str]) {
        let call = self.wanting(name, count, shape, like);
        self.say(call);
    }

    pub fn restates(&mut self, name: &str, change: impl FnOnce(&mut Demand)) {
        let known = self.frameworks.get_mut(name).unwrap();
        known.demands.last_mut().map(change).unwrap();
        let stated = demands(known.demands.clone(), true);
        self.calls(name, stated);
    }

    pub fn suppresses(&mut self, name: &str) {
        self.calls(name, CallKind::Suppress(Suppress { roles: vec![] }));
    }

    pub fn declines(&mut self, name: &str, on: Option<&AgentId>, seconds: u64) {
        let open = std::mem::take(&mut self.frameworks.get_mut(name).unwrap().offers);
        let (declined, kept): (Vec<Offer>, Vec<Offer>) =
            open.into_iter().partition(|offer| on.is_none_or(|agent| offer.agent.id == *agent));
        let known = self.frameworks.get_mut(name).unwrap();
        (known.offers, known.offered) = (kept, BTreeSet::new());
        let offers: Vec<_> = declined.iter().map(|offer| offer.id).collect();
        assert!(!offers.is_empty(), "{name} has no offer to decline");
        let filter = Filter { refuse: Duration::from_secs(seconds) };
        self.calls(name, CallKind::Decline(Decline { offers, reason: DeclineReason::Unused, filter }));
    }

    /// Uses its open offers; whether there were any.
    pub fn accepts(&mut self, name: &str, operations: Vec<Operation>) {
        let open = std::mem::take(&mut self.frameworks.get_mut(name).unwrap().offers);
        let offers: Vec<_> = open.iter().map(|offer| offer.id).collect();
        assert!(!offers.is_empty(), "{name} has no offer to accept");
        let parts = vec![AcceptPart { offers, operations }];
        let filter = Filter { refuse: Duration::ZERO };
        self.calls(name, CallKind::Accept(Accept { parts, all_or_nothing: false, filter }));
    }

    /// Launches tasks of so much, as many as fit into each open offer; how many.
    pub fn fills_offers(&mut self, name: &str, milli: u64) -> u64 {
        let open = std::mem::take(&mut self.frameworks.get_mut(name).unwrap().offers);
        let mut launched = 0;
        for offer in open {
            let fit = offer.resources.quantities().get(&Scalar::Cpus) / milli;
            let tasks = (0..fit).map(|_| task(&format!("{name}.{}", self.number()), milli)).collect();
            let operations = vec![Operation::Launch(Launch { tasks })];
            let parts = vec![AcceptPart { offers: vec![offer.id], operations }];
            let filter = Filter { refuse: Duration::ZERO };
            self.calls(name, CallKind::Accept(Accept { parts, all_or_nothing: false, filter }));
            launched += fit;
        }
        launched
    }

    /// A framework in a role of its own name that runs tasks of so much on an agent and wants no more.
    pub fn occupies(&mut self, name: &str, agent: &str, tasks: &[(&str, u64)]) {
        if !self.frameworks.contains_key(name) {
            self.framework(name, name);
        }
        let like = format!("agent={agent}");
        let sum: u64 = tasks.iter().map(|(_, milli)| milli).sum();
        self.frameworks.get_mut(name).unwrap().demands.clear();
        self.wants(name, 1, amount(sum, tasks.len() as u64), &[&like]);
        let tasks = tasks.iter().map(|(id, milli)| task(id, *milli)).collect();
        self.accepts(name, vec![Operation::Launch(Launch { tasks })]);
        self.frameworks.get_mut(name).unwrap().demands.clear();
        self.calls(name, demands(Vec::new(), true));
    }

    pub fn says_of(&mut self, task: &str, state: TaskState) {
        let id = TaskId::new(task).unwrap();
        let (host, run) = self.runs.get(&id).unwrap_or_else(|| panic!("{task} does not run")).clone();
        let update = Update { framework: run.framework.clone(), status: status(&run, state, self.number()) };
        if state.is_terminal() {
            self.runs.remove(&id);
        }
        self.agent_says(&host, ToMaster::Update(update));
    }

    pub fn ends(&mut self, task: &str) {
        self.says_of(task, TaskState::Finished);
    }

    // --- questions ---

    pub fn asks(&mut self, what: Explain, with: Vec<Input>) -> ReplyKind {
        let ticket = Ticket(self.number());
        let call = OperatorCall::Explain(what);
        let question = Input::Operator { ticket, caller: Caller::User("ada".into()), call };
        self.say_all(with.into_iter().chain([question]));
        let at = self.world.replies.iter().position(|(to, _)| *to == ticket).expect("an answer");
        self.world.replies.swap_remove(at).1
    }

    /// Forgets what was offered so far.
    pub fn forget_offered(&mut self) {
        self.frameworks.values_mut().for_each(|known| known.offered.clear());
    }

    /// Whether the demand was offered something since.
    pub fn was_offered(&self, name: &str, demand: Option<&str>) -> bool {
        self.frameworks[name].offered.contains(&demand.map(demand_id))
    }

    // --- what would help ---

    /// Does for real what a remedy names, for the framework that asked.
    pub fn does(&mut self, step: &RemedyStep, asker: &str) {
        let whose = |script: &Script| {
            let named = script.frameworks.iter().find(|(_, known)| known.id == step.framework);
            named.map(|(name, _)| name.clone()).unwrap_or_else(|| asker.to_owned())
        };
        let agent = || step.agent.clone().expect("an agent");
        match step.kind.as_str() {
            "wait" => self.pass(Duration::from_secs(61)),
            "connect" => self.connects(&whose(self), true),
            "revive" => {
                let name = whose(self);
                self.calls(
                    &name,
                    CallKind::Revive(Revive { roles: step.role.clone().into_iter().collect() }),
                );
            }
            "decline" => self.declines(&whose(self), step.agent.as_ref(), 60),
            "smaller" => self.restates(asker, |demand| demand.shape = step.amount.clone()),
            "constraint" => {
                let text = step.change.strip_prefix("without the constraint ").expect("a constraint");
                self.restates(asker, |demand| demand.constraints.0.retain(|one| one.to_string() != text));
            }
            "task-ends" => self.ends(step.task.as_ref().expect("a task").as_str()),
            "tasks-end" => {
                let here = agent().to_string();
                let of = |run: &TaskRun| step.framework.as_ref().is_none_or(|id| run.framework == *id);
                let all = self.runs.iter().filter(|(_, (host, run))| *host == here && of(run));
                let all: Vec<TaskId> = all.map(|(task, _)| task.clone()).collect();
                assert!(!all.is_empty(), "nothing runs there");
                all.iter().for_each(|task| self.ends(task.as_str()));
            }
            "limit" => {
                let at = step.role.clone().expect("a role");
                let mut quota = self.quotas[&at].clone();
                quota.limits.0.extend(step.amount.scalars.iter());
                self.set_quota(at, quota);
            }
            "guarantee" => {
                let at = step.role.clone().expect("a role");
                let limits = self.quotas[&at].limits.clone();
                self.set_quota(at, Quota { limits, ..Quota::default() });
            }
            "unreserve" => self.unreserves(step.role.as_ref().expect("a role"), &agent()),
            "weight" => {
                let weight = Weight::from_milli(step.weight_milli).expect("a weight");
                let role = step.role.clone().expect("a role");
                self.orders(OperatorCall::SetWeight(SetWeight { role, weight }));
            }
            "resume-agent" => self.orders(OperatorCall::ResumeAgent(ResumeAgent { agent: agent() })),
            "agent-returns" => self.comes(agent().as_str()),
            "add-agent" => self.adds(step, asker),
            other => panic!("nobody knows how to do {other}"),
        }
    }

    /// The framework of that role gives back what is kept for it.
    fn unreserves(&mut self, kept: &Role, agent: &AgentId) {
        let owner = self.frameworks.iter().find(|(_, known)| known.role == *kept);
        let owner = owner.map(|(name, _)| name.clone()).expect("somebody in the role");
        let like = format!("agent={agent}");
        self.frameworks.get_mut(&owner).unwrap().demands.clear();
        let all = self.agents[agent.as_str()].1.resources.flatten();
        self.wants(&owner, 1, all, &[&like]);
        self.calls(&owner, CallKind::Revive(Revive { roles: vec![] }));
        let offered =
            self.frameworks[&owner].offers.first().expect("an offer of what is kept").resources.clone();
        let amount = offered.portions()[0].amount.clone();
        self.accepts(&owner, vec![Operation::Unreserve(Unreserve { role: kept.clone(), amount })]);
        self.calls(&owner, demands(Vec::new(), true));
        self.suppresses(&owner);
    }

    fn adds(&mut self, step: &RemedyStep, asker: &str) {
        let constraints = self.frameworks[asker]
            .demands
            .last()
            .map(|demand| demand.constraints.clone())
            .unwrap_or_default();
        let like = constraints.0.iter().map(|constraint| match &constraint.predicate {
            Predicate::In(words) => format!("{}={}", constraint.attribute, words[0]),
            _ => format!("{}=any", constraint.attribute),
        });
        let like: Vec<String> = like.collect();
        self.agent_like("fresh", step.amount.clone(), &like.join(","));
    }
}

fn demands(demands: Vec<Demand>, demand_driven: bool) -> CallKind {
    CallKind::UpdateDemands(UpdateDemands { demands, demand_driven })
}

fn task(id: &str, milli: u64) -> TaskInfo {
    super::super::rig::task(id, milli)
}

fn status(run: &TaskRun, state: TaskState, sequence: u64) -> TaskStatus {
    TaskStatus {
        task: run.task.id.clone(),
        state,
        reason: if state.is_terminal() { StatusReason::CommandExited } else { StatusReason::None },
        source: StatusSource::Agent,
        message: String::new(),
        at_ms: 1,
        agent: None,
        run: Some(run.run),
        sequence,
        exit: state.is_terminal().then_some(Exit::Code(3)),
        pid: 42,
        healthy: None,
        ready: None,
        grace: None,
    }
}
