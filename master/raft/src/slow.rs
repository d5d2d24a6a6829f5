//! A disk that is slow: a leader whose syncs all take long, and longer than those of another, hands over to that one.
//!
//! Nothing is asked for that the group does not know anyway. A leader says its appends before it stores the same entries itself,
//! so whoever has them when they are stored here was no slower. A disk that takes longer than a follower's patience needs
//! nothing of this: its member is not heard meanwhile, and another is elected.

use proto_machine::{Instant, Now};

use crate::config::{SLOW_AGAIN_TICKS, SLOW_SYNC, SLOW_SYNCS, SLOW_TIME};
use crate::course::Step;
use crate::{NodeId, Raft};

/// What a leader knows of its own syncs.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    /// The one under way that is timed; others that begin meanwhile are not.
    timed: Option<Sync>,
    /// One that has ended since the last settle, and when.
    ended: Option<(Sync, Instant)>,
    /// The last entry that was to be stored at the last settle.
    last_index: u64,
    /// How many in a row were slow, and since when.
    slow: u32,
    since: Instant,
    /// Who had the entries before this member in each of them.
    faster: Vec<NodeId>,
    /// The tick before which it does not hand over again.
    again_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sync {
    sequence: u64,
    last_index: u64,
    begun: Instant,
}

// === impl Syncs ===

impl Syncs {
    /// Everything up to this persist is stored.
    pub(crate) fn end(&mut self, now: Now, sequence: u64) {
        if let Some(sync) = self.timed.take_if(|sync| sync.sequence <= sequence) {
            self.ended = Some((sync, now.monotonic));
        }
    }

    fn forget(&mut self) {
        *self = Syncs { again_at: self.again_at, ..Syncs::default() };
    }
}

impl Raft {
    /// To be called when a batch is settled: what it stores is under way from now on.
    pub(crate) fn time_sync(&mut self, now: Now) {
        if !self.leads() {
            return self.syncs.forget();
        }
        let last_index = self.node.raft.raft_log.last_index();
        // A persist without entries is acknowledged by nobody.
        if self.syncs.timed.is_none() && self.syncs.last_index < last_index {
            self.syncs.timed = Some(Sync { sequence: self.sequence, last_index, begun: now.monotonic });
        }
        self.syncs.last_index = last_index;
    }

    /// Who is to lead instead of this member because its disk is slow, if anybody.
    pub(crate) fn is_outrun(&mut self) -> Option<Step> {
        let (sync, ended) = self.syncs.ended.take()?;
        let took = ended.since(sync.begun);
        if took < SLOW_SYNC || !self.is_leader() {
            self.syncs.slow = 0;
            return None;
        }
        let voters = self.conf_state().voters.clone();
        let prs = self.node.raft.prs();
        let has_it = |id: &NodeId| prs.get(id.0).is_some_and(|other| other.matched >= sync.last_index);
        let faster = voters.into_iter().filter(|id| *id != self.config.id && has_it(id));
        let syncs = &mut self.syncs;
        if syncs.slow == 0 {
            (syncs.since, syncs.faster) = (sync.begun, faster.collect());
        } else {
            let faster: Vec<NodeId> = faster.collect();
            syncs.faster.retain(|id| faster.contains(id));
        }
        syncs.slow += 1;
        if syncs.faster.is_empty() {
            // Another run of slow ones may show another who is faster.
            syncs.slow = 0;
        }
        let lasted = ended.since(syncs.since);
        let tick = self.pace.ticks();
        if syncs.slow < SLOW_SYNCS || lasted < SLOW_TIME || tick < syncs.again_at {
            return None;
        }
        let faster = std::mem::take(&mut syncs.faster);
        syncs.slow = 0;
        let heir = self.heir(&faster)?;
        self.syncs.again_at = tick + SLOW_AGAIN_TICKS;
        Some(Step::HandOver(heir))
    }
}
