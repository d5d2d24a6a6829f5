//! CPU time: a share of it when it is scarce, a ceiling if wanted, and what was used.

use std::path::Path;

use super::{Isolator, Limits, Setting, Version, field, number};
use crate::event::Usage;

/// The kernel's default period for ceilings, microseconds.
const PERIOD_US: u64 = 100_000;

/// The kernel's smallest quota, microseconds.
const QUOTA_US_MIN: u64 = 1_000;

/// Shares of one whole core on v1 (the kernel's default for a cgroup).
const SHARES_PER_CORE: u64 = 1_024;

/// The kernel's bounds for shares.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;

/// The `cpu` controller.
pub(super) struct Cpu;

impl Isolator for Cpu {
    fn controller(&self) -> &'static str {
        "cpu"
    }

    fn settings(&self, version: Version, limits: &Limits) -> Vec<Setting> {
        let shares = (limits.cpus_milli * SHARES_PER_CORE / 1_000).clamp(SHARES_MIN, SHARES_MAX);
        let quota = (limits.cpus_milli * PERIOD_US / 1_000).max(QUOTA_US_MIN);
        let wants_quota = limits.cpu_quota && limits.cpus_milli > 0;
        let mut settings = vec![match version {
            Version::V1 => Setting::new("cpu.shares", shares),
            Version::V2 => Setting::new("cpu.weight", weight(shares)),
        }];
        if wants_quota {
            settings.push(match version {
                Version::V1 => Setting::new("cpu.cfs_quota_us", quota),
                Version::V2 => Setting::new("cpu.max", format!("{quota} {PERIOD_US}")),
            });
        }
        settings
    }

    fn measure(&self, version: Version, cgroup: &Path, usage: &mut Usage) {
        match version {
            // There `cpuacct` counts.
            Version::V1 => {}
            Version::V2 => {
                let micros = field(cgroup, "cpu.stat", "usage_usec");
                usage.cpu_ns = usage.cpu_ns.or(micros.map(|micros| micros.saturating_mul(1_000)));
            }
        }
    }
}

/// v1 shares in v2's scale of 1 to 10,000, by the formula the OCI runtimes use.
fn weight(shares: u64) -> u64 {
    1 + (shares.saturating_sub(SHARES_MIN) * 9_999) / (SHARES_MAX - SHARES_MIN)
}

/// The `cpuacct` controller of v1: counts and limits nothing.
pub(super) struct CpuAccounting;

impl Isolator for CpuAccounting {
    fn controller(&self) -> &'static str {
        "cpuacct"
    }

    fn settings(&self, _version: Version, _limits: &Limits) -> Vec<Setting> {
        Vec::new()
    }

    fn measure(&self, version: Version, cgroup: &Path, usage: &mut Usage) {
        match version {
            Version::V1 => usage.cpu_ns = usage.cpu_ns.or(number(cgroup, "cpuacct.usage")),
            Version::V2 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, cpus_milli: u64, cpu_quota: bool) -> Vec<(&'static str, String)> {
        let limits = Limits { cpus_milli, cpu_quota, ..Limits::default() };
        Cpu.settings(version, &limits).into_iter().map(|setting| (setting.file, setting.value)).collect()
    }

    #[test]
    fn cpus_become_a_share_and_a_ceiling() {
        let v1 = [("cpu.shares", "1536".to_owned()), ("cpu.cfs_quota_us", "150000".to_owned())];
        assert_eq!(written(Version::V1, 1500, true), v1);
        let v2 = [("cpu.weight", "59".to_owned()), ("cpu.max", "150000 100000".to_owned())];
        assert_eq!(written(Version::V2, 1500, true), v2);
    }

    #[test]
    fn the_kernels_bounds_are_kept() {
        assert_eq!(written(Version::V1, 0, true), [("cpu.shares", "2".to_owned())]);
        assert_eq!(written(Version::V1, 1, true)[1].1, "1000");
        assert_eq!(written(Version::V2, 0, false), [("cpu.weight", "1".to_owned())]);
        assert_eq!(written(Version::V2, 10_000_000, false), [("cpu.weight", "10000".to_owned())]);
        assert_eq!(written(Version::V1, 2000, false).len(), 1);
    }
}
