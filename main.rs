//! The one binary: it picks a role, wires it, and runs it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use framework_sdk_cli::profile::{self, Profile};
use framework_sdk_cli::settings::{self, Role};
use framework_sdk_cli::up::{CHILD, UpArgs};
use framework_sdk_cli::{
    AgentVerb, CompletionArgs, ConfigVerb, ContextArgs, Exit, ExplainSummaryArgs, ExplainVerb, SdkVerb,
    SnapshotVerb, TeardownArgs,
};
use frameworks_jobs::cli::{self, Screen};
use master::backup::{RestoreArgs, RestoreError, Restoring};
use master::founding::{Begun, Founded, Founding};
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
    Master(MasterCommand),
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
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainCommand),
    /// Backups of the masters: save one, look into it, restore a master from it.
    #[command(subcommand, after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotCommand),
    /// For authors of frameworks.
    #[command(subcommand, after_help = SDK_EXAMPLES)]
    Sdk(SdkVerb),
    /// Files of settings: check one, or print which values hold and where they come from.
    #[command(subcommand, after_help = CONFIG_EXAMPLES)]
    Config(ConfigVerb),
    /// Print the completion script of a shell.
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
    #[command(flatten)]
    Operator(framework_sdk_cli::Verb),
}

#[derive(Debug, clap::Args)]
struct MasterCommand {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    master: master::MasterArgs,
}

/// Where settings are read from that are not typed; `settings` has read it before anybody looks here.
#[derive(Debug, clap::Args)]
struct FileArg {
    /// A file with settings (TOML); flags and the environment win over it. `stoa config check` looks for mistakes in it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    #[allow(dead_code)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct AgentCommand {
    #[command(subcommand)]
    verb: Option<AgentVerb>,
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    server: Option<agent::AgentArgs>,
}

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
struct ExplainCommand {
    #[command(subcommand)]
    what: Option<ExplainWhat>,
    #[command(flatten)]
    summary: Option<ExplainSummaryArgs>,
}

