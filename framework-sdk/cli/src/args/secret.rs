//! What can be typed about secrets.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use proto::id::SecretName;
use proto::role::Role;

use crate::failure::Failure;

use super::{Form, Format, OrderArgs, parse_role};

pub(super) const SECRET_EXAMPLES: &str = "Examples:
  stoa secret set db-password --file password.txt
  pass show db | stoa secret set db-password --role eng/web
  stoa secret get
  stoa secret rm db-password --role eng/web

A value is read from a file or from standard input, as it is: a line end belongs to it. It is never shown again.";

/// What can be done with secrets.
#[derive(Clone, Debug, Subcommand)]
pub enum SecretVerb {
    /// Set what a secret holds; tasks that start from now on are given it
    #[command(after_help = SECRET_EXAMPLES)]
    Set(SecretSetArgs),
    /// List secrets, without what they hold: the same as `get secrets`
    #[command(after_help = SECRET_EXAMPLES)]
    Get(SecretGetArgs),
    /// Remove a secret; tasks that run keep what they were given
    #[command(after_help = SECRET_EXAMPLES)]
    Rm(SecretRmArgs),
}

/// A secret as it is typed.
#[derive(Clone, Debug)]
pub struct Meant {
    role: Option<Role>,
    name: SecretName,
}

/// Sets a secret.
#[derive(Clone, Debug, Args)]
pub struct SecretSetArgs {
    /// How tasks name it; ROLE/NAME names its role too
    #[arg(value_name = "NAME", value_parser = meant)]
    pub secret: Meant,
    /// For tasks of this role and of those below it [default: default]
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,
    /// The file that holds the value; - or left out: standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Lists secrets.
#[derive(Clone, Debug, Args)]
pub struct SecretGetArgs {
    /// Only these
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Removes a secret.
#[derive(Clone, Debug, Args)]
pub struct SecretRmArgs {
    /// Which; ROLE/NAME names its role too
    #[arg(value_name = "NAME", value_parser = meant)]
    pub secret: Meant,
    /// Of which role [default: default]
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

// === impl SecretVerb ===

impl SecretVerb {
    /// How its failures are written.
    pub(crate) fn form(&self) -> Form {
        match self {
            SecretVerb::Set(args) => args.order.output,
            SecretVerb::Rm(args) => args.order.output,
            SecretVerb::Get(args) if args.output == Format::Json => Form::Json,
            SecretVerb::Get(_) => Form::Text,
        }
    }
}

// === impl Meant ===

impl Meant {
    /// The role and the name, with what `--role` says.
    pub(crate) fn with(&self, role: Option<&Role>) -> Result<(Role, SecretName), Failure> {
        match (&self.role, role) {
            (Some(one), Some(other)) if one != other => {
                let message = format!("{one}/{} and --role {other} name two roles", self.name);
                Err(Failure::usage(message, "name one of them"))
            }
            (one, other) => {
                let role = one.as_ref().or(other).cloned().unwrap_or_else(Role::default_role);
                Ok((role, self.name.clone()))
            }
        }
    }
}

fn meant(text: &str) -> Result<Meant, String> {
    // No name holds a slash, and roles may.
    let (role, name) = match text.rsplit_once('/') {
        Some((role, name)) => (Some(parse_role(role)?), name),
        None => (None, text),
    };
    let name = SecretName::new(name).map_err(|bad| format!("{name:?} {bad}"))?;
    Ok(Meant { role, name })
}
