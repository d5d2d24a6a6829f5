//! Disks that fill up: a leader makes way, a member without room is as one that is down, and all come back by themselves.

use master_raft::{Input, NodeId, Role, Room, Why};

use crate::net::{MS, Net, SECOND};

const LARGE: u64 = 1 << 30;

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

#[test]
fn a_leader_whose_room_runs_low_hands_over_without_an_election_and_does_so_seldom() {
    let mut net = Net::new(70, 3, LARGE);
    let leader = net.elect();
    net.run_for(SECOND);
    net.input(leader, Input::Room(Room::Low));
    assert!(net.run_until(200 * MS, |net| net.witness.leader().is_some_and(|new| new != leader)));
    net.propose(net.witness.leader().unwrap(), "goes on");
    net.converge(&ids(1..=3));
    // When none of them has much, they do not pass it on and on.
    ids(1..=3).into_iter().for_each(|id| net.input(id, Input::Room(Room::Low)));
    let before = net.witness.leaders.len();
    net.run_for(5 * SECOND);
    assert!(net.witness.leaders.len() <= before + 3, "{} leaders", net.witness.leaders.len());
    net.propose(net.witness.leader().unwrap(), "goes on, too");
    net.converge(&ids(1..=3));
}

#[test]
fn a_member_without_room_stores_nothing_and_comes_back_when_it_has() {
    let mut net = Net::new(71, 3, LARGE);
    let leader = net.elect();
    net.propose(leader, "before");
    net.converge(&ids(1..=3));
    net.input(leader, Input::Room(Room::None));
    let refused = net.propose(leader, "not here");
    net.run_for(100 * MS);
    assert_eq!(net.witness.dropped, [(refused, Why::NoRoom)]);
    // It makes way, too: it hears nobody, and says so by its silence.
    let new = {
        assert!(net.run_until(2 * SECOND, |net| net.witness.leader().is_some_and(|new| new != leader)));
        net.witness.leader().unwrap()
    };
    let stored = net.machine(leader).status().last_index;
    for n in 0..50u64 {
        net.propose(new, format!("{n}"));
        net.run_for(2 * MS);
    }
    net.run_for(3 * SECOND);
    assert_eq!(net.machine(leader).status().last_index, stored, "nothing was stored");
    assert!(!matches!(net.witness.roles[&leader], Role::Leader { .. }));
    let terms = net.witness.leaders.len();
    net.input(leader, Input::Room(Room::Enough));
    net.converge(&ids(1..=3));
    assert_eq!(net.witness.leaders.len(), terms, "it came back without disturbing anybody");
}

#[test]
fn a_group_whose_disks_are_all_full_goes_on_when_there_is_room() {
    let mut net = Net::new(72, 3, LARGE);
    net.elect();
    net.run_for(SECOND);
    ids(1..=3).into_iter().for_each(|id| net.input(id, Input::Room(Room::None)));
    net.run_for(5 * SECOND);
    assert_eq!(net.witness.leader(), None);
    ids(2..=3).into_iter().for_each(|id| net.input(id, Input::Room(Room::Enough)));
    assert!(net.run_until(2 * SECOND, |net| net.witness.leader().is_some()), "two are enough");
    net.propose(net.witness.leader().unwrap(), "after");
    net.input(NodeId(1), Input::Room(Room::Enough));
    net.converge(&ids(1..=3));
}
