//! One master alone, with an agent and a framework as values: the walk of an offer, and what happens off its path.

#[path = "one_master/audits.rs"]
mod audits;
#[path = "one_master/backups.rs"]
mod backups;
#[path = "one_master/drains.rs"]
mod drains;
#[path = "one_master/earmarks.rs"]
mod earmarks;
#[path = "one_master/limits.rs"]
mod limits;
#[path = "one_master/masters.rs"]
mod masters;
#[path = "one_master/races.rs"]
mod races;
#[path = "one_master/refusals.rs"]
mod refusals;
#[path = "one_master/rig.rs"]
mod rig;
#[path = "one_master/rights.rs"]
mod rights;
#[path = "one_master/secrets.rs"]
mod secrets;
#[path = "one_master/sight.rs"]
mod sight;
#[path = "one_master/situations.rs"]
mod situations;
#[path = "one_master/volumes.rs"]
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use master_core::{Input, LinkId, OperatorCall, SessionId, Ticket};
use proto::agent::AgentState;
use proto::agent_link::{Register, ToAgentKind, ToMaster};
use proto::caller::Caller;
use proto::demand::{DeclineReason, Demand, Filter};
use proto::explain::Explanation;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, DemandId, Epoch, FrameworkId, OperationId, RunId, TaskId};
use proto::offer::Offer;
use proto::operation::{Launch, Operation};
use proto::operator::ReplyKind;
use proto::quantities::Quantities;
use proto::refusal::Code;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{
    Accept, AcceptPart, Acknowledge, Call, CallKind, Decline, EventKind, Kill, Outcome, Subscribe,
    UpdateDemands,
};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};
use proto_machine::{Machine, Outbox};
use rig::*;

#[test]
fn an_offer_walks_from_the_agent_to_a_finished_task_and_back() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    assert_eq!(offers.len(), 1, "the whole agent is offered");
    assert_eq!(offers[0].resources.quantities(), agent().resources.quantities());

    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000), task("t2", 500)]));
    let events = world.events(10);
    assert!(matches!(outcome(&events, "op-1"), Outcome::Committed(index) if index > 0));
    let runs = world.launched();
    assert_eq!(runs.len(), 2, "both go to the agent, after the commit");

    world.say(update(&framework, runs[0].run, "t1", 1, TaskState::Running));
    let told = world.events(10);
    assert!(
        told.iter()
            .any(|e| matches!(e, EventKind::Update(s) if s.state == TaskState::Running && s.pid == 42))
    );

    world.say(update(&framework, runs[0].run, "t1", 2, TaskState::Finished));
    let rest = world.offers(10);
    let sum = rest.iter().fold(Quantities::ZERO, |mut sum, offer| {
        sum.add(&offer.resources.quantities());
        sum
    });
    assert!(sum.cpus_milli() >= 1000, "what the task used is offered again: {sum}");
    let ack = Acknowledge { task: TaskId::new("t1").unwrap(), run: runs[0].run, sequence: 2 };
    world.call(10, None, CallKind::Acknowledge(ack));
    let acks = world.to_agent.iter().filter(|(_, kind)| matches!(kind, ToAgentKind::Acknowledge(_))).count();
    assert_eq!(acks, 1, "the agent may forget it");
}

#[test]
fn the_same_operation_is_carried_out_once() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    let first = outcome(&world.events(10), "op-1");
    assert_eq!(world.launched().len(), 1);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    assert_eq!(outcome(&world.events(10), "op-1"), first);
    assert!(world.launched().is_empty());
}

