//! Why an agent cannot start, or had to end.

use std::io;
use std::path::PathBuf;

use proto::refusal::Refusal;

use crate::config::BadConfig;
use crate::facts::FactsError;
use crate::ledger;

/// Why an agent cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// The machine, or the agent's own id.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The ledger cannot be written any more.
    #[error(transparent)]
    Disk(#[from] ledger::Fatal),
    /// The sandboxes' directory.
    #[error(
        "cannot create the sandboxes' directory in {work_dir}; name a --work-dir that this user may write to, on a disk with room"
    )]
    Sandboxes {
        /// The work directory.
        work_dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The credentials cannot be used.
    #[error("the credentials in {dir} cannot be used")]
    Credentials {
        /// Where they are.
        dir: PathBuf,
        /// Why not.
        source: proto_pki::PkiError,
    },
    /// There are no credentials, and no token to get them with.
    #[error(
        "there are no credentials in {0}; give --join a token (`stoa token create --kind agent` makes one)"
    )]
    NoCredentials(PathBuf),
    /// Joining failed.
    #[error("cannot join the cluster: {0}")]
    Join(#[from] proto_grpc::join::JoinError),
    /// The keeper or the cgroups.
    #[error("cannot run containers")]
    Containers(#[from] agent_containerizer::Error),
    /// The door cannot be opened.
    #[error("cannot listen on {address}; is another process using it? --listen names another")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The door closed by itself.
    #[error("the agent's door closed")]
    Door(#[from] proto_grpc::ServeError),
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The pool sent the agent away.
    #[error("the pool does not take this agent: {0}")]
    Refused(Refusal),
    /// A fault of ours; it is in the log.
    #[error("the agent's machine stopped; the log says why")]
    Stopped,
}
