//! Random faults under random load, seed after seed, with the witness looking on.

use master_raft::{Aim, Input, MemberChange, NodeId, Room};

use crate::net::{MS, Net, SECOND, Weather};

fn weather(net: &mut Net) {
    let dice = &mut net.dice;
    net.weather = Weather {
        loss: [0, 0, 20, 100, 300][dice.below(5) as usize],
        double: [0, 10, 200][dice.below(3) as usize],
        delay: [200, 2_000, 20_000, 100_000][dice.below(4) as usize],
        sync: [200, 2_000, 30_000][dice.below(3) as usize],
    };
}

fn any(net: &mut Net) -> NodeId {
    let ids: Vec<_> = net.nodes.keys().copied().collect();
    *net.dice.pick(&ids).expect("somebody")
}

/// One fault, or one thing a user does. `changes` allows changes of members.
fn happen(net: &mut Net, most_down: usize, changes: bool) {
    let id = any(net);
    let alive = net.nodes[&id].machine.is_some();
    let down = net.nodes.len() - net.alive().len();
    match net.dice.below(100) {
        0..=3 if alive && down < most_down => net.crash(id),
        0..=9 if !alive => net.start(id),
        10..=12 => net.isolate(id),
        13..=17 => net.heal(),
        18..=19 => {
            let other = any(net);
            net.cut.insert((id, other));
        }
        20..=22 => weather(net),
        23 if alive => net.input(id, master_raft::Input::TransferLeader { to: NodeId(1) }),
        24..=26 if alive && changes => {
            let other = any(net);
            let third = any(net);
            let change = match net.dice.below(4) {
                0 => MemberChange { remove: vec![other], ..Default::default() },
                1 => MemberChange { add_learners: vec![other], ..Default::default() },
                2 => MemberChange { add_voters: vec![other], ..Default::default() },
                _ => MemberChange { add_voters: vec![other], remove: vec![third], ..Default::default() },
            };
            let leader = net.witness.leader().filter(|id| net.nodes[id].machine.is_some()).unwrap_or(id);
            net.change(leader, change);
        }
        27..=39 if alive => {
            net.read(id);
        }
        40..=99 if alive => {
            // Mostly where it may succeed.
            let leader = net.witness.leader().filter(|id| net.nodes[id].machine.is_some()).unwrap_or(id);
            let to = if net.dice.chance(1, 10) { id } else { leader };
            let size = 1 + net.dice.below(200) as usize;
            let count = 1 + net.dice.below(5);
            for _ in 0..count {
                let data = vec![net.dice.next_u64() as u8; size];
                net.propose(to, data);
            }
        }
        _ => {}
    }
}

fn storm(seed: u64, voters: u64, joiners: u64, traced: bool) -> Net {
    let cut = [2 << 10, 16 << 10, 1 << 20][(seed % 3) as usize];
    let mut net = Net::new(seed, voters, cut);
    if traced {
        net = net.traced();
    }
    for id in voters + 1..=voters + joiners {
        net.add(NodeId(id), &[]);
    }
    let minority = (voters as usize - 1) / 2;
    for _ in 0..250 {
        // Now and then all may be down at once: nothing that was committed may be lost by that either.
        let most_down = if net.dice.chance(1, 20) { net.nodes.len() } else { minority };
        happen(&mut net, most_down, joiners > 0);
        let pause = net.dice.below(20 * MS);
        net.run_for(pause);
    }
    net.heal();
    net.weather = Weather { delay: 400, sync: 400, ..Weather::default() };
    for id in net.nodes.keys().copied().collect::<Vec<_>>() {
        if net.nodes[&id].machine.is_none() {
            net.start(id);
        }
    }
    let leader = net.elect();
    net.run_for(3 * SECOND);
    let leader = net.witness.leader().unwrap_or(leader);
    net.propose(leader, "the last word");
    let conf_state = net.machine(leader).status().conf_state;
    let members: Vec<_> = conf_state.voters.iter().chain(&conf_state.learners).copied().collect();
    net.converge(&members);
    net.run_for(3 * SECOND);
    net.witness.assert_ended(&net.alive());
    assert!(net.witness.ledger.values().any(|(_, data, _)| *data == "the last word"));
    net
}

#[test]
fn three_members_keep_their_promises() {
    let (mut committed, mut reads, mut leaders, mut snapshots) = (0, 0, 0, 0);
    for seed in 0..150 {
        let net = storm(seed, 3, 0, false);
        committed += net.witness.committed;
        reads += net.witness.reads_done;
        leaders += net.witness.leaders.len();
        snapshots += net.snapshots_sent;
    }
    println!("{committed} committed, {reads} reads, {leaders} leaders, {snapshots} snapshots sent");
    // A storm in which nothing happens proves nothing.
    assert!(committed > 10_000 && reads > 1_000 && leaders > 300 && snapshots > 50);
}

#[test]
fn five_members_keep_their_promises() {
    for seed in 1_000..1_060 {
        storm(seed, 5, 0, false);
    }
}

#[test]
fn members_come_and_go_and_the_promises_stay() {
    let mut changes = 0;
    for seed in 2_000..2_100 {
        changes += storm(seed, 3, 3, false).witness.members_tags.len();
    }
    println!("{changes} changes of members");
    assert!(changes > 200);
}

