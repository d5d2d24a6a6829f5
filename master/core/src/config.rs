//! The master's few knobs, and its constants with their reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::caller::Caller;
use proto::id::MasterId;

/// The knobs. Each says which two operators want different values.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub id: MasterId,
    /// Every member's door, `host:port`.
    pub members: BTreeMap<MasterId, String>,
    /// Whether it is one of the founders, whose list `members` is. One that comes into a group which runs begins empty, and
    /// is brought in by the others.
    pub founds: bool,
    /// Makes the machine's own dice fall differently on each member.
    pub seed: u64,
    /// How long an unanswered offer stands. Sixty seconds. A pool of short tasks wants less, frameworks that ask
    /// people want more.
    pub offer_timeout: Duration,
    /// How long an agent may be silent before its tasks are called unreachable. 75 s, as Mesos (15 s x 5). A rack with
    /// flapping links wants more, a pool that restarts work quickly wants less.
    pub agent_unreachable_after: Duration,
    /// The frameworks that may name `root` as the user of a task; none by default. The agent has its own word in it. Who
    /// gives whole machines to one trusted framework names it here.
    pub root_tasks: BTreeSet<Caller>,
    /// Once the unanswered offers of a framework hold such a part of the pool, in thousandths, it gets no more while another
    /// wants something. Who has one framework that asks people wants more, who has many that know at once wants less.
    pub hold_share_milli: u32,
    /// And what it has held for longer than this is taken back then; `None`: offers stand for their time, whoever waits. A pool
    /// of trusted frameworks that are slow to answer wants none.
    pub hold_patience: Option<Duration>,
    /// A snapshot is taken when the log since the last one costs so many bytes. Small disks want less, the simulator
    /// wants it often.
    pub snapshot_after_bytes: u64,
}

/// How often agents and frameworks say something, and are told something, at least.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// A link that was silent for so long is taken to be broken: three heartbeats.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(15);

/// How long a new leader waits for the frameworks of the old one before their failover timers start.
pub const FRAMEWORK_RETURN: Duration = Duration::from_secs(30);

/// Ended tasks are logged at the latest so long after they were reported: a few at once instead of one by one.
pub const LAZY_DELAY: Duration = Duration::from_millis(4);

/// A pool is busy while more tasks than this are alive, and
pub const TASKS_WHEN_BUSY: usize = 8;

/// so many updates came within
pub const UPDATES_WHEN_BUSY: usize = 20;

/// so long. One task after another is not yet that, and what it says is passed on at once.
pub const UPDATES_WITHIN: Duration = Duration::from_millis(32);

/// In a busy pool, what single tasks say is of no hurry: updates and acknowledgements are gathered for so long.
pub const GATHER_WHEN_BUSY: Duration = Duration::from_millis(10);

/// And offers are made so often: what many tasks leave within it makes few and large offers, and those few and large accepts.
/// Short beside the time a task takes through a busy machine.
pub const OFFER_INTERVAL_WHEN_BUSY: Duration = Duration::from_millis(24);

/// So many ended tasks are logged at once without waiting.
pub const LAZY_MAX: usize = 512;

/// An offer that ran out is not made again to the same framework for as long as it was held, but at least for so long,
/// so that others get their turn. It doubles each time a framework lets its offers run out without answering any.
pub const REFUSE_AFTER_EXPIRY: Duration = Duration::from_secs(5);

/// Whoever holds offers for long is looked at so often.
pub const LOOK_AT_HOLDERS: Duration = Duration::from_secs(1);

/// So often it doubles: enough for four frameworks that never answer to leave an agent whole for a while, and not so often
/// that one which is merely slow waits for ever.
pub const REFUSE_DOUBLINGS: u32 = 2;

/// Batches on their way through consensus; further changes gather meanwhile into larger ones.
pub const BATCHES_IN_FLIGHT: usize = 4;

/// About how many bytes of changes go into one batch. Well below the largest proposal that consensus takes.
pub const BATCH_BYTES: usize = 4 << 20;

/// Events kept for each framework's resume.
pub const RESUME_EVENTS: usize = 1024;

/// Tasks in one accept.
pub const ACCEPT_TASKS_MAX: usize = 1000;

/// Frameworks of one principal that have not ended: far more than one needs, far fewer than would burden the log.
pub const FRAMEWORKS_MAX: usize = 256;

/// Demands of one framework.
pub const DEMANDS_MAX: usize = 1000;

impl Config {
    /// The ordinary values for a member of a group.
    pub fn new(id: MasterId, members: BTreeMap<MasterId, String>, seed: u64) -> Self {
        Config {
            id,
            members,
            founds: true,
            seed,
            offer_timeout: Duration::from_secs(60),
            agent_unreachable_after: Duration::from_secs(75),
            root_tasks: BTreeSet::new(),
            hold_share_milli: 500,
            hold_patience: None,
            snapshot_after_bytes: master_raft::Config::SNAPSHOT_AFTER_BYTES,
        }
    }
}
