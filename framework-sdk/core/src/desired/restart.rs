//! What follows the end of a task: another start, after which pause, or nothing.

use std::time::Duration;

use proto::task::TaskState;

/// An instance that ran for so long was a good one: its earlier ends are forgotten. Ten minutes, as Kubernetes' kubelet.
pub(crate) const GOOD_RUN: Duration = Duration::from_secs(600);

/// When an instance whose task ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    Always,
    /// Unless it ended well, or somebody ended it. `retries` bounds the starts after the first, if given.
    OnFailure {
        /// How often at most.
        retries: Option<u32>,
    },
    /// Not once it may have begun.
    Never,
}

/// The pause before an instance is started again: doubled with each end in a row, up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The first pause.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}

/// How a task ended that nobody here wanted to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last state; terminal, or Unknown for a task that the master does not know.
    pub state: TaskState,
    /// Whether its command may have been started.
    pub began: bool,
    /// For how long it ran.
    pub ran: Duration,
}

/// What was counted of an instance so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ends in a row, for the pause.
    pub failures: u32,
    /// Starts that were tries again, over its whole life.
    pub retries: u32,
    /// Launches in a row that came to nothing.
    pub drops: u32,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another start after a pause.
    Again {
        /// The pause.
        pause: Duration,
        /// What is counted from now on.
        counts: Counts,
    },
    /// Nothing: the instance is over.
    Over,
}

// === impl BackOff ===

impl BackOff {
    /// From a second to a minute: a crash loop costs little, and what it waited for is found again within a minute.
    pub const DEFAULT: BackOff = BackOff { initial: Duration::from_secs(1), max: Duration::from_secs(60) };

    /// The pause after so many ends in a row; none after none.
    pub fn pause(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.initial.saturating_mul(factor).min(self.max)
            }
        }
    }
}

// === impl Restart ===

impl Restart {
    /// What follows an end.
    pub fn after(self, back_off: BackOff, counts: Counts, end: End) -> Next {
        if !may_have_begun(end) {
            // Nothing happened, so it is safe to try again, and nobody's fault: at once, then slower.
            let pause = back_off.pause(counts.drops);
            return Next::Again { pause, counts: Counts { drops: counts.drops.saturating_add(1), ..counts } };
        }
        // It could never run as given.
        if end.state == TaskState::Error {
            return Next::Over;
        }
        let ended_well = matches!(end.state, TaskState::Finished | TaskState::Killed);
        let again = match self {
            Restart::Always => true,
            Restart::OnFailure { retries } => !ended_well && retries.is_none_or(|most| counts.retries < most),
            Restart::Never => false,
        };
        if !again {
            return Next::Over;
        }
        // That a machine is gone says nothing of what ran on it.
        let lost_its_machine = matches!(end.state, TaskState::Gone | TaskState::GoneByOperator);
        let before = if end.ran >= GOOD_RUN { 0 } else { counts.failures };
        let failures = if lost_its_machine { before } else { before.saturating_add(1) };
        let pause = if lost_its_machine { Duration::ZERO } else { back_off.pause(failures) };
        let retries = counts.retries.saturating_add(1);
        Next::Again { pause, counts: Counts { failures, retries, drops: 0 } }
    }
}

/// Whether the command may have been started. Of these ends only Dropped says by itself that it was not.
fn may_have_begun(end: End) -> bool {
    match end.state {
        TaskState::Dropped => false,
        TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator | TaskState::Unknown => end.began,
        // An error is about what was asked for: trying the same again is useless whether or not it began.
        TaskState::Finished | TaskState::Failed | TaskState::Killed | TaskState::Error => true,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Unreachable => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(restart: Restart, counts: Counts, state: TaskState, ran: u64) -> Next {
        restart.after(BackOff::DEFAULT, counts, End { state, began: true, ran: Duration::from_secs(ran) })
    }

    fn pause(next: Next) -> Option<u64> {
        match next {
            Next::Again { pause, .. } => Some(pause.as_secs()),
            Next::Over => None,
        }
    }

    const ANY: Restart = Restart::OnFailure { retries: None };

    #[test]
    fn policies_differ_in_what_they_start_again() {
        let of = |state| {
            [Restart::Always, ANY, Restart::Never]
                .map(|policy| pause(after(policy, Counts::default(), state, 1)).is_some())
        };
        assert_eq!(of(TaskState::Finished), [true, false, false]);
        assert_eq!(of(TaskState::Killed), [true, false, false], "somebody wanted its end");
        assert_eq!(of(TaskState::Failed), [true, true, false]);
        assert_eq!(of(TaskState::Lost), [true, true, false]);
        assert_eq!(of(TaskState::Gone), [true, true, false]);
        assert_eq!(of(TaskState::Unknown), [true, true, false]);
        assert_eq!(of(TaskState::Error), [false; 3], "the same again is useless");
        assert_eq!(of(TaskState::Dropped), [true; 3], "it never began");
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_a_good_run_forgets_them() {
        let mut counts = Counts::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Next::Again { pause, counts: after } = after(ANY, counts, TaskState::Failed, 1) else {
                panic!()
            };
            pauses.push(pause.as_secs());
            counts = after;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(after(ANY, counts, TaskState::Failed, GOOD_RUN.as_secs())), Some(1));
        assert_eq!(pause(after(ANY, counts, TaskState::Gone, 1)), Some(0), "its machine was the fault");
    }

    #[test]
    fn retries_are_counted_over_a_whole_life() {
        let twice = Restart::OnFailure { retries: Some(2) };
        let mut counts = Counts::default();
        for _ in 0..2 {
            let Next::Again { counts: after, .. } =
                after(twice, counts, TaskState::Failed, GOOD_RUN.as_secs())
            else {
                panic!("two are left")
            };
            counts = after;
        }
        assert_eq!(after(twice, counts, TaskState::Failed, 1), Next::Over);
        let Next::Again { counts: dropped, .. } = after(twice, counts, TaskState::Dropped, 0) else {
            panic!("a launch that came to nothing is no try")
        };
        assert_eq!((dropped.retries, dropped.drops), (2, 1));
    }

    #[test]
    fn what_may_not_have_begun_is_tried_again_by_all() {
        for state in [TaskState::Lost, TaskState::Gone, TaskState::Unknown] {
            let end = End { state, began: false, ran: Duration::ZERO };
            let next = Restart::Never.after(BackOff::DEFAULT, Counts::default(), end);
            assert_eq!(pause(next), Some(0), "{state:?}");
        }
    }
}
