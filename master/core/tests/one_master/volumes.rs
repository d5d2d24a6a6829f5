//! Volumes: who may have one, and what their agent is told of those that were destroyed.

use std::collections::BTreeSet;

use proto::agent_link::VolumesDestroyed;
use proto::id::{OfferId, VolumeId};
use proto::operation::{CreateVolume, DestroyVolume, Reserve};
use proto::operator::EventKind as Changed;
use proto::resources::Portion;
use proto::volume::Volume;

use super::*;

fn disk(gib: u64) -> Amount {
    Amount::scalars(Quantities::ZERO.with_disk(gib * GIB))
}

fn id(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}

fn create(name: &str, gib: u64) -> Operation {
    Operation::CreateVolume(CreateVolume { role: role(), volume: id(name), disk_bytes: gib * GIB })
}

fn destroy(name: &str) -> Operation {
    Operation::DestroyVolume(DestroyVolume { role: role(), volume: id(name) })
}

fn launch(task: TaskInfo) -> Operation {
    Operation::Launch(Launch { tasks: vec![task] })
}

/// A task that has so much of a volume.
fn with_volume(name: &str, volume: &str, gib: u64) -> TaskInfo {
    let mut task = task(name, 100);
    let volume = Some(id(volume));
    task.resources.add_portion(&Portion { reservation: Some(role()), volume, amount: disk(gib) });
    task
}

impl World {
    /// One agent with 100 GiB of disk, a framework, and 10 GiB reserved for it.
    fn with_disk() -> World {
        let mut world = World::new();
        world.present(1);
        world.subscribe(10, None);
        let reserve = Operation::Reserve(Reserve { role: role(), amount: disk(10) });
        assert!(matches!(world.does("reserve", vec![reserve]), Outcome::Committed(_)));
        world
    }

    fn present(&mut self, link: u64) {
        let mut info = agent();
        info.resources =
            Resources::unreserved(Amount::scalars(Quantities::of(4000, 8 * GIB).with_disk(100 * GIB)));
        let register = Register { agent: info, epoch: Epoch(0), runs: vec![] };
        self.agent_says(link, ToMaster::Register(register));
    }

    fn agent_says(&mut self, link: u64, message: ToMaster) {
        self.say(Input::Agent { link: LinkId(link), agent: AgentId::new("a1").unwrap(), message });
    }

    /// The offers that stand.
    fn open(&self) -> Vec<OfferId> {
        let mut open = BTreeSet::new();
        for event in &self.changed {
            match event {
                Changed::OfferMade(offer) => drop(open.insert(offer.id)),
                Changed::OfferEnded(ended) => drop(open.remove(&ended.offer)),
                _ => {}
            }
        }
        open.into_iter().collect()
    }

    /// Uses all that is offered for these operations.
    fn does(&mut self, operation: &str, operations: Vec<Operation>) -> Outcome {
        self.agent_says(1, ToMaster::Heartbeat);
        self.run(Duration::from_secs(3));
        let parts = vec![AcceptPart { offers: self.open(), operations }];
        let filter = Filter { refuse: Duration::ZERO };
        self.call(10, Some(operation), CallKind::Accept(Accept { parts, all_or_nothing: false, filter }));
        let events = self.events(10);
        outcome(&events, operation)
    }

    /// What the agent is told to delete; taken away with all else it was told.
    fn told_to_destroy(&mut self) -> Vec<Vec<Volume>> {
        let told = std::mem::take(&mut self.to_agent);
        told.into_iter()
            .filter_map(|(_, kind)| match kind {
                ToAgentKind::DestroyVolumes(order) => Some(order.volumes),
                _ => None,
            })
            .collect()
    }

    fn last_birth(&self) -> u64 {
        self.master.registry().agent(&AgentId::new("a1").unwrap()).unwrap().last_birth
    }
}

#[test]
fn a_run_is_told_which_volume_it_has_also_when_it_is_told_again() {
    let mut world = World::with_disk();
    let made = world.does("op-1", vec![create("v", 2), launch(with_volume("t1", "v", 2))]);
    assert!(matches!(made, Outcome::Committed(_)), "{made:?}");
    let volume = Volume { role: role(), id: id("v"), birth: world.last_birth() };
    assert_eq!(world.launched()[0].volumes, std::slice::from_ref(&volume));
    world.say(Input::AgentClosed { link: LinkId(1) });
    world.present(2);
    assert_eq!(world.launched()[0].volumes, [volume]);
}

