//! Entries committed by three masters over mutual TLS with fsync on: how many in a second, and how long each takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framework_sdk::operator::Operator;
use framework_sdk::role::{Role, Weight};
use framework_sdk::views::{Call, ReplyKind, SetWeight};
use serde_json::json;

use crate::cluster::Cluster;
use crate::disk;
use crate::figures::Timings;
use crate::flags::Flags;
use crate::procfs;

/// The names of its flags.
pub const FLAGS: [&str; 2] = ["in-flight", "seconds"];

/// Callers share so many connections at most, as the tools of a few people would.
const CONNECTIONS_MAX: usize = 8;
/// Callers begin, and the first connections are made, before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures at each number of `--in-flight`, for `--seconds` each.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let levels: String = flags.get("in-flight", "1,64,1024".to_owned())?;
    let time = Duration::from_secs(flags.get("seconds", 5)?);
    let stoa = flags.stoa()?;
    for level in levels.split(',') {
        let level: usize = level.parse().map_err(|_| format!("{level:?} is not a number"))?;
        // Each on a fresh cluster: roles of one level must not weigh on the next.
        let cluster = Cluster::up(&stoa, &["--no-jobs", "--agents", "1"])?;
        measure(&cluster, level, time).await?;
        cluster.down()?;
    }
    Ok(())
}

async fn measure(cluster: &Cluster, level: usize, time: Duration) -> Result<(), String> {
    let operators: Vec<Operator> = (0..level.clamp(1, CONNECTIONS_MAX)).map(|_| cluster.operator()).collect();
    for operator in &operators {
        // Each finds the leader before anybody counts on it: a thousand callers that find out together each make a
        // connection of their own.
        let (role, weight) =
            (Role::default_role(), Weight::from_milli(1001).ok_or("a weight is above zero")?);
        operator.ask(Call::SetWeight(SetWeight { role, weight })).await.map_err(|error| error.to_string())?;
    }
    let (counting, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut callers = Vec::new();
    for number in 0..level {
        let operator = operators[number % operators.len()].clone();
        let (counting, over) = (counting.clone(), over.clone());
        callers.push(tokio::spawn(async move {
            let role = Role::new(&format!("bench-{number}")).map_err(|bad| bad.to_string())?;
            let mut took = Timings::default();
            let mut turn = 0;
            while !over.load(Ordering::Relaxed) {
                turn += 1;
                // Never the weight that is set: that would not be an entry.
                let weight = Weight::from_milli(1000 + turn % 7).ok_or("a weight is above zero")?;
                let begun = Instant::now();
                let asked = operator.ask(Call::SetWeight(SetWeight { role: role.clone(), weight })).await;
                match asked.map_err(|error| error.to_string())?.kind {
                    ReplyKind::Done(_) => {}
                    other => return Err(format!("the weight was not set: {other:?}")),
                }
                if counting.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    took.note(begun.elapsed());
                }
            }
            Ok::<Timings, String>(took)
        }));
    }
    let asking = cluster.operator();
    let _ = tokio::time::timeout(WARM_UP, std::future::pending::<()>()).await;
    let (first, leader) = applied(&asking).await?;
    let before = cluster.usage();
    let written = procfs::written_bytes(leader);
    let begun = Instant::now();
    counting.store(true, Ordering::Relaxed);
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
    over.store(true, Ordering::Relaxed);
    let lasted = begun.elapsed();
    let cost = cluster.usage().since(&before);
    let written = procfs::written_bytes(leader).zip(written).map(|(after, before)| after - before);
    let mut all = Timings::default();
    for caller in callers {
        all.take(caller.await.map_err(|error| error.to_string())??);
    }
    let (last, _) = applied(&asking).await?;
    let answered = all.len();
    let entries = last.saturating_sub(first);
    let per_entry = written.map_or(0, |bytes| bytes / entries.max(1));
    // The same bytes, one sync for all that are in flight.
    let bytes = usize::try_from(per_entry).unwrap_or(256).max(64);
    let sync = disk::fdatasync(cluster.dir(), bytes, 1000)?;
    println!(
        "{}",
        json!({
            "bench": "registry", "masters": 3, "in_flight": level,
            "commands_per_second": (answered as f64 / lasted.as_secs_f64()).round(),
            "latency": all.json(),
            "entries_applied": entries,
            "leader_bytes_per_entry": per_entry,
            "limit": { "fdatasync": sync },
            "profile": cost,
        })
    );
    Ok(())
}

/// The index that the leader has applied, and its process.
async fn applied(operator: &Operator) -> Result<(u64, u32), String> {
    match operator.ask(Call::Raft).await.map_err(|error| error.to_string())?.kind {
        ReplyKind::Raft(raft) => {
            let leader = raft.members.iter().find(|member| member.leader).ok_or("no master leads")?;
            Ok((raft.applied, leader.pid))
        }
        _ => Err("the masters answered something else".to_owned()),
    }
}
