//! What the jobs framework is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use framework_sdk::framework::FrameworkInfo;
use framework_sdk::role::Role;

/// The command line of `stoa framework jobs`.
#[derive(Clone, Debug, clap::Args)]
pub struct JobsArgs {
    /// HOST:PORT of a master; once for each
    #[arg(long = "master", value_name = "HOST:PORT", required = true)]
    masters: Vec<String>,
    /// Where its journal is kept
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where ca.pem, cert.pem and key.pem are
    #[arg(long, value_name = "DIR")]
    credentials: PathBuf,
    /// Where its own door listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What others reach the door by; from --listen if not given
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The role of jobs that name none
    #[arg(long, default_value = "default", value_parser = role)]
    role: Role,
    /// How long its tasks live on after it disconnects, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = FrameworkInfo::FAILOVER_TIMEOUT_DEFAULT.as_secs())]
    failover_timeout_s: u64,
}

fn role(text: &str) -> Result<Role, String> {
    Role::new(text).map_err(|bad| bad.to_string())
}

/// What the jobs framework is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of the masters.
    pub masters: Vec<String>,
    /// Where its journal is kept.
    pub data_dir: PathBuf,
    /// Where its certificate is.
    pub credentials_dir: PathBuf,
    /// Where its own door listens.
    pub listen: SocketAddr,
    /// What others reach the door by, if not where it listens.
    pub advertise: Option<String>,
    /// The role of jobs that name none.
    pub role: Role,
    /// How long its tasks live on after it disconnects.
    pub failover_timeout: Duration,
}

impl From<JobsArgs> for Config {
    fn from(args: JobsArgs) -> Config {
        Config {
            masters: args.masters,
            data_dir: args.data_dir,
            credentials_dir: args.credentials,
            listen: args.listen,
            advertise: args.advertise,
            role: args.role,
            failover_timeout: Duration::from_secs(args.failover_timeout_s),
        }
    }
}