#[test]
fn a_volume_goes_whole_to_one_task_and_is_not_destroyed_under_it() {
    let mut world = World::with_disk();
    assert!(matches!(world.does("op-1", vec![create("v", 2)]), Outcome::Committed(_)));
    world.does("op-2", vec![launch(with_volume("part", "v", 1))]);
    assert!(world.launched().is_empty(), "half a volume is none");
    world.does("op-3", vec![launch(with_volume("t1", "v", 2))]);
    assert_eq!(world.launched().len(), 1);
    let refused = world.does("op-4", vec![destroy("v")]);
    assert!(matches!(&refused, Outcome::Refused(why) if why.code == Code::Invalid), "{refused:?}");
    world.does("op-5", vec![launch(with_volume("t2", "v", 2))]);
    assert!(world.launched().is_empty(), "another has it");
    assert!(world.told_to_destroy().is_empty());
}

#[test]
fn a_name_is_given_once_and_a_volume_has_a_size() {
    let mut world = World::with_disk();
    assert!(matches!(world.does("op-1", vec![create("v", 2)]), Outcome::Committed(_)));
    let again = world.does("op-2", vec![create("v", 2)]);
    assert!(matches!(&again, Outcome::Refused(why) if why.code == Code::Conflict), "{again:?}");
    let twice = world.does("op-3", vec![create("w", 1), create("w", 1)]);
    assert!(matches!(&twice, Outcome::Refused(why) if why.code == Code::Conflict), "{twice:?}");
    let empty = world.does("op-4", vec![create("w", 0)]);
    assert!(matches!(&empty, Outcome::Refused(why) if why.code == Code::Invalid), "{empty:?}");
    let anew = world.does("op-5", vec![destroy("v"), create("v", 1)]);
    assert!(matches!(anew, Outcome::Committed(_)), "{anew:?}");
}

#[test]
fn an_agent_is_told_what_was_destroyed_until_it_says_that_it_is_deleted() {
    let mut world = World::with_disk();
    world.does("op-1", vec![create("v", 2)]);
    let first = Volume { role: role(), id: id("v"), birth: world.last_birth() };
    assert!(world.told_to_destroy().is_empty());
    world.does("op-2", vec![destroy("v"), create("v", 2)]);
    assert_eq!(world.told_to_destroy(), [[first.clone()]]);
    world.present(2);
    assert_eq!(world.told_to_destroy(), [[first.clone()]], "told again to one that registers");

    let said =
        |volume: &Volume| ToMaster::VolumesDestroyed(VolumesDestroyed { volumes: vec![volume.clone()] });
    let living = Volume { birth: world.last_birth(), ..first.clone() };
    world.agent_says(2, said(&living));
    world.agent_says(1, said(&first));
    world.present(3);
    assert_eq!(
        world.told_to_destroy(),
        [[first.clone()]],
        "another volume, and a link that is over, say nothing"
    );
    world.agent_says(3, said(&first));
    world.present(4);
    assert!(world.told_to_destroy().is_empty());
    let known = &world.master.registry().agent(&AgentId::new("a1").unwrap()).unwrap().volumes;
    assert_eq!(known[0].volume, living);
}

#[test]
fn an_agent_that_is_given_up_is_told_to_delete_before_it_is_sent_away() {
    let mut world = World::with_disk();
    world.does("op-1", vec![create("v", 2)]);
    let volume = Volume { role: role(), id: id("v"), birth: world.last_birth() };
    let mark = proto::operator::MarkAgentGone { agent: AgentId::new("a1").unwrap() };
    let (caller, call) = (Caller::User("ada".into()), OperatorCall::MarkAgentGone(mark));
    world.to_agent.clear();
    world.say(Input::Operator { ticket: Ticket(1), caller, call });
    for link in [1, 2] {
        let kinds: Vec<_> = world.to_agent.iter().map(|(to, kind)| (to.0, kind)).collect();
        match kinds[..] {
            [(to, ToAgentKind::DestroyVolumes(order)), (_, ToAgentKind::Shutdown(_))] => {
                assert_eq!((to, &order.volumes[..]), (link, &[volume.clone()][..]));
            }
            _ => panic!("{kinds:?}"),
        }
        // One that was not there hears it when it comes.
        world.to_agent.clear();
        world.present(2);
    }
}

