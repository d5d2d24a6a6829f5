//! What people type: `stoa run`, `stoa job` with its verbs, and `stoa explain job`. A client of the framework's door, of the
//! masters and of the agents' doors, and nothing more.

mod change;
mod client;
mod explain;
mod failure;
mod fits;
mod follow;
mod history;
mod job;
mod logs;
mod plan;
mod printer;
mod run;
mod show;
mod stop;
#[cfg(test)]
mod tests;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use framework_sdk::Profile;

pub use self::printer::Screen;
use crate::spec::{parse_duration, schema_text};

/// Runs a command on the cluster: its output comes here, its exit code is this command's.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  stoa run -- echo hello\n  stoa run --count 100 --cpus 0.5 --mem 256MiB -- ./work.sh\n  \
    stoa run --constraint zone=b --env LEVEL=3 -- sh -c 'echo $LEVEL on $(hostname)'"
)]
pub struct RunArgs {
    /// How many of it
    #[arg(long, short = 'n', default_value_t = 1, value_name = "N")]
    pub count: u32,
    /// Cpus of each, such as 0.5
    #[arg(long, default_value = "0.1", value_parser = milli)]
    pub cpus: u64,
    /// Memory of each
    #[arg(long, default_value = "64MiB", value_parser = bytes)]
    pub mem: u64,
    /// Disk of each
    #[arg(long, default_value = "0", value_parser = bytes)]
    pub disk: u64,
    /// The role in which the resources are used
    #[arg(long)]
    pub role: Option<String>,
    /// What the machine must be like: zone=b, zone=b|c, zone!=b, zone, !zone, rack>=3 (may be repeated)
    #[arg(long = "constraint", value_name = "RULE")]
    pub constraints: Vec<String>,
    /// Environment (may be repeated)
    #[arg(long = "env", short = 'e', value_name = "KEY=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// A name for the job; without, one is made of the command
    #[arg(long)]
    pub name: Option<String>,
    /// The user to run as
    #[arg(long)]
    pub user: Option<String>,
    /// Only start it: print the job's name and return
    #[arg(long, short = 'd')]
    pub detach: bool,
    /// Stop it after this time, such as 30s; the exit code is then 5
    #[arg(long, value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Do not show the output
    #[arg(long)]
    pub no_logs: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Jobs.
#[derive(Clone, Debug, Subcommand)]
pub enum JobVerb {
    /// Starts or changes the jobs of a file
    #[command(
        after_help = "Examples:\n  stoa job apply web.toml\n  stoa job apply web.toml --dry-run\n  stoa job apply batch.yaml --wait --timeout 5m"
    )]
    Apply(ApplyArgs),
    /// Shows what applying a file would change; exit 1 if anything, 0 if nothing
    #[command(after_help = "Examples:\n  stoa job plan web.toml\n  stoa job plan web.toml -o json")]
    Plan(PlanArgs),
    /// Prints the JSON schema of job files
    #[command(after_help = "Examples:\n  stoa job schema > job.schema.json")]
    Schema,
    /// Shows jobs
    #[command(after_help = "Examples:\n  stoa job get\n  stoa job get web --watch\n  stoa job get -o json")]
    Get(GetArgs),
    /// Shows the runs of a cron job, the latest first
    #[command(after_help = "Examples:\n  stoa job history nightly\n  stoa job history nightly -o json")]
    History(HistoryArgs),
    /// Ends a job and its tasks
    #[command(
        after_help = "Examples:\n  stoa job stop web\n  stoa job stop web --wait --purge\n  stoa job stop web --purge --dry-run"
    )]
    Stop(StopArgs),
    /// Lets the others follow the canaries of a changed service
    #[command(after_help = "Examples:\n  stoa job promote web\n  stoa job promote web --wait --timeout 5m")]
    Promote(ChangeArgs),
    /// Has a service take on again what ran before its latest change
    #[command(after_help = "Examples:\n  stoa job rollback web\n  stoa job rollback web --wait")]
    Rollback(ChangeArgs),
}

/// Starts or changes the jobs of a file.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// A job file: .toml, .yaml or .yml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Wait until services are in service as asked for and batch jobs are over; exit 1 if one fails
    #[arg(long)]
    pub wait: bool,
    /// Wait at most so long, such as 5m
    #[arg(long, value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
    /// Only show what would change, as `stoa job plan`
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
}

