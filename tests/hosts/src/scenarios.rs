//! Every scenario by name: which rows of the fault matrix it is, and what has to hold.

mod agents;
mod clocks;
mod disks;
mod floods;
mod frameworks;
mod links;
mod masters;

use std::time::{Duration, Instant};

pub use masters::are_the_same;

use crate::pool::Pool;
use crate::work::Work;

/// A fault, and what must hold through it and behind it.
pub struct Scenario {
    /// By what it is asked for.
    pub name: &'static str,
    /// Rows of the fault matrix in `docs/reliability.md`.
    pub rows: &'static str,
    /// What happens.
    pub what: &'static str,
    /// Runs it; what was measured.
    pub run: fn(&mut Pool, &mut Work) -> Result<String, String>,
    /// Whether tasks may be lost with their machine.
    pub loses_tasks: bool,
}

macro_rules! scenarios {
    ($($name:literal $rows:literal $what:literal $run:path $(, $lost:ident)?;)*) => {
        /// All of them, in the order in which they run.
        pub const ALL: &[Scenario] = &[$(Scenario {
            name: $name, rows: $rows, what: $what, run: $run,
            loses_tasks: !stringify!($($lost)?).is_empty(),
        }),*];
    };
}

scenarios! {
    "leader-killed" "F1" "kill -9 of the leader while tasks are launched" masters::leader_killed;
    "leader-stopped" "F2" "the leader sleeps for 10 s and goes on" masters::leader_stopped;
    "masters-killed" "F3" "kill -9 of all masters" masters::all_killed;
    "majority-lost" "F5" "kill -9 of two masters of three" masters::majority_lost;
    "leader-cut-off" "F4" "the leader and an agent on the side of the minority" links::leader_cut_off;
    "one-way" "F6" "what one master says to another is lost, each pair in turn" links::one_way;
    "ring" "F7" "two masters hear each other only by a third; then a link that comes and goes each second" links::ring;
    "framework-cut-off" "F8" "the framework and the leader do not hear each other" links::framework_cut_off;
    "agent-cut-off" "F8" "an agent is out of sight of all masters, for longer than they wait" links::agent_cut_off;
    "lossy" "F20" "a quarter of all that is sent is lost, everywhere" links::lossy;
    "clocks" "F9" "the clock of a master runs an hour ahead, of another 10 minutes behind, of an agent a day ahead" clocks::shifted;
    "disk-full" "F10" "the leader's disk is full, and has room again" disks::leader_full;
    "agent-disk-full" "F10" "an agent's disk is full, and has room again" disks::agent_full, lost;
    "master-sync-fails" "F11" "fsync of a master fails with an I/O error" disks::master_fails;
    "agent-sync-fails" "F11" "fsync of an agent fails with an I/O error" disks::agent_fails;
    "follower-disk-slow" "F14" "each fsync of a master that follows takes 500 ms" disks::follower_slow;
    "leader-disk-slow" "F14" "each fsync of the leader takes 200 ms, then 500 ms of the next one" disks::leader_slow;
    "agent-wiped" "F17" "an agent's machine loses its power and its disk, and joins as a new one" agents::wiped, lost;
    "agent-killed" "F15" "kill -9 of an agent's process" agents::killed;
    "agent-stopped" "F15" "an agent sleeps for longer than the masters wait" agents::stopped;
    "machine-restarted" "F16" "an agent's machine loses its power and boots" agents::restarted, lost;
    "flood" "F25" "10,000 connections that say nothing, or half a greeting, from one host to each master" floods::silent;
    "malformed" "F27" "frames and messages that no client sends, at the doors of the leader and of an agent" floods::malformed;
    "framework-killed" "F18" "kill -9 of the framework while it launches" frameworks::killed;
    "framework-and-leader-killed" "F1 F18" "kill -9 of the framework and of the leader together" frameworks::killed_with_the_leader;
}

/// Runs one on a pool that is whole, and leaves a pool that is whole.
///
/// # Errors
/// What did not hold.
pub fn play(scenario: &Scenario, pool: &mut Pool) -> Result<String, String> {
    let begun = Instant::now();
    pool.plays += 1;
    let mut work = Work::new(pool, &format!("{}-{}", scenario.name, pool.plays))?;
    let found = (scenario.run)(pool, &mut work)?;
    pool.heal()?;
    pool.is_whole(Duration::from_secs(60))?;
    work.each_once(pool, scenario.loses_tasks)?;
    pool.logs_are_clean()?;
    work.clear(pool)?;
    Ok(format!(
        "{found}; {} tasks started, each once; {:.0} s",
        work.started().len(),
        begun.elapsed().as_secs_f64()
    ))
}

/// Seconds since then, for people.
pub fn since(begun: Instant) -> String {
    format!("{:.1} s", begun.elapsed().as_secs_f64())
}
