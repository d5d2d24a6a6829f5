//! Persistent volumes: what an agent keeps for a role beyond the life of tasks.

use crate::id::VolumeId;
use crate::resources::Resources;
use crate::role::Role;

/// One life of a volume on one agent. A name may be used again, a birth never is, so this tells what is on a volume from
/// what was on all that ever bore its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    /// For whom its disk is reserved.
    pub role: Role,
    /// Chosen by the framework.
    pub id: VolumeId,
    /// Given when it is made; grows from volume to volume of an agent. 0: made before volumes held data.
    pub birth: u64,
}

impl Resources {
    /// The names of the volumes in it, each with the role its disk is reserved for.
    pub fn volumes(&self) -> impl Iterator<Item = (&Role, &VolumeId)> {
        self.portions()
            .iter()
            .filter_map(|portion| Some((portion.reservation.as_ref()?, portion.volume.as_ref()?)))
    }

    /// Whether this volume, or part of it, is in it.
    pub fn has_volume(&self, role: &Role, id: &VolumeId) -> bool {
        self.volumes().any(|named| named == (role, id))
    }
}
