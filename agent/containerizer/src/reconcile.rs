//! What the keeper says, and how its list is squared with what this process knows.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use agent_keeper::protocol::{self, Cause, Event as Said, Exit, How, Loss, Request, RunId, RunState, Rusage};

use crate::cgroups::Cgroups;
use crate::engine::{Engine, Phase};
use crate::event::{self, Event, Recovered, RecoveredState, StartFailure};
use crate::link::Greeting;
use crate::visit::Place;

impl Engine {
    /// One event of the keeper. Repetitions are normal: what is known already changes nothing.
    pub(crate) fn keeper_said(&mut self, said: Said) {
        match said {
            Said::Spawned { run_id, pid, start_time } => self.spawned(run_id, pid, start_time),
            Said::SpawnFailed { run_id, failure } => match self.phase(run_id) {
                Some(Phase::Sent(_)) => self.start_failed(run_id, StartFailure::of(failure)),
                Some(_) => {}
                None => self.ask(&Request::Forget { run_id }),
            },
            Said::Exited { run_id, exit } => match self.phase(run_id) {
                Some(Phase::Sent(_) | Phase::Running) => self.exited(run_id, exit),
                Some(_) => {}
                None => self.ask(&Request::Forget { run_id }),
            },
            Said::Signaled { run_id, errno } => {
                // A run that has just ended cannot be signaled; its end is on the way.
                if errno != 0 && errno != rustix::io::Errno::SRCH.raw_os_error() {
                    let why = std::io::Error::from_raw_os_error(errno);
                    tracing::warn!(%run_id, error = %why, "the keeper could not send a signal");
                }
            }
            Said::Visited { run_id, errno: 0, pid, start_time, cgroup_procs } => {
                let cgroup_procs = cgroup_procs.into_iter().map(|path| OsString::from_vec(path).into());
                self.visited(run_id, Ok(Place { pid, start_time, cgroup_procs: cgroup_procs.collect() }))
            }
            Said::Visited { run_id, .. } => self.visited(run_id, Err(StartFailure::NotRunning)),
            Said::Refused { cause: Cause::RunsAlive(count) } => {
                if let Some(answer) = self.ending.take() {
                    let _asker_gone = answer.send(Err(count));
                }
            }
            Said::Refused { cause: Cause::NotEnded(run_id) } => {
                tracing::error!(%run_id, "the keeper has a run alive that was thought over");
            }
            Said::Broken { text } => tracing::warn!(text, "the keeper closes the connection"),
            Said::Welcome { .. } | Said::Listed(_) | Said::ListEnd | Said::Bye => {}
        }
    }

    fn phase(&self, run_id: RunId) -> Option<&Phase> {
        self.runs.get(&run_id).map(|run| &run.phase)
    }

    fn spawned(&mut self, run_id: RunId, pid: i32, start_time: u64) {
        if let Some(run) = self.runs.get_mut(&run_id)
            && let Phase::Sent(_) = run.phase
        {
            run.phase = Phase::Running;
            self.tell(Event::Started { run_id, pid, start_time });
        }
    }

    /// A keeper has been reached again, the same or another: apply what it knows, repeat what it does not.
    pub(crate) fn reconcile(&mut self, greeting: &Greeting) {
        tracing::info!(keeper = greeting.pid, runs = greeting.runs.len(), "connected to the keeper again");
        let listed: HashMap<RunId, RunState> =
            greeting.runs.iter().map(|run| (run.run_id, run.state)).collect();
        for (run_id, state) in &listed {
            let run_id = *run_id;
            if self.runs.contains_key(&run_id) {
                match *state {
                    RunState::Starting => {}
                    RunState::Running { pid, start_time } => self.spawned(run_id, pid, start_time),
                    RunState::Exited(exit) => self.keeper_said(Said::Exited { run_id, exit }),
                    RunState::Failed(failure) => self.keeper_said(Said::SpawnFailed { run_id, failure }),
                }
            } else {
                // Destroyed here; the keeper did not hear of it.
                self.ask(&Request::Forget { run_id });
            }
        }
        let mut repeat = Vec::new();
        let mut lost = Vec::new();
        for (run_id, run) in self.runs.iter().filter(|(run_id, _)| !listed.contains_key(run_id)) {
            match &run.phase {
                // Taken over from an earlier agent on its way, so that we have nothing to repeat.
                Phase::Sent(frame) if frame.is_empty() => lost.push(*run_id),
                // It never reached the keeper: had it been begun, the log would say so.
                Phase::Sent(frame) => repeat.push(frame.clone()),
                Phase::Running => lost.push(*run_id),
                Phase::Preparing | Phase::Fetching(_) | Phase::Ending | Phase::Over => {}
            }
        }
        repeat.iter().for_each(|frame| self.outgoing.extend_from_slice(frame));
        for run_id in lost {
            // Else only if somebody removed the keeper's log.
            let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let at_ms = at.map_or(0, |at| at.as_millis() as u64);
            let how = How::Lost(Loss::KeeperDied);
            self.exited(run_id, Exit { how, rusage: Rusage::default(), at_ms });
        }
        self.ask_to_end_again();
    }

    /// Takes over what the keeper knew when this process came, and tells the agent.
    pub(crate) fn recover(&mut self, greeting: &Greeting, cgroups: &Cgroups, meanwhile: Vec<Said>) {
        let mut states: HashMap<RunId, RunState> =
            greeting.runs.iter().map(|run| (run.run_id, run.state)).collect();
        for said in meanwhile {
            match said {
                Said::Spawned { run_id, pid, start_time } => {
                    states.insert(run_id, RunState::Running { pid, start_time });
                }
                Said::Exited { run_id, exit } => {
                    states.insert(run_id, RunState::Exited(exit));
                }
                Said::SpawnFailed { run_id, failure } => {
                    states.insert(run_id, RunState::Failed(failure));
                }
                _ => {}
            }
        }
        let mut recovered = Vec::with_capacity(states.len());
        for (run_id, state) in states {
            let (phase, state) = match state {
                // Nothing to repeat: the keeper has it.
                RunState::Starting => (Phase::Sent(Vec::new()), RecoveredState::Starting),
                RunState::Running { pid, start_time } => {
                    (Phase::Running, RecoveredState::Running { pid, start_time })
                }
                RunState::Exited(exit) => (Phase::Over, recovered_exit(run_id, &exit, cgroups)),
                RunState::Failed(failure) => {
                    (Phase::Over, RecoveredState::StartFailed(StartFailure::of(failure)))
                }
            };
            self.adopt(run_id, phase);
            recovered.push(Recovered { run_id, state });
        }
        self.tell(Event::Recovered(recovered));
    }

    /// Every run known.
    pub(crate) fn known(&self) -> HashSet<RunId> {
        self.runs.keys().copied().collect()
    }
}

fn recovered_exit(run_id: RunId, exit: &protocol::Exit, cgroups: &Cgroups) -> RecoveredState {
    RecoveredState::Exited(event::Exit::new(exit, cgroups.has_oom(run_id)))
}
