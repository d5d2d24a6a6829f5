//! Disks that are full, slow, or fail.

use std::time::{Duration, Instant};

use super::masters::{are_alive, are_the_same};
use super::since;
use crate::pool::{AGENTS, MASTERS, Pool};
use crate::process::Process;
use crate::wait::{eventually, throughout};
use crate::work::Work;

/// Takes all the room that a host's disk has left.
fn fill(pool: &Pool, host: &str) -> Result<String, String> {
    use std::io::Write;
    let place = pool.path(&format!("{host}/filler"));
    let mut file = std::fs::File::create(&place).map_err(|why| format!("cannot make {place}: {why}"))?;
    let block = vec![0_u8; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
    Ok(place)
}

/// Has the masters write much, until another leads than this one: a full disk is met when the room that was taken in
/// advance for the log is used up.
fn write_until_another_leads(pool: &Pool, leader: usize) -> Result<(), String> {
    let value = pool.path("large");
    std::fs::write(&value, "x".repeat(60 << 10)).map_err(|why| format!("cannot write {value}: {why}"))?;
    let mut number = 0;
    eventually("another leader", Duration::from_secs(120), || {
        number += 1;
        pool.stoa(&["secret", "set", &format!("large-{}", number % 8), "--file", &value]);
        pool.try_leader().filter(|now| *now != leader).map(|_| ())
    })
}

pub fn leader_full(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    // The one that is asked before all others: it knows no leader soon, and the next one does.
    let leader = 0;
    eventually("the first master leads", Duration::from_secs(30), || {
        pool.stoa(&["raft", "transfer", "1"]);
        (pool.try_leader() == Some(leader)).then_some(())
    })?;
    let filler = fill(pool, MASTERS[leader])?;
    let full = Instant::now();
    // What is written from now on has no place there: somebody else has to take it.
    write_until_another_leads(pool, leader)?;
    work.batch(pool, 20)?;
    let taken = since(full);
    work.batch(pool, 20)?;
    std::fs::remove_file(&filler).map_err(|why| format!("cannot remove {filler}: {why}"))?;
    let room = Instant::now();
    let ended = !pool.masters[leader].is_running();
    if ended {
        pool.masters[leader].reap();
        pool.masters[leader].start()?;
    }
    pool.is_whole(Duration::from_secs(10))?;
    let whole = since(room);
    are_the_same(pool, work, &before)?;
    let how = if ended { "it ended and was started again" } else { "it ran on" };
    Ok(format!("another leads and takes work in {taken}; {how}, whole {whole} after there was room"))
}

pub fn agent_full(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 12)?;
    let filler = fill(pool, AGENTS[0])?;
    work.weigh(24 << 10);
    // Some of it is given to the agent that has no room; the others have.
    let mut asked = 0;
    throughout(Duration::from_secs(10), || {
        asked += u32::from(work.batches() < 20 && work.try_batch(pool, 10).is_ok());
        if !pool.agents[0].is_running() {
            return Err("the agent whose disk is full has ended".to_owned());
        }
        are_alive(&before)
    })?;
    let refused = work.told_on(pool, AGENTS[0], |task| task["reason"] == "agent-disk-full");
    if refused == 0 {
        return Err(
            "the agent whose disk is full was given nothing, or did not say why it took nothing".to_owned()
        );
    }
    // It can be started on a full disk, too.
    let joined = |pool: &Pool| pool.agents[0].said().matches("joined").count();
    let times = joined(pool);
    pool.agents[0].kill_9()?;
    pool.agents[0].start()?;
    eventually("it is back", Duration::from_secs(20), || (joined(pool) > times).then_some(()))?;
    are_the_same(pool, work, &before)?;
    std::fs::remove_file(&filler).map_err(|why| format!("cannot remove {filler}: {why}"))?;
    let room = Instant::now();
    work.weigh(0);
    let finished =
        |work: &Work, pool: &Pool| work.told_on(pool, AGENTS[0], |task| task["state"] == "finished");
    let before_room = finished(work, pool);
    eventually("it takes tasks again", Duration::from_secs(10), || {
        let _ = work.try_batch(pool, 10);
        (finished(work, pool) > before_room).then_some(())
    })?;
    let back = since(room);
    if !pool.agents[0].is_running() {
        return Err("the agent has ended".to_owned());
    }
    are_alive(&before)?;
    Ok(format!(
        "{asked} batches meanwhile, {refused} tasks refused; it stays, and takes tasks {back} after there was room"
    ))
}

