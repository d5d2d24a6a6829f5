//! How many commands a second go through a whole keeper: socket, spawn, log with its syncs, exit, events.
//!
//! `cargo bench -p agent-keeper -- [COUNT] [KEEPER]`; prints one line per mode. CPU is user and system time of the
//! keeper and of everything it collected, per run.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agent_keeper::client::Client;
use agent_keeper::protocol::{Event, How, Output, Request, RunId, Spawn, User};

/// Requests in one write.
const BATCH: usize = 64;

/// Runs asked for and not yet over, at most.
const WINDOW: usize = 256;

struct Mode {
    name: &'static str,
    program: &'static str,
    namespaces: bool,
    /// An ordinary user's, so that one follows another in the same namespaces.
    guest: bool,
    cgroups: bool,
    output: bool,
    /// Tasks that run beside, with their output watched.
    beside: usize,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(4000);
    let keeper = args.next().unwrap_or_else(|| env!("CARGO_BIN_EXE_stoa-keeper").to_owned());
    let true_path = if Path::new("/usr/bin/true").exists() { "/usr/bin/true" } else { "/bin/true" };
    let base = Mode {
        name: "plain",
        program: true_path,
        namespaces: false,
        guest: false,
        cgroups: false,
        output: false,
        beside: 0,
    };
    let modes = [
        Mode { name: "plain", ..base },
        Mode { name: "plain, output", output: true, ..base },
        Mode { name: "pid+mount ns", namespaces: true, ..base },
        Mode { name: "pid+mount ns, 3 cgroups", namespaces: true, cgroups: true, ..base },
        Mode {
            name: "pid+mount ns, 3 cgroups, output",
            namespaces: true,
            cgroups: true,
            output: true,
            ..base
        },
        Mode {
            name: "the same, one after another",
            namespaces: true,
            guest: true,
            cgroups: true,
            output: true,
            ..base
        },
        Mode { name: "pid+mount ns, 1000 asleep beside", namespaces: true, beside: 1000, ..base },
    ];
    println!("{count} runs of {true_path} a mode, keeper {keeper}");
    for mode in modes {
        let rig = Rig::new(&keeper);
        match rig.measure(&mode, count) {
            Ok(line) => println!("{:<34} {line}", mode.name),
            Err(why) => println!("{:<34} skipped: {why}", mode.name),
        }
    }
}

struct Rig {
    dir: PathBuf,
    cgroups: Vec<PathBuf>,
}

impl Rig {
    fn new(keeper: &str) -> Rig {
        let dir = std::env::temp_dir().join(format!("stoa-keeper-bench-{}", std::process::id()));
        fs::create_dir_all(dir.join("out")).expect("scratch directory");
        assert!(Command::new(keeper).arg("serve").arg(&dir).status().expect("keeper").success());
        let cgroups = ["cpu", "memory", "pids"]
            .map(|controller| PathBuf::from(format!("/sys/fs/cgroup/{controller}/stoa-keeper-bench")))
            .into_iter()
            .filter(|dir| fs::create_dir(dir).is_ok())
            .collect();
        Rig { dir, cgroups }
    }

    fn spawn(&self, mode: &Mode, n: usize) -> Spawn {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        let output = Output {
            dir: self.dir.join("out").to_string_lossy().into_owned().into_bytes(),
            file_bytes_max: 1 << 20,
            rotated_max: 1,
        };
        let procs = |dir: &PathBuf| dir.join("tasks").to_string_lossy().into_owned().into_bytes();
        Spawn {
            run_id: RunId(id),
            argv: vec![mode.program.as_bytes().to_vec()],
            env: vec![b"PATH=/usr/bin:/bin".to_vec()],
            cwd: b"/".to_vec(),
            user: mode.guest.then(|| User { uid: 65534, gid: 65534, groups: vec![] }),
            cgroup_procs: if mode.cgroups { self.cgroups.iter().map(procs).collect() } else { vec![] },
            pid_namespace: mode.namespaces,
            mount_namespace: mode.namespaces,
            no_new_privs: true,
            dropped_capabilities: 0,
            rlimits: vec![],
            output: mode.output.then_some(output),
            secrets: None,
        }
    }

    fn put_to_sleep(&self, mode: &Mode, client: &mut Client) -> Result<(), String> {
        for n in 0..mode.beside {
            let like = Mode { program: "/bin/sleep", output: true, ..*mode };
            let mut sleeper = self.spawn(&like, usize::MAX - n);
            sleeper.argv.push(b"1000".to_vec());
            client.send(&[Request::Spawn(Box::new(sleeper))]).map_err(|e| e.to_string())?;
            match client.event().map_err(|e| e.to_string())? {
                Some(Event::Spawned { .. }) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        Ok(())
    }

    fn measure(&self, mode: &Mode, count: usize) -> Result<String, String> {
        if mode.cgroups && self.cgroups.len() < 3 {
            return Err("no cgroup v1 here".to_owned());
        }
        let mut client = Client::connect(&self.dir).map_err(|e| e.to_string())?;
        client.set_timeout(Duration::from_secs(30)).map_err(|e| e.to_string())?;
        let Ok(Some(Event::Welcome { pid, .. })) = client.event() else { return Err("no welcome".into()) };
        self.put_to_sleep(mode, &mut client)?;
        let before = cpu_us(pid);
        let begin = Instant::now();
        let (mut asked, mut over) = (0, 0);
        let mut requests = Vec::new();
        let mut seen = HashSet::new();
        while over < count {
            if asked < count && asked - over <= WINDOW - BATCH {
                let next = (asked + BATCH).min(count);
                requests.extend((asked..next).map(|n| Request::Spawn(Box::new(self.spawn(mode, n)))));
                asked = next;
            }
            // Forgets travel with the next batch, as an agent's do.
            if requests.len() >= BATCH || asked == count {
                client.send(&requests).map_err(|e| e.to_string())?;
                requests.clear();
            }
            match client.event().map_err(|e| e.to_string())? {
                Some(Event::Exited { run_id, exit }) if exit.how == How::Code(0) => {
                    assert!(seen.insert(run_id), "an end told twice");
                    over += 1;
                    requests.push(Request::Forget { run_id });
                }
                Some(Event::Spawned { .. }) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        let took = begin.elapsed();
        let after = cpu_us(pid);
        let (own, all) = (after.0 - before.0, after.1 - before.1);
        let rss = rss_kib(pid);
        Ok(format!(
            "{:>6.0} runs/s   {:>4} us CPU a run, {:>3} of it the keeper's own   keeper RSS {rss} KiB",
            count as f64 / took.as_secs_f64(),
            all / count as u64,
            own / count as u64,
        ))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Ok(mut client) = Client::connect(&self.dir) {
            let _ = client.send(&[Request::Shutdown { kill: true }]);
            while let Ok(Some(_)) = client.event() {}
        }
        for dir in &self.cgroups {
            let _ = fs::remove_dir(dir);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// User and system time of a process, alone and with all it collected, in microseconds.
fn cpu_us(pid: i32) -> (u64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // utime, stime, cutime, cstime in ticks of 10 ms.
    let times: Vec<u64> = fields.skip(11).take(4).filter_map(|ticks| ticks.parse().ok()).collect();
    let own = times.iter().take(2).sum::<u64>() * 10_000;
    (own, times.iter().sum::<u64>() * 10_000)
}

fn rss_kib(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
