//! The reconciler in a world where links break, leaders change, processes and tasks die and agents go out of sight: it
//! always gets to what is wanted, and never runs an instance twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use framework_sdk_core::desired::{Group, Restart, RollingChange, TaskSpec, Unreachable, VolumeSpec};
use framework_sdk_core::fake;
use framework_sdk_core::harness::{Fake, Harness, agent, config, resources};
use framework_sdk_core::reconciler::{Event, Order, Output, remembered_framework};
use framework_sdk_core::{Config, Reconciler};
use proto::id::TaskId;
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::scheduler::CallKind;
use proto::task::TaskState;
use proto_machine::{Dice, WallTime};

/// What should be, so that it can be stated again in the next life.
#[derive(Clone, Debug, Default)]
struct Wish {
    groups: BTreeMap<&'static str, (u32, u64, u32)>,
}

impl Wish {
    fn group(&self, name: &'static str) -> Group {
        let (count, version, surge) = self.groups.get(name).copied().unwrap_or_default();
        let spec = TaskSpec::shell("serve").env("VERSION", version.to_string());
        let group = match name {
            "pod" => Group::of(spec.beside("log", TaskSpec::shell("tail"))),
            "gang" => Group::of(spec).gang(),
            "data" => Group::of(spec).volume(VolumeSpec::named("data", 64).expect("a name")),
            _ => Group::of(spec),
        };
        group
            .named(name)
            .expect("a name")
            .count(count)
            .restart(Restart::Always)
            .unreachable(Unreachable::Wait)
            .change(RollingChange {
                surge,
                max_unavailable: 1,
                min_ready: Duration::from_secs(1),
                ..RollingChange::DEFAULT
            })
    }

    fn all(&self) -> Vec<Group> {
        self.groups.keys().map(|name| self.group(name)).collect()
    }

    fn instances(&self) -> BTreeSet<String> {
        let of = |(name, (count, ..)): (&&str, &(u32, u64, u32))| -> Vec<String> {
            (0..*count).map(|number| format!("{name}.{number}")).collect()
        };
        self.groups.iter().flat_map(of).collect()
    }
}

struct World {
    harness: Option<Harness<Reconciler>>,
    memory: BTreeMap<String, String>,
    lives: u64,
    wish: Wish,
    dice: Dice,
}

fn born(lives: u64, memory: &BTreeMap<String, String>, master: Fake, wall: WallTime) -> Harness<Reconciler> {
    let config = config("chaos");
    let reconciler = Reconciler::new(config.info.clone(), memory.clone(), lives.wrapping_mul(0x9e37_79b9));
    let id = remembered_framework(memory);
    let config = Config { id, operation_prefix: format!("life{lives}"), ..config };
    Harness::with_master(config, reconciler, master).expect("a harness").at(wall)
}

fn instance_of(task: &TaskId) -> String {
    let text = task.as_str();
    text.rsplitn(3, '-').last().unwrap_or_default().to_owned()
}

impl World {
    fn new(seed: u64) -> World {
        let mut master = Fake::new();
        master.kills_take_time = true;
        for n in 0..4 {
            let disk = Amount::scalars(Quantities::ZERO.with_disk(64 << 30));
            let mut all = resources(2000, 8 << 30);
            all.add(&Resources::unreserved(disk));
            master.add_agent(agent(&format!("a{n}"), all));
        }
        let memory = BTreeMap::new();
        let harness = Some(born(1, &memory, master, WallTime::from_millis(1_700_000_000_000)));
        World { harness, memory, lives: 1, wish: Wish::default(), dice: Dice::new(seed) }
    }

    fn harness(&mut self) -> &mut Harness<Reconciler> {
        self.harness.as_mut().expect("one lives")
    }

    /// What it wanted saved is saved, as far as it was performed.
    fn keep(&mut self) {
        let outputs = std::mem::take(&mut self.harness().outputs);
        for output in outputs {
            let Output::Save(changes) = output else { continue };
            for change in changes {
                match change.value {
                    Some(value) => drop(self.memory.insert(change.key, value)),
                    None => drop(self.memory.remove(&change.key)),
                }
            }
        }
    }

