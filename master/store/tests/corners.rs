//! The corners of etcd's semantics, and of what is ours, one by one.

use master_store::{Effect, Fault, HISTORY_BYTES_MAX, LEASES_MAX, SPACES_MAX, Space, SpaceId, Store};
use proto::refusal::Refusal;
use proto::store::{
    Bytes, Claim, Claimed, Compact, Compare, Comparison, DeleteRange, KEY_BYTES_MAX, Keys, LEASE_TTL_MAX_MS,
    LEASE_TTL_MIN_MS, LeaseGrant, LeaseReply, LeaseRevoke, Operand, Operation, Put, Range, ReplyKind,
    SPACE_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, Txn, VALUE_BYTES_MAX,
};
use proto::store_log::{Entry, EntryKind, LeaseExpired, Limits};

const OWNER: &str = "framework/jobs";

fn id(name: &str) -> SpaceId {
    SpaceId { owner: OWNER.to_owned(), name: name.to_owned() }
}

fn entry(epoch: Option<u64>, kind: EntryKind) -> Entry {
    Entry { owner: OWNER.to_owned(), space: String::new(), epoch, kind }
}

fn put(key: &str, value: &str) -> Put {
    Put { key: key.to_owned().into(), value: value.to_owned().into(), ..Put::default() }
}

fn leased(key: &str, lease: u64) -> EntryKind {
    EntryKind::Put(Put { lease, ..put(key, "v") })
}

fn delete(key: &str) -> DeleteRange {
    DeleteRange { key: key.to_owned().into(), ..DeleteRange::default() }
}

fn at(key: &str, revision: u64) -> Range {
    Range { key: key.to_owned().into(), revision, ..Range::default() }
}

/// One space with what was done to it.
#[derive(Default)]
struct Tried(Store);

impl Tried {
    fn does(&mut self, kind: EntryKind) -> Result<ReplyKind, Fault> {
        self.0.apply(entry(None, kind)).outcome
    }

    fn puts(&mut self, key: &str, value: &str) -> u64 {
        let applied = self.0.apply(entry(None, EntryKind::Put(put(key, value))));
        applied.outcome.unwrap();
        applied.revision
    }

    fn grants(&mut self, id: u64) -> u64 {
        let grant = EntryKind::LeaseGrant(LeaseGrant { ttl_ms: 5_000, id });
        match self.0.apply(entry(None, grant)).effect {
            Effect::Granted { grant, .. } => grant,
            effect => panic!("{effect:?}"),
        }
    }

    fn txn(&mut self, success: Vec<Operation>) -> Result<ReplyKind, Fault> {
        self.does(EntryKind::Txn(Txn { success, ..Txn::default() }))
    }

    fn space(&self) -> &Space {
        self.0.space(&id("")).unwrap()
    }

    /// Version, create and mod revision.
    fn stands(&self, key: &str) -> Option<(u64, u64, u64)> {
        let reply = self.space().range(&at(key, 0)).unwrap();
        reply.kvs.first().map(|kv| (kv.version, kv.create_revision, kv.mod_revision))
    }
}

#[test]
fn the_first_put_is_revision_two_and_deleting_begins_the_count_again() {
    let mut tried = Tried::default();
    assert_eq!(Space::default().revision(), 1);
    assert_eq!((tried.puts("a", "1"), tried.puts("a", "2")), (2, 3));
    assert_eq!(tried.stands("a"), Some((2, 2, 3)));
    tried.does(EntryKind::DeleteRange(delete("a"))).unwrap();
    assert_eq!((tried.stands("a"), tried.space().revision()), (None, 4));
    tried.puts("a", "3");
    assert_eq!(tried.stands("a"), Some((1, 5, 5)));
    // What is not there is deleted without a revision.
    tried.does(EntryKind::DeleteRange(delete("b"))).unwrap();
    assert_eq!(tried.space().revision(), 5);
}

