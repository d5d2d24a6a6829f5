//! The production driver: it gives a machine its messages and its time, and does what the machine wants done.
//!
//! [`spawn`] runs one machine on a thread of its own; a [`Handle`] sends it inputs from anywhere. [`telemetry`] sets
//! up logs and metrics, once per process.

mod clock;
mod drive;
mod mailbox;
pub mod telemetry;
mod vitals;

pub use clock::Clock;
pub use drive::{Ended, Perform, spawn};
pub use mailbox::{Closed, Handle, QUEUE_HIGH_WATER};
pub use vitals::{Space, show_vitals};
