//! Why something waits: the verdict, the funnel, the nearest misses and what would help; and all that waits, in sum.

use crate::id::{AgentId, FrameworkId, TaskId};
use crate::resources::Amount;
use crate::role::Role;

/// Enums whose variants have a stable code each, in one list.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All there are.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The code as documented.
            pub fn code(self) -> &'static str {
                match self { $($name::$variant => $code),* }
            }
        }
    };
}

codes! {
    /// The stable codes of a verdict; each has a section in `docs/guide/reasons.md`, and there are fewer than thirty.
    Verdict {
        /// It got what it asked for, or has an offer open.
        Served = "served",
        /// It wants nothing.
        WantsNothing = "wants-nothing",
        /// The framework is not connected.
        Disconnected = "framework-disconnected",
        /// The framework was torn down.
        FrameworkRemoved = "framework-removed",
        /// The framework may not take offers in one of its roles.
        NotGranted = "role-not-granted",
        /// Nobody takes offers in the role.
        NoFrameworks = "no-frameworks",
        /// The framework suppressed the role.
        Suppressed = "suppressed",
        /// There is no agent at all.
        NoAgents = "no-agents",
        /// No agent meets the constraints.
        Constraints = "constraints",
        /// Larger than any agent, even an empty one.
        TooLarge = "too-large",
        /// It would fit an empty agent, but now others use it.
        NoRoom = "no-room",
        /// What would fit is reserved for other roles.
        Reserved = "reserved",
        /// The role is at its limit.
        QuotaLimit = "quota-limit",
        /// What is free is kept for the guarantees of others.
        QuotaHeadroom = "quota-headroom",
        /// The framework itself declined what would fit, for a while.
        Filtered = "filtered",
        /// Others are served first: by share, by guarantee, or for another demand of the same framework.
        FairShare = "fair-share",
        /// The framework holds as many unanswered offers as it may.
        HoldsTooMuch = "holds-too-much",
        /// What would fit is offered to somebody who has not answered yet.
        Offered = "offered",
        /// The agent in question gets no new work.
        AgentDraining = "agent-draining",
        /// The agent in question is not connected.
        AgentDisconnected = "agent-disconnected",
        /// The agent in question is out of sight.
        AgentUnreachable = "agent-unreachable",
        /// The agent in question was given up.
        AgentGone = "agent-gone",
        /// The task was accepted and has not started.
        Staging = "staging",
        /// The task runs.
        Running = "running",
        /// The task was asked to end.
        Killing = "killing",
        /// The task is over.
        Ended = "ended",
    }
}

codes! {
    /// The kinds of changes that may help; each is a row in `docs/guide/reasons.md`.
    RemedyKind {
        /// Time passes.
        Wait = "wait",
        /// The framework connects.
        Connect = "connect",
        /// The framework revives a role.
        Revive = "revive",
        /// Somebody declines the offers that he holds.
        Decline = "decline",
        /// The demand asks for less.
        Smaller = "smaller",
        /// The demand has one constraint less.
        Constraint = "constraint",
        /// One task ends.
        TaskEnds = "task-ends",
        /// Several tasks on one agent end.
        TasksEnd = "tasks-end",
        /// The limit of a role is raised.
        Limit = "limit",
        /// The guarantee of a role is taken away.
        Guarantee = "guarantee",
        /// What is reserved and free is reserved no more.
        Unreserve = "unreserve",
        /// A role has a larger weight.
        Weight = "weight",
        /// An agent that drains gets work again.
        ResumeAgent = "resume-agent",
        /// An agent that is not connected comes back.
        AgentReturns = "agent-returns",
        /// One more agent joins.
        AddAgent = "add-agent",
    }
}

/// One step of the funnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunnelStep {
    /// A stable name: `all`, `alive`, `not-draining`, `role`, `filters`, `constraints`, then each resource that is asked
    /// for by its own name (`cpus`, `mem`, `ports`), or `room` for whole agents, then `quota` and `hold`. Steps without
    /// meaning for what was asked are left out.
    pub name: String,
    /// How many agents are left after it.
    pub left: u64,
    /// Hostnames of those that fell out here, at most [`FunnelStep::NAMES_MAX`].
    pub fell_out: Vec<String>,
    /// How many more fell out here than are named.
    pub more: u64,
    /// Hostnames of those that are left, at most [`FunnelStep::NAMES_MAX`].
    pub names: Vec<String>,
}

