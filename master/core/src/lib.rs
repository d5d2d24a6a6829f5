//! The master as a machine: who may do what with which offer, what is durable, and who is told.
//!
//! `master` is the switchboard; what operators ask goes through `operators`, and what consensus says through `consensus`.
//! `leading` is what exists only while this master leads. `tables` own the leader's soft facts and know no sibling; `verbs`
//! are what can be asked, one file each. What is durable stands in `master-registry` and changes only by entries that
//! consensus has committed.

mod audited;
mod batch;
mod committed;
mod config;
mod consensus;
mod desk;
mod input;
mod leading;
mod master;
mod masters;
mod operators;
mod output;
mod restore;
mod tables;
mod validate;
mod verbs;
mod views;

pub use audited::{Audited, Via};
pub use config::Config;
pub use input::{Input, LinkId, OperatorCall, SessionId, Ticket};
pub use master::{Master, Unfit};
pub use master_registry::{Secrets, nearest};
pub use output::{Note, Output, Saved};
pub use restore::restored;
