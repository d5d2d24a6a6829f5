//! How a run starts: cloned, prepared, recorded, let go, executed.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::child::{self, Birth, EXECUTED, PREPARED};
use crate::keeper::{Keeper, Source};
use crate::output::{Sink, Stream};
use crate::plan::Plan;
use crate::protocol::{Event, Failure, Spawn, Stage};
use crate::requests::errno;
use crate::runs::{Key, Live, Phase, State};
use crate::slots::SlotIndex;
use crate::sys::{self, Interest, PASSED_MAX};

/// Runs between clone and exec at a time. More would only wait for the same cores, and lengthen the way of each.
const UNDER_WAY_MAX: usize = 24;

/// Runs begun in one turn, so that ends and requests are not kept waiting.
const BEGUN_PER_TURN: usize = 8;

impl Keeper {
    /// Whether a waiting run could be begun now.
    pub(crate) fn may_begin(&self) -> bool {
        !self.waiting.is_empty() && self.under_way < UNDER_WAY_MAX
    }

    /// Begins waiting runs.
    pub(crate) fn begin_waiting(&mut self) {
        let mut begun = 0;
        while begun < BEGUN_PER_TURN && self.may_begin() {
            let Some(key) = self.waiting.pop_front() else { return };
            if let Some(spawn) = self.runs.take_waiting(key) {
                begun += 1;
                if let Err(failure) = self.begin(key, &spawn) {
                    self.settle_failed(key, failure);
                }
            }
        }
    }

    fn begin(&mut self, key: Key, spawn: &Spawn) -> Result<(), Failure> {
        let no_process = |errno| Failure { stage: Stage::Clone, index: 0, errno };
        let plan = Plan::new(spawn)?;
        let (slot_index, slot) = self.slots.allocate(key.0).map_err(|e| no_process(errno(&e)))?;
        let birth = Birth { plan: &plan, slot, slot_index, inherited: &self.inherited };
        let (pid, pidfd) = match child::create(&birth, self.pidfds) {
            Ok(created) => created,
            Err(errno) => {
                self.slots.release(slot_index);
                return Err(no_process(errno));
            }
        };
        // SAFETY: the kernel made this descriptor for us with the process.
        let pidfd = pidfd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let has_init = spawn.pid_namespace;
        let owner = spawn.user.as_ref().map(|user| (user.uid, user.gid));
        let output = spawn.output.clone().map(|output| (output, owner));
        let watched = pidfd.as_ref().map(|fd| self.epoll.add(fd, Source::Process.token(key), Interest::READ));
        if let Some(Err(e)) = watched {
            // Its end would never be noticed. It has not been through the gate and dies unseen.
            sys::kill(pid, libc::SIGKILL);
            sys::await_death(pid);
            self.slots.release(slot_index);
            return Err(no_process(errno(&e)));
        }
        self.runs.bind_pid(pid, key);
        self.under_way += 1;
        if let Some(run) = self.runs.get_mut(key) {
            run.state = State::Live(Live {
                pid,
                _pidfd: pidfd,
                slot: slot_index,
                has_init,
                output,
                exec_pipe: None,
                phase: Phase::Preparing,
            });
        }
        Ok(())
    }

    /// Takes what children have sent: their pipes, or word that their command was executed.
    pub(crate) fn receive_handoffs(&mut self) {
        while let Some(([what, slot], passed)) = sys::receive(&self.handoff) {
            let Some(key) = self.slots.owner(SlotIndex(slot)).map(Key) else { continue };
            match what {
                PREPARED => self.prepared(key, passed),
                EXECUTED => self.executed(key),
                _ => {}
            }
        }
    }

    fn prepared(&mut self, key: Key, passed: [Option<OwnedFd>; PASSED_MAX]) {
        let Some(run) = self.runs.get_mut(key) else { return };
        let State::Live(live) = &mut run.state else { return };
        if live.phase != Phase::Preparing {
            return;
        }
        live.phase = Phase::Prepared;
        let mut passed = passed.into_iter().flatten();
        if let Some((output, owner)) = live.output.take() {
            let names = [("stdout", Source::Stdout), ("stderr", Source::Stderr)];
            for ((name, source), place) in names.into_iter().zip(&mut run.streams) {
                let Some(pipe) = passed.next() else { break };
                let stream = Stream::new(pipe, Sink::new(&output, name, owner));
                if self.epoll.add(&stream, source.token(key), Interest::READ).is_ok() {
                    *place = Some(stream);
                }
            }
        }
        if !live.has_init
            && let Some(pipe) = passed.next()
            && self.epoll.add(&pipe, Source::ExecPipe.token(key), Interest::READ).is_ok()
        {
            live.exec_pipe = Some(pipe);
        }
        self.prepared.push(key);
    }

    /// The `Started` records are written: the commands may be executed.
    pub(crate) fn release_prepared(&mut self) {
        for n in 0..self.prepared.len() {
            let Some(live) = self.prepared.get(n).copied().and_then(|key| self.runs.live_mut(key)) else {
                continue;
            };
            if live.phase == Phase::Prepared {
                live.phase = Phase::Released;
                if let Some(slot) = self.slots.get(live.slot) {
                    slot.open_gate();
                }
            }
        }
        self.prepared.clear();
    }

    /// The log cannot be written: nothing may start.
    pub(crate) fn refuse_prepared(&mut self, errno: i32) {
        for key in std::mem::take(&mut self.prepared) {
            if let Some(live) = self.runs.live_mut(key)
                && let Some(slot) = self.slots.get(live.slot)
            {
                slot.set_failure(Stage::Log, 0, errno);
                sys::kill(live.pid, libc::SIGKILL);
            }
        }
    }

    /// Without an init: the pipe that exec closes is closed. Death closes it too, and is noticed by itself.
    pub(crate) fn exec_pipe_closed(&mut self, key: Key) {
        let Some(live) = self.runs.live_mut(key) else { return };
        live.exec_pipe = None;
        let released = live.phase == Phase::Released;
        let slot = live.slot;
        if released && self.slots.get(slot).is_some_and(|slot| !slot.has_failed()) {
            self.executed(key);
        }
    }

    /// The command was executed. Told at once: a run's start needs not be on disk, only in the log's file.
    pub(crate) fn executed(&mut self, key: Key) {
        let Some(live) = self.runs.live_mut(key) else { return };
        if live.phase == Phase::Running {
            return;
        }
        live.phase = Phase::Running;
        let (pid, slot) = (live.pid, live.slot);
        self.under_way = self.under_way.saturating_sub(1);
        let start_time = self.slots.get(slot).map_or(0, |slot| slot.start_time());
        if let Some(run_id) = self.id_of(key) {
            self.tell(&Event::Spawned { run_id, pid, start_time });
        }
    }
}
