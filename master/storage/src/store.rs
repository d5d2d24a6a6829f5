//! `LogStore`: the door to the disk, as the master's shell sees it.

use std::fmt;

use master_raft::{Persist, Recovered};

use crate::{Error, Fatal, Snapshots};

/// One Raft group among those a master takes part in. The numbers are part of the disk format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u8);

/// Where the groups of one master are kept.
///
/// One store serves all groups, so that what they have to say in one batch of the driver costs one fsync.
pub trait LogStore: Send {
    /// What a group had when the last [`persist`](LogStore::persist) ended. A group never heard of is blank. To be
    /// asked at the start; reads and checks the whole log and the snapshot.
    fn recover(&mut self, group: Group) -> Result<Recovered, Error>;

    /// Makes a batch durable, in its order, all or nothing, with one fsync.
    ///
    /// An error ends the life of the process: see [`Fatal`].
    fn persist(&mut self, batch: &[(Group, Persist)]) -> Result<(), Fatal>;

    /// The snapshot files, to be read, streamed and written beside the log, from any thread.
    fn snapshots(&self) -> &Snapshots;
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
