//! What can be typed about the audit log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use proto_audit::Seal;

use super::{EventForm, Form};

pub(super) const AUDIT_EXAMPLES: &str = "Examples:
  stoa audit tail
  stoa audit tail -f --denied
  stoa audit tail --principal framework/spark -n 1000 -o json
  stoa audit verify
  stoa audit verify --dir /var/lib/stoa/master/audit";

/// What can be done with the audit log.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditVerb {
    /// Print who did what, and what was denied: the last entries of all masters that answer, by time
    #[command(after_help = AUDIT_EXAMPLES)]
    Tail(AuditTailArgs),
    /// Check that nothing was edited, removed, inserted or cut off: exit code 0 all is whole, 1 not, 5 a master does not answer
    #[command(after_help = AUDIT_EXAMPLES)]
    Verify(AuditVerifyArgs),
}

/// Prints the last entries.
#[derive(Clone, Debug, Args)]
pub struct AuditTailArgs {
    /// Stay, and print what comes
    #[arg(short, long)]
    pub follow: bool,
    /// So many of the last ones
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub last: u32,
    /// Only of this principal, such as framework/spark, user/ada or nobody
    #[arg(long, value_name = "PRINCIPAL", default_value = "", hide_default_value = true)]
    pub principal: String,
    /// Only what was denied
    #[arg(long)]
    pub denied: bool,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: EventForm,
}

/// Checks it.
#[derive(Clone, Debug, Args)]
pub struct AuditVerifyArgs {
    /// A copy of a master's audit directory, instead of asking the masters; once for each master. What one has seen of another
    /// is checked too
    #[arg(long = "dir", value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// A head that an earlier run has printed, as MASTER/SEQUENCE:HASH: that entry must be there, and be the same
    #[arg(long = "head", value_name = "HEAD")]
    pub heads: Vec<Seal>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}
