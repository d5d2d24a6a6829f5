//! The pretend keeper of an agent and its containers: they run, end, fail and hang, and live on when the agent dies.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::{Container, End, FailureKind, Found, FoundState, How, Loss, StartFailure};
use proto::agent_link::TaskRun;
use proto::id::RunId;
use proto::resources::Resources;
use proto::task::Exit;
use proto_machine::Dice;

/// One run, as the keeper knows it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What it is.
    pub given: Arc<TaskRun>,
    /// Where it stands.
    pub state: FoundState,
    /// It does not listen to TERM.
    pub deaf: bool,
}

/// The keeper. What it knows is on its own disk.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    slots: BTreeMap<RunId, Slot>,
    pids: u32,
}

impl Keeper {
    /// Takes a run on; false when it knows it already.
    pub fn take(&mut self, given: Arc<TaskRun>, deaf: bool) -> bool {
        let run = given.run;
        if self.slots.contains_key(&run) {
            return false;
        }
        self.slots.insert(run, Slot { given, state: FoundState::Starting, deaf });
        true
    }

    /// One run.
    pub fn get(&self, run: RunId) -> Option<&Slot> {
        self.slots.get(&run)
    }

    /// Executes a run that is starting; what the agent hears of it.
    pub fn execute(&mut self, run: RunId) -> Option<Container> {
        let slot = self.slots.get_mut(&run).filter(|slot| slot.state == FoundState::Starting)?;
        self.pids += 1;
        slot.state = FoundState::Running { pid: self.pids };
        Some(Container::Started { run, pid: self.pids })
    }

    /// A run that is starting cannot be started.
    pub fn fail(&mut self, run: RunId, kind: FailureKind) -> Option<Container> {
        let slot = self.slots.get_mut(&run).filter(|slot| slot.state == FoundState::Starting)?;
        let message = match kind {
            FailureKind::Launch => "no such program",
            FailureKind::Fetch => "no such artifact",
            FailureKind::Secret => "nobody gives the secret",
            FailureKind::Canceled => "canceled",
            FailureKind::Unauthorized => "not as root",
        };
        let failure = StartFailure { kind, message: message.to_owned() };
        slot.state = FoundState::StartFailed(failure.clone());
        Some(Container::StartFailed { run, failure })
    }

    /// A run that is running ends.
    pub fn exit(&mut self, run: RunId, exit: Exit, at_ms: u64) -> Option<Container> {
        let slot = self.slots.get_mut(&run)?;
        if !matches!(slot.state, FoundState::Running { .. }) {
            return None;
        }
        let end = End { how: How::Exit(exit), oom: false, at_ms };
        slot.state = FoundState::Exited(end);
        Some(Container::Exited { run, end })
    }

    /// Forgets a run; false when it is not over.
    pub fn forget(&mut self, run: RunId) -> bool {
        match self.slots.get(&run).map(|slot| &slot.state) {
            Some(FoundState::Starting | FoundState::Running { .. }) => false,
            Some(FoundState::Exited(_) | FoundState::StartFailed(_)) | None => {
                self.slots.remove(&run);
                true
            }
        }
    }

    /// The machine loses its power: nothing runs any more. Ends that were seen are on the disk; what else was written
    /// may be or may not.
    pub fn lose_power(&mut self, at_ms: u64, dice: &mut Dice) {
        self.slots.retain(|_, slot| match &slot.state {
            FoundState::Exited(_) => true,
            FoundState::Starting => false,
            FoundState::StartFailed(_) => dice.chance(1, 2),
            FoundState::Running { .. } => {
                slot.state = FoundState::Exited(End { how: How::Lost(Loss::Rebooted), oom: false, at_ms });
                dice.chance(1, 2)
            }
        });
    }

    /// All it knows.
    pub fn found(&self) -> Vec<Found> {
        self.slots.iter().map(|(run, slot)| Found { run: *run, state: slot.state.clone() }).collect()
    }

    /// The runs that are not over.
    pub fn alive(&self) -> impl Iterator<Item = (RunId, &Slot)> {
        self.slots
            .iter()
            .filter(|(_, slot)| matches!(slot.state, FoundState::Starting | FoundState::Running { .. }))
            .map(|(run, slot)| (*run, slot))
    }

    /// The runs that run.
    pub fn running(&self) -> impl Iterator<Item = (RunId, &Slot)> {
        self.alive().filter(|(_, slot)| matches!(slot.state, FoundState::Running { .. }))
    }

    /// What the runs that are not over take.
    pub fn used(&self) -> Resources {
        let mut used = Resources::EMPTY;
        self.alive().for_each(|(_, slot)| used.add(&slot.given.task.resources));
        used
    }
}
