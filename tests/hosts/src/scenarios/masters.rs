//! Masters die, sleep, and are too few.

use std::time::{Duration, Instant};

use super::since;
use crate::pool::Pool;
use crate::wait::{eventually, throughout};
use crate::work::{Running, Work};

/// Long enough for what was about to be told to be told.
const SETTLE: Duration = Duration::from_secs(3);

/// Each process is still there, whatever anybody says.
pub fn are_alive(running: &Running) -> Result<(), String> {
    match running.iter().find(|(_, pid)| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
        Some((task, pid)) => Err(format!("{task} is gone, process {pid}")),
        None => Ok(()),
    }
}

/// They run as the processes that they were.
pub fn are_the_same(pool: &Pool, work: &Work, before: &Running) -> Result<(), String> {
    let mut now = Running::new();
    let same = eventually("the same tasks and processes", Duration::from_secs(60), || {
        now = work.running(pool);
        (now == *before).then_some(())
    });
    same.map_err(|why| format!("{why}: {before:?} were, {now:?} are"))
}

pub fn leader_killed(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let held = work.hold(pool, 12)?;
    work.batch(pool, 40)?;
    let leader = pool.leader()?;
    let killed = Instant::now();
    pool.masters[leader].kill_9()?;
    held.end()?;
    pool.another_leads(leader, Duration::from_secs(5))?;
    let (led, leads) = (since(killed), Instant::now());
    let told = held.told(pool, leads)?;
    work.batch(pool, 20)?;
    let taken = since(killed);
    are_the_same(pool, work, &before)?;
    Ok(format!("another leads in {led}; {told} after that, and work is taken {taken} after the death"))
}

pub fn leader_stopped(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    let leader = pool.leader()?;
    pool.masters[leader].halt()?;
    let stopped = Instant::now();
    let new = pool.another_leads(leader, Duration::from_secs(10))?;
    let led = since(stopped);
    work.batch(pool, 20)?;
    throughout(Duration::from_secs(10).saturating_sub(stopped.elapsed()), || are_alive(&before))?;
    pool.masters[leader].go_on()?;
    // Whoever slept finds another in its place, and does not take it back.
    throughout(SETTLE, || match pool.try_leader() {
        Some(now) if now == leader => Err(format!("master {} leads again at once", leader + 1)),
        _ => Ok(()),
    })?;
    let now = pool.leader()?;
    if now != new {
        return Err(format!("master {} led, and now {}: nothing was the matter with it", new + 1, now + 1));
    }
    are_the_same(pool, work, &before)?;
    Ok(format!("another leads in {led}; the sleeper follows"))
}

pub fn all_killed(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    work.batch(pool, 20)?;
    for master in &mut pool.masters {
        master.kill_9()?;
    }
    throughout(Duration::from_secs(10), || are_alive(&before))?;
    let begun = Instant::now();
    for master in &mut pool.masters {
        master.start()?;
    }
    pool.leader()?;
    work.batch(pool, 20)?;
    let serves = since(begun);
    are_the_same(pool, work, &before)?;
    Ok(format!("tasks ran on for 10 s without masters; service in {serves}"))
}

pub fn majority_lost(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    let leader = pool.leader()?;
    for number in (0..pool.masters.len()).filter(|number| *number != leader) {
        pool.masters[number].kill_9()?;
    }
    let asked = Instant::now();
    let said = pool.stoa(&["weight", "set", "majority-lost", "7"]);
    let answered = since(asked);
    if said.code == 0 {
        return Err(format!("one master of three took a change: {}", said.out));
    }
    are_alive(&before)?;
    pool.heal()?;
    pool.leader()?;
    work.batch(pool, 20)?;
    are_the_same(pool, work, &before)?;
    Ok(format!("a change is refused in {answered} (exit {})", said.code))
}
