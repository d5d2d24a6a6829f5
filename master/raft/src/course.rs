//! The course to the members that are wanted: learners first, then all changes of voters in one joint step, and a leader
//! that is to leave hands over before.
//!
//! Who is wanted stands in the log of the state machine above, so every member knows it, and whoever leads goes on from
//! where the group is. Nothing here remembers a step.

use std::cmp::Reverse;

use proto_machine::Outbox;

use crate::config::STEER_TICKS;
use crate::{ConfState, MemberChange, NodeId, Output, Raft};

/// A follower that is fewer entries behind has caught up: those are on their way.
const CAUGHT_UP_ENTRIES: u64 = 256;

/// Who the members are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// Those who are to vote, in the end; sorted.
    pub voters: Vec<NodeId>,
    /// For now new ones may only learn, and nobody is to leave.
    pub only_learn: bool,
}

/// Where a group of the masters is: its members, and the version of the list of masters that its log has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearing {
    /// Its members.
    pub members: ConfState,
    /// The list that they are going by, or are already as it says.
    pub list: u64,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Change(MemberChange),
    HandOver(NodeId),
}

impl Raft {
    /// Whether the members are those that are wanted, and nothing is under way any more.
    pub fn is_where_it_aims(&self) -> bool {
        let conf = self.conf_state();
        let busy = self.changing.is_some() || self.settling.is_some() || conf.is_joint();
        self.aim.as_ref().is_none_or(|aim| !busy && conf.voters == aim.voters && conf.learners.is_empty())
    }

    /// Takes the next step, if there is one and it is time. Whether anything was done.
    pub(crate) fn steer(&mut self, out: &mut Outbox<Output>) -> bool {
        if let Some(Step::HandOver(to)) = self.makes_way().or_else(|| self.is_outrun()) {
            self.node.transfer_leader(to.0);
            self.pin(false);
            return true;
        }
        let tick = self.pace.ticks();
        if tick < self.steer_at || !self.is_leader() || self.is_where_it_aims() {
            return false;
        }
        self.steer_at = tick + STEER_TICKS;
        if self.unready().is_some() {
            return false;
        }
        match self.next_step() {
            None => false,
            Some(Step::HandOver(to)) => {
                self.node.transfer_leader(to.0);
                self.pin(false);
                true
            }
            Some(Step::Change(change)) => self.propose_change(None, &change, out),
        }
    }

    fn next_step(&self) -> Option<Step> {
        let aim = self.aim.as_ref()?;
        let conf = self.conf_state();
        let is_in = |list: &[NodeId], id: &NodeId| list.binary_search(id).is_ok();
        let new: Vec<NodeId> = aim.voters.iter().filter(|id| !is_in(&conf.voters, id)).copied().collect();
        let strange: Vec<NodeId> = new.iter().filter(|id| !is_in(&conf.learners, id)).copied().collect();
        // While nobody is to leave, whoever learned and is not wanted any more goes on to learn: he may lead the other group
        // by now, and would hear nowhere else that it is to go back.
        let unwanted: Vec<NodeId> = match aim.only_learn {
            true => Vec::new(),
            false => conf.learners.iter().filter(|id| !is_in(&aim.voters, id)).copied().collect(),
        };
        if !strange.is_empty() || !unwanted.is_empty() {
            // A learner more or less decides nothing.
            let change = MemberChange { add_learners: strange, remove: unwanted, ..MemberChange::default() };
            return Some(Step::Change(change));
        }
        let leaving: Vec<NodeId> = conf.voters.iter().filter(|id| !is_in(&aim.voters, id)).copied().collect();
        if is_in(&leaving, &self.config.id)
            && let Some(heir) = self.heir(&aim.voters)
        {
            return Some(Step::HandOver(heir));
        }
        if aim.only_learn || !new.iter().all(|id| self.has_caught_up(*id)) {
            return None;
        }
        let change = MemberChange { add_voters: new, remove: leaving, ..MemberChange::default() };
        Some(Step::Change(change))
    }

    /// Of these, the voter besides this one that has most and is heard.
    pub(crate) fn heir(&self, of: &[NodeId]) -> Option<NodeId> {
        let prs = self.node.raft.prs();
        let voters = &self.conf_state().voters;
        let matched = |id: &NodeId| prs.get(id.0).map_or(0, |progress| progress.matched);
        let heard = |id: &&NodeId| prs.get(id.0).is_some_and(|progress| progress.recent_active);
        let others = of.iter().filter(|id| **id != self.config.id && voters.binary_search(id).is_ok());
        others.filter(heard).copied().max_by_key(|id| (matched(id), Reverse(*id)))
    }

    /// Whether this member has nearly all that this leader has, and is heard.
    pub fn has_caught_up(&self, id: NodeId) -> bool {
        let log = &self.node.raft.raft_log;
        id == self.config.id
            || self.node.raft.prs().get(id.0).is_some_and(|progress| {
                progress.recent_active
                    && progress.state != raft::ProgressState::Snapshot
                    && progress.matched > 0
                    && progress.matched + CAUGHT_UP_ENTRIES >= log.last_index()
            })
    }
}
