//! The one binary: it picks a role, wires it, and runs it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use framework_sdk_cli::profile::{self, Profile};
use framework_sdk_cli::up::{CHILD, UpArgs};
use framework_sdk_cli::{CompletionArgs, ContextArgs, Exit, ExplainVerb};
use frameworks_jobs::cli::{self, Screen};
use proto::caller::Caller;
use proto::id::MasterId;
use proto_drive::telemetry;

/// Stoa pools machines: agents offer what they have, a replicated master hands it out, frameworks run work on it.
#[derive(Debug, Parser)]
#[command(name = "stoa", version, propagate_version = true, arg_required_else_help = true)]
struct Args {
    #[command(flatten)]
    context: ContextArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a whole secure cluster on this machine.
    Up(UpArgs),
    /// Run one master.
    Master(MasterArgs),
    /// Run one agent.
    Agent(agent::AgentArgs),
    /// Run a framework.
    #[command(subcommand)]
    Framework(FrameworkVerb),
    /// Run a command on the pool and wait for it.
    Run(cli::RunArgs),
    /// Services and batch jobs from files.
    #[command(subcommand)]
    Job(cli::JobVerb),
    /// Say why something waits, or how it ended.
    #[command(subcommand)]
    Explain(ExplainWhat),
    /// Print the completion script of a shell.
    Completion(CompletionArgs),
    #[command(flatten)]
    Operator(framework_sdk_cli::Verb),
}

