//! All that the store holds, for a backup: from any member, never less than was acknowledged; and restored beyond its numbers.

use master_store::{SpaceId, Store};
use master_store_core::restored;
use proto::store::{CallKind, Claim, ReplyKind};

use super::world::{World, call, jobs, put};

fn space() -> SpaceId {
    SpaceId { owner: jobs().to_string(), name: String::new() }
}

#[test]
fn any_member_gives_what_was_acknowledged_and_one_that_hears_no_leader_gives_nothing() {
    let mut world = World::new(3);
    let leader = world.elect();
    let follower = if leader == 1 { 2 } else { 1 };
    for number in 0..20 {
        world.asks(leader, put(&format!("key-{number}"), number.to_string().into_bytes()));
        let saved = world.save(follower).expect("a leader confirmed it");
        let store = Store::from_image(&saved.image).unwrap();
        assert_eq!(store.space(&space()).unwrap().live_keys(), number + 1);
    }
    world.alone.insert(follower);
    assert_eq!(world.save(follower), None);
}

#[test]
fn a_restored_store_has_its_keys_and_gives_no_number_again() {
    const FLOOR: u64 = 1 << 40;
    let mut world = World::new(4);
    let leader = world.elect();
    world.asks(leader, put("key", &b"one"[..]));
    world.asks(leader, put("key", &b"two"[..]));
    let ticket = world.ask(leader, jobs(), call(CallKind::Claim(Claim::default())));
    let ReplyKind::Claimed(claimed) = world.answered(ticket).kind else { panic!("it is claimed") };
    let saved = world.save(leader).unwrap();
    let store = Store::from_image(&restored(&saved.image, FLOOR).unwrap()).unwrap();
    let space = store.space(&space()).unwrap();
    assert_eq!((space.live_keys(), space.revision(), space.compacted()), (1, FLOOR, FLOOR));
    assert_eq!(space.history_bytes(), 0, "what was replaced is forgotten");
    let fenced = store.check_epoch(&self::space(), Some(claimed.epoch));
    assert!(fenced.is_err(), "whoever claimed it before claims it anew");
}
