//! The command line of `stoa snapshot restore`.

use std::path::PathBuf;

use proto::id::MasterId;

use super::Restoring;
use crate::args::member;

/// The command line of `stoa snapshot restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// What `stoa snapshot save` made.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory of the master that is restored: one without a log.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The number of this member.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    id: u64,
    /// Every member of the new group: NUMBER=HOST:PORT; once for each [default: those that the backup was made of]
    #[arg(long = "member", value_name = "MEMBER", value_parser = member)]
    members: Vec<(MasterId, String)>,
    /// A copy of the cluster's authority: this member gets it, and a certificate [default: it has them already]
    #[arg(long, value_name = "DIR")]
    authority: Option<PathBuf>,
    /// The second since 1970 at which the new log begins: the same for each member, and later at each restoring
    /// [default of a group of one: now]
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
    /// Check everything, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

impl From<RestoreArgs> for Restoring {
    fn from(args: RestoreArgs) -> Self {
        Restoring {
            file: args.file,
            id: MasterId(args.id),
            members: args.members.into_iter().collect(),
            data_dir: args.data_dir,
            authority: args.authority,
            at_s: args.at,
        }
    }
}