/// Starts a process again so that its syncs can be made to fail, has them fail, waits until it has ended, and takes it
/// all back. What it said at last.
fn fail(
    pool: &mut Pool,
    of: impl Fn(&mut Pool) -> &mut Process,
    make_it_write: impl Fn(&mut Pool),
) -> Result<String, String> {
    let control = pool.dir.join("faults");
    let around = pool.net.tools().failing(&control);
    let names = around.each_ref().map(|(name, _)| *name);
    let process = of(pool);
    process.line.env.extend(around.map(|(name, value)| (name.to_owned(), value)));
    process.kill_9()?;
    process.start()?;
    let pid = process.pid()?;
    pool.is_whole(Duration::from_secs(30))?;
    pool.net.tools().fail_syncs(&control, pid)?;
    let ended = eventually("it ends by itself", Duration::from_secs(30), || {
        make_it_write(pool);
        (!of(pool).is_running()).then_some(())
    });
    let process = of(pool);
    process.line.env.retain(|(name, _)| !names.contains(&name.as_str()));
    ended?;
    process.reap();
    process
        .said()
        .lines()
        .rev()
        .find(|line| line.contains("rror"))
        .map(str::to_owned)
        .ok_or_else(|| "it says nothing of an error".to_owned())
}

pub fn master_fails(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let number = pool.leader()?;
    let said = fail(
        pool,
        |pool| &mut pool.masters[number],
        |pool| {
            pool.stoa(&["weight", "set", "sync-fails", "2"]);
        },
    )?;
    work.batch(pool, 20)?;
    pool.masters[number].start()?;
    are_the_same(pool, work, &before)?;
    Ok(format!("it ended: {said}"))
}

pub fn agent_fails(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let name = AGENTS[1];
    let work_of = std::cell::RefCell::new(work);
    let said = fail(
        pool,
        |pool| &mut pool.agents[1],
        |pool| {
            let _ = work_of.borrow_mut().try_batch(pool, 10);
        },
    )?;
    are_alive(&before)?;
    pool.agents[1].start()?;
    let work = work_of.into_inner();
    are_the_same(pool, work, &before)?;
    Ok(format!("{name} ended and its tasks ran on: {said}"))
}

/// How long some tasks take, one after another, from the order to the end of the task: half of them, and the slowest.
fn launches(pool: &Pool) -> Result<(Duration, Duration), String> {
    let mut took = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let said = pool.stoa(&["run", "--", "true"]);
        if said.code != 0 {
            return Err(format!("a task is not run: exit {}, {}{}", said.code, said.out, said.err));
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok((took[took.len() / 2], took[took.len() - 1]))
}

pub fn follower_slow(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    let leader = pool.leader()?;
    let follower = (0..MASTERS.len()).find(|number| *number != leader).unwrap_or_default();
    let pid = pool.masters[follower].pid()?;
    let (half, slowest) = launches(pool)?;
    let slow = pool.net.tools().slow_syncs(pid, Duration::from_millis(500))?;
    let (half_beside, slowest_beside) = launches(pool)?;
    work.batch(pool, 20)?;
    if pool.leader()? != leader {
        return Err(format!("master {} leads no more, and its disk is as ever", leader + 1));
    }
    drop(slow);
    are_the_same(pool, work, &before)?;
    let told = format!(
        "of 20 tasks half took {} ms and the slowest {} ms, and {} ms and {} ms without",
        half_beside.as_millis(),
        slowest_beside.as_millis(),
        half.as_millis(),
        slowest.as_millis()
    );
    // Whatever waited for that disk would take half a second more.
    let same = half_beside < half + Duration::from_millis(250);
    if same { Ok(told) } else { Err(told) }
}

pub fn leader_slow(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    let mut told = Vec::new();
    // The first is slow and still heard; the second is not heard for longer than anybody waits.
    for by in [200, 500].map(Duration::from_millis) {
        let leader = pool.leader()?;
        let slow = pool.net.tools().slow_syncs(pool.masters[leader].pid()?, by)?;
        let begun = Instant::now();
        let mut asked = 0;
        let led = eventually("another leader", Duration::from_secs(10), || {
            asked += u32::from(pool.stoa(&["weight", "set", "slow-disk", "2"]).code == 0);
            pool.try_leader().filter(|now| *now != leader).map(|_| since(begun))
        });
        let led =
            led.map_err(|why| format!("{why}, with syncs of {} ms and {asked} changes", by.as_millis()))?;
        work.batch(pool, 10)?;
        let (half, slowest) = launches(pool)?;
        if pool.leader()? == leader {
            return Err(format!("master {} leads again, and its disk is slow", leader + 1));
        }
        told.push(format!(
            "with {} ms another leads in {led}, then half of 20 tasks take {} ms, the slowest {} ms",
            by.as_millis(),
            half.as_millis(),
            slowest.as_millis()
        ));
        drop(slow);
    }
    are_the_same(pool, work, &before)?;
    Ok(told.join("; "))
}
