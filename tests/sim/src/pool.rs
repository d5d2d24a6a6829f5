//! Pools: worlds as large as a small cluster that live for hours, through waves of faults with calm between them.

use proto_machine::Dice;

use crate::check::Broken;
use crate::frameworks::Part;
use crate::node::Node;
use crate::options::{Faults, FrameworkPlan, Habits, MS, Options, Personality, SECOND};
use crate::run;
use crate::workload::Word;
use crate::world::{Event, World};

/// From this seed on, worlds are pools.
pub const FIRST: u64 = 1 << 33;

/// A pool lives for so long, and until the wave that it is in is over.
pub const LIVES: u64 = 6 * 3600 * SECOND;

/// In calm times so often nobody may hold an offer for too long, and the leader must still lead.
const LOOK_EVERY: u64 = 10 * SECOND;

/// Times in which everything may fail, and the calm behind them.
#[derive(Clone, Debug)]
struct Wave {
    rough: u64,
    quiet: u64,
    fault_every: u64,
    faults: Faults,
    delay: (u64, u64),
    /// Lost, doubled and late messages, of a thousand.
    mess: (u64, u64, u64),
    sync: (u64, u64),
    slow_sync_permille: u64,
    attention: u64,
    operator_every: u64,
    limits_roles: bool,
    work_every: u64,
    /// Which framework is succeeded by another instance, if any.
    succeeds: Option<usize>,
}

impl Options {
    /// A pool: three masters, twenty agents, five frameworks of all kinds, and people who want things.
    pub(crate) fn pool(self, seed: u64) -> Options {
        use Personality::{Declining, Demanding, Greedy, Picky, Silent, Slow, Wrong};
        let mut dice = Dice::new(seed ^ 0x0000_9001_0000_0000);
        let mut personalities = vec![Demanding, Greedy, Slow];
        while personalities.len() < 5 {
            personalities.push([Demanding, Greedy, Declining, Silent, Picky, Wrong][dice.below(6) as usize]);
        }
        let mut habit = |of: u64| dice.chance(1, of);
        let frameworks: Vec<FrameworkPlan> = personalities
            .into_iter()
            .map(|personality| FrameworkPlan {
                personality,
                jobs: 6,
                habits: Habits {
                    groups: habit(3),
                    gangs: habit(3),
                    reserves: habit(3),
                    changes: habit(4),
                    tears_down: habit(6),
                    departs: false,
                    // Which, and when, is for the waves to say.
                    is_succeeded: false,
                    forges: habit(3),
                    content: true,
                },
            })
            .collect();
        Options {
            masters: 3,
            agents: 20,
            frameworks,
            store_clients: if dice.chance(1, 6) { 2 } else { 0 },
            rough: 0,
            fault_every: 0,
            operator_every: 0,
            masters_midway_of: if dice.chance(1, 2) { 20_000 } else { 0 },
            skew_ms: [50, 3000][dice.below(2) as usize],
            drift_ppm: [0, 200, 20_000][dice.below(3) as usize],
            ends_frameworks: dice.chance(1, 4),
            changing_agents: dice.chance(1, 4),
            gives_up_agents: false,
            operates_agents: dice.chance(1, 3),
            drains: dice.chance(1, 2),
            lingers: false,
            snapshot_after_bytes: [16 << 10, 64 << 10, 256 << 10][dice.below(3) as usize],
            // What is to be compared is large by then: the history of hours.
            compare_every: 256,
            offer_timeout: (10 + dice.below(50)) * SECOND,
            unreachable_after: (10 + dice.below(50)) * SECOND,
            failover_timeout: [60, 600][dice.below(2) as usize] * SECOND,
            run_time: (MS, [4, 15, 30][dice.below(3) as usize] * SECOND),
            failing_permille: dice.below(200),
            unstartable_permille: dice.below(60),
            deaf_permille: dice.below(200),
            long_permille: 20,
            long_time: (600 * SECOND, 2 * 3600 * SECOND),
            lives: LIVES,
            ..self
        }
    }
}

impl Wave {
    /// A wave of a seed, by its number: each has its own mixture.
    fn of(seed: u64, number: u64) -> Wave {
        let mut dice = Dice::new(seed ^ number.rotate_left(48) ^ 0x3a7e_0000_0000);
        let cruelty = 1 + dice.below(3);
        let mut weight = |most: u64| if dice.chance(cruelty, 3) { 1 + dice.below(most) } else { 0 };
        let faults = Faults {
            crash_master: weight(4),
            crash_agent: weight(8),
            reboot_agent: weight(3),
            crash_framework: weight(4),
            cut_stream: weight(8),
            partition: weight(8),
            isolate_master: weight(3),
            pause: weight(4),
            usurp: weight(3),
            outage: weight(4),
            full_disk: weight(3),
            failed_sync: weight(3),
            slow_disk: weight(2),
            set_clock: weight(2),
            harm_disk: 0,
        };
        let messy = dice.chance(cruelty, 4);
        let mut mess = |most: u64| if messy { dice.below(most) } else { 0 };
        let mess = (mess(150), mess(60), mess(60));
        Wave {
            rough: (60 + dice.below(180)) * SECOND,
            quiet: (600 + dice.below(1800)) * SECOND,
            fault_every: (1 + dice.below(6)) * SECOND,
            faults,
            delay: if dice.chance(1, 5) { (5 * MS, 60 * MS) } else { (MS / 10, 3 * MS) },
            mess,
            sync: (MS / 5, [MS, 5 * MS, 30 * MS][dice.below(3) as usize]),
            slow_sync_permille: if dice.chance(1, 4) { 5 } else { 0 },
            attention: [MS / 20, MS, 8 * MS][dice.below(3) as usize],
            operator_every: if dice.chance(2, 3) { (2 + dice.below(8)) * SECOND } else { 0 },
            limits_roles: dice.chance(1, 3),
            work_every: (2 + dice.below(8)) * SECOND,
            succeeds: dice.chance(1, 3).then(|| dice.below(5) as usize),
        }
    }

