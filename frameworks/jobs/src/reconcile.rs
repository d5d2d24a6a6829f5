//! What is wanted of a job against how it stands: what follows the end of an attempt, what a new spec means, what to
//! replace next. Pure functions, without the time.

use std::time::Duration;

use crate::spec::{JobSpec, Kind};
use crate::store::Job;
use crate::wire;
use framework_sdk::task::TaskState;

/// An instance that ran for so long was a good one: its earlier ends are forgotten. Ten minutes, as Kubernetes' kubelet.
pub const GOOD_RUN: Duration = Duration::from_secs(600);
/// A service's instance whose agent is out of sight for so long is replaced; if it comes back it is ended. Five minutes,
/// as Kubernetes (`tolerationSeconds`) and Marathon (`inactiveAfterSeconds`). A batch's instance is waited for, since
/// nobody knows whether it runs.
pub const UNREACHABLE_LIMIT: Duration = Duration::from_secs(300);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last state; terminal, or Unknown for a task that the master does not know.
    pub state: TaskState,
    /// Whether the command may have been started.
    pub began: bool,
    /// For how long it ran.
    pub ran: Duration,
}

/// What was counted of an instance so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ends in a row.
    pub failures: u32,
    /// Attempts in a row that were never started.
    pub drops: u32,
}

/// What follows the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt after a pause.
    Again {
        /// The pause.
        pause: Duration,
        /// What is counted from now on.
        counts: Counts,
    },
    /// Nothing: the instance is over.
    Over,
}

/// What follows the end of an attempt of a job that nobody stopped.
pub fn after(spec: &JobSpec, counts: Counts, end: End) -> Next {
    if !may_have_begun(end) {
        // Nothing happened, so it is safe to try again, and nobody's fault: at once, then slower.
        let pause = spec.restart.pause(counts.drops);
        return Next::Again { pause, counts: Counts { drops: counts.drops.saturating_add(1), ..counts } };
    }
    if end.state == TaskState::Error {
        return Next::Over;
    }
    let before = if end.ran >= GOOD_RUN { 0 } else { counts.failures };
    let failures = before.saturating_add(1);
    let again = Next::Again { pause: spec.restart.pause(failures), counts: Counts { failures, drops: 0 } };
    match spec.kind {
        Kind::Service => again,
        // Retries are counted over the whole life of an instance, however long an attempt ran.
        Kind::Batch | Kind::Cron => match end.state {
            TaskState::Finished | TaskState::Killed => Next::Over,
            _ if counts.failures < spec.retries => {
                let failures = counts.failures.saturating_add(1);
                Next::Again { pause: spec.restart.pause(failures), counts: Counts { failures, drops: 0 } }
            }
            _ => Next::Over,
        },
    }
}

/// Whether the command may have been started. Of these ends only Dropped says by itself that it was not.
fn may_have_begun(end: End) -> bool {
    match end.state {
        TaskState::Dropped => false,
        TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator | TaskState::Unknown => end.began,
        // An error is about what was asked for, so trying the same again is useless whether or not it began.
        TaskState::Finished | TaskState::Failed | TaskState::Killed | TaskState::Error => true,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Unreachable => true,
    }
}

/// Whether tasks of one spec can go on under another: they differ only in how many there are and how ends are followed.
pub fn same_task(a: &JobSpec, b: &JobSpec) -> bool {
    let alike = JobSpec { instances: a.instances, retries: a.retries, restart: a.restart, ..b.clone() };
    alike == *a
}

