//! An operator says what an agent's resources are kept for: what is offered is taken back, what is in use is not.

use proto::id::VolumeId;
use proto::operation::{CreateVolume, DestroyVolume, Reserve, Unreserve};
use proto::operator::{MarkAgentGone, OperateAgent};
use proto::refusal::Refusal;
use proto::volume::Volume;

use super::*;

fn a1() -> AgentId {
    AgentId::new("a1").unwrap()
}

fn ops() -> Role {
    Role::new("ops").unwrap()
}

fn cpus(milli: u64) -> Amount {
    Amount::scalars(Quantities::of(milli, 0))
}

fn mem(gib: u64) -> Amount {
    Amount::scalars(Quantities::of(0, gib * GIB))
}

fn reserve(role: Role, amount: Amount) -> Operation {
    Operation::Reserve(Reserve { role, amount })
}

fn unreserve(role: Role, amount: Amount) -> Operation {
    Operation::Unreserve(Unreserve { role, amount })
}

fn create(gib: u64) -> Operation {
    let volume = VolumeId::new("db").unwrap();
    Operation::CreateVolume(CreateVolume { role: role(), volume, disk_bytes: gib * GIB })
}

fn destroy() -> Operation {
    Operation::DestroyVolume(DestroyVolume { role: role(), volume: VolumeId::new("db").unwrap() })
}

fn order(ticket: u64, operations: Vec<Operation>) -> Input {
    let call = OperatorCall::OperateAgent(OperateAgent { agent: a1(), operations });
    Input::Operator { ticket: Ticket(ticket), caller: Caller::User("ada".into()), call }
}

impl World {
    fn orders(&mut self, operations: Vec<Operation>) -> ReplyKind {
        self.say(order(1, operations));
        self.replies.pop().unwrap().1
    }

    fn refusal_of(&mut self, operations: Vec<Operation>) -> Refusal {
        match self.orders(operations) {
            ReplyKind::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn total(&self) -> Resources {
        self.master.registry().agent(&a1()).unwrap().total.clone()
    }
}

fn rescinds(events: &[EventKind]) -> usize {
    events.iter().filter(|event| matches!(event, EventKind::Rescind(_))).count()
}

#[test]
fn what_is_reserved_is_taken_back_and_offered_to_its_role_only() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    assert_eq!(world.offers(10).len(), 1);
    let before = world.total();
    assert!(matches!(world.orders(vec![reserve(ops(), cpus(3000))]), ReplyKind::Done(index) if index > 0));
    assert_eq!(rescinds(&world.events(10)), 1);
    let offers = world.offers(10);
    assert_eq!(offers[0].resources.quantities(), Quantities::of(1000, 8 * GIB), "the rest is offered anew");
    let told: Vec<_> = world.master.registry().history_after(0).cloned().collect();
    let told = told.last().unwrap();
    assert_eq!((told.kind.as_ref(), told.subject.as_str()), ("reserved", "ops"));
    assert!(told.message.ends_with(", by user/ada") && told.framework.is_none(), "{told:?}");
    // Undone, it is as it was.
    assert!(matches!(world.orders(vec![unreserve(ops(), cpus(3000))]), ReplyKind::Done(_)));
    assert_eq!(world.total(), before);
    world.run(Duration::from_secs(6));
    let offers = world.offers(10);
    let all: u64 = offers.iter().map(|offer| offer.resources.quantities().cpus_milli()).sum();
    assert_eq!(all, 3000, "what is free again is offered beside what is: {offers:?}");
}

#[test]
fn each_operation_of_an_order_may_take_any_offer_back() {
    for turned in [false, true] {
        let mut world = World::new();
        world.register(1);
        world.subscribe(10, None);
        assert!(matches!(world.orders(vec![reserve(ops(), cpus(4000))]), ReplyKind::Done(_)));
        assert!(matches!(world.orders(vec![unreserve(ops(), cpus(4000))]), ReplyKind::Done(_)));
        world.run(Duration::from_secs(6));
        let _ = world.events(10);
        // The processors are offered apart from the memory now.
        let mut operations = vec![reserve(ops(), cpus(1000)), reserve(ops(), mem(1))];
        if turned {
            operations.reverse();
        }
        let reply = world.orders(operations);
        assert!(matches!(reply, ReplyKind::Done(_)), "{reply:?}");
        assert_eq!(rescinds(&world.events(10)), 2, "one for each of them");
    }
}

#[test]
fn what_tasks_have_is_refused_and_nothing_is_taken_back() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 3000)]));
    world.run(Duration::from_secs(6));
    let _ = world.events(10);
    let refusal = world.refusal_of(vec![reserve(ops(), cpus(2000))]);
    assert_eq!(refusal.code, Code::Conflict);
    assert!(
        refusal.message.contains("cpus:1 that is not reserved on agent a1 is in use by task t1"),
        "{refusal}"
    );
    assert!(refusal.help.contains("stoa get tasks --agent a1"), "{refusal}");
    assert_eq!(rescinds(&world.events(10)), 0);
    let refusal = world.refusal_of(vec![reserve(ops(), cpus(5000))]);
    assert!(
        refusal.message.contains("agent a1 has cpus:4") && refusal.message.contains("cpus:1 is missing"),
        "{refusal}"
    );
    // One that does not fit lets none of them be done.
    let refusal = world.refusal_of(vec![reserve(ops(), mem(1)), reserve(ops(), cpus(2000))]);
    assert_eq!(refusal.code, Code::Conflict);
    assert!(world.total().portions().iter().all(|portion| portion.reservation.is_none()));
    // When it has ended it can be had.
    let run = world.launched()[0].run;
    world.say(update(&framework, run, "t1", 1, TaskState::Finished));
    assert!(matches!(world.orders(vec![reserve(ops(), cpus(2000))]), ReplyKind::Done(_)));
}

