//! Scripts for machines: a world in which something goes on, and behind it messages made up from the contracts.

use std::collections::BTreeMap;
use std::time::Duration;

use frameworks_jobs::spec::{Command, JobSpec, Kind};
use prost::Message;
use proto::agent::AgentInfo;
use proto::agent_link::{
    Acknowledge, Kill, Launch, Register, TaskRun, ToAgent, ToAgentKind, ToMaster, Update,
};
use proto::attributes::Attributes;
use proto::demand::Filter;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, Epoch, FrameworkId, OfferId, OperationId, RunId, TaskId};
use proto::offer::Offer;
use proto::operation::{Launch as LaunchTasks, Operation};
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{
    Accept, AcceptPart, Answer, Call, CallKind, Event, EventKind, Offers, Outcome, Subscribe, Subscribed,
};
use proto::task::{CommandInfo, Exit, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus};
use proto::wire::Wire;
use proto_wire::raft as wire;
use tests_fuzz::engine::tree;

use crate::Seeds;

/// Messages of a kind, made up.
pub type MadeUp<'a> = &'a mut dyn FnMut(&str, &str) -> Vec<Vec<u8>>;

pub fn all(seeds: &mut Seeds, some: MadeUp<'_>) {
    seeds.insert("master", master(some));
    seeds.insert("agent-core", agent(some));
    seeds.insert("member", member(some));
    seeds.insert("session", session(some));
    seeds.insert("raft", raft(some));
}

/// A step: of which kind, who, what, and whether ids stand for some that are known.
fn step(kind: u64, who: u64, what: &[u8], loose: bool) -> Vec<u8> {
    let mut message = Vec::new();
    tree::put_number(&mut message, 1, who);
    if !what.is_empty() {
        tree::put_bytes(&mut message, 2, what);
    }
    if loose {
        tree::put_number(&mut message, 3, 1);
    }
    let mut step = Vec::new();
    tree::put_bytes(&mut step, kind, &message);
    step
}

/// The same beginning, and behind it each time some of the messages.
fn continued(beginning: &[u8], kind: u64, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let some = messages.chunks(3).map(|some| {
        let steps: Vec<Vec<u8>> =
            some.iter().zip(0..).map(|(message, who)| step(kind, who, message, who % 2 == 0)).collect();
        [beginning.to_vec(), steps.concat()].concat()
    });
    some.collect()
}

fn role() -> Role {
    Role::new("eng").expect("a role")
}

fn resources(cpus_milli: u64) -> Resources {
    Resources::unreserved(Amount::scalars(Quantities::of(cpus_milli, cpus_milli << 20)))
}

fn info() -> AgentInfo {
    AgentInfo {
        id: AgentId::new("a0").expect("an id"),
        hostname: "a0".into(),
        address: String::new(),
        resources: resources(4_000),
        attributes: Attributes::default(),
        version: String::new(),
    }
}

fn framework() -> FrameworkInfo {
    FrameworkInfo {
        name: "jobs".into(),
        roles: vec![role()],
        failover_timeout: Duration::from_secs(60),
        address: String::new(),
        labels: BTreeMap::new(),
    }
}

fn task(id: &str) -> TaskInfo {
    TaskInfo {
        id: TaskId::new(id).expect("an id"),
        name: id.into(),
        command: CommandInfo { argv: vec!["true".into()], ..CommandInfo::default() },
        resources: resources(1_000),
        kill_grace: Duration::from_secs(3),
        labels: BTreeMap::new(),
        group: None,
        checks: Default::default(),
        longest_run: None,
    }
}

fn status(id: &str, state: TaskState, sequence: u64) -> TaskStatus {
    TaskStatus {
        task: TaskId::new(id).expect("an id"),
        state,
        reason: StatusReason::None,
        source: StatusSource::Agent,
        message: String::new(),
        at_ms: 1,
        agent: Some(AgentId::new("a0").expect("an id")),
        run: Some(RunId(0)),
        sequence,
        exit: state.is_terminal().then_some(Exit::Code(0)),
        pid: 42,
        healthy: None,
        ready: None,
        grace: None,
    }
}

