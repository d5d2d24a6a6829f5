//! Reservations and volumes of the pretend agents.

use proto::id::VolumeId;
use proto::operation::Operation;
use proto::quantities::Quantities;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;

use super::Fake;

/// What becomes of offered resources. What does not fit changes nothing: a real master would have refused all of it.
pub(super) fn carry_out(rest: &mut Resources, operation: Operation) {
    let disk = |bytes| Amount::scalars(Quantities::ZERO.with_disk(bytes));
    let (from, to) = match operation {
        Operation::Reserve(reserve) => {
            (Resources::unreserved(reserve.amount.clone()), Resources::reserved(reserve.role, reserve.amount))
        }
        Operation::Unreserve(back) => {
            (Resources::reserved(back.role, back.amount.clone()), Resources::unreserved(back.amount))
        }
        Operation::CreateVolume(create) => {
            let mut made = Resources::EMPTY;
            made.add_portion(&Portion {
                reservation: Some(create.role.clone()),
                volume: Some(create.volume),
                amount: disk(create.disk_bytes),
            });
            (Resources::reserved(create.role, disk(create.disk_bytes)), made)
        }
        Operation::DestroyVolume(destroy) => {
            let named = |portion: &&Portion| portion.volume.as_ref() == Some(&destroy.volume);
            let Some(portion) = rest.portions().iter().find(named).cloned() else { return };
            let mut gone = Resources::EMPTY;
            gone.add_portion(&portion);
            (gone, Resources::reserved(destroy.role, portion.amount))
        }
        Operation::Launch(_) | Operation::LaunchGroup(_) => return,
    };
    if rest.try_sub(&from) {
        rest.add(&to);
    }
}

impl Fake {
    /// A volume is in none of the offers any more, as if a task of somebody else had it.
    pub fn hide_volume(&mut self, volume: &str) {
        self.hidden.extend(VolumeId::new(volume).ok());
    }

    /// Adds the free volumes of a role to what is offered of an agent.
    pub(super) fn add_free(&self, free: &Resources, role: &Role, taken: &mut Resources) {
        let theirs = |portion: &&Portion| {
            let is_seen = portion.volume.as_ref().is_some_and(|volume| !self.hidden.contains(volume));
            is_seen && portion.reservation.as_ref().is_some_and(|kept| role.is_within(kept))
        };
        for portion in free.portions().iter().filter(theirs) {
            taken.add_portion(portion);
        }
    }
}
