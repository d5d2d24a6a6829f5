//! `StateStore`: where a framework keeps what must outlive it; on the masters, in a file, or wherever else somebody keeps it.

mod file;
mod masters;
mod text;

use std::collections::BTreeMap;
use std::error::Error;

use framework_sdk_core::reconciler::Change;

pub use file::{StateFile, StateFileError};
pub use masters::MasterStore;

/// What a framework keeps over its lives, each a text by its key: its id, which instances are over, where some ran last, and
/// what its author keeps. It is used on the framework's thread and may block.
pub trait StateStore: Send {
    /// Takes the store over for one life, and reads all there is.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Makes changes durable, all or none. Nothing that rests on them is done before this returns, and no update is
    /// acknowledged; the framework ends when they cannot be. `fence` is what [`load`](StateStore::load) gave.
    fn commit(&mut self, changes: &[Change], fence: u64) -> Result<(), StoreError>;
}

/// What a life begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All there is.
    pub known: BTreeMap<String, String>,
    /// Greater than that of every life before, if the store refuses theirs from now on. The masters then refuse their
    /// sessions too. 0: the store fences nobody.
    pub fence: u64,
}

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another instance has taken over: this one can do nothing any more.
    #[error("another instance has taken over: {0}")]
    Fenced(String),
    /// It may be kept, or not: the next life will see.
    #[error("it is not known whether it was saved: {0}")]
    Unknown(String),
    /// It is not kept.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

/// Keeps nothing: the next life is another framework.
#[derive(Debug, Default)]
pub struct Forgetful;

impl StateStore for Forgetful {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, _changes: &[Change], _fence: u64) -> Result<(), StoreError> {
        Ok(())
    }
}
