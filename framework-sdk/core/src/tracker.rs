//! `Tracker`: the tasks of the framework as the driver knows them: how each stands, and what of it was acknowledged.

use std::collections::{BTreeMap, VecDeque};

use proto::id::{RunId, TaskId};
use proto::task::{TaskState, TaskStatus};

/// How many ended tasks are remembered, so that an update that comes again is known as such.
const ENDED_MAX: usize = 16_384;

/// One task.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// How it stands; `None` while nothing was said of it in this life of the framework.
    pub state: Option<TaskState>,
    /// Its run, once known.
    pub run: Option<RunId>,
    /// The highest sequence that was heard of that run: told, or waiting.
    heard: u64,
    /// The highest sequence of that run that the author took in.
    done: u64,
    /// What the author was told and has not taken in: of which run, which one, and what it says.
    open: Option<(Option<RunId>, u64, TaskState)>,
    /// What it is told after that, in order.
    waiting: VecDeque<TaskStatus>,
}

/// What to do with a status that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Tell the author.
    Fresh,
    /// Kept until the author has taken in what it was told before.
    Waits,
    /// The author took it in before: acknowledge it again, tell nobody.
    Again,
    /// Nothing new: drop it.
    Stale,
}

/// All tasks that may be alive, and the latest that ended.
#[derive(Debug, Default)]
pub struct Tracker {
    tasks: BTreeMap<TaskId, Known>,
    ended: VecDeque<TaskId>,
}

// === impl Known ===

impl Known {
    fn is_over(&self) -> bool {
        self.state.is_some_and(TaskState::is_terminal)
    }

    /// Nobody knows of such a task.
    fn is_unknown(&self) -> bool {
        self.state == Some(TaskState::Unknown)
    }
}

// === impl Tracker ===

impl Tracker {
    /// A task is believed to be alive, or about to be.
    pub fn expect(&mut self, task: TaskId) {
        let known = self.tasks.entry(task).or_default();
        if known.is_unknown() {
            known.state = None;
        }
    }

    /// One task.
    pub fn get(&self, task: &TaskId) -> Option<&Known> {
        self.tasks.get(task)
    }

    /// Every task that has not ended, as far as is known.
    pub fn alive(&self) -> impl Iterator<Item = (&TaskId, &Known)> {
        self.tasks.iter().filter(|(_, known)| !known.is_over() && !known.is_unknown())
    }

    /// About how many those are: a name that has ended and lives again is not counted.
    pub fn alive_count(&self) -> usize {
        self.tasks.len().saturating_sub(self.ended.len())
    }

    /// Takes a status in and says whether the author has to hear of it now. The author has one status of a task in its
    /// hands at a time: an acknowledgement covers all before it, so it must not take in a later one first.
    pub fn observe(&mut self, status: &TaskStatus) -> News {
        let known = self.tasks.entry(status.task.clone()).or_default();
        if let (Some(run), Some(of)) = (known.run, status.run)
            && run != of
        {
            // Runs are numbered by the log: a smaller one is an earlier life of the same name.
            if of < run {
                return if status.sequence > 0 { News::Again } else { News::Stale };
            }
            // What the author has in its hands of the earlier one it takes in first.
            let (open, waiting) = (known.open.take(), std::mem::take(&mut known.waiting));
            *known = Known { run: Some(of), open, waiting, ..Known::default() };
        }
        known.run = known.run.or(status.run);
        if status.sequence > 0 {
            // It was told, and the master has said something else since: that the run is out of sight, or on its way. If
            // nothing later was heard, this is how it stands again, and its agent says so in no other way.
            let is_latest = status.sequence == known.heard.max(known.done);
            if is_latest && advances(known.state, status.state) {
                known.heard = status.sequence;
                return self.say(status);
            }
            if status.sequence <= known.done {
                return News::Again;
            }
            if known.open.is_some_and(|(run, open, _)| (run, open) == (status.run, status.sequence)) {
                return News::Fresh;
            }
            if status.sequence <= known.heard {
                return News::Stale;
            }
            known.heard = status.sequence;
        } else if !advances(known.state, status.state) {
            return News::Stale;
        }
        self.say(status)
    }

