//! What can be typed about what an agent's resources are kept for: reservations and volumes.

use clap::{ArgGroup, Args, Subcommand};
use proto::id::VolumeId;
use proto::quantities::{Quantities, Scalar, parse_bytes, parse_milli};
use proto::ranges::Ranges;
use proto::resources::Amount;
use proto::role::Role;

use super::{Form, OrderArgs, parse_role};

pub(super) const RESERVE_EXAMPLES: &str = "Examples:
  stoa reserve agent-1 --role eng --cpus 2 --mem 4GiB
  stoa reserve agent-1 --role eng --disk 100GiB --ports 8000-8009
  stoa reserve agent-1 --role eng --cpus 2 --dry-run
  stoa get reservations

Undo it with `stoa unreserve` and the same words.";

pub(super) const UNRESERVE_EXAMPLES: &str = "Examples:
  stoa unreserve agent-1 --role eng --cpus 2 --mem 4GiB
  stoa get reservations";

pub(super) const VOLUME_EXAMPLES: &str = "Examples:
  stoa reserve agent-1 --role eng --disk 100GiB
  stoa volume create agent-1 db --role eng --size 100GiB
  stoa volume list
  stoa volume destroy agent-1 db";

/// Keeps resources of an agent for a role, or gives them back.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["cpus", "mem", "disk", "gpus", "ports"])))]
pub struct ReserveArgs {
    /// Of which agent: id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// For which role, and those below it
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// Processors, such as 0.5 or 2
    #[arg(long, value_name = "N", value_parser = milli)]
    pub cpus: Option<u64>,
    /// Memory, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub mem: Option<u64>,
    /// Disk, such as 100GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub disk: Option<u64>,
    /// Whole graphics processors
    #[arg(long, value_name = "N")]
    pub gpus: Option<u64>,
    /// Ports, such as 8080 or 31000-31009,32000
    #[arg(long, value_name = "PORTS", value_parser = ports)]
    pub ports: Option<Ranges>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// What can be done with persistent volumes.
#[derive(Clone, Debug, Subcommand)]
pub enum VolumeVerb {
    /// Make a volume of disk that is reserved for a role
    #[command(after_help = VOLUME_EXAMPLES)]
    Create(VolumeCreateArgs),
    /// List the volumes: the same as `get volumes`
    #[command(after_help = VOLUME_EXAMPLES)]
    List(VolumeListArgs),
    /// Destroy a volume and what is on it; its disk stays reserved
    #[command(after_help = VOLUME_EXAMPLES)]
    Destroy(VolumeDestroyArgs),
}

/// Makes a volume.
#[derive(Clone, Debug, Args)]
pub struct VolumeCreateArgs {
    /// On which agent: id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// How tasks find it; the role has no other of this name on the agent
    #[arg(value_name = "NAME", value_parser = volume)]
    pub volume: VolumeId,
    /// For which role the disk is reserved
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// How large, such as 100GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub size: u64,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Lists volumes.
#[derive(Clone, Debug, Args)]
pub struct VolumeListArgs {
    /// Only on this agent (id or hostname)
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: super::Format,
}

/// Destroys a volume.
#[derive(Clone, Debug, Args)]
pub struct VolumeDestroyArgs {
    /// On which agent: id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// Which
    #[arg(value_name = "NAME", value_parser = volume)]
    pub volume: VolumeId,
    /// Of which role, where several have a volume of this name
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

// === impl ReserveArgs ===

impl ReserveArgs {
    /// How much.
    pub fn amount(&self) -> Amount {
        let mut scalars = Quantities::ZERO;
        let all = [
            (Scalar::Cpus, self.cpus),
            (Scalar::Mem, self.mem),
            (Scalar::Disk, self.disk),
            (Scalar::Gpus, self.gpus),
        ];
        for (scalar, amount) in all {
            scalars.set(&scalar, amount.unwrap_or(0));
        }
        Amount::scalars(scalars).with_ports(self.ports.clone().unwrap_or_default())
    }
}

// === impl VolumeVerb ===

impl VolumeVerb {
    /// How its failures are written.
    pub(crate) fn form(&self) -> Form {
        match self {
            VolumeVerb::Create(args) => args.order.output,
            VolumeVerb::Destroy(args) => args.order.output,
            VolumeVerb::List(args) if args.output == super::Format::Json => Form::Json,
            VolumeVerb::List(_) => Form::Text,
        }
    }
}

fn milli(text: &str) -> Result<u64, String> {
    parse_milli(text).map_err(|bad| bad.to_string())
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).map_err(|bad| bad.to_string())
}

fn ports(text: &str) -> Result<Ranges, String> {
    text.parse().map_err(|bad: proto::ranges::BadRanges| bad.to_string())
}

fn volume(text: &str) -> Result<VolumeId, String> {
    VolumeId::new(text).map_err(|bad| bad.to_string())
}
