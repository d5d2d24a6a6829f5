//! `RollingChange`: how a changed spec is brought about, and what is done when it turns out to be a bad one.

use std::time::Duration;

/// How running instances are replaced when the spec changes.
///
/// A change with a deadline, a bound for failures or a canary is **guarded**: it is remembered over the lives of the
/// framework, and one that fails goes back to the last spec that was in service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingChange {
    /// So many instances at most are started above the number wanted, as long as the change lasts. They have the numbers
    /// after the last one, so none ever runs twice under one name.
    pub surge: u32,
    /// So many instances at most are out of service at once for the change.
    pub max_unavailable: u32,
    /// A task counts as in service once it has run for so long.
    pub min_ready: Duration,
    /// The change fails when for so long no instance more has come into service with the new spec.
    pub deadline: Option<Duration>,
    /// The change fails when tasks of the new spec have ended badly so often in a row, with no instance more coming into
    /// service in between.
    pub failures: Option<u32>,
    /// So many instances are changed first; the others wait for the author's word. 0: nothing waits.
    pub canary: u32,
    /// A change that fails goes back to the spec before. Otherwise it stops where it is.
    pub back: bool,
}

// === impl RollingChange ===

impl RollingChange {
    /// One at a time, ended before its successor starts: right for whoever must not run twice. A spec that does not start
    /// stops the change at the first instance.
    pub const DEFAULT: RollingChange = RollingChange {
        surge: 0,
        max_unavailable: 1,
        min_ready: Duration::ZERO,
        deadline: None,
        failures: None,
        canary: 0,
        back: true,
    };

    /// So many at once, ended first: without surge there is always one, or nothing would ever change.
    pub(crate) fn unavailable(&self) -> usize {
        if self.surge == 0 { self.max_unavailable.max(1) as usize } else { self.max_unavailable as usize }
    }

    /// Whether it can fail or wait.
    pub(crate) fn is_guarded(&self) -> bool {
        self.deadline.is_some() || self.failures.is_some() || self.canary > 0
    }
}

impl Default for RollingChange {
    fn default() -> Self {
        RollingChange::DEFAULT
    }
}
