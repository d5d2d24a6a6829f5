//! `Change`: every fact the allocator is told, one enum, so that it can be logged, replayed, fuzzed and measured.

use std::sync::Arc;

use proto::agent::AgentInfo;
use proto::demand::Demand;
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::quota::Quota;
use proto::resources::Resources;
use proto::role::{Role, Weight};
use proto_machine::Instant;

/// One fact. What it names and does not know, or what does not fit what it was told before, is refused whole:
/// [`Allocator::apply`](crate::Allocator::apply) says so and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An agent is there. One that is there already is taken as changed.
    AgentAdded {
        /// What it says of itself.
        info: Arc<AgentInfo>,
        /// All it has, with its reservations and volumes.
        total: Resources,
        /// Whether it is connected: only then it is offered.
        active: bool,
    },
    /// An agent says something new of itself, or has more or less. If its attributes changed, filters on it are void.
    AgentChanged {
        /// What it says of itself now.
        info: Arc<AgentInfo>,
        /// All it has now. What is held beyond that stays counted, and only what is certainly there is offered.
        total: Resources,
    },
    /// An agent connected or disconnected (or is drained).
    AgentActive {
        /// Which.
        agent: AgentId,
        /// Whether it may be offered.
        active: bool,
    },
    /// An agent is gone with all that was held of it: nothing of it is recovered afterwards.
    AgentRemoved {
        /// Which.
        agent: AgentId,
    },
    /// A framework is there and connected. One that is there already takes these roles and is connected.
    FrameworkAdded {
        /// Which.
        id: FrameworkId,
        /// The roles it takes offers in.
        roles: Vec<Role>,
        /// Those of them in which it wants none for now.
        suppressed: Vec<Role>,
    },
    /// A framework takes offers in other roles. Roles it leaves keep what is held until that is recovered.
    FrameworkRoles {
        /// Which.
        id: FrameworkId,
        /// The roles it takes offers in.
        roles: Vec<Role>,
        /// Those of them in which it wants none for now.
        suppressed: Vec<Role>,
    },
    /// A framework connected or disconnected. A disconnected one gets nothing; what it holds counts on. Its filters
    /// are void.
    FrameworkActive {
        /// Which.
        id: FrameworkId,
        /// Whether it is connected.
        active: bool,
    },
    /// A framework is gone. What it still holds counts until it is recovered, piece by piece.
    FrameworkRemoved {
        /// Which.
        id: FrameworkId,
    },
    /// A framework wants no offers in these roles.
    Suppress {
        /// Which.
        framework: FrameworkId,
        /// Empty: all its roles.
        roles: Vec<Role>,
    },
    /// A framework wants offers again in these roles; its filters there are void.
    Revive {
        /// Which.
        framework: FrameworkId,
        /// Empty: all its roles.
        roles: Vec<Role>,
    },
    /// Replaces all that a framework says it wants. A demand is the same as before when id, role, shape and constraints
    /// are: then offers open for it count. What is open and no longer wanted, [`Allocator::surplus`] names.
    ///
    /// [`Allocator::surplus`]: crate::Allocator::surplus
    Demands {
        /// Which.
        framework: FrameworkId,
        /// All it wants and does not have.
        demands: Vec<Demand>,
        /// Whether it wants offers for its demands only.
        demand_driven: bool,
    },
    /// The quota of a role; the default takes it away.
    QuotaSet {
        /// Which.
        role: Role,
        /// Guarantees and limits.
        quota: Quota,
    },
    /// The weight of a role.
    WeightSet {
        /// Which.
        role: Role,
        /// Its weight.
        weight: Weight,
    },
    /// Something is used that was never offered by this allocator (learned from the log). It is counted even when the
    /// agent does not have it free: then only what is certainly there is offered.
    Charged {
        /// By whom; one that is unknown is counted all the same.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Whose it is.
        agent: AgentId,
        /// What.
        resources: Resources,
    },
    /// An offer was answered with an accept that is on its way through the log. What was offered stays counted, but is
    /// no longer unanswered, and its demand wants that much less until the framework states its demands anew. May be
    /// left out when [`Accepted`](Change::Accepted) follows in the same step; which demands were met is then inferred
    /// from the amounts.
    Taken {
        /// By whom.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Whose it is.
        agent: AgentId,
        /// The whole offer.
        resources: Resources,
        /// The demand it was made for.
        demand: Option<DemandId>,
    },
    /// An accept was committed. In one go: `offered` comes back; each of `transforms` is carried out on it, in order
    /// (a reservation, a volume); `used` is taken of the result; the rest is free, with a filter.
    Accepted {
        /// By whom.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Whose it is.
        agent: AgentId,
        /// All accepted offers together, as they were made.
        offered: Resources,
        /// What becomes what on the agent: the operations that are not launches.
        transforms: Vec<Transform>,
        /// What tasks use of it from now on.
        used: Resources,
        /// Until when what is left over is not offered to this framework in this role.
        until: Instant,
    },
    /// Something came back: a task ended, or an offer was rescinded or expired.
    Recovered {
        /// From whom.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Whose it is.
        agent: AgentId,
        /// What. Of an open offer: the whole offer.
        resources: Resources,
        /// On which account it stood.
        from: Account,
        /// The demand of the offer; regarded for [`Account::Offered`] only.
        demand: Option<DemandId>,
    },
    /// Free resources of an agent became others: an operator reserved or unreserved.
    Transformed {
        /// Whose they are.
        agent: AgentId,
        /// What becomes what.
        transform: Transform,
    },
    /// An offer came back with a filter.
    Declined {
        /// From whom.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Whose it is.
        agent: AgentId,
        /// The whole offer.
        resources: Resources,
        /// The demand it was made for.
        demand: Option<DemandId>,
        /// Until when the agent is not offered again to this framework in this role, unless it has more to offer.
        until: Instant,
    },
}

/// What becomes what: the two have the same amounts and differ in reservation and volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// What it was.
    pub from: Resources,
    /// What it is.
    pub to: Resources,
}

/// Where something that a framework holds stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Offered and not answered.
    Offered,
    /// Accepted and on its way through the log.
    Taken,
    /// In use by tasks.
    Used,
}
