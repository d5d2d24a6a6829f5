//! The keeper: a small static process, one per agent, that starts plain tasks, outlives the agent and remembers how each ended.
//!
//! # Map
//!
//! | file | what it holds |
//! |---|---|
//! | [`protocol`] | the words agent and keeper exchange over a unix socket |
//! | [`client`] | a blocking speaker of that protocol, for tests, benches and tools |
//! | `keeper.rs` | the loop: what a readiness event leads to |
//! | `requests.rs`, `starting.rs`, `ending.rs` | its verbs: what the agent asks, how a run starts, how it ends |
//! | `runs.rs`, `slots.rs` | its tables: the runs, and the memory shared with their first processes |
//! | `plan.rs`, `child.rs`, `init.rs` | a run before the fork, between fork and exec, and as pid 1 of its namespace |
//! | `inits.rs`, `mail.rs` | inits kept with their namespaces for further runs, and how they get them |
//! | `enter.rs` | a command beside a run, as a process of its own |
//! | `log.rs`, `record.rs`, `recover.rs` | the durable log, its records, and what is made of it at start |
//! | `output.rs` | stdout and stderr into size-rotated files |
//! | `connection.rs`, `daemon.rs`, `sys.rs`, `sys/` | the socket, becoming a daemon, the system calls |
//!
//! # Invariants
//!
//! - A run's command is executed at most once: its `Started` record is in the log before its first process may exec.
//! - An end is told to the agent only after it is on disk; all ends of one turn of the loop share one `fdatasync`.
//! - One thread. Code between fork and exec touches no allocator and no lock; an init between two runs may, alone in its memory.
//! - Nothing the agent sends can make the keeper panic; what it does not understand is answered and the connection closed.

#[cfg(not(target_os = "linux"))]
compile_error!("the keeper is built on Linux process calls");

pub mod client;
pub mod protocol;

mod child;
mod connection;
mod crc;
mod daemon;
mod ending;
mod enter;
mod init;
mod inits;
mod keeper;
mod log;
mod mail;
mod output;
mod plan;
mod proc;
mod record;
mod recover;
mod requests;
mod runs;
mod secrets;
mod slots;
mod starting;
mod sys;

pub use daemon::{EXIT_ALREADY_RUNNING, serve};
pub use enter::enter;
pub use record::{Ending, Record, read_log};

/// Name of the keeper's socket inside its directory.
pub const SOCKET_NAME: &str = "keeper.sock";

/// Name of the keeper's log inside its directory.
pub const LOG_NAME: &str = "keeper.log";
