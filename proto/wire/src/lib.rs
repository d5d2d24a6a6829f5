//! The wire messages, as prost makes them from `proto/v1`. Named only by `proto`, by the codecs and by `master-raft`.
#![allow(missing_docs, clippy::all)]

/// The package `stoa.v1`: the shared nouns, and a module for each conversation and disk format.
pub mod v1 {
    include!("gen/stoa.v1.rs");
    pub mod scheduler {
        include!("gen/stoa.v1.scheduler.rs");
    }
    pub mod agent {
        include!("gen/stoa.v1.agent.rs");
    }
    pub mod operator {
        include!("gen/stoa.v1.operator.rs");
    }
    pub mod raft {
        include!("gen/stoa.v1.raft.rs");
    }
    pub mod log {
        include!("gen/stoa.v1.log.rs");
    }
    pub mod ledger {
        include!("gen/stoa.v1.ledger.rs");
    }
    pub mod store {
        include!("gen/stoa.v1.store.rs");
    }
    pub mod store_log {
        include!("gen/stoa.v1.store_log.rs");
    }
    pub mod backup {
        include!("gen/stoa.v1.backup.rs");
    }
}

pub use v1::{agent, backup, ledger, log, operator, raft, scheduler, store, store_log};
