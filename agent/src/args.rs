//! The command line of `stoa agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;

/// The command line of `stoa agent`.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// Where the agent keeps its id, its ledger, its keeper and the sandboxes
    #[arg(long, value_name = "DIR")]
    work_dir: PathBuf,
    /// HOST:PORT of a master; once for each
    #[arg(long = "master", value_name = "HOST:PORT", required = true)]
    masters: Vec<String>,
    /// Where ca.pem, cert.pem and key.pem are [default: credentials, in the work directory]
    #[arg(long, value_name = "DIR")]
    credentials: Option<PathBuf>,
    /// A join token, for the first start (`stoa token create --kind agent` makes one)
    #[arg(long, value_name = "TOKEN", env = "STOA_JOIN", hide_env_values = true)]
    join: Option<String>,
    /// Where the agent's own door listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What others reach the door by; from --listen if not given
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// The name people know the machine by; the system's if not given
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Resources in place of those found, such as "cpus:4;mem:8GiB;disk:20GiB"
    #[arg(long, value_name = "RESOURCES")]
    resources: Option<String>,
    /// Ports to offer, such as "[31000-32000]"
    #[arg(long, value_name = "RANGES")]
    ports: Option<String>,
    /// So many agents share this machine: offer that part of what is found
    #[arg(long, value_name = "AGENTS", default_value_t = 1)]
    share: u32,
    /// What the machine is like, such as zone=b; once for each
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// The cgroup, below the root of each hierarchy, that holds the tasks' cgroups
    #[arg(long, value_name = "PATH", default_value = "/stoa")]
    cgroups_root: String,
    /// The user of tasks that name none; the agent's own if not given, and nobody if that is root
    #[arg(long, value_name = "USER")]
    default_user: Option<String>,
    /// Let tasks run as root that ask for it, and whose framework the masters allow it
    #[arg(long)]
    allow_root_tasks: bool,
    /// A directory that file:// artifacts may come from; once for each
    #[arg(long = "artifact-root", value_name = "DIR")]
    artifact_roots: Vec<PathBuf>,
    /// Let tasks use idle cpus beyond what they asked for
    #[arg(long)]
    no_cpu_quota: bool,
    /// For how long the sandbox of a task that is over is kept, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 60 * 60)]
    sandbox_keep_s: u64,
    /// End all tasks when the agent is asked to end
    #[arg(long)]
    end_tasks_on_exit: bool,
}

impl From<AgentArgs> for Config {
    fn from(args: AgentArgs) -> Config {
        let ports = args.ports.map(|ranges| format!("ports:{ranges}"));
        let resources: Vec<String> = args.resources.into_iter().chain(ports).collect();
        let credentials = args.credentials.unwrap_or_else(|| args.work_dir.join("credentials"));
        Config {
            listen: args.listen,
            advertise: args.advertise,
            hostname: args.hostname,
            resources: (!resources.is_empty()).then(|| resources.join(";")),
            attributes: args.attributes,
            cgroups_root: args.cgroups_root,
            default_user: args.default_user,
            allow_root_tasks: args.allow_root_tasks,
            join: args.join,
            share: args.share,
            artifact_roots: args.artifact_roots,
            cpu_quota: !args.no_cpu_quota,
            sandbox_keep_s: args.sandbox_keep_s,
            end_tasks_on_exit: args.end_tasks_on_exit,
            ..Config::new(args.work_dir, args.masters, credentials)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        agent: AgentArgs,
    }

    fn parse(more: &[&str]) -> Config {
        let usual = ["agent", "--work-dir=/w", "--credentials=/c", "--master=m1:1", "--master=m2:1"];
        Line::try_parse_from(usual.iter().chain(more)).unwrap().agent.into()
    }

    #[test]
    fn a_line_without_options_is_the_usual_config() {
        let usual = Config::new("/w".into(), vec!["m1:1".into(), "m2:1".into()], "/c".into());
        assert_eq!(parse(&[]), usual);
        let line = ["agent", "--work-dir=/w", "--master=m1:1"];
        let config: Config = Line::try_parse_from(line).unwrap().agent.into();
        assert_eq!(config.credentials_dir, PathBuf::from("/w/credentials"));
    }

    #[test]
    fn ports_are_resources_too() {
        let config = parse(&["--ports=[1-9]", "--resources=cpus:2"]);
        assert_eq!(config.resources.as_deref(), Some("cpus:2;ports:[1-9]"));
        assert!(config.check().is_ok());
        assert_eq!(parse(&["--ports=[1-9]"]).resources.as_deref(), Some("ports:[1-9]"));
        // A second word on the same ports is refused, not one of the two chosen.
        assert!(parse(&["--ports=[1-9]", "--resources=ports:[2-8]"]).check().is_err());
    }
}
