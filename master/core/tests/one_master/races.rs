//! What is asked before the log knows of what came just before it.

use proto::agent::AgentState;
use proto::log::TokenCreated;
use proto::operation::Reserve;
use proto::operator::{MarkAgentGone, TeardownFramework, TokenKind};
use proto::scheduler::UpdateFramework;

use super::*;

fn jobs(session: u64, operation: Option<&str>, kind: CallKind) -> Input {
    let operation = operation.map(|text| OperationId::new(text).unwrap());
    let call = Call { operation, kind };
    Input::Framework { session: SessionId(session), caller: Caller::Framework("eng".into()), call }
}

fn ada(ticket: u64, call: OperatorCall) -> Input {
    Input::Operator { ticket: Ticket(ticket), caller: Caller::User("ada".into()), call }
}

fn gone() -> OperatorCall {
    OperatorCall::MarkAgentGone(MarkAgentGone { agent: AgentId::new("a1").unwrap() })
}

fn teardown(framework: &FrameworkId) -> OperatorCall {
    OperatorCall::TeardownFramework(TeardownFramework { framework: framework.clone() })
}

fn sum(offers: &[Offer]) -> Quantities {
    offers.iter().fold(Quantities::ZERO, |mut sum, offer| {
        sum.add(&offer.resources.quantities());
        sum
    })
}

#[test]
fn a_framework_without_a_failover_timeout_ends_with_its_session_and_holds_nobody_up() {
    let mut world = World::new();
    let hasty = FrameworkInfo { failover_timeout: Duration::ZERO, ..info() };
    let framework = world.subscribe_as(10, None, hasty);
    // As the driver does it: what is due is told in the same turn, before anything is proposed.
    let mut out = Outbox::new();
    let now = world.time();
    world.master.step(now, Input::FrameworkClosed { session: SessionId(10) }, &mut out);
    world.master.wake(now, &mut out);
    world.master.settle(now, &mut out);
    world.perform(out);
    world.run(Duration::from_secs(1));
    assert!(world.master.registry().was_removed(&framework));
}

#[test]
fn a_framework_that_is_back_before_the_log_knew_it_was_away_is_not_waited_for() {
    let mut world = World::new();
    let framework = world.subscribe(10, None);
    let again = Subscribe {
        framework: info(),
        id: Some(framework.clone()),
        resume: None,
        suppressed_roles: vec![],
        demands: None,
        fence: 0,
    };
    world.say_at_once([
        Input::FrameworkClosed { session: SessionId(10) },
        jobs(11, None, CallKind::Subscribe(again)),
    ]);
    let record = &world.master.registry().framework(&framework).unwrap().record;
    assert_eq!(record.deadline_ms, 0, "the next leader must not take it for one that is away");
}

#[test]
fn a_launch_on_an_agent_that_is_being_given_up_is_reported() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.say_at_once([ada(1, gone()), jobs(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]))]);
    let events = world.events(10);
    assert!(matches!(outcome(&events, "op-1"), Outcome::Committed(_)));
    assert!(world.launched().is_empty());
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Update(status) => Some((status.state, status.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(TaskState::Dropped, StatusReason::AgentGone)]);
    assert_eq!(world.master.registry().tasks_of(&framework).count(), 0);
}

#[test]
fn an_accept_behind_the_end_of_its_framework_gives_everything_back() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    let reserve =
        Operation::Reserve(Reserve { role: role(), amount: Amount::scalars(Quantities::of(1000, GIB)) });
    let CallKind::Accept(mut call) = accept(&offers, vec![task("t1", 1000)]) else { panic!() };
    call.parts[0].operations.push(reserve);
    world.say_at_once([ada(1, teardown(&framework)), jobs(10, Some("op-1"), CallKind::Accept(call))]);
    assert!(world.launched().is_empty());
    world.subscribe(11, None);
    let offers = world.offers(11);
    assert_eq!(sum(&offers), agent().resources.quantities(), "nothing of the agent is lost");
    assert!(offers[0].resources.portions().iter().all(|portion| portion.reservation.is_none()));
    world.call(11, Some("op-2"), accept(&offers, vec![task("t1", 4000)]));
    assert_eq!(world.launched().len(), 1);
}

#[test]
fn a_framework_that_is_being_ended_is_not_brought_back() {
    let mut world = World::new();
    let framework = world.subscribe(10, None);
    let other = FrameworkInfo { name: "other".into(), ..info() };
    let update = CallKind::UpdateFramework(UpdateFramework { framework: other.clone() });
    world.say_at_once([ada(1, teardown(&framework)), jobs(10, Some("op-1"), update)]);
    assert!(world.master.registry().framework(&framework).is_none());
    assert!(world.master.registry().was_removed(&framework));

    let framework = world.subscribe(20, None);
    let again = Subscribe {
        framework: other,
        id: Some(framework.clone()),
        resume: None,
        suppressed_roles: vec![],
        demands: None,
        fence: 0,
    };
    world.say_at_once([ada(2, teardown(&framework)), jobs(21, None, CallKind::Subscribe(again))]);
    assert!(world.master.registry().framework(&framework).is_none());
    let events = world.events(21);
    assert!(
        matches!(&events[..], [EventKind::Fault(fault)] if fault.refusal.code == Code::FrameworkRemoved),
        "{events:?}"
    );
    assert!(world.closed.contains(&SessionId(21)));
}

