//! `Options`: what a seed does: how large its world is, and how often what goes wrong.

use proto_machine::Dice;

use crate::members;
use crate::pool;

/// One millisecond, in the simulator's nanoseconds.
pub const MS: u64 = 1_000_000;
/// One second, in the simulator's nanoseconds.
pub const SECOND: u64 = 1000 * MS;

/// From this seed on, worlds have habits that came later.
pub const FURTHER: u64 = 1 << 32;

/// How a framework behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// Says what it wants, and runs it.
    Demanding,
    /// Takes whatever is offered while it has something to run.
    Greedy,
    /// Wants nothing and declines everything.
    Declining,
    /// Thinks long about offers and updates, sometimes until they are over.
    Slow,
    /// Takes offers and never answers.
    Silent,
    /// Runs what it has on some agents only.
    Picky,
    /// Runs what it has, and asks for what is others' too.
    Wrong,
}

/// What a framework does now and then beyond launching tasks one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Launches tasks that share their fate.
    pub groups: bool,
    /// Uses several offers all or none.
    pub gangs: bool,
    /// Reserves disk, makes and destroys volumes, gives it back, and at times wants more than there is.
    pub reserves: bool,
    /// Changes what it says of itself.
    pub changes: bool,
    /// Ends itself once, in the midst of its work.
    pub tears_down: bool,
    /// Goes away once and does not come back.
    pub departs: bool,
    /// Once, while it does not move, another instance of it takes over.
    pub is_succeeded: bool,
    /// Uses offers of an earlier leader's numbers that it was never made.
    pub forges: bool,
    /// Declines for a minute or so, not for a moment.
    pub content: bool,
}

/// One framework.
#[derive(Clone, Copy, Debug)]
pub struct FrameworkPlan {
    /// How it behaves.
    pub personality: Personality,
    /// How many jobs it has to bring to a good end.
    pub jobs: u32,
    /// What else it does.
    pub habits: Habits,
}

/// How often each fault is drawn when one is due; zero for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A master's process dies.
    pub crash_master: u64,
    /// An agent's process dies; its tasks live on.
    pub crash_agent: u64,
    /// An agent's machine is restarted.
    pub reboot_agent: u64,
    /// A framework's process dies.
    pub crash_framework: u64,
    /// A connection breaks.
    pub cut_stream: u64,
    /// Two nodes cannot speak, in one direction or both.
    pub partition: u64,
    /// A master cannot speak to anybody, or nobody to it.
    pub isolate_master: u64,
    /// A process is not run for a while.
    pub pause: u64,
    /// A leader is not run for a while, and while another leads, agents lose that one and look around.
    pub usurp: u64,
    /// A process dies and is away for a minute or two.
    pub outage: u64,
    /// Nothing more can be written to a disk for a while.
    pub full_disk: u64,
    /// A sync of a disk fails.
    pub failed_sync: u64,
    /// Syncs of a disk are slow for a while.
    pub slow_disk: u64,
    /// The clock of a machine is set, forth or back.
    pub set_clock: u64,
    /// A master dies, and what it has stored is damaged or gone.
    pub harm_disk: u64,
}

/// What a seed does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members of the group.
    pub masters: u64,
    /// Agents.
    pub agents: u64,
    /// Frameworks.
    pub frameworks: Vec<FrameworkPlan>,
    /// Clients of the store; without any there is no store.
    pub store_clients: u64,
    /// How long everything may fail, in nanoseconds like all times here.
    pub rough: u64,
    /// How long it may take to heal.
    pub heal_within: u64,
    /// The least and the most that a message takes.
    pub delay: (u64, u64),
    /// Of a thousand datagrams, so many are lost.
    pub lost_permille: u64,
    /// So many come twice.
    pub doubled_permille: u64,
    /// So many messages of all kinds take up to twenty times as long.
    pub late_permille: u64,
    /// The least and the most that a sync of the disk takes.
    pub sync: (u64, u64),
    /// Of a thousand syncs, so many take up to a second.
    pub slow_sync_permille: u64,
    /// How long a process may take to look into its mailbox.
    pub attention: u64,
    /// By how much clocks of day may differ.
    pub skew_ms: u64,
    /// By how much clocks may run fast or slow.
    pub drift_ppm: u64,
    /// How long after the masters the others begin.
    pub others_begin: u64,
    /// The mean time between faults; zero for none.
    pub fault_every: u64,
    /// Which.
    pub faults: Faults,
    /// Whether processes die in the middle of what they want done, where such die at all.
    pub midway: bool,
    /// A master dies in front of one of so many things that it wants done; zero for never.
    pub masters_midway_of: u64,
    /// The mean time between an operator's wishes; zero for none.
    pub operator_every: u64,
    /// Whether operators end frameworks.
    pub ends_frameworks: bool,
    /// Whether agents have less or more, and say something new of themselves, each time they begin.
    pub changing_agents: bool,
    /// Whether operators give agents up.
    pub gives_up_agents: bool,
    /// Whether operators reserve resources of agents, for a role of their own.
    pub operates_agents: bool,
    /// Whether operators drain agents.
    pub drains: bool,
    /// Whether operators limit roles most of the time.
    pub limits_roles: bool,
    /// The mean time between an operator's wishes about who the masters are; zero for none.
    pub changes_masters: u64,
    /// Whether the world goes on for a while once it has healed.
    pub lingers: bool,
    /// The log is cut about so often.
    pub snapshot_after_bytes: u64,
    /// Registries are compared at every index that this divides, and at rest.
    pub compare_every: u64,
    /// How long offers stand.
    pub offer_timeout: u64,
    /// How long a silent agent is waited for.
    pub unreachable_after: u64,
    /// How long a framework's tasks outlive it.
    pub failover_timeout: u64,
    /// The least and the most that a task runs.
    pub run_time: (u64, u64),
    /// Of a thousand tasks, so many end badly.
    pub failing_permille: u64,
    /// So many cannot be started.
    pub unstartable_permille: u64,
    /// So many do not listen to TERM.
    pub deaf_permille: u64,
    /// So many run for much longer, and
    pub long_permille: u64,
    /// for so long, at least and at most.
    pub long_time: (u64, u64),
    /// The mean time between new jobs; zero for none but those that frameworks begin with.
    pub work_every: u64,
    /// For how long waves of faults and calm follow each other; zero for one of each.
    pub lives: u64,
}

