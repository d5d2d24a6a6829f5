//! Single cases, each told from beginning to end.

use master_raft::{ELECTION_TICKS, Input, MemberChange, NodeId, Role, TICK, Why};

use crate::net::{MS, Net, SECOND};

const LARGE: u64 = 1 << 30;

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn others(net: &Net, id: NodeId) -> Vec<NodeId> {
    net.nodes.keys().copied().filter(|other| *other != id).collect()
}

#[test]
fn a_fresh_group_elects_a_leader_and_agrees() {
    let mut net = Net::new(1, 3, LARGE);
    let leader = net.elect();
    for n in 0..100u64 {
        net.propose(leader, format!("entry {n}"));
    }
    net.converge(&ids(1..=3));
    assert_eq!(net.witness.committed, 100);
    assert_eq!(net.witness.ledger.len(), 100);
    assert_eq!(net.witness.leaders.len(), 1);
}

#[test]
fn a_lone_voter_leads_at_once() {
    let mut net = Net::new(2, 1, LARGE);
    assert!(net.run_until(10 * MS, |net| net.witness.leader().is_some()));
    net.propose(NodeId(1), "alone");
    net.converge(&ids([1]));
    net.crash(NodeId(1));
    net.start(NodeId(1));
    assert!(net.run_until(10 * MS, |net| net.witness.leader().is_some()));
    assert_eq!(net.nodes[&NodeId(1)].applied.count, 1);
}

#[test]
fn a_leader_that_hears_nobody_steps_down_and_disturbs_nobody_on_its_return() {
    let mut net = Net::new(3, 3, LARGE);
    let old = net.elect();
    let term = *net.witness.leaders.keys().next_back().unwrap();
    net.isolate(old);
    let tag = net.propose(old, "never to be");
    let lease = 2 * ELECTION_TICKS as u64 * TICK.as_micros() as u64;
    net.run_for(lease + 50 * MS);
    assert!(!matches!(net.witness.roles[&old], Role::Leader { .. }));
    assert_eq!(net.witness.dropped, [(tag, Why::LeadershipLost)]);
    let new = net.elect();
    assert_ne!(new, old);
    net.propose(new, "meanwhile");
    net.run_for(5 * SECOND);
    // Pre-vote: however long it campaigned alone, its term has not moved.
    assert_eq!(net.witness.roles[&old], Role::Candidate { term });
    net.heal();
    net.converge(&ids(1..=3));
    net.run_for(SECOND);
    assert_eq!(net.witness.leaders.len(), 2);
    assert_eq!(net.witness.leader(), Some(new));
    assert!(net.witness.ledger.values().all(|(_, data, _)| *data != "never to be"));
}

#[test]
fn a_proposal_elsewhere_than_at_the_leader_is_dropped_with_its_address() {
    let mut net = Net::new(4, 3, LARGE);
    let leader = net.elect();
    net.run_for(100 * MS);
    let follower = others(&net, leader)[0];
    let tag = net.propose(follower, "lost");
    let empty = net.propose(leader, "");
    net.run_for(10 * MS);
    let address = Why::NotLeader { leader: Some(leader) };
    net.witness.dropped.sort_by_key(|(tag, _)| *tag);
    assert_eq!(net.witness.dropped, [(tag, address), (empty, Why::Size)]);
}

#[test]
fn a_leader_takes_no_more_than_it_may_keep_uncommitted() {
    let mut net = Net::new(5, 3, LARGE);
    let leader = net.elect();
    net.isolate(leader);
    for _ in 0..6 {
        net.propose(leader, vec![7u8; 15 << 20]);
    }
    net.run_for(10 * MS);
    let full: Vec<_> = net.witness.dropped.iter().map(|(_, why)| *why).collect();
    assert_eq!(full, [Why::Full; 2]);
    net.heal();
    net.converge(&ids(1..=3));
}

#[test]
fn a_follower_far_behind_is_brought_up_by_snapshot_even_if_the_first_is_lost() {
    let mut net = Net::new(6, 3, 8 << 10);
    let leader = net.elect();
    let behind = others(&net, leader)[0];
    net.isolate(behind);
    for n in 0..500u64 {
        net.propose(leader, format!("{n:0100}"));
        net.run_for(MS);
    }
    assert!(net.machine(leader).status().first_index > 100, "the log was never cut");
    net.lose_snapshots = 1;
    net.heal();
    net.converge(&ids(1..=3));
    assert!(net.snapshots_sent >= 2);
    net.run_for(200 * MS);
    let status = net.machine(leader).status();
    assert!(status.progress.iter().all(|member| !member.snapshot && member.active), "{status:?}");
    assert!(net.machine(behind).status().snapshot_index > 100);
}