#[test]
fn a_revision_can_be_read_until_it_is_compacted() {
    let mut tried = Tried::default();
    for n in 1..=4 {
        tried.puts("a", &n.to_string());
    }
    let value = |tried: &Tried, revision| {
        tried.space().range(&at("a", revision)).map(|reply| reply.kvs[0].value.clone())
    };
    assert_eq!(value(&tried, 3), Ok(Bytes::from("2")));
    assert_eq!(value(&tried, 6), Err(Fault::Future { revision: 5 }));
    tried.does(EntryKind::Compact(Compact { revision: 4 })).unwrap();
    assert_eq!(value(&tried, 3), Err(Fault::Compacted { compacted: 4 }));
    assert_eq!(value(&tried, 4), Ok(Bytes::from("3")));
    assert_eq!(value(&tried, 0), Ok(Bytes::from("4")));
    let again = |tried: &mut Tried, revision| tried.does(EntryKind::Compact(Compact { revision }));
    assert_eq!(again(&mut tried, 4), Err(Fault::Compacted { compacted: 4 }));
    assert_eq!(again(&mut tried, 6), Err(Fault::Future { revision: 5 }));
}

#[test]
fn a_watch_from_an_old_revision_tells_everything_since_or_that_it_cannot() {
    let mut tried = Tried::default();
    tried.puts("a", "1");
    tried.puts("b", "1");
    tried.puts("a", "2");
    tried.does(EntryKind::DeleteRange(delete("a"))).unwrap();
    let told = |tried: &Tried, from| {
        let changes = tried.space().changes(&Keys::one("a"), from, true, u64::MAX)?;
        let shown = changes.events.into_iter().map(|event| {
            let before = event.prev_kv.map(|kv| kv.mod_revision);
            (event.kv.mod_revision, event.deleted, before)
        });
        Ok::<_, Fault>((shown.collect::<Vec<_>>(), changes.next))
    };
    assert_eq!(told(&tried, 2), Ok((vec![(2, false, None), (4, false, Some(2)), (5, true, Some(4))], 6)));
    assert_eq!(told(&tried, 9), Ok((vec![], 9)));
    tried.does(EntryKind::Compact(Compact { revision: 5 })).unwrap();
    assert_eq!(told(&tried, 4), Err(Fault::Compacted { compacted: 5 }));
    // The deletion itself is still told; what was there is forgotten.
    assert_eq!(told(&tried, 5), Ok((vec![(5, true, None)], 6)));
}

#[test]
fn a_transaction_that_changes_a_key_twice_is_refused_and_changes_nothing() {
    let mut tried = Tried::default();
    tried.puts("a", "1");
    let (one, other) = (|| Operation::Put(put("a", "x")), || Operation::Put(put("b", "y")));
    let all = || Operation::DeleteRange(DeleteRange { range_end: vec![0].into(), ..delete("a") });
    let nested = |success, failure| Operation::Txn(Txn { compare: Vec::new(), success, failure });
    let twice = [
        vec![one(), one()],
        vec![one(), all()],
        vec![all(), one()],
        vec![one(), nested(vec![], vec![one()])],
        vec![nested(vec![all()], vec![]), other()],
        vec![nested(vec![one()], vec![]), nested(vec![], vec![one()])],
    ];
    for steps in twice {
        assert_eq!(tried.txn(steps.clone()), Err(Fault::DuplicateKey), "{steps:?}");
    }
    // The branch that is not taken is looked at too.
    let failing = Txn { failure: vec![one(), one()], ..Txn::default() };
    assert_eq!(tried.does(EntryKind::Txn(failing)), Err(Fault::DuplicateKey));
    assert_eq!(tried.space().revision(), 2);
    // Either or, and deleting twice, are not twice.
    let fine = vec![nested(vec![one()], vec![one(), other()]), Operation::DeleteRange(delete("c"))];
    assert!(tried.txn(fine).is_ok());
    assert!(tried.txn(vec![all(), all()]).is_ok());
}

