//! Changes of running groups in a world where tasks fail, agents drain, leaders change and processes die: neither a change
//! nor a drain takes more out of service than it may, an instance never runs twice, and a change to a bad spec ends at the last good one.

use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk_core::desired::{Group, Restart, RollingChange, TaskSpec, Unreachable};
use framework_sdk_core::fake;
use framework_sdk_core::harness::{Fake, Harness, agent, config, resources};
use framework_sdk_core::reconciler::{Event, Order, Output, RolloutStep, remembered_framework};
use framework_sdk_core::{Config, Reconciler};
use proto::id::{AgentId, TaskId};
use proto::scheduler::CallKind;
use proto::task::TaskState;
use proto_machine::{Dice, WallTime};

const COUNT: u32 = 4;

struct World {
    harness: Option<Harness<Reconciler>>,
    memory: BTreeMap<String, String>,
    lives: u64,
    dice: Dice,
    change: RollingChange,
    /// As stated; odd ones never run.
    version: u64,
    good: Option<u64>,
    /// Calls that were looked at.
    seen: usize,
    /// A canary waits for a word.
    asked: bool,
}

fn spec(version: u64) -> TaskSpec {
    TaskSpec::shell("serve").env("VERSION", version.to_string())
}

fn is_bad(version: u64) -> bool {
    version % 2 == 1
}

fn born(lives: u64, memory: &BTreeMap<String, String>, master: Fake, wall: WallTime) -> Harness<Reconciler> {
    let config = config("rolls");
    let reconciler = Reconciler::new(config.info.clone(), memory.clone(), lives.wrapping_mul(0x9e37_79b9));
    let id = remembered_framework(memory);
    let config = Config { id, operation_prefix: format!("life{lives}"), ..config };
    Harness::with_master(config, reconciler, master).expect("a harness").at(wall)
}

