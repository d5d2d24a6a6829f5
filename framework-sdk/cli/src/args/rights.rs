//! What can be typed about who comes in and what they may.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use proto::caller::Caller;
use proto::rights::RolePattern;
use proto::role::Role;

use crate::duration::parse_duration;

use super::{Form, OrderArgs, parse_role};

pub(super) const TOKEN_EXAMPLES: &str = "Examples:
  stoa token create --kind agent
  stoa token create --kind framework --name spark --ttl 10m
  stoa token create --kind framework --name etl --role 'prod/*' --role default
  stoa token create --kind user --name ada

Use it with `stoa agent --join TOKEN`, or `stoa join TOKEN` for a framework or a person.";

pub(super) const AUTH_EXAMPLES: &str = "Examples:
  stoa auth whoami
  stoa auth can-i subscribe --role prod/etl --as framework/spark
  stoa auth grant framework/spark --role 'prod/*' --role default
  stoa auth principals";

pub(super) const CAN_I_EXAMPLES: &str = "Examples:
  stoa auth can-i kill-task
  stoa auth can-i subscribe --role prod/etl --as framework/spark
  stoa auth can-i run-as --user root --as framework/jobs
  stoa auth can-i read-environment --owner framework/jobs --as framework/spark";

pub(super) const GRANT_EXAMPLES: &str = "Examples:
  stoa auth grant framework/spark --role 'prod/*' --role default
  stoa auth grant framework/jobs --role '*' --dry-run
  stoa auth revoke framework/spark";

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token with which somebody joins; it is shown once
    Create(TokenArgs),
}

/// What a token makes of whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenFor {
    /// An agent
    Agent,
    /// A framework
    Framework,
    /// A member of the group of masters that was named at its founding
    Master,
    /// A person
    User,
}

/// Makes a join token.
#[derive(Clone, Debug, Args)]
#[command(
    group(ArgGroup::new("whom").required(true).args(["kind", "agent", "framework"])),
    after_help = TOKEN_EXAMPLES
)]
pub struct TokenArgs {
    /// For what
    #[arg(long, visible_alias = "for", value_enum)]
    pub kind: Option<TokenFor>,
    /// For whom: a framework's principal, a user, or the number of a master; agents need none
    #[arg(long, value_name = "NAME", requires = "kind")]
    pub name: Option<String>,
    /// For an agent: the same as --kind agent
    #[arg(long)]
    pub agent: bool,
    /// For the framework of this name: the same as --kind framework --name NAME
    #[arg(long, value_name = "NAME")]
    pub framework: Option<String>,
    /// For how long it can be used
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1h")]
    pub ttl: Duration,
    /// How often it can be used
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// The roles that the framework may take offers in from then on: eng that one, eng/* those below it, * all; once for
    /// each [default: what it may already; a new one default, its own name, and those below its name]
    #[arg(long = "role", value_name = "PATTERN")]
    pub roles: Vec<RolePattern>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// What can be asked and said of rights.
#[derive(Clone, Debug, Subcommand)]
pub enum AuthVerb {
    /// Who I am to this cluster, and what I may
    #[command(after_help = AUTH_EXAMPLES)]
    Whoami(FormArgs),
    /// Whether I, or somebody else, may do something: exit code 0 yes, 1 no
    #[command(name = "can-i", after_help = CAN_I_EXAMPLES)]
    CanI(CanIArgs),
    /// The frameworks that were granted roles
    #[command(after_help = AUTH_EXAMPLES)]
    Principals(FormArgs),
    /// Say in which roles a framework may take offers: in these, and no others
    #[command(after_help = GRANT_EXAMPLES)]
    Grant(GrantArgs),
    /// Take back what was granted: the framework may what every framework of its name may
    #[command(after_help = GRANT_EXAMPLES)]
    Revoke(RevokeArgs),
}

/// How an answer is written.
#[derive(Clone, Debug, Args)]
pub struct FormArgs {
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Asks whether somebody may.
#[derive(Clone, Debug, Args)]
pub struct CanIArgs {
    /// What: read, subscribe, run-as, kill-task, set-role, create-token and so on
    #[arg(value_name = "VERB")]
    pub verb: String,
    /// In which role
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,
    /// As which user, of run-as
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Whose things: framework/NAME or user/NAME
    #[arg(long, value_name = "PRINCIPAL")]
    pub owner: Option<String>,
    /// Of whom it is asked, instead of me
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: Option<Caller>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Says in which roles a framework may take offers.
#[derive(Clone, Debug, Args)]
pub struct GrantArgs {
    /// Whom, such as framework/spark
    #[arg(value_name = "PRINCIPAL")]
    pub principal: Caller,
    /// eng that role, eng/* those below it, * all; once for each
    #[arg(long = "role", value_name = "PATTERN", required = true)]
    pub roles: Vec<RolePattern>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Takes back what was granted.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// From whom, such as framework/spark
    #[arg(value_name = "PRINCIPAL")]
    pub principal: Caller,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}
