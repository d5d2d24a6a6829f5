//! A cluster to measure: `stoa up` in a directory of its own, ended as by Ctrl-C.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use framework_sdk::Profile;
use framework_sdk::operator::Operator;
use framework_sdk::views::{Call, MemberView, ReplyKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::procfs::{self, Cpu, Process};

/// A cluster that runs.
pub struct Cluster {
    stoa: PathBuf,
    dir: PathBuf,
    up: Child,
    /// Kept open: `stoa up` may say more.
    _said: BufReader<ChildStdout>,
    /// From the command to the line that says that it is ready.
    pub ready_in: Duration,
    profile: Profile,
    root: String,
}

/// What a cluster used at one time: cpu of each process, and of each thread by its name.
pub struct Usage {
    processes: BTreeMap<u32, (&'static str, Cpu)>,
    threads: BTreeMap<(&'static str, String), u64>,
    busy_ms: u64,
    children_ms: u64,
    at: Instant,
}

/// Looks until something is so, a hundred times a second.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            return Err(format!("not within {} s: {what}", limit.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // eventually
    }
}

/// Ends a process at once.
pub fn kill_9(pid: u32) -> Result<(), String> {
    signal(pid, Signal::KILL)
}

fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let raw = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| format!("{pid} is no process of a cluster"))?;
    kill_process(pid, signal).map_err(|error| format!("cannot signal {pid:?}: {error}"))
}

// === impl Cluster ===

impl Cluster {
    /// Starts one and waits until it says that it is ready.
    pub fn up(stoa: &Path, args: &[&str]) -> Result<Cluster, String> {
        let name = format!("stoa-bench-{}-{}", std::process::id(), procfs::machine_busy_ms());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(dir.join("tmp"))
            .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let begun = Instant::now();
        let mut up = at_home(stoa, &dir)
            .arg("up")
            .args(args)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", stoa.display()))?;
        let Some(out) = up.stdout.take() else { return Err("`stoa up` has no output".to_owned()) };
        let mut said = BufReader::new(out);
        let mut text = String::new();
        while !text.contains("ready in") {
            if said.read_line(&mut text).unwrap_or(0) == 0 {
                let _ = up.kill();
                let _ = up.wait();
                return Err(format!("`stoa up` ended before it was ready: {text}"));
            }
        }
        let ready_in = begun.elapsed();
        let current = dir.join("config/stoa/current");
        let context = std::fs::read_to_string(&current)
            .map_err(|error| format!("no context in {}: {error}", current.display()))?;
        let context = PathBuf::from(context.trim());
        let profile = Profile::load(&context).map_err(|error| error.to_string())?;
        let root = context.parent().unwrap_or(&context).display().to_string();
        Ok(Cluster { stoa: stoa.to_owned(), dir, up, _said: said, ready_in, profile, root })
    }

    /// Who one is in it, and where its masters are.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The directory of its authority.
    pub fn authority(&self) -> PathBuf {
        Path::new(&self.root).join("authority")
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Asks its masters.
    pub fn operator(&self) -> Operator {
        Operator::new(&self.profile)
    }

    /// A command of the CLI.
    pub fn stoa(&self, args: &[&str]) -> Command {
        let mut command = at_home(&self.stoa, &self.dir);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// A program that sees this cluster and no other.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = at_home(program, &self.dir);
        command.stdin(Stdio::null());
        command
    }

    /// All of its processes.
    pub fn processes(&self) -> Vec<Process> {
        let mut found = procfs::marked(&self.root);
        found.retain(|process| process.pid != std::process::id());
        found.push(Process { pid: self.up.id(), role: "up" });
        found
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            processes: BTreeMap::new(),
            threads: BTreeMap::new(),
            busy_ms: procfs::machine_busy_ms(),
            children_ms: own_children_ms(),
            at: Instant::now(),
        };
        let bench = Process { pid: std::process::id(), role: "bench" };
        for process in self.processes().into_iter().chain([bench]) {
            if process.role == "task" {
                continue;
            }
            if let Some(mut cpu) = procfs::cpu(process.pid) {
                if process.role == "bench" {
                    // These are the commands it ran: told apart.
                    cpu.children_ms = 0;
                }
                usage.processes.insert(process.pid, (process.role, cpu));
            }
            for (name, nanos) in procfs::threads(process.pid) {
                *usage.threads.entry((process.role, name)).or_default() += nanos;
            }
        }
        usage
    }

