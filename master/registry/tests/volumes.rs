//! Volumes in the registry: each has a birth of its own, and outlives whatever is not its own end.

use std::collections::BTreeMap;
use std::time::Duration;

use master_registry::{Effect, Registry};
use proto::agent::AgentInfo;
use proto::attributes::Attributes;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, FrameworkId, OperationId, TaskId, VolumeId};
use proto::log::{
    Accepted, AcceptedPart, AgentOperated, AgentRecord, Entry, FrameworkRegistered, RegistryImage, TaskEnded,
    VolumesForgotten,
};
use proto::operation::{CreateVolume, DestroyVolume, Launch, Operation, Reserve};
use proto::quantities::Quantities;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto::task::{CommandInfo, StatusReason, TaskInfo, TaskState, TaskStatus};
use proto::volume::Volume;
use proto::wire::Wire;

const GIB: u64 = 1 << 30;

struct World {
    registry: Registry,
    index: u64,
}

fn role() -> Role {
    Role::new("eng").unwrap()
}

fn id() -> AgentId {
    AgentId::new("a1").unwrap()
}

fn disk(bytes: u64) -> Amount {
    Amount::scalars(Quantities::ZERO.with_disk(bytes))
}

fn agent(disk_gib: u64) -> Entry {
    Entry::AgentAdmitted(AgentInfo {
        id: id(),
        hostname: "a1".into(),
        address: String::new(),
        resources: Resources::unreserved(Amount::scalars(
            Quantities::of(4000, GIB).with_disk(disk_gib * GIB),
        )),
        attributes: Attributes::default(),
        version: String::new(),
    })
}

fn reserve(bytes: u64) -> Operation {
    Operation::Reserve(Reserve { role: role(), amount: disk(bytes) })
}

fn create(name: &str, disk_bytes: u64) -> Operation {
    Operation::CreateVolume(CreateVolume { role: role(), volume: VolumeId::new(name).unwrap(), disk_bytes })
}

fn destroy(name: &str) -> Operation {
    Operation::DestroyVolume(DestroyVolume { role: role(), volume: VolumeId::new(name).unwrap() })
}

fn volume(name: &str, birth: u64) -> Volume {
    Volume { role: role(), id: VolumeId::new(name).unwrap(), birth }
}

/// A task that has a volume of so many bytes.
fn launch(task: &str, name: &str, bytes: u64) -> Operation {
    let mut resources = Resources::unreserved(Amount::scalars(Quantities::of(100, 0)));
    let volume = Some(VolumeId::new(name).unwrap());
    resources.add_portion(&Portion { reservation: Some(role()), volume, amount: disk(bytes) });
    let task = TaskInfo {
        id: TaskId::new(task).unwrap(),
        name: String::new(),
        command: CommandInfo::default(),
        resources,
        kill_grace: Duration::ZERO,
        labels: BTreeMap::new(),
        group: None,
        checks: proto::check::Checks::default(),
        longest_run: None,
    };
    Operation::Launch(Launch { tasks: vec![task] })
}

fn ended(task: &str) -> Entry {
    let id = TaskId::new(task).unwrap();
    let status = TaskStatus::by_master(id, TaskState::Finished, StatusReason::CommandExited, "", 99);
    Entry::TaskEnded(TaskEnded { framework: FrameworkId::new("F1").unwrap(), status })
}

impl World {
    /// An agent of 100 GiB of disk, 10 of them reserved.
    fn new() -> World {
        let mut world = World { registry: Registry::default(), index: 0 };
        let info = FrameworkInfo {
            name: "jobs".into(),
            roles: vec![role()],
            failover_timeout: Duration::ZERO,
            address: String::new(),
            labels: BTreeMap::new(),
        };
        let id = FrameworkId::new("F1").unwrap();
        world.apply(agent(100));
        world.apply(Entry::FrameworkRegistered(FrameworkRegistered {
            id,
            info,
            principal: String::new(),
            fence: 0,
        }));
        world.accept(vec![reserve(10 * GIB)]);
        world
    }

    fn apply(&mut self, entry: Entry) -> Effect {
        self.index += 1;
        self.registry.apply(self.index, self.index, &mut 0, entry)
    }