#[test]
fn a_task_as_root_ends_as_an_error_that_says_how_root_is_granted() {
    let as_user = |id: &str, user: &str| {
        let mut task = task(id, 100);
        task.command.user = user.into();
        task
    };
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    let tasks = vec![as_user("r", "root"), as_user("w", "web"), as_user("d", "")];
    world.call(10, Some("op-1"), accept(&offers, tasks));
    let refused: Vec<TaskStatus> = world
        .events(10)
        .into_iter()
        .filter_map(|event| match event {
            EventKind::Update(status) => Some(status),
            _ => None,
        })
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    let status = &refused[0];
    assert_eq!((status.task.as_str(), status.state), ("r", TaskState::Error));
    assert_eq!(status.reason, StatusReason::TaskUnauthorized);
    for word in ["user is root", "framework/eng may not", "--allow-root-tasks framework/eng"] {
        assert!(status.message.contains(word), "{}", status.message);
    }
    assert_eq!(world.launched().len(), 2, "the others run");

    let mut world = World::with(|config| {
        config.root_tasks.insert(Caller::Framework("eng".into()));
    });
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![as_user("r", "root")]));
    assert_eq!(world.launched().len(), 1, "it was granted");
}

#[test]
fn stale_offers_and_greedy_tasks_are_answered_not_launched() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("big", 9000), task("small", 100)]));
    let events = world.events(10);
    let errors: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            EventKind::Update(s) if s.state == TaskState::Error => Some(s.message.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("cpus:5"), "it says what lacks: {}", errors[0]);
    assert_eq!(world.launched().len(), 1, "the small one runs");
    world.call(10, Some("op-2"), accept(&offers, vec![task("late", 100)]));
    let events = world.events(10);
    assert!(events.iter().any(|e| matches!(e, EventKind::Update(s) if s.state == TaskState::Dropped)));
    assert!(world.launched().is_empty());
}

#[test]
fn a_declined_offer_comes_back_after_its_filter() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    let decline = Decline {
        offers: offers.iter().map(|offer| offer.id).collect(),
        reason: DeclineReason::Unused,
        filter: Filter { refuse: Duration::from_secs(5) },
    };
    world.call(10, Some("op-1"), CallKind::Decline(decline));
    world.run(Duration::from_secs(4));
    assert!(world.offers(10).is_empty());
    world.run(Duration::from_secs(2));
    assert_eq!(world.offers(10).len(), 1);
}

#[test]
fn an_unanswered_offer_expires_and_is_told() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    assert_eq!(world.offers(10).len(), 1);
    for _ in 0..14 {
        world.run(Duration::from_secs(5));
        world.call(10, None, CallKind::Heartbeat);
        let agent = AgentId::new("a1").unwrap();
        world.say(Input::Agent { link: LinkId(1), agent, message: ToMaster::Heartbeat });
    }
    let events = world.events(10);
    assert!(events.iter().any(|e| matches!(e, EventKind::Rescind(_))), "{events:?}");
}

#[test]
fn a_framework_that_comes_back_too_late_does_not_rise_from_the_dead() {
    let mut world = World::new();
    let framework = world.subscribe(10, None);
    world.say(Input::FrameworkClosed { session: SessionId(10) });
    // Its time is over, and in the same moment it asks.
    world.now += Duration::from_secs(61).as_nanos() as u64;
    let now = world.time();
    let mut out = Outbox::new();
    world.master.wake(now, &mut out);
    let call = Call { operation: None, kind: CallKind::Subscribe(subscribe(Some(framework.clone()))) };
    let (session, caller) = (SessionId(11), Caller::Framework("eng".into()));
    world.master.step(now, Input::Framework { session, caller, call }, &mut out);
    world.master.settle(now, &mut out);
    world.perform(out);
    let events = world.events(11);
    let removed =
        |e: &EventKind| matches!(e, EventKind::Fault(f) if f.refusal.code == Code::FrameworkRemoved);
    assert!(events.iter().any(removed), "{events:?}");
    assert!(world.master.registry().framework(&framework).is_none());
}