#[test]
fn changes_of_a_transaction_share_a_revision_and_are_seen_by_its_later_steps() {
    let mut tried = Tried::default();
    let steps = vec![
        Operation::Put(put("a", "1")),
        Operation::Range(at("a", 0)),
        Operation::Put(put("b", "1")),
        Operation::DeleteRange(delete("c")),
    ];
    let reply = tried.txn(steps).unwrap();
    let ReplyKind::Txn(reply) = reply else { panic!("{reply:?}") };
    let proto::store::OperationReply::Range(seen) = &reply.responses[1] else { panic!("{reply:?}") };
    assert_eq!((seen.count, seen.kvs[0].mod_revision), (1, 2));
    assert_eq!((tried.stands("a"), tried.stands("b")), (Some((1, 2, 2)), Some((1, 2, 2))));
    let changes = tried.space().changes(&Keys::prefix(""), 2, false, 1).unwrap();
    assert_eq!((changes.events.len(), changes.next), (2, 3), "a revision is never cut in two");
}

#[test]
fn a_transaction_is_refused_whole() {
    let mut tried = Tried::default();
    tried.puts("a", "1");
    let first = || Operation::Put(put("a", "2"));
    let refused = [
        (Operation::Put(Put { lease: 9, ..put("b", "") }), Fault::LeaseNotFound),
        (Operation::Put(Put { ignore_value: true, ..put("b", "") }), Fault::KeyNotFound),
        (Operation::Put(Put { ignore_value: true, ..put("a", "x") }), Fault::ValueProvided),
        (Operation::Put(Put { ignore_lease: true, lease: 3, ..put("c", "") }), Fault::LeaseProvided),
        (Operation::Put(put("", "")), Fault::EmptyKey),
        (Operation::Range(at("a", 7)), Fault::Future { revision: 2 }),
    ];
    for (step, fault) in refused {
        assert_eq!(tried.txn(vec![first(), step.clone()]), Err(fault), "{step:?}");
    }
    assert_eq!(tried.stands("a"), Some((1, 2, 2)));
}

#[test]
fn comparisons_of_what_is_not_there_are_with_zero_and_never_with_a_value() {
    let mut tried = Tried::default();
    let mut holds = |comparison, operand, key: &str, end: &str| {
        let compare =
            Compare { key: key.to_owned().into(), range_end: end.to_owned().into(), comparison, operand };
        match tried.does(EntryKind::Txn(Txn { compare: vec![compare], ..Txn::default() })) {
            Ok(ReplyKind::Txn(reply)) => reply.succeeded,
            other => panic!("{other:?}"),
        }
    };
    assert!(holds(Comparison::Equal, Operand::CreateRevision(0), "a", ""));
    assert!(holds(Comparison::Less, Operand::Version(1), "a", "z"));
    assert!(!holds(Comparison::Equal, Operand::Value(Bytes::new()), "a", ""));
    assert!(!holds(Comparison::NotEqual, Operand::Value(Bytes::from("x")), "a", ""));
    tried.puts("a", "");
    tried.puts("b", "x");
    let mut holds = |operand| {
        let compare =
            Compare { key: "a".into(), range_end: "z".into(), comparison: Comparison::Equal, operand };
        match tried.does(EntryKind::Txn(Txn { compare: vec![compare], ..Txn::default() })) {
            Ok(ReplyKind::Txn(reply)) => reply.succeeded,
            other => panic!("{other:?}"),
        }
    };
    assert!(holds(Operand::Version(1)), "it holds of each");
    assert!(!holds(Operand::Value(Bytes::new())), "it holds of one only");
}

#[test]
fn nested_transactions_share_the_limit_of_steps() {
    let mut tried = Tried::default();
    let steps =
        |count: usize| (0..count).map(|n| Operation::Put(put(&format!("k{n}"), ""))).collect::<Vec<_>>();
    assert!(tried.txn(steps(TXN_OPERATIONS_MAX)).is_ok());
    assert_eq!(tried.txn(steps(TXN_OPERATIONS_MAX + 1)), Err(Fault::TooManyOperations));
    let nested = |inner| vec![Operation::Txn(Txn { success: steps(inner), ..Txn::default() })];
    assert!(tried.txn(nested(TXN_OPERATIONS_MAX - 1)).is_ok());
    assert_eq!(tried.txn(nested(TXN_OPERATIONS_MAX)), Err(Fault::TooManyOperations));
}