impl Options {
    /// A world for a seed. Some are calm, some are cruel; most are small, because small worlds find most faults.
    pub fn of(seed: u64) -> Options {
        let mut dice = Dice::new(seed ^ 0x0005_70a5_0000_0000);
        let masters = [1, 3, 3, 3, 3, 5][dice.below(6) as usize];
        let agents = if dice.chance(1, 8) { 6 + dice.below(5) } else { 1 + dice.below(4) };
        let personalities = [
            Personality::Demanding,
            Personality::Greedy,
            Personality::Slow,
            Personality::Declining,
            Personality::Silent,
        ];
        let mut frameworks: Vec<FrameworkPlan> = (0..1 + dice.below(3))
            .map(|_| FrameworkPlan {
                personality: personalities[dice.below(5) as usize],
                jobs: 2 + dice.below(10) as u32,
                habits: Habits::default(),
            })
            .collect();
        let idle =
            |plan: &FrameworkPlan| matches!(plan.personality, Personality::Declining | Personality::Silent);
        if frameworks.iter().all(idle) {
            frameworks[0].personality = Personality::Demanding;
        }
        // Each fault is on in some worlds only, so that each is also seen without the others.
        let cruelty = dice.below(4);
        let mut weight = |most: u64| if dice.chance(cruelty, 3) { 1 + dice.below(most) } else { 0 };
        let faults = Faults {
            crash_master: weight(4),
            crash_agent: weight(4),
            reboot_agent: weight(2),
            crash_framework: weight(3),
            cut_stream: weight(6),
            partition: weight(4),
            isolate_master: weight(3),
            pause: weight(3),
            ..Faults::default()
        };
        // Drawn apart: a world that has none of it goes as it went before there was any of it.
        let mut other = Dice::new(seed ^ 0x0000_4ab1_7500_0000);
        for plan in &mut frameworks {
            let busy = other.chance(1, 2);
            let mut habit = |of: u64| busy && other.chance(1, of);
            plan.habits = Habits {
                groups: habit(2),
                gangs: habit(2),
                reserves: habit(2),
                changes: habit(3),
                tears_down: habit(4),
                ..Habits::default()
            };
        }
        // Data at stake, in some worlds wherever one looks.
        let mut apart = Dice::new(seed ^ 0x00da_7a00_0000_0000);
        if apart.chance(1, 6) {
            for plan in frameworks.iter_mut() {
                plan.personality = Personality::Greedy;
                plan.jobs += 10;
                plan.habits.reserves = true;
            }
        }
        let mut kept = Dice::new(seed ^ 0x5702_e0c1_0000_0000);
        let slow_net = dice.chance(1, 5);
        let messy_net = dice.chance(cruelty, 4);
        let options = Options {
            masters,
            agents,
            frameworks,
            store_clients: if kept.chance(1, 8) { 1 + kept.below(4) } else { 0 },
            rough: (15 + dice.below(30)) * SECOND,
            heal_within: 240 * SECOND,
            delay: if slow_net { (5 * MS, 60 * MS) } else { (MS / 10, 3 * MS) },
            lost_permille: if messy_net { dice.below(150) } else { 0 },
            doubled_permille: if messy_net { dice.below(60) } else { 0 },
            late_permille: if messy_net { dice.below(60) } else { 0 },
            sync: (MS / 5, [MS, 5 * MS, 30 * MS][dice.below(3) as usize]),
            slow_sync_permille: if dice.chance(1, 4) { 5 } else { 0 },
            attention: [MS / 20, MS, 8 * MS][dice.below(3) as usize],
            skew_ms: [0, 50, 3000][dice.below(3) as usize],
            drift_ppm: [0, 200, 20_000][dice.below(3) as usize],
            others_begin: 0,
            fault_every: (1 + dice.below(6)) * SECOND,
            faults,
            midway: true,
            masters_midway_of: 0,
            operator_every: if dice.chance(1, 2) { (2 + dice.below(8)) * SECOND } else { 0 },
            ends_frameworks: other.chance(1, 6),
            changing_agents: other.chance(1, 4),
            gives_up_agents: dice.chance(1, 6),
            snapshot_after_bytes: [4 << 10, 32 << 10, 8 << 20][dice.below(3) as usize],
            compare_every: 4,
            offer_timeout: (3 + dice.below(20)) * SECOND,
            unreachable_after: (4 + dice.below(16)) * SECOND,
            failover_timeout: [5, 30, 300][dice.below(3) as usize] * SECOND * u64::from(!other.chance(1, 8)),
            run_time: (MS, [200 * MS, 4 * SECOND, 15 * SECOND][dice.below(3) as usize]),
            failing_permille: dice.below(300),
            unstartable_permille: dice.below(60),
            deaf_permille: dice.below(300),
            long_permille: 0,
            long_time: (0, 0),
            work_every: 0,
            lives: 0,
            operates_agents: other.chance(1, 3),
            drains: false,
            limits_roles: false,
            changes_masters: 0,
            lingers: false,
        };
        match seed {
            ..FURTHER => options,
            FURTHER..pool::FIRST => options.further(seed),
            pool::FIRST..members::FIRST => options.pool(seed),
            members::FIRST.. => options.further(seed).members(seed),
        }
    }

