//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use proto::caller::Caller;
use proto::rights::RolePattern;
use proto::role::{Role, Weight};

use crate::conformance::ConformanceArgs;
use crate::duration::parse_duration;
use crate::verbs::quota::Amounts;

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
    /// List agents, tasks, frameworks, offers or roles
    #[command(visible_alias = "ls", after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Show everything about one agent, task, framework, offer or role
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(DescribeArgs),
    /// Print the output of a task
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
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
    /// Look at the group of masters
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
}

/// What can be done with an agent that is in the pool. It stands apart from [`Verb`], beside what runs an agent.
#[derive(Clone, Debug, Subcommand)]
pub enum AgentVerb {
    /// Give an agent no new work; what runs on it ends by itself, or at a deadline
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(DrainArgs),
    /// Give an agent work again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeArgs),
    /// Say that an agent will never be back: its tasks are given up
    #[command(after_help = GONE_EXAMPLES)]
    Gone(GoneArgs),
}

const DRAIN_EXAMPLES: &str = "Examples:
  stoa agent drain agent-3
  stoa agent drain agent-3 --deadline 1h --reason 'new disk' --wait
  stoa agent drain agent-3 --dry-run

Undo it with `stoa agent resume agent-3`.";

const RESUME_EXAMPLES: &str = "Examples:
  stoa agent resume agent-3";

const GET_EXAMPLES: &str = "Examples:
  stoa get agents
  stoa get tasks --framework jobs --watch
  stoa get tasks --all -o json
  stoa get tasks -o name | xargs -n1 stoa kill";

const LOGS_EXAMPLES: &str = "Examples:
  stoa logs web.1
  stoa logs -f --stderr jobs/web.1
  stoa logs --tail 100 web.1";

const TOKEN_EXAMPLES: &str = "Examples:
  stoa token create --kind agent
  stoa token create --kind framework --name spark --ttl 10m
  stoa token create --kind framework --name etl --role 'prod/*' --role default
  stoa token create --kind user --name ada

Use it with `stoa agent --join TOKEN`, or `stoa join TOKEN` for a framework or a person.";

const AUTH_EXAMPLES: &str = "Examples:
  stoa auth whoami
  stoa auth can-i subscribe --role prod/etl --as framework/spark
  stoa auth grant framework/spark --role 'prod/*' --role default
  stoa auth principals";

const CAN_I_EXAMPLES: &str = "Examples:
  stoa auth can-i kill-task
  stoa auth can-i subscribe --role prod/etl --as framework/spark
  stoa auth can-i run-as --user root --as framework/jobs
  stoa auth can-i read-environment --owner framework/jobs --as framework/spark";

const GRANT_EXAMPLES: &str = "Examples:
  stoa auth grant framework/spark --role 'prod/*' --role default
  stoa auth grant framework/jobs --role '*' --dry-run
  stoa auth revoke framework/spark";

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

const RAFT_EXAMPLES: &str = "Examples:
  stoa raft status
  stoa raft status -o json";

const QUOTA_EXAMPLES: &str = "Examples:
  stoa quota set eng --guarantee cpus=4,mem=8GiB --limit cpus=8
  stoa quota clear eng";

const WEIGHT_EXAMPLES: &str = "Examples:
  stoa weight set eng 2.5";

const TEARDOWN_EXAMPLES: &str = "Examples:
  stoa framework teardown spark
  stoa framework teardown spark --yes

`stoa teardown` is the same.";

const GONE_EXAMPLES: &str = "Examples:
  stoa agent gone agent-3
  stoa agent gone agent-3 --yes

`stoa gone` is the same.";

const EXPLAIN_TASK_EXAMPLES: &str = "Examples:
  stoa explain task web.0
  stoa explain task jobs/web.0 -v -o json";

const EXPLAIN_FRAMEWORK_EXAMPLES: &str = "Examples:
  stoa explain framework jobs
  stoa explain framework jobs --summary";

const EXPLAIN_DEMAND_EXAMPLES: &str = "Examples:
  stoa explain demand jobs/web";

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

/// Prints output of a task.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Which, by id or a unique beginning, or FRAMEWORK/TASK
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Stay until the task has ended
    #[arg(short, long)]
    pub follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    pub stderr: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
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
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
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
    /// Only of this role, principal, token or volume
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
    /// Every name at every step, instead of a few
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "summary")]
    pub verbose: u8,
    /// The verdict only
    #[arg(long)]
    pub summary: bool,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// What can be done with the group of masters.
#[derive(Clone, Debug, Subcommand)]
pub enum RaftVerb {
    /// Who the masters are, and who leads
    #[command(after_help = RAFT_EXAMPLES)]
    Status(StatusArgs),
}

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token with which somebody joins; it is shown once
    Create(TokenArgs),
}

/// What a token makes of whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenFor {
    /// An agent
    Agent,
    /// A framework
    Framework,
    /// A member of the group of masters that was named at its founding
    Master,
    /// A person
    User,
}