#[test]
fn a_restarted_group_has_everything() {
    let mut net = Net::new(7, 3, 4 << 10);
    let leader = net.elect();
    for n in 0..300u64 {
        net.propose(leader, format!("{n:050}"));
        net.run_for(500);
    }
    net.converge(&ids(1..=3));
    ids(1..=3).into_iter().for_each(|id| net.crash(id));
    ids(1..=3).into_iter().for_each(|id| net.start(id));
    let leader = net.elect();
    net.propose(leader, "and on");
    net.converge(&ids(1..=3));
    assert!(net.nodes.values().all(|node| node.applied.count == 301));
}

#[test]
fn a_joiner_learns_then_votes() {
    let mut net = Net::new(8, 3, LARGE);
    let leader = net.elect();
    net.propose(leader, "before");
    let joiner = NodeId(9);
    net.add(joiner, &[]);
    net.run_for(3 * SECOND);
    // It knows nobody and asks for nothing.
    assert_eq!(net.witness.roles[&joiner], Role::Follower { leader: None, term: 0 });
    let learn = net.change(leader, MemberChange { add_learners: vec![joiner], ..Default::default() });
    net.converge(&ids([1, 2, 3, 9]));
    assert_eq!(net.snapshots_sent, 1, "the founders stand in no entry");
    let vote = net.change(leader, MemberChange { add_voters: vec![joiner], ..Default::default() });
    net.converge(&ids([1, 2, 3, 9]));
    assert_eq!(net.witness.members_tags, [learn, vote]);
    net.run_for(100 * MS);
    for id in ids([1, 2, 3, 9]) {
        assert_eq!(net.machine(id).status().conf_state.voters, ids([1, 2, 3, 9]));
    }
    // Two of four are no majority.
    net.isolate(others(&net, leader)[0]);
    net.isolate(joiner);
    net.run_for(SECOND);
    assert_eq!(net.witness.leader(), None);
}

#[test]
fn one_joint_change_replaces_a_member() {
    let mut net = Net::new(9, 3, LARGE);
    let leader = net.elect();
    let out = others(&net, leader)[0];
    net.add(NodeId(4), &[]);
    let change = MemberChange { add_voters: ids([4]), remove: vec![out], ..Default::default() };
    let tag = net.change(leader, change);
    let second = net.change(leader, MemberChange { add_learners: ids([5]), ..Default::default() });
    let stay: Vec<_> = others(&net, out);
    net.converge(&stay);
    assert_eq!(net.witness.members_tags, [tag]);
    assert_eq!(net.witness.dropped, [(second, Why::Busy)]);
    let conf_state = net.machine(leader).status().conf_state;
    assert_eq!(conf_state.voters, stay);
    assert!(!conf_state.is_joint());
    // The one who left campaigns in vain and moves nobody's term.
    let term = *net.witness.leaders.keys().next_back().unwrap();
    net.run_for(5 * SECOND);
    assert_eq!(net.witness.roles[&leader], Role::Leader { term });
}

#[test]
fn impossible_changes_of_members_are_told_at_once() {
    let mut net = Net::new(10, 3, LARGE);
    let leader = net.elect();
    let changes = [
        MemberChange::default(),
        MemberChange { add_voters: ids([0]), ..Default::default() },
        MemberChange { add_voters: ids([4]), remove: ids([4]), ..Default::default() },
        MemberChange { remove: ids(1..=3), ..Default::default() },
        MemberChange { add_learners: ids(1..=2), remove: ids([3]), ..Default::default() },
    ];
    for change in changes.clone() {
        net.change(leader, change);
    }
    net.run_for(100 * MS);
    assert_eq!(net.witness.dropped.len(), changes.len());
    assert!(net.witness.dropped.iter().all(|(_, why)| *why == Why::Invalid));
}

