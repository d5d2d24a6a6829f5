//! One master alone in a world of values: what is said to it, what it has said, and how time passes.

use std::collections::BTreeMap;
use std::time::Duration;

use master_core::{
    Audited, Config, Input, LinkId, Master, Note, OperatorCall, Output, Saved, SessionId, Ticket,
};
use proto::agent::AgentInfo;
use proto::agent_link::{Register, RunReport, ToAgentKind, ToMaster, Update};
use proto::attributes::Attributes;
use proto::caller::Caller;
use proto::demand::Filter;
use proto::explain::Explanation;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, Epoch, FrameworkId, MasterId, OperationId, RunId, TaskId};
use proto::offer::Offer;
use proto::operation::{Launch, Operation};
use proto::operator::{Explain, ReplyKind};
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{Accept, AcceptPart, Call, CallKind, EventKind, Outcome, Subscribe};
use proto::task::{CommandInfo, Exit, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus};
use proto_machine::{Instant, Machine, Now, Outbox, WallTime};

pub const GIB: u64 = 1 << 30;

pub struct World {
    pub master: Master,
    config: Config,
    /// What a restart finds.
    disk: master_raft::Recovered,
    pub now: u64,
    pub sequence: u64,
    pub to_framework: Vec<(SessionId, EventKind)>,
    pub to_agent: Vec<(LinkId, ToAgentKind)>,
    pub closed: Vec<SessionId>,
    pub replies: Vec<(Ticket, ReplyKind)>,
    pub changed: Vec<proto::operator::EventKind>,
    /// As the shell was told last.
    pub secrets: master_core::Secrets,
    /// For the audit log.
    pub audited: Vec<Audited>,
    /// What somebody asked for as a whole.
    pub saved: Vec<Option<Saved>>,
    pub confirmed: Vec<(Ticket, bool)>,
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> World {
        let members = BTreeMap::from([(MasterId(1), "127.0.0.1:1".to_owned())]);
        let mut config = Config::new(MasterId(1), members, 7);
        change(&mut config);
        let disk = master_raft::Recovered::default();
        let master = Master::recover(config.clone(), disk.clone()).expect("a blank disk is fit");
        let mut world = World {
            master,
            config,
            disk,
            now: 0,
            sequence: 0,
            to_framework: vec![],
            to_agent: vec![],
            closed: vec![],
            replies: vec![],
            changed: vec![],
            secrets: Default::default(),
            audited: vec![],
            saved: vec![],
            confirmed: vec![],
        };
        world.run(Duration::from_secs(2));
        assert!(world.master.leads(), "a master alone leads");
        world
    }

    /// The master's process is started again: all that it knew beside the log is gone, and it leads anew.
    pub fn restart(&mut self) {
        self.master = Master::recover(self.config.clone(), self.disk.clone()).expect("its own disk is fit");
        self.secrets.clear();
        self.run(Duration::from_secs(2));
        assert!(self.master.leads(), "a master alone leads");
    }

    /// The disk is lost, and there is this one.
    pub fn restore(&mut self, disk: master_raft::Recovered) {
        self.disk = disk;
        self.restart();
    }

    fn keep(&mut self, persist: master_raft::Persist) {
        if let Some(from) = persist.truncate_from {
            self.disk.entries.retain(|entry| entry.index < from);
        }
        self.disk.entries.extend(persist.entries);
        self.disk.snapshot = persist.snapshot.or(self.disk.snapshot.take());
        self.disk.hard_state = persist.hard_state.unwrap_or(self.disk.hard_state);
        self.disk.conf_state = persist.conf_state.or(self.disk.conf_state.take());
    }

    pub fn time(&self) -> Now {
        Now {
            monotonic: Instant::from_nanos(self.now),
            wall: WallTime::from_millis(1_000_000 + self.now / 1_000_000),
        }
    }

