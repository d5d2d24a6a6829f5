//! Three masters to call: `stoa up` in a directory of its own, ended as by Ctrl-C.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use framework_sdk::Profile;
use framework_sdk::operator::Operator;
use framework_sdk::views::{Call, MemberView, ReplyKind};
use rustix::process::{Pid, Signal, kill_process};

/// A cluster that runs.
pub struct Cluster {
    dir: PathBuf,
    up: Child,
    /// Kept open: `stoa up` may say more.
    _said: BufReader<ChildStdout>,
    profile: Profile,
}

/// Looks until something is so, a hundred times a second.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T, String> {
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

/// Sends a signal to a process of the cluster.
pub fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let raw = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| format!("{pid} is no process of a cluster"))?;
    kill_process(pid, signal).map_err(|error| format!("cannot signal {pid:?}: {error}"))
}

/// Whether a process is there and not merely waiting to be reaped.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

// === impl Cluster ===

impl Cluster {
    /// Starts one and waits until it says that it is ready.
    pub fn up(stoa: &Path) -> Result<Cluster, String> {
        let dir = std::env::temp_dir().join(format!("stoa-clients-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("tmp"))
            .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let mut up = Command::new(stoa)
            .args(["up", "--no-jobs", "--agents", "1"])
            .env("XDG_CONFIG_HOME", dir.join("config"))
            .env("HOME", &dir)
            .env("TMPDIR", dir.join("tmp"))
            .env_remove("STOA_CONTEXT")
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
                let _ = std::fs::remove_dir_all(&dir);
                return Err(format!("`stoa up` ended before it was ready: {text}"));
            }
        }
        let current = dir.join("config/stoa/current");
        let context = std::fs::read_to_string(&current)
            .map_err(|error| format!("no context in {}: {error}", current.display()))?;
        let profile = Profile::load(Path::new(context.trim())).map_err(|error| error.to_string())?;
        Ok(Cluster { dir, up, _said: said, profile })
    }

    /// Who one is in it, and where its masters are.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The masters, once all of them run and are heard, one of them leads, and none is one of these processes.
    pub async fn whole_group(&self, limit: Duration, but: &[u32]) -> Result<Vec<MemberView>, String> {
        let operator = Operator::new(&self.profile);
        let count = self.profile.masters.len();
        eventually("all masters are there", limit, async || {
            let ReplyKind::Raft(raft) = operator.ask(Call::Raft).await.ok()?.kind else { return None };
            // A leader that is new may not have missed a member yet that is long dead: its process says so.
            let there =
                |member: &MemberView| member.alive && is_alive(member.pid) && !but.contains(&member.pid);
            let whole = raft.members.len() == count
                && raft.members.iter().all(there)
                && raft.members.iter().any(|member| member.leader);
            whole.then_some(raft.members)
        })
        .await
    }

    /// Ends it as Ctrl-C does, and removes what is left.
    pub fn down(mut self) -> Result<(), String> {
        signal(self.up.id(), Signal::INT)?;
        let status = self.up.wait().map_err(|error| format!("cannot wait for `stoa up`: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`stoa up` ended badly: {status}")) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.up.try_wait(), Ok(None)) {
            let _ = signal(self.up.id(), Signal::INT);
            let _ = self.up.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
