//! What can be typed about settings.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Form;
use crate::settings::Role;

pub(super) const CHECK_EXAMPLES: &str = "Examples:
  stoa config check /etc/stoa/agent.toml
  stoa config check /etc/stoa/agent.toml --running
  stoa config check /etc/stoa/agent.toml --master 10.0.0.1:7070 -o json";

pub(super) const PRINT_EXAMPLES: &str = "Examples:
  stoa config print
  stoa config print agent --origin -c /etc/stoa/agent.toml
  stoa config print agent --origin -- --listen 10.0.0.2:7071 --share 2";

/// What can be done with settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say what is wrong with a file of settings: exit code 2 if anything is
    #[command(after_help = CHECK_EXAMPLES)]
    Check(ConfigCheckArgs),
    /// Print every setting with its value, as a process would take it that is started here
    #[command(after_help = PRINT_EXAMPLES)]
    Print(ConfigPrintArgs),
}

/// Checks a file.
#[derive(Clone, Debug, Args)]
pub struct ConfigCheckArgs {
    /// TOML with the tables [master], [agent] and [jobs], as far as they are wanted
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Check it against the cluster that runs, too: exit code 1 if something of it is not there
    #[arg(long)]
    pub running: bool,
    /// The same, and ask this master rather than those of the context (may be repeated)
    #[arg(long = "master", value_name = "HOST:PORT")]
    pub masters: Vec<String>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

impl ConfigCheckArgs {
    /// Whether somebody has to be asked.
    pub fn asks(&self) -> bool {
        self.running || !self.masters.is_empty()
    }
}

/// Prints settings.
#[derive(Clone, Debug, Args)]
pub struct ConfigPrintArgs {
    /// Of which kind of process [default: all, and of this command]
    #[arg(value_enum, value_name = "ROLE")]
    pub role: Option<Role>,
    /// With this file of settings
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Say where each value comes from: default, file, environment or flag
    #[arg(long)]
    pub origin: bool,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
    /// Flags of that process
    #[arg(last = true, value_name = "FLAGS", allow_hyphen_values = true)]
    pub flags: Vec<String>,
}
