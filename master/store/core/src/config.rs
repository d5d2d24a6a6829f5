//! The few knobs of a member, and its constants with their reasons.

use std::collections::BTreeMap;

use proto::id::MasterId;
use proto::store_log::Limits;

/// Batches on their way through consensus; further changes gather meanwhile into larger ones.
pub(crate) const BATCHES_IN_FLIGHT: usize = 4;

/// About how many bytes of changes go into one batch: one message to a follower.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Bytes of changes that may wait to be proposed. More is refused: whoever sends it had better wait than be waited for.
pub(crate) const WAITING_BYTES_MAX: usize = 32 << 20;

/// Bytes of changes told to a watch at once.
pub(crate) const WATCH_BYTES: u64 = 1 << 20;

/// A watch that nothing was told of for so many revisions is told how far it is. The past holds far more changes of usual
/// size, so that who has to begin anew can; large ones are compacted sooner, and then it is told at once.
pub const WATCH_TOLD_REVISIONS: u64 = 1_000;

/// Watches of one principal at one member.
pub const WATCHES_MAX: usize = 1024;

/// The longest name of a space, in bytes.
pub(crate) const SPACE_NAME_MAX: usize = 128;

/// Who a member is.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub id: MasterId,
    /// Every member's door, `host:port`.
    pub members: BTreeMap<MasterId, String>,
    /// Whether it is one of the founders, whose list `members` is; else it begins empty, and is brought in by the others.
    pub founds: bool,
    /// Must differ between members and between starts of one.
    pub seed: u64,
    /// A snapshot is taken when the log since the last one costs so many bytes. Small disks want less, tests want it
    /// often.
    pub snapshot_after_bytes: u64,
    /// What a space may hold of what is proposed while this member leads.
    pub limits: Limits,
}

impl Config {
    /// The ordinary values for a member of a group.
    pub fn new(id: MasterId, members: BTreeMap<MasterId, String>, seed: u64) -> Self {
        Config {
            id,
            members,
            founds: true,
            seed,
            snapshot_after_bytes: master_raft::Config::SNAPSHOT_AFTER_BYTES,
            limits: Limits::default(),
        }
    }
}