#[test]
fn who_comes_first_has_it() {
    let launch = |world: &mut World| {
        let offers = world.offers(10);
        let call = Call {
            operation: Some(OperationId::new("op-1").unwrap()),
            kind: accept(&offers, vec![task("t1", 3000)]),
        };
        Input::Framework { session: SessionId(10), caller: "framework/eng".parse().unwrap(), call }
    };
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let launched = launch(&mut world);
    world.say_at_once([launched, order(1, vec![reserve(ops(), cpus(2000))])]);
    assert!(matches!(&world.replies[0].1, ReplyKind::Refused(why) if why.message.contains("by an accept")));
    assert_eq!(world.launched().len(), 1);

    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let launched = launch(&mut world);
    world.say_at_once([order(1, vec![reserve(ops(), cpus(2000))]), launched]);
    assert!(matches!(world.replies[0].1, ReplyKind::Done(_)));
    let told = statuses(world.events(10));
    assert_eq!(told, [(TaskState::Dropped, 0)], "its offer is over");
    assert!(world.launched().is_empty());
}

#[test]
fn a_rehearsal_checks_and_does_nothing() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let before = world.total();
    let _ = world.events(10);
    for (cpus_milli, fine) in [(3000, true), (5000, false)] {
        let call = OperateAgent { agent: a1(), operations: vec![reserve(ops(), cpus(cpus_milli))] };
        let call = OperatorCall::DryRun(Box::new(OperatorCall::OperateAgent(call)));
        world.say(Input::Operator { ticket: Ticket(1), caller: Caller::User("ada".into()), call });
        let (_, kind) = world.replies.pop().unwrap();
        assert_eq!(matches!(kind, ReplyKind::Done(0)), fine, "{kind:?}");
    }
    assert_eq!((world.total(), rescinds(&world.events(10))), (before, 0));
}

