//! Which of the rooms that fit is taken: the tightest, the widest, the emptiest, or the least used of its kind.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proto::agent::AgentInfo;
use proto::attributes::Constraints;
use proto::quantities::Quantities;
use proto::resources::Amount;

use super::Room;

const NO_RULES: Constraints = Constraints(Vec::new());

/// How to choose between offers that all fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// The one with the least left over: keeps large holes for large tasks.
    BestFit,
    /// The one with the most left over: keeps room around each task.
    WorstFit,
    /// The one on which the fewest tasks were placed so far.
    Spread,
}

/// The room that suits a shape best; `None` when it fits nowhere.
pub fn choose(rooms: &[Room], shape: &Amount, packing: Packing) -> Option<usize> {
    choose_preferring(rooms, shape, packing, &NO_RULES)
}

/// The same, among those of whose agents the most of these rules hold.
pub(crate) fn choose_preferring(
    rooms: &[Room],
    shape: &Amount,
    packing: Packing,
    prefer: &Constraints,
) -> Option<usize> {
    let fitting = rooms.iter().enumerate().filter(|(_, room)| room.fits(shape));
    best(fitting, shape, packing, prefer)
}

/// How many of these rules hold of an agent.
pub(crate) fn rules_held(prefer: &Constraints, agent: &AgentInfo) -> usize {
    prefer.0.iter().filter(|rule| rule.allows(agent)).count()
}

/// The room whose agent has the least used value of an attribute (or of `agent`, or `hostname`), and of several the one
/// that suits best. `used` says how often each value is taken; one that is not in it is not used yet, and one of
/// `at_most` or more is full. An agent without the attribute has the empty value.
pub fn choose_spread(
    rooms: &[Room],
    shape: &Amount,
    packing: Packing,
    by: &str,
    used: &BTreeMap<String, u32>,
    at_most: Option<u32>,
) -> Option<usize> {
    choose_spread_of(rooms.iter().enumerate(), shape, packing, by, used, at_most, &NO_RULES)
}

/// The same, of some rooms, each with what it is called; of those that are used alike, those of whose agents the most of
/// the last rules hold.
pub(crate) fn choose_spread_of<'a>(
    rooms: impl Iterator<Item = (usize, &'a Room)>,
    shape: &Amount,
    packing: Packing,
    by: &str,
    used: &BTreeMap<String, u32>,
    at_most: Option<u32>,
    prefer: &Constraints,
) -> Option<usize> {
    let fitting: Vec<(u32, usize, &Room)> = rooms
        .filter_map(|(name, room)| Some((room_of(room, by, used, at_most)?, name, room)))
        .filter(|(_, _, room)| room.fits(shape))
        .collect();
    let least = fitting.iter().map(|(uses, ..)| *uses).min()?;
    let fewest = fitting.iter().filter(|(uses, ..)| *uses == least).map(|(_, name, room)| (*name, *room));
    best(fewest, shape, packing, prefer)
}

/// How often the value of a room's agent is used; `None` when that is as often as may be.
fn room_of(room: &Room, by: &str, used: &BTreeMap<String, u32>, at_most: Option<u32>) -> Option<u32> {
    let uses = used.get(&value_of(&room.offer().agent, by)).copied().unwrap_or_default();
    at_most.is_none_or(|most| uses < most).then_some(uses)
}

/// What an agent has of an attribute, as a text; `agent` and `hostname` are what they say, and one that it lacks is empty.
pub fn value_of(agent: &AgentInfo, attribute: &str) -> String {
    match attribute {
        "agent" => agent.id.to_string(),
        "hostname" => agent.hostname.clone(),
        name => agent.attributes.0.get(name).map(ToString::to_string).unwrap_or_default(),
    }
}

fn best<'a>(
    fitting: impl Iterator<Item = (usize, &'a Room)>,
    shape: &Amount,
    packing: Packing,
    prefer: &Constraints,
) -> Option<usize> {
    let fitting: Vec<(usize, &Room)> = fitting.collect();
    let held = |room: &Room| rules_held(prefer, &room.offer().agent);
    let most = fitting.iter().map(|(_, room)| held(room)).max()?;
    let fitting = fitting.into_iter().filter(|(_, room)| held(room) == most);
    let slack = |room: &Room| slack(&room.rest().quantities(), &shape.scalars);
    let chosen = match packing {
        Packing::BestFit => fitting.min_by_key(|(at, room)| (slack(room), *at)),
        Packing::WorstFit => fitting.min_by_key(|(at, room)| (Reverse(slack(room)), *at)),
        Packing::Spread => fitting.min_by_key(|(at, room)| (room.placed(), *at)),
    };
    chosen.map(|(at, _)| at)
}

