//! The cgroup controllers that limit a task: one file each, and the list that says which there are.
//!
//! A controller knows its files in both versions of the kernel's interface and nothing of where they are; `cgroups.rs`
//! knows where, and nothing of what they mean.

mod cpu;
mod memory;
mod pids;

use std::path::Path;

use crate::event::Usage;

/// The two interfaces the kernel has for cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// One tree per controller (or small group of them).
    V1,
    /// One tree for all.
    V2,
}

/// What a task may use; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) cpus_milli: u64,
    /// Whether cpus are a ceiling as well as a share.
    pub(crate) cpu_quota: bool,
    pub(crate) mem_bytes: u64,
    pub(crate) pids_max: u64,
}

/// A value for a file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) file: &'static str,
    pub(crate) value: String,
    /// Left out where the kernel does not have the file.
    pub(crate) optional: bool,
}

impl Setting {
    pub(crate) fn new(file: &'static str, value: impl ToString) -> Setting {
        Setting { file, value: value.to_string(), optional: false }
    }

    pub(crate) fn optional(file: &'static str, value: impl ToString) -> Setting {
        Setting { optional: true, ..Setting::new(file, value) }
    }
}

/// A controller of the kernel.
pub(crate) trait Isolator: Sync {
    /// Its name in the kernel's lists.
    fn controller(&self) -> &'static str;

    /// What to write for these limits, in order. None if nothing is limited.
    fn settings(&self, version: Version, limits: &Limits) -> Vec<Setting>;

    /// Adds what it knows of a cgroup's use.
    fn measure(&self, version: Version, cgroup: &Path, usage: &mut Usage);
}

/// THE list. What a task may use is limited by each of these that the node has.
pub(crate) const ISOLATORS: [&dyn Isolator; 4] =
    [&cpu::Cpu, &cpu::CpuAccounting, &memory::Memory, &pids::Pids];

/// How often the kernel killed a process of this cgroup for memory.
pub(crate) fn oom_kills(version: Version, cgroup: &Path) -> u64 {
    memory::oom_kills(version, cgroup)
}

/// A file that holds one number.
fn number(cgroup: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(cgroup.join(file)).ok()?.trim().parse().ok()
}

/// The number behind a word in a file of `word number` lines.
fn field(cgroup: &Path, file: &str, word: &str) -> Option<u64> {
    let text = std::fs::read_to_string(cgroup.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}
