//! A task to run, in the containerizer's words.

use agent_keeper::protocol::{Rlimit, RunId};

use crate::sandbox::SandboxDir;
use crate::volumes::VolumeDir;

/// A command and all that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Names this incarnation; never used twice. Launching a known one again starts nothing.
    pub run_id: RunId,
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The environment. `PATH` is added if missing, and `STOA_SANDBOX`, the sandbox's path.
    pub env: Vec<(String, String)>,
    /// Name of the user to run as; `None` is the agent's own.
    pub user: Option<String>,
    /// CPU in thousandths of a core; 0 asks for the smallest share and no ceiling.
    pub cpus_milli: u64,
    /// Memory in bytes, the runtime's own few hundred KiB included; 0 is no limit. At least
    /// [`MEMORY_BYTES_MIN`](Launch::MEMORY_BYTES_MIN) is given.
    pub mem_bytes: u64,
    /// Most processes and threads at a time; 0 is no limit.
    pub pids_max: u64,
    /// Whether the three limits above must be enforced.
    pub limits: Need,
    /// A pid namespace: the task sees only itself, and whatever it leaves behind dies with it.
    pub pid_namespace: Need,
    /// A mount namespace: what the task mounts stays its own.
    pub mount_namespace: Need,
    /// Let set-uid programs raise privileges. Normally false.
    pub new_privileges: bool,
    /// Resource limits (`setrlimit`).
    pub rlimits: Vec<Rlimit>,
    /// Its directory, working directory and place of `stdout` and `stderr`.
    pub sandbox: SandboxDir,
    /// Volumes, each to be found as `volumes/<name>` in the sandbox.
    pub volumes: Vec<VolumeDir>,
    /// Files to bring into the sandbox first.
    pub artifacts: Vec<Artifact>,
    /// Whether it has secrets: asked of [`Config::secrets`](crate::Config::secrets) before the start, and found in the
    /// directory that `STOA_SECRETS` names, which is added to the environment. They need a mount namespace.
    pub has_secrets: bool,
    /// Bounds of `stdout` and `stderr` each.
    pub logs: LogLimits,
}

impl Launch {
    /// The smallest memory limit set: below it the kernel kills the runtime before the task begins.
    pub const MEMORY_BYTES_MIN: u64 = 4 << 20;

    /// A launch without limits that takes the isolation there is.
    pub fn new(run_id: RunId, argv: Vec<String>, sandbox: SandboxDir) -> Launch {
        Launch {
            run_id,
            argv,
            env: Vec::new(),
            user: None,
            cpus_milli: 0,
            mem_bytes: 0,
            pids_max: 0,
            limits: Need::IfAvailable,
            pid_namespace: Need::IfAvailable,
            mount_namespace: Need::IfAvailable,
            new_privileges: false,
            rlimits: Vec::new(),
            sandbox,
            volumes: Vec::new(),
            artifacts: Vec::new(),
            has_secrets: false,
            logs: LogLimits::default(),
        }
    }
}

/// How much a task insists on something this node may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it the launch fails.
    Required,
    /// Taken where it is to be had.
    IfAvailable,
    /// Not wanted.
    Unwanted,
}

/// A file to bring into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// `file://`, `http://` or `https://`.
    pub uri: String,
    /// SHA-256 of its content in hexadecimal; a file that has another is not used.
    pub sha256: Option<String>,
    /// Make it executable.
    pub executable: bool,
    /// Its name in the sandbox; `None`: the last part of its URI's path.
    pub name: Option<String>,
}

/// Bounds of one output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// A file is rotated before it grows beyond this.
    pub file_bytes_max: u64,
    /// Rotated files kept beside the current one.
    pub rotated_max: u32,
}

impl Default for LogLimits {
    /// 10 MiB and four rotated files; Mesos' logrotate module has 10 MB as well and keeps everything.
    fn default() -> LogLimits {
        LogLimits { file_bytes_max: 10 << 20, rotated_max: 4 }
    }
}
