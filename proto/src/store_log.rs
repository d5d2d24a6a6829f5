//! What the log of the masters' store remembers: the durable changes of each space, and the snapshot.

use crate::roster::Roster;
use crate::store::{
    Bytes, Claim, Compact, DeleteRange, LeaseGrant, LeaseRevoke, Put, SPACE_BYTES_MAX, Txn, VALUE_BYTES_MAX,
};

/// The leader saw a lease run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseExpired {
    /// Which.
    pub id: u64,
    /// Which grant of that id it saw.
    pub grant: u64,
}

/// One durable change of one space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose: the principal, as `framework/NAME`.
    pub owner: String,
    /// Its space.
    pub space: String,
    /// Fenced by this epoch, if any.
    pub epoch: Option<u64>,
    /// What.
    pub kind: EntryKind,
}

/// What can change a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A key is set.
    Put(Put),
    /// Keys are deleted.
    DeleteRange(DeleteRange),
    /// A transaction.
    Txn(Txn),
    /// The past is forgotten.
    Compact(Compact),
    /// A lease is made.
    LeaseGrant(LeaseGrant),
    /// A lease is ended.
    LeaseRevoke(LeaseRevoke),
    /// A lease has run out.
    LeaseExpired(LeaseExpired),
    /// The space is taken over.
    Claim(Claim),
}

/// What a space may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All its keys and values as they are now, with what each costs besides.
    pub space_bytes: u64,
    /// One value.
    pub value_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { space_bytes: SPACE_BYTES_MAX, value_bytes: VALUE_BYTES_MAX as u64 }
    }
}

/// Many changes that were committed as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub entries: Vec<Entry>,
    /// Those of the leader that proposed them; `None` for the ordinary ones.
    pub limits: Option<Limits>,
    /// The list of masters, where the leader learnt of a newer one.
    pub roster: Option<Roster>,
}

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// The key.
    pub key: Bytes,
    /// What it held.
    pub value: Bytes,
    /// When it came to be.
    pub create_revision: u64,
    /// The revision of this change.
    pub mod_revision: u64,
    /// Its place among the changes of that revision.
    pub sub: u32,
    /// How often it had been put; 0 for a deletion.
    pub version: u64,
    /// Its lease.
    pub lease: u64,
}

/// A lease as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its id.
    pub id: u64,
    /// How long it lasts.
    pub ttl_ms: u64,
    /// Which grant it is.
    pub grant: u64,
}

/// A space as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRecord {
    /// Whose.
    pub owner: String,
    /// Its name.
    pub space: String,
    /// Who claimed it last.
    pub epoch: u64,
    /// Its revision.
    pub revision: u64,
    /// What was replaced before this is forgotten.
    pub compacted: u64,
    /// Leases granted so far.
    pub grants: u64,
    /// Its leases, by id.
    pub leases: Vec<LeaseRecord>,
    /// Its versions, by revision.
    pub versions: Vec<VersionRecord>,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreImage {
    /// The version of this layout.
    pub format: u64,
    /// The spaces.
    pub spaces: Vec<SpaceRecord>,
    /// The newest list of masters that this log knows.
    pub roster: Option<Roster>,
}
