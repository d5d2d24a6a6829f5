//! A pool of an older binary becomes one of this binary, machine by machine, while work goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::pool::{AGENTS, MASTERS, Pool};
use crate::scenarios::{are_the_same, since};
use crate::work::Work;

const LIMIT: Duration = Duration::from_secs(30);

/// What was upgraded, and how long the masters took.
///
/// # Errors
/// What was touched or refused on the way.
pub fn roll(pool: &mut Pool, new: &Path) -> Result<String, String> {
    let mut work = Work::new(pool, "upgrade")?;
    let before = work.serve(pool, 30)?;
    work.batch(pool, 20)?;
    let begun = Instant::now();
    for number in 0..MASTERS.len() {
        // The leader last: it is replaced by one that is new already.
        let leader = pool.leader()?;
        let old = |pool: &Pool, number: usize| pool.masters[number].line.program != *new;
        let next = (0..MASTERS.len()).filter(|one| old(pool, *one)).min_by_key(|one| *one == leader);
        let next = next.ok_or("all masters are new before their time")?;
        pool.masters[next].kill_9()?;
        pool.masters[next].line.program = new.to_path_buf();
        pool.masters[next].start()?;
        pool.is_whole(LIMIT).map_err(|why| format!("with {} new masters: {why}", number + 1))?;
        work.batch(pool, 10)?;
        are_the_same(pool, &work, &before)?;
    }
    let masters = since(begun);
    for agent in 0..AGENTS.len() {
        pool.agents[agent].kill_9()?;
        pool.agents[agent].line.program = new.to_path_buf();
        pool.agents[agent].start()?;
        pool.is_whole(LIMIT).map_err(|why| format!("with {} new agents: {why}", agent + 1))?;
        work.batch(pool, 10)?;
        are_the_same(pool, &work, &before)?;
    }
    pool.jobs.kill_9()?;
    pool.jobs.line.program = new.to_path_buf();
    pool.jobs.start()?;
    pool.is_whole(LIMIT)?;
    work.batch(pool, 20)?;
    are_the_same(pool, &work, &before)?;
    work.each_once(pool, false)?;
    pool.logs_are_clean()?;
    work.clear(pool)?;
    Ok(format!(
        "three masters in {masters}, then agents and framework; 30 services are the same processes, {} tasks started, each once",
        work.started().len()
    ))
}