/// The next instance to replace so that a service comes to run its present revision, one at a time: none while another
/// one is on its way up or down.
pub fn to_replace(job: &Job) -> Option<u32> {
    let outdated = |state: wire::TaskState| !state.is_terminal() && state != wire::TaskState::TaskWaiting;
    let mut next = None;
    for number in 0..job.spec.instances {
        let instance = job.instances.get(&number)?;
        if instance.last {
            continue;
        }
        if instance.revision < job.revision && outdated(instance.state) {
            if instance.state == wire::TaskState::TaskKilling {
                return None;
            }
            next = next.or(Some(number));
        } else if instance.state != wire::TaskState::TaskRunning {
            return None;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Command;
    use crate::store::Instance;

    const ENDS: [TaskState; 8] = [
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
        TaskState::Error,
        TaskState::Lost,
        TaskState::Dropped,
        TaskState::Gone,
        TaskState::GoneByOperator,
    ];

    fn spec(kind: Kind) -> JobSpec {
        JobSpec::new("j", kind, Command::Shell("true".to_owned()))
    }

    fn end(state: TaskState, began: bool) -> End {
        End { state, began, ran: Duration::ZERO }
    }

    fn pause(next: Next) -> Option<Duration> {
        match next {
            Next::Again { pause, .. } => Some(pause),
            Next::Over => None,
        }
    }

    #[test]
    fn what_never_began_is_always_tried_again_and_never_counted() {
        for kind in [Kind::Service, Kind::Batch] {
            for state in [TaskState::Dropped, TaskState::Lost, TaskState::Gone, TaskState::Unknown] {
                let before = Counts { failures: 3, drops: 0 };
                match after(&spec(kind), before, end(state, false)) {
                    Next::Again { pause, counts } => {
                        assert_eq!((pause, counts.failures, counts.drops), (Duration::ZERO, 3, 1));
                    }
                    Next::Over => panic!("{kind:?} {state:?}"),
                }
            }
        }
    }

    #[test]
    fn what_may_have_begun_of_a_batch_is_tried_again_only_as_often_as_asked() {
        for state in ENDS {
            let once = after(&spec(Kind::Batch), Counts::default(), end(state, true));
            assert_eq!(once == Next::Over, state != TaskState::Dropped, "{state:?}");
        }
        let retried = JobSpec { retries: 2, ..spec(Kind::Batch) };
        let mut counts = Counts::default();
        let mut attempts = 1;
        while let Next::Again { counts: next, .. } = after(&retried, counts, end(TaskState::Failed, true)) {
            counts = next;
            attempts += 1;
            assert!(attempts < 10);
        }
        assert_eq!(attempts, 3);
        for over in [TaskState::Finished, TaskState::Killed, TaskState::Error] {
            assert_eq!(after(&retried, Counts::default(), end(over, true)), Next::Over);
        }
    }

    #[test]
    fn a_service_is_started_again_ever_slower_until_it_ran_well() {
        let service = spec(Kind::Service);
        let mut counts = Counts::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let Next::Again { pause, counts: next } = after(&service, counts, end(TaskState::Failed, true))
            else {
                panic!("over");
            };
            pauses.push(pause);
            counts = next;
        }
        assert_eq!(pauses[0], service.restart.initial);
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]));
        assert_eq!(pauses.last(), Some(&service.restart.max));
        let well = End { state: TaskState::Failed, began: true, ran: GOOD_RUN };
        assert_eq!(pause(after(&service, counts, well)), Some(service.restart.initial));
        assert_eq!(after(&service, Counts::default(), end(TaskState::Error, true)), Next::Over);
        for state in ENDS.into_iter().filter(|state| *state != TaskState::Error) {
            assert!(pause(after(&service, Counts::default(), end(state, true))).is_some(), "{state:?}");
        }
    }

    fn rolling(states: &[(u64, wire::TaskState)]) -> Job {
        let instance = |(at, (revision, state)): (usize, &(u64, wire::TaskState))| {
            let number = u32::try_from(at).expect("few");
            (number, Instance { state: *state, ..Instance::waiting(number, *revision) })
        };
        let instances = u32::try_from(states.len()).expect("few");
        Job {
            spec: JobSpec { instances, ..spec(Kind::Service) }.into(),
            revision: 2,
            requests: Vec::new(),
            created_ms: 0,
            ephemeral: false,
            stopped: false,
            purge: false,
            instances: states.iter().enumerate().map(instance).collect(),
        }
    }

    #[test]
    fn one_is_replaced_at_a_time() {
        use wire::TaskState::{TaskKilling, TaskRunning, TaskStaging, TaskWaiting};
        assert_eq!(to_replace(&rolling(&[(2, TaskRunning), (1, TaskRunning), (1, TaskRunning)])), Some(1));
        assert_eq!(to_replace(&rolling(&[(2, TaskStaging), (1, TaskRunning)])), None);
        assert_eq!(to_replace(&rolling(&[(2, TaskWaiting), (1, TaskRunning)])), None);
        assert_eq!(to_replace(&rolling(&[(1, TaskKilling), (1, TaskRunning)])), None);
        assert_eq!(to_replace(&rolling(&[(1, TaskStaging), (1, TaskRunning)])), Some(0));
        assert_eq!(to_replace(&rolling(&[(2, TaskRunning), (2, TaskRunning)])), None);
    }

    #[test]
    fn only_numbers_and_pauses_leave_tasks_as_they_are() {
        let a = spec(Kind::Service);
        assert!(same_task(&a, &JobSpec { instances: 7, retries: 3, ..a.clone() }));
        assert!(!same_task(&a, &JobSpec { cpus_milli: 7, ..a.clone() }));
        assert!(!same_task(&a, &JobSpec { command: Command::Shell("false".to_owned()), ..a.clone() }));
    }
}
