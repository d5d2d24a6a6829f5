//! `stoa up`: a whole secure cluster on one machine, each part a process of its own, from one command.

mod children;
mod isolation;
mod layout;
mod ready;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use crate::up::children::CHILD;
use crate::up::children::Children;
use crate::up::layout::Layout;

/// What `stoa up` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// How many masters; odd, so that a majority can fail as late as possible.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub masters: u16,
    /// How many agents.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub agents: u16,
    /// Keep everything in this directory: the next `stoa up` with it goes on where this one stopped. Without it
    /// everything is made in a temporary directory and removed at the end.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// What each agent offers, such as "cpus:2;mem:4GiB"; the machine's own resources shared out if not given.
    #[arg(long)]
    pub agent_resources: Option<String>,
    /// A directory that file:// artifacts may come from; once for each. Agents read with the rights of this user.
    #[arg(long = "artifact-root", value_name = "DIR")]
    pub artifact_roots: Vec<PathBuf>,
    /// Let jobs run as root that ask for it (user: root). Without it no task does; started as root, tasks that name no
    /// user run as nobody.
    #[arg(long)]
    pub allow_root_tasks: bool,
    /// Do not start the jobs framework.
    #[arg(long)]
    pub no_jobs: bool,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// A file could not be made.
    #[error("cannot {operation} {path}")]
    File {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificates could not be made.
    #[error("the certificates cannot be made")]
    Pki(#[from] proto_pki::PkiError),
    /// A process could not be started.
    #[error("cannot start {name}")]
    Start {
        /// Which.
        name: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The cluster did not become ready.
    #[error("the cluster is not ready after {waited_s} s: {missing}; its logs are in {logs}")]
    NotReady {
        /// How long was waited.
        waited_s: u64,
        /// What was still missing.
        missing: String,
        /// Where to look.
        logs: PathBuf,
    },
    /// Another `stoa up` uses the directory.
    #[error("{path} is used by another `stoa up`; stop that one, or name another --data-dir")]
    InUse {
        /// The lock.
        path: PathBuf,
    },
}

/// How long the cluster may take to become ready: thirty seconds, ten times what it takes on a slow machine.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Runs a cluster until `stop` resolves. Returns when all of its processes have ended.
pub async fn run(args: &UpArgs, stop: impl Future<Output = ()>) -> Result<(), UpError> {
    let begun = Instant::now();
    let layout = Layout::prepare(args)?;
    let mut children = Children::start(&layout, args)?;
    let mut stop = std::pin::pin!(stop);
    let ready = ready::wait(&layout, args, READY_LIMIT);
    let outcome = tokio::select! {
        outcome = ready => outcome,
        () = &mut stop => {
            children.end().await;
            layout.finish();
            return Ok(());
        }
        () = children.keep_alive() => Ok(()),
    };
    if let Err(error) = outcome {
        children.end().await;
        layout.finish();
        return Err(error);
    }
    layout.announce()?;
    let took = begun.elapsed();
    let agents = ready::agents(&layout).await;
    // Agents of one machine find the same; the first one's log speaks for all.
    let log = isolation::tail(&layout.logs().join("agent-1.log")).unwrap_or_default();
    let less = isolation::line(agents.iter().map(|agent| &agent.info.attributes), &log);
    say_ready(&layout, args, took, less);
    tokio::select! {
        () = &mut stop => {}
        () = children.keep_alive() => {}
    }
    say(format_args!("stopping"));
    children.end().await;
    layout.finish();
    Ok(())
}

fn say_ready(layout: &Layout, args: &UpArgs, took: Duration, less_isolation: Option<String>) {
    let mut out = std::io::stdout().lock();
    let jobs = if args.no_jobs { "" } else { " and the jobs framework" };
    let mut lines = vec![
        format!(
            "ready in {}.{} s: {} masters, {} agents{jobs}, mutual TLS everywhere",
            took.as_secs(),
            took.subsec_millis() / 100,
            args.masters,
            args.agents
        ),
        format!("  state and logs  {}", layout.root.display()),
        match &args.data_dir {
            Some(_) => "  Ctrl-C stops it; tasks keep running and the same command goes on".to_owned(),
            None => "  Ctrl-C stops it and removes everything".to_owned(),
        },
        String::new(),
        "try in another terminal:".to_owned(),
        "  stoa run -- echo hello".to_owned(),
        "  stoa get agents".to_owned(),
        "  stoa raft status".to_owned(),
    ];
    if let Some(less) = less_isolation {
        lines.insert(2, format!("  isolation       {less}"));
    }
    // Whoever closed our output does not want to read it.
    let _ = writeln!(out, "{}", lines.join("\n"));
    let _ = out.flush();
}

/// Tells whoever looks; with nobody there the cluster goes on.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
