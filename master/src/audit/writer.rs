//! `Writer`: the thread that writes the audit log. It writes at once, and has the disk keep it once a second.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use proto_audit::{Verdict, WITNESSED};
use tracing::warn;

use super::journal::Journal;
use super::{Draft, Shared, Synced, lock};

/// What was written is on the disk so long after. A power cut takes no more than that; the end of a process takes nothing of it.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// A disk that refused is asked again so long after.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// So many lines are written at once.
const AT_ONCE: usize = 1024;

/// Writes the audit log.
pub(super) struct Writer {
    shared: Arc<Shared>,
    keep_bytes: u64,
    journal: Option<Journal>,
    /// Lines written that are not about others' logs.
    own: u64,
    synced_at: Instant,
    refused_at: Option<Instant>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, keep_bytes: u64) -> Writer {
        Writer { shared, keep_bytes, journal: None, own: 0, synced_at: Instant::now(), refused_at: None }
    }

    /// Until nobody can say anything any more.
    pub fn run(mut self, drafts: &Receiver<Draft>) {
        self.open();
        let mut ended = false;
        while !ended {
            let mut batch = Vec::new();
            let next = match self.is_idle() {
                true => drafts.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => drafts.recv_timeout(SYNC_AFTER),
            };
            match next {
                Ok(draft) => batch.push(draft),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            batch.extend(drafts.try_iter().take(AT_ONCE));
            batch.extend(self.due(ended));
            let lost = self.shared.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                batch.push(self.missing(lost));
            }
            self.write(batch);
            self.sync(ended);
        }
    }

    fn is_idle(&self) -> bool {
        let settled = self.journal.as_ref().is_some_and(|journal| !journal.is_unsynced());
        settled && lock(&self.shared.tallies).is_empty() && self.shared.lost.load(Ordering::Relaxed) == 0
    }

    /// What was counted and is to be written now.
    fn due(&self, all: bool) -> Vec<Draft> {
        let now = Instant::now();
        let mut due = Vec::new();
        lock(&self.shared.tallies).retain(|_, tally| {
            if tally.until > now && !all {
                return true;
            }
            tally.until = now + tally.window;
            let counted = tally.since.take();
            let more = counted.is_some();
            due.extend(counted);
            more
        });
        due.sort_by_key(|draft| draft.at_ms);
        due
    }

    /// A line for those that could not be written.
    fn missing(&self, lost: u64) -> Draft {
        let who = format!("master/{}", self.shared.master);
        let draft = Draft::done(who, String::new(), "lose-entries", "");
        let message = "so many entries could not be written in time, or the disk refused them";
        Draft { verdict: Verdict::Unknown, count: lost, ..draft.saying(message) }
    }

    fn write(&mut self, batch: Vec<Draft>) {
        if batch.is_empty() {
            return;
        }
        self.open();
        let lost: u64 = batch.iter().map(|draft| draft.count).sum();
        let own = batch.iter().filter(|draft| draft.call != WITNESSED).count() as u64;
        let Some(journal) = &mut self.journal else {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
            return;
        };
        let written =
            batch.into_iter().try_for_each(|draft| journal.append(draft)).and_then(|()| journal.flush());
        match written {
            Ok(()) => {
                self.own += own;
                let sequence = journal.head().sequence;
                self.shared.written.send_replace(sequence);
            }
            Err(error) => {
                self.shared.lost.fetch_add(lost, Ordering::Relaxed);
                self.failed(&error);
            }
        }
    }

    fn sync(&mut self, now: bool) {
        let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_unsynced()) else { return };
        if !now && self.synced_at.elapsed() < SYNC_AFTER {
            return;
        }
        self.synced_at = Instant::now();
        match journal.sync() {
            Ok(()) => {
                *lock(&self.shared.synced) = Synced { head: journal.head(), own: self.own };
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The log is read and opened anew before it is gone on with: nobody knows what of it is on the disk.
    fn failed(&mut self, error: &std::io::Error) {
        metrics::gauge!("audit_unwritable").set(1.0);
        warn!(dir = %self.shared.dir.display(), %error, "the audit log cannot be written");
        self.journal = None;
        self.refused_at = Some(Instant::now());
    }

    fn open(&mut self) {
        let waits = self.refused_at.is_some_and(|at| at.elapsed() < AGAIN_AFTER);
        if self.journal.is_some() || waits {
            return;
        }
        let dir: PathBuf = self.shared.dir.clone();
        match Journal::open(&dir, self.shared.master.0, self.keep_bytes) {
            Ok(journal) => {
                metrics::gauge!("audit_unwritable").set(0.0);
                self.refused_at = None;
                self.shared.written.send_replace(journal.head().sequence);
                *lock(&self.shared.synced) = Synced { head: journal.head(), own: self.own };
                self.journal = Some(journal);
            }
            Err(error) => self.failed(&error),
        }
    }
}