#[test]
fn who_lets_offers_run_out_gets_them_ever_more_rarely() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let wait = |world: &mut World, seconds: u64| {
        let mut offers = Vec::new();
        for _ in 0..seconds {
            world.run(Duration::from_secs(1));
            world.call(10, None, CallKind::Heartbeat);
            let agent = AgentId::new("a1").unwrap();
            world.say(Input::Agent { link: LinkId(1), agent, message: ToMaster::Heartbeat });
            offers.extend(world.offers(10));
        }
        offers
    };
    assert_eq!(world.offers(10).len(), 1);
    // Held for a minute, refused for one; held for a minute, refused for two.
    assert_eq!(wait(&mut world, 115).len(), 0);
    assert_eq!(wait(&mut world, 60).len(), 1);
    assert_eq!(wait(&mut world, 110).len(), 0);
    let offers = wait(&mut world, 40);
    assert_eq!(offers.len(), 1);
    // One answer, and it is trusted again.
    let ids = offers.iter().map(|offer| offer.id).collect();
    let filter = Filter { refuse: Duration::from_secs(1) };
    let decline = Decline { offers: ids, reason: DeclineReason::Unused, filter };
    world.call(10, Some("op-1"), CallKind::Decline(decline));
    assert_eq!(wait(&mut world, 5).len(), 1);
    assert_eq!(wait(&mut world, 130).len(), 1);
}

#[test]
fn an_agent_that_is_out_of_sight_can_be_given_up() {
    let mut world = World::new();
    world.register(1);
    world.say(Input::AgentClosed { link: LinkId(1) });
    world.run(Duration::from_secs(120));
    let agent = AgentId::new("a1").unwrap();
    let state = |world: &World| world.master.registry().agent(&agent).map(|record| record.state);
    assert_eq!(state(&world), Some(AgentState::Unreachable));
    let call = OperatorCall::MarkAgentGone(proto::operator::MarkAgentGone { agent: agent.clone() });
    world.say(Input::Operator { ticket: Ticket(1), caller: Caller::User("ada".into()), call });
    assert_eq!(state(&world), Some(AgentState::Gone));
}

#[test]
fn demands_get_what_they_ask_for_and_no_more() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let demand = |count| {
        CallKind::UpdateDemands(UpdateDemands {
            demands: vec![Demand {
                id: DemandId::new("web").unwrap(),
                role: role(),
                shape: Amount::scalars(Quantities::of(500, GIB)),
                count,
                constraints: Default::default(),
                priority: 0,
            }],
            demand_driven: true,
        })
    };
    world.call(10, Some("op-0"), demand(0));
    let _ = world.offers(10);
    world.call(10, Some("op-1"), demand(3));
    let offers = world.offers(10);
    let cpus: u64 = offers.iter().map(|offer| offer.resources.quantities().cpus_milli()).sum();
    assert_eq!(cpus, 1500, "three units: {offers:?}");
    world.call(10, Some("op-2"), accept(&offers, vec![task("t1", 500), task("t2", 500), task("t3", 500)]));
    assert_eq!(world.launched().len(), 3);
    world.call(10, Some("op-3"), demand(0));
    assert!(world.offers(10).is_empty());
}

#[test]
fn demands_said_with_subscribe_leave_no_round_of_plain_offers() {
    let mut world = World::new();
    world.register(1);
    let wanted = Demand {
        id: DemandId::new("web").unwrap(),
        role: role(),
        shape: Amount::scalars(Quantities::of(500, GIB)),
        count: 2,
        constraints: Default::default(),
        priority: 0,
    };
    let with = |demands: Vec<Demand>| Subscribe {
        demands: Some(UpdateDemands { demands, demand_driven: true }),
        ..subscribe(None)
    };
    world.call(10, None, CallKind::Subscribe(with(vec![])));
    assert!(world.offers(10).is_empty(), "nothing wanted, nothing offered");
    world.call(11, None, CallKind::Subscribe(with(vec![wanted.clone()])));
    let offers = world.offers(11);
    assert!(offers.iter().all(|offer| offer.demand.as_ref() == Some(&wanted.id)), "{offers:?}");
    let cpus: u64 = offers.iter().map(|offer| offer.resources.quantities().cpus_milli()).sum();
    assert_eq!(cpus, 1000);
    let strange = Demand { role: Role::new("other").unwrap(), ..wanted };
    world.call(12, None, CallKind::Subscribe(with(vec![strange])));
    let refused = |event: &EventKind| matches!(event, EventKind::Fault(f) if f.refusal.code == Code::Invalid);
    assert!(world.events(12).iter().any(refused));
}

