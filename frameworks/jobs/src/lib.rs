//! The jobs framework: services and batch jobs, from a file or from `stoa run`.
//!
//! `spec` is what a user may ask for, `cron` when it runs if not at once, `store` what was asked and where it is kept,
//! `scheduler` the SDK's trait implemented round the SDK's reconciler, without clock, disk or network; `api` is its door,
//! `cli` its client.

mod api;
pub mod cli;
mod codec;
pub mod config;
pub mod contract;
pub mod cron;
mod rights;
pub mod scheduler;
pub mod spec;
pub mod store;
mod token;
pub mod wire;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use framework_sdk::door::{Credentials, PkiError, ServeError};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::refusal::Refusal;
use framework_sdk::{End, Now, Profile, StartError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::service::Routes;
use tracing::info;

pub use config::Config;

use crate::scheduler::{Jobs, Output};
use crate::store::{Store, StoreError};
use crate::wire::service::jobs_server::JobsServer;

/// Why the jobs framework cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its certificate cannot be read.
    #[error("the credentials of the jobs framework cannot be read")]
    Credentials(#[from] PkiError),
    /// Its journal cannot be used.
    #[error("the data directory of the jobs framework cannot be used")]
    Store(#[from] StoreError),
    /// Its door cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its door failed.
    #[error("the door of the jobs framework failed")]
    Door(#[from] ServeError),
    /// A master ended it.
    #[error("the master ended the jobs framework: {0}")]
    Refused(Refusal),
    /// What it wanted stored could not be.
    #[error("the jobs framework could not store its state")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A fault of ours.
    #[error("the thread of the jobs framework panicked; its log says where")]
    Panicked,
}

/// Runs the jobs framework until `shutdown` resolves, or something happens that it cannot go on after. Its tasks run on.
pub async fn run(
    config: Config,
    page: impl Fn() -> String + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let credentials = Credentials::load(&config.credentials_dir)?;
    let mut store = Store::open(&config.data_dir)?;
    let fault = |source| RunError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(fault)?;
    let address = match config.advertise {
        Some(address) => address,
        None => listener.local_addr().map_err(fault)?.to_string(),
    };
    let info = FrameworkInfo {
        name: "jobs".to_owned(),
        roles: Vec::new(),
        failover_timeout: config.failover_timeout,
        address: address.clone(),
        labels: BTreeMap::new(),
    };
    let state = store.state().clone();
    let id = state.framework.clone();
    let seed = RandomState::new().hash_one(&address);
    let jobs = Jobs::new(info, config.role, state, seed);
    let profile = Profile { masters: config.masters.clone(), credentials: credentials.clone() };
    let session = framework_sdk::Config {
        info: jobs.info().clone(),
        id,
        operation_prefix: framework_sdk::unused_prefix(),
        masters: config.masters,
        seed,
        believed: jobs.believed(),
    };
    let waiting = Arc::new(api::Waiting::default());
    let told = waiting.clone();
    let perform = move |_: Now, output: Output| -> Result<(), StoreError> {
        match output {
            Output::Store(records) => store.append(records),
            other => {
                told.tell(other);
                Ok(())
            }
        }
    };
    let mut running = framework_sdk::spawn("jobs", credentials.clone(), session, jobs, perform)?;
    let rights = rights::Rights::new(&profile);
    let door = api::Door { waiting, teller: running.teller(), rights };
    let routes = framework_sdk::door::with_metrics(Routes::new(JobsServer::new(door)), page);
    info!(address, "jobs framework");

    let (why, told) = oneshot::channel();
    let closing = async {
        let end = tokio::select! {
            () = shutdown => None,
            end = running.ended() => Some(end),
        };
        let _ = why.send(end);
    };
    framework_sdk::door::serve(listener, &credentials, routes, closing).await?;
    let end = match told.await {
        Ok(Some(end)) => end,
        Ok(None) | Err(_) => {
            running.stop();
            running.ended().await
        }
    };
    match end {
        End::Stopped | End::TornDown => Ok(()),
        End::Refused(refusal) => Err(RunError::Refused(refusal)),
        End::Failed(fault) => Err(RunError::Failed(fault)),
        End::Panicked => Err(RunError::Panicked),
    }
}
