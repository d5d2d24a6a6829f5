//! Links between hosts are cut, one way and both, come and go, and lose what they carry.

use std::time::{Duration, Instant};

use super::masters::{are_alive, are_the_same};
use super::since;
use crate::pool::{AGENTS, CLIENT, JOBS, MASTERS, Pool};
use crate::wait::{eventually, throughout};
use crate::work::Work;

fn others(than: usize) -> Vec<&'static str> {
    MASTERS.iter().enumerate().filter(|(number, _)| *number != than).map(|(_, host)| *host).collect()
}

pub fn leader_cut_off(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let leader = pool.leader()?;
    let mut majority = others(leader);
    majority.extend([AGENTS[1], AGENTS[2], JOBS, CLIENT]);
    pool.net.part(&[MASTERS[leader], AGENTS[0]], &majority)?;
    let cut = Instant::now();
    pool.another_leads(leader, Duration::from_secs(10))?;
    let led = since(cut);
    work.batch(pool, 30)?;
    let taken = since(cut);
    // For longer than the masters wait for the agent on the other side.
    throughout(Duration::from_secs(13).saturating_sub(cut.elapsed()), || are_alive(&before))?;
    pool.net.heal()?;
    are_the_same(pool, work, &before)?;
    Ok(format!("the majority leads in {led}, takes work in {taken}"))
}

pub fn one_way(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    let mut most = 0;
    for (number, from) in MASTERS.iter().enumerate() {
        for to in others(number) {
            let mut leader = pool.leader()?;
            pool.net.cut_one_way(from, to)?;
            let mut changes = 0;
            throughout(Duration::from_secs(5), || {
                if let Some(now) = pool.try_leader().filter(|now| *now != leader) {
                    (leader, changes) = (now, changes + 1);
                }
                Ok(())
            })?;
            if changes > 1 {
                return Err(format!("{from} to {to} cut: {changes} leaders took over in 5 s"));
            }
            work.batch(pool, 5)?;
            most = most.max(changes);
            pool.net.heal()?;
        }
    }
    are_the_same(pool, work, &before)?;
    Ok(format!("six links: at most {most} change of leader for each"))
}

pub fn ring(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    let leader = pool.leader()?;
    let other = others(leader)[0];
    pool.net.cut(MASTERS[leader], other)?;
    work.batch(pool, 10)?;
    let (mut seen, mut looks, mut up) = (0_u32, 0_u32, false);
    let mut turned = Instant::now();
    throughout(Duration::from_secs(15), || {
        if turned.elapsed() >= Duration::from_secs(1) {
            turned = Instant::now();
            up = !up;
            if up { pool.net.heal()? } else { pool.net.cut(MASTERS[leader], other)? }
        }
        looks += 1;
        seen += u32::from(pool.try_leader().is_some());
        Ok(())
    })?;
    pool.net.heal()?;
    work.batch(pool, 10)?;
    if seen * 10 < looks * 9 {
        return Err(format!("a leader was seen {seen} of {looks} times"));
    }
    are_the_same(pool, work, &before)?;
    Ok(format!("a leader was seen {seen} of {looks} times"))
}

pub fn framework_cut_off(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 3)?;
    work.batch(pool, 20)?;
    let held = work.hold(pool, 12)?;
    let leader = pool.leader()?;
    pool.net.cut(JOBS, MASTERS[leader])?;
    held.end()?;
    throughout(Duration::from_secs(20), || are_alive(&before))?;
    pool.net.heal()?;
    let healed = Instant::now();
    let told = held.told(pool, healed)?;
    work.batch(pool, 20)?;
    eventually("work is done again", Duration::from_secs(30), || (work.started().len() == 55).then_some(()))?;
    let works = since(healed);
    are_the_same(pool, work, &before)?;
    Ok(format!("20 s apart; {told}, its work is done {works} after the link is back"))
}

pub fn agent_cut_off(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let held = work.hold(pool, 12)?;
    pool.net.part(&[AGENTS[0]], &MASTERS)?;
    let cut = Instant::now();
    held.end()?;
    eventually("it is out of sight", Duration::from_secs(40), || {
        (pool.agent_state(0).as_deref() == Some("unreachable")).then_some(())
    })?;
    let noticed = since(cut);
    work.batch(pool, 20)?;
    are_alive(&before)?;
    pool.net.heal()?;
    let healed = Instant::now();
    eventually("it is back", Duration::from_secs(20), || {
        (pool.agent_state(0).as_deref() == Some("active")).then_some(())
    })?;
    let back = since(healed);
    let told = held.told(pool, healed)?;
    are_alive(&before)?;
    Ok(format!("out of sight in {noticed}, back in {back}; {told}, and nothing of it was ended meanwhile"))
}

pub fn lossy(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    work.serve(pool, 3)?;
    for host in MASTERS.iter().chain(&AGENTS).chain([&JOBS]) {
        pool.net.lose(host, 25)?;
    }
    let begun = Instant::now();
    let mut taken = 0;
    throughout(Duration::from_secs(20), || {
        taken += u32::from(work.batches() < 8 && work.try_batch(pool, 5).is_ok());
        Ok(())
    })?;
    pool.net.heal()?;
    let healed = Instant::now();
    work.batch(pool, 5)?;
    pool.is_whole(Duration::from_secs(60))?;
    Ok(format!(
        "{taken} jobs were taken in {:.0} s of it; whole again in {}",
        (healed - begun).as_secs_f64(),
        since(healed)
    ))
}