#[derive(Debug, clap::Args)]
struct JobsCommand {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    jobs: frameworks_jobs::config::JobsArgs,
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
enum SnapshotCommand {
    #[command(flatten)]
    Client(SnapshotVerb),
    /// Write the data directory of a master from a backup, when a majority of the masters is lost for good
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
}

#[derive(Debug, Subcommand)]
enum FrameworkVerb {
    /// The jobs framework: services and batch jobs.
    #[command(after_help = FRAMEWORK_EXAMPLES)]
    Jobs(JobsCommand),
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
  stoa explain framework jobs
  stoa explain agent agent-1 -vv
  stoa explain --summary";

const SNAPSHOT_EXAMPLES: &str = "Examples:
  stoa snapshot save pool.backup
  stoa snapshot inspect pool.backup
  stoa snapshot restore pool.backup --id 1 --data-dir /var/lib/stoa/master --authority /safe/authority --at 1795881600";

const RESTORE_EXAMPLES: &str = "Examples:
  stoa snapshot restore pool.backup --data-dir /var/lib/stoa/master --authority /safe/authority
      the only master of its group
  stoa snapshot restore pool.backup --id 2 --data-dir /var/lib/stoa/master --authority /safe/authority --at 1795881600
      one of three, on its machine; the same --at on each of them

Then start the masters as ever. What runs on the agents goes on: docs/guide/running.md";

const SDK_EXAMPLES: &str = "Examples:
  stoa sdk new rust my-framework
  stoa sdk conformance target/debug/examples/hello";

const CONFIG_EXAMPLES: &str = "Examples:
  stoa config check /etc/stoa/agent.toml
  stoa config print agent --origin -c /etc/stoa/agent.toml";

const COMPLETION_EXAMPLES: &str = "Examples:
  stoa completion bash > ~/.local/share/bash-completion/completions/stoa";

/// The whole command, with a variable for each setting of a long-lived process.
fn command() -> clap::Command {
    settings::with_variables(Args::command())
}

/// What was typed, and what the file says that it names.
fn parse() -> Result<Args, ExitCode> {
    let command = command();
    let line = settings::with_file(&command, std::env::args_os().collect()).map_err(|error| {
        eprintln!("error: {}", chained(error));
        ExitCode::from(Exit::Usage)
    })?;
    // What cannot be parsed is said, and what asks for help is helped, and neither comes back.
    Ok(Args::from_arg_matches(&command.get_matches_from(line)).unwrap_or_else(|error| error.exit()))
}

/// What a wing itself says of its settings, beyond each alone.
fn fits(role: Role, matches: &clap::ArgMatches) -> Result<(), String> {
    let unread = |error: clap::Error| error.to_string();
    match role {
        Role::Master => master::MasterArgs::from_arg_matches(matches).map_err(unread)?.config().map(drop),
        Role::Agent => {
            let config =
                agent::config::Config::from(agent::AgentArgs::from_arg_matches(matches).map_err(unread)?);
            config.check().map(drop).map_err(chained)
        }
        Role::Jobs => frameworks_jobs::config::JobsArgs::from_arg_matches(matches).map(drop).map_err(unread),
    }
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match args.verb {
        Verb::Up(up) => {
            serve(1, async move { framework_sdk_cli::up::run(&up, interrupted()).await.map_err(chained) })
        }
        Verb::Master(MasterCommand { master, .. }) => {
            server(master_threads(), "master", |render| async move { run_master(master, render).await })
        }
        Verb::Agent(AgentCommand { verb: Some(verb), .. }) => {
            client(framework_sdk_cli::run(args.context, verb))
        }
        Verb::Agent(AgentCommand { server: Some(agent), .. }) => server(1, "agent", |render| async move {
            agent::run(agent.into(), render, ended()).await.map_err(chained)
        }),
        // Clap has said what is missing before it comes to this.
        Verb::Agent(AgentCommand { verb: None, server: None, .. }) => ExitCode::from(Exit::Usage),
        Verb::Framework(FrameworkVerb::Jobs(JobsCommand { jobs, .. })) => {
            server(1, "jobs", |render| async move {
                frameworks_jobs::run(jobs.into(), render, ended()).await.map_err(chained)
            })
        }
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
        Verb::Explain(ExplainCommand { what: Some(ExplainWhat::Job(job)), .. }) => {
            on_cluster(&args.context, async |profile| {
                cli::explain_job(&job, profile, Screen::of_process()).await
            })
        }
        Verb::Config(ConfigVerb::Check(check)) if check.asks() => {
            let command = command();
            client(framework_sdk_cli::run_config_check(&check, &args.context, &command, &fits))
        }
        Verb::Config(verb) => {
            ExitCode::from(framework_sdk_cli::run_config(&verb, &args.context, &command(), &fits))
        }
        Verb::Completion(completion) => {
            framework_sdk_cli::completion::print(&completion, &mut Args::command());
            ExitCode::SUCCESS
        }
        Verb::Explain(ExplainCommand { what: Some(ExplainWhat::Cluster(verb)), .. }) => {
            client(framework_sdk_cli::run(args.context, verb))
        }
        Verb::Explain(ExplainCommand { what: None, summary: Some(summary) }) => {
            client(framework_sdk_cli::run(args.context, summary))
        }
        // Clap has said what is missing before it comes to this.
        Verb::Explain(ExplainCommand { what: None, summary: None }) => ExitCode::from(Exit::Usage),
        Verb::Snapshot(SnapshotCommand::Client(SnapshotVerb::Save(save))) => {
            client(framework_sdk_cli::run(args.context, save))
        }
        Verb::Snapshot(SnapshotCommand::Client(SnapshotVerb::Inspect(args))) => {
            ExitCode::from(framework_sdk_cli::inspect(&args))
        }
        Verb::Snapshot(SnapshotCommand::Restore(restore)) => run_restore(restore),
        Verb::Sdk(SdkVerb::Conformance(args)) => client(framework_sdk_cli::conformance::run(&args)),
        Verb::Sdk(SdkVerb::New(args)) => ExitCode::from(framework_sdk_cli::template::run(&args)),
        Verb::Join(join) => client(framework_sdk_cli::join::run(&join)),
        Verb::Operator(verb) => client(framework_sdk_cli::run(args.context, verb)),
    }
}

async fn run_master(
    args: master::MasterArgs,
    render: impl Fn() -> String + Send + Sync + 'static,
) -> Result<(), String> {
    if let Some(founding) = args.founding(operator())?
        && let Begun::Founded(founded) = founding.begin().await.map_err(chained)?
    {
        say_founded(&founding, &founded);
    }
    master::run(args.config()?, render, ended()).await.map_err(chained)
}

/// Says what became of it, and what comes next.
fn run_restore(args: RestoreArgs) -> ExitCode {
    let dry_run = args.dry_run;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    match Restoring::from(args).restore(since.as_secs(), dry_run) {
        Ok(done) => {
            let members: String =
                done.members.iter().map(|(id, address)| format!(" --member {id}={address}")).collect();
            if dry_run {
                eprintln!("dry run, nothing was done: the backup of {} can be restored there", done.cluster);
            } else {
                eprintln!("restored a master of {}; start it with{members}", done.cluster);
                eprintln!("undo with: remove its data directory");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let exit = match error {
                RestoreError::NoMember { .. }
                | RestoreError::NoTime { .. }
                | RestoreError::BadTime { .. } => Exit::Usage,
                RestoreError::InUse(_) | RestoreError::Stranger { .. } => Exit::Conflict,
                RestoreError::File { .. }
                | RestoreError::Backup { .. }
                | RestoreError::Image { .. }
                | RestoreError::Pki(_)
                | RestoreError::DataDir(_)
                | RestoreError::Store(_)
                | RestoreError::Half { .. } => Exit::Bad,
            };
            eprintln!("error: {}", chained(error));
            ExitCode::from(exit)
        }
    }
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
