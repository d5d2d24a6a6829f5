//! What one caller may have: as much as is said, not one more, and nobody else is held to it.

use proto::scheduler::{RescindReason, UpdateDemands};

use super::*;

/// As some other principal, in the default role.
fn other(world: &mut World, session: u64, name: &str) -> Vec<EventKind> {
    let framework = FrameworkInfo { name: name.into(), roles: vec![Role::new("default").unwrap()], ..info() };
    let kind = CallKind::Subscribe(Subscribe { framework, ..subscribe(None) });
    let caller = Caller::Framework(name.into());
    let call = Call { operation: None, kind };
    world.say(Input::Framework { session: SessionId(session), caller, call });
    world.events(session)
}

fn stands(events: &[EventKind]) -> bool {
    events.iter().any(|event| matches!(event, EventKind::Subscribed(_)))
}

fn refused(events: &[EventKind]) -> Option<Code> {
    events.iter().find_map(|event| match event {
        EventKind::Fault(fault) => Some(fault.refusal.code),
        _ => None,
    })
}

fn offered(events: &[EventKind]) -> usize {
    let made = |event: &EventKind| if let EventKind::Offers(made) = event { made.offers.len() } else { 0 };
    events.iter().map(made).sum()
}

fn taken_back(events: &[EventKind]) -> Vec<RescindReason> {
    let reason = |event: &EventKind| match event {
        EventKind::Rescind(rescind) => Some(rescind.reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

fn impatient(hold_patience: Option<Duration>) -> World {
    let mut world = World::with(|config| {
        config.hold_share_milli = 200;
        config.hold_patience = hold_patience;
    });
    world.register(1);
    world
}

/// Time passes for an agent that says that it is there, and for frameworks that do.
fn pass(world: &mut World, sessions: &[(u64, &str)], wait: Duration) {
    let until = world.now + wait.as_nanos() as u64;
    while world.now < until {
        let left = Duration::from_nanos(until - world.now).min(Duration::from_secs(3));
        world.run(left.saturating_sub(Duration::from_millis(40)));
        let agent = AgentId::new("a1").unwrap();
        world.say(Input::Agent { link: LinkId(1), agent, message: ToMaster::Heartbeat });
        for (session, name) in sessions {
            let caller = Caller::Framework((*name).into());
            let call = Call { operation: None, kind: CallKind::Heartbeat };
            world.say(Input::Framework { session: SessionId(*session), caller, call });
        }
    }
}

#[test]
fn what_is_held_for_long_is_taken_back_when_another_wants_it_and_not_before() {
    let mut world = impatient(Some(Duration::from_secs(5)));
    assert_eq!(offered(&other(&mut world, 10, "hog")), 1, "alone it is offered all there is");
    pass(&mut world, &[(10, "hog")], Duration::from_secs(20));
    assert_eq!(taken_back(&world.events(10)), [], "nobody else wants it");
    let _ = std::mem::take(&mut world.audited);
    other(&mut world, 20, "other");
    pass(&mut world, &[(10, "hog"), (20, "other")], Duration::from_secs(2));
    assert_eq!(taken_back(&world.events(10)), [RescindReason::Expired]);
    assert_eq!(offered(&world.events(20)), 1, "within two seconds, not within the minute that offers stand");
    let told: Vec<_> = world.audited.iter().map(|audited| (audited.call, audited.count)).collect();
    assert!(told.contains(&("take-back-offers", 1)), "{told:?}");
}

#[test]
fn an_offer_stands_for_as_long_as_a_framework_needs_to_decide_whoever_waits() {
    let mut world = impatient(Some(Duration::from_secs(5)));
    other(&mut world, 10, "hog");
    other(&mut world, 20, "other");
    pass(&mut world, &[(10, "hog"), (20, "other")], Duration::from_millis(4500));
    assert_eq!(taken_back(&world.events(10)), []);
    pass(&mut world, &[(10, "hog"), (20, "other")], Duration::from_secs(2));
    assert_eq!(taken_back(&world.events(10)), [RescindReason::Expired]);
}

#[test]
fn where_nobody_is_impatient_offers_stand_for_their_time() {
    let mut world = impatient(None);
    other(&mut world, 10, "hog");
    other(&mut world, 20, "other");
    pass(&mut world, &[(10, "hog"), (20, "other")], Duration::from_secs(55));
    assert_eq!(taken_back(&world.events(10)), []);
    pass(&mut world, &[(10, "hog"), (20, "other")], Duration::from_secs(6));
    assert_eq!(taken_back(&world.events(10)), [RescindReason::Expired]);
}

#[test]
fn a_principal_has_256_frameworks_and_others_have_theirs() {
    let mut world = World::new();
    for number in 0..256 {
        assert!(stands(&other(&mut world, 100 + number, "many")), "{number}");
    }
    assert_eq!(refused(&other(&mut world, 400, "many")), Some(Code::TooMuch));
    assert!(stands(&other(&mut world, 401, "one")));
}

#[test]
fn names_labels_commands_demands_and_tasks_are_as_many_and_as_long_as_is_said() {
    let mut names = World::new();
    assert!(stands(&other(&mut names, 10, &"n".repeat(128))));
    assert_eq!(refused(&other(&mut names, 11, &"n".repeat(129))), Some(Code::Invalid));

    let mut world = World::new();
    world.register(1);
    let id = world.subscribe(12, None);
    let state = |world: &mut World, task: TaskInfo| {
        world.run(Duration::from_millis(300));
        let offers = world.offers(12);
        let name = format!("op-{}", task.id);
        world.call(12, Some(&name), accept(&offers, vec![task]));
        statuses(world.events(12)).first().map(|(state, _)| *state)
    };
    let labelled = |id: &str, labels: Vec<(String, String)>| TaskInfo {
        labels: labels.into_iter().collect(),
        ..task(id, 1)
    };
    let labels = |count: usize| (0..count).map(|number| (number.to_string(), String::new())).collect();
    let long = |bytes: usize| vec![("k".to_owned(), "v".repeat(bytes))];
    let commanded = |id: &str, bytes: usize| {
        let mut task = task(id, 1);
        task.command.argv = vec!["x".repeat(bytes)];
        task
    };
    assert_eq!(state(&mut world, labelled("a", labels(64))), None);
    assert_eq!(state(&mut world, labelled("b", labels(65))), Some(TaskState::Error));
    assert_eq!(state(&mut world, labelled("c", long(256))), None);
    assert_eq!(state(&mut world, labelled("d", long(257))), Some(TaskState::Error));
    assert_eq!(state(&mut world, commanded("e", 64 << 10)), None);
    assert_eq!(state(&mut world, commanded("f", (64 << 10) + 1)), Some(TaskState::Error));

    let demand = |number: usize| Demand {
        id: DemandId::new(&format!("d{number}")).unwrap(),
        role: role(),
        shape: Amount::scalars(Quantities::of(1, GIB)),
        count: 1,
        constraints: Default::default(),
        priority: 0,
    };
    let demands = |count: usize| {
        CallKind::UpdateDemands(UpdateDemands {
            demands: (0..count).map(demand).collect(),
            demand_driven: true,
        })
    };
    world.call(12, Some("demands-1000"), demands(1000));
    assert!(matches!(outcome(&world.events(12), "demands-1000"), Outcome::Committed(_)));
    world.call(12, Some("demands-1001"), demands(1001));
    assert!(
        matches!(outcome(&world.events(12), "demands-1001"), Outcome::Refused(r) if r.code == Code::Invalid)
    );
    assert!(world.master.registry().framework(&id).is_some(), "and it goes on");

    let many = |count: usize| (0..count).map(|number| task(&format!("t{number}"), 1)).collect();
    world.call(12, Some("tasks-1001"), accept(&[], many(1001)));
    assert!(
        matches!(outcome(&world.events(12), "tasks-1001"), Outcome::Refused(r) if r.code == Code::TooMuch)
    );
    world.call(12, Some("tasks-1000"), accept(&[], many(1000)));
    assert!(
        !matches!(outcome(&world.events(12), "tasks-1000"), Outcome::Refused(r) if r.code == Code::TooMuch)
    );
}