#[test]
fn a_kill_is_asked_again_when_the_agent_is_back() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    let _ = world.launched();
    world.say(Input::AgentClosed { link: LinkId(1) });
    world.call(10, Some("op-2"), CallKind::Kill(Kill { task: TaskId::new("t1").unwrap(), grace: None }));
    assert!(world.to_agent.is_empty());
    world.register(2);
    let kinds: Vec<_> = world.to_agent.iter().map(|(_, kind)| kind).collect();
    let launch = kinds.iter().position(|kind| matches!(kind, ToAgentKind::Launch(_)));
    let kill = kinds.iter().position(|kind| matches!(kind, ToAgentKind::Kill(_)));
    assert!(launch < kill && launch.is_some(), "delivered, then killed: {kinds:?}");
}

#[test]
fn a_forged_framework_id_is_refused_and_harms_nobody() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let info = FrameworkInfo {
        name: "evil".into(),
        roles: vec![Role::default_role()],
        failover_timeout: Duration::ZERO,
        address: String::new(),
        labels: BTreeMap::new(),
    };
    let subscribe = Subscribe {
        framework: info,
        id: Some(framework),
        resume: None,
        suppressed_roles: vec![],
        demands: None,
        fence: 0,
    };
    let call = Call { operation: None, kind: CallKind::Subscribe(subscribe) };
    let caller = Caller::Framework("evil".into());
    world.say(Input::Framework { session: SessionId(66), caller, call });
    let events = world.events(66);
    assert!(
        matches!(&events[0], EventKind::Fault(fault) if fault.refusal.message.contains("may not take up")),
        "{events:?}"
    );
    assert!(world.closed.contains(&SessionId(66)) && !world.closed.contains(&SessionId(10)));
}

#[test]
fn a_second_session_replaces_the_first_and_keeps_the_tasks() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    assert_eq!(world.subscribe(11, Some(framework.clone())), framework);
    let old = world.events(10);
    assert!(old.iter().any(|e| matches!(e, EventKind::Fault(f) if f.refusal.code == Code::SessionReplaced)));
    world.call(10, Some("op-2"), CallKind::Teardown);
    assert!(world.master.registry().framework(&framework).is_some(), "the old session can do nothing");
}

#[test]
fn an_operator_is_answered_and_others_are_not_operators() {
    let mut world = World::new();
    let set = |weight| {
        OperatorCall::SetWeight(proto::operator::SetWeight {
            role: role(),
            weight: proto::role::Weight::from_milli(weight).unwrap(),
        })
    };
    world.say(Input::Operator { ticket: Ticket(1), caller: Caller::User("ada".into()), call: set(2000) });
    world.say(Input::Operator {
        ticket: Ticket(2),
        caller: Caller::Framework("eng".into()),
        call: set(9000),
    });
    assert!(matches!(&world.replies[0], (Ticket(1), ReplyKind::Done(_))));
    assert!(matches!(&world.replies[1], (Ticket(2), ReplyKind::Refused(r)) if r.code == Code::Denied));
    assert_eq!(world.master.registry().weight(&role()).milli(), 2000);
}

#[test]
fn what_an_agent_presents_does_not_overtake_its_updates() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    let run = world.launched()[0].run;
    let _ = world.events(10);
    world.say(Input::AgentClosed { link: LinkId(1) });
    let latest = status_of(update(&framework, run, "t1", 2, TaskState::Failed));
    present(&mut world, 1, &framework, task("t1", 1000), latest);
    world.say(update(&framework, run, "t1", 1, TaskState::Running));
    world.say(update(&framework, run, "t1", 2, TaskState::Failed));
    assert_eq!(statuses(world.events(10)), [(TaskState::Running, 1), (TaskState::Failed, 2)]);
}

