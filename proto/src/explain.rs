//! Why something waits: the verdict, the funnel, the nearest misses and what would help.

use crate::id::AgentId;
use crate::resources::Amount;

/// The stable codes of a verdict; each has a section in `docs/guide/reasons.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It got what it asked for, or has an offer open.
    Served,
    /// It wants nothing.
    WantsNothing,
    /// The framework is not connected.
    Disconnected,
    /// The framework suppressed the role.
    Suppressed,
    /// There is no agent at all.
    NoAgents,
    /// No agent meets the constraints.
    Constraints,
    /// Larger than any agent, even an empty one.
    TooLarge,
    /// It would fit an empty agent, but now others use it.
    NoRoom,
    /// What would fit is reserved for other roles.
    Reserved,
    /// The role is at its limit.
    QuotaLimit,
    /// What is free is kept for the guarantees of others.
    QuotaHeadroom,
    /// The framework itself declined what would fit, for a while.
    Filtered,
    /// Others are served first: by share, by guarantee, or for another demand of the same framework.
    FairShare,
    /// The framework holds as many unanswered offers as it may.
    HoldsTooMuch,
    /// What would fit is offered to somebody who has not answered yet.
    Offered,
}

impl Verdict {
    /// The code as documented.
    pub fn code(self) -> &'static str {
        match self {
            Verdict::Served => "served",
            Verdict::WantsNothing => "wants-nothing",
            Verdict::Disconnected => "framework-disconnected",
            Verdict::Suppressed => "suppressed",
            Verdict::NoAgents => "no-agents",
            Verdict::Constraints => "constraints",
            Verdict::TooLarge => "too-large",
            Verdict::NoRoom => "no-room",
            Verdict::Reserved => "reserved",
            Verdict::QuotaLimit => "quota-limit",
            Verdict::QuotaHeadroom => "quota-headroom",
            Verdict::Filtered => "filtered",
            Verdict::FairShare => "fair-share",
            Verdict::HoldsTooMuch => "holds-too-much",
            Verdict::Offered => "offered",
        }
    }
}

/// One step of the funnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunnelStep {
    /// A stable name: `all`, `active`, `constraints`, `role`, `filters`, then each resource that is asked for by its own
    /// name (`cpus`, `mem`, `ports`), or `room` for whole agents, then `quota` and `hold`. Steps without meaning for
    /// what was asked are left out.
    pub name: String,
    /// How many agents are left after it.
    pub left: u64,
    /// Hostnames of those that fell out here, at most [`FunnelStep::NAMES_MAX`].
    pub fell_out: Vec<String>,
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

/// The whole answer for one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked about, in words.
    pub subject: String,
    /// A [`Verdict`]'s code, or another stable code of the master.
    pub code: String,
    /// The verdict in one line.
    pub verdict: String,
    /// How many agents each rule leaves over.
    pub funnel: Vec<FunnelStep>,
    /// At most three.
    pub nearest: Vec<NearMiss>,
    /// What would help: each was tried on a copy of the pool as it is, and there the offer came.
    pub help: Vec<String>,
}
