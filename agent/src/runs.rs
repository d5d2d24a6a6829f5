//! Which run of a task is its newest on this agent, where its sandbox is, and whether it is over: for the door.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::agent_link::TaskRun;
use proto::id::{FrameworkId, RunId, TaskId};
use proto::ledger::RunTaken;
use tokio::sync::watch;

/// The newest run of each task that this agent has a sandbox of. Clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<Mutex<HashMap<FrameworkId, HashMap<TaskId, Newest>>>>);

#[derive(Debug)]
struct Newest {
    run: RunId,
    owner: Arc<str>,
    sandbox: Arc<Path>,
    over: watch::Sender<bool>,
    /// While it is not over: what was given, for commands beside it.
    given: Option<Arc<TaskRun>>,
}

/// A run as the door sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub run: RunId,
    /// Who registered its framework; empty if the ledger does not know any more.
    pub owner: Arc<str>,
    /// Where its `stdout` and `stderr` are.
    pub sandbox: Arc<Path>,
    /// Whether nothing more will be written. When the sender is gone the run is forgotten, and that is over too.
    pub over: watch::Receiver<bool>,
    /// What was given; `None` once it is over.
    pub given: Option<Arc<TaskRun>>,
}

// === impl Runs ===

impl Runs {
    /// Nothing.
    pub fn new() -> Runs {
        Runs::default()
    }

    /// A run was taken on for a framework that `owner` registered. Of two runs of a task the newer stays, in whatever
    /// order they come.
    pub fn begin(&self, framework: &FrameworkId, task: &TaskId, run: RunId, owner: &str, sandbox: PathBuf) {
        let mut table = self.table();
        // The usual framework is known already: its id is cloned for its first task only.
        if !table.contains_key(framework) {
            table.insert(framework.clone(), HashMap::new());
        }
        let Some(tasks) = table.get_mut(framework) else { return };
        if tasks.get(task).is_some_and(|newest| newest.run >= run) {
            return;
        }
        let (owner, sandbox, over) = (owner.into(), sandbox.into(), watch::Sender::new(false));
        let newest = Newest { run, owner, sandbox, over, given: None };
        tasks.insert(task.clone(), newest);
    }

    /// A run was taken on that this was given for.
    pub fn take(&self, taken: RunTaken, sandbox: PathBuf) {
        let RunTaken { run, framework, task, principal, volumes } = taken;
        self.begin(&framework, &task.id, run, &principal, sandbox);
        let given = Arc::new(TaskRun { run, framework, task, principal, volumes });
        let mut table = self.table();
        let newest = table.get_mut(&given.framework).and_then(|tasks| tasks.get_mut(&given.task.id));
        if let Some(newest) = newest.filter(|newest| newest.run == given.run) {
            newest.given = Some(given);
        }
    }

    /// A run is over: its keeper has written all of its output. Followers read what is there and stop.
    pub fn end(&self, framework: &FrameworkId, task: &TaskId, run: RunId) {
        let mut table = self.table();
        let newest = table.get_mut(framework).and_then(|tasks| tasks.get_mut(task));
        if let Some(newest) = newest.filter(|newest| newest.run == run) {
            newest.over.send_replace(true);
            newest.given = None;
        }
    }

    /// A run's sandbox is about to be removed.
    pub fn forget(&self, framework: &FrameworkId, task: &TaskId, run: RunId) {
        let mut table = self.table();
        let Some(tasks) = table.get_mut(framework) else { return };
        if tasks.get(task).is_some_and(|newest| newest.run == run) {
            tasks.remove(task);
        }
        if tasks.is_empty() {
            table.remove(framework);
        }
    }

    /// The newest run of a task.
    pub fn find(&self, framework: &FrameworkId, task: &TaskId) -> Option<Seen> {
        let table = self.table();
        let newest = table.get(framework)?.get(task)?;
        Some(Seen {
            run: newest.run,
            owner: newest.owner.clone(),
            sandbox: newest.sandbox.clone(),
            over: newest.over.subscribe(),
            given: newest.given.clone(),
        })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<FrameworkId, HashMap<TaskId, Newest>>> {
        // Nothing panics while it is held, and a table is whole after each statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seen ===

impl Seen {
    /// Whether nothing more will be written.
    pub fn is_over(&self) -> bool {
        *self.over.borrow() || self.over.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (FrameworkId, TaskId) {
        (FrameworkId::new("f").unwrap(), TaskId::new("t").unwrap())
    }

    #[test]
    fn the_newest_run_is_found_whatever_came_first() {
        let (f, t) = ids();
        for order in [[1, 2], [2, 1]] {
            let runs = Runs::new();
            for number in order {
                runs.begin(&f, &t, RunId::at(number, 0), "", PathBuf::from(format!("/r{number}")));
            }
            let seen = runs.find(&f, &t).unwrap();
            assert_eq!((seen.run, &*seen.sandbox), (RunId::at(2, 0), Path::new("/r2")));
            runs.end(&f, &t, RunId::at(1, 0));
            assert!(!seen.is_over(), "another run's end");
            runs.end(&f, &t, RunId::at(2, 0));
            assert!(seen.is_over());
        }
    }

    #[test]
    fn a_run_that_is_replaced_or_forgotten_is_over_for_its_followers() {
        let (f, t) = ids();
        let runs = Runs::new();
        runs.begin(&f, &t, RunId::at(1, 0), "", "/r1".into());
        let first = runs.find(&f, &t).unwrap();
        assert!(!first.is_over());
        runs.begin(&f, &t, RunId::at(2, 0), "", "/r2".into());
        assert!(first.is_over());
        let second = runs.find(&f, &t).unwrap();
        runs.forget(&f, &t, RunId::at(1, 0));
        assert!(!second.is_over());
        runs.forget(&f, &t, RunId::at(2, 0));
        assert!(second.is_over());
        assert!(runs.find(&f, &t).is_none());
        assert!(runs.table().is_empty());
    }
}
