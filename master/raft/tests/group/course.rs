//! Members that are wanted: the group gets there by itself, whoever leads, and whatever happens on the way.

use master_raft::{Aim, Input, NodeId, Role};

use crate::net::{MS, Net, SECOND};

const LARGE: u64 = 1 << 30;

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

/// Says so on every member that lives, as it follows from the log.
fn want(net: &mut Net, voters: &[NodeId], only_learn: bool) {
    for id in net.alive() {
        net.input(id, Input::Aim(Aim { voters: voters.to_vec(), only_learn }));
    }
}

fn voters(net: &Net, id: NodeId) -> Vec<NodeId> {
    net.machine(id).status().conf_state.voters
}

/// Whether the leader, and each of these, has these voters and nothing under way.
fn are_there(net: &Net, wanted: &[NodeId]) -> bool {
    net.witness
        .leader()
        .is_some_and(|leader| wanted.contains(&leader) && net.machine(leader).is_where_it_aims())
        && wanted.iter().all(|id| voters(net, *id) == wanted && !net.machine(*id).members().is_joint())
}

#[test]
fn all_members_are_replaced_one_after_another_and_nothing_is_lost() {
    let mut net = Net::new(60, 3, 4 << 10);
    let mut members = ids(1..=3);
    let mut count = 0u64;
    for (old, new) in (1..=3).zip(4..=6) {
        net.add(NodeId(new), &[]);
        members.retain(|id| id.0 != old);
        members.push(NodeId(new));
        want(&mut net, &members, false);
        let wanted = members.clone();
        for _ in 0..600 {
            if let Some(leader) = net.witness.leader()
                && net.machine(leader).takes_proposals()
            {
                net.propose(leader, format!("{count:0100}"));
                count += 1;
            }
            net.run_for(5 * MS);
        }
        assert!(net.run_until(10 * SECOND, |net| are_there(net, &wanted)), "{:?}", net.witness.roles);
    }
    assert!(count > 1000);
    let tags = net.witness.dropped.clone();
    assert!(tags.is_empty(), "a lead that is handed over drops nothing that was proposed before: {tags:?}");
    net.converge(&ids(4..=6));
    assert_eq!(net.witness.committed, count);
    // Those who left bother nobody.
    let term = *net.witness.leaders.keys().next_back().unwrap();
    net.run_for(5 * SECOND);
    assert!(net.witness.leader().is_some_and(|leader| net.witness.roles[&leader] == Role::Leader { term }));
}

#[test]
fn a_leader_that_is_to_leave_hands_over_before() {
    let mut net = Net::new(61, 3, LARGE);
    let leader = net.elect();
    net.run_for(SECOND);
    let stay: Vec<_> = ids(1..=3).into_iter().filter(|id| *id != leader).collect();
    // Also while nobody may leave yet: the other group is not there.
    want(&mut net, &stay, true);
    assert!(net.run_until(SECOND, |net| net.witness.leader().is_some_and(|new| new != leader)));
    net.run_for(2 * SECOND);
    assert_eq!(voters(&net, stay[0]), ids(1..=3), "it only learns");
    want(&mut net, &stay, false);
    let wanted = stay.clone();
    assert!(net.run_until(5 * SECOND, |net| are_there(net, &wanted)));
    assert_eq!(net.witness.leaders.len(), 2, "one hand-over, no election");
}

#[test]
fn one_that_has_not_caught_up_does_not_vote_and_nobody_leaves_for_it() {
    let mut net = Net::new(62, 3, LARGE);
    let leader = net.elect();
    let out = ids(1..=3).into_iter().find(|id| *id != leader).unwrap();
    let wanted: Vec<_> = ids(1..=4).into_iter().filter(|id| *id != out).collect();
    net.add(NodeId(4), &[]);
    net.isolate(NodeId(4));
    want(&mut net, &wanted, false);
    net.run_for(3 * SECOND);
    let status = net.machine(net.witness.leader().unwrap()).status();
    assert_eq!((status.conf_state.voters, status.conf_state.learners), (ids(1..=3), ids([4])));
    net.heal();
    assert!(net.run_until(20 * SECOND, |net| are_there(net, &wanted)));
}

#[test]
fn whoever_leads_next_goes_on_with_it_or_takes_it_back() {
    for seed in 0..20u64 {
        let mut net = Net::new(6300 + seed, 3, LARGE);
        let leader = net.elect();
        let out = ids(1..=3).into_iter().find(|id| *id != leader).unwrap();
        net.add(NodeId(4), &[]);
        let wanted: Vec<_> = ids(1..=4).into_iter().filter(|id| *id != out).collect();
        want(&mut net, &wanted, false);
        // Somewhere on the way.
        net.run_for(seed * 20 * MS);
        net.crash(leader);
        net.run_for(SECOND);
        net.start(leader);
        let back = seed % 2 == 1;
        let wanted = if back { ids(1..=3) } else { wanted };
        want(&mut net, &wanted, false);
        assert!(
            net.run_until(20 * SECOND, |net| are_there(net, &wanted)),
            "seed {seed}: {:?}",
            net.witness.roles
        );
        if let Some(leader) = net.witness.leader() {
            net.propose(leader, "after");
        }
        net.converge(&wanted);
    }
}

#[test]
fn a_lone_master_is_replaced() {
    let mut net = Net::new(64, 1, LARGE);
    net.elect();
    net.propose(NodeId(1), "before");
    net.add(NodeId(2), &[]);
    let wanted = ids([2]);
    want(&mut net, &wanted, false);
    assert!(net.run_until(10 * SECOND, |net| are_there(net, &wanted)), "{:?}", net.witness.roles);
    net.propose(NodeId(2), "after");
    net.converge(&wanted);
    assert_eq!(net.witness.committed, 2);
}

#[test]
fn who_learned_and_is_not_wanted_any_more_hears_of_it_until_others_may_leave() {
    let mut net = Net::new(67, 3, LARGE);
    net.elect();
    net.add(NodeId(4), &[]);
    want(&mut net, &ids(1..=4), true);
    let learns =
        |net: &Net| net.witness.leader().is_some_and(|id| net.machine(id).members().learners == ids([4]));
    assert!(net.run_until(5 * SECOND, learns));
    // It is taken back, and the other group is not back yet: perhaps it is led by the one that came.
    want(&mut net, &ids(1..=3), true);
    net.run_for(2 * SECOND);
    assert!(learns(&net), "it has yet to hear of it");
    want(&mut net, &ids(1..=3), false);
    assert!(net.run_until(5 * SECOND, |net| are_there(net, &ids(1..=3))));
}
