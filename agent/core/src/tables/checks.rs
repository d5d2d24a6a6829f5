//! What is asked of the runs that run: what is known of each check, and when something is due.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::check::CheckRole;
use proto::id::RunId;
use proto_machine::{Deadlines, Instant};

/// One check of one run.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Failures until then do not count, unless it has succeeded.
    pub grace_until: Instant,
    /// Whether it has succeeded, or failed so that it counted.
    pub decided: bool,
    /// Failures in a row that count.
    pub failures: u32,
    /// What it says: `None` while nothing is known.
    pub says: Option<bool>,
    /// What was said last about it, for people.
    pub last: String,
    /// The number of the question that waits for its answer.
    pub asked: Option<u64>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The run has run for as long as it may.
    Limit(RunId),
    /// It is to be asked, or the answer is overdue.
    Check(RunId, CheckRole),
}

/// All checks of all runs that run.
#[derive(Default)]
pub(crate) struct Table {
    watches: BTreeMap<(RunId, CheckRole), Watch>,
    due: Deadlines<Due>,
    /// The number of the last question.
    asked: u64,
}

impl Table {
    /// Whether a run is watched.
    pub fn has(&self, run: RunId) -> bool {
        self.due.get(&Due::Limit(run)).is_some()
            || CheckRole::ALL.iter().any(|role| self.watches.contains_key(&(run, *role)))
    }

    /// A run may run until then.
    pub fn limit(&mut self, run: RunId, until: Instant) {
        self.due.set(Due::Limit(run), until);
    }

    /// Begins to watch; it is asked for the first time then.
    pub fn watch(&mut self, run: RunId, role: CheckRole, watch: Watch, first: Instant) {
        self.watches.insert((run, role), watch);
        self.due.set(Due::Check(run, role), first);
    }

    /// What is known of a check.
    pub fn get_mut(&mut self, run: RunId, role: CheckRole) -> Option<&mut Watch> {
        self.watches.get_mut(&(run, role))
    }

    /// What a check says.
    pub fn says(&self, run: RunId, role: CheckRole) -> Option<bool> {
        self.watches.get(&(run, role))?.says
    }

    /// What was said last about a check.
    pub fn last(&self, run: RunId, role: CheckRole) -> &str {
        self.watches.get(&(run, role)).map_or("", |watch| &watch.last)
    }

    /// Asks: the number of the question. Without an answer until `patience` is over it is due again.
    pub fn ask(&mut self, run: RunId, role: CheckRole, now: Instant, patience: Duration) -> Option<u64> {
        let watch = self.watches.get_mut(&(run, role))?;
        self.asked += 1;
        watch.asked = Some(self.asked);
        self.due.set(Due::Check(run, role), now + patience);
        Some(self.asked)
    }

    /// It is to be asked again then.
    pub fn again(&mut self, run: RunId, role: CheckRole, at: Instant) {
        if let Some(watch) = self.watches.get_mut(&(run, role)) {
            watch.asked = None;
            self.due.set(Due::Check(run, role), at);
        }
    }

    /// Watches a run no more.
    pub fn remove(&mut self, run: RunId) {
        self.due.cancel(&Due::Limit(run));
        for role in CheckRole::ALL {
            if self.watches.remove(&(run, role)).is_some() {
                self.due.cancel(&Due::Check(run, role));
            }
        }
    }

    /// What is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        self.due.pop_due(now)
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        self.due.next()
    }
}
