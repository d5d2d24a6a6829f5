//! `Group`: so many instances of one task spec, by a name that stays, and the rules by which they are kept.

use std::fmt;
use std::time::Duration;

use proto::attributes::{Constraint, Constraints};
use proto::id::BadId;
use proto::role::Role;

use super::change::RollingChange;
use super::elastic::ElasticSet;
use super::name::GroupName;
use super::restart::{BackOff, Restart};
use super::spec::TaskSpec;
use super::volume::VolumeSpec;

/// So many instances of one task spec. Stating a group of the same name again changes it; what differs between the two
/// is brought about, and nothing else. Not to be mixed up with a task group, whose tasks share their fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub(crate) name: GroupName,
    pub(crate) spec: TaskSpec,
    pub(crate) previous: Option<TaskSpec>,
    pub(crate) numbers: Numbers,
    pub(crate) role: Option<Role>,
    pub(crate) priority: i32,
    pub(crate) parallel: Option<u32>,
    pub(crate) restart: Restart,
    pub(crate) back_off: BackOff,
    pub(crate) change: RollingChange,
    pub(crate) spread: Option<Spread>,
    pub(crate) prefer: Constraints,
    pub(crate) gang: bool,
    pub(crate) volumes: Vec<VolumeSpec>,
    pub(crate) stay: Option<Duration>,
    pub(crate) unreachable: Unreachable,
    pub(crate) drain: Duration,
}

/// Which instances there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Those below this: each has an identity of its own.
    Below(u32),
    /// As many as are aimed at, whichever.
    Elastic(ElasticSet),
}

/// Over what the instances are spread, most evenly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// An attribute; or `agent`, or `hostname`.
    pub by: String,
    /// So many at most share one value, and more wait; `None`: evenly if it can be, else wherever there is room.
    pub at_most: Option<u32>,
}

/// What is done about an instance whose agent is out of sight: it may still run there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// After so long it is treated as one that is gone, and ended if it comes back.
    WaitUpTo(Duration),
    /// Nothing, until it is known how it ended.
    Wait,
}

/// Why a group cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadGroup {
    name: String,
    why: BadId,
}

impl fmt::Display for BadGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of the group, {:?}, {}", self.name, self.why)
    }
}

impl std::error::Error for BadGroup {}

// === impl Group ===

impl Group {
    /// The name of a group that was given none: enough for a framework that has but one.
    pub const NAME_DEFAULT: &str = "main";

    /// One instance, everything else as by default: started again when it fails, replaced one at a time when the spec
    /// changes, started elsewhere when its agent is out of sight for five minutes.
    pub fn of(spec: TaskSpec) -> Self {
        Group {
            name: GroupName::main(),
            spec,
            previous: None,
            numbers: Numbers::Below(1),
            role: None,
            priority: 0,
            parallel: None,
            restart: Restart::OnFailure { retries: None },
            back_off: BackOff::DEFAULT,
            change: RollingChange::DEFAULT,
            spread: None,
            prefer: Constraints::default(),
            gang: false,
            volumes: Vec::new(),
            stay: None,
            unreachable: Unreachable::DEFAULT,
            drain: Duration::ZERO,
        }
    }

    /// The name that it keeps.
    pub fn named(mut self, name: &str) -> Result<Self, BadGroup> {
        self.name = GroupName::new(name).map_err(|why| BadGroup { name: name.to_owned(), why })?;
        Ok(self)
    }

    /// So many instances, numbered from 0.
    pub fn count(mut self, count: u32) -> Self {
        self.numbers = Numbers::Below(count);
        self
    }

    /// As many instances as are aimed at, within bounds. One that ends is started again as long as it is aimed at.
    pub fn elastic(mut self, set: ElasticSet) -> Self {
        self.numbers = Numbers::Elastic(set);
        self
    }

    /// The role in which its offers are taken; the framework's own unless said.
    pub fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// Among the framework's own wishes: higher goes first.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// At most so many instances have a task at once; the others wait for their turn.
    pub fn parallel(mut self, most: u32) -> Self {
        self.parallel = Some(most.max(1));
        self
    }

    /// When an instance that ended is started again.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// The pause before that.
    pub fn back_off(mut self, back_off: BackOff) -> Self {
        self.back_off = back_off;
        self
    }

    /// How a changed spec is brought about.
    pub fn change(mut self, change: RollingChange) -> Self {
        self.change = change;
        self
    }

    /// What its instances ran before this spec. A life of the framework that has not stated that itself needs it to go back,
    /// when a change fails: what is remembered over lives is a fingerprint.
    pub fn previous(mut self, spec: TaskSpec) -> Self {
        self.previous = Some(spec);
        self
    }

    /// Spreads the instances over the values of an attribute (or `agent`, or `hostname`): evenly if it can be.
    pub fn spread(mut self, by: &str) -> Self {
        self.spread = Some(Spread { by: by.to_owned(), at_most: None });
        self
    }

    /// The same, but more than so many with one value rather wait.
    pub fn at_most(mut self, count: u32, by: &str) -> Self {
        self.spread = Some(Spread { by: by.to_owned(), at_most: Some(count.max(1)) });
        self
    }

    /// A rule that need not hold; of several the first weighs most. Those that wait hold out for a second for agents of
    /// which all such rules hold, then for a second without the last of them, and so on. Of what is offered at once the
    /// agents of which more hold are taken first. An even spread goes before. It is no part of the spec: what runs already
    /// stays where it is.
    pub fn prefer(mut self, rule: Constraint) -> Self {
        self.prefer.0.push(rule);
        self
    }

    /// All instances start together, over as many agents as it takes, or none of them does; while they wait they hold
    /// nothing. When one ends badly all start again, and a changed spec changes all at once. A gang starts in one call: at
    /// most a thousand tasks. With that, [`Group::parallel`] and [`Group::stay`] say nothing, and [`Group::volume`] is refused.
    pub fn gang(mut self) -> Self {
        self.gang = true;
        self
    }

    /// Each instance keeps a volume, and runs where that is. Of several they are made together, and one of a name that was
    /// given before replaces that.
    pub fn volume(mut self, volume: VolumeSpec) -> Self {
        self.volumes.retain(|other| other.name != volume.name);
        self.volumes.push(volume);
        self
    }

    /// An instance that is started again waits so long for the agent that it ran on, and then goes anywhere.
    pub fn stay(mut self, patience: Duration) -> Self {
        self.stay = Some(patience);
        self
    }

    /// What is done about instances out of sight.
    pub fn unreachable(mut self, unreachable: Unreachable) -> Self {
        self.unreachable = unreachable;
        self
    }

    /// Before an instance is ended its owner is told, and has so long to take its work away.
    pub fn drain(mut self, grace: Duration) -> Self {
        self.drain = grace;
        self
    }

    /// Its name.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// What its instances run.
    pub fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    pub(crate) fn has_volumes(&self) -> bool {
        !self.volumes.is_empty()
    }

    /// After so long without its volumes an instance may begin anew: each of them has to allow that.
    pub(crate) fn anew(&self) -> Option<Duration> {
        let each: Option<Vec<Duration>> = self.volumes.iter().map(|volume| volume.anew).collect();
        each?.into_iter().max()
    }

    /// Which instances there are.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }
}

impl Unreachable {
    /// Five minutes, as Kubernetes (`tolerationSeconds`) and Marathon (`inactiveAfterSeconds`).
    pub const DEFAULT: Unreachable = Unreachable::WaitUpTo(Duration::from_secs(300));
}
