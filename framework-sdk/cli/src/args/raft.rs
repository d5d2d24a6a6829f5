//! What can be typed about the group of masters.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{OrderArgs, StatusArgs};
use crate::duration::parse_duration;

pub(super) const RAFT_EXAMPLES: &str = "Examples:
  stoa raft status
  stoa raft add 10.0.0.4:7070
  stoa raft replace 3 10.0.0.4:7070
  stoa raft remove 3
  stoa raft transfer 2";

const STATUS_EXAMPLES: &str = "Examples:
  stoa raft status
  stoa raft status -o json";

const ADD_EXAMPLES: &str = "Examples:
  stoa raft add 10.0.0.4:7070
      prints what to type on the machine of the new master; from when it has everything it votes
  stoa raft add 10.0.0.4:7070 --wait
  stoa raft add 10.0.0.4:7070 --dry-run";

const REMOVE_EXAMPLES: &str = "Examples:
  stoa raft remove 3
      one that leads hands over before
  stoa raft remove 3 --wait
  stoa raft remove 3 --dry-run";

const REPLACE_EXAMPLES: &str = "Examples:
  stoa raft replace 3 10.0.0.4:7070
      a new master comes, and when it has everything, master 3 goes
  stoa raft replace 3
      the same where the old one was: its disk is lost, or damaged and moved away";

const CANCEL_EXAMPLES: &str = "Examples:
  stoa raft cancel
  stoa raft cancel --dry-run";

const TRANSFER_EXAMPLES: &str = "Examples:
  stoa raft transfer 2
  stoa raft transfer
      to whichever has everything";

/// What can be done with the group of masters.
#[derive(Clone, Debug, Subcommand)]
pub enum RaftVerb {
    /// Who the masters are, who leads, and which change is under way
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Let a new master come into the group
    #[command(after_help = ADD_EXAMPLES)]
    Add(AddArgs),
    /// Let a master leave the group
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(RemoveArgs),
    /// Let a new master come, and another leave when it has come
    #[command(after_help = REPLACE_EXAMPLES)]
    Replace(ReplaceArgs),
    /// Take back the change of masters that is under way
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(CancelArgs),
    /// Let another master lead
    #[command(after_help = TRANSFER_EXAMPLES)]
    Transfer(TransferArgs),
}

/// Lets a master come.
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// Where its door is, as others reach it
    #[arg(value_name = "HOST:PORT")]
    pub address: String,
    /// What is said of the newcomer
    #[command(flatten)]
    pub comes: ComesArgs,
    /// How long the command stays
    #[command(flatten)]
    pub stays: StaysArgs,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// What is said of a master that comes.
#[derive(Clone, Debug, Args)]
pub struct ComesArgs {
    /// Its number; one that no master has had [default: the next one]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: Option<u64>,
    /// How long the token is good with which it joins
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1h")]
    pub ttl: Duration,
}

/// How long a command stays.
#[derive(Clone, Copy, Debug, Args)]
pub struct StaysArgs {
    /// Stay until both groups of the masters have changed
    #[arg(long)]
    pub wait: bool,
    /// Stay no longer than this: exit code 5 if the change is not through
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub at_most: Option<Duration>,
}

/// Lets a master leave.
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// Its number
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,
    /// How long the command stays
    #[command(flatten)]
    pub stays: StaysArgs,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Lets one come and another leave.
#[derive(Clone, Debug, Args)]
pub struct ReplaceArgs {
    /// The number of the one that leaves
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub leaves: u64,
    /// Where the door of the new one is [default: where that of the old one is]
    #[arg(value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// What is said of the newcomer
    #[command(flatten)]
    pub comes: ComesArgs,
    /// How long the command stays
    #[command(flatten)]
    pub stays: StaysArgs,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Takes a change back.
#[derive(Clone, Debug, Args)]
pub struct CancelArgs {
    /// How long the command stays
    #[command(flatten)]
    pub stays: StaysArgs,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Lets another lead.
#[derive(Clone, Debug, Args)]
pub struct TransferArgs {
    /// Its number [default: whichever has everything]
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

impl RaftVerb {
    /// How the answer is told.
    pub fn output(&self) -> super::Form {
        match self {
            RaftVerb::Status(args) => args.output,
            RaftVerb::Add(args) => args.order.output,
            RaftVerb::Remove(args) => args.order.output,
            RaftVerb::Replace(args) => args.order.output,
            RaftVerb::Cancel(args) => args.order.output,
            RaftVerb::Transfer(args) => args.order.output,
        }
    }
}
