//! Fuzzing: whatever reads what others wrote is given inputs that nobody would write, and must keep its promises.
//!
//! | file | what it holds |
//! |---|---|
//! | `target.rs` | what is fuzzed, and what must be true of it |
//! | `targets/` | all of them |
//! | `engine/` | how inputs are made |
//! | `watch.rs` | each target in a process of its own, which may die |
//! | `scratch.rs` | directories that live as long as a run |

pub mod engine;
pub mod scratch;
pub mod target;
pub mod targets;
pub mod watch;