impl FunnelStep {
    /// Names shown for one step.
    pub const NAMES_MAX: usize = 20;
}

/// An agent that nearly fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The agent.
    pub agent: AgentId,
    /// Its hostname.
    pub hostname: String,
    /// What it lacks; empty when another rule stands in the way.
    pub lacking: Amount,
    /// The rule in words.
    pub rule: String,
}

/// One change of a remedy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemedyStep {
    /// A [`RemedyKind`]'s code.
    pub kind: String,
    /// The change in words: a condition, such as "when task jobs/web.0 ends".
    pub change: String,
    /// The command that makes it; empty where none does.
    pub command: String,
    /// The agent it is about.
    pub agent: Option<AgentId>,
    /// The framework it is about.
    pub framework: Option<FrameworkId>,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The role it is about.
    pub role: Option<Role>,
    /// Of a limit: the new one; of a demand: what it would ask for; of a reservation: what goes; of an agent: what it would have.
    pub amount: Amount,
    /// Of a weight: the new one, in thousandths.
    pub weight_milli: u32,
}

/// Something that was tried on a copy of the pool, and what came of it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// The changes, made together.
    pub steps: Vec<RemedyStep>,
    /// Whether the offer came. Nothing that was not tried says so.
    pub helps: bool,
    /// Which agent was offered; or what stood in the way then.
    pub outcome: String,
    /// The code of the verdict there; `served` if it helps.
    pub code: String,
}

// === impl Remedy ===

impl Remedy {
    /// The changes in one line.
    pub fn change(&self) -> String {
        self.steps.iter().map(|step| step.change.as_str()).collect::<Vec<_>>().join(", and ")
    }
}

/// The whole answer for one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked about, in words.
    pub subject: String,
    /// A [`Verdict`]'s code.
    pub code: String,
    /// The verdict in one line.
    pub verdict: String,
    /// How many agents each rule leaves over.
    pub funnel: Vec<FunnelStep>,
    /// At most three.
    pub nearest: Vec<NearMiss>,
    /// What would help, in words: those of `tried` that do.
    pub help: Vec<String>,
    /// Everything that was tried, in the order it was.
    pub tried: Vec<Remedy>,
    /// How much more there was to try when the work allowed for one question was spent.
    pub untried: u64,
    /// What bears on the answer and is not known, or not part of it.
    pub notes: Vec<String>,
    /// How long the demand has been declared, as far as the answering master knows; 0 when that is not known.
    pub waiting_ms: u64,
    /// Of a demand that was only supposed: so many units of it were given on a copy of the pool.
    pub fits: u64,
}

/// What waits for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingGroup {
    /// A [`Verdict`]'s code.
    pub code: String,
    /// How many demands.
    pub demands: u64,
    /// How many units they miss together.
    pub units: u64,
    /// Of how many frameworks.
    pub frameworks: u64,
    /// How long the oldest waits.
    pub oldest_ms: u64,
    /// The name of the framework that misses most.
    pub framework: String,
    /// The role in which most is missing.
    pub role: String,
    /// The oldest one, as `stoa explain demand` takes it.
    pub example: String,
    /// Its verdict in words.
    pub verdict: String,
}

/// All that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many demands are not met.
    pub demands: u64,
    /// How many units they miss together.
    pub units: u64,
    /// How long the oldest waits, as far as the answering master knows.
    pub oldest_ms: u64,
    /// By reason, most units first.
    pub groups: Vec<WaitingGroup>,
    /// The name of the framework that misses most units; empty when nothing waits.
    pub worst_framework: String,
    /// The role in which most units are missing.
    pub worst_role: String,
    /// The single change after which most demands were offered something on a copy.
    pub best: Option<Remedy>,
    /// How many demands were.
    pub best_demands: u64,
    /// How many units.
    pub best_units: u64,
    /// How many changes were tried.
    pub tried: u64,
    /// Demands that were counted and not looked into: the work allowed for one question was spent.
    pub unexamined: u64,
    /// Connected frameworks that declare no demands: whether they wait is not known.
    pub undeclared: u64,
    /// What bears on the answer and is not known.
    pub notes: Vec<String>,
}
