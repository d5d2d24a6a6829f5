//! What is measured of the frameworks' state. Every metric is on `docs/guide/metrics.md`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use master_store_core::Standing;
use metrics::Histogram;
use proto::store::{Reply, ReplyKind};

use super::doors::Doors;
use super::lock;

/// What this member knows of its group and of each space, for whoever looks.
#[derive(Default)]
pub(crate) struct Board {
    spaces: Mutex<BTreeMap<(String, String), Standing>>,
    part: Mutex<Part>,
}

/// The part that this member plays.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    leads: bool,
    term: u64,
    applied: u64,
}

/// The meters of the machine's hands.
pub(crate) struct Meters {
    board: Arc<Board>,
    sync_time: Histogram,
    leads: bool,
}

// === impl Meters ===

impl Meters {
    pub fn new(board: Arc<Board>) -> Self {
        Meters { board, sync_time: metrics::histogram!("store_sync_seconds"), leads: false }
    }

    /// A batch is stored.
    pub fn stored(&self, since: Instant) {
        self.sync_time.record(since.elapsed().as_secs_f64());
    }

    pub fn part(&mut self, leads: bool, term: u64) {
        self.leads = leads;
        let mut part = lock(&self.board.part);
        (part.leads, part.term) = (leads, term);
    }

    pub fn applied(&self, index: u64) {
        lock(&self.board.part).applied = index;
    }

    /// A call is answered.
    pub fn replied(&self, reply: &Reply) {
        match &reply.kind {
            ReplyKind::Refused(refusal) => {
                metrics::counter!("store_calls_refused_total", "code" => refusal.code.as_str()).increment(1);
            }
            ReplyKind::Redirect(_) => {}
            _ => metrics::counter!("store_calls_answered_total").increment(1),
        }
    }

    /// A space changed. Only the leader counts, so that sums over all masters are right.
    pub fn stands(&self, standing: Standing) {
        let key = (standing.space.owner.clone(), standing.space.name.clone());
        let compacted = standing.compacted;
        let before = lock(&self.board.spaces).insert(key, standing);
        if self.leads && before.is_some_and(|before| before.compacted < compacted) {
            metrics::counter!("store_compactions_total").increment(1);
        }
    }
}

// === impl Board ===

impl Board {
    /// Sets what somebody who looks wants to see.
    pub fn show(&self, doors: &Doors) {
        let part = *lock(&self.part);
        metrics::gauge!("store_leads").set(f64::from(u8::from(part.leads)));
        metrics::gauge!("store_term").set(part.term as f64);
        metrics::gauge!("store_applied_index").set(part.applied as f64);
        metrics::gauge!("store_watches").set(doors.watches() as f64);
        for ((owner, name), space) in &*lock(&self.spaces) {
            let labels = [("principal", owner.clone()), ("space", name.clone())];
            metrics::gauge!("store_revision", &labels).set(space.revision as f64);
            metrics::gauge!("store_compacted_revision", &labels).set(space.compacted as f64);
            metrics::gauge!("store_keys", &labels).set(space.keys as f64);
            metrics::gauge!("store_live_bytes", &labels).set(space.live_bytes as f64);
            metrics::gauge!("store_history_bytes", &labels).set(space.history_bytes as f64);
            metrics::gauge!("store_leases", &labels).set(space.leases as f64);
        }
    }
}
