//! The shape every participant has: a machine that takes messages and time, and gives messages back.
//!
//! Nothing in this crate, and nothing in a crate built on it alone, can wait, fail, read a clock, draw
//! randomness of its own or touch a disk. The production driver (`proto-drive`) and the simulator
//! (`tests/sim`) are two drivers of the same machines.

mod deadlines;
mod dice;
mod machine;
pub mod mutants;
mod outbox;
mod pulse;
mod time;

pub use deadlines::Deadlines;
pub use dice::Dice;
pub use machine::{Haste, Machine};
pub use outbox::Outbox;
pub use pulse::Pulse;
pub use time::{Instant, Now, WallTime};