fn instance_of(task: &TaskId) -> &str {
    task.as_str().rsplitn(3, '-').last().unwrap_or_default()
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let mut master = Fake::new();
        master.kills_take_time = true;
        for n in 0..4 {
            master.add_agent(agent(&format!("a{n}"), resources(2000, 8 << 30)));
        }
        let surge = dice.below(3) as u32;
        let change = RollingChange {
            surge,
            max_unavailable: dice.below(3) as u32,
            failures: Some(3),
            deadline: Some(Duration::from_secs(120)),
            canary: dice.below(3) as u32,
            ..RollingChange::DEFAULT
        };
        let memory = BTreeMap::new();
        let harness = Some(born(1, &memory, master, WallTime::from_millis(1_700_000_000_000)));
        World { harness, memory, lives: 1, dice, change, version: 0, good: None, seen: 0, asked: false }
    }

    fn harness(&mut self) -> &mut Harness<Reconciler> {
        self.harness.as_mut().expect("one lives")
    }

    /// So many at most may be out of service for a change.
    fn may_lack(&self) -> usize {
        let least = u32::from(self.change.surge == 0);
        self.change.max_unavailable.max(least) as usize
    }

    fn state(&mut self) {
        let group = Group::of(spec(self.version))
            .named("web")
            .expect("a name")
            .count(COUNT)
            .restart(Restart::Always)
            .unreachable(Unreachable::Wait)
            .change(self.change);
        let group = match self.good {
            Some(good) => group.previous(spec(good)),
            None => group,
        };
        self.harness().input_only(Order::Submit(group));
        self.arrive();
    }

    /// All that is on its way arrives, and what was asked to end is looked at: nobody who serves may be ended when too few
    /// would be left.
    fn arrive(&mut self) {
        let serving: Vec<TaskId> = self
            .live()
            .into_iter()
            .filter(|(_, state)| *state == TaskState::Running)
            .map(|(id, _)| id)
            .collect();
        self.harness().run();
        // Without a session it would act on what it was told before, as anybody would.
        while !self.harness().is_connected() {
            self.harness().advance(Duration::from_secs(1));
        }
        let seen = self.seen;
        let calls = self.harness().calls[seen..].to_vec();
        self.seen += calls.len();
        let kill =
            |call: &CallKind| if let CallKind::Kill(kill) = call { Some(kill.task.clone()) } else { None };
        let mut ended: Vec<TaskId> =
            calls.iter().filter_map(kill).filter(|task| serving.contains(task)).collect();
        ended.sort();
        ended.dedup();
        let left = serving.len() - ended.len();
        let least = (COUNT as usize).saturating_sub(self.may_lack());
        assert!(ended.is_empty() || left >= least, "{ended:?} of {serving:?} were ended: {:?}", self.change);
        self.keep();
    }

    fn keep(&mut self) {
        let outputs = std::mem::take(&mut self.harness().outputs);
        for output in outputs {
            match output {
                Output::Save(changes) => {
                    for change in changes {
                        match change.value {
                            Some(value) => drop(self.memory.insert(change.key, value)),
                            None => drop(self.memory.remove(&change.key)),
                        }
                    }
                }
                Output::Tell(Event::AsStated(_) | Event::Rollout { step: RolloutStep::Done, .. }, _) => {
                    self.good = Some(self.version);
                }
                Output::Tell(Event::Rollout { step, .. }, _) => self.asked = step == RolloutStep::CanaryWaits,
                Output::Tell(..) => {}
            }
        }
    }

    fn rebirth(&mut self) {
        self.keep();
        let harness = self.harness.take().expect("one lives");
        let wall = harness.now().wall;
        self.lives += 1;
        self.harness = Some(born(self.lives, &self.memory, harness.crash(), wall));
        self.seen = 0;
        self.state();
    }

    fn live(&mut self) -> Vec<(TaskId, TaskState)> {
        let tasks = self.harness().master.tasks();
        let live = tasks.filter(|(_, task)| !task.state().is_terminal());
        live.map(|(id, task)| (id.clone(), task.state())).collect()
    }

    fn version_of(&mut self, task: &TaskId) -> u64 {
        let task = self.harness().master.task(task.as_str()).expect("it was launched");
        task.info.command.env.get("VERSION").and_then(|version| version.parse().ok()).unwrap_or_default()
    }

    /// A task takes its next step; one of a bad version never runs.
    fn step(&mut self, task: &TaskId, state: TaskState) {
        let bad = is_bad(self.version_of(task));
        let next = match state {
            TaskState::Staging if bad => TaskState::Failed,
            TaskState::Staging => TaskState::Running,
            TaskState::Killing => TaskState::Killed,
            _ => return,
        };
        self.harness().master.report(task, next, None);
    }

    fn heed_kills(&mut self) {
        let master = &mut self.harness().master;
        while let Some(wish) = master.next_wish() {
            if let fake::Wish::Kill { task, .. } = wish {
                master.report(&task, TaskState::Killing, None);
            }
        }
    }

    fn something_happens(&mut self) {
        match self.dice.below(20) {
            0 => self.harness().fail_over(),
            1 => self.rebirth(),
            2 => {
                self.version = self.dice.below(6);
                self.state();
            }
            3 => {
                let live = self.live();
                if let Some((id, _)) = self.dice.pick(&live).cloned() {
                    self.harness().master.report(&id, TaskState::Failed, None);
                }
            }
            4..=10 => {
                let live = self.live();
                if let Some((id, state)) = self.dice.pick(&live).cloned() {
                    self.step(&id, state);
                }
            }
            16 => {
                let id = AgentId::new(self.dice.pick(&["a0", "a1"]).expect("one")).expect("an id");
                if self.dice.chance(1, 2) {
                    self.harness().master.drain_agent(&id, 0);
                } else {
                    self.harness().master.resume_agent(&id);
                }
            }
            11 if self.asked => self.harness().input_only(Order::Promote(name())),
            12 if self.asked => self.harness().input_only(Order::Abandon(name())),
            11..=15 => {
                let time = Duration::from_millis(self.dice.below(8000));
                self.harness().advance(time);
            }
            _ => self.harness().master.make_offers(),
        }
        self.arrive();
        self.heed_kills();
        self.arrive();
        let mut names: Vec<String> = self.live().iter().map(|(id, _)| instance_of(id).to_owned()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "one runs twice under one name");
        assert!(all <= (COUNT + self.change.surge) as usize, "{names:?}");
    }

    fn settles(&mut self) {
        for _ in 0..300 {
            self.heed_kills();
            for (id, state) in self.live() {
                self.step(&id, state);
            }
            self.harness().master.redeliver();
            self.arrive();
            if std::mem::take(&mut self.asked) {
                self.harness().input_only(Order::Promote(name()));
            }
            self.arrive();
            self.harness().master.make_offers();
            self.arrive();
            self.harness().advance(Duration::from_secs(2));
            self.arrive();
        }
    }
}

fn name() -> framework_sdk_core::desired::GroupName {
    Group::of(spec(0)).named("web").expect("a name").name().clone()
}

#[test]
fn a_change_never_takes_too_many_out_of_service_and_a_bad_one_ends_at_the_last_good_spec() {
    let mut went_back = 0;
    for seed in 0..150 {
        let mut world = World::new(seed);
        world.state();
        world.settles();
        assert_eq!(world.good, Some(0), "seed {seed}: the first version serves");
        let steps = 50 + world.dice.below(150);
        for _ in 0..steps {
            world.something_happens();
        }
        world.settles();
        let live = world.live();
        let mut names: Vec<&str> = live.iter().map(|(id, _)| instance_of(id)).collect();
        names.sort_unstable();
        assert_eq!(names, ["web.0", "web.1", "web.2", "web.3"], "seed {seed}");
        let mut versions: Vec<u64> = live.iter().map(|(id, _)| world.version_of(id)).collect();
        versions.dedup();
        let [version] = versions[..] else { panic!("seed {seed}: {versions:?} run beside each other") };
        assert!(!is_bad(version), "seed {seed}");
        assert!(version == world.version || Some(version) == world.good, "seed {seed}: {version}");
        went_back += usize::from(is_bad(world.version));
    }
    assert!(went_back > 20, "bad ones were tried: {went_back}");
}