    pub fn perform(&mut self, mut out: Outbox<Output>) {
        for _ in 0..100 {
            let outputs = out.take();
            if outputs.is_empty() {
                return;
            }
            let mut stored = None;
            for output in outputs {
                match output {
                    Output::Persist(persist) => {
                        stored = Some(persist.sequence);
                        self.keep(persist);
                    }
                    Output::ToFramework { session, event } => self.to_framework.push((session, event.kind)),
                    Output::ToAgent { link, message } => self.to_agent.push((link, message.kind)),
                    Output::CloseFramework { session } => self.closed.push(session),
                    Output::Reply { ticket, kind } => self.replies.push((ticket, kind)),
                    Output::Note(Note::Books { what }) => panic!("the allocator refused {what}"),
                    Output::Note(Note::Unreadable { why, .. }) => panic!("unreadable: {why}"),
                    Output::Changed(kind) => self.changed.push(kind),
                    Output::Secrets(secrets) => self.secrets = secrets,
                    Output::Saved { saved, .. } => self.saved.push(saved),
                    Output::Confirmed { ticket, confirmed } => self.confirmed.push((ticket, confirmed)),
                    Output::Audit(audited) => self.audited.push(audited),
                    Output::Note(_)
                    | Output::Part { .. }
                    | Output::Happened(_)
                    | Output::Roster(_)
                    | Output::Applied(_)
                    | Output::CloseAgent { .. }
                    | Output::ToPeer { .. }
                    | Output::SnapshotToPeer { .. } => {}
                }
            }
            let Some(sequence) = stored else { return };
            self.sequence = sequence;
            let now = self.time();
            self.master.step(now, Input::Raft(master_raft::Input::Stored { sequence }), &mut out);
            self.master.settle(now, &mut out);
        }
        panic!("the master never settles");
    }

    pub fn say(&mut self, input: Input) {
        let mut out = Outbox::new();
        let now = self.time();
        self.master.step(now, input, &mut out);
        self.master.settle(now, &mut out);
        self.perform(out);
        self.run(Duration::from_millis(10));
    }

    /// All of it in one batch: nothing is committed before the last of it is heard.
    pub fn say_at_once(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let mut out = Outbox::new();
        let now = self.time();
        inputs.into_iter().for_each(|input| self.master.step(now, input, &mut out));
        self.master.settle(now, &mut out);
        self.perform(out);
        self.run(Duration::from_millis(10));
    }

    pub fn run(&mut self, wait: Duration) {
        let end = self.now + wait.as_nanos() as u64;
        let mut out = Outbox::new();
        let now = self.time();
        self.master.settle(now, &mut out);
        self.perform(out);
        while let Some(at) = self.master.wake_at() {
            if at.as_nanos() > end {
                break;
            }
            self.now = self.now.max(at.as_nanos());
            let mut out = Outbox::new();
            let now = self.time();
            self.master.wake(now, &mut out);
            self.master.settle(now, &mut out);
            self.perform(out);
        }
        self.now = end;
    }

    pub fn call(&mut self, session: u64, operation: Option<&str>, kind: CallKind) {
        let operation = operation.map(|text| OperationId::new(text).unwrap());
        let caller = Caller::Framework("eng".into());
        self.say(Input::Framework { session: SessionId(session), caller, call: Call { operation, kind } });
    }

    pub fn subscribe(&mut self, session: u64, id: Option<FrameworkId>) -> FrameworkId {
        self.subscribe_as(session, id, info())
    }

    pub fn subscribe_as(
        &mut self,
        session: u64,
        id: Option<FrameworkId>,
        framework: FrameworkInfo,
    ) -> FrameworkId {
        let subscribe =
            Subscribe { framework, id, resume: None, suppressed_roles: vec![], demands: None, fence: 0 };
        self.call(session, None, CallKind::Subscribe(subscribe));
        self.events(session)
            .into_iter()
            .find_map(|event| match event {
                EventKind::Subscribed(subscribed) => Some(subscribed.framework),
                _ => None,
            })
            .expect("it is subscribed")
    }

    pub fn register(&mut self, link: u64) {
        let register = Register { agent: agent(), epoch: Epoch(0), runs: vec![] };
        let agent = AgentId::new("a1").unwrap();
        self.say(Input::Agent { link: LinkId(link), agent, message: ToMaster::Register(register) });
    }

    /// The events of one session; they are taken away.
    pub fn events(&mut self, session: u64) -> Vec<EventKind> {
        let all = std::mem::take(&mut self.to_framework);
        let (own, rest) = all.into_iter().partition(|(to, _)| to.0 == session);
        self.to_framework = rest;
        let own: Vec<(SessionId, EventKind)> = own;
        for (_, kind) in &own {
            // Kept for `offers`, which may be asked for later.
            if let EventKind::Offers(_) = kind {
                self.to_framework.push((SessionId(session + 1000), kind.clone()));
            }
        }
        own.into_iter().map(|(_, kind)| kind).collect()
    }

    pub fn offers(&mut self, session: u64) -> Vec<Offer> {
        let _ = self.events(session);
        let all = std::mem::take(&mut self.to_framework);
        let mut offers = Vec::new();
        for (to, kind) in all {
            match kind {
                EventKind::Offers(made) if to.0 == session + 1000 => offers.extend(made.offers),
                kind => self.to_framework.push((to, kind)),
            }
        }
        offers
    }

