//! A master as a process: its doors, its disk, and the machine between them.

mod agent_api;
mod args;
mod audit;
pub mod backup;
mod backup_api;
mod begun;
mod book;
mod caller;
mod conceal;
mod config;
mod doors;
pub mod founding;
mod gate;
mod history;
mod limits;
mod log;
mod meters;
mod operator_api;
mod operator_audit;
mod parts;
mod peers;
mod perform;
mod raft_api;
mod read_model;
mod room;
mod scheduler_api;
mod store;
mod vault;

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use master_core::{Master, Unfit};
use master_raft::Bearing;
use master_storage::{Disk, LogStore};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::MasterId;
use proto_drive::{Ended, Handle, show_vitals};
use proto_grpc::services::agent_link::agent_link_server::AgentLinkServer;
use proto_grpc::services::backups::backups_server::BackupsServer;
use proto_grpc::services::operator::operator_server::OperatorServer;
use proto_grpc::services::raft::raft_server::RaftServer;
use proto_grpc::services::scheduler::scheduler_server::SchedulerServer;
use proto_grpc::services::store::store_server::StoreServer;
use proto_grpc::services::store_raft::store_raft_server::StoreRaftServer;
use proto_grpc::{Shown, renew};
use proto_pki::{Authority, Credentials, Identity, PkiError};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tonic::service::Routes;
use tracing::info;

pub use args::MasterArgs;
pub use config::{Config, Limits, StoreLimits};
pub use perform::Fault;

use crate::begun::Begun;
use crate::book::Book;
use crate::perform::{Hands, REGISTRY};

/// The largest message a peer may send: the parts of larger ones are below a MiB, entries of a batch a few.
const PEER_MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The largest message of an agent: it registers with every run it has, some thousands of a few KiB at worst.
const AGENT_MESSAGE_BYTES_MAX: usize = 32 << 20;

