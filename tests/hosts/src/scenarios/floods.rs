//! A stranger takes all connections that he can get.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::masters::are_alive;
use crate::pool::{Pool, STRANGER};
use crate::wait::throughout;
use crate::work::Work;

const CONNECTIONS: &str = "10000";

/// A flood of one door; it ends with this.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, and waits until it has opened what it can.
fn begin(pool: &Pool, door: &str) -> Result<Flood, String> {
    let own = std::env::current_exe().map_err(|why| format!("cannot find this binary: {why}"))?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", pool.net.host(STRANGER).namespace_file().display()));
    command.args(["sh", "-c", "ulimit -n 20000; exec \"$@\"", "sh"]).arg(own).args([
        "flood",
        door,
        CONNECTIONS,
    ]);
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
