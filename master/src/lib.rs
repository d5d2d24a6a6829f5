//! A master as a process: its doors, its disk, and the machine between them.

mod agent_api;
mod args;
mod audit;
pub mod backup;
mod backup_api;
mod caller;
mod conceal;
mod config;
mod doors;
pub mod founding;
mod gate;
mod history;
mod log;
mod meters;
mod operator_api;
mod operator_audit;
mod parts;
mod peers;
mod perform;
mod raft_api;
mod read_model;
mod scheduler_api;
mod store;
mod vault;

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use master_core::{Master, Unfit};
use master_storage::{Disk, LogStore};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto_drive::{Ended, Vitals};
use proto_grpc::services::agent_link::agent_link_server::AgentLinkServer;
use proto_grpc::services::backups::backups_server::BackupsServer;
use proto_grpc::services::operator::operator_server::OperatorServer;
use proto_grpc::services::raft::raft_server::RaftServer;
use proto_grpc::services::scheduler::scheduler_server::SchedulerServer;
use proto_grpc::services::store::store_server::StoreServer;
use proto_grpc::services::store_raft::store_raft_server::StoreRaftServer;
use proto_pki::{Authority, Credentials, PkiError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::service::Routes;
use tracing::info;

pub use args::MasterArgs;
pub use config::{Config, Limits, StoreLimits};
pub use perform::Fault;

use crate::perform::{Hands, REGISTRY};

/// The largest message a peer may send: the parts of larger ones are below a MiB, entries of a batch a few.
const PEER_MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The largest message of an agent: it registers with every run it has, some thousands of a few KiB at worst.
const AGENT_MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Why a master cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its certificate or authority cannot be read.
    #[error("the credentials of this master cannot be read")]
    Credentials(#[from] PkiError),
    /// Its door cannot be opened.
    #[error("cannot listen on {address}; is another process using it? --listen names another")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Its data directory cannot be made, or not be kept from others.
    #[error("cannot make {dir} for this master alone; name a --data-dir that this user may write to")]
    DataDir {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its disk cannot be read.
    #[error("the data directory of this master cannot be used")]
    Store(#[from] master_storage::Error),
    /// What its disk holds does not fit together.
    #[error(
        "what the disk of this master holds does not fit together ({0:?}); remove the member and let it join anew"
    )]
    Unfit(Unfit),
    /// The system gave no thread.
    #[error("the system gave no thread")]
    Thread(#[from] std::io::Error),
    /// Its doors failed.
    #[error("the doors of this master failed")]
    Serve(#[from] proto_grpc::ServeError),
    /// Its machine stopped.
    #[error("the machine of this master stopped: {0}")]
    Stopped(String),
}

/// Makes a directory that lets nobody else in: the log holds what tasks are told in confidence.
fn make_private(dir: &Path) -> Result<(), RunError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o700)))
        .map_err(|source| RunError::DataDir { dir: dir.to_owned(), source })
}

