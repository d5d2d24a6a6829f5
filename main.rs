//! The one binary: it picks a role, wires it, and runs it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use framework_sdk_cli::profile::{self, Profile};
use framework_sdk_cli::up::{CHILD, UpArgs};
use framework_sdk_cli::{AgentVerb, CompletionArgs, ContextArgs, Exit, ExplainVerb, SdkVerb, TeardownArgs};
use frameworks_jobs::cli::{self, Screen};
use master::founding::{Begun, Founded, Founding};
use proto::caller::Caller;
use proto::id::MasterId;
use proto_drive::telemetry;

/// Stoa pools machines: agents offer what they have, a replicated master hands it out, frameworks run work on it.
#[derive(Debug, Parser)]
#[command(name = "stoa", version, propagate_version = true, arg_required_else_help = true, after_help = HELP)]
struct Args {
    #[command(flatten)]
    context: ContextArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a whole secure cluster on this machine.
    #[command(after_help = UP_EXAMPLES)]
    Up(UpArgs),
    /// Run one master; the first one founds the cluster.
    #[command(after_help = MASTER_EXAMPLES)]
    Master(MasterArgs),
    /// Get a certificate with a token, for a person or a framework.
    Join(framework_sdk_cli::JoinArgs),
    /// Run one agent; drain, resume or give up one of the pool.
    #[command(after_help = AGENT_EXAMPLES)]
    Agent(AgentCommand),
    /// Run a framework, or end one.
    #[command(subcommand, after_help = FRAMEWORK_EXAMPLES)]
    Framework(FrameworkVerb),
    /// Run a command on the pool and wait for it.
    Run(cli::RunArgs),
    /// Services, batch and cron jobs from files.
    #[command(subcommand, after_help = JOB_EXAMPLES)]
    Job(cli::JobVerb),
    /// Say why something waits, or how it ended.
    #[command(subcommand, after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainWhat),
    /// For authors of frameworks.
    #[command(subcommand, after_help = SDK_EXAMPLES)]
    Sdk(SdkVerb),
    /// Print the completion script of a shell.
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
    #[command(flatten)]
    Operator(framework_sdk_cli::Verb),
}

#[derive(Debug, clap::Args)]
struct MasterArgs {
    /// The number of this member, from 1; never used again after its disk was lost.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    id: u64,
    /// Where its door listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Every member of the group, this one included: NUMBER=HOST:PORT; once for each. Fixed at the founding: adding members
    /// to a group that runs is not possible yet. Without, this master is the only one.
    #[arg(long = "member", value_parser = member)]
    members: Vec<(MasterId, String)>,
    /// Where its log and snapshots are kept. Empty at the first start: then it founds a cluster, or joins with a token.
    #[arg(long)]
    data_dir: PathBuf,
    /// The directory of its certificate: ca.pem, cert.pem, key.pem [default: credentials, in the data directory]
    #[arg(long)]
    credentials: Option<PathBuf>,
    /// The directory of the cluster's authority, with which others are let in [default: authority, in the data directory,
    /// if it is there]
    #[arg(long)]
    authority: Option<PathBuf>,
    /// A framework whose tasks may run as root, on agents that allow it too, such as framework/jobs; once for each.
    #[arg(long = "allow-root-tasks", value_name = "PRINCIPAL")]
    root_tasks: Vec<Caller>,
    /// The token that the founder printed for this member, for its first start.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "STOA_JOIN",
        hide_env_values = true,
        conflicts_with = "credentials"
    )]
    join: Option<String>,
    /// How long an unanswered offer stands, in seconds.
    #[arg(long)]
    offer_timeout_s: Option<u64>,
    /// How long an agent may be silent before its tasks are called unreachable, in seconds.
    #[arg(long)]
    agent_unreachable_after_s: Option<u64>,
    /// What a framework may keep in one space of the masters' store, from 64KiB to 64MiB. The same on all members: the leader's
    /// counts.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        env = "STOA_STORE_SPACE_LIMIT",
        value_parser = store_space_limit
    )]
    store_space_limit: u64,
    /// How large one value in it may be, from 1KiB to 2MiB.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1MiB",
        env = "STOA_STORE_VALUE_LIMIT",
        value_parser = store_value_limit
    )]
    store_value_limit: u64,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct AgentCommand {
    #[command(subcommand)]
    verb: Option<AgentVerb>,
    #[command(flatten)]
    server: Option<agent::AgentArgs>,
}

