//! Runs an agent's tasks as isolated processes: sandbox, artifacts, cgroups, and the keeper that is their parent.
//!
//! # The way of a launch
//!
//! [`Containerizer::launch`] puts it into the mailbox of the *engine* (`engine.rs`, one tokio task that never blocks).
//! The *workshop* (`workshop.rs`, one thread that may) makes sandbox and cgroups, what it needs of others (`needs.rs`) is
//! brought by the *fetcher* (`fetch.rs`, artifacts, on blocking threads) and the [`SecretSource`], and the *link* (`link.rs`) hands the finished request to the keeper, all that is ready in
//! one write. What the keeper answers becomes an [`Event`]; the end of a run passes the workshop once more, to learn
//! whether the kernel killed for memory.
//!
//! A command beside a run ([`Containerizer::enter`], `visit.rs` and `enter.rs`) goes another way: the keeper's program as a child of this
//! process, which tells how it ended and takes it along when it goes.
//!
//! # Who remembers what
//!
//! The keeper remembers each run until [`Containerizer::destroy`], on disk, and outlives this process. So after a
//! restart the first event is [`Event::Recovered`] with everything that ran or ended meanwhile. Nothing else is kept
//! here: cgroups and sandboxes are found by their names.
//!
//! # Invariants
//!
//! - A run gets exactly one final event, [`Event::StartFailed`] or [`Event::Exited`] (or its place in `Recovered`).
//! - A run id is started at most once, however often it is launched.
//! - A launch that *requires* isolation this node lacks is refused with the reason; [`Report`] says what is in force.
//! - No path made of a user's words leaves the work directory; no tokio worker waits for a disk.

mod binary;
mod cgroups;
mod config;
mod containerizer;
mod engine;
mod enter;
mod event;
mod fetch;
mod isolate;
mod launch;
mod link;
mod needs;
mod probe;
mod reconcile;
mod report;
mod request;
mod sandbox;
mod secrets;
mod users;
mod visit;
mod volumes;
mod workshop;

pub use agent_keeper::protocol::{Loss, Rlimit, RunId, Rusage};
pub use config::Config;
pub use containerizer::{Containerizer, Error};
pub use enter::{Guest, Terminal, TerminalSize};
pub use event::{Event, Exit, How, Recovered, RecoveredState, StartFailure, Usage};
pub use fetch::open_local;
pub use launch::{Artifact, Launch, LogLimits, Need};
pub use report::{Isolation, Report};
pub use sandbox::{SandboxDir, escape};
pub use secrets::{Secret, SecretSource, SecretsFetched};
pub use volumes::{Removed, VolumeDir};
