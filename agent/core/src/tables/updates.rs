//! The statuses of each run, in order, until they are acknowledged; and when to send them again.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::id::RunId;
use proto::task::TaskStatus;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Deadlines, Instant, Pulse};

use crate::config::{STATUSES_WHEN_BUSY, STATUSES_WITHIN};

/// The statuses of one run.
#[derive(Default)]
struct Stream {
    /// By rising sequence, without gaps: all that are not acknowledged, and the latest even when it is.
    statuses: Vec<TaskStatus>,
    /// All up to this sequence are acknowledged.
    acknowledged: u64,
    /// How long to wait before the unacknowledged ones are sent once more.
    patience: Duration,
}

/// What an acknowledgement brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was known already, or speaks of nothing that was sent.
    Nothing,
    /// Something newer than before is acknowledged.
    Some,
    /// The terminal status is acknowledged: the run can be forgotten.
    Done,
}

/// The statuses of all runs not forgotten.
pub(crate) struct Table {
    streams: BTreeMap<RunId, Stream>,
    resend: Deadlines<RunId>,
    sent: Pulse,
    resend_first: Duration,
    resend_cap: Duration,
}

impl Stream {
    fn unacknowledged(&self) -> &[TaskStatus] {
        let from = self.statuses.partition_point(|status| status.sequence <= self.acknowledged);
        self.statuses.get(from..).unwrap_or_default()
    }
}

impl Table {
    /// No statuses.
    pub fn new(resend_first: Duration, resend_cap: Duration) -> Self {
        Table {
            streams: BTreeMap::new(),
            resend: Deadlines::new(),
            sent: Pulse::new(STATUSES_WHEN_BUSY, STATUSES_WITHIN),
            resend_first,
            resend_cap,
        }
    }

    /// The number that the next status of a run gets.
    pub fn next_sequence(&self, run: RunId) -> u64 {
        let step = if mutants::is(Mutant::SkipNumber) { 2 } else { 1 };
        self.latest(run).map_or(1, |status| status.sequence.saturating_add(step))
    }

    /// Appends a status. Statuses that are not behind the latest one are old news and left out.
    pub fn add(&mut self, run: RunId, status: TaskStatus) {
        let patience = self.resend_first;
        let stream = self.streams.entry(run).or_insert_with(|| Stream { patience, ..Stream::default() });
        let last = stream.statuses.last().map_or(0, |last| last.sequence);
        if status.sequence > last {
            // A ledger that was rewritten may begin a stream anywhere; what is not there was acknowledged.
            if last == 0 {
                stream.acknowledged = stream.acknowledged.max(status.sequence.saturating_sub(1));
            }
            stream.statuses.push(status);
            stream.trim();
        }
    }

    /// Whether many are sent at present.
    pub fn are_many(&self, now: Instant) -> bool {
        self.sent.is_fast(now)
    }

    /// The latest status of a run.
    pub fn latest(&self, run: RunId) -> Option<&TaskStatus> {
        self.streams.get(&run)?.statuses.last()
    }

    /// All statuses of a run that are kept, in order.
    pub fn kept(&self, run: RunId) -> &[TaskStatus] {
        self.streams.get(&run).map_or(&[], |stream| &stream.statuses)
    }

    /// Up to where a run's statuses are acknowledged; 0: none is.
    pub fn acknowledged(&self, run: RunId) -> u64 {
        self.streams.get(&run).map_or(0, |stream| stream.acknowledged)
    }

    /// The statuses of a run that are not acknowledged, in order.
    pub fn unacknowledged(&self, run: RunId) -> &[TaskStatus] {
        self.streams.get(&run).map_or(&[], |stream| stream.unacknowledged())
    }

    /// All up to `sequence` are acknowledged.
    pub fn acknowledge(&mut self, run: RunId, sequence: u64) -> Progress {
        let Some(stream) = self.streams.get_mut(&run) else { return Progress::Nothing };
        let Some(last) = stream.statuses.last() else { return Progress::Nothing };
        let (last, terminal) = (last.sequence, last.state.is_terminal());
        // Whoever acknowledges more than was ever sent has seen no more than was sent.
        let sequence = sequence.min(last);
        if sequence <= stream.acknowledged {
            return Progress::Nothing;
        }
        stream.acknowledged = sequence;
        stream.trim();
        if sequence < last {
            return Progress::Some;
        }
        self.resend.cancel(&run);
        if terminal { Progress::Done } else { Progress::Some }
    }

