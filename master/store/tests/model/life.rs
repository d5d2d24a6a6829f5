//! Random lives: a few keys, a few leases, and everything that can be asked of them.

use proptest::prelude::*;
use proto::store::{
    Bytes, Claim, Compact, Compare, Comparison, DeleteRange, Keys, LeaseGrant, LeaseRevoke, Operand,
    Operation, Put, Range, Txn,
};
use proto::store_log::{EntryKind, LeaseExpired};

/// Something that happens to the space.
#[derive(Clone, Debug)]
pub enum Step {
    Change(EntryKind),
    Look(Range),
    Watch { keys: Keys, from: u64, prev_kv: bool },
    Restart,
}

fn key() -> BoxedStrategy<Bytes> {
    prop::sample::select(vec!["a", "aa", "b", "c", "d"])
        .prop_map(|key| Bytes::from_static(key.as_bytes()))
        .boxed()
}

fn end() -> BoxedStrategy<Bytes> {
    prop_oneof![
        4 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(&[0])),
        2 => prop::sample::select(vec!["a", "b", "c", "e"]).prop_map(|end| Bytes::from_static(end.as_bytes())),
    ]
    .boxed()
}

fn value() -> BoxedStrategy<Bytes> {
    prop::sample::select(vec!["", "x", "y", "a longer one"])
        .prop_map(|v| Bytes::from_static(v.as_bytes()))
        .boxed()
}

fn lease() -> BoxedStrategy<u64> {
    prop_oneof![3 => Just(0u64), 2 => 1..4u64].boxed()
}

fn range() -> BoxedStrategy<Range> {
    let revision = prop_oneof![2 => Just(0u64), 1 => 1..30u64];
    (key(), end(), 0..4u64, revision, any::<bool>(), any::<bool>())
        .prop_map(|(key, range_end, limit, revision, keys_only, count_only)| Range {
            key,
            range_end,
            limit,
            revision,
            keys_only,
            count_only,
            serializable: false,
        })
        .boxed()
}

fn put() -> BoxedStrategy<Put> {
    let ignoring = prop::sample::select(vec![(false, false), (false, false), (true, false), (false, true)]);
    (key(), value(), lease(), any::<bool>(), ignoring)
        .prop_map(|(key, value, lease, prev_kv, (ignore_value, ignore_lease))| Put {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        })
        .boxed()
}

fn delete() -> BoxedStrategy<DeleteRange> {
    (key(), end(), any::<bool>())
        .prop_map(|(key, range_end, prev_kv)| DeleteRange { key, range_end, prev_kv })
        .boxed()
}

fn compare() -> BoxedStrategy<Compare> {
    let operand = prop_oneof![
        (0..4u64).prop_map(Operand::Version),
        (0..20u64).prop_map(Operand::CreateRevision),
        (0..20u64).prop_map(Operand::ModRevision),
        value().prop_map(Operand::Value),
        (0..4u64).prop_map(Operand::Lease),
    ];
    let comparison = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::Greater,
        Comparison::Less,
        Comparison::NotEqual,
    ]);
    (key(), end(), comparison, operand)
        .prop_map(|(key, range_end, comparison, operand)| Compare { key, range_end, comparison, operand })
        .boxed()
}

fn txn(depth: u32) -> BoxedStrategy<Txn> {
    let step = || {
        let plain = prop_oneof![
            1 => range().prop_map(Operation::Range),
            3 => put().prop_map(Operation::Put),
            1 => delete().prop_map(Operation::DeleteRange),
        ];
        match depth {
            0 => plain.boxed(),
            _ => prop_oneof![3 => plain, 1 => txn(depth - 1).prop_map(Operation::Txn)].boxed(),
        }
    };
    let steps = || prop::collection::vec(step(), 0..3);
    (prop::collection::vec(compare(), 0..2), steps(), steps())
        .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
        .boxed()
}

fn change() -> BoxedStrategy<EntryKind> {
    prop_oneof![
        8 => put().prop_map(EntryKind::Put),
        3 => delete().prop_map(EntryKind::DeleteRange),
        5 => txn(2).prop_map(EntryKind::Txn),
        1 => (0..30u64).prop_map(|revision| EntryKind::Compact(Compact { revision })),
        3 => (lease(), 0..5_000u64).prop_map(|(id, ttl_ms)| EntryKind::LeaseGrant(LeaseGrant { ttl_ms, id })),
        1 => (1..4u64).prop_map(|id| EntryKind::LeaseRevoke(LeaseRevoke { id })),
        1 => (1..4u64, 1..6u64).prop_map(|(id, grant)| EntryKind::LeaseExpired(LeaseExpired { id, grant })),
        2 => (0..4u64).prop_map(|lease| EntryKind::Claim(Claim { lease })),
    ]
    .boxed()
}

/// A life.
pub fn steps() -> BoxedStrategy<Vec<Step>> {
    let keys = (key(), end()).prop_map(|(key, end)| Keys { key, end });
    let step = prop_oneof![
        8 => change().prop_map(Step::Change),
        3 => range().prop_map(Step::Look),
        2 => (keys, 0..30u64, any::<bool>())
            .prop_map(|(keys, from, prev_kv)| Step::Watch { keys, from, prev_kv }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..50).boxed()
}
