//! Inits in their pid and mount namespaces, kept for one run after another.
//!
//! An init is kept only after a run that could not change its namespaces ([`leaves_no_trace`](crate::plan::leaves_no_trace)), and
//! only while the mounts it was made from are still those of the keeper's own namespace: a run finds the machine as it is
//! when the run begins.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::mail::Mail;
use crate::protocol::Spawn;
use crate::slots::{Call, SlotIndex};
use crate::sys;

/// An init and what the keeper knows of it.
pub(crate) struct Init {
    pub(crate) pid: i32,
    /// Watched, and held only to stay so.
    _pidfd: OwnedFd,
    /// How many runs it had before the present one.
    turn: u32,
    /// Held from the end of a run until the next is executed.
    mail: Option<u32>,
    /// It is not to be kept: mounts have changed since it was made, its run has visitors, or the keeper ends.
    is_stale: bool,
}

/// All inits, by their slot.
pub(crate) struct Inits {
    by_slot: HashMap<u32, Init>,
    /// Those without a run; the one that ended a run last gets the next first, its memory being warm.
    idle: Vec<SlotIndex>,
    mails: &'static [Mail],
    free_mails: Vec<u32>,
    /// The keeper's own mounts; `None`: not to be watched, so that no init is kept.
    mounts: Option<File>,
    scratch: Vec<u8>,
}

impl Inits {
    /// # Errors
    /// When the system gives no shared memory.
    pub(crate) fn new() -> io::Result<Inits> {
        let mails = Mail::all()?;
        let mounts = File::open("/proc/self/mountinfo").ok();
        Ok(Inits {
            by_slot: HashMap::new(),
            idle: Vec::new(),
            mails,
            free_mails: (0..mails.len() as u32).collect(),
            mounts,
            scratch: Vec::new(),
        })
    }

    /// What an init needs to be kept.
    pub(crate) fn mails(&self) -> Option<&'static [Mail]> {
        self.mounts.is_some().then_some(self.mails)
    }

    /// An init was made, with its first run.
    pub(crate) fn add(&mut self, slot: SlotIndex, pid: i32, pidfd: OwnedFd) {
        self.by_slot.insert(slot.0, Init { pid, _pidfd: pidfd, turn: 0, mail: None, is_stale: false });
    }

    /// Its init is dead.
    pub(crate) fn remove(&mut self, slot: SlotIndex) -> Option<Init> {
        self.idle.retain(|idle| *idle != slot);
        let init = self.by_slot.remove(&slot.0)?;
        self.free_mails.extend(init.mail);
        Some(init)
    }

    /// Marks all if the machine's mounts are no longer those they were made from. The stale ones that are idle.
    pub(crate) fn take_stale(&mut self) -> Vec<SlotIndex> {
        if !self.mounts.as_ref().is_some_and(sys::is_urgent) {
            return Vec::new();
        }
        self.close()
    }

    /// This one is not to be kept.
    pub(crate) fn spoil(&mut self, slot: SlotIndex) {
        if let Some(init) = self.by_slot.get_mut(&slot.0) {
            init.is_stale = true;
        }
    }

    /// Whether no init is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// None is kept any more; those that are idle.
    pub(crate) fn close(&mut self) -> Vec<SlotIndex> {
        self.by_slot.values_mut().for_each(|init| init.is_stale = true);
        std::mem::take(&mut self.idle)
    }

    /// Gives this run to an idle init: its slot, its pid, and the turn.
    pub(crate) fn give(&mut self, spawn: &Spawn) -> Option<(SlotIndex, i32, u32)> {
        let slot = *self.idle.last()?;
        let init = self.by_slot.get_mut(&slot.0)?;
        let mail = self.mails.get(init.mail? as usize)?;
        if !mail.write(spawn, &mut self.scratch) {
            return None;
        }
        self.idle.pop();
        init.turn = init.turn.wrapping_add(1);
        Some((slot, init.pid, init.turn))
    }

    /// The call to the run that an init was given.
    pub(crate) fn call(&self, slot: SlotIndex) -> Option<Call> {
        let init = self.by_slot.get(&slot.0)?;
        Some(Call { mail: init.mail?, turn: init.turn })
    }

    /// Its run is executed: the mail may be written for another.
    pub(crate) fn executed(&mut self, slot: SlotIndex) {
        let mail = self.by_slot.get_mut(&slot.0).and_then(|init| init.mail.take());
        self.free_mails.extend(mail);
    }

    /// Its run is over. Whether it is kept for another.
    pub(crate) fn vacate(&mut self, slot: SlotIndex) -> bool {
        let Some(init) = self.by_slot.get_mut(&slot.0) else { return false };
        if init.is_stale {
            return false;
        }
        let Some(mail) = self.free_mails.pop() else { return false };
        init.mail = Some(mail);
        self.idle.push(slot);
        true
    }
}
