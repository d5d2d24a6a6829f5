//! What is measured of a master: events are counted as they pass, how things stand is set when somebody looks.
//!
//! Every metric is on `docs/guide/metrics.md`. Only the leader counts, so that sums over all masters are right.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use master_core::Note;
use master_raft::Persist;
use metrics::{Counter, Histogram};
use proto::operator::{EventKind, OfferEnd};

use crate::read_model::{Passed, Standing};

/// The counters of the hot path, looked up once.
pub(crate) struct Meters {
    leads: bool,
    offers_made: Counter,
    offers_ended: [(OfferEnd, Counter); 4],
    accepts: Counter,
    tasks_accepted: Counter,
    sync_time: Histogram,
    commit_time: Histogram,
    /// Entries of this leader that are not committed yet: up to which index, and since when.
    on_their_way: VecDeque<(u64, Instant)>,
}

impl Default for Meters {
    fn default() -> Self {
        let ended = |how, word: &'static str| (how, metrics::counter!("offers_ended_total", "how" => word));
        Meters {
            leads: false,
            offers_made: metrics::counter!("offers_made_total"),
            offers_ended: [
                ended(OfferEnd::Accepted, "accepted"),
                ended(OfferEnd::Declined, "declined"),
                ended(OfferEnd::Rescinded, "rescinded"),
                ended(OfferEnd::Expired, "expired"),
            ],
            accepts: metrics::counter!("accepts_committed_total"),
            tasks_accepted: metrics::counter!("tasks_accepted_total"),
            sync_time: metrics::histogram!("log_sync_seconds"),
            commit_time: metrics::histogram!("entries_commit_seconds"),
            on_their_way: VecDeque::new(),
        }
    }
}

// === impl Meters ===

impl Meters {
    /// The part this master plays.
    pub fn part(&mut self, term: u64, leads: bool) {
        metrics::gauge!("master_leads").set(if leads { 1.0 } else { 0.0 });
        metrics::gauge!("master_term").set(term as f64);
        if !(leads && self.leads) {
            self.on_their_way.clear();
        }
        self.leads = leads;
    }

    /// A batch is about to be stored. What is timed is what the registry will hear of: consensus has entries of its own.
    pub fn storing<'a>(&mut self, persists: impl Iterator<Item = &'a Persist>) {
        if !self.leads {
            return;
        }
        let last =
            persists.flat_map(|persist| &persist.entries).filter(|entry| !entry.data.is_empty()).last();
        self.on_their_way.extend(last.map(|entry| (entry.index, Instant::now())));
    }

    /// A batch is stored.
    pub fn stored(&self, since: Instant) {
        self.sync_time.record(since.elapsed().as_secs_f64());
    }

    /// Everything up to this index is committed and applied.
    pub fn applied(&mut self, index: u64) {
        while let Some((_, since)) = self.on_their_way.front().filter(|(last, _)| *last <= index) {
            self.commit_time.record(since.elapsed().as_secs_f64());
            self.on_their_way.pop_front();
        }
    }

    /// A change was folded into the read model.
    pub fn passed(&self, passed: &Passed) {
        if !self.leads {
            return;
        }
        match &passed.event.kind {
            EventKind::OfferMade(_) => self.offers_made.increment(1),
            EventKind::OfferEnded(ended) => {
                let counter = self.offers_ended.iter().find(|(how, _)| *how == ended.how);
                if let Some((_, counter)) = counter {
                    counter.increment(1);
                }
            }
            EventKind::TaskChanged(task) if passed.ended => {
                metrics::counter!("tasks_ended_total", "state" => task.status.state.as_str()).increment(1);
            }
            EventKind::TaskChanged(_)
            | EventKind::Snapshot(_)
            | EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::RoleChanged(_) => {}
        }
    }

    /// Something that an operator would act on.
    pub fn note(&self, note: &Note) {
        match note {
            Note::Accepted { tasks, .. } => {
                self.accepts.increment(1);
                self.tasks_accepted.increment(*tasks);
            }
            Note::Refused { code, .. } => {
                metrics::counter!("calls_refused_total", "code" => code.as_str()).increment(1);
            }
            Note::Books { .. } => metrics::counter!("allocator_refusals_total").increment(1),
            Note::Agent { .. } | Note::Framework { .. } | Note::Peer { .. } | Note::Unreadable { .. } => {}
        }
    }
}

/// Sets whether others than its owner can read the authority's key, if this master holds one.
pub(crate) fn show_authority(dir: Option<&Path>) {
    let key = dir.map(proto_pki::Authority::key_path);
    if let Some(metadata) = key.and_then(|key| std::fs::metadata(key).ok()) {
        let exposed = metadata.permissions().mode() & 0o077 != 0;
        metrics::gauge!("authority_key_exposed").set(if exposed { 1.0 } else { 0.0 });
    }
}

/// Sets what somebody who looks wants to see: how things stand.
pub(crate) fn show(standing: &Standing) {
    for (state, count) in &standing.tasks {
        metrics::gauge!("tasks_alive", "state" => state.as_str()).set(*count as f64);
    }
    for (state, count) in &standing.agents {
        metrics::gauge!("agents_known", "state" => state.as_str()).set(*count as f64);
    }
    metrics::gauge!("frameworks_known", "state" => "connected").set(standing.frameworks_connected as f64);
    metrics::gauge!("frameworks_known", "state" => "disconnected")
        .set(standing.frameworks_disconnected as f64);
    metrics::gauge!("offers_open").set(standing.offers as f64);
    metrics::gauge!("registry_applied_index").set(standing.applied as f64);
}