#[derive(Debug, Subcommand)]
enum ExplainWhat {
    #[command(flatten)]
    Cluster(ExplainVerb),
    /// Why a job waits
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Job(cli::ExplainJobArgs),
}

#[derive(Debug, Subcommand)]
enum FrameworkVerb {
    /// The jobs framework: services and batch jobs.
    #[command(after_help = FRAMEWORK_EXAMPLES)]
    Jobs(frameworks_jobs::config::JobsArgs),
    /// End a framework and all its tasks
    #[command(after_help = FRAMEWORK_EXAMPLES)]
    Teardown(TeardownArgs),
}

const HELP: &str = "Examples:
  stoa up                       a whole cluster on this machine
  stoa run -- echo hello        a command on it
  stoa job apply web.toml       a service from a file
  stoa get tasks --watch        what runs
  stoa explain job web          why it waits
  stoa logs -f web.0            what it says

Exit codes and everything else: docs/guide/running.md";

const UP_EXAMPLES: &str = "Examples:
  stoa up
  stoa up --masters 1 --agents 1
  stoa up --data-dir ~/pool     go on where it stopped the next time";

const MASTER_EXAMPLES: &str = "Examples:
  stoa master --data-dir /var/lib/stoa/master --listen 10.0.0.1:7070
      founds a cluster of one master
  stoa master --data-dir D --listen 10.0.0.1:7070 --member 1=10.0.0.1:7070 --member 2=10.0.0.2:7070 --member 3=10.0.0.3:7070
      founds one of three, and prints what to type on the other two machines";

const AGENT_EXAMPLES: &str = "Examples:
  stoa agent --work-dir /var/lib/stoa/agent --listen 10.0.0.2:7071 --master 10.0.0.1:7070 --join TOKEN
      joins; `stoa token create --kind agent` makes the token
  stoa agent --work-dir /var/lib/stoa/agent --listen 10.0.0.2:7071 --master 10.0.0.1:7070
      from then on
  stoa agent drain agent-3 --deadline 1h
  stoa agent resume agent-3";

const FRAMEWORK_EXAMPLES: &str = "Examples:
  stoa framework jobs --master 10.0.0.1:7070 --data-dir /var/lib/stoa/jobs/data --credentials /var/lib/stoa/jobs/credentials
      `stoa join` makes the credentials
  stoa framework teardown spark";

const JOB_EXAMPLES: &str = "Examples:
  stoa job plan web.toml
  stoa job apply web.toml --wait
  stoa job get web
  stoa job stop web --purge";

const EXPLAIN_EXAMPLES: &str = "Examples:
  stoa explain job web
  stoa explain task web.0
  stoa explain framework jobs";

const SDK_EXAMPLES: &str = "Examples:
  stoa sdk conformance target/debug/examples/hello";

const COMPLETION_EXAMPLES: &str = "Examples:
  stoa completion bash > ~/.local/share/bash-completion/completions/stoa";

fn member(text: &str) -> Result<(MasterId, String), String> {
    let bad = || format!("{text:?} is not NUMBER=HOST:PORT, such as 1=10.0.0.1:7070");
    let (number, address) = text.split_once('=').ok_or_else(bad)?;
    let id = number.parse().ok().filter(|id| *id > 0).ok_or_else(bad)?;
    if !address.contains(':') {
        return Err(bad());
    }
    Ok((MasterId(id), address.to_owned()))
}

fn store_space_limit(text: &str) -> Result<u64, String> {
    size_within(text, (64 << 10, 64 << 20), "64KiB to 64MiB")
}

fn store_value_limit(text: &str) -> Result<u64, String> {
    size_within(text, (1 << 10, 2 << 20), "1KiB to 2MiB")
}