#[test]
fn a_framework_hears_of_the_loss_of_its_volumes_without_a_task_there() {
    let failures = |world: &mut World, session| {
        let told = world.events(session).into_iter();
        let failures = told.filter_map(|event| match event {
            EventKind::Failure(failure) => Some((failure.agent.to_string(), failure.state)),
            _ => None,
        });
        failures.collect::<Vec<_>>()
    };
    let mut world = World::with_disk();
    world.does("op-1", vec![create("v", 2)]);
    let framework = FrameworkInfo { roles: vec![Role::new("web").unwrap()], ..info() };
    let kind = CallKind::Subscribe(Subscribe { framework, ..subscribe(None) });
    let (caller, call) = (Caller::Framework("web".into()), Call { operation: None, kind });
    world.say(Input::Framework { session: SessionId(11), caller, call });
    assert!(matches!(world.events(11)[..], [EventKind::Subscribed(_), ..]));
    world.say(Input::AgentClosed { link: LinkId(1) });
    for _ in 0..24 {
        world.call(10, None, CallKind::Heartbeat);
        world.run(Duration::from_secs(5));
    }
    assert_eq!(failures(&mut world, 10), [("a1".to_owned(), AgentState::Unreachable)]);
    let mark = proto::operator::MarkAgentGone { agent: AgentId::new("a1").unwrap() };
    let (caller, call) = (Caller::User("ada".into()), OperatorCall::MarkAgentGone(mark));
    world.say(Input::Operator { ticket: Ticket(1), caller, call });
    assert_eq!(failures(&mut world, 10), [("a1".to_owned(), AgentState::Gone)]);
    assert!(failures(&mut world, 11).is_empty(), "it had nothing there");
}

#[test]
fn operations_whose_answer_died_with_the_leader_are_answered_by_the_next_and_done_once() {
    let mut world = World::with_disk();
    let framework = world.master.registry().frameworks().next().unwrap().record.id.clone();
    let total =
        |world: &World| world.master.registry().agent(&AgentId::new("a1").unwrap()).unwrap().total.clone();
    world.agent_says(1, ToMaster::Heartbeat);
    world.run(Duration::from_secs(3));
    let reserve = Operation::Reserve(Reserve { role: role(), amount: disk(5) });
    let accept = |offers: Vec<OfferId>, operations: &[Operation]| {
        let parts = vec![AcceptPart { offers, operations: operations.to_vec() }];
        let filter = Filter { refuse: Duration::ZERO };
        CallKind::Accept(Accept { parts, all_or_nothing: false, filter })
    };
    let offers = world.open();
    let call = accept(offers.clone(), &[reserve.clone(), create("v", 2)]);
    world.call(10, Some("op-1"), call.clone());
    // This is what is lost.
    let answer = outcome(&world.events(10), "op-1");
    assert!(matches!(answer, Outcome::Committed(_)), "{answer:?}");
    let made = (total(&world), world.last_birth());

    world.restart();
    world.subscribe(11, Some(framework));
    // Before its agent is back, and behind that.
    world.call(11, Some("op-1"), call.clone());
    assert_eq!(outcome(&world.events(11), "op-1"), answer);
    world.present(2);
    world.call(11, Some("op-1"), call);
    assert_eq!(outcome(&world.events(11), "op-1"), answer);
    // What was not in the log is refused, for its offers died with the leader, and changes nothing.
    world.call(11, Some("op-2"), accept(offers, &[reserve, destroy("v")]));
    let refused = outcome(&world.events(11), "op-2");
    assert!(matches!(&refused, Outcome::Refused(why) if why.code == Code::StaleOffer), "{refused:?}");
    assert_eq!((total(&world), world.last_birth()), made);
    // And that is what is offered.
    world.run(Duration::from_secs(3));
    let mut offered = Resources::EMPTY;
    world.offers(11).iter().for_each(|offer| offered.add(&offer.resources));
    assert_eq!(offered, made.0);
    assert!(offered.has_volume(&role(), &id("v")));
}
