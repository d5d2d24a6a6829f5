//! Disks that are slow, not so slow that their member is taken for dead: a leader hands over to one that is faster, and only then.

use master_raft::NodeId;

use crate::net::{MS, Net, SECOND};

const LARGE: u64 = 1 << 30;

/// Proposes one entry every so often, for so long, to whoever leads. How long the slowest took to be committed.
fn work(net: &mut Net, lasts: u64) -> u64 {
    let (until, mut slowest) = (net.now + lasts, 0);
    while net.now < until {
        let leader = net.elect();
        let (begun, before) = (net.now, net.witness.committed);
        net.propose(leader, format!("at {begun}"));
        net.run_until(SECOND, |net| net.witness.committed > before);
        slowest = slowest.max(net.now - begun);
        net.run_for(50 * MS);
    }
    slowest
}

fn all() -> [NodeId; 3] {
    [1, 2, 3].map(NodeId)
}

#[test]
fn a_leader_whose_disk_is_slow_hands_over_to_one_whose_disk_is_not() {
    for seed in 0..5 {
        let mut net = Net::new(90 + seed, 3, LARGE);
        let leader = net.elect();
        work(&mut net, SECOND);
        let mut others = all().into_iter().filter(|id| *id != leader);
        let (slow, fast) = (others.next().unwrap(), others.next().unwrap());
        net.slow = [(leader, 150 * MS), (slow, 200 * MS)].into();
        assert_eq!(net.witness.leaders.len(), 1);
        work(&mut net, 5 * SECOND);
        assert_eq!(net.witness.leader(), Some(fast), "seed {seed}: {:?}", net.witness.leaders);
        // Without an election that anybody had to wait for, and it stays there.
        assert_eq!(net.witness.leaders.len(), 2, "seed {seed}: {:?}", net.witness.leaders);
        work(&mut net, 30 * SECOND);
        assert_eq!(net.witness.leaders.len(), 2, "seed {seed}: {:?}", net.witness.leaders);
        net.slow.clear();
        net.converge(&all());
    }
}

#[test]
fn where_all_disks_are_slow_nobody_hands_over() {
    let mut net = Net::new(95, 3, LARGE);
    net.elect();
    work(&mut net, SECOND);
    net.slow = all().map(|id| (id, 150 * MS)).into();
    work(&mut net, 90 * SECOND);
    assert_eq!(net.witness.leaders.len(), 1, "{:?}", net.witness.leaders);
}

#[test]
fn where_each_is_slow_in_turn_the_lead_moves_seldom() {
    let mut net = Net::new(96, 3, LARGE);
    net.elect();
    work(&mut net, SECOND);
    for _ in 0..20 {
        // Whoever leads is the slow one.
        net.slow = [(net.elect(), 150 * MS)].into();
        work(&mut net, 6 * SECOND);
    }
    // Each of three at most once in a minute.
    let led = net.witness.leaders.len();
    assert!((3..=10).contains(&led), "{led} in two minutes: {:?}", net.witness.leaders);
}

#[test]
fn a_follower_whose_disk_is_slow_is_not_noticed() {
    let mut net = Net::new(97, 3, LARGE);
    let leader = net.elect();
    work(&mut net, SECOND);
    let slow = all().into_iter().find(|id| *id != leader).unwrap();
    let before = work(&mut net, 10 * SECOND);
    net.slow = [(slow, 500 * MS)].into();
    let beside = work(&mut net, 20 * SECOND);
    assert_eq!(net.witness.leaders.len(), 1);
    assert!(beside < before + 5 * MS, "{beside} us, and {before} us without");
    net.slow.clear();
    net.converge(&all());
}