/// An unanswered offer stands for so long in any case. A framework that decides by itself has decided by then.
const HOLD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// In the data directory of a master that was removed.
const REMOVED: &str = "removed";

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
    /// The group does without it.
    #[error(
        "master {id} was removed from its group, and stops; nobody comes back under a number that was removed: to have a \
         master here again, move {dir} away, and put a new one on the list with `stoa raft add`"
    )]
    Removed {
        /// Which.
        id: MasterId,
        /// Its data directory.
        dir: PathBuf,
    },
    /// Its disk cannot be read.
    #[error("the data directory of this master cannot be used")]
    Store(#[source] master_storage::Error),
    /// Something is missing or changed that was once durable.
    #[error("{}: {source}", replaced(*.id, .dir))]
    Damaged {
        /// Which master.
        id: MasterId,
        /// Its data directory.
        dir: PathBuf,
        /// What is wrong.
        source: master_storage::Error,
    },
    /// What its disk holds does not fit together.
    #[error("{}: {unfit}", replaced(*.id, .dir))]
    Unfit {
        /// Which master.
        id: MasterId,
        /// Its data directory.
        dir: PathBuf,
        /// What is wrong.
        unfit: Box<Unfit>,
    },
    /// It had a log, and has none.
    #[error("{}: it had a log, and {} is not there any more", replaced(*.id, .dir), .dir.join("log").display())]
    LogLost {
        /// Which master.
        id: MasterId,
        /// Its data directory.
        dir: PathBuf,
    },
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

/// What to do with a master that may have acknowledged what it no longer has.
fn replaced(id: MasterId, dir: &Path) -> String {
    format!(
        "master {id} must not go on with what is in {}, since it may have acknowledged what is not there; the other masters have \
         it: move that directory away, and put a new master on the list in its place with `stoa raft replace {id}`",
        dir.display()
    )
}

/// A file in a data directory that cannot be used.
pub(crate) fn unusable(id: MasterId, dir: &Path, source: master_storage::Error) -> RunError {
    match source.is_damage() {
        true => RunError::Damaged { id, dir: dir.to_owned(), source },
        false => RunError::Store(source),
    }
}

/// Opens what a group has stored. A log that is empty, though there was one, is as bad as a damaged one.
pub(crate) fn recover(
    config: &Config,
    dir: &Path,
    group: master_storage::Group,
    begun: &Begun,
) -> Result<(Disk, master_raft::Recovered), RunError> {
    let bad = |source| unusable(config.id, &config.data_dir, source);
    let mut store = Disk::open(dir).map_err(bad)?;
    let recovered = store.recover(group).map_err(bad)?;
    if recovered.is_blank() && begun.is_noted() {
        return Err(RunError::LogLost { id: config.id, dir: dir.to_owned() });
    }
    Ok((store, recovered))
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
    if config.data_dir.join(REMOVED).exists() {
        return Err(RunError::Removed { id: config.id, dir: config.data_dir });
    }
    let shown = Shown::new(Credentials::load(&config.credentials_dir)?)?;
    let (cluster, _) = shown.now().identity()?;
    let authority = config.authority_dir.as_deref().map(Authority::load).transpose()?.map(Arc::new);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| RunError::Listen { address: config.listen, source })?;

    make_private(&config.data_dir)?;
    let begun = Begun::new(config.data_dir.join("begun"));
    let (store, recovered) = recover(&config, &config.data_dir, REGISTRY, &begun)?;
    let book = Book::of(&config.members);
    let mut core = master_core::Config::new(config.id, config.members.clone(), seed(&config));
    core.founds = config.founds;
    core.offer_timeout = config.offer_timeout.unwrap_or(core.offer_timeout);
    core.agent_unreachable_after = config.agent_unreachable_after.unwrap_or(core.agent_unreachable_after);
    core.root_tasks.clone_from(&config.root_tasks);
    core.hold_share_milli = config.limits.hold_share_milli;
    core.hold_patience = (config.limits.hold_share_milli < 1000).then_some(HOLD_PATIENCE);
    let machine = Master::recover(core, recovered).map_err(|unfit| RunError::Unfit {
        id: config.id,
        dir: config.data_dir.clone(),
        unfit: Box::new(unfit),
    })?;

    let audit = audit::Audit::start(&config.data_dir.join("audit"), config.id, config.limits.audit_bytes)?;
    let doors = Arc::new(doors::Doors::default());
    let model = Arc::new(read_model::ReadModel::default());
    let heard = Arc::new(peers::Heard::default());
    let removed = Arc::new(watch::Sender::new(false));
    let own = peers::Own {
        id: config.id,
        cluster: cluster.clone(),
        shown: shown.clone(),
        book: book.clone(),
        removed: removed.clone(),
    };
    let reporting = peers::Reporting::default();
    let store_end = store::Ending::default();
    let state_seed = seed(&config).rotate_left(16);
    let state = store::start(&config, own.clone(), state_seed, store_end.clone(), audit.clone())?;
    let sealing = tokio::spawn(audit::keep_sealed(audit.clone(), own.clone()));
    let peers = peers::Peers::start(own, peers::Talk::Registry, reporting.clone());
    let vault = Arc::new(vault::Vault::of(authority.as_deref())?);
    let hands = Hands {
        store,
        doors: doors.clone(),
        peers,
        model: model.clone(),
        vault: vault.clone(),
        book: book.clone(),
        tell_store: state.tell_roster,
        meters: meters::Meters::default(),
        audit: audit.clone(),
        begun,
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

    tokio::spawn(tell_members(state.members, handle.clone()));
    tokio::spawn(room::watch(config.data_dir.clone(), vec![tell.clone(), state.tell.clone()]));

    let buckets = Arc::new(limits::Buckets::new(config.limits.calls_a_second));
    let scheduler = scheduler_api::SchedulerDoor {
        doors: doors.clone(),
        handle: handle.clone(),
        audit: audit.clone(),
        buckets: buckets.clone(),
    };
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
        book: book.clone(),
        tell,
        heard: heard.clone(),
    };
    let (registry_raft, store_raft) = (raft(tell), raft_api::StoreRaftDoor(raft(state.tell.clone())));
    let (watched, audited_model, saves) = (model.clone(), model.clone(), doors.clone());
    let show_state = state.show;
    let operator = operator_api::OperatorDoor {
        id: config.id,
        book: book.clone(),
        ca_sha256: shown.now().ca_sha256()?,
        authority: authority.clone(),
        lifetime: config.limits.certificate_lifetime,
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
        book,
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
    let renewing = tokio::spawn(keep_certified(shown.clone(), &config, authority));
    let (directory, of_now) = (config.data_dir.clone(), shown.clone());
    let authority_dir = config.authority_dir.clone();
    let page = move || {
        show_vitals(&directory, of_now.times_ms());
        meters::show_authority(authority_dir.as_deref());
        meters::show(&watched.standing());
        show_state();
        render_metrics()
    };
    let routes = proto_grpc::with_metrics_if(routes, page, |who| {
        authorize(&Caller::from(who.clone()), &Action::ReadMetrics).map_err(|refusal| refusal.message)
    });
    let routes = proto_grpc::with_gate(routes, Arc::new(gate::MasterGate { audit: audit.clone(), buckets }));
    info!(master_id = config.id.0, listen = %config.listen, "master");

    let stopped = async {
        tokio::select! {
            () = shutdown => None,
            why = &mut end => Some(why.unwrap_or_else(|_| "its thread is gone".to_owned())),
            why = store_end.why() => Some(format!("the frameworks' state: {why}")),
            () = told_removed(&removed) => Some(String::new()),
        }
    };
    let (why, told) = oneshot::channel();
    let closing = async {
        let _ = why.send(stopped.await);
    };
    proto_grpc::serve_shown(listener, &shown, routes, closing).await?;
    renewing.abort();
    handle.close();
    (state.close)();
    sealing.abort();
    let told = match told.await {
        Ok(Some(why)) if !*removed.borrow() => Err(RunError::Stopped(why)),
        Ok(Some(_)) => {
            // The next start knows without asking anybody.
            let note = format!("master {} was removed from its group\n", config.id);
            let _ = fs::write(config.data_dir.join(REMOVED), note);
            Err(RunError::Removed { id: config.id, dir: config.data_dir })
        }
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

/// Keeps this master's certificate good: with the authority it makes the next one itself. One that holds none shows what is
/// put into its directory.
fn keep_certified(
    shown: Shown,
    config: &Config,
    authority: Option<Arc<Authority>>,
) -> impl Future<Output = ()> + Send + use<> {
    let (own, lifetime) = (Identity::Master(config.id), config.limits.certificate_lifetime);
    renew::keep(shown, config.credentials_dir.clone(), move || {
        let made = match &authority {
            Some(authority) => authority.issue(&own, lifetime).map_err(|error| chain(&error)),
            None => {
                Err("this master holds no authority; put a new certificate into its directory".to_owned())
            }
        };
        std::future::ready(made)
    })
}

/// Tells the registry's machine how the other group stands, whenever that changes.
async fn tell_members(mut members: watch::Receiver<Bearing>, handle: Handle<master_core::Input>) {
    members.mark_changed();
    while members.changed().await.is_ok() {
        let now = members.borrow_and_update().clone();
        if handle.send_async(master_core::Input::StoreMembers(now)).await.is_err() {
            return;
        }
    }
}

async fn told_removed(removed: &watch::Sender<bool>) {
    if removed.subscribe().wait_for(|removed| *removed).await.is_err() {
        std::future::pending::<()>().await;
    }
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
