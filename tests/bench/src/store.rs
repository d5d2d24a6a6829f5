//! Puts of frameworks' state, committed by three masters over mutual TLS with fsync on: how many in a second, and how long
//! each takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framework_sdk::state::State;
use serde_json::json;

use crate::cluster::Cluster;
use crate::disk;
use crate::figures::Timings;
use crate::flags::Flags;

/// The names of its flags.
pub const FLAGS: [&str; 3] = ["clients", "seconds", "value-bytes"];

/// Clients share so many connections at most.
const CONNECTIONS_MAX: usize = 8;
/// Clients begin, and the first connections are made, before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures at each number of `--clients`, for `--seconds` each.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let levels: String = flags.get("clients", "1,64,512".to_owned())?;
    let time = Duration::from_secs(flags.get("seconds", 5)?);
    let bytes: usize = flags.get("value-bytes", 256)?;
    let stoa = flags.stoa()?;
    for level in levels.split(',') {
        let level: usize = level.parse().map_err(|_| format!("{level:?} is not a number"))?;
        // Each on a fresh cluster: the past of one level must not weigh on the next.
        let cluster = Cluster::up(&stoa, &["--no-jobs", "--agents", "1"])?;
        measure(&cluster, level, time, bytes).await?;
        cluster.down()?;
    }
    Ok(())
}

async fn measure(cluster: &Cluster, level: usize, time: Duration, bytes: usize) -> Result<(), String> {
    let states: Vec<State> =
        (0..level.clamp(1, CONNECTIONS_MAX)).map(|_| State::new(cluster.profile())).collect();
    for state in &states {
        // Each finds the leader before anybody counts on it. A put that was cut short by an election may be put again.
        let mut found = state.put("warm", "up").await;
        while matches!(found, Err(framework_sdk::state::StateError::Unknown { .. })) {
            found = state.put("warm", "up").await;
        }
        found.map_err(|error| error.to_string())?;
    }
    let (counting, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut clients = Vec::new();
    for number in 0..level {
        let state = states[number % states.len()].clone();
        let (counting, over) = (counting.clone(), over.clone());
        clients.push(tokio::spawn(async move {
            let key = format!("bench/{number}");
            let value = vec![b'v'; bytes];
            let mut took = Timings::default();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                state.put(key.clone(), value.clone()).await.map_err(|error| error.to_string())?;
                if counting.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    took.note(begun.elapsed());
                }
            }
            Ok::<Timings, String>(took)
        }));
    }
    let _ = tokio::time::timeout(WARM_UP, std::future::pending::<()>()).await;
    let before = cluster.usage();
    let begun = Instant::now();
    counting.store(true, Ordering::Relaxed);
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
    over.store(true, Ordering::Relaxed);
    let lasted = begun.elapsed();
    let cost = cluster.usage().since(&before);
    let mut all = Timings::default();
    for client in clients {
        all.take(client.await.map_err(|error| error.to_string())??);
    }
    // One put, one sync for all that are in flight.
    let sync = disk::fdatasync(cluster.dir(), bytes + 128, 1000)?;
    println!(
        "{}",
        json!({
            "bench": "store", "masters": 3, "clients": level, "value_bytes": bytes,
            "puts_per_second": (all.len() as f64 / lasted.as_secs_f64()).round(),
            "latency": all.json(),
            "limit": { "fdatasync": sync },
            "profile": cost,
        })
    );
    Ok(())
}
