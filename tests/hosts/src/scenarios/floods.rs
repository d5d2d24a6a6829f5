//! A stranger takes all connections that he can get, or says what no client says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::masters::are_alive;
use crate::pool::{AGENTS, Pool, STRANGER};
use crate::wait::{eventually, throughout};
use crate::work::Work;

const CONNECTIONS: &str = "10000";

/// What a process may have grown by behind all that is malformed, and in the middle of it.
const GROWN_MIB: u64 = 32;
const GROWN_MEANWHILE_MIB: u64 = 128;

/// A flood of one door; it ends with this.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This binary, on the host of somebody who is nobody of the cluster. It is to take what the cluster's processes leave: its machine
/// would have processors of its own.
fn stranger(pool: &Pool, args: &[&str]) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|why| format!("cannot find this binary: {why}"))?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", pool.net.host(STRANGER).namespace_file().display()));
    command.args(["sh", "-c", "ulimit -n 20000; exec nice -n 15 \"$@\"", "sh"]).arg(own).args(args);
    Ok(command)
}

/// Starts it, and waits until it has opened what it can.
fn begin(pool: &Pool, door: &str) -> Result<Flood, String> {
    let mut command = stranger(pool, &["flood", door, CONNECTIONS])?;
    let child = command.stdout(Stdio::piped()).spawn().map_err(|why| format!("cannot flood: {why}"))?;
    let mut flood = Flood(child);
    let mut said = String::new();
    let out = flood.0.stdout.take().ok_or("the flood says nothing")?;
    let read = BufReader::new(out).read_line(&mut said);
    if read.is_ok() && said.starts_with("flooding") { Ok(flood) } else { Err(format!("no flood: {said}")) }
}

/// How long the slowest of some reads takes.
fn slowest(pool: &Pool) -> Result<Duration, String> {
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        let said = pool.stoa(&["get", "agents"]);
        if said.code != 0 {
            return Err(format!("a new connection of another host is not served: {}", said.err));
        }
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

pub fn silent(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let quiet = slowest(pool)?;
    let floods: Vec<Flood> = pool.doors().iter().map(|door| begin(pool, door)).collect::<Result<_, _>>()?;
    let leader = pool.leader()?;
    work.batch(pool, 20)?;
    let flooded = slowest(pool)?;
    throughout(Duration::from_secs(4), || {
        are_alive(&before)?;
        match pool.try_leader() {
            Some(now) if now != leader => {
                Err(format!("master {} lost its lead to master {}", leader + 1, now + 1))
            }
            _ => Ok(()),
        }
    })?;
    work.batch(pool, 20)?;
    drop(floods);
    Ok(format!("the slowest of 20 reads took {} ms, and {} before", flooded.as_millis(), quiet.as_millis()))
}

pub fn malformed(pool: &mut Pool, work: &mut Work) -> Result<String, String> {
    let before = work.serve(pool, 6)?;
    let credentials = pool.credentials(&format!("stranger-{}", pool.plays))?;
    let quiet = slowest(pool)?;
    let leader = pool.leader()?;
    let doors = [
        (pool.doors().swap_remove(leader), "master.stoa"),
        (format!("{}:7071", pool.net.host(AGENTS[0]).address), "agent.stoa"),
    ];
    let sizes =
        |pool: &Pool| Ok::<_, String>([pool.masters[leader].resident_mib()?, pool.agents[0].resident_mib()?]);
    let small = sizes(pool)?;
    pool.masters[leader].forget_peak()?;
    pool.agents[0].forget_peak()?;
    let mut speakers = Vec::new();
    for (door, server) in &doors {
        let mut command = stranger(pool, &["malformed", door, server, &credentials])?;
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        speakers.push(Flood(child.map_err(|why| format!("nobody speaks: {why}"))?));
    }
    work.batch(pool, 20)?;
    let (mut beside, mut over) = (Duration::ZERO, 0);
    eventually("all of it is said", Duration::from_secs(120), || {
        let looked = slowest(pool).and_then(|slow| {
            beside = beside.max(slow);
            are_alive(&before)
        });
        over = speakers.iter_mut().filter_map(|one| one.0.try_wait().ok().flatten()).count();
        (over == speakers.len() || looked.is_err()).then_some(looked)
    })??;
    let most = [pool.masters[leader].peak_mib()?, pool.agents[0].peak_mib()?];
    let mut cases = 0;
    for Flood(child) in &mut speakers {
        let (mut out, mut err) = (String::new(), String::new());
        let _ = child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut out));
        let _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut err));
        match child.wait() {
            Ok(how) if how.success() => cases += out.lines().count(),
            how => return Err(format!("{how:?}: {err}{out}")),
        }
    }
    match pool.leader()? {
        now if now != leader => return Err(format!("master {} lost its lead", leader + 1)),
        _ => work.batch(pool, 20)?,
    }
    let now = sizes(pool)?;
    let told = format!(
        "{cases} cases; the master has {} MiB, at most {} and {} before, the agent {}, {} and {}; the slowest of 20 reads took \
         {} ms, and {} before",
        now[0],
        most[0],
        small[0],
        now[1],
        most[1],
        small[1],
        beside.as_millis(),
        quiet.as_millis()
    );
    let bounded = |of: usize| now[of] <= small[of] + GROWN_MIB && most[of] <= small[of] + GROWN_MEANWHILE_MIB;
    if bounded(0) && bounded(1) { Ok(told) } else { Err(told) }
}