/// Shows what applying a file would change.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// A job file: .toml, .yaml or .yml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How
    #[arg(long, short, value_enum, default_value_t = DocumentOutput::Table)]
    pub output: DocumentOutput,
}

/// Shows the runs of a cron job.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// The cron job
    pub name: String,
    /// How
    #[arg(long, short, value_enum, default_value_t = DocumentOutput::Table)]
    pub output: DocumentOutput,
}

/// Shows jobs.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// One job and its tasks; without, all jobs
    pub name: Option<String>,
    /// How
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Stay, and show changes
    #[arg(long, short)]
    pub watch: bool,
}

/// Ends a job and its tasks.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// The job
    pub name: String,
    /// Wait until its tasks have ended
    #[arg(long)]
    pub wait: bool,
    /// Forget it then, and destroy its volumes with what is on them
    #[arg(long)]
    pub purge: bool,
    /// Say what would end, and end nothing
    #[arg(long, conflicts_with_all = ["wait", "yes"])]
    pub dry_run: bool,
    /// Destroy volumes without asking
    #[arg(long)]
    pub yes: bool,
}

/// A change of a service.
#[derive(Clone, Debug, Args)]
pub struct ChangeArgs {
    /// The job
    pub name: String,
    /// Wait until every instance is in service with it; exit 1 if the change fails
    #[arg(long)]
    pub wait: bool,
    /// Wait at most so long, such as 5m
    #[arg(long, value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

/// Why a job waits.
#[derive(Clone, Debug, Args)]
pub struct ExplainJobArgs {
    /// The job
    pub name: String,
    /// More: -v how many agents each rule leaves, -vv with names, the nearest misses and all that helps, -vvv also what was
    /// tried and does not help
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For people, with more columns
    Wide,
    /// For programs
    Json,
    /// For programs that people read
    Yaml,
    /// Names only
    Name,
}

/// How something is shown that has no columns and no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DocumentOutput {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs that people read
    Yaml,
}

/// `stoa run`. The result is the exit code of this process.
pub async fn run(args: &RunArgs, profile: &Profile, screen: Screen) -> u8 {
    run::run(args, profile, screen, run::interrupts()).await
}

/// `stoa job` and its verbs.
pub async fn job(verb: &JobVerb, profile: &Profile, screen: Screen) -> u8 {
    let printer = printer::Printer::start(screen);
    let result = match verb {
        JobVerb::Apply(args) if args.dry_run => {
            let args = PlanArgs { file: args.file.clone(), output: DocumentOutput::Table };
            plan::plan(&args, profile, &printer).await
        }
        JobVerb::Apply(args) => job::apply(args, profile, &printer).await,
        JobVerb::Plan(args) => plan::plan(args, profile, &printer).await,
        JobVerb::Schema => printer.data(schema_text()).await.map(|()| 0),
        JobVerb::Get(args) => job::get(args, profile, &printer).await,
        JobVerb::History(args) => history::history(args, profile, &printer).await,
        JobVerb::Stop(args) => stop::stop(args, profile, &printer).await,
        JobVerb::Promote(args) => change::promote(args, profile, &printer).await,
        JobVerb::Rollback(args) => change::roll_back(args, profile, &printer).await,
    };
    printer.end(result).await
}

/// `stoa job schema`, which needs no cluster.
pub async fn job_schema(screen: Screen) -> u8 {
    let printer = printer::Printer::start(screen);
    let result = printer.data(schema_text()).await.map(|()| 0);
    printer.end(result).await
}

/// `stoa explain job NAME`.
pub async fn explain_job(args: &ExplainJobArgs, profile: &Profile, screen: Screen) -> u8 {
    let printer = printer::Printer::start(screen);
    let result = explain::explain(args, profile, &printer).await;
    printer.end(result).await
}

fn milli(text: &str) -> Result<u64, String> {
    framework_sdk::quantities::parse_milli(text).map_err(|bad| bad.to_string())
}

fn bytes(text: &str) -> Result<u64, String> {
    framework_sdk::quantities::parse_bytes(text).map_err(|bad| bad.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("{text:?} is not a duration; write 500ms, 30s, 5m or 1h"))
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not KEY=VALUE")),
    }
}
