//! Cgroups of runs: `<mount>/<root>/<agent>/<run>` in each tree that holds a controller this node has. Blocking.
//!
//! Nothing is remembered per run: its cgroups are found by its name, after a restart as before.

mod detect;
mod mounts;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent_keeper::protocol::RunId;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use detect::{Detected, detect};
pub(crate) use mounts::{Mount, of_this_process};

use crate::event::Usage;
use crate::isolate::{Isolator, Limits, Version, oom_kills};

/// A tree of cgroups we use.
pub(crate) struct Tree {
    pub(crate) version: Version,
    /// `<mount>/<root>/<agent>`.
    pub(crate) base: PathBuf,
    /// The controllers we use in it. None in the v2 tree of a hybrid system, which is there to kill by.
    pub(crate) isolators: Vec<&'static dyn Isolator>,
}

impl Tree {
    pub(crate) fn cgroup(&self, run_id: RunId) -> PathBuf {
        self.base.join(run_id.to_string())
    }

    /// The file a process of one thread joins by. On v1 `tasks` does not take the kernel's lock of all thread groups.
    pub(crate) fn join_file(&self, run_id: RunId) -> PathBuf {
        self.cgroup(run_id).join(match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        })
    }

    fn is_for_killing_only(&self) -> bool {
        self.isolators.is_empty()
    }
}

/// What could not be done to a cgroup.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {}: {source}", path.display())]
pub(crate) struct Error {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Error {
    pub(crate) fn new(verb: &'static str, path: &Path, source: io::Error) -> Error {
        Error { verb, path: path.to_owned(), source }
    }
}

/// All trees in use.
#[derive(Default)]
pub(crate) struct Cgroups {
    pub(crate) trees: Vec<Tree>,
}

/// Whether a run's cgroups are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// All of them.
    Done,
    /// Some process is still in one, dying.
    Busy,
}

impl Cgroups {
    /// Makes a run's cgroups with its limits; the files its first process is to join by. `to_kill_by` says whether the
    /// tree that only serves killing is wanted: a pid namespace does that better. After an error nothing is left.
    pub(crate) fn create(
        &self,
        run_id: RunId,
        limits: &Limits,
        to_kill_by: bool,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut join = Vec::with_capacity(self.trees.len());
        for tree in self.trees.iter().filter(|tree| to_kill_by || !tree.is_for_killing_only()) {
            if let Err(e) = create(tree, &tree.cgroup(run_id), limits) {
                self.remove(run_id);
                return Err(e);
            }
            join.push(tree.join_file(run_id));
        }
        Ok(join)
    }

    /// Whether the kernel has killed a process of this run for memory.
    pub(crate) fn has_oom(&self, run_id: RunId) -> bool {
        let mut with_memory = self.trees.iter().filter(|tree| has_controller(tree, "memory"));
        with_memory.any(|tree| oom_kills(tree.version, &tree.cgroup(run_id)) > 0)
    }

    /// What a run uses now.
    pub(crate) fn usage(&self, run_id: RunId) -> Usage {
        let mut usage = Usage::default();
        for tree in &self.trees {
            let cgroup = tree.cgroup(run_id);
            tree.isolators.iter().for_each(|isolator| isolator.measure(tree.version, &cgroup, &mut usage));
        }
        usage
    }

    /// Kills every process of a run that can be found. Where the kernel does it in one stroke nothing can escape; else
    /// the caller repeats until [`Cgroups::remove`] finds nobody.
    pub(crate) fn kill(&self, run_id: RunId) {
        let v2 = self.trees.iter().filter(|tree| tree.version == Version::V2);
        for tree in v2 {
            if write(&tree.cgroup(run_id).join("cgroup.kill"), "1").is_ok() {
                return;
            }
        }
        if let Some(tree) = self.trees.first() {
            let procs = fs::read_to_string(tree.cgroup(run_id).join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
                let _gone_already = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Removes a run's cgroups, as far as they are empty.
    pub(crate) fn remove(&self, run_id: RunId) -> Removed {
        let mut removed = Removed::Done;
        for tree in &self.trees {
            match fs::remove_dir(tree.cgroup(run_id)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => removed = Removed::Busy,
            }
        }
        removed
    }

    /// Runs that have cgroups and are not `known`: left by an agent that did not come to removing them.
    pub(crate) fn strays(&self, known: &HashSet<RunId>) -> HashSet<RunId> {
        let names = self.trees.iter().filter_map(|tree| fs::read_dir(&tree.base).ok()).flatten().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| !known.contains(id)).collect()
    }
}

fn has_controller(tree: &Tree, controller: &str) -> bool {
    tree.isolators.iter().any(|isolator| isolator.controller() == controller)
}

fn create(tree: &Tree, cgroup: &Path, limits: &Limits) -> Result<(), Error> {
    match fs::create_dir(cgroup) {
        Ok(()) => {}
        // From a launch that a crash interrupted.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::new("make", cgroup, e)),
    }
    for isolator in &tree.isolators {
        for setting in isolator.settings(tree.version, limits) {
            let file = cgroup.join(setting.file);
            match write(&file, &setting.value) {
                Ok(()) => {}
                Err(_) if setting.optional => {}
                Err(e) => return Err(Error::new("write", &file, e)),
            }
        }
    }
    Ok(())
}

/// Writes a value to a file of the kernel's, which is never created by it.
pub(crate) fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}
