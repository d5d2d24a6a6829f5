//! Clocks that show another time of day than those of the others.

use std::time::Duration;

use super::masters::are_the_same;
use crate::pool::Pool;
use crate::process::Process;
use crate::work::Work;

/// The next start of a process sees the time of day shifted, as `libfaketime` writes it; what it measures is untouched.
fn shift(process: &mut Process, library: &std::path::Path, by: &str) {
    let set = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", by.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
    ];
    process.line.env.extend(set.map(|(name, value)| (name.to_owned(), value)));
}

fn right(process: &mut Process) {
    process.line.env.retain(|(name, _)| !name.starts_with("FAKETIME") && name != "LD_PRELOAD");
}

pub fn shifted(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let library = pool.net.tools().faketime();
    let leader = pool.leader()?;
    let others: Vec<usize> = (0..pool.masters.len()).filter(|number| *number != leader).collect();
    for (number, by) in [(others[0], "+1h"), (leader, "-10m")] {
        shift(&mut pool.masters[number], &library, by);
        pool.masters[number].kill_9()?;
        pool.masters[number].start()?;
        pool.is_whole(Duration::from_secs(30))?;
    }
    shift(&mut pool.agents[0], &library, "+1d");
    pool.agents[0].kill_9()?;
    pool.agents[0].start()?;
    pool.is_whole(Duration::from_secs(30))?;
    work.batch(pool, 20)?;
    // Each of the clocks has its turn: whoever leads next, no deadline comes early and nobody is lost.
    for _ in 0..3 {
        let leader = pool.leader()?;
        pool.masters[leader].kill_9()?;
        pool.another_leads(leader, Duration::from_secs(10))?;
        pool.masters[leader].start()?;
        pool.is_whole(Duration::from_secs(30))?;
        work.batch(pool, 10)?;
    }
    are_the_same(pool, work, &before)?;
    let said = pool.stoa(&["doctor"]);
    for process in pool.masters.iter_mut().chain(&mut pool.agents) {
        if process.line.env.iter().any(|(name, _)| name == "FAKETIME") {
            right(process);
            process.kill_9()?;
            process.start()?;
        }
    }
    pool.is_whole(Duration::from_secs(30))?;
    are_the_same(pool, work, &before)?;
    if !said.out.contains("clock") {
        return Err(format!("doctor says nothing of clocks: {}", said.out));
    }
    Ok("nobody is lost, no deadline comes early, and doctor tells of it".to_owned())
}
