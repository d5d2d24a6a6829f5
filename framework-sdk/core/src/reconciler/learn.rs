//! What earlier lives of the framework left: it is asked for before anything is started.

use std::time::Duration;

use proto::scheduler::Outcome;
use proto_machine::Now;

use super::event::{Asked, Event, Output};
use super::{Due, Reconciler, Stage};
use crate::calls::Calls;
use crate::scheduler::Answered;

/// After so long it is tried again to learn what earlier lives left.
const LEARN_AGAIN: Duration = Duration::from_secs(5);
/// Marks the calls by which that is learnt.
pub(super) const LEARNING: u64 = 1;

impl Reconciler {
    /// Before anything is started, what earlier lives started has to be known: all of it, and also what the log takes in
    /// only now. So an entry of one's own is logged first, and everything that is behind it is asked for.
    pub(super) fn learn(&mut self, out: &mut Calls<Output>) {
        self.stage = Stage::Fencing;
        out.tag(LEARNING);
        out.update_framework(self.info.clone());
        out.tag(0);
    }

    pub(super) fn learnt(&mut self, now: Now, answered: &Answered, out: &mut Calls<Output>) {
        if let Outcome::Refused(refusal) = &answered.outcome {
            self.tell(Event::Refused { what: Asked::Tasks, refusal: refusal.clone() });
            self.due.set(Due::Learn, now.monotonic + LEARN_AGAIN);
            return;
        }
        if self.stage == Stage::Fencing {
            self.stage = Stage::Listing;
            out.tag(LEARNING);
            out.reconcile(Vec::new());
            out.tag(0);
        } else {
            self.begin();
            self.await_homes(now);
        }
    }

    /// All is known that there is.
    pub(super) fn begin(&mut self) {
        self.stage = Stage::Ready;
        self.demands_changed = true;
        self.touched.extend(self.groups.keys().cloned());
    }
}
