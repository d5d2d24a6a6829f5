//! What a master process is told at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proto::caller::Caller;
use proto::id::MasterId;
pub use proto::store_log::Limits as StoreLimits;
use proto_pki::LEAF_VALIDITY;

/// What a master process is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub id: MasterId,
    /// Where its one door listens.
    pub listen: SocketAddr,
    /// Every member's door, itself included, as others reach it.
    pub members: BTreeMap<MasterId, String>,
    /// Whether `members` is the list that the group is, or was, founded with: a master that comes into a group which runs
    /// founds nothing.
    pub founds: bool,
    /// Where its log and snapshots are.
    pub data_dir: PathBuf,
    /// Where its certificate is: `ca.pem`, `cert.pem`, `key.pem`.
    pub credentials_dir: PathBuf,
    /// Where the cluster's authority is, if this master may let agents and frameworks join.
    pub authority_dir: Option<PathBuf>,
    /// The frameworks that may name `root` as the user of a task.
    pub root_tasks: BTreeSet<Caller>,
    /// How long an unanswered offer stands; `None`: a minute.
    pub offer_timeout: Option<Duration>,
    /// How long an agent may be silent before its tasks are called unreachable; `None`: 75 s.
    pub agent_unreachable_after: Option<Duration>,
    /// What frameworks may keep in a space of the store.
    pub store_limits: StoreLimits,
    /// What callers are held to, and how much is written about them.
    pub limits: Limits,
}

/// What callers are held to, and how much is written about them. Each says which two operators want different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many calls a second a principal may make, and twice as many at once. Who gives certificates to strangers wants less, who
    /// has a framework of very short tasks more.
    pub calls_a_second: u64,
    /// Once a framework holds such a part of the pool unanswered, in thousandths, it gets no more offers while another wants
    /// something, and what it has held for five seconds is taken back. Who has a framework that asks people wants more, who
    /// has many that know at once wants less.
    pub hold_share_milli: u32,
    /// So much of the audit log is kept, in bytes. Who has to show a year of it wants more, a small disk less.
    pub audit_bytes: u64,
    /// So long a certificate is good that this master gives. Who cannot see to it that frameworks get new ones wants more, who wants
    /// a key that was stolen to be worth little wants less.
    pub certificate_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            calls_a_second: 1_000,
            hold_share_milli: 200,
            audit_bytes: 256 << 20,
            certificate_lifetime: LEAF_VALIDITY,
        }
    }
}
