//! `Clock`: where a machine's time comes from in production.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto_machine::{Instant, Now, WallTime};

/// Real time, as machines count it: nanoseconds since the clock was made, and civil milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

// === impl Clock ===

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Clock { start: std::time::Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Before 1970 there is no civil time for us.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Now { monotonic: Instant::from_nanos(nanos), wall: WallTime::from_millis(millis) }
    }

    /// How long until `at`; zero when it has passed.
    pub fn until(&self, at: Instant) -> Duration {
        at.since(self.now().monotonic)
    }
}
