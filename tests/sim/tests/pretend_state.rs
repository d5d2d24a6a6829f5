//! The pretend store of the authors' testing kit answers what the real one answers, whatever is asked of both.

use std::collections::BTreeMap;

use framework_sdk_core::fake::FakeState;
use master_store::{Fault, Space, SpaceId, Store, entry_kind};
use proto::refusal::Refusal;
use proto::store::{
    Bytes, Call, CallKind, Claim, Compact, Compare, Comparison, DeleteRange, KEY_BYTES_MAX, Keys, LeaseGrant,
    LeaseList, LeaseRevoke, Operand, Operation, Put, Range, ReplyKind, TXN_OPERATIONS_MAX, Txn,
    VALUE_BYTES_MAX, Watch, WatchReply,
};
use proto::store_log::Entry;
use proto_machine::{Dice, Instant};

const OWNER: &str = "framework/one";
const STEPS: usize = 400;
const SEEDS: u64 = 150;

/// What is asked: few keys, so that things meet.
struct Asker {
    dice: Dice,
    /// About where the space stands.
    revision: u64,
}

impl Asker {
    fn key(&mut self) -> Bytes {
        match self.dice.below(200) {
            0 => Bytes::new(),
            1 => "k".repeat(KEY_BYTES_MAX + 1).into(),
            n => ["a", "a/1", "a/2", "b", "c"][n as usize % 5].into(),
        }
    }

    fn end(&mut self) -> Bytes {
        match self.dice.below(8) {
            0 => Bytes::from_static(&[0]),
            1 => "b".into(),
            2 => "a/2".into(),
            _ => Bytes::new(),
        }
    }

    fn revision(&mut self) -> u64 {
        (self.revision + 1).saturating_sub(self.dice.below(12))
    }

    fn range(&mut self) -> Range {
        let revision = if self.dice.chance(1, 3) { self.revision() } else { 0 };
        Range {
            key: self.key(),
            range_end: self.end(),
            limit: self.dice.below(4),
            revision,
            keys_only: self.dice.chance(1, 4),
            count_only: self.dice.chance(1, 4),
            serializable: false,
        }
    }

    fn put(&mut self) -> Put {
        let length = if self.dice.chance(1, 300) { VALUE_BYTES_MAX + 1 } else { self.dice.below(3) as usize };
        Put {
            key: self.key(),
            value: "v".repeat(length).into(),
            lease: if self.dice.chance(1, 2) { self.dice.below(5) } else { 0 },
            prev_kv: self.dice.chance(1, 2),
            ignore_value: self.dice.chance(1, 8),
            ignore_lease: self.dice.chance(1, 8),
        }
    }

    fn delete(&mut self) -> DeleteRange {
        DeleteRange { key: self.key(), range_end: self.end(), prev_kv: self.dice.chance(1, 2) }
    }

    fn compare(&mut self) -> Compare {
        use Comparison::{Equal, Greater, Less, NotEqual};
        let operand = match self.dice.below(5) {
            0 => Operand::Version(self.dice.below(3)),
            1 => Operand::CreateRevision(self.dice.below(2) * self.revision()),
            2 => Operand::ModRevision(self.revision()),
            3 => Operand::Value("v".into()),
            _ => Operand::Lease(self.dice.below(3)),
        };
        let comparison = [Equal, Greater, Less, NotEqual][self.dice.below(4) as usize];
        Compare { key: self.key(), range_end: self.end(), comparison, operand }
    }

    fn steps(&mut self, depth: u64) -> Vec<Operation> {
        let most = if self.dice.chance(1, 100) { TXN_OPERATIONS_MAX as u64 + 2 } else { 4 };
        let count = self.dice.below(most);
        let step = |_| match self.dice.below(if depth == 0 { 8 } else { 10 }) {
            0..3 => Operation::Range(self.range()),
            3..6 => Operation::Put(self.put()),
            6..8 => Operation::DeleteRange(self.delete()),
            _ => Operation::Txn(self.txn(depth - 1)),
        };
        (0..count).map(step).collect()
    }

    fn txn(&mut self, depth: u64) -> Txn {
        let compares = self.dice.below(3);
        Txn {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.steps(depth),
            failure: self.steps(depth),
        }
    }

    fn call(&mut self) -> CallKind {
        match self.dice.below(20) {
            0..3 => CallKind::Range(self.range()),
            3..7 => CallKind::Put(self.put()),
            7..9 => CallKind::DeleteRange(self.delete()),
            9..15 => CallKind::Txn(self.txn(3)),
            15 if self.dice.chance(1, 6) => CallKind::Compact(Compact { revision: self.revision() }),
            16 => {
                let ttl_ms = if self.dice.chance(1, 9) { u64::MAX } else { self.dice.below(3000) };
                CallKind::LeaseGrant(LeaseGrant { ttl_ms, id: self.dice.below(5) })
            }
            17 => CallKind::LeaseRevoke(LeaseRevoke { id: self.dice.below(5) }),
            18 => CallKind::Leases,
            19 if self.dice.chance(1, 5) => CallKind::Claim(Claim { lease: self.dice.below(3) }),
            _ => CallKind::Range(self.range()),
        }
    }
}