    /// What is told the author, now or when it has taken in what it was told before.
    fn say(&mut self, status: &TaskStatus) -> News {
        let known = self.tasks.entry(status.task.clone()).or_default();
        known.state = Some(status.state);
        if known.open.is_some() {
            known.waiting.push_back(status.clone());
            return News::Waits;
        }
        self.open(status);
        News::Fresh
    }

    /// The author took the status in; the next one to tell it.
    pub fn done(&mut self, status: &TaskStatus) -> Option<TaskStatus> {
        let known = self.tasks.get_mut(&status.task)?;
        if known.run == status.run {
            known.done = known.done.max(status.sequence);
        }
        // After a loss of power an agent may say something else under the same number.
        let same = |(run, sequence, state)| {
            (run, sequence) == (status.run, status.sequence) && (sequence > 0 || state == status.state)
        };
        if !known.open.is_some_and(same) {
            return None;
        }
        known.open = None;
        if let Some(next) = known.waiting.pop_front() {
            self.open(&next);
            return Some(next);
        }
        if known.is_unknown() {
            self.tasks.remove(&status.task);
        } else if status.sequence > 0 && known.is_over() && known.done >= known.heard {
            self.end(status.task.clone());
        }
        None
    }

    /// The author is about to be told a status.
    fn open(&mut self, status: &TaskStatus) {
        let Some(known) = self.tasks.get_mut(&status.task) else { return };
        known.open = Some((status.run, status.sequence, status.state));
        if status.sequence == 0 && status.state.is_terminal() {
            self.end(status.task.clone());
        }
    }

    fn end(&mut self, task: TaskId) {
        self.ended.push_back(task);
        while self.ended.len() > ENDED_MAX {
            let Some(oldest) = self.ended.pop_front() else { break };
            if self.tasks.get(&oldest).is_some_and(Known::is_over) {
                self.tasks.remove(&oldest);
            }
        }
    }
}

/// Whether a status without a place in its run's stream (from the master, or an answer to Reconcile) says more than is
/// known. Such a status may be older than what the agent has said meanwhile, so it never leads back.
fn advances(known: Option<TaskState>, said: TaskState) -> bool {
    let Some(known) = known else { return true };
    if known.is_terminal() || known == said {
        return false;
    }
    let out_of_sight = |state| matches!(state, TaskState::Unreachable | TaskState::Unknown);
    out_of_sight(known) || out_of_sight(said) || rank(said) > rank(known)
}

