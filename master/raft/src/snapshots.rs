//! When the log is cut: asking for a snapshot, and taking the answer.

use proto_machine::Outbox;

use crate::config::SNAPSHOT_RETRY_TICKS;
use crate::memory::Place;
use crate::{Output, Persist, Raft, Snapshot};

impl Raft {
    /// Asks when the log costs as much as the knob says, or as the last snapshot if that is more: so the bytes written
    /// for snapshots stay in proportion to the bytes of the log, however large the state is. Without an answer it asks
    /// again after as much again. It also asks when somebody needs a newer snapshot than there is.
    pub(crate) fn want_snapshot(&mut self, out: &mut Outbox<Output>) {
        let tick = self.pace.ticks();
        let (asked_for, asked_at) = self.asked;
        let patient = asked_for == self.handed && tick < asked_at + SNAPSHOT_RETRY_TICKS;
        let outdated = self.node.store().take_outdated() && !patient;
        if self.cost >= self.want_at || outdated {
            self.asked = (self.handed, tick);
            self.want_at = self.cost + self.snapshot_step();
            out.push(Output::SnapshotWanted { index: self.handed });
        }
    }

    /// The state machine's answer. Runs when the library is quiet, so that everything the hard state speaks of stands
    /// in an earlier persist.
    pub(crate) fn file_snapshot(&mut self, out: &mut Outbox<Output>) {
        let Some((index, image)) = self.taken.take() else { return };
        if index <= self.node.store().snapshot_index() || index > self.handed {
            return;
        }
        let Some(term) = self.node.store().term_at(index) else { return };
        let upto = self.members.partition_point(|(at, _)| *at <= index);
        let Some(last) = upto.checked_sub(1) else { return };
        self.members.drain(..last);
        let Some((_, conf_state)) = self.members.first().cloned() else { return };
        let place = Place { index, term };
        let retained = self.config.retained_bytes();
        let compact_to = self.node.mut_store().snapshot_taken(place, conf_state.clone(), retained);
        self.image_bytes = image.size();
        self.reset_cost(index);
        let snapshot = Some(Snapshot { index, term, conf_state, image });
        self.persist(Persist { snapshot, compact_to, ..Persist::default() }, out);
    }

    pub(crate) fn reset_cost(&mut self, snapshot_index: u64) {
        self.cost = self.node.store().cost(snapshot_index, self.handed);
        self.want_at = self.snapshot_step();
    }

    fn snapshot_step(&self) -> u64 {
        self.config.snapshot_after_bytes.max(self.image_bytes).max(1)
    }
}