#[derive(Debug, clap::Args)]
struct MasterArgs {
    /// The number of this member, from 1; never used again after its disk was lost.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    id: u64,
    /// Where its door listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Every member of the group, this one included: NUMBER=HOST:PORT.
    #[arg(long = "member", required = true, value_parser = member)]
    members: Vec<(MasterId, String)>,
    /// Where its log and snapshots are kept.
    #[arg(long)]
    data_dir: PathBuf,
    /// The directory of its certificate: ca.pem, cert.pem, key.pem.
    #[arg(long)]
    credentials: PathBuf,
    /// The directory of the cluster's authority, if this master may let agents and frameworks join.
    #[arg(long)]
    authority: Option<PathBuf>,
    /// A framework whose tasks may run as root, on agents that allow it too, such as framework/jobs; once for each.
    #[arg(long = "allow-root-tasks", value_name = "PRINCIPAL")]
    root_tasks: Vec<Caller>,
    /// How long an unanswered offer stands, in seconds.
    #[arg(long)]
    offer_timeout_s: Option<u64>,
    /// How long an agent may be silent before its tasks are called unreachable, in seconds.
    #[arg(long)]
    agent_unreachable_after_s: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum ExplainWhat {
    #[command(flatten)]
    Cluster(ExplainVerb),
    /// Why a job waits
    Job(cli::ExplainJobArgs),
}

#[derive(Debug, Subcommand)]
enum FrameworkVerb {
    /// The jobs framework: services and batch jobs.
    Jobs(frameworks_jobs::config::JobsArgs),
}

fn member(text: &str) -> Result<(MasterId, String), String> {
    let bad = || format!("{text:?} is not NUMBER=HOST:PORT, such as 1=10.0.0.1:7070");
    let (number, address) = text.split_once('=').ok_or_else(bad)?;
    let id = number.parse().ok().filter(|id| *id > 0).ok_or_else(bad)?;
    if !address.contains(':') {
        return Err(bad());
    }
    Ok((MasterId(id), address.to_owned()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.verb {
        Verb::Up(up) => {
            serve(1, async move { framework_sdk_cli::up::run(&up, interrupted()).await.map_err(chained) })
        }
        Verb::Master(master) => {
            server(master_threads(), "master", |render| async move { run_master(master, render).await })
        }
        Verb::Agent(agent) => server(1, "agent", |render| async move {
            agent::run(agent.into(), render, ended()).await.map_err(chained)
        }),
        Verb::Framework(FrameworkVerb::Jobs(jobs)) => server(1, "jobs", |render| async move {
            frameworks_jobs::run(jobs.into(), render, ended()).await.map_err(chained)
        }),
        Verb::Run(run) => {
            on_cluster(&args.context, async |profile| cli::run(&run, profile, Screen::of_process()).await)
        }
        Verb::Job(job) => {
            on_cluster(&args.context, async |profile| cli::job(&job, profile, Screen::of_process()).await)
        }
        Verb::Explain(ExplainWhat::Job(job)) => on_cluster(&args.context, async |profile| {
            cli::explain_job(&job, profile, Screen::of_process()).await
        }),
        Verb::Completion(completion) => {
            framework_sdk_cli::completion::print(&completion, &mut Args::command());
            ExitCode::SUCCESS
        }
        Verb::Explain(ExplainWhat::Cluster(verb)) => client(framework_sdk_cli::run(args.context, verb)),
        Verb::Operator(verb) => client(framework_sdk_cli::run(args.context, verb)),
    }
}

async fn run_master(
    args: MasterArgs,
    render: impl Fn() -> String + Send + Sync + 'static,
) -> Result<(), String> {
    let members: BTreeMap<MasterId, String> = args.members.into_iter().collect();
    let id = MasterId(args.id);
    if !members.contains_key(&id) {
        return Err(format!("--id {id} is not among the members; add --member {id}=HOST:PORT"));
    }
    let config = master::Config {
        id,
        listen: args.listen,
        members,
        data_dir: args.data_dir,
        credentials_dir: args.credentials,
        authority_dir: args.authority,
        root_tasks: args.root_tasks.into_iter().collect(),
        offer_timeout: args.offer_timeout_s.map(Duration::from_secs),
        agent_unreachable_after: args.agent_unreachable_after_s.map(Duration::from_secs),
    };
    master::run(config, render, ended()).await.map_err(chained)
}

/// Half of the processors for a master's doors, up to eight: its machine has a thread of its own. On two processors the
/// second one costs more in wake-ups across them (a fifth of a master's time) than it carries.
fn master_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 8)
}

/// Runs a long-lived process with logs and metrics.
fn server<F, R>(threads: usize, role: &'static str, run: F) -> ExitCode
where
    F: FnOnce(Box<dyn Fn() -> String + Send + Sync>) -> R,
    R: Future<Output = Result<(), String>>,
{
    let started = telemetry::init_logs(None, "info")
        .and_then(|()| telemetry::Metrics::install(role, &std::process::id().to_string()));
    let metrics = match started {
        Ok(metrics) => metrics,
        Err(error) => return failed(&chained(error)),
    };
    serve(threads, run(Box::new(move || metrics.render())))
}

fn serve(threads: usize, run: impl Future<Output = Result<(), String>>) -> ExitCode {
    match runtime(threads).block_on(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn client(run: impl Future<Output = u8>) -> ExitCode {
    ExitCode::from(runtime(1).block_on(run))
}

/// Runs a verb of the jobs framework against the cluster that is meant.
fn on_cluster(context: &ContextArgs, run: impl AsyncFnOnce(&Profile) -> u8) -> ExitCode {
    match profile::find(context.context.as_deref()) {
        Ok(profile) => client(run(&profile)),
        Err(error) => {
            eprintln!("error: {}", chained(error));
            eprintln!(
                "help:  start a cluster with `stoa up`, or name one with --context DIR or STOA_CONTEXT"
            );
            ExitCode::from(Exit::Usage)
        }
    }
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no event loop: {error}");
            std::process::exit(5);
        }
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn chained(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Resolves at Ctrl-C or when somebody asks this process to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The same; a child of `stoa up` also ends when its standard input closes, that is when `stoa up` is no more.
async fn ended() {
    if std::env::var_os(CHILD).is_none() {
        return interrupted().await;
    }
    let (closed, parent) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(1..)) {}
        let _ = closed.send(());
    });
    tokio::select! {
        () = interrupted() => {}
        _ = parent => {}
    }
}