fn rank(state: TaskState) -> u8 {
    match state {
        TaskState::Unknown | TaskState::Unreachable => 0,
        TaskState::Staging => 1,
        TaskState::Starting => 2,
        TaskState::Running => 3,
        TaskState::Killing => 4,
        TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Lost
        | TaskState::Dropped
        | TaskState::Gone
        | TaskState::GoneByOperator => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::task::StatusReason;

    fn status(state: TaskState, run: Option<u64>, sequence: u64) -> TaskStatus {
        let task = TaskId::new("t").expect("an id");
        let mut status = TaskStatus::by_master(task, state, StatusReason::None, "", 0);
        status.run = run.map(|run| RunId::at(run, 0));
        status.sequence = sequence;
        status
    }

    #[test]
    fn an_update_is_news_until_it_is_done() {
        let mut tracker = Tracker::default();
        let running = status(TaskState::Running, Some(1), 1);
        assert_eq!(tracker.observe(&running), News::Fresh);
        assert_eq!(tracker.observe(&running), News::Fresh, "not taken in yet, so told again");
        assert_eq!(tracker.done(&running), None);
        assert_eq!(tracker.observe(&running), News::Again);
        let finished = status(TaskState::Finished, Some(1), 2);
        assert_eq!(tracker.observe(&finished), News::Fresh);
        assert_eq!(tracker.done(&finished), None);
        assert_eq!(tracker.observe(&finished), News::Again);
        assert_eq!(tracker.observe(&running), News::Again);
        assert_eq!(tracker.alive().count(), 0);
    }

    #[test]
    fn the_author_has_one_update_of_a_task_at_a_time() {
        let mut tracker = Tracker::default();
        let running = status(TaskState::Running, Some(1), 1);
        let killing = status(TaskState::Killing, Some(1), 2);
        let unreachable = status(TaskState::Unreachable, Some(1), 0);
        let killed = status(TaskState::Killed, Some(1), 3);
        assert_eq!(tracker.observe(&running), News::Fresh);
        assert_eq!(tracker.observe(&killing), News::Waits);
        assert_eq!(tracker.observe(&killing), News::Stale, "it waits already");
        assert_eq!(tracker.observe(&unreachable), News::Waits, "also what the master says");
        assert_eq!(tracker.observe(&killed), News::Waits);
        assert_eq!(tracker.observe(&running), News::Fresh, "what is not taken in comes again");
        assert_eq!(tracker.done(&running), Some(killing.clone()));
        assert_eq!(tracker.done(&running), None, "a second time");
        assert_eq!(tracker.done(&killing), Some(unreachable.clone()));
        assert_eq!(tracker.done(&unreachable), Some(killed.clone()));
        assert_eq!(tracker.done(&killed), None);
        assert_eq!(tracker.observe(&killed), News::Again);
    }

    #[test]
    fn what_was_taken_in_is_told_again_when_it_ends_that_the_run_is_out_of_sight() {
        let mut tracker = Tracker::default();
        let running = status(TaskState::Running, Some(1), 1);
        let unreachable = status(TaskState::Unreachable, Some(1), 0);
        let staging = status(TaskState::Staging, Some(1), 0);
        let killing = status(TaskState::Killing, Some(1), 2);
        for said in [&running, &unreachable, &running, &unreachable, &staging, &running] {
            assert_eq!(tracker.observe(said), News::Fresh, "{said:?}");
            assert_eq!(tracker.done(said), None);
            assert_eq!(tracker.get(&said.task).unwrap().state, Some(said.state));
        }
        assert_eq!(tracker.observe(&running), News::Again);
        // Behind what is not yet taken in, itself too.
        assert_eq!(tracker.observe(&unreachable), News::Fresh);
        assert_eq!(tracker.observe(&running), News::Waits);
        assert_eq!(tracker.done(&unreachable), Some(running.clone()));
        assert_eq!(tracker.observe(&unreachable), News::Waits);
        assert_eq!(tracker.observe(&running), News::Waits);
        assert_eq!(tracker.done(&running), Some(unreachable.clone()));
        assert_eq!(tracker.observe(&running), News::Again, "it waits already, and was taken in once");
        assert_eq!(tracker.done(&unreachable), Some(running.clone()));
        assert_eq!(tracker.done(&running), None);
        // What is not the latest that was heard says nothing of now.
        assert_eq!(tracker.observe(&killing), News::Fresh);
        assert_eq!(tracker.done(&killing), None);
        assert_eq!(tracker.observe(&unreachable), News::Fresh);
        assert_eq!(tracker.done(&unreachable), None);
        assert_eq!(tracker.observe(&running), News::Again);
        assert_eq!(tracker.observe(&killing), News::Fresh);
    }

    #[test]
    fn what_the_master_says_never_leads_back() {
        let mut tracker = Tracker::default();
        let mut hear = |state, run, sequence| {
            let status = status(state, run, sequence);
            let news = tracker.observe(&status);
            let _ = tracker.done(&status);
            news
        };
        assert_eq!(hear(TaskState::Running, Some(1), 1), News::Fresh);
        assert_eq!(hear(TaskState::Staging, Some(1), 0), News::Stale);
        assert_eq!(hear(TaskState::Unreachable, Some(1), 0), News::Fresh);
        assert_eq!(hear(TaskState::Running, Some(1), 0), News::Fresh, "it is back");
        assert_eq!(hear(TaskState::Gone, None, 0), News::Fresh);
        assert_eq!(hear(TaskState::Running, Some(1), 0), News::Stale);
    }

    #[test]
    fn a_task_that_is_being_ended_does_not_run_again() {
        let mut tracker = Tracker::default();
        let hear = |tracker: &mut Tracker, state, sequence| {
            let status = status(state, Some(1), sequence);
            let news = tracker.observe(&status);
            let _ = tracker.done(&status);
            news
        };
        assert_eq!(hear(&mut tracker, TaskState::Running, 1), News::Fresh);
        assert_eq!(hear(&mut tracker, TaskState::Killing, 2), News::Fresh);
        assert_eq!(hear(&mut tracker, TaskState::Running, 0), News::Stale, "an answer to Reconcile");
        assert_eq!(tracker.alive().count(), 1);
        assert_eq!(hear(&mut tracker, TaskState::Killed, 3), News::Fresh);
        assert_eq!(tracker.alive().count(), 0);
    }

    #[test]
    fn a_later_run_of_the_same_name_is_another_task() {
        let mut tracker = Tracker::default();
        let ended = status(TaskState::Finished, Some(1), 1);
        let _ = tracker.observe(&ended);
        let _ = tracker.done(&ended);
        assert_eq!(tracker.observe(&status(TaskState::Running, Some(2), 1)), News::Fresh);
        assert_eq!(tracker.observe(&ended), News::Again, "an earlier life is only acknowledged");
        assert_eq!(tracker.alive().count(), 1);
    }

    #[test]
    fn that_a_task_is_unknown_is_taken_in_before_it_is_launched_and_told_of() {
        let mut tracker = Tracker::default();
        let unknown = status(TaskState::Unknown, None, 0);
        let dropped = status(TaskState::Dropped, Some(1), 1);
        assert_eq!(tracker.observe(&unknown), News::Fresh);
        assert_eq!((tracker.alive().count(), tracker.tasks.len()), (0, 1), "nothing to ask for");
        tracker.expect(unknown.task.clone());
        assert_eq!(tracker.alive().count(), 1);
        assert_eq!(tracker.observe(&dropped), News::Waits);
        assert_eq!(tracker.done(&unknown), Some(dropped.clone()));
        assert_eq!(tracker.done(&dropped), None);
        assert_eq!(tracker.observe(&dropped), News::Again);
        // Of what is not launched nothing is kept.
        let mut tracker = Tracker::default();
        assert_eq!(tracker.observe(&unknown), News::Fresh);
        assert_eq!(tracker.done(&unknown), None);
        assert!(tracker.tasks.is_empty());
    }

    #[test]
    fn what_was_told_of_an_earlier_run_is_taken_in_before_what_is_said_of_the_next() {
        let mut tracker = Tracker::default();
        let first = status(TaskState::Running, Some(1), 1);
        let [second, ended] = [(TaskState::Running, 1), (TaskState::Finished, 2)]
            .map(|(state, sequence)| status(state, Some(2), sequence));
        assert_eq!(tracker.observe(&first), News::Fresh);
        assert_eq!(tracker.observe(&second), News::Waits);
        assert_eq!(tracker.done(&first), Some(second.clone()));
        assert_eq!(tracker.observe(&second), News::Fresh, "not taken in yet");
        assert_eq!(tracker.observe(&first), News::Again);
        assert_eq!(tracker.observe(&ended), News::Waits);
        assert_eq!(tracker.done(&second), Some(ended.clone()));
        assert_eq!(tracker.done(&ended), None);
        assert_eq!(tracker.alive().count(), 0);
    }

    #[test]
    fn ended_tasks_are_forgotten_in_the_end() {
        let mut tracker = Tracker::default();
        for n in 0..ENDED_MAX + 10 {
            let mut over = status(TaskState::Dropped, None, 0);
            over.task = TaskId::new(&format!("t{n}")).expect("an id");
            let _ = tracker.observe(&over);
        }
        assert_eq!(tracker.tasks.len(), ENDED_MAX);
    }
}
