//! Operations: what can be done with offered resources.

use crate::id::{GroupId, VolumeId};
use crate::resources::Amount;
use crate::role::Role;
use crate::task::TaskInfo;

/// One thing to do with offered resources. Operations of one accept see the result of those before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start tasks.
    Launch(Launch),
    /// Start tasks that share their fate.
    LaunchGroup(LaunchGroup),
    /// Keep something unreserved for a role.
    Reserve(Reserve),
    /// Give back something reserved.
    Unreserve(Unreserve),
    /// Make a persistent volume of reserved disk.
    CreateVolume(CreateVolume),
    /// Destroy a persistent volume.
    DestroyVolume(DestroyVolume),
}

/// Start tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The tasks.
    pub tasks: Vec<TaskInfo>,
}

/// Start tasks that share their fate: when one ends badly the others are killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchGroup {
    /// The group.
    pub group: GroupId,
    /// Its tasks.
    pub tasks: Vec<TaskInfo>,
}

/// Keep something unreserved for a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// For whom: the role of the offer, or one above it.
    pub role: Role,
    /// How much.
    pub amount: Amount,
}

/// Give back something reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreserve {
    /// For whom it is kept.
    pub role: Role,
    /// How much.
    pub amount: Amount,
}

/// Make a persistent volume of reserved disk: a directory that outlives tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateVolume {
    /// For whom the disk is kept.
    pub role: Role,
    /// Chosen by the framework; the role has no other of this name on the agent.
    pub volume: VolumeId,
    /// Its size.
    pub disk_bytes: u64,
}

/// Destroy a persistent volume and what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestroyVolume {
    /// For whom the disk is kept.
    pub role: Role,
    /// Which.
    pub volume: VolumeId,
}