#[test]
fn the_snapshot_of_a_new_session_anticipates_no_update() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000), task("t2", 1000)]));
    let runs: Vec<RunId> = world.launched().iter().map(|launch| launch.run).collect();
    world.say(update(&framework, runs[0], "t1", 1, TaskState::Starting));
    world.say(update(&framework, runs[0], "t1", 2, TaskState::Running));
    world.say(update(&framework, runs[1], "t2", 1, TaskState::Running));
    let taken_in = Acknowledge { task: TaskId::new("t2").unwrap(), run: runs[1], sequence: 1 };
    world.call(10, None, CallKind::Acknowledge(taken_in));
    // Its end is said, and not yet in the log.
    let call = Call { operation: None, kind: CallKind::Subscribe(subscribe(Some(framework.clone()))) };
    let (session, caller) = (SessionId(11), Caller::Framework("eng".into()));
    let ended = update(&framework, runs[1], "t2", 2, TaskState::Finished);
    world.say_at_once(vec![ended, Input::Framework { session, caller, call }]);
    let events = world.events(11);
    let snapshot = events.iter().find_map(|event| match event {
        EventKind::Subscribed(subscribed) => {
            let all = subscribed.tasks.iter().map(|s| (s.task.as_str().to_owned(), s.state, s.sequence));
            Some(all.collect::<Vec<_>>())
        }
        _ => None,
    });
    let staging = |name: &str| (name.to_owned(), TaskState::Staging, 0);
    assert_eq!(snapshot.unwrap(), [staging("t1"), staging("t2")]);
    assert_eq!(
        statuses(events),
        [(TaskState::Starting, 1), (TaskState::Running, 2), (TaskState::Finished, 2)]
    );
}

#[test]
fn the_end_that_is_in_the_log_stands() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    let run = world.launched()[0].run;
    world.say(update(&framework, run, "t1", 1, TaskState::Running));
    world.say(update(&framework, run, "t1", 2, TaskState::Finished));
    let _ = world.events(10);
    // The machine lost its power, and with it what was not synced.
    world.say(update(&framework, run, "t1", 2, TaskState::Gone));
    assert_eq!(statuses(world.events(10)), [(TaskState::Finished, 2)]);
}

#[test]
fn a_demand_too_large_for_all_names_the_nearest_agents_and_what_they_lack() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let demand = Demand {
        id: DemandId::new("web").unwrap(),
        role: role(),
        shape: Amount::scalars(Quantities::of(6000, GIB)),
        count: 1,
        constraints: Default::default(),
        priority: 0,
    };
    let demands = UpdateDemands { demands: vec![demand], demand_driven: true };
    world.call(10, Some("op-0"), CallKind::UpdateDemands(demands));
    let told = explain(&mut world, 1);
    assert_eq!(told.code, "too-large");
    assert!(told.subject.starts_with("demand web of jobs:"), "its name, not its id: {told:?}");
    let near: Vec<_> = told.nearest.iter().map(|miss| (&*miss.hostname, &miss.lacking.scalars)).collect();
    // An open offer of all it has makes no difference: it is measured empty.
    assert_eq!(near, [("a1", &Quantities::of(2000, 0))]);

    // Out of sight, the agent is no longer in the pool: it is named all the same.
    world.say(Input::AgentClosed { link: LinkId(1) });
    let told = explain(&mut world, 2);
    let seen = |told: &Explanation| {
        let steps = told.funnel[..2].iter().map(|step| (step.name.clone(), step.left, step.fell_out.clone()));
        steps.collect::<Vec<_>>()
    };
    let none = [("all".to_owned(), 1, vec![]), ("alive".to_owned(), 0, vec!["a1".to_owned()])];
    assert_eq!((&*told.code, seen(&told)), ("too-large", none.to_vec()));
    world.run(Duration::from_secs(600));
    let agent = world.master.registry().agents().next().expect("it is remembered");
    assert_eq!(agent.state, AgentState::Unreachable);
    // The framework was silent for as long and is gone: a new one asks.
    world.subscribe(11, None);
    let told = explain(&mut world, 3);
    assert_eq!((&*told.code, seen(&told)), ("agent-unreachable", none.to_vec()));
}

#[test]
fn who_wants_to_read_is_told_when_all_that_is_committed_can_be_read() {
    let mut world = World::new();
    world.say(Input::Confirm { ticket: Ticket(7) });
    assert_eq!(world.confirmed, [(Ticket(7), true)]);
}
