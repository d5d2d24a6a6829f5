//! What the audit log is told: who did what, what was denied, and what the leader ended by itself.

use master_core::{Audited, Via};
use proto::scheduler::{Acknowledge, Decline, Kill};

use super::*;

impl World {
    /// As `framework/evil`, and not as the framework of the other tests.
    fn evil(&mut self, session: u64, operation: Option<&str>, kind: CallKind) {
        let operation = operation.map(|text| OperationId::new(text).unwrap());
        let caller = Caller::Framework("evil".into());
        self.say(Input::Framework { session: SessionId(session), caller, call: Call { operation, kind } });
    }

    /// What is new in the audit log: who, what, on what, and what came of it.
    fn told(&mut self) -> Vec<(String, &'static str, String, Result<(), Code>)> {
        let all = std::mem::take(&mut self.audited);
        let told =
            |audited: Audited| (audited.who, audited.call, audited.object, audited.outcome.map(|_| ()));
        all.into_iter().map(told).collect()
    }
}

fn line(
    who: &str,
    call: &'static str,
    object: impl ToString,
    outcome: Result<(), Code>,
) -> (String, &'static str, String, Result<(), Code>) {
    (who.to_owned(), call, object.to_string(), outcome)
}

fn subscribe_evil(id: Option<FrameworkId>, role: &str) -> CallKind {
    let framework = FrameworkInfo { name: "evil".into(), roles: vec![Role::new(role).unwrap()], ..info() };
    CallKind::Subscribe(Subscribe { framework, ..subscribe(id) })
}

#[test]
fn a_framework_that_does_what_it_may_is_told_of_with_its_principal_and_its_session() {
    let mut world = World::new();
    world.register(1);
    assert_eq!(world.told(), [line("agent/a1", "register", "a1", Ok(()))]);
    let id = world.subscribe(10, None);
    assert_eq!(world.told(), [line("framework/eng", "subscribe", &id, Ok(()))]);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 100), task("t2", 100)]));
    let accepted = world.audited[0].clone();
    assert_eq!((accepted.count, accepted.via), (2, Some(Via::Session(SessionId(10)))));
    assert!(accepted.outcome.is_ok_and(|index| index > 0));
    assert_eq!(world.told(), [line("framework/eng", "accept", &id, Ok(()))]);
    // With an id or without, and never twice.
    world.call(10, None, CallKind::Kill(Kill { task: TaskId::new("t1").unwrap(), grace: None }));
    assert_eq!(world.told(), [line("framework/eng", "kill", format!("{id}/t1"), Ok(()))]);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 100), task("t2", 100)]));
    assert_eq!(world.told(), [], "it was carried out before");
    world.call(10, None, CallKind::Teardown);
    assert_eq!(world.told()[0], line("framework/eng", "teardown", &id, Ok(())));
}

#[test]
fn forged_ids_other_roles_and_the_offers_and_runs_of_others_are_denied_have_no_effect_and_are_told() {
    let mut world = World::new();
    world.register(1);
    let id = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 100)]));
    let run = world.launched()[0].run;
    world.say(update(&id, run, "t1", 1, TaskState::Running));
    let _ = world.told();

    world.evil(20, None, subscribe_evil(Some(id.clone()), "default"));
    assert_eq!(world.told(), [line("framework/evil", "subscribe", &id, Err(Code::Denied))]);
    let forged = FrameworkId::new("F9-9").unwrap();
    world.evil(21, None, subscribe_evil(Some(forged.clone()), "default"));
    assert_eq!(world.told(), [line("framework/evil", "subscribe", &forged, Err(Code::NotFound))]);
    world.evil(22, None, subscribe_evil(None, "eng"));
    assert_eq!(world.told(), [line("framework/evil", "subscribe", "", Err(Code::Denied))]);
    world.evil(23, Some("op-0"), accept(&offers, vec![task("t2", 100)]));
    assert_eq!(world.told(), [line("framework/evil", "accept", "", Err(Code::Conflict))], "not subscribed");

    // What is left is offered to the one that is there.
    world.run(Duration::from_secs(3));
    world.evil(24, None, subscribe_evil(None, "default"));
    let own = world.told()[0].2.clone();
    let open = world.offers(10);
    assert!(!open.is_empty(), "something of the other framework's to steal");
    world.evil(24, Some("op-2"), accept(&open, vec![task("stolen", 100)]));
    let told = world.told();
    assert_eq!(told[0], line("framework/evil", "accept", &own, Err(Code::Denied)), "{told:?}");
    assert_eq!(world.launched(), [], "nothing of it is launched");
    let ids = open.iter().map(|offer| offer.id).collect();
    let decline =
        Decline { offers: ids, reason: DeclineReason::Unused, filter: Filter { refuse: Duration::ZERO } };
    world.evil(24, Some("op-3"), CallKind::Decline(decline));
    assert_eq!(world.told(), [line("framework/evil", "decline", &own, Err(Code::Denied))]);
    world.call(10, Some("op-4"), accept(&open, vec![task("t3", 100)]));
    assert_eq!(world.launched().len(), 1, "they are still the other's");
    let _ = world.told();

    let acknowledge = Acknowledge { task: TaskId::new("t1").unwrap(), run, sequence: 1 };
    let before = world.to_agent.len();
    world.evil(24, None, CallKind::Acknowledge(acknowledge));
    assert_eq!(world.told(), [line("framework/evil", "acknowledge", &own, Err(Code::Denied))]);
    assert_eq!(world.to_agent.len(), before, "its agent hears nothing of that");
}

#[test]
fn a_failover_timer_outlives_the_leader_and_its_end_is_told_by_the_one_that_ends_it() {
    let mut world = World::new();
    world.register(1);
    let id = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 100)]));
    world.say(Input::FrameworkClosed { session: SessionId(10) });
    let closed = world.now;
    world.run(Duration::from_secs(20));
    world.restart();
    world.register(2);
    let _ = (world.told(), world.launched());
    // Sixty seconds from when it was cut off, whoever leads then.
    world.run(Duration::from_nanos(closed + 59_000_000_000 - world.now));
    assert_eq!(world.told(), [], "it may still come back");
    assert!(world.master.registry().framework(&id).is_some());
    world.run(Duration::from_secs(2));
    let ended = world.audited[0].clone();
    assert!(ended.message.contains("failover timeout") && ended.message.contains("1 tasks"), "{ended:?}");
    assert_eq!(world.told(), [line("", "end-framework", &id, Ok(()))]);
    let tasks: Vec<_> = world.master.registry().tasks_of(&id).collect();
    assert_eq!(tasks.len(), 1, "it is there until its agent has ended it");
    assert!(tasks[0].kill_grace.is_some(), "which it is asked to as soon as it is heard");
}

#[test]
fn a_task_that_is_ended_for_a_drain_and_an_agent_that_is_given_up_are_told() {
    let mut world = World::new();
    world.register(1);
    let id = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 100)]));
    let _ = world.told();
    let drain = proto::operator::DrainAgent {
        agent: AgentId::new("a1").unwrap(),
        within: Some(Duration::from_secs(1)),
        reason: String::new(),
    };
    let call = OperatorCall::DrainAgent(drain);
    world.say(Input::Operator { ticket: Ticket(1), caller: Caller::User("ada".into()), call });
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.told(),
        [line("", "end-task", format!("{id}/t1"), Ok(()))],
        "of orders their door tells"
    );
    world.say(Input::AgentClosed { link: LinkId(1) });
    world.run(Duration::from_secs(100));
    assert!(world.told().contains(&line("", "lose-agent", "a1", Ok(()))));
}
