//! Gangs: tasks that start together, over several agents, or not at all.

use proto::attributes::Constraints;
use proto::resources::Amount;
use proto::task::TaskInfo;

use super::choose::choose_preferring;
use super::{Packing, Room};

/// A task that starts with others, and what it needs.
#[derive(Clone, Debug)]
pub struct Together {
    /// What it needs of one agent.
    pub shape: Amount,
    /// The task; its resources are filled in.
    pub task: TaskInfo,
}

/// Places all of these tasks, or none: then the rooms are as before and the tasks come back. What was placed is to be
/// accepted with [`crate::Calls::accept_together`].
///
/// The largest is placed first. That does not find every way to fit them in (nobody does in time), but it finds one
/// whenever all shapes are alike.
pub fn place_together(
    rooms: &mut [Room],
    gang: Vec<Together>,
    packing: Packing,
) -> Result<(), Vec<Together>> {
    let shapes: Vec<Amount> = gang.iter().map(|one| one.shape.clone()).collect();
    let Some(places) = plan_together(rooms.to_vec(), &shapes, packing, &Constraints::default()) else {
        return Err(gang);
    };
    for (Together { shape, task }, at) in gang.into_iter().zip(places) {
        // They were planned on rooms like these.
        let _ = rooms[at].place(&shape, task);
    }
    Ok(())
}

/// A room for each of these shapes; `None` when they do not all fit.
pub(crate) fn plan_together(
    mut rooms: Vec<Room>,
    shapes: &[Amount],
    packing: Packing,
    prefer: &Constraints,
) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(largest(&shapes[*at])));
    let mut places = vec![0; shapes.len()];
    for at in order {
        let room = choose_preferring(&rooms, &shapes[at], packing, prefer)?;
        rooms[room].take(&shapes[at])?;
        places[at] = room;
    }
    Some(places)
}

fn largest(shape: &Amount) -> (u64, u64, u64) {
    (shape.scalars.cpus_milli(), shape.scalars.mem_bytes(), shape.scalars.disk_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{agent, offer_of, resources};
    use proto::id::TaskId;
    use proto::quantities::Quantities;

    fn rooms(cpus: &[u64]) -> Vec<Room> {
        let room = |(n, cpus): (usize, &u64)| {
            Room::new(offer_of(&agent(&format!("a{n}"), resources(*cpus, 1 << 30)), n as u64))
        };
        cpus.iter().enumerate().map(room).collect()
    }

    fn gang(cpus: &[u64]) -> Vec<Together> {
        let one = |(n, cpus): (usize, &u64)| Together {
            shape: Amount::scalars(Quantities::of(*cpus, 1 << 20)),
            task: crate::task::shell(TaskId::new(&format!("t{n}")).expect("an id"), "true"),
        };
        cpus.iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_gang_is_placed_whole_or_not_at_all() {
        let mut two = rooms(&[1000, 500]);
        let before = format!("{two:?}");
        let back = place_together(&mut two, gang(&[500, 500, 500, 500]), Packing::BestFit).expect_err("four");
        assert_eq!(back.len(), 4);
        assert_eq!(format!("{two:?}"), before, "a gang that does not fit takes nothing");
        place_together(&mut two, gang(&[500, 500, 500]), Packing::BestFit).expect("three fit");
        assert_eq!(two.iter().map(Room::placed).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn the_large_ones_are_placed_first() {
        let mut two = rooms(&[1000, 600]);
        place_together(&mut two, gang(&[600, 400, 600]), Packing::BestFit).expect("they fit that way");
    }
}