    /// The process dies, perhaps with calls on their way, and a new one is told the same wish, at once or later.
    fn rebirth(&mut self) {
        self.keep();
        let harness = self.harness.take().expect("one lives");
        let wall = harness.now().wall;
        let master = if self.dice.chance(1, 2) { harness.crash_late() } else { harness.crash() };
        self.lives += 1;
        self.harness = Some(born(self.lives, &self.memory, master, wall));
        self.state_all();
    }

    fn state_all(&mut self) {
        let all = self.wish.all();
        self.harness().input_only(Order::Exactly(all));
    }

    fn live_tasks(&mut self) -> Vec<(TaskId, TaskState)> {
        let tasks = self.harness().master.tasks();
        tasks
            .filter(|(_, task)| !task.state().is_terminal())
            .map(|(id, task)| (id.clone(), task.state()))
            .collect()
    }

    fn some_task(&mut self) -> Option<(TaskId, TaskState)> {
        let tasks = self.live_tasks();
        self.dice.pick(&tasks).cloned()
    }

    fn change_the_wish(&mut self) {
        let name = *self.dice.pick(&["web", "db", "cache", "pod", "gang", "data"]).expect("one");
        let (count, version) = (self.dice.below(5) as u32, self.dice.below(3));
        // A group of which two may run at once for a change, and two of which they may not.
        let surge = u32::from(name == "web");
        let gone = self.dice.chance(1, 6);
        if gone {
            self.wish.groups.remove(name);
        } else {
            self.wish.groups.insert(name, (count, version, surge));
        }
        let order = if gone {
            Order::Withdraw(self.wish.group(name).name().clone())
        } else {
            Order::Submit(self.wish.group(name))
        };
        self.harness().input_only(order);
    }

    fn something_happens(&mut self) {
        match self.dice.below(20) {
            0 => self.harness().break_link(),
            1 => self.harness().fail_over(),
            2 => self.rebirth(),
            3 => {
                let after = self.dice.below(6) as usize;
                self.harness().dies_after = Some(after);
            }
            4 => self.harness().master.redeliver(),
            5 => self.change_the_wish(),
            6 => {
                if let Some((id, _)) = self.some_task() {
                    let end = [TaskState::Failed, TaskState::Finished, TaskState::Lost, TaskState::Killed];
                    let end = *self.dice.pick(&end).expect("one");
                    self.harness().master.report(&id, end, None);
                }
            }
            7 => {
                if let Some((id, state)) = self.some_task() {
                    let says =
                        if state == TaskState::Running { TaskState::Running } else { TaskState::Staging };
                    self.harness().master.declare(&id, TaskState::Unreachable);
                    if self.dice.chance(2, 3) {
                        self.harness().master.declare(&id, says);
                    }
                }
            }
            8..=11 => {
                if let Some((id, state)) = self.some_task() {
                    match state {
                        TaskState::Staging => self.harness().master.report(&id, TaskState::Running, None),
                        TaskState::Killing => self.harness().master.report(&id, TaskState::Killed, None),
                        _ => {}
                    }
                }
            }
            12 => {
                let time = Duration::from_millis(self.dice.below(4000));
                self.harness().advance(time);
            }
            13..=15 => self.harness().master.make_offers(),
            _ => {
                let messages = self.dice.below(8);
                for _ in 0..messages {
                    self.harness().deliver_one();
                }
            }
        }
        if self.harness().is_dead() {
            self.rebirth();
        }
        self.heed_kills();
        self.keep();
    }

    /// Whoever is asked to end says so; it ends when the dice, or peace, say so.
    fn heed_kills(&mut self) {
        let master = &mut self.harness().master;
        while let Some(wish) = master.next_wish() {
            if let fake::Wish::Kill { task, .. } = wish {
                master.report(&task, TaskState::Killing, None);
            }
        }
    }

    /// An instance has one task, whatever it is about to do.
    fn check(&mut self) {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (id, _) in self.live_tasks() {
            // Of an instance that is two tasks, one of each.
            let part = id.as_str().rsplit('-').next().is_some_and(|launch| launch.contains('.'));
            *seen.entry(format!("{}{}", instance_of(&id), if part { " beside" } else { "" })).or_default() +=
                1;
        }
        let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
        let master = &self.harness().master;
        assert!(master.doubled.is_empty() && master.reused.is_empty());
    }

