//! The vocabulary of the house: ids, resources, offers, tasks, and the calls and events of each conversation.
//!
//! Every type here is what the machines speak. What stands on the wire is `proto-wire`, and the two meet in
//! [`wire::Wire`], which each type that travels implements.

pub mod agent;
pub mod agent_link;
pub mod attributes;
pub mod authorize;
pub mod backup;
pub mod caller;
pub mod check;
pub mod demand;
pub mod explain;
pub mod framework;
pub mod id;
pub mod ledger;
pub mod log;
pub mod offer;
pub mod operation;
pub mod operator;
pub mod quantities;
pub mod quota;
pub mod raft;
pub mod ranges;
pub mod refusal;
pub mod resources;
pub mod rights;
pub mod role;
pub mod roster;
pub mod scheduler;
pub mod secret;
pub mod store;
pub mod store_log;
pub mod task;
pub mod volume;
pub mod wire;