    /// The members of the group of masters, if all `count` run and are heard and one of them leads.
    pub async fn whole_group(&self, operator: &Operator, count: usize) -> Option<Vec<MemberView>> {
        let ReplyKind::Raft(raft) = operator.ask(Call::Raft).await.ok()?.kind else { return None };
        // A leader that is new may not have missed a member yet that is long dead: its process says so.
        let running: Vec<u32> = self
            .processes()
            .iter()
            .filter(|process| process.role == "master")
            .map(|process| process.pid)
            .collect();
        let whole = raft.members.len() == count
            && raft.members.iter().all(|member| member.alive && running.contains(&member.pid))
            && raft.members.iter().any(|member| member.leader);
        whole.then_some(raft.members)
    }

    /// Ends it as Ctrl-C does, and removes what is left.
    pub fn down(mut self) -> Result<(), String> {
        signal(self.up.id(), Signal::INT)?;
        let status = self.up.wait().map_err(|error| format!("cannot wait for `stoa up`: {error}"))?;
        let _ = std::fs::remove_dir_all(&self.dir);
        if status.success() { Ok(()) } else { Err(format!("`stoa up` ended badly: {status}")) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Only when a bench failed on its way: its children end with it.
        if matches!(self.up.try_wait(), Ok(None)) {
            let _ = signal(self.up.id(), Signal::INT);
            let _ = self.up.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn at_home(stoa: &Path, dir: &Path) -> Command {
    let mut command = Command::new(stoa);
    command
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env("HOME", dir)
        .env("TMPDIR", dir.join("tmp"))
        .env_remove("STOA_CONTEXT");
    command
}

fn own_children_ms() -> u64 {
    procfs::cpu(std::process::id()).map_or(0, |cpu| cpu.children_ms)
}

// === impl Usage ===

impl Usage {
    /// Cpu by role since an earlier look, and what others on this machine took meanwhile.
    pub fn since(&self, before: &Usage) -> Value {
        let mut roles: BTreeMap<&str, Cpu> = BTreeMap::new();
        for (pid, (role, cpu)) in &self.processes {
            let earlier = before.processes.get(pid).map(|(_, cpu)| *cpu).unwrap_or_default();
            *roles.entry(role).or_default() += cpu.since(earlier);
        }
        let cli_ms = self.children_ms.saturating_sub(before.children_ms);
        let ours: u64 = roles.values().map(|cpu| cpu.total_ms()).sum::<u64>() + cli_ms;
        let busy = self.busy_ms.saturating_sub(before.busy_ms);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let wall_ms = self.at.duration_since(before.at).as_millis().max(1) as f64;
        let by_role: BTreeMap<&str, Value> = roles
            .iter()
            .map(|(role, cpu)| {
                (*role, json!({ "user_ms": cpu.user_ms, "system_ms": cpu.system_ms, "children_ms": cpu.children_ms }))
            })
            .collect();
        let mut threads: Vec<(String, f64)> = self
            .threads
            .iter()
            .map(|((role, name), nanos)| {
                let earlier = before.threads.get(&(*role, name.clone())).copied().unwrap_or(0);
                (format!("{role}/{name}"), (nanos.saturating_sub(earlier) / 10_000) as f64 / 100.0)
            })
            .filter(|(_, ms)| *ms >= 1.0)
            .collect();
        threads.sort_by(|a, b| b.1.total_cmp(&a.1));
        let threads: Vec<Value> =
            threads.into_iter().map(|(name, ms)| json!({ "thread": name, "ms": ms })).collect();
        json!({
            "wall_ms": wall_ms,
            "by_role": by_role,
            "cli_ms": cli_ms,
            "ours_ms": ours,
            "others_percent": (busy.saturating_sub(ours) as f64 / wall_ms / cpus * 1000.0).round() / 10.0,
            "threads": threads,
        })
    }
}
