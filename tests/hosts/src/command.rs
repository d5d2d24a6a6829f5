//! Commands that are run to their end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::signal;
use crate::wait::eventually;

/// An input/output error, by its number.
const EIO: i32 = 5;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; -1 for one that was killed.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs a command that must end well.
///
/// # Errors
/// What it said, if it did not.
pub fn well(program: &str, args: &[&str]) -> Result<String, String> {
    let said = run(Command::new(program).args(args))?;
    if said.code == 0 {
        Ok(said.out)
    } else {
        Err(format!("{program} {}: {}", args.join(" "), said.err.trim()))
    }
}

/// Runs a command.
///
/// # Errors
/// When it cannot be started.
pub fn run(command: &mut Command) -> Result<Said, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("cannot run {}: {why}", command.get_program().display()))?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A tool that `tests/hosts/tools` brought.
pub struct Tools {
    root: PathBuf,
}

// === impl Tools ===

impl Tools {
    /// Those of the workspace with this target directory.
    ///
    /// # Errors
    /// When they were not brought.
    pub fn of(target: &Path) -> Result<Tools, String> {
        let root = target.join("tools/debian");
        let there = root.join("packages").exists();
        there
            .then_some(Tools { root })
            .ok_or_else(|| "run tests/hosts/tools first: it brings nft and libfaketime".to_owned())
    }

    /// Hands rules to the packet filter of a network namespace.
    ///
    /// # Errors
    /// What nft said.
    pub fn nft(&self, namespace: &str, rules: &str) -> Result<(), String> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .arg(self.root.join("usr/sbin/nft"))
            .arg(rules)
            .env("LD_LIBRARY_PATH", self.root.join("usr/lib/x86_64-linux-gnu"));
        let said = run(&mut command)?;
        if said.code == 0 { Ok(()) } else { Err(format!("nft {rules}: {}", said.err.trim())) }
    }

    /// What a process needs around it so that its calls of the system can be made to fail later, by its control pipe.
    pub fn failing(&self, control: &Path) -> [(&'static str, String); 3] {
        let below = |name: &str| self.root.join("usr/lib").join(name).display().to_string();
        let preload = ["fiu/fiu_run_preload.so", "fiu/fiu_posix_preload.so"].map(below).join(" ");
        [
            ("LD_PRELOAD", preload),
            ("LD_LIBRARY_PATH", below("")),
            ("FIU_CTRL_FIFO", control.display().to_string()),
        ]
    }

    /// Makes each `fsync` and `fdatasync` of a process that was started so fail with an I/O error.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn fail_syncs(&self, control: &Path, pid: u32) -> Result<(), String> {
        let mut command = Command::new(self.root.join("usr/bin/fiu-ctrl"));
        let fault = format!("enable name=posix/io/sync/*,failinfo={EIO}");
        command.arg("-f").arg(control).args(["-c", &fault, &pid.to_string()]);
        let said = run(&mut command)?;
        if said.code == 0 { Ok(()) } else { Err(format!("fiu-ctrl: {}{}", said.out.trim(), said.err.trim())) }
    }

    /// Each `fsync` and `fdatasync` of a running process takes so much longer, until what this gives is dropped. Whoever calls
    /// waits for it, all other threads go on.
    ///
    /// # Errors
    /// When it cannot be traced.
    pub fn slow_syncs(&self, pid: u32, by: Duration) -> Result<Slow, String> {
        let mut command = Command::new(self.root.join("usr/bin/strace"));
        let delay = format!("inject=fsync,fdatasync:delay_exit={}", by.as_micros());
        command.args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &delay]);
        command.args(["-p", &pid.to_string()]);
        command.env("LD_LIBRARY_PATH", self.root.join("usr/lib/x86_64-linux-gnu"));
        let child =
            command.stdin(Stdio::null()).spawn().map_err(|why| format!("cannot run strace: {why}"))?;
        let slow = Slow(child);
        eventually("all threads are traced", Duration::from_secs(10), || are_traced(pid).then_some(()))?;
        Ok(slow)
    }

    /// The library that shows a process another time of day.
    pub fn faketime(&self) -> PathBuf {
        self.root.join("usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
    }
}

/// A process with a slow disk; the disk is as before when this is dropped.
pub struct Slow(Child);

impl Drop for Slow {
    fn drop(&mut self) {
        // It lets go of what it traces.
        let _ = signal(self.0.id(), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn are_traced(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut statuses =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    let is_free = |status: String| status.lines().any(|line| line == "TracerPid:\t0");
    std::path::Path::new(&format!("/proc/{pid}")).exists() && !statuses.any(is_free)
}
