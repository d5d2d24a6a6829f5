//! A peer that is broken or lies: the group may fail at its work, but nobody's process stops.

use bytes::Bytes;
use master_raft::{Image, Input, MemberChange, NodeId};
use prost::Message as _;
use proto_machine::Dice;
use proto_wire::raft as wire;

use crate::net::{MS, Net};

fn number(dice: &mut Dice, was: u64) -> u64 {
    match dice.below(8) {
        0 => 0,
        1 => was.wrapping_add(1),
        2 => was.wrapping_sub(1),
        3 => dice.below(50),
        4 => u64::MAX - dice.below(3),
        5 => 1 << dice.below(64),
        6 => was / 2,
        _ => was.wrapping_add(dice.below(100)),
    }
}

fn mangle(dice: &mut Dice, bytes: Bytes) -> Bytes {
    // Snapshots are rare, and worth more lies.
    let snapshot = wire::Message::decode(bytes.clone()).is_ok_and(|message| message.snapshot.is_some());
    let honest = if snapshot { 1 } else { 9 };
    if dice.chance(honest, 10) {
        return bytes;
    }
    if dice.chance(1, 10) {
        let mut raw = bytes.to_vec();
        let at = dice.below(raw.len() as u64) as usize;
        raw[at] ^= 1 << dice.below(8);
        return raw.into();
    }
    let mut message = wire::Message::decode(bytes).expect("what members send decodes");
    for _ in 0..=dice.below(3) {
        let field = if snapshot { 15 } else { dice.below(16) };
        match field {
            0 => message.kind = dice.below(15) as i32,
            1 => message.term = number(dice, message.term),
            2 => message.log_term = number(dice, message.log_term),
            3 => message.index = number(dice, message.index),
            4 => message.commit = number(dice, message.commit),
            5 => message.commit_term = number(dice, message.commit_term),
            6 => message.reject = !message.reject,
            7 => message.reject_hint = number(dice, message.reject_hint),
            8 => message.request_snapshot = dice.below(3),
            9 => message.priority = dice.next_u64() as i64,
            10 => message.context = vec![7; dice.below(30) as usize],
            11 => message.from = dice.below(5),
            12 => message.entries.clear(),
            13 | 14 => {
                let count = message.entries.len() as u64;
                if let Some(entry) = message.entries.get_mut(dice.below(count) as usize) {
                    entry.kind = dice.below(3) as i32;
                    entry.index = number(dice, entry.index);
                    entry.term = number(dice, entry.term);
                    entry.data.truncate(1);
                } else {
                    let (index, term) = (message.index.wrapping_add(1), message.term);
                    message.entries.push(wire::Entry { index, term, ..wire::Entry::default() });
                }
            }
            _ => {
                let list = |dice: &mut Dice| (0..dice.below(4)).map(|_| dice.below(5)).collect::<Vec<_>>();
                let members = wire::ConfState {
                    voters: list(dice),
                    learners: list(dice),
                    voters_outgoing: list(dice),
                    learners_next: list(dice),
                    auto_leave: dice.chance(1, 2),
                };
                let was = message.snapshot.take().unwrap_or_default();
                let (index, term) = match dice.below(3) {
                    0 => (number(dice, was.index), number(dice, was.term)),
                    _ => (was.index, was.term),
                };
                message.snapshot =
                    Some(wire::Snapshot { index, term, members: Some(members), data: Vec::new() });
            }
        }
    }
    message.encode_to_vec().into()
}

/// What a confused shell might say.
fn mischief(dice: &mut Dice) -> Input {
    let peer = NodeId(dice.below(6));
    match dice.below(40) {
        0 => Input::SnapshotTaken { index: dice.below(300), image: Image::Bytes("?".into()) },
        1 => Input::SnapshotReport { peer, delivered: dice.chance(1, 2) },
        2 => Input::Unreachable { peer },
        3 => Input::TransferLeader { to: peer },
        4 => {
            let mut list = || (0..dice.below(3)).map(|_| NodeId(dice.below(5))).collect();
            let change = MemberChange { add_voters: list(), add_learners: list(), remove: list() };
            Input::ChangeMembers { tag: 7, change }
        }
        5 => Input::PeerSnapshot { from: peer, bytes: "!".into(), image: Image::Filed { bytes: 9 } },
        _ => Input::Stored { sequence: dice.below(1000) },
    }
}

#[test]
fn lies_and_noise_stop_nobody() {
    for seed in 0..150 {
        let mut net = Net::new(seed, 3, 400);
        net.witness.blind = true;
        net.mangle = Some(mangle);
        for round in 0..200u64 {
            let id = NodeId(1 + net.dice.below(3));
            net.input(id, Input::Propose { tag: round, data: "x".into() });
            net.input(id, Input::ReadIndex { tag: round });
            if net.dice.chance(1, 20) {
                net.isolate(id);
            } else if net.dice.chance(1, 4) {
                net.heal();
            }
            let input = mischief(&mut net.dice);
            net.input(id, input);
            let noise: Vec<u8> = (0..net.dice.below(40)).map(|_| net.dice.next_u64() as u8).collect();
            net.input(id, Input::Peer { from: NodeId(9), bytes: noise.into() });
            let pause = net.dice.below(30 * MS);
            net.run_for(pause);
        }
        assert_eq!(net.alive().len(), 3);
    }
}
