//! Agents and their machines die, sleep and come back.

use std::time::{Duration, Instant};

use super::masters::{are_alive, are_the_same};
use super::since;
use crate::pool::{AGENTS, Pool};
use crate::wait::eventually;
use crate::work::Work;

fn is_active(pool: &Pool, agent: usize) -> Option<()> {
    (pool.agent_state(agent).as_deref() == Some("active")).then_some(())
}

pub fn killed(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 50)?;
    work.batch(pool, 20)?;
    pool.agents[0].kill_9()?;
    are_alive(&before)?;
    pool.agents[0].start()?;
    let begun = Instant::now();
    eventually("it is back", Duration::from_secs(20), || is_active(pool, 0))?;
    are_the_same(pool, work, &before)?;
    Ok(format!("50 tasks are the same processes {} after it was started", since(begun)))
}

pub fn stopped(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    pool.agents[1].halt()?;
    eventually("it is out of sight", Duration::from_secs(40), || {
        (pool.agent_state(1).as_deref() == Some("unreachable")).then_some(())
    })?;
    work.batch(pool, 20)?;
    are_alive(&before)?;
    pool.agents[1].go_on()?;
    let woken = Instant::now();
    eventually("it is back", Duration::from_secs(20), || is_active(pool, 1))?;
    Ok(format!("back {} after it woke", since(woken)))
}

pub fn restarted(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    work.batch(pool, 30)?;
    let there = work.running_on(pool, AGENTS[0]);
    pool.reboot(0)?;
    let begun = Instant::now();
    eventually("it is back", Duration::from_secs(20), || is_active(pool, 0))?;
    let back = since(begun);
    eventually("what ran on it is told to have failed", Duration::from_secs(20), || {
        let all = pool.json(&["get", "tasks", "--all"])?;
        let told = all["items"].as_array()?.iter().filter(|task| {
            task["id"].as_str().is_some_and(|id| there.contains_key(id))
                && !matches!(task["state"].as_str(), Some("running" | "starting" | "staging"))
        });
        (told.count() == there.len()).then_some(())
    })?;
    let told = since(begun);
    let now = work.run(pool)?;
    let stayed = before.iter().filter(|(task, _)| !there.contains_key(*task));
    for (task, pid) in stayed {
        if now.get(task) != Some(pid) {
            return Err(format!("{task} ran on another machine and was touched"));
        }
    }
    Ok(format!("back in {back}; {} tasks told as ended in {told}, and replaced", there.len()))
}

pub fn wiped(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let there = work.running_on(pool, AGENTS[2]);
    let known = |pool: &Pool| {
        let agents = pool.json(&["get", "agents"]).unwrap_or_default();
        let all = agents["items"].as_array().cloned().unwrap_or_default();
        let ids = all.iter().filter(|agent| agent["hostname"] == AGENTS[2] && agent["state"] != "gone");
        ids.filter_map(|agent| agent["id"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let old = known(pool).pop().ok_or("nobody knows the agent")?;
    pool.wipe(2)?;
    let new = eventually("it is known as a new one", Duration::from_secs(20), || {
        known(pool).into_iter().find(|id| *id != old)
    })?;
    // Nobody but an operator can know that the old one is never coming back.
    let said = pool.stoa(&["agent", "gone", &old, "--yes"]);
    if said.code != 0 {
        return Err(format!("the old one is not given up: {}{}", said.out, said.err));
    }
    let begun = Instant::now();
    let now = work.run(pool)?;
    for (task, pid) in before.iter().filter(|(task, _)| !there.contains_key(*task)) {
        if now.get(task) != Some(pid) {
            return Err(format!("{task} ran on another machine and was touched"));
        }
    }
    if known(pool) != [new] {
        return Err(format!("the machine is counted more than once: {:?}", known(pool)));
    }
    Ok(format!("{} tasks of the old one are replaced in {}", there.len(), since(begun)))
}
