//! What can be typed.

mod audit;
mod config;
mod pool;
mod raft;
mod reserve;
mod rights;
mod secret;
mod snapshot;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use proto::role::Role;

use crate::conformance::ConformanceArgs;
use crate::duration::parse_duration;
use crate::template::NewArgs;

use audit::AUDIT_EXAMPLES;
pub use audit::{AuditTailArgs, AuditVerb, AuditVerifyArgs};
pub use config::{ConfigCheckArgs, ConfigPrintArgs, ConfigVerb};
pub use pool::{
    AgentVerb, DrainArgs, GoneArgs, QuotaArgs, QuotaClearArgs, QuotaVerb, ResumeArgs, TeardownArgs,
    WeightArgs, WeightVerb,
};
use pool::{GONE_EXAMPLES, QUOTA_EXAMPLES, TEARDOWN_EXAMPLES, WEIGHT_EXAMPLES};
use raft::RAFT_EXAMPLES;
pub use raft::{AddArgs, CancelArgs, ComesArgs, RaftVerb, RemoveArgs, ReplaceArgs, StaysArgs, TransferArgs};
use reserve::{RESERVE_EXAMPLES, UNRESERVE_EXAMPLES, VOLUME_EXAMPLES};
pub use reserve::{ReserveArgs, VolumeCreateArgs, VolumeDestroyArgs, VolumeListArgs, VolumeVerb};
use rights::{AUTH_EXAMPLES, TOKEN_EXAMPLES};
pub use rights::{AuthVerb, CanIArgs, FormArgs, GrantArgs, RevokeArgs, TokenArgs, TokenFor, TokenVerb};
use secret::SECRET_EXAMPLES;
pub use secret::{Meant, SecretGetArgs, SecretRmArgs, SecretSetArgs, SecretVerb};
pub use snapshot::{InspectArgs, SaveArgs, SnapshotVerb};

/// Which cluster is meant; for every verb.
#[derive(Clone, Debug, Default, Args)]
pub struct ContextArgs {
    /// Directory with ca.pem, cert.pem, key.pem and masters [default: the cluster of the last `stoa up`]
    #[arg(long, global = true, env = "STOA_CONTEXT", hide_env_values = true, value_name = "DIR")]
    pub context: Option<PathBuf>,
}

/// The operator's verbs. `explain` stands apart ([`ExplainVerb`]), so that frameworks can add what they explain.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// List agents, tasks, frameworks, offers, roles, reservations, volumes or secrets
    #[command(visible_alias = "ls", after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Show everything about one agent, task, framework, offer, role, reservation, volume or secret
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(DescribeArgs),
    /// Print the output of a task, or of several
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
    /// Run a command beside a task that runs; the exit code is the command's
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(ExecArgs),
    /// End a task
    #[command(after_help = KILL_EXAMPLES)]
    Kill(KillArgs),
    /// Say whether the cluster is well: exit code 0 healthy, 1 degraded, 2 down
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Look for what is not well, and say what to do about it: exit code 1 if something fails
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(FormArgs),
    /// Tell what happened, in the order of the masters' log
    #[command(after_help = EVENTS_EXAMPLES)]
    Events(EventsArgs),
    /// Who did what, and what was denied: the masters' audit logs
    #[command(subcommand, after_help = AUDIT_EXAMPLES)]
    Audit(AuditVerb),
    /// Look at the group of masters, and change it
    #[command(subcommand, after_help = RAFT_EXAMPLES)]
    Raft(RaftVerb),
    /// Make join tokens
    #[command(subcommand, after_help = TOKEN_EXAMPLES)]
    Token(TokenVerb),
    /// Who may what
    #[command(subcommand, after_help = AUTH_EXAMPLES)]
    Auth(AuthVerb),
    /// Guarantees and limits of a role
    #[command(subcommand, after_help = QUOTA_EXAMPLES)]
    Quota(QuotaVerb),
    /// The weight of a role
    #[command(subcommand, after_help = WEIGHT_EXAMPLES)]
    Weight(WeightVerb),
    /// Keep resources of an agent for a role
    #[command(after_help = RESERVE_EXAMPLES)]
    Reserve(ReserveArgs),
    /// Give back what of an agent was kept for a role
    #[command(after_help = UNRESERVE_EXAMPLES)]
    Unreserve(ReserveArgs),
    /// Persistent volumes: disk of an agent that outlives tasks
    #[command(subcommand, after_help = VOLUME_EXAMPLES)]
    Volume(VolumeVerb),
    /// What tasks are given in confidence, as files
    #[command(subcommand, after_help = SECRET_EXAMPLES)]
    Secret(SecretVerb),
    /// End a framework and all its tasks
    #[command(after_help = TEARDOWN_EXAMPLES)]
    Teardown(TeardownArgs),
    /// Say that an agent will never be back: its tasks are given up
    #[command(after_help = GONE_EXAMPLES)]
    Gone(GoneArgs),
}

