//! Whatever is placed, in whatever order: together it is never more than was offered.

use std::collections::BTreeMap;

use framework_sdk_core::harness::{agent, offer_of};
use framework_sdk_core::{Packing, Room, Together, choose, choose_spread, place_together, task};
use proto::attributes::AttributeValue;
use proto::id::{TaskId, VolumeId};
use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto_machine::Dice;

const PACKINGS: [Packing; 3] = [Packing::BestFit, Packing::WorstFit, Packing::Spread];

fn amount(dice: &mut Dice) -> Amount {
    let scalars = Quantities::of(dice.below(2000), dice.below(1 << 20)).with_disk(dice.below(1 << 20));
    let first = 31_000 + dice.below(50);
    let amount = Amount::scalars(scalars);
    // The ranges of an offer are what they say; those of a shape are read as "so many".
    if dice.chance(1, 2) { amount.with_ports(Ranges::single(first, first + dice.below(12))) } else { amount }
}

fn volume(n: u64) -> VolumeId {
    VolumeId::new(&format!("v{n}")).expect("an id")
}

/// Some unreserved, some kept for the role, for its parent, for another, and sometimes a volume.
fn offered(dice: &mut Dice) -> Resources {
    let mut all = Resources::unreserved(amount(dice));
    for role in ["default", "other"] {
        if dice.chance(1, 2) {
            // Ports are the agent's: the same one is never in two portions.
            let kept = Amount::scalars(amount(dice).scalars);
            all.add(&Resources::reserved(Role::new(role).expect("a role"), kept));
        }
    }
    if dice.chance(1, 3) {
        all.add_portion(&Portion {
            reservation: Some(Role::default_role()),
            volume: Some(volume(0)),
            amount: Amount::scalars(Quantities::ZERO.with_disk(1 + dice.below(1 << 20))),
        });
    }
    all
}

fn shape(dice: &mut Dice) -> Amount {
    let full = amount(dice);
    let scalars = Quantities::of(full.scalars.cpus_milli() / 4, full.scalars.mem_bytes() / 4);
    Amount::scalars(scalars).with_ports(Ranges::single(1, dice.below(3)))
}

fn rooms(dice: &mut Dice) -> Vec<Room> {
    let count = 1 + dice.below(4);
    let room = |n| {
        let mut info = agent(&format!("a{n}"), offered(dice));
        let zone = AttributeValue::Text(format!("z{}", dice.below(2)));
        info.attributes.0.insert("zone".to_owned(), zone);
        Room::new(offer_of(&info, n))
    };
    (0..count).map(room).collect()
}

/// What is there of everything, whoever it is kept for: reserving moves it, taking takes it, and nothing makes it more.
fn all_of(rest: &Resources, taken: &[Resources]) -> Amount {
    let mut all = rest.flatten();
    for resources in taken {
        let taken = resources.flatten();
        assert!(!all.range("ports").overlaps(&taken.range("ports")), "a port was taken twice");
        all.add(&taken);
    }
    all
}

#[test]
fn a_room_never_gives_more_than_was_offered() {
    let mut dice = Dice::new(11);
    for _ in 0..3000 {
        let mut rooms = rooms(&mut dice);
        let mut taken: Vec<Vec<Resources>> = vec![Vec::new(); rooms.len()];
        let mut used: BTreeMap<String, u32> = BTreeMap::new();
        for n in 0..dice.below(12) {
            let shape = shape(&mut dice);
            let packing = *dice.pick(&PACKINGS).expect("one");
            let at = match dice.below(4) {
                0 => choose(&rooms, &shape, packing),
                1 => choose_spread(&rooms, &shape, packing, "zone", &used, Some(2)),
                _ => Some(dice.below(rooms.len() as u64) as usize),
            };
            let Some(at) = at else { continue };
            let before = rooms[at].clone();
            let fits = before.fits(&shape);
            let got = match dice.below(4) {
                0 => rooms[at].reserve_and_create(&shape, volume(1 + n), 1 + dice.below(1 << 18)),
                1 => rooms[at].take_with_volume(&shape, &volume(0)),
                _ => {
                    let got = rooms[at].take(&shape);
                    assert_eq!(got.is_some(), fits, "what fits can be taken: {shape} of {}", before.rest());
                    got
                }
            };
            match got {
                Some(resources) => {
                    assert!(resources.flatten().scalars.contains(&shape.scalars));
                    assert_eq!(resources.flatten().range("ports").count(), shape.range("ports").count());
                    let foreign = Role::new("other").ok();
                    assert!(resources.portions().iter().all(|portion| portion.reservation != foreign));
                    taken[at].push(resources);
                    *used.entry(framework_sdk_core::value_of(&before.offer().agent, "zone")).or_default() +=
                        1;
                }
                None => assert_eq!(rooms[at].rest(), before.rest(), "a miss takes nothing"),
            }
        }
        for (room, taken) in rooms.iter().zip(&taken) {
            assert_eq!(all_of(room.rest(), taken), room.offer().resources.flatten());
        }
    }
}

#[test]
fn a_gang_takes_all_it_needs_of_what_was_offered_or_nothing() {
    let mut dice = Dice::new(12);
    let (mut placed, mut missed) = (0, 0);
    for _ in 0..2000 {
        let mut rooms = rooms(&mut dice);
        let before: Vec<Resources> = rooms.iter().map(|room| room.rest().clone()).collect();
        let gang: Vec<Together> = (0..1 + dice.below(6))
            .map(|n| {
                let id = TaskId::new(&format!("t{n}")).expect("an id");
                Together { shape: shape(&mut dice), task: task::shell(id, "true") }
            })
            .collect();
        let mut needs = Quantities::ZERO;
        gang.iter().for_each(|one| needs.add(&one.shape.scalars));
        let members = gang.len();
        match place_together(&mut rooms, gang, *dice.pick(&PACKINGS).expect("one")) {
            Ok(()) => {
                placed += 1;
                assert_eq!(rooms.iter().map(Room::placed).sum::<usize>(), members);
                let mut gone = Quantities::ZERO;
                for (room, before) in rooms.iter().zip(&before) {
                    assert!(before.contains(room.rest()));
                    gone.add(&before.saturating_sub(room.rest()).quantities());
                }
                assert_eq!(gone, needs);
            }
            Err(back) => {
                missed += 1;
                assert_eq!(back.len(), members);
                assert!(rooms.iter().zip(&before).all(|(room, before)| room.rest() == before));
            }
        }
    }
    assert!(placed > 100 && missed > 100, "both happened: {placed} and {missed}");
}
