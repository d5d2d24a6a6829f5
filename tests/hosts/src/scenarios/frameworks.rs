//! A framework dies while it launches.

use std::time::{Duration, Instant};

use super::masters::are_the_same;
use super::since;
use crate::pool::Pool;
use crate::wait::eventually;
use crate::work::Work;

pub fn killed(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    work.batch(pool, 100)?;
    pool.jobs.kill_9()?;
    pool.jobs.start()?;
    let begun = Instant::now();
    eventually("its work is done", Duration::from_secs(60), || (work.started().len() == 106).then_some(()))?;
    are_the_same(pool, work, &before)?;
    Ok(format!("a batch of 100 is done {} after it was started again", since(begun)))
}

pub fn killed_with_the_leader(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    work.batch(pool, 100)?;
    let leader = pool.leader()?;
    pool.jobs.kill_9()?;
    pool.masters[leader].kill_9()?;
    pool.jobs.start()?;
    let begun = Instant::now();
    eventually("its work is done", Duration::from_secs(60), || (work.started().len() == 106).then_some(()))?;
    let done = since(begun);
    pool.masters[leader].start()?;
    are_the_same(pool, work, &before)?;
    Ok(format!("a batch of 100 is done {done} after both were killed"))
}
