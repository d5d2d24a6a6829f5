//! Rooms: inits in their pid and mount namespaces, let to one run after another.
//!
//! A room is kept only after a run that could not change it ([`leaves_no_trace`](crate::plan::leaves_no_trace)), and only
//! while the mounts it was made from are still those of the keeper's own namespace: a run finds the machine as it is when
//! the run begins.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::mail::Mail;
use crate::protocol::Spawn;
use crate::slots::{Call, SlotIndex};
use crate::sys;

/// An init and what the keeper knows of it.
pub(crate) struct Room {
    pub(crate) pid: i32,
    /// Watched, and held only to stay so.
    _pidfd: OwnedFd,
    /// How many runs it had before the present one.
    turn: u32,
    /// Held from the end of a run until the next is executed.
    mail: Option<u32>,
    /// It is not to be let again: mounts have changed since it was made, or the keeper ends.
    is_stale: bool,
}

/// All rooms, by the slot of their init.
pub(crate) struct Rooms {
    by_slot: HashMap<u32, Room>,
    /// Those without a run; the one that was left last is let first, its memory being warm.
    idle: Vec<SlotIndex>,
    mails: &'static [Mail],
    free_mails: Vec<u32>,
    /// The keeper's own mounts; `None`: not to be watched, so that no room is let again.
    mounts: Option<File>,
    scratch: Vec<u8>,
}

impl Rooms {
    /// # Errors
    /// When the system gives no shared memory.
    pub(crate) fn new() -> io::Result<Rooms> {
        let mails = Mail::all()?;
        let mounts = File::open("/proc/self/mountinfo").ok();
        Ok(Rooms {
            by_slot: HashMap::new(),
            idle: Vec::new(),
            mails,
            free_mails: (0..mails.len() as u32).collect(),
            mounts,
            scratch: Vec::new(),
        })
    }

    /// What an init needs to be let again.
    pub(crate) fn mails(&self) -> Option<&'static [Mail]> {
        self.mounts.is_some().then_some(self.mails)
    }

    /// A room was made, with a run in it.
    pub(crate) fn add(&mut self, slot: SlotIndex, pid: i32, pidfd: OwnedFd) {
        self.by_slot.insert(slot.0, Room { pid, _pidfd: pidfd, turn: 0, mail: None, is_stale: false });
    }

    /// Its init is dead.
    pub(crate) fn remove(&mut self, slot: SlotIndex) -> Option<Room> {
        self.idle.retain(|idle| *idle != slot);
        let room = self.by_slot.remove(&slot.0)?;
        self.free_mails.extend(room.mail);
        Some(room)
    }

    /// Marks all rooms if the machine's mounts are no longer those they were made from. The stale ones that are idle.
    pub(crate) fn take_stale(&mut self) -> Vec<SlotIndex> {
        if !self.mounts.as_ref().is_some_and(sys::is_urgent) {
            return Vec::new();
        }
        self.close()
    }

    /// Whether no init is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// No room is let any more; those that are idle.
    pub(crate) fn close(&mut self) -> Vec<SlotIndex> {
        self.by_slot.values_mut().for_each(|room| room.is_stale = true);
        std::mem::take(&mut self.idle)
    }

    /// Lets an idle room for this run: its slot, init, and turn.
    pub(crate) fn let_to(&mut self, spawn: &Spawn) -> Option<(SlotIndex, i32, u32)> {
        let slot = *self.idle.last()?;
        let room = self.by_slot.get_mut(&slot.0)?;
        let mail = self.mails.get(room.mail? as usize)?;
        if !mail.write(spawn, &mut self.scratch) {
            return None;
        }
        self.idle.pop();
        room.turn = room.turn.wrapping_add(1);
        Some((slot, room.pid, room.turn))
    }

    /// The call for the run a room was let to.
    pub(crate) fn call(&self, slot: SlotIndex) -> Option<Call> {
        let room = self.by_slot.get(&slot.0)?;
        Some(Call { mail: room.mail?, turn: room.turn })
    }

    /// Its run is executed: the mail may be written for another.
    pub(crate) fn executed(&mut self, slot: SlotIndex) {
        let mail = self.by_slot.get_mut(&slot.0).and_then(|room| room.mail.take());
        self.free_mails.extend(mail);
    }

    /// Its run is over. Whether it is kept for another.
    pub(crate) fn vacate(&mut self, slot: SlotIndex) -> bool {
        let Some(room) = self.by_slot.get_mut(&slot.0) else { return false };
        if room.is_stale {
            return false;
        }
        let Some(mail) = self.free_mails.pop() else { return false };
        room.mail = Some(mail);
        self.idle.push(slot);
        true
    }
}