fn size_within(text: &str, (least, most): (u64, u64), range: &str) -> Result<u64, String> {
    let bytes = proto::quantities::parse_bytes(text).map_err(|bad| bad.to_string())?;
    if (least..=most).contains(&bytes) { Ok(bytes) } else { Err(format!("it must be from {range}")) }
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
        Verb::Agent(AgentCommand { verb: Some(verb), .. }) => {
            client(framework_sdk_cli::run(args.context, verb))
        }
        Verb::Agent(AgentCommand { server: Some(agent), .. }) => server(1, "agent", |render| async move {
            agent::run(agent.into(), render, ended()).await.map_err(chained)
        }),
        // Clap has said what is missing before it comes to this.
        Verb::Agent(AgentCommand { verb: None, server: None }) => ExitCode::from(Exit::Usage),
        Verb::Framework(FrameworkVerb::Jobs(jobs)) => server(1, "jobs", |render| async move {
            frameworks_jobs::run(jobs.into(), render, ended()).await.map_err(chained)
        }),
        Verb::Framework(FrameworkVerb::Teardown(teardown)) => {
            client(framework_sdk_cli::run(args.context, framework_sdk_cli::Verb::Teardown(teardown)))
        }
        Verb::Run(run) => {
            on_cluster(&args.context, async |profile| cli::run(&run, profile, Screen::of_process()).await)
        }
        Verb::Job(cli::JobVerb::Schema) => client(cli::job_schema(Screen::of_process())),
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
        Verb::Sdk(SdkVerb::Conformance(args)) => client(framework_sdk_cli::conformance::run(&args)),
        Verb::Join(join) => client(framework_sdk_cli::join::run(&join)),
        Verb::Operator(verb) => client(framework_sdk_cli::run(args.context, verb)),
    }
}

async fn run_master(
    args: MasterArgs,
    render: impl Fn() -> String + Send + Sync + 'static,
) -> Result<(), String> {
    let mut members: BTreeMap<MasterId, String> = args.members.into_iter().collect();
    let id = MasterId(args.id);
    if members.is_empty() {
        members.insert(id, args.listen.to_string());
    }
    if !members.contains_key(&id) {
        return Err(format!("--id {id} is not among the members; add --member {id}=HOST:PORT"));
    }
    let founding = Founding {
        id,
        members: members.clone(),
        data_dir: args.data_dir.clone(),
        join: args.join,
        operator: operator(),
    };
    let credentials = match args.credentials {
        Some(dir) => dir,
        None => {
            if let Begun::Founded(founded) = founding.begin().await.map_err(chained)? {
                say_founded(&founding, &founded);
            }
            founding.credentials_dir()
        }
    };
    let authority = args.authority.or_else(|| Some(founding.authority_dir()).filter(|dir| dir.is_dir()));
    let config = master::Config {
        id,
        listen: args.listen,
        members,
        data_dir: args.data_dir,
        credentials_dir: credentials,
        authority_dir: authority,
        root_tasks: args.root_tasks.into_iter().collect(),
        offer_timeout: args.offer_timeout_s.map(Duration::from_secs),
        agent_unreachable_after: args.agent_unreachable_after_s.map(Duration::from_secs),
        store_limits: master::StoreLimits {
            space_bytes: args.store_space_limit,
            value_bytes: args.store_value_limit,
        },
    };
    master::run(config, render, ended()).await.map_err(chained)
}

/// Half of the processors for a master's doors, up to eight: its machine has a thread of its own. On two processors the
/// second one costs more in wake-ups across them (a fifth of a master's time) than it carries.
fn master_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 8)
}

/// Says what was made, and what to type next: on standard output, once.
fn say_founded(founding: &Founding, founded: &Founded) {
    let members: String =
        founding.members.iter().map(|(id, address)| format!(" --member {id}={address}")).collect();
    let door = founding.members.get(&founding.id).cloned().unwrap_or_default();
    let mut text = format!(
        "founded the cluster {}\n  authority  {}  (back it up; whoever holds it can be anybody)\n  context    {}\n\nnext:\n  \
         export STOA_CONTEXT={}\n  stoa status\n  stoa token create --kind agent\n  stoa agent --work-dir DIR --listen \
         ADDRESS:PORT --master {door} --join TOKEN\n",
        founded.cluster,
        founded.authority.display(),
        founded.context.display(),
        founded.context.display(),
    );
    for (id, address, token) in &founded.tokens {
        text.push_str(&format!(
            "\nmember {id}, within a day:\n  stoa master --id {id} --data-dir DIR --listen {address}{members} --join {token}\n"
        ));
    }
    // Whoever closed our output does not want to read it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What whoever founds a cluster is called.
fn operator() -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let user: String = std::env::var("USER").unwrap_or_default().chars().filter(plain).collect();
    if user.is_empty() { "operator".to_owned() } else { user }
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