/// For authors of frameworks.
#[derive(Clone, Debug, Subcommand)]
pub enum SdkVerb {
    /// Run any framework against pretend masters, make things go wrong, and print a report card: exit code 0 all passed,
    /// 1 not
    Conformance(ConformanceArgs),
    /// Write a small framework with five tests, to begin with
    New(NewArgs),
}

/// What the masters can explain.
#[derive(Clone, Debug, Subcommand)]
pub enum ExplainVerb {
    /// Why a task waits, or how it ended
    #[command(after_help = EXPLAIN_TASK_EXAMPLES)]
    Task(ExplainArgs),
    /// Why a framework gets no offers
    #[command(visible_alias = "fw", after_help = EXPLAIN_FRAMEWORK_EXAMPLES)]
    Framework(ExplainArgs),
    /// Why a declared demand is not met: FRAMEWORK/DEMAND
    #[command(after_help = EXPLAIN_DEMAND_EXAMPLES)]
    Demand(ExplainArgs),
    /// Why what wants something in a role waits
    #[command(after_help = EXPLAIN_ROLE_EXAMPLES)]
    Role(ExplainArgs),
    /// Why nobody uses an agent
    #[command(after_help = EXPLAIN_AGENT_EXAMPLES)]
    Agent(ExplainArgs),
}

/// All that waits, in sum; stands before the nouns, as `stoa explain --summary`.
#[derive(Clone, Debug, Args)]
pub struct ExplainSummaryArgs {
    /// All that waits over all frameworks, by reason, and what one change would help most
    #[arg(long, required = true)]
    pub summary: bool,
    /// More: the verdict of one example for each reason
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How; JSON and YAML always hold everything
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

const GET_EXAMPLES: &str = "Examples:
  stoa get agents
  stoa get tasks --framework jobs --watch
  stoa get tasks --all -o json
  stoa get tasks -o name | xargs -n1 stoa kill";

const LOGS_EXAMPLES: &str = "Examples:
  stoa logs web.1
  stoa logs -f --stderr jobs/web.1
  stoa logs --tail 100 web.1
  stoa logs -f web
      all tasks of the name web, and those that come
  stoa logs -l team=web,tier=front --tail 5";

const EXEC_EXAMPLES: &str = "Examples:
  stoa exec web.0 -- ls -l
  stoa exec -it web.0 -- sh
  stoa exec -i jobs/web.0 -- sh -c 'cat > note' < note";

const DESCRIBE_EXAMPLES: &str = "Examples:
  stoa describe agent agent-1
  stoa describe task web.0
  stoa describe role default -o json";

const KILL_EXAMPLES: &str = "Examples:
  stoa kill web.0
  stoa kill jobs/web.0 --grace 30s
  stoa get tasks -o name | xargs -n1 stoa kill";

const STATUS_EXAMPLES: &str = "Examples:
  stoa status
  stoa status -o json
  stoa status --stale";

const DOCTOR_EXAMPLES: &str = "Examples:
  stoa doctor
  stoa doctor -o json";

const EVENTS_EXAMPLES: &str = "Examples:
  stoa events
  stoa events --watch --kind agent --kind framework
  stoa events --since 4711 -o json
  stoa events --task web.0";

const EXPLAIN_TASK_EXAMPLES: &str = "Examples:
  stoa explain task web.0
  stoa explain task jobs/web.0 -o json";

const EXPLAIN_FRAMEWORK_EXAMPLES: &str = "Examples:
  stoa explain framework jobs
  stoa explain framework jobs -vv";

const EXPLAIN_DEMAND_EXAMPLES: &str = "Examples:
  stoa explain demand jobs/web
  stoa explain demand jobs/web -vvv";

const EXPLAIN_ROLE_EXAMPLES: &str = "Examples:
  stoa explain role eng/web";

const EXPLAIN_AGENT_EXAMPLES: &str = "Examples:
  stoa explain agent agent-1
  stoa explain agent agent-1 -vv";

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Noun {
    /// Machines that offer.
    #[value(alias = "agent")]
    Agents,
    /// What runs.
    #[value(alias = "task")]
    Tasks,
    /// Who decides what runs.
    #[value(aliases = ["framework", "fw"])]
    Frameworks,
    /// Open offers.
    #[value(alias = "offer")]
    Offers,
    /// Who shares.
    #[value(alias = "role")]
    Roles,
    /// What of agents is kept for roles.
    #[value(alias = "reservation")]
    Reservations,
    /// Disk of agents that outlives tasks.
    #[value(alias = "volume")]
    Volumes,
    /// What tasks are given in confidence.
    #[value(alias = "secret")]
    Secrets,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// One object; with --watch one object a line.
    Json,
    /// The same as JSON.
    Yaml,
    /// What other verbs take, one a line.
    Name,
}

/// How one thing is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One object.
    Json,
    /// The same as JSON.
    Yaml,
}