/// A whole group is replaced, its leader too. The moment this is said to be done the old members are gone for good, and
/// the new ones lose power: they must still know that they need nobody else.
#[test]
fn who_has_left_may_be_switched_off() {
    for seed in 4_000..4_100 {
        let mut net = Net::new(seed, 3, 1 << 20);
        let (old, new) = ([1, 2, 3].map(NodeId), [4, 5, 6].map(NodeId));
        new.iter().for_each(|id| net.add(*id, &[]));
        let leader = net.elect();
        for n in 0..20u64 {
            net.propose(leader, format!("{n}"));
        }
        net.run_for(50 * MS);
        weather(&mut net);
        let change =
            MemberChange { add_voters: new.to_vec(), remove: old.to_vec(), ..MemberChange::default() };
        net.change(leader, change.clone());
        let done = |net: &Net| !net.witness.members_tags.is_empty();
        // The lead may have been lost meanwhile: then it is asked for again.
        while !net.run_until(2 * SECOND, done) {
            let leader = net.witness.leader().filter(|id| net.machine(*id).is_leader());
            if let Some(id) = leader {
                net.change(id, change.clone());
            }
        }
        old.into_iter().for_each(|id| net.crash(id));
        new.into_iter().for_each(|id| net.crash(id));
        net.weather = Weather { delay: 400, sync: 400, ..Weather::default() };
        // One of them may be late.
        let late = new[net.dice.below(3) as usize];
        new.iter().filter(|id| **id != late).for_each(|id| net.start(*id));
        let leader = net.elect();
        net.propose(leader, "on our own");
        net.start(late);
        net.converge(&new);
        assert_eq!(net.nodes[&late].applied.count, 21);
    }
}

#[test]
fn a_seed_reproduces_a_run() {
    for seed in 3_000..3_010 {
        let first = storm(seed, 3, 1, true).trace();
        let again = storm(seed, 3, 1, true).trace();
        let other = storm(seed + 500, 3, 1, true).trace();
        assert_eq!(first, again);
        assert_ne!(first, other);
    }
}

/// Members come and go by what is wanted of them, disks fill up, and everything else happens, too: whoever leads in the end has
/// the group where it was last wanted.
fn changing_storm(seed: u64) -> Net {
    let cut = [2 << 10, 16 << 10, 1 << 20][(seed % 3) as usize];
    let mut net = Net::new(7_000_000 + seed, 3, cut);
    for id in 4..=6 {
        net.add(NodeId(id), &[]);
    }
    let mut wanted: Vec<NodeId> = (1..=3).map(NodeId).collect();
    let mut used = 3;
    for _ in 0..250 {
        happen(&mut net, 1, false);
        // One change at a time, as the log above has them: the next one when a leader is where the last one led.
        let there = net.witness.leader().filter(|id| net.nodes[id].machine.is_some());
        let there = there.is_some_and(|id| net.machine(id).is_where_it_aims());
        if there && used < 6 && net.dice.chance(1, 8) {
            used += 1;
            let at = net.dice.below(wanted.len() as u64) as usize;
            wanted[at] = NodeId(used);
            wanted.sort_unstable();
        }
        let low = any(&mut net);
        if net.nodes[&low].machine.is_some() {
            let room = *net.dice.pick(&[Room::Enough, Room::Enough, Room::Low, Room::None]).expect("one");
            net.input(low, Input::Room(room));
        }
        tell(&mut net, &wanted);
        let pause = net.dice.below(20 * MS);
        net.run_for(pause);
    }
    net.heal();
    net.weather = Weather { delay: 400, sync: 400, ..Weather::default() };
    for id in net.nodes.keys().copied().collect::<Vec<_>>() {
        if net.nodes[&id].machine.is_none() {
            net.start(id);
        }
        net.input(id, Input::Room(Room::Enough));
    }
    tell(&mut net, &wanted);
    let arrived = net.run_until(30 * SECOND, |net| {
        let leader = net.witness.leader().filter(|leader| wanted.contains(leader));
        leader.is_some_and(|leader| net.machine(leader).is_where_it_aims())
    });
    assert!(arrived, "seed {seed}: {wanted:?} {:?}", net.witness.roles);
    let leader = net.elect();
    net.propose(leader, "the last word");
    net.converge(&wanted);
    assert!(net.witness.ledger.values().any(|(_, data, _)| *data == "the last word"), "seed {seed}");
    net
}

/// Says on all who live who is wanted, as it follows from the log.
fn tell(net: &mut Net, wanted: &[NodeId]) {
    for id in net.alive() {
        net.input(id, Input::Aim(Aim { voters: wanted.to_vec(), only_learn: false }));
    }
}

#[test]
fn members_that_come_and_go_keep_their_promises() {
    let (mut committed, mut replaced) = (0, 0);
    for seed in 0..60 {
        let net = changing_storm(seed);
        committed += net.witness.committed;
        let leader = net.witness.leader().expect("there is one");
        replaced += net.machine(leader).members().voters.iter().filter(|id| id.0 > 3).count();
    }
    assert!(committed > 2_000 && replaced > 60, "{committed} committed, {replaced} replaced");
}