/// The real store, without consensus.
#[derive(Default)]
struct Real(Store);

impl Real {
    fn id(space: &str) -> SpaceId {
        SpaceId { owner: OWNER.to_owned(), name: space.to_owned() }
    }

    fn hear(&mut self, call: Call) -> (u64, Result<ReplyKind, Refusal>) {
        let id = Real::id(&call.space);
        match entry_kind(call.kind) {
            Ok(kind) => {
                let (owner, space) = (id.owner, id.name);
                let applied = self.0.apply(Entry { owner, space, epoch: call.epoch, kind });
                (applied.revision, applied.outcome.map_err(Refusal::from))
            }
            Err(look) => {
                let empty = Space::default();
                let space = self.0.space(&id).unwrap_or(&empty);
                let found = self.0.check_epoch(&id, call.epoch).and_then(|()| Real::look(space, look));
                (space.revision(), found.map_err(Refusal::from))
            }
        }
    }

    fn look(space: &Space, look: CallKind) -> Result<ReplyKind, Fault> {
        match look {
            CallKind::Range(range) => space.range(&range).map(ReplyKind::Range),
            CallKind::Txn(txn) => space.look_txn(&txn).map(ReplyKind::Txn),
            CallKind::Leases => {
                Ok(ReplyKind::Leases(LeaseList { ids: space.leases().map(|(id, ..)| id).collect() }))
            }
            other => panic!("it is not asked here: {other:?}"),
        }
    }
}

/// How often each outcome was seen: all of them are to be.
type Seen = BTreeMap<&'static str, usize>;

fn same(seed: u64, seen: &mut Seen) {
    let mut asker = Asker { dice: Dice::new(seed), revision: 1 };
    let (mut real, mut fake) = (Real::default(), FakeState::new());
    let mut epoch = 0;
    for step in 0..STEPS {
        let space = if asker.dice.chance(1, 10) { "other" } else { "" };
        let of_claim = match asker.dice.below(6) {
            0 => Some(epoch),
            1 => Some(asker.dice.below(epoch + 2)),
            _ => None,
        };
        let call = Call { space: space.to_owned(), epoch: of_claim, kind: asker.call() };
        let (revision, expected) = real.hear(call.clone());
        let reply = fake.hear(Instant::from_nanos(0), OWNER, call.clone());
        let place = || format!("seed {seed}, step {step}: {call:?}");
        assert_eq!(reply.revision, revision, "{}", place());
        match (&expected, &reply.kind) {
            (Err(expected), ReplyKind::Refused(refusal)) => {
                assert_eq!(refusal.code, expected.code, "{}: {refusal} {expected}", place());
                *seen.entry(refusal.code.as_str()).or_default() += 1;
            }
            (Ok(expected), said) => {
                assert_eq!(said, expected, "{}", place());
                *seen.entry("done").or_default() += 1;
            }
            (Err(expected), said) => panic!("{}: {said:?} instead of {expected}", place()),
        }
        if let (true, Ok(ReplyKind::Claimed(claimed))) = (space.is_empty(), &expected) {
            epoch = claimed.epoch;
        }
        if space.is_empty() {
            asker.revision = revision;
        }
        let (start_revision, prev_kv) = (asker.revision().max(1), asker.dice.chance(1, 2));
        let ask =
            Watch { key: asker.key(), range_end: asker.end(), start_revision, prev_kv, ..Watch::default() };
        if !ask.key.is_empty() {
            watches_the_same(&real, &fake, ask, seen);
        }
    }
}

fn watches_the_same(real: &Real, fake: &FakeState, ask: Watch, seen: &mut Seen) {
    let empty = Space::default();
    let space = real.0.space(&Real::id("")).unwrap_or(&empty);
    let keys = Keys { key: ask.key.clone(), end: ask.range_end.clone() };
    let expected = space.changes(&keys, ask.start_revision, ask.prev_kv, u64::MAX);
    let is_new = ask.start_revision > space.revision();
    let (mut watch, _) = fake.watch(OWNER, ask.clone());
    match (expected, fake.news(&mut watch)) {
        (_, said) if is_new => assert_eq!(said, None, "{ask:?}"),
        (Ok(expected), Some(WatchReply { events, refused: None, .. })) => {
            assert_eq!(events, expected.events, "{ask:?}");
            *seen.entry("told").or_default() += events.len();
        }
        (Ok(expected), None) => assert_eq!(expected.events, [], "{ask:?}"),
        (Err(_), Some(WatchReply { refused: Some(_), .. })) => *seen.entry("watch ended").or_default() += 1,
        (expected, said) => panic!("{ask:?}: {said:?} instead of {:?}", expected.map(|it| it.events)),
    }
}

#[test]
fn what_is_answered_and_told_is_the_same() {
    let mut seen = Seen::new();
    (0..SEEDS).for_each(|seed| same(seed, &mut seen));
    for outcome in
        ["done", "told", "watch ended", "compacted", "fenced", "invalid", "not-found", "conflict", "too-much"]
    {
        assert!(seen.get(outcome).is_some_and(|times| *times > 20), "{outcome} is seldom tried: {seen:?}");
    }
}
