//! Who the members are: one at a time or by two majorities, the same on all, no number given twice, and nobody sent away while
//! a group still counts on him.

use std::collections::{BTreeMap, BTreeSet};

use master_raft::{ConfState, NodeId};
use proto::id::MasterId;
use proto::roster::{Roster, Standing};

use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "members";

/// The members of a group, by the index at which they came to be so.
#[derive(Debug, Default)]
pub struct Confs {
    by_index: BTreeMap<u64, ConfState>,
}

impl Confs {
    /// A member has it on its disk that behind this index these are the members.
    pub fn are(&mut self, who: Node, index: u64, conf: &ConfState) -> Verdict {
        if let Some(known) = self.by_index.get(&index) {
            return match known == conf {
                true => Ok(()),
                false => broken(PROMISE, format!("{who} has {conf:?} at {index}, others {known:?}")),
            };
        }
        let before = self.by_index.range(..index).next_back().map(|(_, before)| before.clone());
        let behind = self.by_index.range(index..).next().map(|(_, behind)| behind.clone());
        let steps =
            [before.map(|before| (before, conf.clone())), behind.map(|behind| (conf.clone(), behind))];
        for (from, to) in steps.into_iter().flatten() {
            if !is_step(&from, &to) {
                return broken(PROMISE, format!("at {index} {who} went from {from:?} to {to:?}"));
            }
        }
        // Images say it again, at the index up to which they go.
        if self.by_index.range(..index).next_back().is_none_or(|(_, before)| before != conf) {
            self.by_index.insert(index, conf.clone());
        }
        Ok(())
    }

    /// The members behind an index, and those before the last change: the newest of them are those of whoever has applied that.
    /// A leader counts on those of before until it has applied the change itself.
    pub fn around(&self, index: u64) -> Vec<&ConfState> {
        self.by_index.range(..=index).rev().map(|(_, conf)| conf).take(2).collect()
    }

    fn newest(&self) -> Option<&ConfState> {
        self.by_index.last_key_value().map(|(_, conf)| conf)
    }
}

/// Whether any majority of the first and any of the second have somebody in common.
fn is_step(from: &ConfState, to: &ConfState) -> bool {
    match (from.is_joint(), to.is_joint()) {
        (false, false) => {
            let (one, other): (BTreeSet<&NodeId>, BTreeSet<&NodeId>) =
                (from.voters.iter().collect(), to.voters.iter().collect());
            one.symmetric_difference(&other).count() <= 1
        }
        (false, true) => to.voters_outgoing == from.voters,
        (true, false) => to.voters == from.voters,
        (true, true) => to == from,
    }
}

/// The lists of masters, as the log made them.
#[derive(Debug, Default)]
pub struct Rosters {
    newest: Roster,
    retired: BTreeSet<MasterId>,
}

impl Rosters {
    /// A master's log has this list.
    pub fn says(&mut self, who: Node, roster: &Roster, registry: &Confs, store: &Confs) -> Verdict {
        if roster.version <= self.newest.version {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.newest, roster.clone());
        if let Some(again) = roster.masters.iter().find(|master| self.retired.contains(&master.id)) {
            let how = format!("{who}: number {} was used up, and is given again", again.id);
            return broken(PROMISE, how);
        }
        let was = |id: MasterId| before.get(id).map(|master| master.standing);
        for (group, confs) in [("registry", registry), ("store", store)] {
            let Some(conf) = confs.newest() else { continue };
            let of = |id: MasterId| NodeId(id.0);
            let counts = |id: &&MasterId| !self.retired.contains(*id) && conf.contains(of(**id));
            if let Some(gone) = roster.retired.iter().find(counts) {
                let how =
                    format!("{who}: number {gone} is retired, and the group of the {group} is {conf:?}");
                return broken(PROMISE, how);
            }
            for master in roster.standing(Standing::Votes) {
                let votes = !conf.is_joint() && conf.voters.binary_search(&of(master.id)).is_ok();
                if was(master.id) == Some(Standing::Joins) && !votes {
                    let id = master.id;
                    let how = format!(
                        "{who}: master {id} is said to vote, and the group of the {group} is {conf:?}"
                    );
                    return broken(PROMISE, how);
                }
            }
        }
        self.retired.extend(roster.retired.iter().copied());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Node = Node::Master(1);

    fn of(voters: &[u64]) -> ConfState {
        ConfState::of(&voters.iter().map(|id| NodeId(*id)).collect::<Vec<_>>())
    }

    fn joint(voters: &[u64], outgoing: &[u64]) -> ConfState {
        ConfState { voters_outgoing: of(outgoing).voters, ..of(voters) }
    }

    #[test]
    fn two_voters_change_by_two_majorities_only() {
        let mut confs = Confs::default();
        assert_eq!(confs.are(ME, 1, &of(&[1, 2, 3])), Ok(()));
        assert!(confs.are(ME, 9, &of(&[1, 2, 4])).is_err(), "{{2, 3}} and {{1, 4}}");
        assert_eq!(confs.are(ME, 9, &joint(&[1, 2, 4], &[1, 2, 3])), Ok(()));
        assert!(confs.are(ME, 9, &of(&[1, 2, 3])).is_err(), "others have it otherwise");
        assert!(confs.are(ME, 11, &of(&[1, 2, 3])).is_err(), "it was not there that it went");
        assert_eq!(confs.are(ME, 11, &of(&[1, 2, 4])), Ok(()));
        assert_eq!(confs.are(ME, 15, &of(&[1, 2])), Ok(()));
        assert_eq!(confs.around(12), [&of(&[1, 2, 4]), &joint(&[1, 2, 4], &[1, 2, 3])]);
    }

    #[test]
    fn a_list_is_through_when_both_groups_are_and_numbers_stay_used() {
        let (mut registry, mut store) = (Confs::default(), Confs::default());
        for confs in [&mut registry, &mut store] {
            confs.are(ME, 1, &of(&[1, 2, 3])).expect("the founders");
        }
        let three = Roster::founded(&(1..=3).map(|id| (MasterId(id), String::new())).collect());
        let going = Roster { version: 5, ..three.changed(&[], &[MasterId(3)]).expect("it may go") };
        let gone = Roster { version: 9, ..going.settled() };
        let mut rosters = Rosters::default();
        assert_eq!(rosters.says(ME, &going, &registry, &store), Ok(()));
        registry.are(ME, 7, &of(&[1, 2])).expect("one less");
        let early = Rosters::default().says(ME, &gone, &registry, &store);
        assert!(early.is_err_and(|broken| broken.how.contains("store")));
        store.are(ME, 4, &of(&[1, 2])).expect("one less");
        assert_eq!(rosters.says(ME, &gone, &registry, &store), Ok(()));
        let again = Roster { version: 12, ..going };
        assert!(rosters.says(ME, &again, &registry, &store).is_err());
    }
}
