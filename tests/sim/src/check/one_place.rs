//! P2: a run starts at most once, and so does a task: in one place, in the whole of history.

use std::collections::BTreeMap;

use proto::agent_link::TaskRun;
use proto::id::{FrameworkId, RunId, TaskId};
use proto::task::Exit;

use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "P2 at most one start";

/// What really happened to a run.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Where it was executed.
    pub agent: Node,
    /// How it ended, if it ended by itself or by a signal.
    pub exit: Option<Exit>,
    /// Its machine was restarted while it ran.
    pub lost: bool,
}

/// What was executed, ever.
#[derive(Debug, Default)]
pub struct OnePlace {
    runs: BTreeMap<RunId, Fact>,
    tasks: BTreeMap<(FrameworkId, TaskId), RunId>,
}

impl OnePlace {
    /// A run was executed.
    pub fn executed(&mut self, agent: Node, given: &TaskRun) -> Verdict {
        let fact = Fact { agent, exit: None, lost: false };
        if let Some(before) = self.runs.insert(given.run, fact) {
            return broken(
                PROMISE,
                format!("run {} was executed on {} and again on {agent}", given.run, before.agent),
            );
        }
        let key = (given.framework.clone(), given.task.id.clone());
        if let Some(before) = self.tasks.insert(key, given.run) {
            let task = &given.task.id;
            return broken(
                PROMISE,
                format!("task {task} was executed as run {before} and as run {}", given.run),
            );
        }
        Ok(())
    }

    /// A run ended.
    pub fn ended(&mut self, run: RunId, exit: Exit) {
        if let Some(fact) = self.runs.get_mut(&run) {
            fact.exit = Some(exit);
        }
    }

    /// The machine under a run was restarted.
    pub fn lost(&mut self, run: RunId) {
        if let Some(fact) = self.runs.get_mut(&run) {
            fact.lost = true;
        }
    }

    /// What really happened to the run of a task; `None` when it was never executed.
    pub fn fact(&self, framework: &FrameworkId, task: &TaskId) -> Option<(RunId, &Fact)> {
        let run = *self.tasks.get(&(framework.clone(), task.clone()))?;
        self.runs.get(&run).map(|fact| (run, fact))
    }

    /// What really happened to a run; `None` when it was never executed.
    pub fn of_run(&self, run: RunId) -> Option<&Fact> {
        self.runs.get(&run)
    }

    /// How many runs were executed.
    pub fn count(&self) -> usize {
        self.runs.len()
    }
}
