//! What the masters' log remembers, as a plain state machine: the same entries give the same registry on every master.
//!
//! Applying draws no random numbers and reads no clock: times come with the batch, ids of runs from the place in the log.

mod apply;
mod effect;
mod history;
mod image;
mod registry;
mod restore;
mod roster;
mod secrets;
mod total;

pub use effect::{Effect, TaskKey};
pub use history::HISTORY_MAX;
pub use image::BadImage;
pub use registry::{ENDED_MAX, Framework, OPERATIONS_MAX, REMOVED_MAX, Registry};
pub use secrets::{SECRET_BYTES_ALL_MAX, SECRETS_MAX, SecretKey, Secrets, nearest};
pub use total::transformation;