/// Makes a join token.
#[derive(Clone, Debug, Args)]
#[command(
    group(ArgGroup::new("whom").required(true).args(["kind", "agent", "framework"])),
    after_help = TOKEN_EXAMPLES
)]
pub struct TokenArgs {
    /// For what
    #[arg(long, visible_alias = "for", value_enum)]
    pub kind: Option<TokenFor>,
    /// For whom: a framework's principal, a user, or the number of a master; agents need none
    #[arg(long, value_name = "NAME", requires = "kind")]
    pub name: Option<String>,
    /// For an agent: the same as --kind agent
    #[arg(long)]
    pub agent: bool,
    /// For the framework of this name: the same as --kind framework --name NAME
    #[arg(long, value_name = "NAME")]
    pub framework: Option<String>,
    /// For how long it can be used
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1h")]
    pub ttl: Duration,
    /// How often it can be used
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// The roles that the framework may take offers in from then on: eng that one, eng/* those below it, * all; once for
    /// each [default: what it may already; a new one default, its own name, and those below its name]
    #[arg(long = "role", value_name = "PATTERN")]
    pub roles: Vec<RolePattern>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What can be asked and said of rights.
#[derive(Clone, Debug, Subcommand)]
pub enum AuthVerb {
    /// Who I am to this cluster, and what I may
    #[command(after_help = AUTH_EXAMPLES)]
    Whoami(FormArgs),
    /// Whether I, or somebody else, may do something: exit code 0 yes, 1 no
    #[command(name = "can-i", after_help = CAN_I_EXAMPLES)]
    CanI(CanIArgs),
    /// The frameworks that were granted roles
    #[command(after_help = AUTH_EXAMPLES)]
    Principals(FormArgs),
    /// Say in which roles a framework may take offers: in these, and no others
    #[command(after_help = GRANT_EXAMPLES)]
    Grant(GrantArgs),
    /// Take back what was granted: the framework may what every framework of its name may
    #[command(after_help = GRANT_EXAMPLES)]
    Revoke(RevokeArgs),
}

/// How an answer is written.
#[derive(Clone, Debug, Args)]
pub struct FormArgs {
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Asks whether somebody may.
#[derive(Clone, Debug, Args)]
pub struct CanIArgs {
    /// What: read, subscribe, run-as, kill-task, set-role, create-token and so on
    #[arg(value_name = "VERB")]
    pub verb: String,
    /// In which role
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,
    /// As which user, of run-as
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Whose things: framework/NAME or user/NAME
    #[arg(long, value_name = "PRINCIPAL")]
    pub owner: Option<String>,
    /// Of whom it is asked, instead of me
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: Option<Caller>,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Says in which roles a framework may take offers.
#[derive(Clone, Debug, Args)]
pub struct GrantArgs {
    /// Whom, such as framework/spark
    #[arg(value_name = "PRINCIPAL")]
    pub principal: Caller,
    /// eng that role, eng/* those below it, * all; once for each
    #[arg(long = "role", value_name = "PATTERN", required = true)]
    pub roles: Vec<RolePattern>,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Takes back what was granted.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// From whom, such as framework/spark
    #[arg(value_name = "PRINCIPAL")]
    pub principal: Caller,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What can be done with quota.
#[derive(Clone, Debug, Subcommand)]
pub enum QuotaVerb {
    /// Replace a role's guarantees and limits
    #[command(after_help = QUOTA_EXAMPLES)]
    Set(QuotaArgs),
    /// Take a role's guarantees and limits away
    #[command(after_help = QUOTA_EXAMPLES)]
    Clear(QuotaClearArgs),
}

/// Sets quota.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["guarantee", "limit"])))]
pub struct QuotaArgs {
    /// Of which role
    #[arg(value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// Kept available for it: cpus=4,mem=8GiB
    #[arg(long, value_name = "AMOUNTS")]
    pub guarantee: Option<Amounts>,
    /// Never passed by it and the roles below it: cpus=8,mem=16GiB
    #[arg(long, value_name = "AMOUNTS")]
    pub limit: Option<Amounts>,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Clears quota.
#[derive(Clone, Debug, Args)]
pub struct QuotaClearArgs {
    /// Of which role
    #[arg(value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What can be done with weights.
#[derive(Clone, Debug, Subcommand)]
pub enum WeightVerb {
    /// Replace a role's weight
    #[command(after_help = WEIGHT_EXAMPLES)]
    Set(WeightArgs),
}

/// Sets a weight.
#[derive(Clone, Debug, Args)]
pub struct WeightArgs {
    /// Of which role
    #[arg(value_name = "ROLE", value_parser = parse_role)]
    pub role: Role,
    /// 1 is the ordinary share, 2 twice as much; up to three decimals
    #[arg(value_name = "WEIGHT", value_parser = parse_weight)]
    pub weight: Weight,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Ends a framework.
#[derive(Clone, Debug, Args)]
pub struct TeardownArgs {
    /// Which, by id, name or a unique beginning
    #[arg(value_name = "FRAMEWORK")]
    pub framework: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Gives an agent no new work.
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    /// Which, by id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// End what still runs on it after this long, each task with its own grace [default: it runs until it ends]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub deadline: Option<Duration>,
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Stay until nothing runs on it any more
    #[arg(long)]
    pub wait: bool,
    /// Stay no longer than this: exit code 5 if tasks are left
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub at_most: Option<Duration>,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Gives an agent work again.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    /// Which, by id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Gives an agent up.
#[derive(Clone, Debug, Args)]
pub struct GoneArgs {
    /// Which, by id, hostname or a unique beginning
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Have everything checked, say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::new(text).map_err(|bad| bad.to_string())
}

fn parse_weight(text: &str) -> Result<Weight, String> {
    let milli = proto::quantities::parse_milli(text).map_err(|bad| bad.to_string())?;
    u32::try_from(milli)
        .ok()
        .and_then(Weight::from_milli)
        .ok_or_else(|| format!("{text:?} is not a weight; write a number above 0, such as 0.5 or 2"))
}
