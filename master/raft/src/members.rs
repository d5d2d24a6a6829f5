//! Changes of members: proposed one at a time, applied when they commit, and the leader's own leaving.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proto_machine::Outbox;
use proto_machine::mutants::{self, Mutant};
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, EntryType};

use crate::memory::Place;
use crate::raft::{Change, Settling};
use crate::{ConfState, Entry, MemberChange, NodeId, Output, Persist, Raft, Why, codec};

impl Raft {
    pub(crate) fn flush_changes(&mut self, out: &mut Outbox<Output>) {
        for (tag, change) in std::mem::take(&mut self.changes) {
            self.propose_change(Some(tag), &change, out);
        }
    }

    /// Whether it is in the log; whoever asked for it is told if it is not.
    pub(crate) fn propose_change(
        &mut self,
        tag: Option<u64>,
        change: &MemberChange,
        out: &mut Outbox<Output>,
    ) -> bool {
        let proposed = self.try_change(tag, change);
        if let (Err(why), Some(tag)) = (proposed, tag) {
            out.push(Output::Dropped { tag, why });
        }
        proposed.is_ok()
    }

    fn try_change(&mut self, tag: Option<u64>, change: &MemberChange) -> Result<(), Why> {
        if let Some(why) = self.unready() {
            return Err(why);
        }
        // The library would take a second change and quietly make an empty entry of it. And while a majority may still
        // hold to the members before the last ones, a second step could leave those two without a common vote.
        let busy = self.changing.is_some() || self.settling.is_some() || self.conf_state().is_joint();
        if busy || self.node.raft.has_pending_conf() {
            return Err(Why::Busy);
        }
        if !change.is_possible(self.conf_state()) {
            return Err(Why::Invalid);
        }
        let context = codec::encode_change(change);
        self.node.propose_conf_change(context, library_change(change)).map_err(|_| Why::Full)?;
        // Had it been made empty after all, its end would never come.
        let log = &self.node.raft.raft_log;
        let Some(entry) = log.unstable_entries().last() else { return Err(Why::Busy) };
        if entry.entry_type != EntryType::EntryConfChangeV2 || entry.term != self.node.raft.term {
            return Err(Why::Busy);
        }
        let place = Place { index: entry.index, term: entry.term };
        let me = self.config.id;
        let leaves = change.remove.contains(&me) || change.add_learners.contains(&me);
        self.changing = Some(Change { place, tag, leaves });
        Ok(())
    }

    /// A change of members has committed. Every member comes to the same end with it, also when that is to leave
    /// everything as it was.
    pub(crate) fn apply_change(&mut self, entry: &Entry, out: &mut Outbox<Output>) {
        let place = Place { index: entry.index, term: entry.term };
        let applied = codec::decode_change(&entry.data)
            .ok()
            .and_then(|change| self.node.apply_conf_change(&library_change(&change)).ok());
        let applied = match applied {
            Some(joint) if mutants::is(Mutant::OneStep) && !joint.voters_outgoing.is_empty() => {
                self.node.apply_conf_change(&library_change(&MemberChange::default())).ok()
            }
            applied => applied,
        };
        let Some(conf_state) = applied.as_ref().map(codec::plain_members) else {
            let tag = self.changing.take_if(|change| change.place == place).and_then(|change| change.tag);
            out.extend(tag.map(|tag| Output::Dropped { tag, why: Why::Invalid }));
            return;
        };
        let index = entry.index;
        self.members.push((index, conf_state.clone()));
        let persist = Persist { conf_state: Some((index, conf_state.clone())), ..Persist::default() };
        self.persist(persist, out);
        let (leads, term, joint) = (self.leads(), self.node.raft.term, conf_state.is_joint());
        out.push(Output::Members { index, conf_state });
        if leads && !joint {
            let tag = self.changing.take_if(|change| change.place.term == term).and_then(|change| change.tag);
            self.settling = Some(Settling { index, term, tag });
        }
    }