/// What is left over after the shape, in so many shapes, for the scalar of which the most is left. By that measure
/// rooms of any size compare.
fn slack(rest: &Quantities, shape: &Quantities) -> u128 {
    let after = rest.saturating_sub(shape);
    let in_shapes =
        shape.iter().map(|(scalar, one)| u128::from(after.get(&scalar)) * 1_000_000 / u128::from(one.max(1)));
    in_shapes.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{agent, offer_of, resources};
    use proto::attributes::AttributeValue;

    fn room(name: &str, zone: &str, cpus: u64) -> Room {
        let mut info = agent(name, resources(cpus, 1 << 30));
        if !zone.is_empty() {
            info.attributes.0.insert("zone".to_owned(), AttributeValue::Text(zone.to_owned()));
        }
        Room::new(offer_of(&info, cpus))
    }

    fn shape() -> Amount {
        Amount::scalars(Quantities::of(400, 1 << 20))
    }

    #[test]
    fn each_packing_has_its_favourite() {
        let mut rooms =
            vec![room("a", "", 2000), room("b", "", 500), room("c", "", 4000), room("d", "", 300)];
        let chosen =
            |rooms: &[Room], packing| choose(rooms, &Amount::scalars(Quantities::of(400, 0)), packing);
        assert_eq!(chosen(&rooms, Packing::BestFit), Some(1), "the hole that it just fits into");
        assert_eq!(chosen(&rooms, Packing::WorstFit), Some(2));
        assert_eq!(chosen(&rooms, Packing::Spread), Some(0), "all are empty");
        let task = crate::task::shell(proto::id::TaskId::new("t").expect("an id"), "true");
        rooms[0].place(&shape(), task).expect("it fits");
        assert_eq!(chosen(&rooms, Packing::Spread), Some(1));
        assert_eq!(choose(&rooms, &Amount::scalars(Quantities::of(9000, 0)), Packing::Spread), None);
    }

    #[test]
    fn spreading_takes_the_least_used_value_that_is_not_full() {
        let rooms = [room("a", "x", 1000), room("b", "y", 1000), room("c", "", 1000), room("d", "z", 300)];
        let chosen = |used: &[(&str, u32)], at_most| {
            let used = used.iter().map(|(zone, n)| ((*zone).to_owned(), *n)).collect();
            choose_spread(&rooms, &shape(), Packing::BestFit, "zone", &used, at_most)
        };
        assert_eq!(chosen(&[("x", 1)], None), Some(1));
        assert_eq!(chosen(&[("x", 1), ("y", 1)], None), Some(2), "no zone is a value, too");
        assert_eq!(chosen(&[("x", 1), ("y", 2), ("", 2)], None), Some(0));
        assert_eq!(chosen(&[("x", 1), ("y", 1), ("", 1)], Some(1)), None, "z would be free and is too small");
        assert_eq!(value_of(&rooms[0].offer().agent, "hostname"), "a");
    }

    #[test]
    fn the_room_of_which_more_rules_hold_is_taken_though_another_fits_better() {
        let rooms = [room("a", "x", 500), room("b", "y", 4000), room("c", "z", 3000), room("d", "y", 300)];
        let chosen = |rules: &[&str], used: &[(&str, u32)]| {
            let parse = |rule: &&str| proto::attributes::Constraint::parse(rule).expect("a rule");
            let prefer = Constraints(rules.iter().map(parse).collect());
            let used: BTreeMap<String, u32> = used.iter().map(|(zone, n)| ((*zone).to_owned(), *n)).collect();
            let shape = Amount::scalars(Quantities::of(400, 0));
            let plain = choose_preferring(&rooms, &shape, Packing::BestFit, &prefer);
            let all = rooms.iter().enumerate();
            (plain, choose_spread_of(all, &shape, Packing::BestFit, "zone", &used, None, &prefer))
        };
        assert_eq!(chosen(&[], &[]), (Some(0), Some(0)));
        assert_eq!(chosen(&["zone=y|z"], &[]), (Some(2), Some(2)), "of those preferred the tightest");
        assert_eq!(chosen(&["zone=y|z", "zone=y", "hostname!=c"], &[]), (Some(1), Some(1)));
        assert_eq!(
            chosen(&["zone=y"], &[("y", 1), ("z", 1)]),
            (Some(1), Some(0)),
            "an even spread goes before"
        );
        assert_eq!(chosen(&["zone=nowhere"], &[]), (Some(0), Some(0)), "none of them has to hold");
    }
}