    fn begin(&self, number: u64, world: &mut World) {
        let options = &mut world.options;
        options.fault_every = self.fault_every;
        options.faults = self.faults;
        options.delay = self.delay;
        (options.lost_permille, options.doubled_permille, options.late_permille) = self.mess;
        options.sync = self.sync;
        options.slow_sync_permille = self.slow_sync_permille;
        options.attention = self.attention;
        options.operator_every = self.operator_every;
        options.limits_roles = self.limits_roles;
        options.work_every = self.work_every;
        world.trim.clone().spare(&mut world.options);
        world.roughen(number);
        if let Some(framework) = self.succeeds {
            let within = self.rough / 2;
            world.plan_succession(framework, within);
        }
    }
}

/// Lives through all waves of a pool; how long it took to heal at most.
pub fn live(world: &mut World) -> Result<u64, Broken> {
    let mut slowest = 0;
    let mut number = 0;
    while world.now < world.options.lives {
        number += 1;
        if !world.trim.has_wave(number) {
            if world.trim.goes_on_behind(number) {
                continue;
            }
            break;
        }
        let wave = Wave::of(world.seed, number);
        world.mark("a wave of faults came");
        wave.begin(number, world);
        let end = world.now + wave.rough;
        world.run_until(end)?;
        slowest = slowest.max(run::calm(world)?);
        rest(world, wave.quiet)?;
    }
    Ok(slowest)
}

/// Nothing goes wrong for a while, and there is a little to do.
fn rest(world: &mut World, quiet: u64) -> Result<(), Broken> {
    let since = world.now;
    world.options.work_every = 60 * SECOND;
    world.trim.clone().spare(&mut world.options);
    world.plan_work();
    let leaders = world.leaders();
    while world.now < since + quiet {
        world.run_until(world.now + LOOK_EVERY)?;
        run::no_offer_outlives_its_lease(world, since)?;
        if world.leaders() != leaders {
            let how = format!("{leaders:?} led, {:?} lead, and nothing went wrong", world.leaders());
            return Err(Broken { promise: "P13 it heals", how });
        }
    }
    world.options.work_every = 0;
    Ok(())
}

impl World {
    /// Times are calm no more.
    fn roughen(&mut self, wave: u64) {
        self.calm = false;
        self.network.calm = false;
        for number in 1..=self.frameworks.len() {
            let node = Node::Framework(number);
            if self.life(node).1 {
                self.framework_hears_of(node, Word::Rough);
                self.plan(node);
            }
        }
        self.checks.alive.nobody_drains();
        self.faults_begin(wave);
        self.plan_wish();
        self.plan_work();
        self.clients_go_on();
    }

    fn plan_work(&mut self) {
        if self.options.work_every > 0 {
            let at = self.now + self.dice.below(2 * self.options.work_every) + 1;
            self.work_plans += 1;
            self.queue.push(at, Event::Work(self.work_plans));
        }
    }

    /// There is more to do for one of the frameworks.
    pub(crate) fn work(&mut self, plan: u64) {
        if self.options.work_every == 0 || plan != self.work_plans {
            return;
        }
        let busy = |personality| !matches!(personality, Personality::Declining | Personality::Silent);
        let at = self.dice.below(self.options.frameworks.len() as u64) as usize;
        let jobs = 1 + self.dice.below(4) as u32;
        if let Some(node) = self.latest_of(at).filter(|_| busy(self.options.frameworks[at].personality)) {
            self.frameworks[node.index()].memory.more(jobs);
            if self.life(node).1 {
                self.framework_hears_of(node, Word::Jobs(jobs));
                self.plan(node);
            }
        }
        self.plan_work();
    }

    /// The instance of a framework that has a part in what happens.
    pub(crate) fn latest_of(&self, framework: usize) -> Option<Node> {
        let name = &self.frameworks[framework].name;
        let plays = |one: &crate::frameworks::FrameworkNode| one.name == *name && one.part == Part::Plays;
        self.frameworks.iter().rposition(plays).map(|at| Node::Framework(at + 1))
    }
}