#[test]
fn a_leader_that_removes_itself_leaves_an_heir() {
    let mut net = Net::new(11, 3, LARGE);
    let leader = net.elect();
    let tag = net.change(leader, MemberChange { remove: vec![leader], ..Default::default() });
    let after = net.propose(leader, "behind the change");
    let lapse = 60 * MS;
    let stay = others(&net, leader);
    assert!(
        net.run_until(lapse, |net| net.witness.leader().is_some_and(|new| new != leader)),
        "the heir waits for no timeout"
    );
    assert_eq!(net.witness.members_tags, [tag]);
    let heir = net.witness.leader().unwrap();
    net.propose(heir, "after");
    net.converge(&stay);
    net.run_for(2 * SECOND);
    assert!(matches!(net.witness.roles[&leader], Role::Follower { .. }));
    assert_eq!(net.witness.dropped, [(after, Why::Transferring)]);
}

#[test]
fn the_lead_is_handed_over_without_a_gap() {
    let mut net = Net::new(12, 3, LARGE);
    let leader = net.elect();
    net.run_for(100 * MS);
    let heir = others(&net, leader)[1];
    net.input(leader, Input::TransferLeader { to: heir });
    let late = net.propose(leader, "too late");
    assert!(net.run_until(20 * MS, |net| net.witness.leader() == Some(heir)), "{:?}", net.witness.roles);
    assert!(net.run_until(20 * MS, |net| !net.witness.dropped.is_empty()));
    assert_eq!(net.witness.dropped, [(late, Why::Transferring)]);
}

#[test]
fn reads_are_answered_everywhere_and_given_up_without_a_leader() {
    let mut net = Net::new(13, 3, LARGE);
    let leader = net.elect();
    net.run_for(100 * MS);
    let sends = net.sends;
    for id in ids(1..=3) {
        for _ in 0..100 {
            net.propose(leader, "w");
            net.read(id);
        }
    }
    net.run_for(50 * MS);
    assert_eq!(net.witness.reads_done, 300);
    assert!(net.sends - sends < 200, "reads of one batch share a round: {} messages", net.sends - sends);
    net.witness.assert_ended(&net.alive());
    for id in ids(1..=3) {
        net.isolate(id);
        net.read(id);
    }
    net.run_for(3 * SECOND);
    net.witness.assert_ended(&net.alive());
    assert_eq!(net.witness.reads_done, 300);
}

#[test]
fn a_member_that_slept_long_does_not_campaign() {
    let mut net = Net::new(14, 3, LARGE);
    let leader = net.elect();
    net.run_for(SECOND);
    let sleeper = others(&net, leader)[0];
    // Its process is stopped: nothing reaches it, and on its return the clock has jumped.
    let asleep = net.nodes.get_mut(&sleeper).unwrap().machine.take().unwrap();
    net.run_for(60 * SECOND);
    net.nodes.get_mut(&sleeper).unwrap().machine = Some(asleep);
    net.input(sleeper, Input::Stored { sequence: 0 });
    net.run_for(2 * SECOND);
    assert_eq!(net.witness.leaders.len(), 1);
    assert!(matches!(net.witness.roles[&sleeper], Role::Follower { leader: Some(_), .. }));
}

/// The promise of the constants: when the leader dies there is a new one within half a second, half of the time
/// much sooner.
#[test]
fn a_dead_leader_is_replaced_within_half_a_second() {
    let mut lapses: Vec<u64> = (0..100)
        .map(|seed| {
            let mut net = Net::new(1000 + seed, 3, LARGE);
            net.weather.sync = 5 * MS;
            let leader = net.elect();
            let pause = net.dice.below(100 * MS);
            net.run_for(SECOND + pause);
            net.crash(leader);
            let died = net.now;
            net.elect();
            net.now - died
        })
        .collect();
    lapses.sort_unstable();
    let (half, most) = (lapses[50] / MS, lapses[98] / MS);
    println!("a new leader after: p50 {half} ms, p98 {most} ms, worst {} ms", lapses[99] / MS);
    assert!(half < 400, "p50 {half} ms");
    assert!(most < 1000, "p98 {most} ms");
}

#[test]
fn an_idle_group_says_little() {
    let mut net = Net::new(15, 3, LARGE);
    net.elect();
    net.run_for(SECOND);
    let before = net.sends;
    net.run_for(10 * SECOND);
    // Two followers, a heartbeat and its answer every 40 ms.
    assert!(net.sends - before <= 1010, "{} messages in ten seconds", net.sends - before);
}
