//! Where a command beside a run goes: what the keeper knows of the run, and what the workshop finds for it.

use std::path::PathBuf;

use agent_keeper::protocol::{Request, RunId};
use tokio::sync::oneshot;

use crate::engine::{Engine, Phase};
use crate::event::StartFailure;
use crate::launch::Launch;
use crate::workshop::{Job, Prepared};

/// Where a run is, by the keeper's word.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    /// Its cgroups: those that it joined, whatever this agent would make of a launch now.
    pub(crate) cgroup_procs: Vec<PathBuf>,
}

/// A run that a command may be run beside: where it is, and what the command needs.
pub(crate) struct Visited {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    pub(crate) launch: Box<Launch>,
    pub(crate) prepared: Prepared,
}

/// Somebody who waits for the keeper's word on a run.
pub(crate) type Visitor = oneshot::Sender<Result<Place, StartFailure>>;

/// The keeper's protocol has Visit since this version.
const VISIT_SINCE: u16 = 2;

impl Engine {
    /// Asks the keeper, and with its answer the workshop.
    pub(crate) fn visit(
        &mut self,
        launch: Box<Launch>,
        answer: oneshot::Sender<Result<Visited, StartFailure>>,
    ) {
        let run_id = launch.run_id;
        let running = matches!(self.runs.get(&run_id).map(|run| &run.phase), Some(Phase::Running));
        let old = self.link.as_ref().is_some_and(|link| link.version < VISIT_SINCE);
        let refusal = match (running, &self.link) {
            (false, _) => Some(StartFailure::NotRunning),
            (true, None) => Some(StartFailure::KeeperAway),
            (true, Some(_)) if old => Some(StartFailure::KeeperOld),
            (true, Some(_)) => None,
        };
        if let Some(refusal) = refusal {
            let _asker_gone = answer.send(Err(refusal));
            return;
        }
        let (told, place) = oneshot::channel();
        self.visitors.entry(run_id).or_default().push(told);
        self.ask(&Request::Visit { run_id });
        let jobs = self.jobs.clone();
        tokio::spawn(async move {
            let both = async {
                let place = place.await.unwrap_or(Err(StartFailure::KeeperAway))?;
                let Place { pid, start_time, cgroup_procs } = place;
                let (found, prepared) = oneshot::channel();
                let _workshop_gone = jobs.send(Job::Visit(launch, cgroup_procs, found));
                let (launch, prepared) = prepared.await.unwrap_or(Err(StartFailure::KeeperAway))?;
                Ok(Visited { pid, start_time, launch, prepared })
            };
            let _asker_gone = answer.send(both.await);
        });
    }

    /// The keeper says where a run is.
    pub(crate) fn visited(&mut self, run_id: RunId, place: Result<Place, StartFailure>) {
        // One answer for each question, in order; the first serves all who asked so far.
        for visitor in self.visitors.remove(&run_id).unwrap_or_default() {
            let _asker_gone = visitor.send(place.clone());
        }
    }
}
