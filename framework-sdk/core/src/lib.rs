//! The pure heart of a framework: the session with the master, and the trait that an author implements.
//!
//! A [`Scheduler`] decides what runs on offers; the [`Reconciler`] is one that is told what should run ([`desired`]). A [`Driver`] keeps its session: it finds the leader, subscribes and
//! resumes, sends each call until it is answered and tells each update until it is taken in. Both live without a clock,
//! a thread or a socket, so that they run the same in production, in an author's tests ([`harness`]) and in the simulator.

pub mod calls;
pub mod config;
pub mod desired;
pub mod driver;
pub mod fake;
pub mod finder;
pub mod harness;
pub mod life;
pub mod line;
mod pending;
pub mod place;
pub mod reconciler;
mod refused;
pub mod rehearsal;
pub mod scheduler;
pub mod tape;
pub mod task;
pub mod tracker;

pub use calls::{ACCEPT_TASKS_MAX, Calls, Update};
pub use config::{BadConfig, Config};
pub use driver::{Driver, Input, Output};
pub use line::Link;
pub use place::{Packing, Room, Together, choose, choose_spread, place_together, value_of};
pub use reconciler::Reconciler;
pub use scheduler::{Answered, Draining, Scheduler, Session};
