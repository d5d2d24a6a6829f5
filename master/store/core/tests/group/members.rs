//! The group goes where the list of masters says, and never back to an older one.

use std::time::Duration;

use master_raft::NodeId;
use proto::id::MasterId;
use proto::roster::{Master, Roster, Standing};
use proto::store::ReplyKind;

use super::world::{World, get, put, value};

fn list(version: u64, masters: &[(u64, Standing)]) -> Roster {
    let master = |(id, standing): &(u64, Standing)| Master {
        id: MasterId(*id),
        address: format!("master-{id}:5050"),
        standing: *standing,
    };
    Roster { version, masters: masters.iter().map(master).collect(), retired: Vec::new() }
}

fn are_voters(world: &World, at: u64, ids: &[u64]) -> bool {
    let conf = world.member(at).raft_status().conf_state;
    !conf.is_joint()
        && conf.learners.is_empty()
        && conf.voters == ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>()
}

#[test]
fn a_member_that_begins_empty_takes_the_place_of_another_and_has_everything() {
    for seed in 0..6 {
        let mut world = World::with_snapshots(seed, 2 << 10);
        let leader = world.elect();
        let leaves = if seed % 2 == 0 { leader } else { leader % 3 + 1 };
        for number in 0..50 {
            world.asks(leader, put(&format!("key-{number}"), vec![b'x'; 100]));
        }
        world.join(4);
        let stays: Vec<u64> = (1..=3).filter(|id| *id != leaves).collect();
        let mut masters: Vec<(u64, Standing)> = stays.iter().map(|id| (*id, Standing::Votes)).collect();
        masters.extend([(leaves, Standing::Leaves), (4, Standing::Joins)]);
        masters.sort();
        // Whoever leads hears of it in its own process; so do the others, some time.
        let changing = list(100, &masters);
        (1..=4).for_each(|id| world.tell_roster(id, changing.clone()));
        let wanted: Vec<u64> = stays.iter().copied().chain([4]).collect();
        world.until("the group is where the list says", |world| {
            wanted.iter().all(|id| are_voters(world, *id, &wanted))
        });
        let leader = world.elect();
        assert_ne!(leader, leaves, "seed {seed}: one that leaves hands over");
        world.kill(leaves);
        let reply = world.asks(4, get("key-7"));
        assert!(value(&reply).is_some(), "{reply:?}");
        let reply = world.asks(leader, put("after", vec![b'y'; 10]));
        assert!(!matches!(reply.kind, ReplyKind::Refused(_)), "{reply:?}");
    }
}

#[test]
fn a_leader_that_knows_an_older_list_leads_nobody_back() {
    let mut world = World::new(9);
    let leader = world.elect();
    world.join(4);
    let four: Vec<(u64, Standing)> = (1..=4).map(|id| (id, Standing::Votes)).collect();
    world.tell_roster(leader, list(200, &four));
    let wanted = [1, 2, 3, 4];
    world.until("four vote", |world| wanted.iter().all(|id| are_voters(world, *id, &wanted)));
    // The next leader's registry is behind: it has heard of the list before that only.
    world.kill(leader);
    let next = world.elect();
    let three: Vec<(u64, Standing)> = (1..=3).map(|id| (id, Standing::Votes)).collect();
    world.tell_roster(next, list(150, &three));
    world.pass(Duration::from_secs(3));
    assert!(are_voters(&world, next, &wanted), "{:?}", world.member(next).raft_status().conf_state);
    // Nor does it when it begins anew with what its disk holds.
    world.kill(next);
    world.begin(next);
    world.begin(leader);
    world.elect();
    world.pass(Duration::from_secs(3));
    assert!(wanted.iter().all(|id| are_voters(&world, *id, &wanted)));
}