    /// Once a majority of those who stay knows, and has stored, what the members are, the change is complete.
    ///
    /// Until then the others may count on members who have left: they apply a change when they learn that it has
    /// committed, and they learn that from the leader. So a leader that is itself to leave stays so long. That it may:
    /// it has taken no proposals behind the change, and without new entries the library does not mind a leader that is
    /// no member.
    pub(crate) fn settle_members(&mut self, out: &mut Outbox<Output>) {
        let Some(Settling { index, term, tag }) = self.settling else { return };
        if !self.leads() || term != self.node.raft.term {
            return;
        }
        let me = self.config.id;
        let prs = self.node.raft.prs();
        let knows = |id: &&NodeId| **id == me || prs.get(id.0).is_some_and(|p| p.committed_index >= index);
        let voters = &self.conf_state().voters;
        let knowing: Vec<_> = voters.iter().filter(knows).copied().collect();
        if knowing.len() < voters.len() / 2 + 1 {
            return;
        }
        let matched = |id: &NodeId| prs.get(id.0).map_or(0, |progress| progress.matched);
        let heir = knowing.into_iter().max_by_key(|id| (matched(id), Reverse(*id)));
        self.settling = None;
        out.extend(tag.map(|tag| Output::MembersChanged { tag }));
        if !self.node.raft.promotable() {
            self.hand_over(heir);
        }
    }

    /// A leader that is no member and still has something to commit makes the library stop the process. It is not seen
    /// how one could come to be; should it, then leaving at once is the lesser evil.
    pub(crate) fn abdicate_if_cut_off(&mut self) {
        let raft = &self.node.raft;
        if self.leads() && !raft.promotable() && raft.raft_log.last_index() > raft.raft_log.committed {
            self.hand_over(None);
        }
    }

    fn hand_over(&mut self, heir: Option<NodeId>) {
        let raft = &mut self.node.raft;
        if let Some(heir) = heir {
            raft.send_timeout_now(heir.0);
        }
        let term = raft.term;
        raft.become_follower(term, raft::INVALID_ID);
        self.pin(false);
    }

    /// Whether this leader is, or is about to be, no voter any more.
    pub(crate) fn leaves(&self) -> bool {
        let voter = self.conf_state().voters.binary_search(&self.config.id).is_ok();
        !voter || self.changing.is_some_and(|change| change.leaves)
    }

    pub(crate) fn conf_state(&self) -> &ConfState {
        const NOBODY: &ConfState = &ConfState {
            voters: Vec::new(),
            learners: Vec::new(),
            voters_outgoing: Vec::new(),
            learners_next: Vec::new(),
            auto_leave: false,
        };
        self.members.last().map_or(NOBODY, |(_, conf_state)| conf_state)
    }
}

impl MemberChange {
    /// Whether it names somebody, nobody twice, and leaves a voter.
    fn is_possible(&self, now: &ConfState) -> bool {
        let named = || self.add_voters.iter().chain(&self.add_learners).chain(&self.remove);
        let distinct: BTreeSet<_> = named().collect();
        let leaves = |id: &&NodeId| !self.add_learners.contains(id) && !self.remove.contains(id);
        let voters = now.voters.iter().filter(leaves).count() + self.add_voters.len();
        distinct.len() == named().count() && !distinct.is_empty() && named().all(|id| id.0 != 0) && voters > 0
    }
}

/// An empty change leaves a joint configuration.
pub(crate) fn library_change(change: &MemberChange) -> ConfChangeV2 {
    let each = |list: &[NodeId], change_type: ConfChangeType| {
        let single = |id: &NodeId| ConfChangeSingle { change_type, node_id: id.0, ..Default::default() };
        list.iter().map(single).collect::<Vec<_>>()
    };
    let mut changes = each(&change.remove, ConfChangeType::RemoveNode);
    changes.extend(each(&change.add_learners, ConfChangeType::AddLearnerNode));
    changes.extend(each(&change.add_voters, ConfChangeType::AddNode));
    ConfChangeV2 { changes: changes.into(), ..Default::default() }
}
