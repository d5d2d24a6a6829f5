//! The messages and the service of `proto/jobs.proto`, and the records of `proto/journal.proto`, as generated.
#![allow(missing_docs, clippy::all)]

mod v1 {
    include!("gen/stoa.jobs.v1.rs");
}

/// The records of `proto/journal.proto`.
pub mod journal {
    include!("gen/stoa.jobs.journal.rs");
}

/// The service `Jobs`: `jobs_client::JobsClient` and `jobs_server::{Jobs, JobsServer}`.
pub mod service {
    include!("gen/stoa.jobs.v1.Jobs.rs");
}

pub use v1::*;
