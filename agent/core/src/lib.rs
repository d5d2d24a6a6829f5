//! The agent as a machine: what the master says, what its containers do and the time in; records, messages and orders out.
//!
//! # Map
//!
//! | file | what it holds |
//! |---|---|
//! | `agent.rs` | the switchboard: which input leads to which verb |
//! | `input.rs`, `output.rs`, `config.rs` | what it is told, what it wants done, what it is given at birth |
//! | `tables/` | runs, their status updates, their checks, the membership in a pool, the runs just forgotten and those about to be by the keeper, volumes to delete |
//! | `verbs/` | join, launch, kill, contain, check, report, acknowledge, restore, volumes, leave |
//! | `image.rs` | the whole ledger in as few records as will do |
//!
//! # What the order of outputs promises
//!
//! **Outputs are performed in order; nothing behind a [`Output::Store`] leaves before that record is written.** A
//! driver may take all `Store`s of a batch to the front of it (one write, one sync): whatever stood before one may be
//! lost in a crash anyway. It may not take one past a [`Output::Rewrite`]. *Written* means that the record survives the death of the agent's process; with `sync` it
//! must also survive the loss of power.
//!
//! # Why not every record is synced
//!
//! Losing power changes the boot id, and then every run is over: the question is only whether the agent can still say
//! how, in the same words and under the same sequence numbers as before.
//!
//! - [`RunTaken`](proto::ledger::Record::RunTaken) is synced before the run may start: a run that the ledger forgot
//!   could be launched a second time.
//! - `KillTaken` and `EpochSeen` are synced before they are obeyed.
//! - `Reached` with a plain end (exit code or signal, no kill, no memory limit) is *not*: the keeper has that end on
//!   its own disk before it tells it, and is asked to forget it only after the framework has acknowledged it and a
//!   synced record stands behind `Forgotten`. After a power loss the same status is made again from the keeper's log.
//! - Every other terminal `Reached` is synced: nobody could make it again. So is Killing: the wish it tells of is.
//! - `Reached` of Running is not, the first time: if it is lost the run is over, and its stream is begun again with one status before
//!   the terminal one, so that the terminal one never takes a number that was given before. A later one, of what
//!   checks say, is synced for the same reason.
//! - `Started` is not: it matters for a run that runs only.
//! - `Acknowledged` and `Forgotten` are not: at worst an update is sent once more.
//!
//! What is in the ledger when it is opened must be synced before it is given to [`Input::Restore`]: a record that was
//! only written would otherwise be acted upon a second time and then vanish.
//!
//! # Invariants
//!
//! - [`Contain::Launch`] is said for a run only behind its synced `RunTaken`, and never after a status of it is known,
//!   after the machine was restarted, or after it was forgotten.
//! - The statuses of a run are numbered from 1 without gaps, and on one link they leave in that order.
//! - [`Contain::RemoveVolume`] is said only of a volume that a master named as destroyed, and while no run that is not
//!   over has it. Nothing is deleted because it is *not* named.
//! - Nothing is obeyed that comes with an older epoch than was ever obeyed.

#![forbid(unsafe_code)]

mod agent;
mod config;
mod image;
mod input;
mod output;
mod state;
mod tables;
mod verbs;

#[cfg(test)]
mod tests;

pub use agent::Agent;
pub use config::Config;
pub use input::{
    CheckOutcome, Checked, Container, End, FailureKind, Found, FoundState, How, Input, LinkId, Loss, Restore,
    Room, StartFailure,
};
pub use output::{Ask, Contain, Note, Output};