    /// Forgets a run; its latest status is returned.
    pub fn remove(&mut self, run: RunId) -> Option<TaskStatus> {
        self.resend.cancel(&run);
        self.streams.remove(&run)?.statuses.pop()
    }

    /// Something of this run has just been sent for the first time, or for the first time on this link.
    pub fn sent(&mut self, run: RunId, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&run) {
            stream.patience = self.resend_first;
            self.resend.set(run, now + stream.patience);
            self.sent.beat(now);
        }
    }

    /// A run whose statuses are to be sent once more; its next time is set.
    pub fn pop_due(&mut self, now: Instant) -> Option<RunId> {
        let run = self.resend.pop_due(now)?;
        if let Some(stream) = self.streams.get_mut(&run) {
            stream.patience = stream.patience.saturating_mul(2).min(self.resend_cap);
            self.resend.set(run, now + stream.patience);
        }
        Some(run)
    }

    /// When something is to be sent once more.
    pub fn due(&self) -> Option<Instant> {
        self.resend.next()
    }

    /// There is no link: nothing is sent until there is one.
    pub fn rest(&mut self) {
        self.resend = Deadlines::new();
    }

    /// The runs with something unacknowledged, by id.
    pub fn waiting(&self) -> Vec<RunId> {
        let waits = |(_, stream): &(&RunId, &Stream)| !stream.unacknowledged().is_empty();
        self.streams.iter().filter(waits).map(|(run, _)| *run).collect()
    }
}

impl Stream {
    /// Drops what is acknowledged, but for the latest.
    fn trim(&mut self) {
        let done = self.statuses.partition_point(|status| status.sequence <= self.acknowledged);
        let keep_from = done.min(self.statuses.len().saturating_sub(1));
        self.statuses.drain(..keep_from);
    }
}

#[cfg(test)]
mod tests {
    use proto::task::TaskState;

    use super::*;
    use crate::tests::fixtures;

    fn status(sequence: u64, state: TaskState) -> TaskStatus {
        TaskStatus { sequence, state, ..fixtures::status(RunId::at(1, 0)) }
    }

    #[test]
    fn an_acknowledgement_covers_all_before_it_and_never_more_than_was_sent() {
        let run = RunId::at(1, 0);
        let mut table = Table::new(Duration::from_secs(10), Duration::from_secs(600));
        assert_eq!(table.acknowledge(run, 1), Progress::Nothing);
        table.add(run, status(1, TaskState::Running));
        assert_eq!(table.acknowledge(run, 99), Progress::Some);
        assert_eq!(table.acknowledge(run, 1), Progress::Nothing);
        table.add(run, status(2, TaskState::Finished));
        assert_eq!(table.unacknowledged(run).len(), 1);
        assert_eq!(table.acknowledge(run, 1), Progress::Nothing);
        assert_eq!(table.acknowledge(run, 2), Progress::Done);
        assert!(table.waiting().is_empty());
        assert_eq!(table.remove(run).map(|status| status.sequence), Some(2));
    }

    #[test]
    fn what_is_not_acknowledged_comes_due_at_doubling_intervals_up_to_the_cap() {
        let run = RunId::at(1, 0);
        let mut table = Table::new(Duration::from_secs(10), Duration::from_secs(30));
        table.add(run, status(1, TaskState::Running));
        let mut now = Instant::from_nanos(0);
        table.sent(run, now);
        for wait in [10, 20, 30, 30] {
            let due = now + Duration::from_secs(wait);
            assert_eq!(table.due(), Some(due));
            assert_eq!(table.pop_due(Instant::from_nanos(due.as_nanos() - 1)), None);
            assert_eq!(table.pop_due(due), Some(run));
            now = due;
        }
        table.acknowledge(run, 1);
        assert_eq!(table.due(), None);
    }
}