    /// What the first seeds know nothing of, so that each of them stays the run that it was: frameworks that go away for
    /// good, such as have a second instance or make offers up, leaders that sleep, and operators who limit roles.
    fn further(mut self, seed: u64) -> Options {
        let mut dice = Dice::new(seed ^ 0x00f0_a7e2_0000_0000);
        let last = self.frameworks.len() - 1;
        if last > 0 && dice.chance(1, 2) {
            self.frameworks[last].habits.departs = true;
            self.failover_timeout = self.failover_timeout.min(30 * SECOND);
        }
        if dice.chance(1, 2) {
            self.limits_roles = true;
            self.operator_every = SECOND;
        }
        let first = &mut self.frameworks[0];
        if first.jobs > 0 && dice.chance(3, 4) {
            first.habits.is_succeeded = true;
        }
        self.frameworks.iter_mut().for_each(|plan| plan.habits.forges = dice.chance(1, 2));
        if self.masters > 1 && dice.chance(1, 2) {
            self.faults.usurp = 8;
        }
        self.lingers = true;
        self
    }

    /// Masters come and go, under clients of the frameworks' state, with a log that is cut early; and disks of theirs are lost.
    fn members(self, seed: u64) -> Options {
        let mut dice = Dice::new(seed ^ 0x0e3b_e250_0000_0000);
        let mut faults = self.faults;
        faults.crash_master += dice.below(4);
        faults.harm_disk = if dice.chance(3, 4) { 2 + dice.below(5) } else { 0 };
        Options {
            store_clients: 1 + dice.below(3),
            rough: self.rough + (15 + dice.below(30)) * SECOND,
            changes_masters: (1 + dice.below(4)) * SECOND,
            snapshot_after_bytes: [4 << 10, 4 << 10, 32 << 10][dice.below(3) as usize],
            faults,
            ..self
        }
    }

    /// A world in which nothing happens by itself, for stories.
    pub fn still(masters: u64, agents: u64, frameworks: Vec<FrameworkPlan>) -> Options {
        Options {
            masters,
            agents,
            frameworks,
            store_clients: 0,
            rough: 0,
            heal_within: 600 * SECOND,
            delay: (MS / 2, MS / 2),
            lost_permille: 0,
            doubled_permille: 0,
            late_permille: 0,
            sync: (MS, MS),
            slow_sync_permille: 0,
            attention: 0,
            skew_ms: 0,
            drift_ppm: 0,
            others_begin: SECOND,
            fault_every: 0,
            faults: Faults::default(),
            midway: true,
            masters_midway_of: 0,
            operator_every: 0,
            ends_frameworks: false,
            changing_agents: false,
            gives_up_agents: false,
            snapshot_after_bytes: 8 << 20,
            compare_every: 4,
            offer_timeout: 60 * SECOND,
            unreachable_after: 75 * SECOND,
            failover_timeout: 7 * 24 * 3600 * SECOND,
            run_time: (20 * SECOND, 20 * SECOND),
            failing_permille: 0,
            unstartable_permille: 0,
            deaf_permille: 0,
            long_permille: 0,
            long_time: (0, 0),
            work_every: 0,
            lives: 0,
            operates_agents: false,
            drains: false,
            limits_roles: false,
            changes_masters: 0,
            lingers: false,
        }
    }
}
