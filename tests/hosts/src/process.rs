//! A process of the cluster on one of the hosts: started, killed, stopped and let go on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::net::Host;

/// What a process is started with, again and again.
#[derive(Clone, Debug)]
pub struct Line {
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it finds in its environment.
    pub env: Vec<(String, String)>,
    /// A file that it sees as the id of the machine's boot.
    pub boot: Option<PathBuf>,
}

/// A process that runs, or has.
pub struct Process {
    /// Its line.
    pub line: Line,
    host: Host,
    log: PathBuf,
    child: Option<Child>,
}

/// Sends a signal to a process that this test started.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process has this number")?;
    kill_process(number, signal).map_err(|why| format!("cannot signal {pid}: {why}"))
}

// === impl Process ===

impl Process {
    /// Not started yet; what it says goes to a file in `dir`.
    pub fn on(host: &Host, line: Line, dir: &Path) -> Process {
        Process { line, host: host.clone(), log: dir.join(format!("{}.log", host.name)), child: None }
    }

    /// Starts it on its host.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) -> Result<(), String> {
        self.start_with(&[])
    }

    /// The same with more arguments, such as the token of the first start.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start_with(&mut self, more: &[&str]) -> Result<(), String> {
        if self.child.is_some() {
            return Err(format!("{} runs already", self.host.name));
        }
        let open = || File::options().create(true).append(true).open(&self.log);
        let (out, err) = (open(), open());
        let (Ok(out), Ok(err)) = (out, err) else {
            return Err(format!("cannot write {}", self.log.display()));
        };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.host.namespace_file().display()));
        if let Some(boot) = &self.line.boot {
            let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
            command.args(["unshare", "--mount", "sh", "-c", script]).arg(boot);
        }
        command.arg(&self.line.program).args(&self.line.args).args(more);
        command.env_remove("STOA_CONTEXT").envs(self.line.env.iter().cloned());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        self.child = Some(child.map_err(|why| format!("cannot start {}: {why}", self.host.name))?);
        Ok(())
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32, String> {
        self.child.as_ref().map(Child::id).ok_or_else(|| format!("{} does not run", self.host.name))
    }

    /// Whether it was started, and has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it as a loss of power would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_9(&mut self) -> Result<(), String> {
        signal(self.pid()?, Signal::KILL)?;
        self.reap();
        Ok(())
    }

    /// Takes note that it has ended; the code it ended with.
    pub fn reap(&mut self) -> Option<i32> {
        self.child.take().and_then(|mut child| child.wait().ok()).and_then(|status| status.code())
    }

    /// Stops it where it is.
    ///
    /// # Errors
    /// When it does not run.
    pub fn halt(&self) -> Result<(), String> {
        signal(self.pid()?, Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn go_on(&self) -> Result<(), String> {
        signal(self.pid()?, Signal::CONT)
    }

    /// How much memory it has in use, in MiB.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_mib(&self) -> Result<u64, String> {
        self.memory_mib("VmRSS:")
    }

    /// How much it had at most since [`Process::forget_peak`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn peak_mib(&self) -> Result<u64, String> {
        self.memory_mib("VmHWM:")
    }

    /// From now on the most that it has counts anew.
    ///
    /// # Errors
    /// When it does not run.
    pub fn forget_peak(&self) -> Result<(), String> {
        let place = format!("/proc/{}/clear_refs", self.pid()?);
        std::fs::write(&place, "5").map_err(|why| format!("cannot write {place}: {why}"))
    }

    fn memory_mib(&self, what: &str) -> Result<u64, String> {
        let place = format!("/proc/{}/status", self.pid()?);
        let status = std::fs::read_to_string(&place).map_err(|why| format!("cannot read {place}: {why}"))?;
        let line = status.lines().find(|line| line.starts_with(what));
        let kib =
            line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok());
        kib.map(|kib| kib / 1024).ok_or_else(|| format!("{} says nothing of its memory", self.host.name))
    }

    /// All that it said in all its lives.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
