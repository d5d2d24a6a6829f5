//! Processes and threads: how many at a time.

use std::path::Path;

use super::{Isolator, Limits, Setting, Version, number};
use crate::event::Usage;

/// The `pids` controller.
pub(super) struct Pids;

impl Isolator for Pids {
    fn controller(&self) -> &'static str {
        "pids"
    }

    fn settings(&self, _version: Version, limits: &Limits) -> Vec<Setting> {
        match limits.pids_max {
            0 => Vec::new(),
            max => vec![Setting::new("pids.max", max)],
        }
    }

    fn measure(&self, _version: Version, cgroup: &Path, usage: &mut Usage) {
        usage.pids = usage.pids.or(number(cgroup, "pids.current"));
    }
}