/// Runs a master until `shutdown` resolves or something fails that it cannot live with.
pub async fn run(
    config: Config,
    render_metrics: impl Fn() -> String + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let credentials = Arc::new(Credentials::load(&config.credentials_dir)?);
    let (cluster, _) = credentials.identity()?;
    let authority = config.authority_dir.as_deref().map(Authority::load).transpose()?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| RunError::Listen { address: config.listen, source })?;

    make_private(&config.data_dir)?;
    let mut store = Disk::open(&config.data_dir)?;
    let recovered = store.recover(REGISTRY)?;
    let mut core = master_core::Config::new(config.id, config.members.clone(), seed(&config));
    core.offer_timeout = config.offer_timeout.unwrap_or(core.offer_timeout);
    core.agent_unreachable_after = config.agent_unreachable_after.unwrap_or(core.agent_unreachable_after);
    core.root_tasks.clone_from(&config.root_tasks);
    let machine = Master::recover(core, recovered).map_err(RunError::Unfit)?;

    let audit = audit::Audit::start(&config.data_dir.join("audit"), config.id, config.limits.audit_bytes)?;
    let doors = Arc::new(doors::Doors::default());
    let model = Arc::new(read_model::ReadModel::default());
    let heard = Arc::new(peers::Heard::default());
    let own = peers::Own { id: config.id, cluster: cluster.clone(), credentials: credentials.clone() };
    let reporting = peers::Reporting::default();
    let store_end = store::Ending::default();
    let state_seed = seed(&config).rotate_left(16);
    let state = store::start(&config, own.clone(), state_seed, store_end.clone(), audit.clone())?;
    let sealing = tokio::spawn(audit::keep_sealed(audit.clone(), own.clone(), config.members.clone()));
    let peers = peers::Peers::start(own, &config.members, peers::Talk::Registry, reporting.clone());
    let vault = Arc::new(vault::Vault::of(authority.as_ref())?);
    let hands = Hands {
        store,
        doors: doors.clone(),
        peers,
        model: model.clone(),
        vault: vault.clone(),
        meters: meters::Meters::default(),
        audit: audit.clone(),
    };
    let (ended, mut end) = oneshot::channel();
    let handle = proto_drive::spawn("master", machine, hands, move |how| {
        let _ = ended.send(match how {
            Ended::Closed => "it was closed".to_owned(),
            Ended::Failed(fault) => chain(&fault),
            Ended::Panicked => "it panicked; see the lines above".to_owned(),
        });
    })?;
    let registry = handle.clone();
    let tell: peers::Tell = Arc::new(move |input| registry.send(master_core::Input::Raft(input)).is_ok());
    let _ = reporting.set(tell.clone());

    let scheduler =
        scheduler_api::SchedulerDoor { doors: doors.clone(), handle: handle.clone(), audit: audit.clone() };
    let agents = agent_api::AgentDoor {
        doors: doors.clone(),
        handle: handle.clone(),
        model: model.clone(),
        vault: vault.clone(),
        audit: audit.clone(),
    };
    let raft = |tell| raft_api::RaftDoor {
        id: config.id,
        cluster: cluster.clone(),
        members: config.members.clone(),
        tell,
        heard: heard.clone(),
    };
    let (registry_raft, store_raft) = (raft(tell), raft_api::StoreRaftDoor(raft(state.tell.clone())));
    let (watched, audited_model, saves) = (model.clone(), model.clone(), doors.clone());
    let show_state = state.show;
    let operator = operator_api::OperatorDoor {
        id: config.id,
        members: config.members.clone(),
        ca_sha256: credentials.ca_sha256()?,
        authority,
        authority_dir: config.authority_dir.clone(),
        doors,
        handle: handle.clone(),
        model,
        vault,
        heard,
    };
    let audited = operator_audit::AuditedDoor { door: operator, audit: audit.clone(), model: audited_model };
    let backups = backup_api::BackupDoor {
        cluster: cluster.clone(),
        members: config.members.clone(),
        doors: saves,
        handle: handle.clone(),
        store: state.saving,
        audit: audit.clone(),
    };
    let routes = Routes::new(SchedulerServer::new(scheduler))
        .add_service(AgentLinkServer::new(agents).max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX))
        .add_service(OperatorServer::new(audited))
        .add_service(BackupsServer::new(backups))
        .add_service(StoreServer::new(state.door))
        .add_service(StoreRaftServer::new(store_raft).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
        .add_service(RaftServer::new(registry_raft).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX));
    let vitals = Vitals {
        directory: config.data_dir.clone(),
        certificate_ends_ms: credentials.expires_ms().unwrap_or_default(),
    };
    let authority_dir = config.authority_dir.clone();
    let page = move || {
        vitals.show();
        meters::show_authority(authority_dir.as_deref());
        meters::show(&watched.standing());
        show_state();
        render_metrics()
    };
    let routes = proto_grpc::with_metrics_if(routes, page, |who| {
        authorize(&Caller::from(who.clone()), &Action::ReadMetrics).map_err(|refusal| refusal.message)
    });
    let routes = proto_grpc::with_gate(routes, Arc::new(gate::MasterGate { audit: audit.clone() }));
    info!(master_id = config.id.0, listen = %config.listen, "master");

    let stopped = async {
        tokio::select! {
            () = shutdown => None,
            why = &mut end => Some(why.unwrap_or_else(|_| "its thread is gone".to_owned())),
            why = store_end.why() => Some(format!("the frameworks' state: {why}")),
        }
    };
    let (why, told) = oneshot::channel();
    let closing = async {
        let _ = why.send(stopped.await);
    };
    proto_grpc::serve(listener, &credentials, routes, closing).await?;
    handle.close();
    (state.close)();
    sealing.abort();
    let told = match told.await {
        Ok(Some(why)) => Err(RunError::Stopped(why)),
        Ok(None) | Err(_) => {
            // Until its thread is gone the disk is in use, and whoever runs a master again at once would find it so.
            let _ = end.await;
            store_end.why().await;
            Ok(())
        }
    };
    audit.close();
    told
}

/// Differs between members and between starts of one member, as consensus asks.
fn seed(config: &Config) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64) ^ (config.id.0 << 56) ^ u64::from(std::process::id()).rotate_left(32)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