    /// At the next index; returned.
    fn accept(&mut self, operations: Vec<Operation>) -> u64 {
        let effect = self.accepted(operations);
        assert!(matches!(effect, Effect::Launched { .. }));
        self.index
    }

    fn accepted(&mut self, operations: Vec<Operation>) -> Effect {
        let operation = OperationId::new(&format!("op-{}", self.index)).unwrap();
        let parts = vec![AcceptedPart { agent: id(), role: role(), operations }];
        self.apply(Entry::Accepted(Accepted { framework: FrameworkId::new("F1").unwrap(), operation, parts }))
    }

    fn record(&self) -> &AgentRecord {
        self.registry.agent(&id()).unwrap()
    }

    fn volumes(&self) -> Vec<Volume> {
        self.record().volumes.iter().map(|known| known.volume.clone()).collect()
    }

    fn offers_volume(&self, name: &str) -> bool {
        self.record().total.has_volume(&role(), &VolumeId::new(name).unwrap())
    }
}

#[test]
fn a_name_may_come_again_a_birth_never() {
    let mut world = World::new();
    let first = world.accept(vec![create("v", GIB)]);
    assert_eq!(world.volumes(), [volume("v", first)]);
    // Three lives of one name, and another volume, all at one index.
    let again =
        world.accept(vec![destroy("v"), create("v", GIB), destroy("v"), create("v", GIB), create("w", GIB)]);
    assert_eq!(world.volumes(), [volume("v", again + 1), volume("w", again + 2)]);
    assert_eq!(world.record().destroyed, [volume("v", first), volume("v", again)]);
    // Forgotten or not, no birth is given twice: the next index is not larger than the last birth.
    let forgotten = world.record().destroyed.clone();
    world.apply(Entry::VolumesForgotten(VolumesForgotten { agent: id(), volumes: forgotten }));
    world.accept(vec![destroy("v"), create("v", GIB)]);
    assert_eq!(world.volumes(), [volume("w", again + 2), volume("v", again + 3)]);
}

#[test]
fn only_what_the_agent_has_deleted_is_forgotten() {
    let mut world = World::new();
    let at = world.accept(vec![create("v", GIB), create("w", GIB)]);
    world.accept(vec![destroy("v"), destroy("w")]);
    let forget = |volumes| Entry::VolumesForgotten(VolumesForgotten { agent: id(), volumes });
    assert_eq!(world.apply(forget(vec![volume("v", at + 9)])), Effect::Nothing);
    assert_eq!(world.apply(forget(vec![volume("v", at)])), Effect::Done);
    assert_eq!(world.apply(forget(vec![volume("v", at)])), Effect::Nothing, "said twice");
    assert_eq!(world.record().destroyed, [volume("w", at + 1)]);
}

#[test]
fn a_volume_that_a_task_has_is_not_destroyed_whoever_proposed_it() {
    let mut world = World::new();
    let born = world.accept(vec![create("v", GIB), launch("t1", "v", GIB)]);
    let framework = FrameworkId::new("F1").unwrap();
    let task = world.registry.task(&(framework, TaskId::new("t1").unwrap())).unwrap();
    assert_eq!(world.registry.volumes_of(task), [volume("v", born)]);
    world.accept(vec![destroy("v")]);
    assert_eq!((world.volumes(), world.offers_volume("v")), (vec![volume("v", born)], true));
    world.apply(ended("t1"));
    world.accept(vec![destroy("v")]);
    assert_eq!((world.volumes(), world.offers_volume("v")), (vec![], false));
    assert_eq!(world.record().destroyed, [volume("v", born)]);
}

#[test]
fn a_task_whose_volume_is_not_there_does_not_run() {
    let mut world = World::new();
    let Effect::Launched { runs, dropped } = world.accepted(vec![launch("t1", "v", GIB)]) else { panic!() };
    assert!(runs.is_empty());
    assert_eq!(dropped[0].status.state, TaskState::Dropped);
    assert!(dropped[0].status.message.contains("volume v of role eng"), "{}", dropped[0].status.message);
}

#[test]
fn a_volume_is_made_once_and_not_of_nothing() {
    let mut world = World::new();
    let born = world.accept(vec![create("v", GIB)]);
    world.accept(vec![create("v", GIB), create("empty", 0)]);
    assert_eq!(world.volumes(), [volume("v", born)]);
    assert_eq!(world.record().volumes[0].disk_bytes, GIB);
}

