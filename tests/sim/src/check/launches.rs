//! P3: what was accepted runs or is reported; P9: it was accepted on offers that were open; and what a framework was
//! told never started never does.

use std::collections::BTreeMap;

use proto::agent_link::{TaskRun, Update};
use proto::id::{FrameworkId, OfferId, OperationId, RunId, TaskId};
use proto::operation::Operation;
use proto::scheduler::{Accept, Answer, Outcome};
use proto::task::{Exit, TaskState, TaskStatus};

use super::one_place::{Fact, OnePlace};
use super::{Verdict, broken, offers};

const PROMISE: &str = "P3 accepted launches";

/// One task that a framework wanted to launch.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// On these offers.
    pub offers: Vec<OfferId>,
    /// The master said that the accept is committed.
    pub committed: bool,
    /// It said so without a place in the log: nothing of it will run.
    nothing: bool,
    /// A master sent it to its agent.
    pub run: Option<RunId>,
    /// What the framework was told of it last.
    pub told: Option<TaskState>,
    /// The end it was told, and its place in the stream of updates.
    end: Option<(TaskState, u64)>,
    /// Somebody asked for its end.
    pub killed: bool,
}

impl Wish {
    /// What runs was answered with its place in the log.
    fn is_in_the_log(&self, task: &TaskId) -> Verdict {
        match self.run {
            Some(run) if self.nothing => {
                broken(PROMISE, format!("{task} is run {run}, and was answered before it was in the log"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Every wish that was ever sent.
#[derive(Debug, Default)]
pub struct Launches {
    /// Which task each run is of.
    runs: BTreeMap<RunId, (FrameworkId, TaskId)>,
    wishes: BTreeMap<(FrameworkId, TaskId), Wish>,
    operations: BTreeMap<(FrameworkId, OperationId), Vec<TaskId>>,
}

impl Launches {
    /// A framework sends an accept, perhaps not for the first time.
    pub fn asked(&mut self, framework: &FrameworkId, operation: &OperationId, accept: &Accept) {
        let mut tasks = Vec::new();
        for part in &accept.parts {
            for operation in &part.operations {
                let infos = match operation {
                    Operation::Launch(launch) => &launch.tasks,
                    Operation::LaunchGroup(launch) => &launch.tasks,
                    Operation::Reserve(_)
                    | Operation::Unreserve(_)
                    | Operation::CreateVolume(_)
                    | Operation::DestroyVolume(_) => continue,
                };
                for info in infos {
                    let wish = self.wishes.entry((framework.clone(), info.id.clone())).or_default();
                    wish.offers.clone_from(&part.offers);
                    tasks.push(info.id.clone());
                }
            }
        }
        self.operations.insert((framework.clone(), operation.clone()), tasks);
    }

    /// A framework is told what came of a call.
    pub fn answered(&mut self, framework: &FrameworkId, answer: &Answer) -> Verdict {
        let key = (framework.clone(), answer.operation.clone());
        if let (Outcome::Committed(index), Some(tasks)) = (&answer.outcome, self.operations.get(&key)) {
            for task in tasks {
                if let Some(wish) = self.wishes.get_mut(&(framework.clone(), task.clone())) {
                    wish.committed = true;
                    wish.nothing |= *index == 0;
                    wish.is_in_the_log(task)?;
                }
            }
        }
        Ok(())
    }

    /// A leader sends a run to its agent.
    pub fn sent(&mut self, given: &TaskRun, ledger: &offers::Ledger) -> Verdict {
        let key = (given.framework.clone(), given.task.id.clone());
        let Some(wish) = self.wishes.get_mut(&key) else {
            return broken(PROMISE, format!("{} was launched and nobody asked for it", given.task.id));
        };
        if wish.run.is_some_and(|run| run != given.run) {
            return broken(PROMISE, format!("{} was launched under two runs", given.task.id));
        }
        wish.run = Some(given.run);
        let first = self.runs.entry(given.run).or_insert_with(|| key.clone());
        if *first != key {
            let how = format!("run {} is {} of {} and of {}", given.run, first.1, first.0, given.task.id);
            return broken("P2 at most one start", how);
        }
        wish.is_in_the_log(&given.task.id)?;
        ledger.used(given.task.id.as_str(), &wish.offers)
    }

    /// A run was executed.
    pub fn executed(&self, given: &TaskRun) -> Verdict {
        match self.wishes.get(&(given.framework.clone(), given.task.id.clone())).and_then(|wish| wish.told) {
            Some(told) if never_started(told) => broken(
                PROMISE,
                format!("{} runs though its framework was told {}", given.task.id, told.as_str()),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// A framework is told how a task stands.
    pub fn told(&mut self, framework: &FrameworkId, status: &TaskStatus, truth: &OnePlace) -> Verdict {
        let key = (framework.clone(), status.task.clone());
        let Some(wish) = self.wishes.get_mut(&key) else { return Ok(()) };
        // What was told before the end and not taken in may come again behind it; the end itself never changes.
        if let Some((before, sequence)) = wish.end
            && status.state != before
            && (status.state.is_terminal() || (sequence > 0 && status.sequence > sequence))
        {
            let how = format!("{} was {}, then {}", status.task, before.as_str(), status.state.as_str());
            return broken("P4 one end", how);
        }
        if status.state.is_terminal() {
            wish.end = Some((status.state, status.sequence));
        }
        wish.told = Some(wish.end.map_or(status.state, |(state, _)| state));
        let fact = truth.fact(framework, &status.task);
        if never_started(status.state) && fact.is_some() {
            let how = format!("{} is said to be {} but runs", status.task, status.state.as_str());
            return broken(PROMISE, how);
        }
        told_true(status, fact.map(|(_, fact)| fact))
    }

    /// An agent says how a run stands: true ends only, also when its master knows better by now.
    pub fn said(update: &Update, truth: &OnePlace) -> Verdict {
        told_true(&update.status, update.status.run.and_then(|run| truth.of_run(run)))
    }

    /// Somebody asked for the end of a task.
    pub fn killed(&mut self, framework: &FrameworkId, task: &TaskId) {
        if let Some(wish) = self.wishes.get_mut(&(framework.clone(), task.clone())) {
            wish.killed = true;
        }
    }

    /// Whether somebody asked for the end of a task.
    pub fn is_to_end(&self, framework: &FrameworkId, task: &TaskId) -> bool {
        self.wishes.get(&(framework.clone(), task.clone())).is_some_and(|wish| wish.killed)
    }

    /// Whether a framework ever asked for a task of this name.
    pub fn is_asked_for(&self, framework: &FrameworkId, task: &TaskId) -> bool {
        self.wishes.contains_key(&(framework.clone(), task.clone()))
    }

    /// What a framework was told of a task last.
    pub fn last_told(&self, framework: &FrameworkId, task: &TaskId) -> Option<TaskState> {
        self.wishes.get(&(framework.clone(), task.clone())).and_then(|wish| wish.told)
    }

    /// All wishes.
    pub fn wishes(&self) -> impl Iterator<Item = (&(FrameworkId, TaskId), &Wish)> {
        self.wishes.iter()
    }
}

/// Whether a state says that the task never started, so that it may be tried again.
fn never_started(state: TaskState) -> bool {
    matches!(state, TaskState::Dropped | TaskState::Error | TaskState::Unknown)
}

/// A good end is told only of what ended well.
fn told_true(status: &TaskStatus, fact: Option<&Fact>) -> Verdict {
    let right = match status.state {
        TaskState::Finished => fact.is_some_and(|fact| fact.exit == Some(Exit::Code(0))),
        TaskState::Failed => fact.is_none_or(|fact| fact.exit.is_some()),
        TaskState::Gone => fact.is_none_or(|fact| fact.lost),
        TaskState::Lost => false,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Dropped
        | TaskState::Unreachable
        | TaskState::GoneByOperator
        | TaskState::Unknown => true,
    };
    if right {
        return Ok(());
    }
    broken(
        "P4 true ends",
        format!("{} is said to be {}, in truth {fact:?}", status.task, status.state.as_str()),
    )
}
