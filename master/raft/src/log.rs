//! What consensus asks to be remembered: the plain facts that go to disk and come back from it.

use std::fmt;

use bytes::Bytes;

/// A member of the group. Never zero, never used again after its disk was lost: a member that forgot what it
/// promised could vote twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Bytes of the state machine; empty for the entry that opens a term.
    Normal,
    /// A change of members, in the wire encoding `stoa.v1.raft.ConfChange`; empty to leave a joint configuration.
    Members,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place; the first is 1, and there are no gaps.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// What `data` is.
    pub kind: EntryKind,
    /// Opaque to consensus.
    pub data: Bytes,
}

/// What a member has promised: a vote is given once a term, and terms never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term it has heard of.
    pub term: u64,
    /// Whom it voted for in that term; `None` for nobody yet.
    pub vote: Option<NodeId>,
    /// Up to where it knew the log to be committed. Written lazily, so it may lag, but never behind an entry
    /// that changed the members.
    pub commit: u64,
}

/// Who votes and who only listens. All lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Those whose majority decides.
    pub voters: Vec<NodeId>,
    /// Those who receive the log and do not vote.
    pub learners: Vec<NodeId>,
    /// In a joint configuration, the old voters, whose majority is needed as well; else empty.
    pub voters_outgoing: Vec<NodeId>,
    /// Old voters who become learners when the joint configuration is left.
    pub learners_next: Vec<NodeId>,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
}

/// The bytes of a snapshot, or the knowledge that they are already on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// The bytes themselves; cheap to clone. Empty stands for a state machine as it is born.
    Bytes(Bytes),
    /// The shell has already written them, durably, under the snapshot's index.
    Filed {
        /// How many bytes.
        bytes: u64,
    },
}

/// A state machine's whole state at one place of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry it contains.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// Who the members were there.
    pub conf_state: ConfState,
    /// The state.
    pub image: Image,
}

/// One durable step. The store performs, in this order and all or nothing: `snapshot`, `truncate_from`,
/// `compact_to`, `entries`, `hard_state`, `conf_state`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persist {
    /// Counts up by one from 1 in the life of a machine; comes back in `Input::Stored`.
    pub sequence: u64,
    /// The snapshot that becomes the newest; the one before it is no longer needed.
    pub snapshot: Option<Snapshot>,
    /// Entries at and after this index are void.
    pub truncate_from: Option<u64>,
    /// Entries up to this index are no longer needed: the newest snapshot contains them. May be done later.
    pub compact_to: Option<u64>,
    /// Entries to append, without gaps, directly behind what is left.
    pub entries: Vec<Entry>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// The members as of an index, the newest known to be committed.
    pub conf_state: Option<(u64, ConfState)>,
}

/// What a member finds on its disk when it starts. The default is an empty disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last hard state.
    pub hard_state: HardState,
    /// The last members, with the index they are from.
    pub conf_state: Option<(u64, ConfState)>,
    /// The newest snapshot, with its bytes.
    pub snapshot: Option<Snapshot>,
    /// The entries behind the snapshot, without gaps. Entries it contains may be present and are skipped.
    pub entries: Vec<Entry>,
    /// Up to where the state machine has applied the log by its own durable means. Zero for one that lives in
    /// memory and is rebuilt from snapshot and log.
    pub applied: u64,
}

// === impl NodeId ===

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Entry ===

impl Entry {
    /// What an entry costs to keep, in bytes: its data and the place it takes in the in-memory log.
    pub(crate) fn cost(&self) -> u64 {
        const OVERHEAD: u64 = 64;
        self.data.len() as u64 + OVERHEAD
    }
}

// === impl ConfState ===

impl ConfState {
    /// A group of voters and nothing else.
    pub fn of(voters: &[NodeId]) -> Self {
        let mut voters = voters.to_vec();
        voters.sort_unstable();
        voters.dedup();
        Self { voters, ..Self::default() }
    }

    /// Whether it is a member in any way.
    pub fn contains(&self, id: NodeId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing]
            .iter()
            .any(|list| list.binary_search(&id).is_ok())
    }

    /// Whether nobody else is needed to decide.
    pub fn is_alone(&self) -> bool {
        self.voters.len() < 2 && self.voters_outgoing.len() < 2
    }

    /// Whether two majorities are needed for now.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether consensus can work with it: someone votes, nobody is in two places that exclude each other.
    /// The library restores exactly these and stops the process at others.
    pub fn is_sound(&self) -> bool {
        let lists = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        let strict =
            |list: &[NodeId]| list.first().is_none_or(|id| id.0 != 0) && list.is_sorted_by(|a, b| a < b);
        let within = |id: &NodeId, list: &[NodeId]| list.binary_search(id).is_ok();
        lists.iter().all(|list| strict(list))
            && !self.voters.is_empty()
            && self.learners.iter().all(|id| !within(id, &self.voters) && !within(id, &self.voters_outgoing))
            && self.learners_next.iter().all(|id| {
                within(id, &self.voters_outgoing) && !within(id, &self.voters) && !within(id, &self.learners)
            })
            && (self.is_joint() || !self.auto_leave)
    }
}

// === impl Image ===

impl Image {
    /// How large it is, in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Image::Bytes(bytes) => bytes.len() as u64,
            Image::Filed { bytes } => *bytes,
        }
    }
}

// === impl Recovered ===

impl Recovered {
    /// Whether the disk was empty.
    pub fn is_blank(&self) -> bool {
        self.hard_state == HardState::default() && self.snapshot.is_none() && self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn unsound_configurations_are_told_from_sound_ones() {
        let joint = ConfState {
            voters: ids(&[1, 2, 3]),
            learners: ids(&[5]),
            voters_outgoing: ids(&[1, 2, 4]),
            learners_next: ids(&[4]),
            auto_leave: true,
        };
        assert!(ConfState::of(&ids(&[3, 1, 2])).is_sound());
        assert!(joint.is_sound());
        let unsound = [
            ConfState::default(),
            ConfState::of(&ids(&[0, 1])),
            ConfState { voters: ids(&[2, 1]), ..ConfState::default() },
            ConfState { voters: ids(&[1, 1]), ..ConfState::default() },
            ConfState { learners: ids(&[1]), ..ConfState::of(&ids(&[1])) },
            ConfState { learners: ids(&[4]), ..joint.clone() },
            ConfState { learners_next: ids(&[2]), ..joint.clone() },
            ConfState { learners_next: ids(&[9]), ..joint.clone() },
            ConfState { auto_leave: true, ..ConfState::of(&ids(&[1])) },
        ];
        for conf in unsound {
            assert!(!conf.is_sound(), "{conf:?}");
        }
    }
}