#[test]
fn nested_transactions_beside_each_other_share_it_too() {
    let mut tried = Tried::default();
    let looks = |count| {
        (0..count)
            .map(|_| Operation::Range(Range { key: "k".into(), ..Range::default() }))
            .collect::<Vec<_>>()
    };
    let beside = |each| {
        let nested = |_| Operation::Txn(Txn { success: looks(each), ..Txn::default() });
        (0..2).map(nested).collect::<Vec<_>>()
    };
    let half = (TXN_OPERATIONS_MAX - 2) / 2;
    assert!(tried.txn(beside(half)).is_ok());
    assert_eq!(tried.txn(beside(half + 1)), Err(Fault::TooManyOperations));
}

#[test]
fn transactions_nest_only_so_deep() {
    let mut tried = Tried::default();
    let nested = |depth: usize| {
        (1..depth).fold(vec![Operation::Put(put("k", ""))], |success, _| {
            vec![Operation::Txn(Txn { success, ..Txn::default() })]
        })
    };
    assert!(tried.txn(nested(TXN_DEPTH_MAX)).is_ok());
    assert_eq!(tried.txn(nested(TXN_DEPTH_MAX + 1)), Err(Fault::TooDeep));
}

#[test]
fn what_the_looks_of_a_transaction_find_has_a_bound() {
    let mut tried = Tried::default();
    for n in 0..12 {
        tried.does(EntryKind::Put(put(&format!("k{n}"), &"x".repeat(VALUE_BYTES_MAX)))).unwrap();
    }
    let all = Range { key: vec![0].into(), range_end: vec![0].into(), ..Range::default() };
    let looks = |count, all: &Range| (0..count).map(|_| Operation::Range(all.clone())).collect::<Vec<_>>();
    assert!(tried.txn(looks(2, &all)).is_ok());
    assert_eq!(tried.txn(looks(3, &all)), Err(Fault::AnswerTooLarge));
    let counts = Range { count_only: true, ..all.clone() };
    assert!(tried.txn(looks(TXN_OPERATIONS_MAX, &counts)).is_ok(), "a count finds nothing to tell");
    let one = Range { limit: 1, ..all };
    assert!(tried.txn(looks(20, &one)).is_ok());
}

#[test]
fn keys_end_with_the_lease_they_were_put_with_last() {
    let mut tried = Tried::default();
    assert_eq!(tried.does(leased("a", 7)), Err(Fault::LeaseNotFound));
    tried.grants(7);
    tried.grants(8);
    for (key, lease) in [("a", 7), ("b", 7), ("c", 7), ("d", 7), ("b", 8), ("c", 0)] {
        tried.does(leased(key, lease)).unwrap();
    }
    tried.does(EntryKind::DeleteRange(delete("d"))).unwrap();
    let before = tried.space().revision();
    assert_eq!(tried.does(EntryKind::LeaseRevoke(LeaseRevoke { id: 7 })), Ok(ReplyKind::Done));
    assert_eq!(tried.space().revision(), before + 1);
    assert_eq!(
        (tried.stands("a"), tried.stands("b").is_some(), tried.stands("c").is_some()),
        (None, true, true)
    );
    assert_eq!(tried.does(EntryKind::LeaseRevoke(LeaseRevoke { id: 7 })), Err(Fault::LeaseNotFound));
    // Without keys there is nothing to change.
    tried.grants(9);
    tried.does(EntryKind::LeaseRevoke(LeaseRevoke { id: 9 })).unwrap();
    assert_eq!(tried.space().revision(), before + 1);
}

