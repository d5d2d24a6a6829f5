//! Memory shared with the first process of each run: the gate it waits at, and what it reports back without a system call.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::{Failure, Stage};
use crate::sys;

/// One run's shared cache line. Written by its first process (or that one's child), read by the keeper; the gate both ways.
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
}

// SAFETY: atomics of plain integers; all zero is the cleared slot.
unsafe impl sys::Zeroed for Slot {}

const GATE_CLOSED: u32 = 0;
const GATE_WAITED_AT: u32 = 1;
const GATE_OPEN: u32 = 2;

/// A keeper that is this late with its log has been stopped or is gone; its child gives up rather than start unseen.
const GATE_PATIENCE: Duration = Duration::from_secs(60);

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

    /// Keeps the wait status of the command, exactly as the kernel gave it to the init.
    pub(crate) fn set_status(&self, status: i32) {
        self.status.store(status, Ordering::Relaxed);
        self.ended.store(1, Ordering::Release);
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

    fn clear(&self) {
        self.gate.store(GATE_CLOSED, Ordering::Relaxed);
        self.failed_stage.store(0, Ordering::Relaxed);
        self.executed.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        self.start_time.store(0, Ordering::Relaxed);
    }
}

/// Which slot; also how a child names its run in messages to the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotIndex(pub(crate) u32);

const SLOTS_PER_CHUNK: u32 = 1024;

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

    /// The run that has this slot now.
    pub(crate) fn owner(&self, index: SlotIndex) -> Option<u64> {
        self.owners.get(index.0 as usize).copied().flatten()
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
        slot.set_status(9);
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
    fn an_open_gate_holds_nobody() {
        let slot = Slot::default();
        slot.open_gate();
        assert!(slot.wait_at_gate());
    }
}
