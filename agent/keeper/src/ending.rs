//! How a run ends: its first process is collected, its output emptied, its end recorded and then told.

use crate::keeper::{Keeper, now_ms};
use crate::output::Pumped;
use crate::protocol::{Event, Exit, Failure, How};
use crate::record::Record;
use crate::runs::{Key, Phase, State};
use crate::slots::SlotIndex;
use crate::sys;

impl Keeper {
    /// Collects every process that has died.
    pub(crate) fn bury(&mut self) {
        if self.dead.is_empty() && self.dead_inits.is_empty() && !self.child_signaled {
            return;
        }
        // Whatever the dead said is in the socket already, and their slots are used again after this.
        self.receive_handoffs();
        for key in std::mem::take(&mut self.dead) {
            self.collect(key);
        }
        for slot in std::mem::take(&mut self.dead_inits) {
            self.clear_init(slot);
        }
        if std::mem::take(&mut self.child_signaled) {
            while let Some(pid) = sys::ended_child() {
                match self.runs.find_pid(pid) {
                    Some(key) => self.collect(key),
                    None => {
                        // An orphan of a run without a pid namespace.
                        let _nobodys = sys::collect(pid);
                    }
                }
            }
        }
    }

    /// An init is dead: with its run, or after it.
    fn clear_init(&mut self, slot: SlotIndex) {
        let Some(init) = self.inits.remove(slot) else { return };
        if let Some(key) = self.slots.owner(slot).map(Key) {
            let unseen = self.runs.live_mut(key).is_some_and(|live| live.called_to.is_some())
                && self.slots.get(slot).is_some_and(|slot| !slot.has_taken_call());
            if !unseen {
                return self.collect(key);
            }
            self.begin_again(key);
        }
        let _idle = sys::collect(init.pid);
        self.slots.release(slot);
    }

    /// A run is over and its init idle.
    pub(crate) fn ended(&mut self, key: Key) {
        let Some(live) = self.runs.live_mut(key) else { return };
        let (pid, slot_index) = (live.pid, live.slot);
        let Some(slot) = self.slots.get(slot_index) else { return };
        let Some(status) = slot.status() else { return };
        let rusage = slot.usage();
        // If word of it got lost; else this changes nothing.
        self.executed(key);
        self.runs.unbind_pid(pid);
        self.slots.set_owner(slot_index, None);
        if !self.inits.vacate(slot_index) {
            slot.dismiss();
        }
        self.drain(key);
        self.settle_exited(key, Exit { how: how(status), rusage, at_ms: now_ms() });
    }

    fn collect(&mut self, key: Key) {
        let Some(live) = self.runs.live_mut(key) else { return };
        let (pid, slot_index, has_init, phase) = (live.pid, live.slot, live.has_init, live.phase);
        if !has_init {
            // The rest of its process group goes with it, as a namespace would. Before it is collected, because until
            // then the group's number cannot have passed to anybody else.
            sys::kill(-pid, libc::SIGKILL);
        }
        let Some((status, rusage)) = sys::collect(pid) else { return };
        let slot = self.slots.get(slot_index);
        let failure = slot.and_then(|slot| slot.failure());
        let executed = slot.is_some_and(|slot| slot.executed());
        let (status, rusage) = match slot.and_then(|slot| Some((slot.status()?, slot.usage()))) {
            Some(end) => end,
            None => (status, rusage),
        };

        self.runs.unbind_pid(pid);
        match (failure, phase) {
            (None, Phase::Released) if executed || !has_init => self.executed(key),
            (_, Phase::Preparing | Phase::Prepared | Phase::Released) => {
                self.under_way = self.under_way.saturating_sub(1);
            }
            (_, Phase::Running) => {}
        }
        self.slots.release(slot_index);
        self.drain(key);
        match failure {
            Some(failure) => self.settle_failed(key, failure),
            None => self.settle_exited(key, Exit { how: how(status), rusage, at_ms: now_ms() }),
        }
    }

    /// Empties the run's pipes. What somebody else still holds open is read on in later turns.
    fn drain(&mut self, key: Key) {
        let Some(run) = self.runs.get_mut(key) else { return };
        for place in &mut run.streams {
            if let Some(stream) = place
                && stream.drain(&mut self.buffer) == Pumped::Closed
            {
                *place = None;
            }
        }
    }

    fn settle_exited(&mut self, key: Key, exit: Exit) {
        let Some(run) = self.runs.get_mut(key) else { return };
        run.state = State::Exited(exit);
        let run_id = run.id;
        self.log.append(&Record::Exited { run_id, exit });
        self.unsaid.push(Event::Exited { run_id, exit });
    }

    /// Ends a run whose command was not executed.
    pub(crate) fn settle_failed(&mut self, key: Key, failure: Failure) {
        let Some(run) = self.runs.get_mut(key) else { return };
        run.state = State::Failed(failure);
        run.streams = [None, None];
        let run_id = run.id;
        self.log.append(&Record::Failed { run_id, failure });
        self.unsaid.push(Event::SpawnFailed { run_id, failure });
    }
}

/// A wait status in the protocol's words.
fn how(status: i32) -> How {
    if libc::WIFSIGNALED(status) {
        How::Signal(libc::WTERMSIG(status))
    } else {
        How::Code(libc::WEXITSTATUS(status))
    }
}
