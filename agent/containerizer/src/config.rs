//! What an agent decides once about how its tasks are run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::secrets::SecretSource;

/// Settings of a [`Containerizer`](crate::Containerizer).
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of this agent on a persistent disk; holds `keeper/`, `bin/` and `sandboxes/`. Tasks of other users must
    /// be able to pass through it (mode `x`) to reach their sandboxes.
    pub work_dir: PathBuf,
    /// Path below each cgroup mount under which this agent's cgroups are made: `<root>/<agent>/<run>`. On cgroup v2 no
    /// process may live in it. Default `/stoa`.
    pub cgroups_root: PathBuf,
    /// Tells agents of one machine apart in the cgroup tree. Escaped like all words from outside.
    pub agent: String,
    /// Whether cpus are a ceiling (a quota) as well as a share. Default true: a task's speed must not depend on its
    /// neighbours. An operator with spare capacity may want false.
    pub cpu_quota: bool,
    /// Whether a task may run as root: as the agent's own user where that is root, or by the name `root`. Default false:
    /// then no command starts with uid 0, whatever name that has here.
    pub allow_root: bool,
    /// Directories that `file://` artifacts may come from. Default none: the agent reads as root, so anything else would
    /// hand its secrets to whoever asks.
    pub artifact_roots: Vec<PathBuf>,
    /// Root certificates for `https://` artifacts, PEM. Default: where the distributions keep theirs.
    pub ca_file: Option<PathBuf>,
    /// Largest artifact, bytes. Default 8 GiB.
    pub artifact_bytes_max: u64,
    /// Longest time for one artifact. Default 15 minutes.
    pub artifact_patience: Duration,
    /// Where secrets come from. Default none: a launch that has some fails.
    pub secrets: Option<Arc<dyn SecretSource>>,
}

impl Config {
    /// The defaults for an agent of this name in this directory.
    pub fn new(work_dir: impl Into<PathBuf>, agent: impl Into<String>) -> Config {
        Config {
            work_dir: work_dir.into(),
            cgroups_root: PathBuf::from("/stoa"),
            agent: agent.into(),
            cpu_quota: true,
            allow_root: false,
            artifact_roots: Vec::new(),
            ca_file: None,
            artifact_bytes_max: 8 << 30,
            artifact_patience: Duration::from_secs(15 * 60),
            secrets: None,
        }
    }
}
