//! An agent that is to be empty: no new work, an end of what runs, and back again.

use proto::operator::{DrainAgent, MarkAgentGone, ResumeAgent};

use super::*;

fn a1() -> AgentId {
    AgentId::new("a1").unwrap()
}

fn ada(ticket: u64, call: OperatorCall) -> Input {
    Input::Operator { ticket: Ticket(ticket), caller: Caller::User("ada".into()), call }
}

fn drain(within: Option<Duration>) -> OperatorCall {
    OperatorCall::DrainAgent(DrainAgent { agent: a1(), within, reason: "new disk".into() })
}

fn resume() -> OperatorCall {
    OperatorCall::ResumeAgent(ResumeAgent { agent: a1() })
}

fn kills(world: &mut World) -> usize {
    let all = std::mem::take(&mut world.to_agent);
    all.iter().filter(|(_, kind)| matches!(kind, ToAgentKind::Kill(_))).count()
}

fn last(world: &World) -> &ReplyKind {
    &world.replies.last().unwrap().1
}

#[test]
fn what_is_offered_of_it_is_taken_back_and_nothing_more_is() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    assert_eq!(world.offers(10).len(), 1);
    world.say(ada(1, drain(None)));
    assert!(matches!(last(&world), ReplyKind::Done(_)));
    assert!(world.events(10).iter().any(|event| matches!(event, EventKind::Rescind(_))));
    world.run(Duration::from_secs(6));
    assert_eq!(world.subscribe(11, Some(framework.clone())), framework);
    assert!(world.offers(11).is_empty(), "nor to a session that comes later");
    world.say(Input::AgentClosed { link: LinkId(1) });
    world.register(2);
    assert!(world.offers(11).is_empty(), "nor when the agent is back");
    let drain = world.master.registry().agent(&a1()).unwrap().drain.clone().unwrap();
    assert_eq!((drain.by.as_str(), drain.reason.as_str(), drain.deadline_ms), ("user/ada", "new disk", 0));
    world.say(ada(2, resume()));
    assert_eq!(world.offers(11).len(), 1);
    world.say(ada(3, resume()));
    assert!(matches!(last(&world), ReplyKind::Refused(refusal) if refusal.code == Code::Conflict));
}

#[test]
fn a_launch_that_was_on_its_way_through_the_log_is_ended_too() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    let call = Call {
        operation: Some(OperationId::new("op-1").unwrap()),
        kind: accept(&offers, vec![task("t1", 1000)]),
    };
    let caller = "framework/eng".parse().unwrap();
    let launch = Input::Framework { session: SessionId(10), caller, call };
    world.say_at_once([ada(1, drain(Some(Duration::ZERO))), launch]);
    world.run(Duration::from_secs(11));
    let alive = world.master.registry().tasks().filter(|task| task.kill_grace.is_none()).count();
    assert_eq!(alive, 0, "none is left that nobody asked to end");
}

#[test]
fn what_runs_goes_on_until_the_deadline_and_is_ended_then() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000), task("t2", 1000)]));
    world.say(ada(1, drain(Some(Duration::from_secs(5)))));
    world.run(Duration::from_secs(4));
    assert_eq!(kills(&mut world), 0);
    world.run(Duration::from_secs(2));
    assert_eq!(kills(&mut world), 2);
    let wanted = world.master.registry().tasks().filter(|task| task.kill_grace.is_some()).count();
    assert_eq!(wanted, 2, "and the log remembers that it was asked");
}

#[test]
fn a_deadline_that_was_taken_back_ends_nothing() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    world.say(ada(1, drain(Some(Duration::from_secs(5)))));
    world.say(ada(2, drain(None)));
    world.run(Duration::from_secs(7));
    assert_eq!(kills(&mut world), 0);
    world.say(ada(3, drain(Some(Duration::from_secs(5)))));
    world.say(ada(4, resume()));
    world.run(Duration::from_secs(7));
    assert_eq!(kills(&mut world), 0);
}

#[test]
fn an_agent_that_is_gone_is_not_drained() {
    let mut world = World::new();
    world.register(1);
    world.say(ada(1, drain(None)));
    world.say(ada(2, OperatorCall::MarkAgentGone(MarkAgentGone { agent: a1() })));
    assert!(world.master.registry().agent(&a1()).unwrap().drain.is_none());
    world.say(ada(3, drain(None)));
    assert!(matches!(last(&world), ReplyKind::Refused(refusal) if refusal.code == Code::Conflict));
    let caller = Caller::Framework("eng".into());
    world.say(Input::Operator { ticket: Ticket(4), caller, call: drain(None) });
    assert!(matches!(last(&world), ReplyKind::Refused(refusal) if refusal.code == Code::Denied));
}

/// What a session was told of drains, in words.
fn notices(world: &mut World, session: u64) -> Vec<String> {
    let told = world.events(session).into_iter().filter_map(|event| match event {
        EventKind::AgentDraining(notice) => Some(format!(
            "{} drains, {}{}",
            notice.agent,
            notice.reason,
            if notice.deadline_ms > 0 { ", by then" } else { "" }
        )),
        EventKind::AgentResumed(notice) => Some(format!("{} is back", notice.agent)),
        _ => None,
    });
    told.collect()
}

#[test]
fn frameworks_with_tasks_there_are_told_and_others_are_not() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    world.subscribe(11, None);
    world.say(ada(1, drain(None)));
    assert_eq!(notices(&mut world, 10), ["a1 drains, new disk"]);
    world.say(ada(2, drain(Some(Duration::from_secs(600)))));
    assert_eq!(notices(&mut world, 10), ["a1 drains, new disk, by then"], "its deadline has changed");
    assert!(notices(&mut world, 11).is_empty(), "it has nothing there");
    world.say(Input::FrameworkClosed { session: SessionId(10) });
    world.call(12, None, CallKind::Subscribe(subscribe(Some(framework))));
    assert_eq!(notices(&mut world, 12), ["a1 drains, new disk, by then"], "a new session is told as well");
    world.say(ada(3, resume()));
    assert_eq!(notices(&mut world, 12), ["a1 is back"]);
    assert!(notices(&mut world, 11).is_empty());
}
