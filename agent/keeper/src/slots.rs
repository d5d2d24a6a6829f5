//! Memory shared with the first process of each run: the gate it waits at, what it reports back without a system call, and
//! how an init whose run is over is called for the next one.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::{Failure, Rusage, Stage};
use crate::sys;

/// One first process's shared cache lines. Written by it (or its child), read by the keeper; gate and call both ways.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Slot {
    gate: AtomicU32,
    failed_stage: AtomicU32,
    failed_index: AtomicU32,
    failed_errno: AtomicI32,
    executed: AtomicU32,
    ended: AtomicU32,
    status: AtomicI32,
    start_time: AtomicU64,
    user_us: AtomicU64,
    system_us: AtomicU64,
    max_rss_bytes: AtomicU64,
    call: AtomicU32,
    turn: AtomicU32,
    mail: AtomicU32,
}

// SAFETY: atomics of plain integers; all zero is the cleared slot.
unsafe impl sys::Zeroed for Slot {}

const GATE_CLOSED: u32 = 0;
const GATE_WAITED_AT: u32 = 1;
const GATE_OPEN: u32 = 2;

/// A keeper that is this late with its log has been stopped or is gone; its child gives up rather than start unseen.
const GATE_PATIENCE: Duration = Duration::from_secs(60);

/// Has a run, or has taken up the call to one.
const BUSY: u32 = 0;
/// Its run is over: it waits to be called.
const IDLE: u32 = 1;
/// Called to the next run.
const CALLED: u32 = 2;
/// Not wanted any more.
const DISMISSED: u32 = 3;
/// It has waited long enough.
const LEFT: u32 = 4;

/// How long an init waits to be called again: long enough for tasks that follow one another, short enough that a quiet
/// agent soon costs nothing.
const IDLE_PATIENCE: Duration = Duration::from_secs(10);

/// What a called init is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// Which of the mails has the request.
    pub(crate) mail: u32,
    /// How many runs this init had before.
    pub(crate) turn: u32,
}

// === The child's side: async-signal-safe, no allocation ===

impl Slot {
    /// Waits until the `Started` record is written. False if leave never came.
    pub(crate) fn wait_at_gate(&self) -> bool {
        loop {
            match self.gate.compare_exchange(GATE_CLOSED, GATE_WAITED_AT, Ordering::AcqRel, Ordering::Acquire)
            {
                Err(GATE_OPEN) => return true,
                Ok(_) | Err(_) => {
                    if !sys::futex_wait(&self.gate, GATE_WAITED_AT, GATE_PATIENCE) {
                        return self.gate.load(Ordering::Acquire) == GATE_OPEN;
                    }
                }
            }
        }
    }

    pub(crate) fn set_failure(&self, stage: Stage, index: u32, errno: i32) {
        self.failed_index.store(index, Ordering::Relaxed);
        self.failed_errno.store(errno, Ordering::Relaxed);
        self.failed_stage.store(u32::from(stage.number()), Ordering::Release);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed_stage.load(Ordering::Acquire) != 0
    }

    pub(crate) fn set_start_time(&self, ticks: u64) {
        self.start_time.store(ticks, Ordering::Relaxed);
    }

    pub(crate) fn set_executed(&self) {
        self.executed.store(1, Ordering::Release);
    }

    /// Keeps the wait status of the command, exactly as the kernel gave it to the init, and what the run used.
    pub(crate) fn set_end(&self, status: i32, usage: Rusage) {
        self.status.store(status, Ordering::Relaxed);
        self.user_us.store(usage.user_us, Ordering::Relaxed);
        self.system_us.store(usage.system_us, Ordering::Relaxed);
        self.max_rss_bytes.store(usage.max_rss_bytes, Ordering::Relaxed);
        self.ended.store(1, Ordering::Release);
    }

    /// From here on the keeper may call.
    pub(crate) fn become_idle(&self) {
        self.call.store(IDLE, Ordering::Release);
    }