    pub fn launched(&mut self) -> Vec<proto::agent_link::TaskRun> {
        std::mem::take(&mut self.to_agent)
            .into_iter()
            .flat_map(|(_, kind)| match kind {
                ToAgentKind::Launch(launch) => launch.runs,
                _ => vec![],
            })
            .collect()
    }
}

pub fn info() -> FrameworkInfo {
    FrameworkInfo {
        name: "jobs".into(),
        roles: vec![role()],
        failover_timeout: Duration::from_secs(60),
        address: String::new(),
        labels: BTreeMap::new(),
    }
}

pub fn subscribe(id: Option<FrameworkId>) -> Subscribe {
    Subscribe { framework: info(), id, resume: None, suppressed_roles: vec![], demands: None, fence: 0 }
}

pub fn role() -> Role {
    Role::new("eng").unwrap()
}

pub fn agent() -> AgentInfo {
    AgentInfo {
        id: AgentId::new("a1").unwrap(),
        hostname: "a1".into(),
        address: String::new(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(4000, 8 * GIB))),
        attributes: Attributes::default(),
        version: String::new(),
    }
}

pub fn task(id: &str, cpus_milli: u64) -> TaskInfo {
    TaskInfo {
        id: TaskId::new(id).unwrap(),
        name: id.into(),
        command: CommandInfo { argv: vec!["true".into()], ..CommandInfo::default() },
        resources: Resources::unreserved(Amount::scalars(Quantities::of(cpus_milli, GIB))),
        kill_grace: Duration::from_secs(3),
        labels: BTreeMap::new(),
        group: None,
        checks: proto::check::Checks::default(),
        longest_run: None,
    }
}

pub fn accept(offers: &[Offer], tasks: Vec<TaskInfo>) -> CallKind {
    CallKind::Accept(Accept {
        parts: vec![AcceptPart {
            offers: offers.iter().map(|offer| offer.id).collect(),
            operations: vec![Operation::Launch(Launch { tasks })],
        }],
        all_or_nothing: false,
        filter: Filter { refuse: Duration::ZERO },
    })
}

pub fn update(framework: &FrameworkId, run: RunId, task: &str, sequence: u64, state: TaskState) -> Input {
    let status = TaskStatus {
        task: TaskId::new(task).unwrap(),
        state,
        reason: StatusReason::None,
        source: StatusSource::Agent,
        message: String::new(),
        at_ms: 1,
        agent: None,
        run: Some(run),
        sequence,
        exit: state.is_terminal().then_some(Exit::Code(0)),
        pid: 42,
        healthy: None,
        ready: None,
        grace: None,
    };
    let update = Update { framework: framework.clone(), status };
    Input::Agent { link: LinkId(1), agent: AgentId::new("a1").unwrap(), message: ToMaster::Update(update) }
}

pub fn outcome(events: &[EventKind], operation: &str) -> Outcome {
    let answers: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Answer(answer) if answer.operation.as_str() == operation => {
                Some(answer.outcome.clone())
            }
            _ => None,
        })
        .collect();
    assert_eq!(answers.len(), 1, "one answer to {operation}: {events:?}");
    answers[0].clone()
}

/// The agent presents itself with one run.
pub fn present(world: &mut World, link: u64, framework: &FrameworkId, task: TaskInfo, status: TaskStatus) {
    let report = RunReport { framework: framework.clone(), run: status.run.unwrap(), status, task };
    let register = Register { agent: agent(), epoch: Epoch(0), runs: vec![report] };
    let agent = AgentId::new("a1").unwrap();
    world.say(Input::Agent { link: LinkId(link), agent, message: ToMaster::Register(register) });
}

pub fn status_of(input: Input) -> TaskStatus {
    match input {
        Input::Agent { message: ToMaster::Update(update), .. } => update.status,
        other => panic!("{other:?}"),
    }
}

pub fn statuses(events: Vec<EventKind>) -> Vec<(TaskState, u64)> {
    events
        .into_iter()
        .filter_map(|event| match event {
            EventKind::Update(status) => Some((status.state, status.sequence)),
            _ => None,
        })
        .collect()
}

pub fn explain(world: &mut World, ticket: u64) -> Explanation {
    let call = OperatorCall::Explain(Explain::Framework("jobs".into()));
    world.say(Input::Operator { ticket: Ticket(ticket), caller: Caller::User("ada".into()), call });
    let at = world.replies.iter().position(|(answered, _)| *answered == Ticket(ticket)).expect("an answer");
    match world.replies.swap_remove(at).1 {
        ReplyKind::Explain(mut told) if told.len() == 1 => told.remove(0),
        other => panic!("not one explanation: {other:?}"),
    }
}
