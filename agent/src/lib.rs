//! The agent's shell: the ledger on disk, the link to the master, the containers, the door for logs.
//!
//! # Map
//!
//! | file | what it holds |
//! |---|---|
//! | `args.rs`, `config.rs`, `declared.rs` | what the operator says: on the command line, in a file, of resources |
//! | `facts.rs`, `join.rs` | what the machine has and who the agent is; how it gets its certificate |
//! | `running.rs` | puts all of it together, and takes it apart again |
//! | `perform.rs` | does what the machine ([`agent_core::Agent`]) wants done |
//! | `ledger.rs` | what the machine must remember, on disk |
//! | `master_link.rs`, `containers.rs` | the two it talks with: a master, the containerizer |
//! | `checks.rs`, `unverified.rs` | what tasks are asked while they run |
//! | `door.rs`, `sandbox_files.rs`, `runs.rs` | the output of tasks, for people |
//! | `exec.rs` | what people run beside tasks |
//! | `sandbox.rs` | where runs work, and when that goes |
//!
//! The machine has a thread of its own, which may wait for the disk; everything else is on the runtime of the caller,
//! for which one worker is plenty.

mod args;
mod checks;
pub mod config;
mod containers;
pub mod declared;
mod door;
mod error;
mod exec;
pub mod facts;
mod join;
pub mod ledger;
mod master_link;
mod masters_file;
mod perform;
mod room;
mod running;
mod runs;
mod sandbox;
pub mod sandbox_files;
#[cfg(test)]
mod scratch;
mod secrets;
mod unverified;

pub use args::AgentArgs;
pub use config::Config;
pub use error::Error;
pub use running::{Running, run, start};
