//! Volumes in a room: reserved and made in one step with the task that uses them, or found again.

use proto::id::VolumeId;
use proto::operation::{CreateVolume, Operation, Reserve};
use proto::quantities::Quantities;
use proto::resources::{Amount, Portion, Resources};

use super::{Room, exact};

impl Room {
    /// Keeps a shape for the offer's role and makes a volume besides: the resources for the first task on it. Its machine
    /// has room for a next one then, whoever else comes. What the role has reserved there already is used. `None`, and
    /// nothing changed, when it does not fit.
    ///
    /// All of it stands in one accept, so either both are there or neither.
    pub fn reserve_and_create(
        &mut self,
        shape: &Amount,
        volume: VolumeId,
        disk_bytes: u64,
    ) -> Option<Resources> {
        let role = self.offer.role.clone();
        let shape = exact(&self.rest, &self.offer, shape)?;
        let mut wanted = shape.clone();
        wanted.add(&Amount::scalars(Quantities::ZERO.with_disk(disk_bytes)));
        let own =
            self.portion(|portion| portion.reservation.as_ref() == Some(&role) && portion.volume.is_none());
        let lacking = own.lacking(&wanted);

        let mut rest = self.rest.clone();
        let mut operations = Vec::new();
        if !lacking.is_empty() {
            if !rest.try_sub(&Resources::unreserved(lacking.clone())) {
                return None;
            }
            rest.add(&Resources::reserved(role.clone(), lacking.clone()));
            operations.push(Operation::Reserve(Reserve { role: role.clone(), amount: lacking }));
        }
        if !rest.try_sub(&Resources::reserved(role.clone(), wanted)) {
            return None;
        }
        let mut taken = Resources::reserved(role.clone(), shape);
        taken.add_portion(&Portion {
            reservation: Some(role.clone()),
            volume: Some(volume.clone()),
            amount: Amount::scalars(Quantities::ZERO.with_disk(disk_bytes)),
        });
        operations.push(Operation::CreateVolume(CreateVolume { role, volume, disk_bytes }));
        self.rest = rest;
        self.operations.extend(operations);
        Some(taken)
    }

    /// Takes a volume that is in the offer, whole: to be added to the resources of a task, which then finds it in its
    /// sandbox as `volumes/<volume>`.
    pub fn take_volume(&mut self, volume: &VolumeId) -> Option<Resources> {
        let named = |portion: &&Portion| portion.volume.as_ref() == Some(volume);
        let portion = self.rest.portions().iter().find(named)?.clone();
        let mut taken = Resources::EMPTY;
        taken.add_portion(&portion);
        self.rest.try_sub(&taken).then_some(taken)
    }

    /// Takes a volume that is there, and a shape besides: the resources for a task that comes back to it. `None`, and
    /// nothing changed, when the volume is not in the offer or the shape does not fit.
    pub fn take_with_volume(&mut self, shape: &Amount, volume: &VolumeId) -> Option<Resources> {
        let before = self.rest.clone();
        let taken = self.take_volume(volume).and_then(|data| {
            let mut taken = self.take(shape)?;
            taken.add(&data);
            Some(taken)
        });
        if taken.is_none() {
            self.rest = before;
        }
        taken
    }

    fn portion(&self, of: impl Fn(&Portion) -> bool) -> Amount {
        self.rest.portions().iter().find(|portion| of(portion)).map(|p| p.amount.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{agent, offer_of};
    use proto::role::Role;

    const GIB: u64 = 1 << 30;

    fn amount(cpus: u64, disk: u64) -> Amount {
        Amount::scalars(Quantities::of(cpus, GIB).with_disk(disk * GIB))
    }

    fn room(resources: Resources) -> Room {
        Room::new(offer_of(&agent("a", resources), 1))
    }

    fn volume() -> VolumeId {
        VolumeId::new("data.0").expect("an id")
    }

    #[test]
    fn a_reservation_and_a_volume_come_with_their_first_task() {
        let mut room = room(Resources::unreserved(amount(1000, 10)));
        let taken = room.reserve_and_create(&amount(500, 1), volume(), 4 * GIB).expect("it fits");
        let [Operation::Reserve(reserve), Operation::CreateVolume(create)] = &room.operations[..] else {
            panic!("{:?}", room.operations)
        };
        assert_eq!(reserve.amount, amount(500, 5), "what the task needs is kept, and the disk of the volume");
        assert_eq!(create.disk_bytes, 4 * GIB);
        assert_eq!(taken.quantities(), reserve.amount.scalars);
        assert_eq!(room.rest().quantities().disk_bytes(), 5 * GIB);
    }

    #[test]
    fn a_volume_is_taken_whole_and_once_and_never_as_plain_disk() {
        let disk = Amount::scalars(Quantities::ZERO.with_disk(1 << 30));
        let volume = VolumeId::new("v").expect("an id");
        let (reservation, named) = (Some(Role::default_role()), Some(volume.clone()));
        let mut all = Resources::unreserved(Amount::scalars(Quantities::of(500, 0)));
        all.add_portion(&Portion { reservation, volume: named, amount: disk.clone() });
        let mut room = Room::new(offer_of(&agent("a1", all), 1));
        assert!(room.take(&disk).is_none());
        assert_eq!(room.take_volume(&volume).map(|taken| taken.flatten()), Some(disk));
        assert!(room.take_volume(&volume).is_none());
        assert_eq!(room.rest().quantities(), Quantities::of(500, 0));
    }

    #[test]
    fn only_what_is_not_reserved_yet_is_reserved() {
        let mut all = Resources::reserved(Role::default_role(), amount(500, 2));
        all.add(&Resources::unreserved(amount(500, 2)));
        let mut room = room(all);
        room.reserve_and_create(&amount(600, 0), volume(), 3 * GIB).expect("together it fits");
        let Some(Operation::Reserve(reserve)) = room.operations.first() else { panic!("a reservation") };
        assert_eq!((reserve.amount.scalars.cpus_milli(), reserve.amount.scalars.disk_bytes()), (100, GIB));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut room = room(Resources::unreserved(amount(500, 2)));
        assert!(room.reserve_and_create(&amount(500, 0), volume(), 3 * GIB).is_none());
        assert!(room.is_unused());
        assert_eq!(room.rest(), &Resources::unreserved(amount(500, 2)));
        assert!(room.take_with_volume(&amount(500, 0), &volume()).is_none(), "there is no such volume");
    }

    #[test]
    fn a_task_comes_back_to_its_volume() {
        let mut all = Resources::unreserved(amount(500, 0));
        all.add_portion(&Portion {
            reservation: Some(Role::default_role()),
            volume: Some(volume()),
            amount: Amount::scalars(Quantities::ZERO.with_disk(4 * GIB)),
        });
        let mut room = room(all);
        assert!(room.take(&Amount::scalars(Quantities::ZERO.with_disk(1))).is_none(), "a volume is not disk");
        let taken = room.take_with_volume(&amount(500, 0), &volume()).expect("both are there");
        assert_eq!(taken.quantities().disk_bytes(), 4 * GIB);
        assert!(room.rest().is_empty());
    }
}
