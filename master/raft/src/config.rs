//! `Config`: who this member is, and the constants of the group with their reasons.

use std::time::Duration;

use proto_machine::mutants::{self, Mutant};

use crate::NodeId;

/// The beat of consensus. All timeouts are counted in it.
pub const TICK: Duration = Duration::from_millis(20);

/// Ticks between two heartbeats of a leader: 40 ms, so that six in a row must be lost before anybody doubts it.
pub const HEARTBEAT_TICKS: usize = 2;

/// Ticks a leader's lease lasts: 240 ms. For so long after a heartbeat no vote is given to another (check-quorum),
/// and a leader that hears from no majority for so long steps down.
pub const ELECTION_TICKS: usize = 12;

/// The fewest ticks without a leader before a member campaigns: 280 ms. Two above the lease, so that the ticks of
/// the others, which run in another phase, have left the lease too and the first campaign is heard.
pub const CAMPAIGN_TICKS_MIN: usize = 14;

/// The most ticks without a leader before a member campaigns: 480 ms, twice the lease. The first of two survivors
/// campaigns after 350 ms on average, which leaves the rest of half a second to the votes.
pub const CAMPAIGN_TICKS_MAX: usize = 24;

/// At most so many ticks are made up when a wake comes late. A process that was stopped for a minute must not
/// find on its return that it has missed a minute of heartbeats: its mailbox is read first.
pub const LATE_TICKS_MAX: u64 = 3;

/// One append message carries about so many bytes of entries (one at least).
pub const MAX_APPEND_BYTES: u64 = 1 << 20;

/// Append messages sent to one follower before it must answer.
pub const MAX_INFLIGHT: usize = 256;

/// Bytes a leader keeps uncommitted before it drops proposals: what a follower that is a second behind may cost.
pub const MAX_UNCOMMITTED_BYTES: u64 = 64 << 20;

/// The largest proposal, in bytes.
pub const MAX_PROPOSAL_BYTES: usize = 16 << 20;

/// Committed bytes handed out in one go; a bound on the memory of a long replay.
pub(crate) const MAX_COMMIT_PAGE_BYTES: u64 = 16 << 20;

/// Ticks before an unanswered read is asked again: 100 ms. A leader that has not yet committed in its term drops
/// reads silently.
pub(crate) const READ_RETRY_TICKS: u64 = 5;

/// Ticks before an unanswered read is given up: 2 s.
pub const READ_LIMIT_TICKS: u64 = 100;

/// Ticks between two steps to the members that are wanted: 100 ms. A step that waits for somebody who is slow is tried
/// again then.
pub(crate) const STEER_TICKS: u64 = 5;

/// Ticks before a leader whose room is low hands over once more: 10 s.
pub(crate) const HAND_OVER_TICKS: u64 = 500;

/// A leader's sync that takes so long is slow: it stands at less than the patience of the followers, and far above what a disk takes
/// that is merely busy.
pub(crate) const SLOW_SYNC: Duration = Duration::from_millis(100);

/// So many slow syncs in a row, over so long, are no accident: a leader hands over then.
pub(crate) const SLOW_SYNCS: u32 = 5;
/// See [`SLOW_SYNCS`].
pub(crate) const SLOW_TIME: Duration = Duration::from_secs(2);

/// Ticks before a leader whose disk is slow hands over once more: a minute. To hand over costs all open offers, and where each disk
/// is slow at times there is nothing to be won by it.
pub(crate) const SLOW_AGAIN_TICKS: u64 = 3_000;

/// Rounds of reads in flight; reads that come meanwhile share the next one.
pub(crate) const READ_ROUNDS_MAX: usize = 4;

/// Ticks after which a snapshot that a new member waits for is asked for again if none has come: 5 s.
pub(crate) const SNAPSHOT_RETRY_TICKS: u64 = 250;

/// Ticks after which a snapshot's end is taken to be a failure if the shell never reports it: ten minutes.
pub(crate) const SNAPSHOT_LIMIT_TICKS: u64 = 30_000;

/// Who this member is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id.
    pub id: NodeId,
    /// The voters a fresh cluster begins with, the same on each of them. Used only when the disk is empty; leave it
    /// empty for a member that joins a running cluster, which then waits to be added. A founder that has lost its disk
    /// must not found again: it joins, under a new id.
    pub voters: Vec<NodeId>,
    /// Seeds election timeouts and read marks. Must differ between members **and between starts** of one member.
    pub seed: u64,
    /// A snapshot is wanted when the log since the last one costs so many bytes, or as many as that snapshot.
    pub snapshot_after_bytes: u64,
}

impl Config {
    /// The default of `snapshot_after_bytes`: 8 MiB, some 25,000 entries of 256 bytes, replayed in well under a second.
    pub const SNAPSHOT_AFTER_BYTES: u64 = 8 << 20;

    /// A member with default knobs.
    pub fn new(id: NodeId, voters: &[NodeId], seed: u64) -> Self {
        Self { id, voters: voters.to_vec(), seed, snapshot_after_bytes: Self::SNAPSHOT_AFTER_BYTES }
    }

    /// Cost of entries, in bytes, kept behind a snapshot for followers a little behind, so that they need no snapshot.
    pub(crate) fn retained_bytes(&self) -> u64 {
        self.snapshot_after_bytes / 4
    }

    pub(crate) fn library(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.id.0,
            applied,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            min_election_tick: CAMPAIGN_TICKS_MIN,
            max_election_tick: CAMPAIGN_TICKS_MAX + 1,
            max_size_per_msg: MAX_APPEND_BYTES,
            max_inflight_msgs: MAX_INFLIGHT,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMIT_PAGE_BYTES,
            check_quorum: true,
            pre_vote: !mutants::is(Mutant::DropPreVote),
            // See `batch`.
            batch_append: false,
            read_only_option: raft::ReadOnlyOption::Safe,
            ..raft::Config::default()
        }
    }
}
