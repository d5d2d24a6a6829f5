//! The conversation about frameworks' state: a multi-version map of keys, with the meaning etcd's v3 API gives it.

pub use prost::bytes::Bytes;

use crate::refusal::Refusal;

/// The largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// The largest key, in bytes: it stands in memory once for every version.
pub const KEY_BYTES_MAX: usize = 4 << 10;

/// What the keys of one space may take together as they are now, in bytes, each with an overhead of a hundred.
pub const SPACE_BYTES_MAX: u64 = 16 << 20;

/// Comparisons, or steps of its longer branch, of a transaction and all nested ones together (etcd: `--max-txn-ops`, 128,
/// along each way through the nested ones).
pub const TXN_OPERATIONS_MAX: usize = 128;

/// How deep transactions nest. The log wraps one more deeply than the door, and what reads it stops at a hundred messages:
/// a door must let in nothing that the log could not give back.
pub const TXN_DEPTH_MAX: usize = 16;

/// What the looks of one transaction may find together, in bytes as a space counts them: twice all that a space holds.
pub const TXN_ANSWER_BYTES_MAX: u64 = 2 * SPACE_BYTES_MAX;

/// The shortest lease, in milliseconds: a few elections.
pub const LEASE_TTL_MIN_MS: u64 = 1_000;

/// The longest lease, in milliseconds: a year.
pub const LEASE_TTL_MAX_MS: u64 = 366 * 24 * 3_600_000;

/// Some keys, named as etcd names them: with an empty `end` only `key`, with one zero byte all from `key` on, else all
/// from `key` to before `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The key, or the first of them.
    pub key: Bytes,
    /// Where they end.
    pub end: Bytes,
}

/// A key as it is at some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// Its name.
    pub key: Bytes,
    /// What it holds.
    pub value: Bytes,
    /// The revision at which it came to be.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// How often it was put since it came to be.
    pub version: u64,
    /// The lease it ends with; 0 for none.
    pub lease: u64,
}

/// Asks for keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The key, or the first of them.
    pub key: Bytes,
    /// Where they end: see [`Keys`].
    pub range_end: Bytes,
    /// At most so many; 0 for all.
    pub limit: u64,
    /// As of this revision; 0 for now.
    pub revision: u64,
    /// Without values.
    pub keys_only: bool,
    /// Only how many there are.
    pub count_only: bool,
    /// Whatever the answering master has, at once; it may be old.
    pub serializable: bool,
}

/// Keys in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// There are more than the limit let through.
    pub more: bool,
    /// How many there are, whatever the limit.
    pub count: u64,
}

/// Sets a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Which.
    pub key: Bytes,
    /// To what.
    pub value: Bytes,
    /// The key ends with this lease; 0 for none.
    pub lease: u64,
    /// Tell what was there before.
    pub prev_kv: bool,
    /// Keep the value that is there; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease that is there; the key must exist.
    pub ignore_lease: bool,
}

/// A key was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// What was there before, if it was asked for.
    pub prev_kv: Option<KeyValue>,
}

/// Deletes keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// The key, or the first of them.
    pub key: Bytes,
    /// Where they end: see [`Keys`].
    pub range_end: Bytes,
    /// Tell what was there before.
    pub prev_kv: bool,
}

/// Keys were deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    /// How many.
    pub deleted: u64,
    /// What they were, if it was asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// How two things compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Equal,
    /// What is there is greater.
    Greater,
    /// What is there is less.
    Less,
    /// They differ.
    NotEqual,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// How often it was put; 0: it is not there.
    Version(u64),
    /// The revision at which it came to be; 0: it is not there.
    CreateRevision(u64),
    /// The revision of its last change; 0: it is not there.
    ModRevision(u64),
    /// What it holds. Holds of no key that is not there.
    Value(Bytes),
    /// The lease it ends with.
    Lease(u64),
}

/// Something that must hold of a key, or of each key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key, or the first of them.
    pub key: Bytes,
    /// Where they end: see [`Keys`].
    pub range_end: Bytes,
    /// How what is there must compare.
    pub comparison: Comparison,
    /// With what.
    pub operand: Operand,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Look.
    Range(Range),
    /// Set.
    Put(Put),
    /// Delete.
    DeleteRange(DeleteRange),
    /// Look, and then do one thing or the other.
    Txn(Txn),
}

/// Looks, and then does one thing or the other, as one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compare: Vec<Compare>,
    /// Done if all of it holds.
    pub success: Vec<Operation>,
    /// Done otherwise.
    pub failure: Vec<Operation>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationReply {
    /// It looked.
    Range(RangeReply),
    /// It set.
    Put(PutReply),
    /// It deleted.
    DeleteRange(DeleteRangeReply),
    /// It did one thing or the other.
    Txn(TxnReply),
}

/// What came of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// Whether every comparison held.
    pub succeeded: bool,
    /// One for each step that was done.
    pub responses: Vec<OperationReply>,
}

/// Forgets what was replaced before a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compact {
    /// Which.
    pub revision: u64,
}

/// Makes a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseGrant {
    /// How long it lasts if it is not kept alive.
    pub ttl_ms: u64,
    /// Chosen by the caller; 0: by the store.
    pub id: u64,
}