    /// Peace: everything arrives, tasks start and what is asked to end does.
    fn settles(&mut self) {
        self.harness().dies_after = None;
        for _ in 0..200 {
            self.heed_kills();
            let tasks = self.live_tasks();
            for (id, state) in tasks {
                // Whoever was started runs, who should end does, and who was out of sight is seen again.
                match state {
                    TaskState::Staging => self.harness().master.report(&id, TaskState::Running, None),
                    TaskState::Killing => self.harness().master.report(&id, TaskState::Killed, None),
                    seen => self.harness().master.declare(&id, seen),
                }
            }
            self.harness().master.redeliver();
            self.harness().offer();
            self.harness().advance(Duration::from_secs(2));
            self.keep();
        }
    }

    fn is_as_wished(&mut self) {
        let tasks = self.live_tasks();
        let mut instances: Vec<String> = tasks.iter().map(|(id, _)| instance_of(id)).collect();
        instances.sort();
        instances.dedup();
        let wanted: Vec<String> = self.wish.instances().into_iter().collect();
        assert_eq!(instances, wanted, "life {}", self.lives);
        for group in self.wish.all() {
            let revision = format!("-{}-", group.spec().revision());
            let of_group =
                tasks.iter().filter(|(id, _)| instance_of(id).starts_with(&format!("{}.", group.name())));
            for (id, state) in of_group {
                assert!(id.as_str().contains(&revision), "{id} runs something else");
                assert_eq!(*state, TaskState::Running);
            }
        }
    }

    fn is_quiet(&mut self) {
        assert!(self.harness().master.demands().is_empty(), "nothing is wanted");
        let before = self.harness().calls.len();
        for _ in 0..2 {
            self.harness().offer();
            self.harness().advance(Duration::from_secs(60));
        }
        let noise: Vec<CallKind> = self.harness().calls[before..]
            .iter()
            .filter(|call| !matches!(call, CallKind::Heartbeat))
            .cloned()
            .collect();
        assert!(noise.is_empty(), "{noise:?}");
    }
}

#[test]
fn it_always_gets_there_and_never_runs_an_instance_twice() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        world.state_all();
        let steps = 50 + world.dice.below(250);
        for _ in 0..steps {
            world.something_happens();
            world.check();
        }
        world.settles();
        world.is_as_wished();
        world.check();
        world.is_quiet();
    }
}

#[test]
fn whole_agents_are_lost_and_all_is_started_elsewhere() {
    let mut world = World::new(1);
    world.wish.groups.insert("web", (8, 1, 0));
    world.state_all();
    world.settles();
    world.is_as_wished();
    let tasks = world.live_tasks();
    let (lost, _) = tasks.split_at(4);
    for (id, _) in lost {
        world.harness().master.declare(id, TaskState::Gone);
    }
    world.settles();
    world.is_as_wished();
    world.is_quiet();
    let told = world.harness().scheduler().groups().count();
    assert_eq!(told, 1);
}

#[test]
fn a_large_group_is_started_in_few_calls() {
    let mut master = Fake::new();
    for n in 0..50 {
        master.add_agent(agent(&format!("a{n}"), resources(100_000, 1 << 40)));
    }
    let mut harness = born(1, &BTreeMap::new(), master, WallTime::from_millis(0));
    harness.run();
    let spec = TaskSpec::shell("serve").cpus_milli(100).mem_mib(1);
    harness.input(Order::Submit(Group::of(spec).count(20_000)));
    harness.offer();
    assert_eq!(harness.master.accepted.len(), 20_000);
    let accepts = harness.calls.iter().filter(|call| matches!(call, CallKind::Accept(_))).count();
    assert!(accepts <= 50, "{accepts}");
    let tasks: Vec<TaskId> = harness.master.accepted.clone();
    for id in &tasks {
        harness.master.report(id, TaskState::Running, None);
    }
    harness.run();
    let as_stated = |output: &Output| matches!(output, Output::Tell(Event::AsStated(_), _));
    assert!(harness.outputs.iter().any(as_stated));
}
