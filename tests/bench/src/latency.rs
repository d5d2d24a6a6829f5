//! One task at a time on an idle cluster: from its accept to the moment when the framework sees it run.

use std::process::{Command, Stdio};
use std::time::Instant;

use framework_sdk::task::TaskState;
use serde_json::json;

use crate::cluster::Cluster;
use crate::disk;
use crate::figures::Timings;
use crate::flags::Flags;
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 2] = ["count", "binary"];

/// So many tasks warm the caches and are not counted.
const WARM_UP: u32 = 20;

/// Measures `--count` tasks, one after another.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let count: u32 = flags.get("count", 500)?;
    let binary: String = flags.get("binary", "/bin/true".to_owned())?;
    let cluster = Cluster::up(&flags.stoa()?, &["--no-jobs"])?;
    let mut framework = Framework::start(cluster.profile(), default_shape(), std::slice::from_ref(&binary))?;
    framework.session().await?;
    let mut all: [Timings; 5] = Default::default();
    let mut before = cluster.usage();
    let mut dropped = 0;
    for number in 0..WARM_UP + count {
        if number == WARM_UP {
            all = Default::default();
            before = cluster.usage();
        }
        let wished = Instant::now();
        framework.wish(Wish::Run(1));
        let (mut accepting, mut committed, mut running) = (None, None, None);
        loop {
            let note = framework.next().await?;
            match note.saw {
                Saw::Accepting => accepting = Some(note.at),
                Saw::Committed => committed = Some(note.at),
                Saw::State(TaskState::Running) => running = Some(note.at),
                Saw::State(TaskState::Finished) => {
                    let (Some(accepting), Some(committed), Some(running)) = (accepting, committed, running)
                    else {
                        return Err("a task ended without having been seen to run".to_owned());
                    };
                    let [offer, accept, run, whole, end] = &mut all;
                    offer.note(accepting.duration_since(wished));
                    accept.note(committed.duration_since(accepting));
                    run.note(running.saturating_duration_since(committed));
                    whole.note(running.duration_since(accepting));
                    end.note(note.at.duration_since(wished));
                    break;
                }
                Saw::Dropped => dropped += 1,
                Saw::State(_) | Saw::Session(_) | Saw::Offers | Saw::Bad(_) => {}
            }
        }
    }
    let cost = cluster.usage().since(&before);
    let mut spawn = Timings::default();
    for _ in 0..count {
        let status = spawn.time(|| Command::new(&binary).stdin(Stdio::null()).stdout(Stdio::null()).status());
        status.map_err(|error| format!("cannot run {binary}: {error}"))?;
    }
    let sync = disk::fdatasync(cluster.dir(), 256, 500)?;
    let [offer, accept, run, whole, end] = &mut all;
    println!(
        "{}",
        json!({
            "bench": "latency", "binary": binary,
            "committed_to_running": run.json(),
            "accept_to_running": whole.json(),
            "accept_to_committed": accept.json(),
            "demand_to_accept": offer.json(),
            "demand_to_finished": end.json(),
            "dropped": dropped,
            "limit": { "spawn_and_wait": spawn.json(), "fdatasync": sync },
            "profile": cost,
        })
    );
    cluster.down()
}
