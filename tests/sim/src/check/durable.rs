//! P3: nothing is acted upon before it is on the disks of a majority, whatever the members themselves believe.

use std::collections::BTreeMap;

use master_raft::{ConfState, HardState, NodeId};

use super::{Verdict, broken};
use crate::disk::LogDisk;
use crate::node::Node;

/// What all members begin with, each by itself.
const FOUNDED: u64 = 1;

/// Whether those who hold decide for these members: where two majorities are needed, in both.
pub fn decides(members: &ConfState, holds: impl Fn(NodeId) -> bool) -> bool {
    let most = |ids: &[NodeId]| 2 * ids.iter().filter(|id| holds(**id)).count() > ids.len();
    most(&members.voters) && (members.voters_outgoing.is_empty() || most(&members.voters_outgoing))
}

/// A member acts upon everything up to this index: for one of these sets of members a majority has it.
pub fn applied(who: Node, index: u64, members: &[&ConfState], disks: &BTreeMap<NodeId, &LogDisk>) -> Verdict {
    let holds =
        |id| index == FOUNDED || disks.get(&id).is_some_and(|disk: &&LogDisk| disk.last_index() >= index);
    if members.iter().any(|members| decides(members, holds)) {
        return Ok(());
    }
    let have: Vec<u64> = disks.keys().filter(|id| holds(**id)).map(|id| id.0).collect();
    let how =
        format!("{who} has applied {index}, which is on the disks of {have:?}; the members are {members:?}");
    broken("P3 nothing before it is stored", how)
}

/// A member leads: a majority has written down that it voted for it, or that it knows of a later term.
pub fn elected(who: Node, term: u64, members: &[&ConfState], disks: &BTreeMap<NodeId, &LogDisk>) -> Verdict {
    let stands_by = |id| disks.get(&id).is_some_and(|disk: &&LogDisk| stands_by(disk, who, term));
    if members.iter().any(|members| decides(members, stands_by)) {
        return Ok(());
    }
    let have: Vec<u64> = disks.keys().filter(|id| stands_by(**id)).map(|id| id.0).collect();
    let how =
        format!("{who} leads in term {term} with the written votes of {have:?}; the members are {members:?}");
    broken("P6 fencing", how)
}

/// What was last written under each number: whoever has lost that must not go on under it.
#[derive(Debug, Default)]
pub struct Written(BTreeMap<u64, HardState>);

impl Written {
    /// This is on the disk of a member now.
    pub fn has(&mut self, who: Node, state: HardState) -> Verdict {
        let known = *self.0.entry(who.number()).or_insert(state);
        let other_vote = state.term == known.term && known.vote.is_some() && state.vote != known.vote;
        if state.term < known.term || other_vote {
            let how = format!("{who} wrote {known:?}, and behind that {state:?}");
            return broken("P6 fencing", how);
        }
        self.0.insert(who.number(), state);
        Ok(())
    }
}

fn stands_by(disk: &LogDisk, who: Node, term: u64) -> bool {
    let state = disk.hard_state();
    state.term > term || (state.term == term && state.vote == Some(NodeId(who.number())))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use master_raft::{Entry, EntryKind, HardState, Persist};

    use super::*;

    fn disk(vote: Option<u64>, entries: u64) -> LogDisk {
        let mut disk = LogDisk::default();
        let entry = |index| Entry { index, term: 3, kind: EntryKind::Normal, data: Bytes::new() };
        let persist = Persist {
            hard_state: Some(HardState { term: 3, vote: vote.map(NodeId), commit: 0 }),
            entries: (1..=entries).map(entry).collect(),
            ..Persist::default()
        };
        disk.store(&persist).expect("it fits");
        disk
    }

    #[test]
    fn two_majorities_are_two() {
        let disks = [disk(Some(1), 7), disk(Some(1), 7), disk(Some(2), 6), disk(None, 6)];
        let disks: BTreeMap<NodeId, &LogDisk> = (1..).map(NodeId).zip(disks.iter()).collect();
        let three = ConfState::of(&[1, 2, 3].map(NodeId));
        let joint =
            ConfState { voters_outgoing: three.voters.clone(), ..ConfState::of(&[1, 3, 4].map(NodeId)) };
        assert_eq!(applied(Node::Master(1), 7, &[&three], &disks), Ok(()));
        assert!(applied(Node::Master(1), 7, &[&joint], &disks).is_err());
        assert_eq!(elected(Node::Master(1), 3, &[&joint, &three], &disks), Ok(()));
        assert!(elected(Node::Master(1), 3, &[&joint], &disks).is_err());
    }

    #[test]
    fn nobody_writes_less_than_was_written_under_his_number() {
        let state = |term, vote: Option<u64>| HardState { term, vote: vote.map(NodeId), commit: 0 };
        let mut written = Written::default();
        assert_eq!(written.has(Node::Master(1), state(4, None)), Ok(()));
        assert_eq!(written.has(Node::Master(1), state(4, Some(2))), Ok(()));
        assert!(written.has(Node::Master(1), state(4, Some(3))).is_err());
        assert!(written.has(Node::Master(1), state(3, Some(3))).is_err());
        assert_eq!(written.has(Node::Master(2), state(1, None)), Ok(()));
    }

    #[test]
    fn half_of_the_disks_are_no_majority() {
        let disks = [disk(Some(1), 7), disk(Some(1), 7), disk(Some(2), 6)];
        let disks: BTreeMap<NodeId, &LogDisk> = (1..).map(NodeId).zip(disks.iter()).collect();
        let (three, two) = (ConfState::of(&[1, 2, 3].map(NodeId)), ConfState::of(&[2, 3].map(NodeId)));
        assert_eq!(applied(Node::Master(1), 7, &[&three], &disks), Ok(()));
        assert!(applied(Node::Master(1), 8, &[&three], &disks).is_err());
        assert!(applied(Node::Master(1), 7, &[&two], &disks).is_err(), "one of two");
        assert_eq!(elected(Node::Master(1), 3, &[&three], &disks), Ok(()));
        assert_eq!(elected(Node::Master(2), 2, &[&three], &disks), Ok(()), "long ago");
        assert!(elected(Node::Master(2), 3, &[&three], &disks).is_err());
    }
}
