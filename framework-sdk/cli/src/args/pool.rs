//! What can be typed to change the pool: its agents, shares and frameworks.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use proto::role::{Role, Weight};

use crate::duration::parse_duration;
use crate::verbs::quota::Amounts;

use super::{OrderArgs, parse_role};

pub(super) const DRAIN_EXAMPLES: &str = "Examples:
  stoa agent drain agent-3
  stoa agent drain agent-3 --deadline 1h --reason 'new disk' --wait
  stoa agent drain agent-3 --dry-run

Undo it with `stoa agent resume agent-3`.";

pub(super) const RESUME_EXAMPLES: &str = "Examples:
  stoa agent resume agent-3";

pub(super) const QUOTA_EXAMPLES: &str = "Examples:
  stoa quota set eng --guarantee cpus=4,mem=8GiB --limit cpus=8
  stoa quota clear eng";

pub(super) const WEIGHT_EXAMPLES: &str = "Examples:
  stoa weight set eng 2.5";

pub(super) const TEARDOWN_EXAMPLES: &str = "Examples:
  stoa framework teardown spark
  stoa framework teardown spark --yes

`stoa teardown` is the same.";

pub(super) const GONE_EXAMPLES: &str = "Examples:
  stoa agent gone agent-3
  stoa agent gone agent-3 --yes

`stoa gone` is the same.";

/// What can be done with an agent that is in the pool. It stands apart from [`Verb`], beside what runs an agent.
#[derive(Clone, Debug, Subcommand)]
pub enum AgentVerb {
    /// Give an agent no new work; what runs on it ends by itself, or at a deadline
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(DrainArgs),
    /// Give an agent work again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeArgs),
    /// Say that an agent will never be back: its tasks are given up
    #[command(after_help = GONE_EXAMPLES)]
    Gone(GoneArgs),
}

/// What can be done with quota.
#[derive(Clone, Debug, Subcommand)]
pub enum QuotaVerb {
    /// Replace a role's guarantees and limits
    #[command(after_help = QUOTA_EXAMPLES)]
    Set(QuotaArgs),
    /// Take a role's guarantees and limits away
    #[command(after_help = QUOTA_EXAMPLES)]
    Clear(QuotaClearArgs),
}

/// Sets quota.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["guarantee", "limit"])))]
pub struct QuotaArgs {
    /// Of which role
    #[arg(value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// Kept available for it: cpus=4,mem=8GiB
    #[arg(long, value_name = "AMOUNTS")]
    pub guarantee: Option<Amounts>,
    /// Never passed by it and the roles below it: cpus=8,mem=16GiB
    #[arg(long, value_name = "AMOUNTS")]
    pub limit: Option<Amounts>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Clears quota.
#[derive(Clone, Debug, Args)]
pub struct QuotaClearArgs {
    /// Of which role
    #[arg(value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// What can be done with weights.
#[derive(Clone, Debug, Subcommand)]
pub enum WeightVerb {
    /// Replace a role's weight
    #[command(after_help = WEIGHT_EXAMPLES)]
    Set(WeightArgs),
}

/// Sets a weight.
#[derive(Clone, Debug, Args)]
pub struct WeightArgs {
    /// Of which role
    #[arg(value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// 1 is the ordinary share, 2 twice as much; up to three decimals
    #[arg(value_name = "WEIGHT", value_parser = parse_weight)]
    pub weight: Weight,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Ends a framework.
#[derive(Clone, Debug, Args)]
pub struct TeardownArgs {
    /// Which, by id, name or a unique beginning
    #[arg(value_name = "FRAMEWORK")]
    pub framework: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Gives an agent no new work.
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    /// Which, by id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// End what still runs on it after this long, each task with its own grace [default: it runs until it ends]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub deadline: Option<Duration>,
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Stay until nothing runs on it any more
    #[arg(long)]
    pub wait: bool,
    /// Stay no longer than this: exit code 5 if tasks are left
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub at_most: Option<Duration>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Gives an agent work again.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    /// Which, by id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Gives an agent up.
#[derive(Clone, Debug, Args)]
pub struct GoneArgs {
    /// Which, by id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

fn parse_weight(text: &str) -> Result<Weight, String> {
    let milli = proto::quantities::parse_milli(text).map_err(|bad| bad.to_string())?;
    u32::try_from(milli)
        .ok()
        .and_then(Weight::from_milli)
        .ok_or_else(|| format!("{text:?} is not a weight; write a number above 0, such as 0.5 or 2"))
}
