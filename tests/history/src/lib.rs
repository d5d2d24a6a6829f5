//! Whether what clients were told can be true: a history of calls and answers, and the searches for an order that explains it.
//!
//! A history is **linearizable** if there is one order of all calls in which every answer is right, and in which a call
//! stands before another one that was made after its answer. A call whose answer never came may stand anywhere behind
//! the moment it was made, or nowhere.
//!
//! # Files
//!
//! `search` the search for such an order, for any model · `key` a key of the frameworks' state as a model · `store` calls to
//! that state, and their search key by key · `order` the same calls over all keys, by the revisions that they were told ·
//! `watch` what watches told · `object` an object of the registry as a model · `spoil` ways to make a true history untrue.
//!
//! The search trusts nothing but answers. It looks at one key at a time, because the time it takes grows with what goes on
//! at once, not with what went on. What `order` checks needs no search: revisions say which order the masters claim, and it is
//! looked whether that one explains everything, over all keys together.
#![forbid(unsafe_code)]

pub mod key;
pub mod object;
pub mod order;
pub mod search;
pub mod spoil;
pub mod store;
pub mod watch;

/// Why a history cannot be true, or that it was not decided whether it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Says no.
pub(crate) fn broken<T>(why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken(why.into()))
}
