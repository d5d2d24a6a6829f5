//! Leases: they run out by the leader's clock, once that is committed, and a new leader gives them their whole time.

use std::time::Duration;

use proto::refusal::Code;
use proto::store::{CallKind, LeaseGrant, LeaseKeepAlive, LeaseLook, LeaseRevoke, Put, ReplyKind};

use crate::world::{World, get, value};

const TTL: Duration = Duration::from_secs(4);

fn grants(world: &mut World, at: u64) -> u64 {
    let ttl_ms = u64::try_from(TTL.as_millis()).unwrap();
    match world.asks(at, CallKind::LeaseGrant(LeaseGrant { ttl_ms, id: 0 })).kind {
        ReplyKind::Lease(lease) => lease.id,
        kind => panic!("{kind:?}"),
    }
}

fn leased(key: &str, lease: u64) -> CallKind {
    CallKind::Put(Put { key: key.to_owned().into(), lease, ..Put::default() })
}

fn there(world: &mut World, at: u64, key: &str) -> bool {
    value(&world.asks(at, get(key))).is_some()
}

fn keeps(world: &mut World, at: u64, id: u64) -> Result<(), Code> {
    match world.asks(at, CallKind::LeaseKeepAlive(LeaseKeepAlive { id })).kind {
        ReplyKind::Lease(lease) => {
            assert_eq!(lease.id, id);
            Ok(())
        }
        ReplyKind::Refused(refusal) => Err(refusal.code),
        kind => panic!("{kind:?}"),
    }
}

#[test]
fn a_lease_lasts_as_long_as_it_is_kept_alive_and_takes_its_keys_with_it() {
    let mut world = World::new(21);
    let leader = world.elect();
    let (kept, left) = (grants(&mut world, leader), grants(&mut world, leader));
    world.asks(leader, leased("kept", kept));
    world.asks(leader, leased("left", left));
    for _ in 0..4 {
        world.pass(TTL / 2);
        assert_eq!(keeps(&mut world, leader, kept), Ok(()));
    }
    assert!(there(&mut world, leader, "kept") && !there(&mut world, leader, "left"));
    assert_eq!(keeps(&mut world, leader, left), Err(Code::NotFound));
    world.pass(TTL - Duration::from_millis(200));
    assert!(there(&mut world, leader, "kept"), "its whole time");
    world.pass(Duration::from_millis(400));
    assert!(!there(&mut world, leader, "kept"));
    // All members agree that it is gone.
    world.pass(Duration::from_secs(1));
    for id in crate::world::MEMBERS {
        assert!(world.member(id).store().spaces().all(|(_, space)| space.leases().count() == 0));
    }
}

#[test]
fn a_new_leader_gives_each_its_whole_time() {
    let mut world = World::new(22);
    let first = world.elect();
    let lease = grants(&mut world, first);
    world.asks(first, leased("a", lease));
    world.pass(TTL - Duration::from_millis(500));
    world.kill(first);
    let second = world.elect();
    world.pass(TTL - Duration::from_millis(500));
    assert!(there(&mut world, second, "a"));
    world.pass(Duration::from_secs(1));
    assert!(!there(&mut world, second, "a"));
}

#[test]
fn a_leader_without_the_others_ends_no_lease_and_keeps_none_alive() {
    let mut world = World::new(23);
    let old = world.elect();
    let lease = grants(&mut world, old);
    world.asks(old, leased("a", lease));
    world.alone.insert(old);
    let kept = CallKind::LeaseKeepAlive(LeaseKeepAlive { id: lease });
    let ticket = world.ask(old, crate::world::jobs(), crate::world::call(kept));
    let reply = world.answered(ticket).kind;
    assert!(matches!(reply, ReplyKind::Refused(_)), "{reply:?}");
    let new = world.elect();
    assert!(there(&mut world, new, "a"));
    world.pass(TTL + Duration::from_secs(1));
    assert!(!there(&mut world, new, "a"), "the new leader's clock counts");
}

#[test]
fn how_a_lease_stands_is_told_and_followers_send_to_the_leader() {
    let mut world = World::new(24);
    let leader = world.elect();
    let lease = grants(&mut world, leader);
    world.asks(leader, leased("a", lease));
    world.pass(TTL / 2);
    let look = |id| CallKind::LeaseLook(LeaseLook { id, keys: true });
    let ReplyKind::LeaseView(view) = world.asks(leader, look(lease)).kind else { panic!("no view") };
    let half = u64::try_from((TTL / 2).as_millis()).unwrap();
    assert!((half - 300..=half).contains(&view.remaining_ms), "{view:?}");
    assert_eq!((view.keys, view.ttl_ms), (vec!["a".into()], half * 2));
    let follower = crate::world::MEMBERS.into_iter().find(|id| *id != leader).unwrap();
    let reply = world.asks(follower, look(lease)).kind;
    assert_eq!(reply, ReplyKind::Redirect(format!("master-{leader}:5050")));
    let ReplyKind::Leases(list) = world.asks(follower, CallKind::Leases).kind else { panic!("no list") };
    assert_eq!(list.ids, [lease]);
    // Revoked and granted again under its id, it has a time of its own.
    world.asks(leader, CallKind::LeaseRevoke(LeaseRevoke { id: lease }));
    world.asks(leader, CallKind::LeaseGrant(LeaseGrant { ttl_ms: half * 4, id: lease }));
    world.asks(leader, leased("b", lease));
    world.pass(TTL);
    assert!(there(&mut world, leader, "b"));
}
