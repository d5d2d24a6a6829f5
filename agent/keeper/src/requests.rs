//! What the agent asks: each request carried out or answered with why not.

use std::io;

use crate::init::{CARRIER, carried};
use crate::keeper::Keeper;
use crate::protocol::{Cause, Event, Failure, Request, RunId, Spawn, Stage, VERSION, VERSION_MIN};
use crate::record::Record;
use crate::runs::{Key, Live, Phase, State};
use crate::sys;

/// With this many runs waiting, the agent's further requests are left in the socket until half are begun.
const WAITING_MAX: usize = 1024;

impl Keeper {
    /// Whether more requests are read at present.
    pub(crate) fn takes_requests(&self) -> bool {
        let reading = self.connection.as_ref().is_none_or(|connection| connection.watched.readable);
        self.waiting.len() < if reading { WAITING_MAX } else { WAITING_MAX / 2 }
    }

    /// Handles every whole request that has been read. What cannot be understood ends the connection.
    pub(crate) fn handle_requests(&mut self) {
        // Taken out, so that the requests can be handled while their bytes are borrowed.
        let Some(connection) = &mut self.connection else { return };
        let mut frames = std::mem::take(&mut connection.frames);
        let outcome = loop {
            match frames.next_body() {
                Ok(Some(body)) => {
                    let handled = match Request::decode(body) {
                        Ok(request) => self.handle(request),
                        Err(malformed) => Err(malformed.to_string()),
                    };
                    if handled.is_err() {
                        break handled;
                    }
                }
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed.to_string()),
            }
        };
        let Some(connection) = &mut self.connection else { return };
        connection.frames = frames;
        if let Err(text) = outcome {
            connection.tell(&Event::Broken { text });
            let _gone_anyway = connection.flush();
            self.connection = None;
        }
    }

    /// An error is a reason to close the connection.
    fn handle(&mut self, request: Request) -> Result<(), String> {
        let greeted = self.connection.as_ref().is_some_and(|connection| connection.version.is_some());
        match request {
            Request::Hello { version } => return self.welcome(version),
            _ if !greeted => return Err("the first request must be Hello".to_owned()),
            Request::Spawn(spawn) => self.spawn(spawn),
            Request::Signal { run_id, signal, whole_tree } => {
                let errno = self.signal(run_id, signal, whole_tree);
                self.tell(&Event::Signaled { run_id, errno });
            }
            Request::Visit { run_id } => {
                let event = self.visit(run_id);
                self.tell(&event);
            }
            Request::Forget { run_id } => self.forget(run_id),
            Request::List => self.list_due = true,
            Request::Shutdown { kill } => self.shutdown(kill),
        }
        Ok(())
    }

    fn welcome(&mut self, theirs: u16) -> Result<(), String> {
        let version = theirs.min(VERSION);
        if version < VERSION_MIN {
            return Err(format!(
                "protocol version {theirs} is too old; {VERSION_MIN} to {VERSION} are spoken"
            ));
        }
        let welcome = Event::Welcome {
            version,
            pid: i32::try_from(std::process::id()).unwrap_or(0),
            boot_id: self.boot_id,
            build: self.build.clone(),
        };
        if let Some(connection) = &mut self.connection {
            connection.version = Some(version);
            connection.tell(&welcome);
        }
        Ok(())
    }

    fn spawn(&mut self, spawn: Box<Spawn>) {
        if let Some(key) = self.runs.find(spawn.run_id) {
            return self.tell_again(key);
        }
        let run_id = spawn.run_id;
        let key = self.runs.insert(run_id, State::Waiting(spawn));
        if self.closing {
            return self.cancel(key);
        }
        self.waiting.push_back(key);
    }

    /// Answers for a run that is known already, as if what it came to had just happened.
    fn tell_again(&mut self, key: Key) {
        let slots = &self.slots;
        let Some(run) = self.runs.get_mut(key) else { return };
        let run_id = run.id;
        let state = run.state.describe(|index| slots.get(index).map_or(0, |slot| slot.start_time()));
        // An end that is not yet on disk will be told when it is.
        let unsaid = self.unsaid.iter().any(|event| match event {
            Event::Exited { run_id: id, .. } | Event::SpawnFailed { run_id: id, .. } => *id == run_id,
            _ => false,
        });
        match state {
            crate::protocol::RunState::Running { pid, start_time } => {
                self.tell(&Event::Spawned { run_id, pid, start_time });
            }
            crate::protocol::RunState::Exited(exit) if !unsaid => self.tell(&Event::Exited { run_id, exit }),
            crate::protocol::RunState::Failed(failure) if !unsaid => {
                self.tell(&Event::SpawnFailed { run_id, failure });
            }
            crate::protocol::RunState::Starting
            | crate::protocol::RunState::Exited(_)
            | crate::protocol::RunState::Failed(_) => {}
        }
    }

    /// Ends a run that has not been begun.
    pub(crate) fn cancel(&mut self, key: Key) {
        self.settle_failed(key, Failure { stage: Stage::Canceled, index: 0, errno: libc::ECANCELED });
    }

    /// Where a run that runs can be entered. Its init will have no other run: whoever enters may come late.
    fn visit(&mut self, run_id: RunId) -> Event {
        let key = self.runs.find(run_id);
        let live = key.and_then(|key| self.runs.live_mut(key)).filter(|live| live.phase == Phase::Running);
        let Some(live) = live else {
            return Event::Visited {
                run_id,
                errno: libc::ESRCH,
                pid: 0,
                start_time: 0,
                cgroup_procs: Vec::new(),
            };
        };
        let (pid, slot, cgroup_procs) = (live.pid, live.slot, live.cgroup_procs.clone());
        self.inits.spoil(slot);
        let start_time = self.slots.get(slot).map_or(0, |slot| slot.start_time());
        Event::Visited { run_id, errno: 0, pid, start_time, cgroup_procs }
    }

    /// Returns 0 or an error number.
    fn signal(&mut self, run_id: RunId, signal: i32, whole_tree: bool) -> i32 {
        if !(0..=64).contains(&signal) {
            return libc::EINVAL;
        }
        let Some(key) = self.runs.find(run_id) else { return libc::ESRCH };
        let Some(run) = self.runs.get_mut(key) else { return libc::ESRCH };
        match &mut run.state {
            State::Live(live) => {
                live.is_to_end |= signal == libc::SIGKILL || signal == libc::SIGTERM;
                send_signal(live, signal, whole_tree)
            }
            State::Waiting(_) => {
                if signal == libc::SIGKILL || signal == libc::SIGTERM {
                    self.cancel(key);
                }
                0
            }
            State::Exited(_) | State::Failed(_) => libc::ESRCH,
        }
    }

    fn forget(&mut self, run_id: RunId) {
        let Some(key) = self.runs.find(run_id) else { return };
        let ended = self.runs.get_mut(key).is_some_and(|run| match run.state {
            State::Exited(_) | State::Failed(_) => true,
            State::Waiting(_) | State::Live(_) => false,
        });
        if ended {
            self.log.append(&Record::Forgotten { run_id });
            self.runs.remove(key);
        } else {
            self.tell(&Event::Refused { cause: Cause::NotEnded(run_id) });
        }
    }

    fn shutdown(&mut self, kill: bool) {
        let alive = self.runs.keys_unended();
        if !kill && !alive.is_empty() {
            let count = u32::try_from(alive.len()).unwrap_or(u32::MAX);
            return self.tell(&Event::Refused { cause: Cause::RunsAlive(count) });
        }
        self.closing = true;
        for key in alive {
            match self.runs.live_mut(key) {
                Some(live) => {
                    live.is_to_end = true;
                    send_signal(live, libc::SIGKILL, true);
                }
                None => self.cancel(key),
            }
        }
        self.waiting.clear();
        for idle in self.inits.close() {
            self.slots.dismiss(idle);
        }
    }
}

/// Sends a signal to a run's processes. Until they are collected their numbers cannot belong to anybody else.
fn send_signal(live: &Live, signal: i32, whole_tree: bool) -> i32 {
    match signal {
        0 => sys::kill(live.pid, 0),
        // The kernel ends the whole namespace with its init.
        libc::SIGKILL if live.has_init => sys::kill(live.pid, libc::SIGKILL),
        _ if live.has_init => sys::queue_signal(live.pid, CARRIER, carried(signal, whole_tree, live.turn)),
        _ => match sys::kill(-live.pid, signal) {
            // So early that it has no process group of its own yet.
            libc::ESRCH => sys::kill(live.pid, signal),
            errno => errno,
        },
    }
}

/// The error number in an error of the system.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