    /// Waits to be called to another run. `None`: leave.
    pub(crate) fn await_call(&self) -> Option<Call> {
        loop {
            match self.call.load(Ordering::Acquire) {
                IDLE => {
                    if !sys::futex_wait(&self.call, IDLE, IDLE_PATIENCE) {
                        // A call that has just been made is followed, not lost.
                        let _called =
                            self.call.compare_exchange(IDLE, LEFT, Ordering::AcqRel, Ordering::Acquire);
                    }
                }
                CALLED => {
                    let mail = self.mail.load(Ordering::Relaxed);
                    let call = Call { mail, turn: self.turn.load(Ordering::Relaxed) };
                    self.call.store(BUSY, Ordering::Release);
                    return Some(call);
                }
                _ => return None,
            }
        }
    }
}

// === The keeper's side ===

impl Slot {
    pub(crate) fn open_gate(&self) {
        if self.gate.swap(GATE_OPEN, Ordering::AcqRel) == GATE_WAITED_AT {
            sys::futex_wake(&self.gate);
        }
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        let number = u8::try_from(self.failed_stage.load(Ordering::Acquire)).ok()?;
        Some(Failure {
            stage: Stage::from_number(number)?,
            index: self.failed_index.load(Ordering::Relaxed),
            errno: self.failed_errno.load(Ordering::Relaxed),
        })
    }

    pub(crate) fn executed(&self) -> bool {
        self.executed.load(Ordering::Acquire) != 0
    }

    pub(crate) fn start_time(&self) -> u64 {
        self.start_time.load(Ordering::Relaxed)
    }

    /// The command's wait status, if its init lived to see it.
    pub(crate) fn status(&self) -> Option<i32> {
        (self.ended.load(Ordering::Acquire) != 0).then(|| self.status.load(Ordering::Relaxed))
    }

    /// What the run used, if its init lived to see its end.
    pub(crate) fn usage(&self) -> Rusage {
        Rusage {
            user_us: self.user_us.load(Ordering::Relaxed),
            system_us: self.system_us.load(Ordering::Relaxed),
            max_rss_bytes: self.max_rss_bytes.load(Ordering::Relaxed),
        }
    }

    /// Forgets the last run of an idle init; the time it started remains.
    pub(crate) fn clear_for_next(&self) {
        self.failed_stage.store(0, Ordering::Relaxed);
        self.executed.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
    }

    /// Calls an idle init to a run. False if it has just left.
    pub(crate) fn call(&self, call: Call) -> bool {
        self.mail.store(call.mail, Ordering::Relaxed);
        self.turn.store(call.turn, Ordering::Relaxed);
        let called = self.call.compare_exchange(IDLE, CALLED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if called {
            sys::futex_wake(&self.call);
        }
        called
    }

    /// Whether an init has taken up the call, if there was one. One that died before has not seen the run.
    pub(crate) fn has_taken_call(&self) -> bool {
        self.call.load(Ordering::Acquire) == BUSY
    }

    /// Lets an idle init go.
    pub(crate) fn dismiss(&self) {
        if self.call.compare_exchange(IDLE, DISMISSED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            sys::futex_wake(&self.call);
        }
    }

    fn clear(&self) {
        self.clear_for_next();
        self.gate.store(GATE_CLOSED, Ordering::Relaxed);
        self.start_time.store(0, Ordering::Relaxed);
        self.call.store(BUSY, Ordering::Relaxed);
    }
}

/// Which slot; also how a child names its run in messages to the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotIndex(pub(crate) u32);

const SLOTS_PER_CHUNK: u32 = 1024;

/// The owner of a slot whose init is between runs. No key of a run has so many bits.
const NO_RUN: u64 = u64::MAX;

/// All slots, each with the run it belongs to. Chunks are never unmapped: children hold them too.
#[derive(Default)]
pub(crate) struct Slots {
    chunks: Vec<&'static [Slot]>,
    owners: Vec<Option<u64>>,
    free: Vec<u32>,
}

impl Slots {
    /// A cleared slot for the run with this key.
    ///
    /// # Errors
    /// When the system gives no more shared memory.
    pub(crate) fn allocate(&mut self, owner: u64) -> io::Result<(SlotIndex, &'static Slot)> {
        if self.free.is_empty() {
            let chunk: &'static [Slot] = sys::shared_slice(SLOTS_PER_CHUNK as usize)?;
            let first = self.chunks.len() as u32 * SLOTS_PER_CHUNK;
            self.chunks.push(chunk);
            self.owners.resize(self.owners.len() + SLOTS_PER_CHUNK as usize, None);
            self.free.extend((first..first + SLOTS_PER_CHUNK).rev());
        }
        let no_slot = || io::Error::from_raw_os_error(libc::ENOMEM);
        let index = SlotIndex(self.free.pop().ok_or_else(no_slot)?);
        let slot = self.get(index).ok_or_else(no_slot)?;
        slot.clear();
        if let Some(place) = self.owners.get_mut(index.0 as usize) {
            *place = Some(owner);
        }
        Ok((index, slot))
    }

