//! What can be typed about backups of the masters.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Form;

const SAVE_EXAMPLES: &str = "Examples:
  stoa snapshot save pool.backup
  stoa snapshot save /backups/pool-$(date +%F).backup -o json";

const INSPECT_EXAMPLES: &str = "Examples:
  stoa snapshot inspect pool.backup
  stoa snapshot inspect pool.backup -o json";

/// Backups of the masters, while they run and as files.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Save all that the masters remember as a file
    #[command(after_help = SAVE_EXAMPLES)]
    Save(SaveArgs),
    /// Say what is in such a file, and whether it is whole
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
}

/// Saves a backup.
#[derive(Clone, Debug, Args)]
pub struct SaveArgs {
    /// Where; nothing is overwritten
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How what was saved is told
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Looks into a backup.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// Which
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How it is told
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}
