//! What an idle cluster weighs, how large the binary is, and how long it takes from nothing to a first task.

use std::time::{Duration, Instant};

use framework_sdk::task::TaskState;
use serde_json::json;

use crate::cluster::Cluster;
use crate::figures::Timings;
use crate::flags::Flags;
use crate::procfs;
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 3] = ["idle-seconds", "starts", "jobs"];

/// Measures memory after `--idle-seconds`, and `--starts` starts. With `--jobs false` the jobs framework is left out.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let idle = Duration::from_secs(flags.get("idle-seconds", 10)?);
    let starts: u32 = flags.get("starts", 10)?;
    let jobs: bool = flags.get("jobs", true)?;
    let stoa = flags.stoa()?;
    let binary =
        std::fs::metadata(&stoa).map_err(|error| format!("cannot read {}: {error}", stoa.display()))?.len();
    println!("{}", json!({ "bench": "footprint", "binary_bytes": binary }));

    let cluster = Cluster::up(&stoa, if jobs { &[] } else { &["--no-jobs"] })?;
    // Being idle is what is measured.
    let _ = tokio::time::timeout(idle, std::future::pending::<()>()).await;
    let before = cluster.usage();
    for process in cluster.processes() {
        let Some((rss_kib, pss_kib)) = procfs::memory_kib(process.pid) else { continue };
        println!(
            "{}",
            json!({ "bench": "footprint", "idle": process.role, "rss_kib": rss_kib, "pss_kib": pss_kib })
        );
    }
    let _ = tokio::time::timeout(idle, std::future::pending::<()>()).await;
    println!("{}", json!({ "bench": "footprint", "idle_cpu": cluster.usage().since(&before) }));
    cluster.down()?;

    let (mut ready, mut through_sdk, mut through_run) =
        (Timings::default(), Timings::default(), Timings::default());
    for _ in 0..starts {
        let begun = Instant::now();
        let cluster = Cluster::up(&stoa, &["--masters", "1", "--agents", "1", "--no-jobs"])?;
        ready.note(cluster.ready_in);
        let mut framework = Framework::start(cluster.profile(), default_shape(), &["/bin/true".to_owned()])?;
        framework.wish(Wish::Run(1));
        let running = loop {
            let note = framework.next().await?;
            if matches!(note.saw, Saw::State(TaskState::Running)) {
                break note.at;
            }
        };
        through_sdk.note(running.duration_since(begun));
        cluster.down()?;
        if jobs {
            let begun = Instant::now();
            let cluster = Cluster::up(&stoa, &["--masters", "1", "--agents", "1"])?;
            let status = cluster.stoa(&["run", "--", "true"]).status().map_err(|error| error.to_string())?;
            if !status.success() {
                return Err(format!("`stoa run -- true` ended badly: {status}"));
            }
            through_run.note(begun.elapsed());
            cluster.down()?;
        }
    }
    println!(
        "{}",
        json!({
            "bench": "footprint", "start_to_ready": ready.json(),
            "start_to_first_task_running": through_sdk.json(),
            "start_to_stoa_run_over": jobs.then(|| through_run.json()),
        })
    );
    Ok(())
}
