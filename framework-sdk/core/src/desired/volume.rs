//! `VolumeSpec`: the data that each instance of a group keeps, whichever task it runs.

use std::time::Duration;

use proto::id::{BadId, VolumeId};

use super::name::{InstanceName, Life};

/// With the name of an instance and its birth the longest volume id stays below the 128 bytes of an id.
const NAME_BYTES_MAX: usize = 30;

/// A volume of each instance of a group. It is made, with a reservation for the instance, in one step with the first task;
/// from then on the instance runs where its volume is and nowhere else. Its tasks find it at the path that `STOA_VOLUME`
/// names, or of several at that in `STOA_VOLUME_DATA`, if `data` is its name. It outlives the group, unless that is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSpec {
    pub(crate) name: String,
    pub(crate) disk_bytes: u64,
    pub(crate) anew: Option<Duration>,
}

// === impl VolumeSpec ===

impl VolumeSpec {
    /// A volume of so many MiB.
    pub fn named(name: &str, disk_mib: u64) -> Result<Self, BadId> {
        VolumeId::new(name)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(BadId::BadForm("a name of at most 30 bytes"));
        }
        if name.contains('.') {
            return Err(BadId::BadCharacter('.'));
        }
        let disk_bytes = disk_mib.saturating_mul(1 << 20).max(1);
        Ok(VolumeSpec { name: name.to_owned(), disk_bytes, anew: None })
    }

    /// Its size to the byte.
    pub fn disk_bytes(mut self, bytes: u64) -> Self {
        self.disk_bytes = bytes.max(1);
        self
    }

    /// An instance that could not be started where its volume is for so long begins anew elsewhere, with an empty volume: for
    /// whoever has copies of the data. It counts only while the session stands. Otherwise it waits, for ever if its agent is
    /// gone.
    pub fn anew_after(mut self, homeless: Duration) -> Self {
        self.anew = Some(homeless);
        self
    }

    /// The variable in which tasks find the path of a volume of this name.
    pub fn variable_of(name: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("STOA_VOLUME_{}", name.chars().map(word).collect::<String>())
    }

    /// What it is called in its group, by its id.
    pub(crate) fn name_of(volume: &VolumeId) -> Option<&str> {
        let (name, _) = volume.as_str().rsplit_once('.')?.1.rsplit_once('-')?;
        Some(name)
    }

    /// The volume that an instance makes. With a serial number that this life has not used before it was never used at all.
    pub(crate) fn id(&self, instance: &InstanceName, life: Life, serial: u64) -> Result<VolumeId, BadId> {
        VolumeId::new(&format!("{instance}.{}-{}", self.name, life.with(serial)))
    }

    /// Whose volume it is.
    pub(crate) fn owner(volume: &VolumeId) -> Option<InstanceName> {
        InstanceName::parse(volume.as_str().rsplit_once('.')?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::GroupName;

    #[test]
    fn a_volume_is_named_by_its_instance_and_its_birth() {
        let group = GroupName::new(&"g".repeat(64)).expect("a name");
        let instance = InstanceName { group, number: u32::MAX };
        let spec = VolumeSpec::named(&"v".repeat(30), 1).expect("a name");
        let first = spec.id(&instance, Life::drawn(1), u64::MAX).expect("an id");
        assert_ne!(first, spec.id(&instance, Life::drawn(2), u64::MAX).expect("an id"));
        assert_eq!(VolumeSpec::name_of(&first), Some("v".repeat(30).as_str()));
        assert_eq!(VolumeSpec::owner(&first), Some(instance));
    }

    #[test]
    fn a_name_is_short_and_has_no_dot() {
        assert!(VolumeSpec::named("a.b", 1).is_err());
        assert!(VolumeSpec::named(&"v".repeat(31), 1).is_err());
        assert!(VolumeSpec::named("a/b", 1).is_err());
    }
}