#[test]
fn an_agent_that_comes_back_smaller_keeps_its_volumes_and_shows_them_when_there_is_room_again() {
    let mut world = World::new();
    let born = world.accept(vec![create("v", 4 * GIB)]);
    // Room for the volume, and not for what is merely reserved.
    world.apply(agent(5));
    assert!(world.offers_volume("v"));
    assert_eq!(world.record().total.quantities().disk_bytes(), 5 * GIB);
    // No room for it.
    world.apply(agent(3));
    assert!(!world.offers_volume("v"));
    assert_eq!((world.volumes(), world.record().destroyed.len()), (vec![volume("v", born)], 0));
    // Its name stays taken, and it cannot be destroyed, since nobody is offered it.
    world.accept(vec![reserve(GIB), create("v", GIB), destroy("v")]);
    assert_eq!(world.volumes(), [volume("v", born)]);
    world.apply(agent(20));
    assert!(world.offers_volume("v"));
    assert_eq!(world.record().total.quantities().disk_bytes(), 20 * GIB);
}

#[test]
fn the_volumes_of_an_agent_that_is_gone_are_destroyed() {
    let mut world = World::new();
    let born = world.accept(vec![create("v", GIB)]);
    world.apply(Entry::AgentGone(id()));
    assert_eq!((world.volumes(), &world.record().destroyed[..]), (vec![], &[volume("v", born)][..]));
    world.accept(vec![create("v", GIB)]);
    assert_eq!(world.volumes(), []);
}

#[test]
fn the_image_keeps_volumes_and_one_of_before_they_held_data_is_read() {
    let mut world = World::new();
    let born = world.accept(vec![create("v", GIB), create("w", GIB)]);
    world.accept(vec![destroy("w")]);
    let bytes = world.registry.to_image();
    assert_eq!(Registry::from_image(&bytes).unwrap(), world.registry);

    let mut image = RegistryImage::decode(&bytes).unwrap();
    image.format = 1;
    image.agents[0].volumes.clear();
    image.agents[0].destroyed.clear();
    image.agents[0].last_birth = 0;
    world.registry = Registry::from_image(&image.encode()).unwrap();
    assert_eq!(world.volumes(), [volume("v", 0)]);
    assert_eq!(world.record().volumes[0].disk_bytes, GIB);
    world.accept(vec![destroy("v"), create("v", GIB)]);
    assert!(world.volumes()[0].birth > born, "a life of its own");
}

#[test]
fn an_operators_order_is_carried_out_whole_or_not_at_all() {
    let mut world = World::new();
    let order = |operations: Vec<Operation>| {
        Entry::AgentOperated(AgentOperated { agent: id(), operations, by: "user/ada".into() })
    };
    let before = world.record().clone();
    // Ten are reserved already.
    assert_eq!(world.apply(order(vec![reserve(10 * GIB), create("v", 21 * GIB)])), Effect::Nothing);
    assert_eq!(*world.record(), before, "the half that fits is not done either");
    assert_eq!(world.apply(order(vec![reserve(10 * GIB), create("v", 20 * GIB)])), Effect::Done);
    assert_eq!(world.record().volumes.len(), 1);
    // What a task has stays the task's.
    let cpus = |milli| {
        let amount = Amount::scalars(Quantities::of(milli, 0));
        order(vec![Operation::Reserve(Reserve { role: role(), amount })])
    };
    world.accept(vec![launch("t1", "v", 20 * GIB)]);
    assert_eq!(world.apply(order(vec![destroy("v")])), Effect::Nothing);
    assert_eq!(world.apply(cpus(4000)), Effect::Nothing);
    assert_eq!(world.apply(cpus(1000)), Effect::Done);
    let told: Vec<_> = world.registry.history_after(0).map(|event| event.kind.to_string()).collect();
    assert_eq!(told.iter().filter(|kind| *kind == "reserved").count(), 3, "{told:?}");
    world.apply(Entry::AgentGone(id()));
    assert_eq!(world.apply(cpus(1000)), Effect::Nothing);
}