fn call(operation: &str, kind: CallKind) -> Vec<u8> {
    let operation = (!operation.is_empty()).then(|| OperationId::new(operation).expect("an id"));
    Call { operation, kind }.encode()
}

fn accept(tasks: &[&str]) -> CallKind {
    let tasks = tasks.iter().map(|id| task(id)).collect();
    CallKind::Accept(Accept {
        parts: vec![AcceptPart {
            offers: vec![OfferId { epoch: Epoch(1), number: 0 }],
            operations: vec![Operation::Launch(LaunchTasks { tasks })],
        }],
        all_or_nothing: false,
        filter: Filter { refuse: Duration::ZERO },
    })
}

fn master(some: MadeUp<'_>) -> Vec<Vec<u8>> {
    let register = ToMaster::Register(Register { agent: info(), epoch: Epoch(0), runs: vec![] }).encode();
    let subscribe = Subscribe {
        framework: framework(),
        id: None,
        resume: None,
        suppressed_roles: vec![],
        demands: None,
        fence: 0,
    };
    let update = |id: &str, state, sequence| {
        let framework = FrameworkId::new("f").expect("an id");
        ToMaster::Update(Update { framework, status: status(id, state, sequence) }).encode()
    };
    let time = |ms: u64| step(6, ms, &[], false);
    let begins = [
        step(3, 0, &register, true),
        step(1, 0, &call("", CallKind::Subscribe(subscribe)), false),
        time(100),
    ]
    .concat();
    let runs = [begins.clone(), step(1, 0, &call("op.1", accept(&["t0", "t1"])), true), time(50)].concat();
    let ends = [
        runs.clone(),
        step(3, 0, &update("t0", TaskState::Running, 1), true),
        step(3, 0, &update("t0", TaskState::Finished, 2), true),
        time(1_000),
        step(4, 0, &[], false),
        time(100_000),
    ]
    .concat();
    let again = [runs.clone(), step(7, 0, &[], false), step(3, 0, &register, true), time(40_000)].concat();
    let mut all = vec![begins.clone(), runs.clone(), ends.clone(), again];
    for (beginning, kind, package, message) in [
        (&begins, 1, "scheduler", "Call"),
        (&runs, 1, "scheduler", "Call"),
        (&runs, 3, "agent", "ToMaster"),
        (&runs, 5, "operator", "Call"),
        (&ends, 5, "operator", "Call"),
    ] {
        all.extend(continued(beginning, kind, some(package, message)));
    }
    all
}

fn agent(some: MadeUp<'_>) -> Vec<Vec<u8>> {
    let told = |kind| step(1, 0, &ToAgent { epoch: Epoch(1), kind }.encode(), true);
    let run = |number| TaskRun {
        run: RunId(number),
        framework: FrameworkId::new("f").expect("an id"),
        task: task(&format!("t{number}")),
        principal: "framework/f".to_owned(),
        volumes: vec![],
    };
    let begins = step(7, 1, &[], false);
    let runs = [begins.clone(), told(ToAgentKind::Launch(Launch { runs: vec![run(1), run(2)] }))].concat();
    let event = |what: u64, which: u64| {
        let mut message = Vec::new();
        tree::put_number(&mut message, 1, what);
        tree::put_number(&mut message, 2, which);
        let mut step = Vec::new();
        tree::put_bytes(&mut step, 3, &message);
        step
    };
    let acknowledge = Acknowledge { run: RunId(0), sequence: 1 };
    let kill = Kill { run: RunId(1), grace: Duration::from_secs(1) };
    let ends = [
        runs.clone(),
        event(0, 0),
        event(4, 0),
        told(ToAgentKind::Acknowledge(acknowledge)),
        told(ToAgentKind::Kill(kill)),
        step(4, 30_000, &[], false),
        step(5, 0, &[], false),
        step(6, 0, &[], false),
    ]
    .concat();
    let mut all = vec![begins.clone(), runs.clone(), ends.clone()];
    all.extend(continued(&runs, 1, some("agent", "ToAgent")));
    all.extend(continued(&ends, 9, Vec::new()));
    for records in some("ledger", "Record").chunks(3) {
        let mut input = Vec::new();
        records.iter().for_each(|record| tree::put_bytes(&mut input, 9, record));
        all.push([input, begins.clone(), event(4, 0)].concat());
    }
    all
}

