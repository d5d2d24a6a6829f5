//! What frameworks keep on the masters, as a plain state machine: the same entries give the same store everywhere.
//!
//! A [`Store`] holds one [`Space`] for each (principal, name): a multi-version map of keys with a revision of its own, so
//! that one framework neither sees another's keys nor notices its pace. The meaning of every call is that of etcd's v3
//! API (`api/etcdserverpb/rpc.proto`, and the guarantees of its "KV API guarantees" and "API reference" pages):
//!
//! - A space begins at revision 1. A put, a deletion of something and a transaction that changes something raise it by
//!   one; all changes of a transaction share its revision and are told apart by their place (`sub`).
//! - `version` counts the puts of a key since it came to be. A deletion is a version too (a tombstone); a put behind it
//!   begins with version 1 and a new `create_revision`.
//! - A read may name a revision from the compacted one to the present one. Earlier ones are `Compacted`, later ones do
//!   not exist yet.
//! - Compacting at a revision forgets what was replaced up to it. Keys as they are at it, and all later versions, stay.
//! - A transaction chooses its branches by the state before it, nested ones too; it is checked as a whole before anything
//!   is changed; no key is put twice or both put and deleted by it.
//! - A key belongs to one lease at most. When the lease is revoked or has run out, its keys are deleted at one revision.
//!
//! Three things are ours. **Leases know no time**: that one has run out is the leader's observation, and is an entry that
//! names the grant it saw. **The past is bounded**: what was replaced is compacted from the oldest on when more than
//! [`HISTORY_BYTES_MAX`] gathers. **A space can be claimed**: each claim raises its epoch, and calls with an earlier one
//! are refused, so that an instance that was deposed can write nothing.
//!
//! # Files
//!
//! `store` the spaces and their entries · `space` one of them · `chain` the versions of one key · `check` what is refused before anything
//! is changed · `change` puts and deletions · `txn` transactions · `read` ranges · `compact` · `lease` · `watch` changes from a revision on ·
//! `fault` refusals · `image` the snapshot.

mod chain;
mod change;
mod check;
mod compact;
mod fault;
mod image;
mod lease;
mod read;
mod restore;
mod space;
mod store;
mod txn;
mod watch;

pub use check::{check_entry, check_keys};
pub use fault::Fault;
pub use image::BadImage;
pub use space::Space;
pub use store::{Applied, Effect, SPACES_MAX, SpaceId, Store, entry_kind};
pub use watch::Changes;

/// What was replaced and is still remembered in one space takes no more than this, in bytes.
pub const HISTORY_BYTES_MAX: u64 = 16 << 20;

/// Leases of one space.
pub const LEASES_MAX: usize = 4096;

/// What a version costs besides its key and value, in bytes.
pub(crate) const VERSION_OVERHEAD: u64 = 100;