    pub(crate) fn get(&self, index: SlotIndex) -> Option<&'static Slot> {
        let chunk = self.chunks.get((index.0 / SLOTS_PER_CHUNK) as usize)?;
        chunk.get((index.0 % SLOTS_PER_CHUNK) as usize)
    }

    /// Makes a slot another run's, or with `None` that of an init without one.
    pub(crate) fn set_owner(&mut self, index: SlotIndex, owner: Option<u64>) {
        if let Some(place) = self.owners.get_mut(index.0 as usize)
            && place.is_some()
        {
            *place = Some(owner.unwrap_or(NO_RUN));
        }
    }

    /// The run that has this slot now.
    pub(crate) fn owner(&self, index: SlotIndex) -> Option<u64> {
        self.owners.get(index.0 as usize).copied().flatten().filter(|owner| *owner != NO_RUN)
    }

    /// Lets the idle init of a slot go.
    pub(crate) fn dismiss(&self, index: SlotIndex) {
        if let Some(slot) = self.get(index) {
            slot.dismiss();
        }
    }

    /// Gives a slot back. Only once its processes are gone and their messages read.
    pub(crate) fn release(&mut self, index: SlotIndex) {
        if let Some(place) = self.owners.get_mut(index.0 as usize)
            && place.take().is_some()
        {
            self.free.push(index.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_cleared_when_it_is_used_again() {
        let mut slots = Slots::default();
        let (index, slot) = slots.allocate(7).expect("shared memory");
        slot.set_failure(Stage::Exec, 3, 2);
        slot.set_end(9, Rusage::default());
        slot.open_gate();
        assert_eq!(slot.failure(), Some(Failure { stage: Stage::Exec, index: 3, errno: 2 }));
        assert_eq!(slots.owner(index), Some(7));
        slots.release(index);
        slots.release(index);
        assert_eq!(slots.owner(index), None);
        let (again, slot) = slots.allocate(8).expect("shared memory");
        assert_eq!(again, index);
        assert_eq!((slot.failure(), slot.status(), slot.executed()), (None, None, false));
    }

    #[test]
    fn more_slots_than_a_chunk_are_distinct() {
        let mut slots = Slots::default();
        let count = SLOTS_PER_CHUNK * 2 + 1;
        let mut seen: Vec<u32> =
            (0..count).map(|n| slots.allocate(u64::from(n)).expect("shared memory").0.0).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count as usize);
    }

    #[test]
    fn an_idle_init_follows_one_call_and_goes_when_dismissed() {
        let slot = Slot::default();
        let call = Call { mail: 3, turn: 2 };
        assert!(!slot.call(call), "busy");
        slot.become_idle();
        assert!(slot.call(call));
        assert!(!slot.call(call), "called already");
        assert!(!slot.has_taken_call());
        slot.dismiss();
        assert_eq!(slot.await_call(), Some(call), "a call is not taken back");
        assert!(slot.has_taken_call());
        slot.become_idle();
        slot.dismiss();
        assert_eq!(slot.await_call(), None);
        assert!(!slot.call(call), "gone");
    }

    #[test]
    fn a_slot_without_a_run_is_nobodys_until_it_is_given_back() {
        let mut slots = Slots::default();
        let (index, _) = slots.allocate(7).expect("shared memory");
        slots.set_owner(index, None);
        assert_eq!(slots.owner(index), None);
        let (other, _) = slots.allocate(8).expect("shared memory");
        assert_ne!(other, index);
        slots.set_owner(index, Some(9));
        assert_eq!(slots.owner(index), Some(9));
        slots.release(index);
        slots.set_owner(index, Some(9));
        assert_eq!(slots.owner(index), None, "given back");
    }

    #[test]
    fn an_open_gate_holds_nobody() {
        let slot = Slot::default();
        slot.open_gate();
        assert!(slot.wait_at_gate());
    }
}
