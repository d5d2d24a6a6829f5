//! How many launches a second go through a whole containerizer: sandbox, cgroups, keeper, namespaces, end, removal.
//!
//! `cargo bench -p agent-containerizer -- [COUNT]`

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_containerizer::{Config, Containerizer, Event, How, Launch, Need, RunId, SandboxDir};

/// Launches asked for and not yet over, at most.
const WINDOW: usize = 256;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(2000);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let work_dir = std::env::temp_dir().join(format!("stoa-launch-rate-{}", std::process::id()));
    let mut config = Config::new(&work_dir, "bench");
    config.allow_root = true;
    config.cgroups_root = PathBuf::from(format!("/stoa-launch-rate-{}", std::process::id()));
    let root = config.cgroups_root.clone();
    runtime.block_on(async {
        let (containerizer, mut events) = Containerizer::start(config).await.expect("started");
        assert!(matches!(events.recv().await, Some(Event::Recovered(_))));
        println!("{}", containerizer.report());
        for (name, isolated) in [("plain", false), ("namespaces and limits", true)] {
            let begin = Instant::now();
            let mut longest = Duration::ZERO;
            let (mut asked, mut over) = (0, 0);
            while over < count {
                while asked < count && asked - over < WINDOW {
                    containerizer.launch(launch(asked, isolated));
                    asked += 1;
                }
                let waiting = Instant::now();
                match events.recv().await {
                    Some(Event::Exited { run_id, exit }) => {
                        assert_eq!(exit.how, How::Code(0));
                        containerizer.destroy(run_id);
                        over += 1;
                    }
                    Some(Event::Started { .. }) => {}
                    other => panic!("{other:?}"),
                }
                longest = longest.max(waiting.elapsed());
            }
            let rate = count as f64 / begin.elapsed().as_secs_f64();
            println!("{name:<24} {rate:>6.0} launches/s   longest silence {longest:?}");
        }
        containerizer.end_keeper(true).await.expect("ended");
    });
    drop(runtime);
    for mount in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let top = mount.path().join(root.strip_prefix("/").expect("absolute"));
        let deadline = Instant::now() + Duration::from_secs(10);
        // The last runs' cgroups are still being removed.
        while top.exists() && Instant::now() < deadline {
            let _ = fs::remove_dir(top.join("bench"));
            let _ = fs::remove_dir(&top);
            std::thread::yield_now();
        }
    }
    fs::remove_dir_all(&work_dir).expect("removed");
}

fn launch(n: usize, isolated: bool) -> Launch {
    let mut id = [u8::from(isolated); 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    let run_id = RunId(id);
    let need = if isolated { Need::IfAvailable } else { Need::Unwanted };
    let plain = Launch {
        pid_namespace: need,
        mount_namespace: need,
        ..Launch::new(run_id, vec!["/bin/true".to_owned()], SandboxDir::new("bench", &n.to_string(), run_id))
    };
    if isolated { Launch { cpus_milli: 100, mem_bytes: 64 << 20, pids_max: 20, ..plain } } else { plain }
}