#[test]
fn a_token_of_one_use_is_used_once() {
    let mut world = World::new();
    let token = TokenCreated {
        id: "tok".into(),
        secret_sha256: vec![7; 32],
        kind: TokenKind::Agent,
        expires_ms: u64::MAX,
        uses: 1,
        name: String::new(),
        rights: None,
    };
    world.say(ada(1, OperatorCall::CreateToken(token)));
    let redeem = |ticket, agent: &str| {
        let becomes = Caller::Agent(AgentId::new(agent).unwrap());
        let call = OperatorCall::RedeemToken {
            id: "tok".into(),
            secret_sha256: vec![7; 32],
            becomes: becomes.clone(),
        };
        Input::Operator { ticket: Ticket(ticket), caller: becomes, call }
    };
    world.say_at_once([redeem(2, "b1"), redeem(3, "b2")]);
    assert!(matches!(&world.replies[1], (Ticket(2), ReplyKind::Done(_))));
    assert!(matches!(&world.replies[2], (Ticket(3), ReplyKind::Refused(r)) if r.code == Code::BadToken));
}

#[test]
fn what_an_agent_runs_that_the_log_did_not_know_is_not_offered() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    assert_eq!(world.offers(10).len(), 1);
    world.say(Input::AgentClosed { link: LinkId(1) });
    let running = status_of(update(&framework, RunId::at(77, 0), "old", 3, TaskState::Running));
    present(&mut world, 2, &framework, task("old", 3000), running);
    assert_eq!(world.master.registry().tasks_of(&framework).count(), 1, "it is adopted");
    let events = world.events(10);
    let open: Vec<Offer> = world
        .offers(10)
        .into_iter()
        .filter(|offer| !events.iter().any(|e| matches!(e, EventKind::Rescind(r) if r.offer == offer.id)))
        .collect();
    assert_eq!(sum(&open).cpus_milli(), 1000, "{open:?}");
    world.say(ada(9, gone()));
    let agent = world.master.registry().agent(&AgentId::new("a1").unwrap()).unwrap();
    assert_eq!(agent.state, AgentState::Gone);
}

fn instance(fence: u64, framework: Option<FrameworkId>) -> CallKind {
    CallKind::Subscribe(Subscribe { fence, ..subscribe(framework) })
}

fn is_fenced(events: &[EventKind]) -> bool {
    events.iter().any(|event| matches!(event, EventKind::Fault(fault) if fault.refusal.code == Code::Fenced))
}

#[test]
fn an_instance_that_was_taken_over_from_gets_no_session_any_more() {
    let mut world = World::new();
    world.register(1);
    world.call(10, None, instance(5, None));
    let framework = world.master.registry().frameworks().next().map(|f| f.record.id.clone()).unwrap();
    world.call(11, None, instance(6, Some(framework.clone())));
    let told = world.events(10);
    assert!(
        told.iter().any(|e| matches!(e, EventKind::Fault(f) if f.refusal.code == Code::SessionReplaced)),
        "{told:?}"
    );
    // It comes back: as itself, and as one that knows of no instances.
    for (session, fence) in [(12, 5), (13, 0)] {
        world.call(session, None, instance(fence, Some(framework.clone())));
        assert!(is_fenced(&world.events(session)) && world.closed.contains(&SessionId(session)));
    }
    assert!(!world.closed.contains(&SessionId(11)), "the other one is not disturbed");
    // What it says of itself meanwhile keeps its place.
    let other = FrameworkInfo { name: "other".into(), ..info() };
    world.call(11, Some("op-1"), CallKind::UpdateFramework(UpdateFramework { framework: other }));
    assert_eq!(world.master.registry().framework(&framework).map(|f| f.record.fence), Some(6));
    // The same instance may break off and come again.
    world.say(Input::FrameworkClosed { session: SessionId(11) });
    world.call(14, None, instance(6, Some(framework)));
    assert!(!is_fenced(&world.events(14)) && !world.closed.contains(&SessionId(14)));
}

#[test]
fn of_two_instances_that_come_at_once_the_later_one_stays_in_whichever_order_they_come() {
    for order in [[(21, 8), (20, 7)], [(20, 7), (21, 8)]] {
        let mut world = World::new();
        world.register(1);
        world.call(10, None, instance(5, None));
        let framework = world.master.registry().frameworks().next().map(|f| f.record.id.clone()).unwrap();
        let calls =
            order.map(|(session, fence)| jobs(session, None, instance(fence, Some(framework.clone()))));
        world.say_at_once(calls);
        assert!(world.closed.contains(&SessionId(20)), "{order:?}");
        assert!(!world.closed.contains(&SessionId(21)), "{order:?}");
        assert_eq!(world.master.registry().framework(&framework).map(|f| f.record.fence), Some(8));
    }
}