#[test]
fn a_lease_runs_out_only_as_the_grant_that_was_seen_to() {
    let mut tried = Tried::default();
    let old = tried.grants(7);
    tried.does(EntryKind::LeaseRevoke(LeaseRevoke { id: 7 })).unwrap();
    let new = tried.grants(7);
    tried.does(leased("a", 7)).unwrap();
    let expire = |grant| EntryKind::LeaseExpired(LeaseExpired { id: 7, grant });
    assert_eq!(tried.does(expire(old)), Err(Fault::LeaseNotFound));
    assert!(tried.stands("a").is_some());
    assert_eq!(tried.does(expire(new)), Ok(ReplyKind::Done));
    assert_eq!(tried.stands("a"), None);
}

#[test]
fn leases_are_bounded_and_named_by_whoever_wants_to() {
    let mut tried = Tried::default();
    let grant = |ttl_ms, id| EntryKind::LeaseGrant(LeaseGrant { ttl_ms, id });
    let lease = |id, ttl_ms| Ok(ReplyKind::Lease(LeaseReply { id, ttl_ms }));
    assert_eq!(tried.does(grant(0, 2)), lease(2, LEASE_TTL_MIN_MS));
    assert_eq!(tried.does(grant(9_000, 2)), Err(Fault::LeaseExists));
    // The second grant would be called 2.
    assert_eq!(tried.does(grant(9_000, 0)), lease(3, 9_000));
    assert_eq!(tried.does(grant(LEASE_TTL_MAX_MS + 1, 0)), Err(Fault::LeaseTooLong));
    for _ in 2..LEASES_MAX {
        tried.does(grant(9_000, 0)).unwrap();
    }
    assert_eq!(tried.does(grant(9_000, 0)), Err(Fault::TooManyLeases));
}

#[test]
fn sizes_are_bounded() {
    let mut tried = Tried::default();
    let sized = |key: usize, value: usize| {
        EntryKind::Put(Put { key: vec![b'k'; key].into(), value: vec![0; value].into(), ..Put::default() })
    };
    assert!(tried.does(sized(KEY_BYTES_MAX, VALUE_BYTES_MAX)).is_ok());
    assert_eq!(tried.does(sized(KEY_BYTES_MAX + 1, 0)), Err(Fault::KeyTooLarge));
    assert_eq!(
        tried.does(sized(1, VALUE_BYTES_MAX + 1)),
        Err(Fault::ValueTooLarge { max: VALUE_BYTES_MAX as u64 })
    );
    let mut key = 1;
    while tried.space().live_bytes() + VALUE_BYTES_MAX as u64 + 200 < SPACE_BYTES_MAX {
        tried.does(sized(key, VALUE_BYTES_MAX)).unwrap();
        key += 1;
    }
    assert!(matches!(
        tried.does(sized(key, VALUE_BYTES_MAX)),
        Err(Fault::NoSpace { max: SPACE_BYTES_MAX, .. })
    ));
    // What is there may be replaced, made smaller and deleted.
    assert!(tried.does(sized(1, VALUE_BYTES_MAX)).is_ok());
    assert!(tried.does(EntryKind::DeleteRange(delete("k"))).is_ok());
    assert!(tried.does(sized(key, VALUE_BYTES_MAX / 2)).is_ok());
}

#[test]
fn the_past_is_forgotten_when_too_much_gathers() {
    let mut tried = Tried::default();
    let large = Put { value: vec![0; VALUE_BYTES_MAX].into(), ..put("a", "") };
    for _ in 0..64 {
        tried.does(EntryKind::Put(large.clone())).unwrap();
        assert!(tried.space().history_bytes() <= HISTORY_BYTES_MAX);
    }
    let space = tried.space();
    assert!(space.compacted() > 1 && space.compacted() < space.revision(), "half of it goes at once");
    assert!(space.history_bytes() > HISTORY_BYTES_MAX / 4, "and no more");
    let from = space.compacted();
    let told = space.changes(&Keys::one("a"), from, false, u64::MAX).unwrap();
    assert_eq!(told.events.len() as u64, space.revision() - from + 1);
}

