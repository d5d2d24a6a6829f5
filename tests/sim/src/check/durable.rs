//! P3: nothing is acted upon before it is on the disks of a majority, whatever the members themselves believe.

use master_raft::NodeId;

use super::{Verdict, broken};
use crate::disk::LogDisk;
use crate::node::Node;

/// What all members begin with, each by itself.
const FOUNDED: u64 = 1;

/// A member acts upon everything up to this index.
pub fn applied<'a>(who: Node, index: u64, disks: impl Iterator<Item = &'a LogDisk>) -> Verdict {
    by_majority(disks, |disk| disk.last_index() >= index || index == FOUNDED).or_else(|(have, all)| {
        let how = format!("{who} has applied {index}, which is on {have} of {all} disks");
        broken("P3 nothing before it is stored", how)
    })
}

/// A member leads: a majority has written down that it voted for it, or that it knows of a later term.
pub fn elected<'a>(who: Node, term: u64, disks: impl Iterator<Item = &'a LogDisk>) -> Verdict {
    let stands_by = |disk: &LogDisk| {
        let state = disk.hard_state();
        state.term > term || (state.term == term && state.vote == Some(NodeId(who.number())))
    };
    by_majority(disks, stands_by).or_else(|(have, all)| {
        broken("P6 fencing", format!("{who} leads in term {term} with the written votes of {have} of {all}"))
    })
}

fn by_majority<'a>(
    disks: impl Iterator<Item = &'a LogDisk>,
    holds: impl Fn(&LogDisk) -> bool,
) -> Result<(), (usize, usize)> {
    let (mut have, mut all) = (0, 0);
    for disk in disks {
        all += 1;
        have += usize::from(holds(disk));
    }
    if 2 * have > all { Ok(()) } else { Err((have, all)) }
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
    fn half_of_the_disks_are_no_majority() {
        let disks = [disk(Some(1), 7), disk(Some(1), 7), disk(Some(2), 6)];
        assert_eq!(applied(Node::Master(1), 7, disks.iter()), Ok(()));
        assert!(applied(Node::Master(1), 8, disks.iter()).is_err());
        assert!(applied(Node::Master(1), 7, disks[1..].iter()).is_err(), "one of two");
        assert_eq!(elected(Node::Master(1), 3, disks.iter()), Ok(()));
        assert_eq!(elected(Node::Master(2), 2, disks.iter()), Ok(()), "long ago");
        assert!(elected(Node::Master(2), 3, disks.iter()).is_err());
    }
}
