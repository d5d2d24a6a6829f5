//! The start: from an empty disk or from what was found on one.

use std::fmt;

use bytes::Bytes;
use raft::RawNode;

use crate::members::library_change;
use crate::memory::{MemoryLog, Place};
use crate::raft::Birth;
use crate::slow::Syncs;
use crate::{
    ConfState, Config, Entry, EntryKind, HardState, Image, NodeId, Output, Persist, Raft, Recovered, Room,
    Snapshot, codec,
};

/// Why a member cannot start from what it was given. Nothing of it may be repaired by guessing: remove the member
/// from the group, clear its disk and let it join under a new id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The id is zero.
    Id,
    /// These members, of the configuration or of the snapshot, can form no group.
    Members(ConfState),
    /// The entry at this index is missing.
    Gap {
        /// The index.
        index: u64,
    },
    /// The entry at this index has a term it cannot have.
    Term {
        /// The index.
        index: u64,
    },
    /// Entries are missing at the end: those up to `commit` were promised.
    Short {
        /// The last entry there is.
        last: u64,
        /// The last one known to be committed.
        commit: u64,
    },
    /// The state machine is ahead of what is known to be committed.
    Ahead {
        /// What it has applied.
        applied: u64,
        /// The last entry known to be committed.
        commit: u64,
    },
}

/// Where every fresh cluster begins. Not at zero: a log whose first entries can be had makes a new member believe it
/// knows the members by the entries alone, and the founders stand in none.
const BEGINNING: Place = Place { index: 1, term: 1 };

impl Raft {
    /// A member, as it was when its disk was last written. The first `settle` gives the state machine back:
    /// `InstallSnapshot`, then the `Commit`s behind it. A caller whose state machine is durable by itself and says so
    /// in `applied` gets only what follows.
    pub fn recover(config: Config, recovered: Recovered) -> Result<Raft, Unfit> {
        if config.id == NodeId::default() {
            return Err(Unfit::Id);
        }
        let founds = recovered.is_blank() && config.voters.contains(&config.id);
        let disk = if founds { beginning(&config) } else { recovered };
        let founding = founds.then(|| Persist {
            snapshot: disk.snapshot.clone(),
            hard_state: Some(disk.hard_state),
            conf_state: disk.conf_state.clone(),
            ..Persist::default()
        });
        let base = disk.snapshot.as_ref().map(|s| Place { index: s.index, term: s.term }).unwrap_or_default();
        let entries = sound_entries(base, &disk.hard_state, disk.entries)?;
        let last = base.index + entries.len() as u64;
        let known = disk.conf_state.as_ref().map_or(0, |(index, _)| *index);
        let commit = disk.hard_state.commit.max(base.index).max(known);
        if commit > last {
            return Err(Unfit::Short { last, commit });
        }
        let applied = disk.applied.max(base.index);
        if applied > commit {
            return Err(Unfit::Ahead { applied, commit });
        }
        let members: Vec<_> = disk.snapshot.iter().map(|s| (s.index, s.conf_state.clone())).collect();
        if let Some((_, unsound)) = members.iter().find(|(_, conf_state)| !conf_state.is_sound()) {
            return Err(Unfit::Members(unsound.clone()));
        }
        let hard_state = HardState { commit, ..disk.hard_state };
        let cut = disk.snapshot.as_ref().map(|s| (base, s.conf_state.clone()));
        let log = MemoryLog::new(cut, entries, &hard_state);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        // The library's other errors are those of its constants and of members that are not sound.
        let node = RawNode::new(&config.library(applied), log, &logger)
            .map_err(|_| Unfit::Members(ConfState::of(&config.voters)))?;
        let (pace, reads) = Self::new_parts(&config);
        let image_bytes = disk.snapshot.as_ref().map_or(0, |snapshot| snapshot.image.size());
        let install = disk.snapshot.filter(|_| founds || disk.applied < base.index).map(install);
        let mut raft = Raft {
            config,
            node,
            pace,
            reads,
            proposals: Vec::new(),
            changes: Vec::new(),
            taken: None,
            images: Vec::new(),
            pending: Default::default(),
            changing: None,
            settling: None,
            aim: None,
            steer_at: 0,
            room: Room::Enough,
            make_way_at: 0,
            syncs: Syncs::default(),
            members,
            sending: Default::default(),
            birth: Some(Birth { persist: founding, install }),
            handed: applied,
            cost: 0,
            want_at: 0,
            asked: (0, 0),
            image_bytes,
            opened: None,
            announced: None,
            new_answerer: false,
            written: disk.hard_state,
            sequence: 0,
            stored: 0,
        };
        raft.reset_cost(base.index);
        raft.know_members(base.index, applied);
        raft.pin(false);
        Ok(raft)
    }

    /// Changes of members that the state machine has already applied will not be handed out again.
    fn know_members(&mut self, after: u64, applied: u64) {
        for index in after + 1..=applied {
            let Some(entry) = self.node.store().get(index) else { return };
            if entry.kind == EntryKind::Members
                && let Ok(change) = codec::decode_change(&entry.data)
                && let Ok(conf_state) = self.node.apply_conf_change(&library_change(&change))
            {
                self.members.push((index, codec::plain_members(&conf_state)));
            }
        }
    }
}

fn beginning(config: &Config) -> Recovered {
    let Place { index, term } = BEGINNING;
    let conf_state = ConfState::of(&config.voters);
    let image = Image::Bytes(Bytes::new());
    Recovered {
        hard_state: HardState { term, vote: None, commit: index },
        conf_state: Some((index, conf_state.clone())),
        snapshot: Some(Snapshot { index, term, conf_state, image }),
        entries: Vec::new(),
        applied: 0,
    }
}

fn sound_entries(base: Place, hard_state: &HardState, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Unfit> {
    let covered = entries.iter().take_while(|entry| entry.index <= base.index).count();
    entries.drain(..covered);
    let mut before = base;
    for entry in &entries {
        if entry.index != before.index + 1 {
            return Err(Unfit::Gap { index: before.index + 1 });
        }
        if entry.term < before.term || entry.term == 0 || entry.term > hard_state.term {
            return Err(Unfit::Term { index: entry.index });
        }
        before = Place { index: entry.index, term: entry.term };
    }
    Ok(entries)
}

fn install(snapshot: Snapshot) -> Output {
    Output::InstallSnapshot { index: snapshot.index, term: snapshot.term, image: snapshot.image }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Id => write!(f, "the member id is zero"),
            Unfit::Members(conf_state) => write!(f, "these members form no group: {conf_state:?}"),
            Unfit::Gap { index } => write!(f, "log entry {index} is missing"),
            Unfit::Term { index } => write!(f, "log entry {index} has a term it cannot have"),
            Unfit::Short { last, commit } => {
                write!(f, "the log ends at entry {last}, but entries up to {commit} were committed")
            }
            Unfit::Ahead { applied, commit } => {
                write!(
                    f,
                    "the state machine applied entry {applied}, but only {commit} is known to be committed"
                )
            }
        }
    }
}

impl std::error::Error for Unfit {}