/// How an order is given.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OrderArgs {
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How it is told what changed
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Lists.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// What
    #[arg(value_enum)]
    pub noun: Noun,
    /// Only these, by id or a unique beginning of it
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Stay, and print every change
    #[arg(short, long)]
    pub watch: bool,
    /// Only of this framework (id or name)
    #[arg(long, value_name = "FRAMEWORK")]
    pub framework: Option<String>,
    /// Only on this agent (id or hostname)
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Ended tasks too
    #[arg(short, long)]
    pub all: bool,
    /// Any master may answer, as far as it knows the log: "as of index N". Not what only the leader knows, such as that
    /// a task runs by now
    #[arg(long, conflicts_with = "watch")]
    pub stale: bool,
}

/// Describes.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// What
    #[arg(value_enum)]
    pub noun: Noun,
    /// Which, by id, name or a unique beginning; a task may be FRAMEWORK/TASK
    #[arg(value_name = "ID")]
    pub id: String,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
    /// Any master may answer, as far as it knows the log: "as of index N". Not what only the leader knows, such as that
    /// a task runs by now
    #[arg(long)]
    pub stale: bool,
}

/// Prints output of tasks.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["tasks", "labels"])))]
pub struct LogsArgs {
    /// Which, by id or a unique beginning, or FRAMEWORK/TASK; the name of several, such as a job's, means all of them
    #[arg(value_name = "TASK")]
    pub tasks: Vec<String>,
    /// All tasks with this label; with several, those that have all of them; `name` is a task's name
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Stay until the task has ended; of several tasks until Ctrl-C, with those that come meanwhile
    #[arg(short, long)]
    pub follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    pub stderr: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
}

/// Runs a command beside a task.
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// Which, by id or a unique beginning, or FRAMEWORK/TASK
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// The program and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub command: Vec<String>,
}

/// Ends a task.
#[derive(Clone, Debug, Args)]
pub struct KillArgs {
    /// Which, by id or a unique beginning, or FRAMEWORK/TASK
    #[arg(value_name = "TASK", required = true)]
    pub tasks: Vec<String>,
    /// Time between TERM and KILL, instead of the task's own
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub grace: Option<Duration>,
    /// How the order is given
    #[command(flatten)]
    pub order: OrderArgs,
}

/// Says how the cluster is.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
    /// Any master may answer, as far as it knows the log: "as of index N". Not what only the leader knows, such as that
    /// a task runs by now
    #[arg(long)]
    pub stale: bool,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EventForm {
    /// For people.
    #[default]
    Table,
    /// One object a line.
    Json,
}

/// Tells what happened.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// After the event of this number: whoever goes on with the last number it has seen misses nothing and sees nothing
    /// twice, whichever master leads; 0 begins at the first one
    #[arg(long, value_name = "SEQUENCE")]
    pub since: Option<u64>,
    /// Without --since: so many of the last ones
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub last: u32,
    /// Stay, and print what happens
    #[arg(short, long)]
    pub watch: bool,
    /// Only of this kind, or of those that begin with it: agent, task-ended; once for each
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Only of this agent (id)
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Only of this framework and its tasks (id)
    #[arg(long, value_name = "FRAMEWORK")]
    pub framework: Option<String>,
    /// Only of this task (id)
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Only of this role, principal, token, volume or secret
    #[arg(long, value_name = "NAME")]
    pub subject: Option<String>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: EventForm,
}

/// Explains.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Which
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How it is written
    #[command(flatten)]
    pub view: ExplainView,
}

/// How an explanation is written; for whoever adds subjects too.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ExplainView {
    /// More: -v how many agents each rule leaves, -vv with names, the nearest misses and all that helps, -vvv also what was
    /// tried and does not help
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How; JSON and YAML always hold everything
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not KEY=VALUE, such as team=web")),
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::new(text).map_err(|bad| bad.to_string())
}
