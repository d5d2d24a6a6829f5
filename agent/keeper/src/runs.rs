//! The table of runs: waiting, alive, and ended but not forgotten.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use crate::output::Stream;
use crate::protocol::{Exit, Failure, Output, RunId, RunState, Spawn, Stage};
use crate::slots::SlotIndex;

/// A run the keeper answers for.
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) state: State,
    /// stdout and stderr, while somebody may write to them. They can outlive the run's first process.
    pub(crate) streams: [Option<Stream>; 2],
}

/// Where a run stands.
pub(crate) enum State {
    /// Not yet begun.
    Waiting(Box<Spawn>),
    /// Its first process exists.
    Live(Live),
    /// Over.
    Exited(Exit),
    /// Over before it began.
    Failed(Failure),
}

/// A run whose first process exists.
pub(crate) struct Live {
    pub(crate) pid: i32,
    /// Watched, and held only to stay so: readable when that process is dead. Absent on kernels without it, and for an init,
    /// which is watched in a table of its own.
    pub(crate) _pidfd: Option<OwnedFd>,
    pub(crate) slot: SlotIndex,
    /// How many runs its init had before.
    pub(crate) turn: u32,
    /// What was asked, for a run that an init has been or will be called to, until it is executed.
    pub(crate) called_to: Option<Box<Spawn>>,
    /// The files by which it joins its cgroups: whoever is brought beside it joins by the same.
    pub(crate) cgroup_procs: Vec<Vec<u8>>,
    /// A signal that ends most commands was sent to it.
    pub(crate) is_to_end: bool,
    /// Whether the first process is our init, in a pid namespace.
    pub(crate) has_init: bool,
    /// Where output goes, and whose the files are, until the pipes arrive.
    pub(crate) output: Option<(Output, Option<(u32, u32)>)>,
    /// Without an init: closed by exec.
    pub(crate) exec_pipe: Option<OwnedFd>,
    pub(crate) phase: Phase,
}

/// How far a first process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// On its way to the gate.
    Preparing,
    /// At the gate; its `Started` record is not yet written.
    Prepared,
    /// Through the gate: the command may have been executed.
    Released,
    /// The command was executed, and the agent told.
    Running,
}

/// Names a run for as long as it is in the table, and never another one. Fits into 56 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) u64);

const GENERATION_BITS: u32 = 24;

impl Key {
    fn new(index: usize, generation: u32) -> Key {
        Key((u64::from(generation) << 32) | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Default)]
struct Place {
    generation: u32,
    run: Option<Run>,
}

/// All runs, found by key, id or pid in constant time.
#[derive(Default)]
pub(crate) struct Runs {
    places: Vec<Place>,
    free: Vec<usize>,
    by_id: HashMap<RunId, Key>,
    by_pid: HashMap<i32, Key>,
}

impl Runs {
    /// Adds a run. The id must be new.
    pub(crate) fn insert(&mut self, id: RunId, state: State) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let place = &mut self.places[index];
        place.run = Some(Run { id, state, streams: [None, None] });
        let key = Key::new(index, place.generation);
        self.by_id.insert(id, key);
        key
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Run> {
        let place = self.places.get_mut(key.index())?;
        if place.generation == key.generation() { place.run.as_mut() } else { None }
    }

    pub(crate) fn live_mut(&mut self, key: Key) -> Option<&mut Live> {
        match &mut self.get_mut(key)?.state {
            State::Live(live) => Some(live),
            State::Waiting(_) | State::Exited(_) | State::Failed(_) => None,
        }
    }

    /// The request of a run that has not been begun, to begin it now. The caller gives the run its new state.
    pub(crate) fn take_waiting(&mut self, key: Key) -> Option<Box<Spawn>> {
        const BEING_BEGUN: State =
            State::Failed(Failure { stage: Stage::Clone, index: 0, errno: libc::EAGAIN });
        let run = self.get_mut(key)?;
        match std::mem::replace(&mut run.state, BEING_BEGUN) {
            State::Waiting(spawn) => Some(spawn),
            other @ (State::Live(_) | State::Exited(_) | State::Failed(_)) => {
                run.state = other;
                None
            }
        }
    }

    pub(crate) fn find(&self, id: RunId) -> Option<Key> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn find_pid(&self, pid: i32) -> Option<Key> {
        self.by_pid.get(&pid).copied()
    }

    /// Notes the first process of a run.
    pub(crate) fn bind_pid(&mut self, pid: i32, key: Key) {
        self.by_pid.insert(pid, key);
    }

    /// Forgets a first process that has been collected.
    pub(crate) fn unbind_pid(&mut self, pid: i32) {
        self.by_pid.remove(&pid);
    }

    /// Removes a run.
    pub(crate) fn remove(&mut self, key: Key) {
        let Some(run) = self.get_mut(key) else { return };
        let id = run.id;
        self.by_id.remove(&id);
        let place = &mut self.places[key.index()];
        place.run = None;
        place.generation = (place.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index());
    }

    /// Runs that have a process, or will.
    pub(crate) fn keys_unended(&self) -> Vec<Key> {
        let unended = |run: &Run| match run.state {
            State::Waiting(_) | State::Live(_) => true,
            State::Exited(_) | State::Failed(_) => false,
        };
        let places = self.places.iter().enumerate();
        places
            .filter(|(_, place)| place.run.as_ref().is_some_and(unended))
            .map(|(index, place)| Key::new(index, place.generation))
            .collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.places.iter().filter_map(|place| place.run.as_ref())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Runs whose first process exists.
    pub(crate) fn processes(&self) -> usize {
        self.by_pid.len()
    }
}

impl State {
    /// The state as the agent is told it; start times are in the slots.
    pub(crate) fn describe(&self, start_time: impl FnOnce(SlotIndex) -> u64) -> RunState {
        match self {
            State::Waiting(_) => RunState::Starting,
            State::Live(live) => match live.phase {
                Phase::Preparing | Phase::Prepared | Phase::Released => RunState::Starting,
                Phase::Running => RunState::Running { pid: live.pid, start_time: start_time(live.slot) },
            },
            State::Exited(exit) => RunState::Exited(*exit),
            State::Failed(failure) => RunState::Failed(*failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{How, Rusage};

    fn ended() -> State {
        State::Exited(Exit { how: How::Code(0), rusage: Rusage::default(), at_ms: 0 })
    }

    #[test]
    fn an_old_key_never_names_a_new_run() {
        let mut runs = Runs::default();
        let old = runs.insert(RunId([1; 16]), ended());
        runs.remove(old);
        runs.remove(old);
        let new = runs.insert(RunId([2; 16]), ended());
        assert_eq!(old.index(), new.index());
        assert!(runs.get_mut(old).is_none());
        assert_eq!(runs.get_mut(new).map(|run| run.id), Some(RunId([2; 16])));
        assert_eq!((runs.find(RunId([1; 16])), runs.find(RunId([2; 16]))), (None, Some(new)));
        assert_eq!(runs.len(), 1);
    }
}
