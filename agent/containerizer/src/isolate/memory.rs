//! Memory: a hard limit, and whether the kernel killed to keep it.

use std::path::Path;

use super::{Isolator, Limits, Setting, Version, field, number};
use crate::event::Usage;
use crate::launch::Launch;

/// The `memory` controller.
pub(super) struct Memory;

impl Isolator for Memory {
    fn controller(&self) -> &'static str {
        "memory"
    }

    fn settings(&self, version: Version, limits: &Limits) -> Vec<Setting> {
        if limits.mem_bytes == 0 {
            return Vec::new();
        }
        let bytes = limits.mem_bytes.max(Launch::MEMORY_BYTES_MIN);
        match version {
            // The second limit, memory and swap together, cannot be below the first, hence the order.
            Version::V1 => vec![
                Setting::new("memory.limit_in_bytes", bytes),
                Setting::optional("memory.memsw.limit_in_bytes", bytes),
            ],
            // A task that has lost one process for memory is rarely of use: all of it goes.
            Version::V2 => vec![
                Setting::new("memory.max", bytes),
                Setting::optional("memory.swap.max", 0),
                Setting::optional("memory.oom.group", 1),
            ],
        }
    }

    fn measure(&self, version: Version, cgroup: &Path, usage: &mut Usage) {
        let file = match version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        usage.memory_bytes = usage.memory_bytes.or(number(cgroup, file));
    }
}

/// The kernel's count of kills for memory in this cgroup; on v1 since Linux 4.13.
pub(super) fn oom_kills(version: Version, cgroup: &Path) -> u64 {
    let file = match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    field(cgroup, file, "oom_kill").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_writes_nothing_and_a_tiny_one_leaves_room_for_the_runtime() {
        let settings = |mem_bytes| Memory.settings(Version::V1, &Limits { mem_bytes, ..Limits::default() });
        assert_eq!(settings(0), []);
        assert_eq!(settings(1)[0], Setting::new("memory.limit_in_bytes", Launch::MEMORY_BYTES_MIN));
        assert_eq!(settings(1 << 30)[0], Setting::new("memory.limit_in_bytes", 1 << 30));
    }
}
