//! Placing tasks into offers: what is left of an offer, whether a shape fits, and which offer to prefer.

mod choose;
mod gang;
mod volume;

pub use choose::{Packing, choose, choose_spread, value_of};
pub(crate) use choose::{choose_spread_of, rules_held};
pub(crate) use gang::plan_together;
pub use gang::{Together, place_together};

use proto::id::GroupId;
use proto::offer::Offer;
use proto::operation::{LaunchGroup, Operation};
use proto::ranges::Ranges;
use proto::resources::{Amount, Portion, Resources};
use proto::task::TaskInfo;

use crate::calls::launch;

/// An offer that is being used: what is left of it, and what is to be done with it.
#[derive(Clone, Debug)]
pub struct Room {
    pub(crate) offer: Offer,
    rest: Resources,
    pub(crate) operations: Vec<Operation>,
}

// === impl Room ===

impl Room {
    /// A room as large as the offer.
    pub fn new(offer: Offer) -> Self {
        Room { rest: offer.resources.clone(), offer, operations: Vec::new() }
    }

    /// The offer.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The offer, with all that was planned for it forgotten.
    pub fn into_offer(self) -> Offer {
        self.offer
    }

    /// What is left of it.
    pub fn rest(&self) -> &Resources {
        &self.rest
    }

    /// Whether a task of this shape fits into what is left.
    pub fn fits(&self, shape: &Amount) -> bool {
        exact(&self.rest, &self.offer, shape).is_some_and(|wanted| {
            // Cheap first: most misses are misses of a scalar.
            self.rest.quantities().contains(&wanted.scalars)
                && self.rest.clone().take(&self.offer.role, &wanted).is_some()
        })
    }

    /// Takes a shape out of what is left: the resources for a task. `None`, and nothing changed, when it does not fit.
    pub fn take(&mut self, shape: &Amount) -> Option<Resources> {
        let wanted = exact(&self.rest, &self.offer, shape)?;
        self.rest.take(&self.offer.role, &wanted)
    }

    /// Takes several shapes, each for a task of its own. `None`, and nothing changed, when they do not all fit.
    pub fn take_all(&mut self, shapes: &[Amount]) -> Option<Vec<Resources>> {
        let before = self.rest.clone();
        let taken: Option<Vec<Resources>> = shapes.iter().map(|shape| self.take(shape)).collect();
        if taken.is_none() {
            self.rest = before;
        }
        taken
    }

    /// Starts a task here. Its resources must come from [`Room::take`].
    pub fn launch(&mut self, task: TaskInfo) {
        if let Some(Operation::Launch(last)) = self.operations.last_mut() {
            last.tasks.push(task);
        } else {
            self.operations.push(launch(vec![task]));
        }
    }

    /// Takes a shape and starts a task with it; gives the task back when it does not fit.
    pub fn place(&mut self, shape: &Amount, mut task: TaskInfo) -> Result<(), Box<TaskInfo>> {
        match self.take(shape) {
            Some(resources) => {
                task.resources = resources;
                self.launch(task);
                Ok(())
            }
            None => Err(Box::new(task)),
        }
    }

    /// Starts tasks that share their fate. Their resources must come from [`Room::take`].
    pub fn launch_group(&mut self, group: GroupId, tasks: Vec<TaskInfo>) {
        self.operations.push(Operation::LaunchGroup(LaunchGroup { group, tasks }));
    }

    /// Reserving, volumes: done as given, in order.
    pub fn operate(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Whether nothing is to be done here.
    pub fn is_unused(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many tasks are placed here.
    pub fn placed(&self) -> usize {
        self.operations.iter().map(|operation| crate::calls::tasks_of(operation).len()).sum()
    }
}

/// The shape with its ranges, which mean "so many", turned into the smallest ones that are there.
fn exact(rest: &Resources, offer: &Offer, shape: &Amount) -> Option<Amount> {
    if shape.ranges().is_empty() {
        return Some(shape.clone());
    }
    let usable = |portion: &&Portion| {
        portion.volume.is_none() && portion.reservation.as_ref().is_none_or(|kept| offer.role.is_within(kept))
    };
    let mut wanted = shape.clone();
    for (name, ranges) in shape.ranges() {
        let there = rest
            .portions()
            .iter()
            .filter(usable)
            .fold(Ranges::default(), |all, portion| all.union(&portion.amount.range(name)));
        wanted.set_range(name, there.smallest(ranges.count())?);
    }
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{agent, offer_of};
    use proto::quantities::Quantities;
    use proto::resources::Amount;
    use proto::role::Role;

    fn ports(first: u64, last: u64) -> Ranges {
        Ranges::single(first, last)
    }

    #[test]
    fn a_range_of_a_shape_means_so_many() {
        let all = Resources::unreserved(
            Amount::scalars(Quantities::of(1000, 1 << 30)).with_ports(ports(31_000, 31_002)),
        );
        let mut room = Room::new(offer_of(&agent("a1", all), 1));
        let shape = Amount::scalars(Quantities::of(100, 0)).with_ports(ports(1, 2));
        let taken = room.take(&shape).expect("two of three ports");
        assert_eq!(taken.flatten().range("ports"), ports(31_000, 31_001));
        assert!(!room.fits(&shape), "one port is left, two are wanted");
        assert!(room.take(&shape).is_none());
        assert_eq!(room.rest().quantities().cpus_milli(), 900, "a miss takes nothing");
    }

    #[test]
    fn what_is_reserved_for_the_role_goes_first_and_that_of_others_never() {
        let mine = Amount::scalars(Quantities::of(500, 0));
        let mut all = Resources::reserved(Role::default_role(), mine.clone());
        all.add(&Resources::reserved(Role::new("other").expect("a role"), mine.clone()));
        let mut room = Room::new(offer_of(&agent("a1", all), 1));
        assert!(room.take(&mine).is_some());
        assert!(room.take(&mine).is_none());
    }
}
