//! Faults at random, again and again, each wave followed by a calm in which everything must be right again.

use std::time::{Duration, Instant};

use crate::pool::{AGENTS, JOBS, MASTERS, Pool};
use crate::wait::throughout;
use crate::work::Work;

/// How long a wave is rough.
const ROUGH: Duration = Duration::from_secs(30);
/// How many batches a wave has at most: the masters remember 1,000 ended tasks of a framework.
const BATCHES: usize = 200;
/// The instances of one.
const INSTANCES: u64 = 4;
/// So long from one batch to the next.
const PACE: Duration = Duration::from_millis(150);

/// A source of choices: splitmix64 (Steele, Lea, Flood 2014). The faults of a seed are the same each time; what they meet
/// is not, because the processes are real.
struct Dice(u64);

/// What can be done to a pool.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillMaster(usize),
    KillAllMasters,
    KillAgent(usize),
    KillFramework,
    HaltMaster(usize),
    HaltAgent(usize),
    HaltFramework,
    CutMasters(usize, usize),
    CutOneWay(usize, usize),
    CutAgent(usize),
    CutFramework(usize),
    Isolate(usize),
    Lose(u32),
    Reboot(usize),
}

// === impl Dice ===

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.roll(count as u64)).unwrap_or_default()
    }

    fn fault(&mut self) -> Fault {
        let (one, other) = (self.index(3), 1 + self.index(2));
        match self.roll(14) {
            0 | 1 => Fault::KillMaster(one),
            2 => Fault::KillAllMasters,
            3 => Fault::KillAgent(one),
            4 => Fault::KillFramework,
            5 => Fault::HaltMaster(one),
            6 => Fault::HaltAgent(one),
            7 => Fault::HaltFramework,
            8 => Fault::CutMasters(one, (one + other) % 3),
            9 => Fault::CutOneWay(one, (one + other) % 3),
            10 => Fault::CutAgent(one),
            11 => Fault::CutFramework(one),
            12 => Fault::Isolate(one),
            _ if self.roll(4) == 0 => Fault::Reboot(one),
            _ => Fault::Lose(u32::try_from(5 + self.roll(35)).unwrap_or(5)),
        }
    }
}

// === impl Fault ===

impl Fault {
    /// Does it. What is dead already cannot be killed.
    fn strike(self, pool: &mut Pool) -> Result<(), String> {
        match self {
            Fault::KillMaster(number) if pool.masters[number].is_running() => pool.masters[number].kill_9(),
            Fault::KillAllMasters => {
                (0..MASTERS.len()).try_for_each(|number| Fault::KillMaster(number).strike(pool))
            }
            Fault::KillAgent(number) if pool.agents[number].is_running() => pool.agents[number].kill_9(),
            Fault::KillFramework if pool.jobs.is_running() => pool.jobs.kill_9(),
            Fault::HaltMaster(number) if pool.masters[number].is_running() => pool.masters[number].halt(),
            Fault::HaltAgent(number) if pool.agents[number].is_running() => pool.agents[number].halt(),
            Fault::HaltFramework if pool.jobs.is_running() => pool.jobs.halt(),
            Fault::KillMaster(_)
            | Fault::KillAgent(_)
            | Fault::KillFramework
            | Fault::HaltMaster(_)
            | Fault::HaltAgent(_)
            | Fault::HaltFramework => Ok(()),
            Fault::CutMasters(one, other) => pool.net.cut(MASTERS[one], MASTERS[other]),
            Fault::CutOneWay(one, other) => pool.net.cut_one_way(MASTERS[one], MASTERS[other]),
            Fault::CutAgent(number) => pool.net.part(&[AGENTS[number]], &MASTERS),
            Fault::CutFramework(number) => pool.net.cut(JOBS, MASTERS[number]),
            Fault::Isolate(number) => {
                let others: Vec<&str> = MASTERS
                    .iter()
                    .chain(&AGENTS)
                    .chain([&JOBS])
                    .copied()
                    .filter(|host| *host != MASTERS[number])
                    .collect();
                pool.net.part(&[MASTERS[number]], &others)
            }
            Fault::Lose(percent) => {
                MASTERS.iter().chain(&AGENTS).chain([&JOBS]).try_for_each(|host| pool.net.lose(host, percent))
            }
            Fault::Reboot(number) => pool.reboot(number),
        }
    }
}

/// One wave: rough, then calm. What was met.
///
/// # Errors
/// What was not right in the calm.
pub fn wave(pool: &mut Pool, seed: u64, number: u64) -> Result<String, String> {
    let mut dice = Dice(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    pool.plays += 1;
    let mut work = Work::new(pool, &format!("storm-{}", pool.plays))?;
    work.serve(pool, 6)?;
    let (begun, mut faults, mut lost) = (Instant::now(), Vec::new(), false);
    let mut asked = begun;
    while begun.elapsed() < ROUGH {
        // One, or two at once; for a moment, or for longer than anybody waits.
        for _ in 0..=dice.roll(2) {
            let fault = dice.fault();
            lost |= matches!(fault, Fault::Reboot(_));
            faults.push(fault);
            fault.strike(pool).map_err(|why| format!("{fault:?}: {why}"))?;
        }
        let lasts = Duration::from_millis([200, 1_000, 3_000, 8_000][dice.index(4)]);
        throughout(lasts, || {
            if work.batches() < BATCHES && asked.elapsed() > PACE {
                asked = Instant::now();
                // Nobody may be there to take it; then it is asked for again.
                let _ = work.try_batch(pool, INSTANCES);
            }
            Ok(())
        })?;
        pool.heal()?;
    }
    let healed = Instant::now();
    let told = |why: String| format!("{why}; wave {number} of seed {seed}: {faults:?}");
    pool.is_whole(Duration::from_secs(60)).map_err(told)?;
    let whole = healed.elapsed();
    // One of which it is not known whether anybody took it is asked for again, by the same name.
    work.batch(pool, INSTANCES).map_err(told)?;
    work.each_once(pool, lost).map_err(told)?;
    let done = healed.elapsed();
    work.run(pool).map_err(told)?;
    pool.logs_are_clean().map_err(told)?;
    work.clear(pool).map_err(told)?;
    Ok(format!(
        "{} faults, {} batches, {} tasks started, each once; whole in {:.1} s and all done in {:.1} s after the last",
        faults.len(),
        work.batches(),
        work.started().len(),
        whole.as_secs_f64(),
        done.as_secs_f64()
    ))
}