#[test]
fn volumes_are_made_of_reserved_disk_and_their_end_is_told_to_the_agent() {
    let mut world = World::new();
    let mut info = agent();
    info.resources =
        Resources::unreserved(Amount::scalars(Quantities::of(4000, 8 * GIB).with_disk(100 * GIB)));
    let register = Register { agent: info, epoch: Epoch(0), runs: vec![] };
    world.say(Input::Agent { link: LinkId(1), agent: a1(), message: ToMaster::Register(register) });
    let refusal = world.refusal_of(vec![create(10)]);
    assert!(refusal.help.contains("stoa reserve a1 --role eng --disk"), "{refusal}");
    let disk = Amount::scalars(Quantities::ZERO.with_disk(10 * GIB));
    assert!(matches!(world.orders(vec![reserve(role(), disk.clone()), create(10)]), ReplyKind::Done(_)));
    assert_eq!(world.refusal_of(vec![create(1)]).code, Code::Conflict, "the name is taken");
    assert_eq!(world.refusal_of(vec![unreserve(role(), disk)]).code, Code::Conflict, "it is a volume");
    world.to_agent.clear();
    assert!(matches!(world.orders(vec![destroy()]), ReplyKind::Done(_)));
    let birth = world.master.registry().agent(&a1()).unwrap().last_birth;
    let volume = Volume { role: role(), id: VolumeId::new("db").unwrap(), birth };
    assert!(
        world.to_agent.iter().any(
            |(_, kind)| matches!(kind, ToAgentKind::DestroyVolumes(order) if order.volumes == [volume.clone()])
        ),
        "{:?}",
        world.to_agent
    );
    let refusal = world.refusal_of(vec![destroy()]);
    assert_eq!(refusal.code, Code::NotFound, "{refusal}");
}

#[test]
fn orders_that_make_no_sense_name_what_is_wrong() {
    let mut world = World::new();
    let refusal = world.refusal_of(vec![reserve(ops(), cpus(1))]);
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::NotFound, "there is no agent a1"));
    world.register(1);
    let launch = Operation::Launch(Launch { tasks: vec![task("t1", 1)] });
    for (operations, word) in [
        (vec![], "operations has 0 entries"),
        (vec![launch], "launch"),
        (vec![reserve(ops(), Amount::default())], "amount is empty"),
        (vec![create(0)], "disk_bytes is 0"),
    ] {
        let refusal = world.refusal_of(operations);
        assert_eq!(refusal.code, Code::Invalid, "{refusal}");
        assert!(refusal.message.contains(word), "{refusal}");
    }
    let call = OperateAgent { agent: a1(), operations: vec![reserve(ops(), cpus(1))] };
    let caller = Caller::Framework("eng".into());
    world.say(Input::Operator { ticket: Ticket(9), caller, call: OperatorCall::OperateAgent(call) });
    assert!(matches!(&world.replies.pop().unwrap().1, ReplyKind::Refused(why) if why.code == Code::Denied));
    let gone = OperatorCall::MarkAgentGone(MarkAgentGone { agent: a1() });
    world.say(Input::Operator { ticket: Ticket(2), caller: Caller::User("ada".into()), call: gone });
    assert!(world.refusal_of(vec![reserve(ops(), cpus(1))]).message.contains("declared gone"));
}

#[test]
fn what_an_agent_out_of_sight_keeps_can_be_given_back() {
    let mut world = World::new();
    world.register(1);
    assert!(matches!(world.orders(vec![reserve(ops(), cpus(1000))]), ReplyKind::Done(_)));
    world.say(Input::AgentClosed { link: LinkId(1) });
    world.run(Duration::from_secs(200));
    let state = world.master.registry().agent(&a1()).unwrap().state;
    assert_eq!(state, AgentState::Unreachable);
    assert!(matches!(world.orders(vec![unreserve(ops(), cpus(1000))]), ReplyKind::Done(_)));
    world.register(2);
    world.subscribe(10, None);
    assert_eq!(world.offers(10)[0].resources.quantities().cpus_milli(), 4000);
}