#[test]
fn spaces_know_nothing_of_each_other() {
    let mut store = Store::default();
    let mut puts = |owner: &str, space: &str| {
        let entry = Entry {
            owner: owner.to_owned(),
            space: space.to_owned(),
            epoch: None,
            kind: EntryKind::Put(put("a", owner)),
        };
        store.apply(entry)
    };
    assert_eq!(puts(OWNER, "").revision, 2);
    assert_eq!(puts("framework/spark", "").revision, 2);
    for n in 1..SPACES_MAX {
        assert!(puts(OWNER, &n.to_string()).outcome.is_ok());
    }
    assert_eq!(puts(OWNER, "one more").outcome, Err(Fault::TooManySpaces));
    assert!(puts("framework/spark", "one more").outcome.is_ok());
    assert_eq!(puts(OWNER, "").revision, 3);
}

#[test]
fn what_is_refused_makes_no_space() {
    let mut store = Store::default();
    let refused = store.apply(entry(None, EntryKind::Put(put("", ""))));
    assert_eq!((refused.outcome, refused.revision), (Err(Fault::EmptyKey), 1));
    assert_eq!(store, Store::default());
}

#[test]
fn whoever_claimed_earlier_is_fenced() {
    let mut store = Store::default();
    let claim = |store: &mut Store| match store.apply(entry(None, EntryKind::Claim(Claim::default()))).outcome
    {
        Ok(ReplyKind::Claimed(claimed)) => claimed.epoch,
        other => panic!("{other:?}"),
    };
    let first = claim(&mut store);
    let write = |store: &mut Store, epoch| store.apply(entry(epoch, EntryKind::Put(put("a", "")))).outcome;
    assert!(write(&mut store, Some(first)).is_ok());
    let second = claim(&mut store);
    assert_eq!(write(&mut store, Some(first)), Err(Fault::Fenced { epoch: second }));
    assert_eq!(store.check_epoch(&id(""), Some(first)), Err(Fault::Fenced { epoch: second }));
    assert!(write(&mut store, Some(second)).is_ok() && write(&mut store, None).is_ok());
    let mut back = Store::from_image(&store.to_image()).unwrap();
    assert_eq!(write(&mut back, Some(first)), Err(Fault::Fenced { epoch: second }));
}

#[test]
fn an_entry_is_held_to_the_limits_with_which_it_was_proposed() {
    let mut store = Store::default();
    let narrow = Limits { space_bytes: 1000, value_bytes: 300 };
    let mut apply = |key: &str, bytes: usize, limits| {
        let put = Put { value: vec![0; bytes].into(), ..put(key, "") };
        store.apply_within(entry(None, EntryKind::Put(put)), limits).outcome
    };
    assert_eq!(apply("a", 301, narrow), Err(Fault::ValueTooLarge { max: 300 }));
    assert!(apply("a", 300, narrow).is_ok() && apply("b", 300, narrow).is_ok());
    let full = apply("c", 300, narrow).unwrap_err();
    assert!(matches!(full, Fault::NoSpace { max: 1000, live: 800..=810 }), "{full:?}");
    let refusal = Refusal::from(full);
    assert!(
        refusal.help.contains("delete keys") && refusal.help.contains("--store-space-limit"),
        "{refusal:?}"
    );
    // What was taken within wider limits stays, and what becomes no larger has room.
    assert!(apply("c", 300, Limits::default()).is_ok());
    assert!(apply("a", 200, narrow).is_ok());
}

#[test]
fn who_claims_under_a_lease_has_it_no_longer_than_that() {
    let mut tried = Tried::default();
    tried.does(EntryKind::LeaseGrant(LeaseGrant { ttl_ms: 5000, id: 7 })).unwrap();
    let claim = || EntryKind::Claim(Claim { lease: 7 });
    assert_eq!(tried.does(claim()), Ok(ReplyKind::Claimed(Claimed { epoch: 1 })));
    tried.does(EntryKind::LeaseRevoke(LeaseRevoke { id: 7 })).unwrap();
    assert_eq!(tried.does(claim()), Err(Fault::LeaseNotFound));
    assert_eq!(tried.does(EntryKind::Claim(Claim::default())), Ok(ReplyKind::Claimed(Claimed { epoch: 2 })));
}
