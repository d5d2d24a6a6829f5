//! What the kernel says of processes: their time on the cpus, their memory, what they wrote.

use std::collections::BTreeMap;
use std::fs;

/// `/proc` counts in ticks of a hundredth of a second on every Linux that we know (USER_HZ).
const TICK_MS: u64 = 10;

/// A process of a cluster.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// `up`, `master`, `agent`, `jobs`, `keeper`, or `task` for anything else.
    pub role: &'static str,
}

/// Cpu time in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In user mode.
    pub user_ms: u64,
    /// In the kernel.
    pub system_ms: u64,
    /// Of children that ended and were waited for.
    pub children_ms: u64,
}

// === impl Cpu ===

impl Cpu {
    /// What was used since an earlier look.
    pub fn since(self, before: Cpu) -> Cpu {
        Cpu {
            user_ms: self.user_ms.saturating_sub(before.user_ms),
            system_ms: self.system_ms.saturating_sub(before.system_ms),
            children_ms: self.children_ms.saturating_sub(before.children_ms),
        }
    }

    /// All of it.
    pub fn total_ms(self) -> u64 {
        self.user_ms + self.system_ms + self.children_ms
    }
}

impl std::ops::AddAssign for Cpu {
    fn add_assign(&mut self, other: Cpu) {
        self.user_ms += other.user_ms;
        self.system_ms += other.system_ms;
        self.children_ms += other.children_ms;
    }
}

/// The processes in whose arguments `mark` stands: the root of a cluster, which every part of it is told.
pub fn marked(mark: &str) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(bytes) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        if line.contains(mark) {
            found.push(Process { pid, role: role_of(&line) });
        }
    }
    found.sort_by_key(|process| (process.role, process.pid));
    found
}

fn role_of(line: &str) -> &'static str {
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match (program, words.next().unwrap_or_default()) {
        ("stoa", "master") => "master",
        ("stoa", "agent") => "agent",
        ("stoa", "framework") => "jobs",
        ("stoa", "up") => "up",
        (program, _) if program.starts_with("stoa-keeper") => "keeper",
        _ => "task",
    }
}

/// The time a process has used; `None` when it is gone.
pub fn cpu(pid: u32) -> Option<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, blanks and brackets too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).map(|ticks| ticks * TICK_MS);
    Some(Cpu { user_ms: ticks(11)?, system_ms: ticks(12)?, children_ms: ticks(13)? + ticks(14)? })
}

/// Nanoseconds on a cpu by thread name, for the threads that are alive.
pub fn threads(pid: u32) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let stat = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
        *found.entry(name.trim().to_owned()).or_default() += nanos;
    }
    found
}

/// Milliseconds in which the cpus of this machine were not idle, since it was started.
pub fn machine_busy_ms() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = stat.lines().next() else { return 0 };
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in user and nice.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum::<u64>() * TICK_MS
}

/// Resident and proportional memory of a process in KiB.
pub fn memory_kib(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some((kib(&text, "Rss:")?, kib(&text, "Pss:")?))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Bytes that a process caused to be written to a disk.
pub fn written_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let me = std::process::id();
        assert!(cpu(me).is_some());
        assert!(memory_kib(me).is_some_and(|(rss, pss)| rss > 0 && pss <= rss));
        assert!(!threads(me).is_empty());
        assert!(machine_busy_ms() > 0);
        assert!(cpu(u32::MAX).is_none());
    }

    #[test]
    fn roles_are_read_off_the_arguments() {
        assert_eq!(role_of("/x/stoa master --id=1 "), "master");
        assert_eq!(role_of("/x/stoa framework jobs --data-dir=/y "), "jobs");
        assert_eq!(role_of("/y/bin/stoa-keeper-e9 serve /y "), "keeper");
        assert_eq!(role_of("sleep 3 "), "task");
    }
}