fn member(some: MadeUp<'_>) -> Vec<Vec<u8>> {
    let mut all = continued(&[], 1, some("store", "Call"));
    all.extend(continued(&[], 2, some("store", "Watch")));
    let calls: Vec<u8> = some("store", "Call")
        .iter()
        .zip(0..30)
        .flat_map(|(call, who)| step(1, who % 2, call, false))
        .collect();
    all.push(calls);
    all
}

fn session(some: MadeUp<'_>) -> Vec<Vec<u8>> {
    let job =
        JobSpec { instances: 2, ..JobSpec::new("web", Kind::Service, Command::Shell("true".to_owned())) };
    let submit = step(4, 1, &job.to_wire().encode_to_vec(), true);
    let heard = |kind| step(1, 0, &Event { sequence: 1, kind }.encode(), true);
    let id = FrameworkId::new("f1").expect("an id");
    let subscribed = Subscribed {
        framework: id.clone(),
        epoch: Epoch(1),
        heartbeat_interval: Duration::from_secs(5),
        resumed: false,
        tasks: vec![],
    };
    let offer = Offer {
        id: OfferId { epoch: Epoch(1), number: 1 },
        agent: info().into(),
        role: Role::default_role(),
        resources: resources(4_000),
        expires_in: Duration::from_secs(60),
        demand: None,
    };
    let begins = [submit.clone(), heard(EventKind::Subscribed(subscribed))].concat();
    let offered = [begins.clone(), heard(EventKind::Offers(Offers { offers: vec![offer] }))].concat();
    let answer = Answer { operation: OperationId::new("op").expect("an id"), outcome: Outcome::Committed(7) };
    let runs = [
        offered.clone(),
        heard(EventKind::Answer(answer)),
        heard(EventKind::Update(status("t0", TaskState::Running, 1))),
        step(3, 1_000, &[], false),
    ]
    .concat();
    let ends = [
        runs.clone(),
        heard(EventKind::Update(status("t0", TaskState::Failed, 2))),
        step(3, 5_000, &[], false),
        step(2, 0, &[], false),
        step(3, 5_000, &[], false),
        step(5, 0, &[], false),
    ]
    .concat();
    let mut all = vec![begins.clone(), offered, runs.clone(), ends];
    all.extend(continued(&begins, 1, some("scheduler", "Event")));
    all.extend(continued(&runs, 1, some("scheduler", "Event")));
    all
}

fn raft(some: MadeUp<'_>) -> Vec<Vec<u8>> {
    let message = |kind: wire::MessageKind, term, index, entries: u64| {
        let entry = |number| wire::Entry {
            index: index + number,
            term,
            data: b"x".to_vec(),
            ..wire::Entry::default()
        };
        let message = wire::Message {
            kind: kind as i32,
            to: 1,
            from: 2,
            term,
            index,
            log_term: if index == 0 { 0 } else { term },
            commit: index + entries,
            entries: (1..=entries).map(entry).collect(),
            ..wire::Message::default()
        };
        step(1, 2, &message.encode_to_vec(), false)
    };
    use wire::MessageKind as K;
    let follows =
        [message(K::Append, 1, 0, 3), message(K::Append, 1, 3, 2), step(2, 100, &[], false)].concat();
    let votes = [message(K::RequestPreVote, 2, 5, 0), message(K::RequestVote, 2, 5, 0)].concat();
    let campaigns = [
        step(2, 600, &[], false),
        message(K::RequestPreVoteResponse, 2, 0, 0),
        message(K::RequestVoteResponse, 2, 0, 0),
        step(3, 1, b"proposal", false),
        message(K::AppendResponse, 2, 1, 0),
    ]
    .concat();
    let mut all = vec![
        follows.clone(),
        votes.clone(),
        campaigns.clone(),
        [follows.clone(), votes, step(5, 0, &[], false)].concat(),
    ];
    all.extend(continued(&follows, 1, some("raft", "Message")));
    all.extend(continued(&campaigns, 1, some("raft", "Message")));
    all
}
