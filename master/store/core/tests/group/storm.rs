//! Storms: members die and are parted, messages are lost, and the history of a key is that of one register.

use std::collections::BTreeMap;

use master_store_core::Ticket;
use proto::store::{
    Compare, Comparison, Operand, Operation, OperationReply, Put, Range, Reply, ReplyKind, Txn, Watch,
};

use crate::world::{MEMBERS, World, call, jobs};

/// What a call was, and the newest revision that anybody had been told before it was asked.
struct Asked {
    wrote: Option<String>,
    known: u64,
}

/// Reads the key, or writes it if it is as it was last seen: the answer tells what is there either way.
fn compare_and_swap(value: Option<&str>, seen: u64) -> Txn {
    let key = || "register".to_owned().into();
    let look = || Operation::Range(Range { key: key(), ..Range::default() });
    let compare = Compare {
        key: key(),
        range_end: Default::default(),
        comparison: Comparison::Equal,
        operand: Operand::ModRevision(seen),
    };
    let put = value
        .map(|value| Operation::Put(Put { key: key(), value: value.to_owned().into(), ..Put::default() }));
    match put {
        Some(put) => Txn { compare: vec![compare], success: vec![put, look()], failure: vec![look()] },
        None => Txn { compare: Vec::new(), success: vec![look()], failure: Vec::new() },
    }
}

/// What a reply says is in the register: revision of its last change, and value.
fn register(reply: &Reply) -> Option<(bool, u64, String)> {
    let ReplyKind::Txn(txn) = &reply.kind else { return None };
    let Some(OperationReply::Range(range)) = txn.responses.last() else { panic!("no look: {txn:?}") };
    let kv = range.kvs.first();
    let value = kv.map_or_else(String::new, |kv| String::from_utf8(kv.value.to_vec()).unwrap());
    Some((txn.succeeded && txn.responses.len() == 2, kv.map_or(0, |kv| kv.mod_revision), value))
}

fn storm(seed: u64) {
    let mut world = World::with_snapshots(seed, 16 << 10);
    let mut open: BTreeMap<Ticket, Asked> = BTreeMap::new();
    // By revision: what the register held from there on.
    let mut history: BTreeMap<u64, String> = BTreeMap::new();
    let (mut known, mut seen, mut written, mut dead) = (1, 0, 0, None);
    for round in 0..3_000u64 {
        match world.dice.below(200) {
            0 if dead.is_none() => {
                let id = MEMBERS[world.dice.below(3) as usize];
                world.kill(id);
                dead = Some(id);
            }
            1 | 2 => {
                if let Some(id) = dead.take() {
                    world.begin(id);
                }
            }
            3 => {
                let id = MEMBERS[world.dice.below(3) as usize];
                world.alone = [id].into();
            }
            4 | 5 => world.alone.clear(),
            6 => world.loses = 10,
            7 => world.loses = 0,
            _ => {}
        }
        if world.dice.chance(1, 3) {
            let at = MEMBERS[world.dice.below(3) as usize];
            let value = format!("{round}");
            let wrote = world.dice.chance(2, 3).then_some(value);
            let txn = compare_and_swap(wrote.as_deref(), seen);
            let ticket = world.ask(at, jobs(), call(proto::store::CallKind::Txn(txn)));
            open.insert(ticket, Asked { wrote, known });
        }
        world.turn();
        let answered: Vec<Ticket> =
            open.keys().filter(|ticket| world.replies.contains_key(ticket)).copied().collect();
        for ticket in answered {
            let asked = open.remove(&ticket).unwrap();
            let reply = &world.replies[&ticket];
            let Some((swapped, revision, value)) = register(reply) else { continue };
            assert!(reply.revision >= asked.known, "seed {seed}: an answer from before the question");
            assert!(revision <= reply.revision);
            if swapped {
                assert_eq!(Some(&value), asked.wrote.as_ref(), "seed {seed}");
                assert_eq!(revision, reply.revision, "seed {seed}");
                written += 1;
            }
            let before = history.insert(revision, value.clone());
            assert!(before.is_none_or(|before| before == value), "seed {seed}: two histories at {revision}");
            known = known.max(reply.revision);
            seen = seen.max(revision);
        }
    }
    world.alone.clear();
    world.loses = 0;
    if let Some(id) = dead {
        world.begin(id);
    }
    let leader = world.elect();
    let watch = world.watch(leader, Watch { key: "register".into(), start_revision: 1, ..Watch::default() });
    world.asks(leader, crate::world::put("end", ""));
    world.until("everybody has everything", |world| {
        MEMBERS.iter().all(|id| world.member(*id).applied() == world.member(leader).applied())
    });
    // Nothing that was acknowledged, or seen, is lost: the whole past is there and says the same.
    let past: BTreeMap<u64, String> = world
        .events(watch)
        .into_iter()
        .map(|event| (event.kv.mod_revision, String::from_utf8(event.kv.value.to_vec()).unwrap()))
        .collect();
    for (revision, value) in history.iter().filter(|(revision, _)| **revision > 0) {
        assert_eq!(past.get(revision), Some(value), "seed {seed}: revision {revision} was told otherwise");
    }
    for id in MEMBERS {
        assert!(world.member(id).store() == world.member(leader).store(), "seed {seed}: member {id} differs");
    }
    assert!(written > 20, "seed {seed}: only {written} writes in the whole storm");
}

#[test]
fn a_key_is_one_register_whatever_happens() {
    (0..12).for_each(storm);
}
