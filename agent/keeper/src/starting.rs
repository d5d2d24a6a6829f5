//! How a run starts: cloned, prepared, recorded, let go, executed.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::child::{self, Birth, ENDED, EXECUTED, PREPARED};
use crate::keeper::{Keeper, Source};
use crate::output::{Sink, Stream};
use crate::plan::{Plan, leaves_no_trace};
use crate::protocol::{Event, Failure, Output, Spawn, Stage};
use crate::requests::errno;
use crate::runs::{Key, Live, Phase, State};
use crate::slots::SlotIndex;
use crate::sys::{self, Interest, PASSED_MAX};

/// Where a run's output goes, and whose the files are to be.
fn output_of(spawn: &Spawn) -> Option<(Output, Option<(u32, u32)>)> {
    let owner = spawn.user.as_ref().map(|user| (user.uid, user.gid));
    spawn.output.clone().map(|output| (output, owner))
}

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
                if let Err(failure) = self.begin_anywhere(key, spawn) {
                    self.settle_failed(key, failure);
                }
            }
        }
    }

    fn begin_anywhere(&mut self, key: Key, spawn: Box<Spawn>) -> Result<(), Failure> {
        if leaves_no_trace(&spawn) {
            for stale in self.inits.take_stale() {
                self.slots.dismiss(stale);
            }
            if let Some((slot, pid, turn)) = self.inits.give(&spawn) {
                self.begin_in_kept(key, spawn, slot, pid, turn);
                return Ok(());
            }
        }
        self.begin(key, &spawn)
    }

    /// Begins a run with an init that is idle. It is called once the `Started` record is written.
    fn begin_in_kept(&mut self, key: Key, spawn: Box<Spawn>, slot: SlotIndex, pid: i32, turn: u32) {
        if let Some(slot) = self.slots.get(slot) {
            slot.clear_for_next();
        }
        self.slots.set_owner(slot, Some(key.0));
        self.runs.bind_pid(pid, key);
        self.under_way += 1;
        if let Some(run) = self.runs.get_mut(key) {
            run.state = State::Live(Live {
                pid,
                _pidfd: None,
                slot,
                turn,
                has_init: true,
                output: output_of(&spawn),
                cgroup_procs: spawn.cgroup_procs.clone(),
                called_to: Some(spawn),
                is_to_end: false,
                exec_pipe: None,
                phase: Phase::Prepared,
            });
            self.prepared.push(key);
        }
    }

    /// The init of a run died or left before it took up the call: the run has not been seen by anybody and begins again.
    pub(crate) fn begin_again(&mut self, key: Key) {
        let Some(run) = self.runs.get_mut(key) else { return };
        let State::Live(live) = &mut run.state else { return };
        let Some(spawn) = live.called_to.take() else { return };
        let (pid, slot, is_to_end) = (live.pid, live.slot, live.is_to_end);
        run.state = State::Waiting(spawn);
        self.runs.unbind_pid(pid);
        self.slots.set_owner(slot, None);
        self.under_way = self.under_way.saturating_sub(1);
        if is_to_end || self.closing {
            self.cancel(key);
        } else {
            self.waiting.push_front(key);
        }
    }

    fn begin(&mut self, key: Key, spawn: &Spawn) -> Result<(), Failure> {
        let no_process = |errno| Failure { stage: Stage::Clone, index: 0, errno };
        let plan = Plan::new(spawn)?;
        let (slot_index, slot) = self.slots.allocate(key.0).map_err(|e| no_process(errno(&e)))?;
        let mails = if self.pidfds { self.inits.mails() } else { None };
        let birth = Birth { plan: &plan, slot, slot_index, inherited: &self.inherited, mails };
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
        let token = if has_init {
            Source::Init.token(Key(u64::from(slot_index.0)))
        } else {
            Source::Process.token(key)
        };
        let watched = pidfd.as_ref().map(|fd| self.epoll.add(fd, token, Interest::READ));
        if let Some(Err(e)) = watched {
            // Its end would never be noticed. It has not been through the gate and dies unseen.
            sys::kill(pid, libc::SIGKILL);
            sys::await_death(pid);
            // What it has said is in the socket, and is not to be taken for the next one's.
            self.receive_handoffs();
            self.slots.release(slot_index);
            return Err(no_process(errno(&e)));
        }
        let pidfd = match pidfd {
            Some(pidfd) if has_init => {
                self.inits.add(slot_index, pid, pidfd);
                None
            }
            other => other,
        };
        self.runs.bind_pid(pid, key);
        self.under_way += 1;
        if let Some(run) = self.runs.get_mut(key) {
            run.state = State::Live(Live {
                pid,
                _pidfd: pidfd,
                slot: slot_index,
                turn: 0,
                called_to: None,
                is_to_end: false,
                has_init,
                output: output_of(spawn),
                cgroup_procs: spawn.cgroup_procs.clone(),
                exec_pipe: None,
                phase: Phase::Preparing,
            });
        }
        Ok(())
    }

    /// Takes what children have sent: their pipes, or word that their command was executed, or is over.
    pub(crate) fn receive_handoffs(&mut self) {
        while let Some(([what, slot], passed)) = sys::receive(&self.handoff) {
            let Some(key) = self.slots.owner(SlotIndex(slot)).map(Key) else { continue };
            match what {
                PREPARED => self.prepared(key, passed),
                EXECUTED => {
                    let _output = self.watch_output(key, passed.into_iter().flatten());
                    self.executed(key);
                }
                ENDED => self.ended(key),
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
        let has_init = live.has_init;
        let mut passed = self.watch_output(key, passed.into_iter().flatten());
        if !has_init
            && let Some(pipe) = passed.next()
            && self.epoll.add(&pipe, Source::ExecPipe.token(key), Interest::READ).is_ok()
            && let Some(live) = self.runs.live_mut(key)
        {
            live.exec_pipe = Some(pipe);
        }
        self.prepared.push(key);
    }

    /// Takes a run's output pipes, the first of those passed, if it has output and has not passed them before. The rest.
    fn watch_output<I: Iterator<Item = OwnedFd>>(&mut self, key: Key, mut passed: I) -> I {
        let Some(run) = self.runs.get_mut(key) else { return passed };
        let State::Live(live) = &mut run.state else { return passed };
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
        passed
    }

    /// The `Started` records are written: the commands may be executed.
    pub(crate) fn release_prepared(&mut self) {
        for n in 0..self.prepared.len() {
            let Some(key) = self.prepared.get(n).copied() else { continue };
            let Some(live) = self.runs.live_mut(key) else { continue };
            if live.phase != Phase::Prepared {
                continue;
            }
            live.phase = Phase::Released;
            let Some(slot) = self.slots.get(live.slot) else { continue };
            if live.called_to.is_none() {
                slot.open_gate();
            } else if !self.inits.call(live.slot).is_some_and(|call| slot.call(call)) {
                self.begin_again(key);
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
                // An init that has not been called dies without having seen the run, which is refused all the same.
                live.called_to = None;
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
        live.called_to = None;
        let (pid, slot) = (live.pid, live.slot);
        self.inits.executed(slot);
        self.under_way = self.under_way.saturating_sub(1);
        let start_time = self.slots.get(slot).map_or(0, |slot| slot.start_time());
        if let Some(run_id) = self.id_of(key) {
            self.tell(&Event::Spawned { run_id, pid, start_time });
        }
    }
}