/// A lease, as granted or kept alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseReply {
    /// Which.
    pub id: u64,
    /// How long it lasts from now on if it is not kept alive.
    pub ttl_ms: u64,
}

/// Ends a lease and deletes its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRevoke {
    /// Which.
    pub id: u64,
}

/// Lets a lease begin again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseKeepAlive {
    /// Which.
    pub id: u64,
}

/// How does a lease stand?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseLook {
    /// Which.
    pub id: u64,
    /// List its keys.
    pub keys: bool,
}

/// How a lease stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseView {
    /// Which.
    pub id: u64,
    /// What it was granted.
    pub ttl_ms: u64,
    /// What is left of it.
    pub remaining_ms: u64,
    /// Its keys, if they were asked for.
    pub keys: Vec<Bytes>,
}

/// The leases there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseList {
    /// Their ids, in order.
    pub ids: Vec<u64>,
}

/// Takes the space over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Only while this lease stands; 0: in any case.
    pub lease: u64,
}

/// The space is taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// For all further calls.
    pub epoch: u64,
}

/// Something asked of one space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The space's name; empty for the principal's first.
    pub space: String,
    /// From [`Claimed`]; fences the call.
    pub epoch: Option<u64>,
    /// What.
    pub kind: CallKind,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Look.
    Range(Range),
    /// Set a key.
    Put(Put),
    /// Delete keys.
    DeleteRange(DeleteRange),
    /// Look, and then do one thing or the other.
    Txn(Txn),
    /// Forget what was replaced.
    Compact(Compact),
    /// Make a lease.
    LeaseGrant(LeaseGrant),
    /// End a lease.
    LeaseRevoke(LeaseRevoke),
    /// Let a lease begin again.
    LeaseKeepAlive(LeaseKeepAlive),
    /// How does a lease stand?
    LeaseLook(LeaseLook),
    /// Which leases are there?
    Leases,
    /// Take the space over.
    Claim(Claim),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The space's revision when it was carried out; 1 before anything is put.
    pub revision: u64,
    /// The term of the store's group.
    pub term: u64,
    /// What.
    pub kind: ReplyKind,
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// Keys.
    Range(RangeReply),
    /// A key was set.
    Put(PutReply),
    /// Keys were deleted.
    DeleteRange(DeleteRangeReply),
    /// What came of a transaction.
    Txn(TxnReply),
    /// Compacted, or the lease is revoked.
    Done,
    /// A lease, as granted or kept alive.
    Lease(LeaseReply),
    /// How a lease stands.
    LeaseView(LeaseView),
    /// The leases there are.
    Leases(LeaseList),
    /// The space is taken over.
    Claimed(Claimed),
    /// It is not done.
    Refused(Refusal),
    /// Ask there; empty if nobody leads.
    Redirect(String),
}

/// Asks for changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// As in [`Call`].
    pub space: String,
    /// The key, or the first of them.
    pub key: Bytes,
    /// Where they end: see [`Keys`].
    pub range_end: Bytes,
    /// The first revision wanted; 0: whatever comes.
    pub start_revision: u64,
    /// Tell what was there before.
    pub prev_kv: bool,
}

/// One change of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// As it is behind the change.
    pub kv: KeyValue,
    /// It is gone.
    pub deleted: bool,
    /// What was there before.
    pub prev_kv: Option<KeyValue>,
}

/// Changes of one or more whole revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchReply {
    /// All wanted changes up to this revision have been told.
    pub revision: u64,
    /// The changes, in order.
    pub events: Vec<Event>,
    /// The last word.
    pub refused: Option<Refusal>,
}

// === impl Keys ===

impl Keys {
    /// One key.
    pub fn one(key: impl Into<Bytes>) -> Keys {
        Keys { key: key.into(), end: Bytes::new() }
    }

    /// All keys that begin so; all there are if it is empty.
    pub fn prefix(prefix: impl Into<Bytes>) -> Keys {
        let prefix: Bytes = prefix.into();
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            // Nothing sorts behind it: all from there on.
            None => end.push(0),
        }
        let key = if prefix.is_empty() { Bytes::from_static(&[0]) } else { prefix };
        Keys { key, end: end.into() }
    }

    /// Whether only one key is named.
    pub fn is_one(&self) -> bool {
        self.end.is_empty()
    }

    /// Where they end; `None` for never.
    pub fn limit(&self) -> Option<&[u8]> {
        (*self.end != [0]).then_some(&*self.end)
    }

    /// Whether it is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.is_one() {
            true => self.key == key,
            false => *self.key <= *key && self.limit().is_none_or(|end| key < end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_etcd_names_them() {
        let one = Keys::one("a");
        assert!(one.contains(b"a") && !one.contains(b"ab") && one.is_one());
        let all = Keys::prefix("");
        assert!(all.contains(b"a") && all.contains(&[255, 255]) && all.limit().is_none());
        let some = Keys::prefix("a");
        assert!(some.contains(b"a") && some.contains(b"a\xff\xff") && !some.contains(b"b"));
        assert!(!some.contains(b""));
        let last = Keys::prefix(vec![255, 255]);
        assert!(last.contains(&[255, 255, 7]) && !last.contains(&[255, 254]));
        let carried = Keys::prefix(vec![1, 255]);
        assert!(carried.contains(&[1, 255, 3]) && !carried.contains(&[2]));
    }
}
