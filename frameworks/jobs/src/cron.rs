//! When cron jobs run: crontab(5) schedules in time zones. Pure: the caller says what time it is.
//!
//! # When clocks are changed
//!
//! As cron(8) of Vixie and Debian does it, with one difference. A schedule whose minute or hour begins with `*` goes with the
//! clock on the wall: what is skipped is skipped, and an hour that comes twice runs twice. Any other schedule names times of
//! day: one that is skipped runs once right after the gap, and one that comes twice runs the first time only. The
//! difference: cron(8) does so for changes of up to three hours, and this module for all of them. (Kubernetes leaves
//! skipped times out, and runs repeated ones twice.)

mod field;
mod next;
mod schedule;
mod zone;

pub use schedule::{BadSchedule, Schedule};
pub use zone::{BadZone, Zone};

#[cfg(test)]
mod tests;
