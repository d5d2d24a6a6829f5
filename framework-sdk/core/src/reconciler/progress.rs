//! What the master says of tasks: they move, go out of sight, come back and end.

use std::time::Duration;

use proto::id::TaskId;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::Now;

use super::event::{Event, Follows, TaskEvent};
use super::meet::Met;
use super::slot::{Attempt, Leaving, Slot};
use super::{Due, Reconciler};
use crate::desired::{BackOff, Birth, Counts, End, InstanceName, Next, Restart, Unreachable};

impl Reconciler {
    /// A status is taken in; the event that the author is told of it. `None` when it is about no task of a group.
    pub(super) fn take_in(&mut self, now: Now, status: &TaskStatus) -> Option<Event> {
        let instance = match self.tasks.get(&status.task) {
            Some(instance) => instance.clone(),
            None => match self.meet(now, status) {
                Met::Lives(instance) => instance,
                Met::Ended(instance, follows) => {
                    self.learn_made(&instance, status);
                    return Some(self.event(instance, status, follows));
                }
                Met::Nothing => return None,
            },
        };
        self.touched.insert(instance.group.clone());
        self.learn_made(&instance, status);
        let (whole, cause) = self.fold(&instance, status);
        if let Some(cause) = cause {
            let follows = self.ended_in_part(now, &instance, &whole.task, cause);
            return Some(self.event(instance, status, follows));
        }
        let follows = match whole.state {
            TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing => {
                self.moved(now, &instance, &whole);
                Follows::Nothing
            }
            TaskState::Unreachable => {
                self.out_of_sight(now, &instance, &whole);
                Follows::Nothing
            }
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => self.ended_task(now, &instance, &whole),
        };
        Some(self.event(instance, status, follows))
    }

    /// What a status means for its instance: if that is several tasks, how it stands as a whole, and how it has ended if that
    /// was decided just now.
    fn fold(&mut self, instance: &InstanceName, status: &TaskStatus) -> (TaskStatus, Option<TaskState>) {
        let Some(table) = self.groups.get_mut(&instance.group) else { return (status.clone(), None) };
        let folded = table.change(instance.number, |slot| {
            let attempt = slot.attempts.iter_mut().find(|attempt| attempt.parts.has(&status.task))?;
            Some(attempt.parts.fold(&attempt.task, status))
        });
        folded.unwrap_or_else(|| {
            let mut whole = status.clone();
            if whole.state == TaskState::Killed && whole.reason == StatusReason::GroupEnded {
                // Another one of its instance ended badly, in an earlier life.
                whole.state = TaskState::Failed;
            }
            (whole, None)
        })
    }

    /// One of the tasks of an instance ended it, and the others end with it. What follows is decided now: once this end is
    /// acknowledged nobody else remembers it.
    fn ended_in_part(
        &mut self,
        now: Now,
        instance: &InstanceName,
        first: &TaskId,
        cause: TaskState,
    ) -> Follows {
        let Some(table) = self.groups.get_mut(&instance.group) else { return Follows::Nothing };
        let ended = table.change(instance.number, |slot| {
            let attempt = slot.attempt_mut(first).filter(|attempt| attempt.stays())?;
            let as_it_was = attempt.clone();
            (attempt.leaving, attempt.ready) = (Leaving::Ending, false);
            Some(as_it_was)
        });
        let Some(attempt) = ended else { return Follows::Nothing };
        self.due.cancel(&Due::GiveUp(first.clone()));
        self.due.cancel(&Due::InService(first.clone()));
        self.end_task(now, first.clone());
        self.after_end(now, instance, &attempt, cause)
    }

    fn event(&self, instance: InstanceName, status: &TaskStatus, follows: Follows) -> Event {
        let agent = status.agent.as_ref().and_then(|agent| self.agents.get(agent));
        let hostname = agent.map(|agent| agent.hostname.clone()).unwrap_or_default();
        Event::Task(TaskEvent { instance, status: status.clone(), hostname, follows })
    }

    fn moved(&mut self, now: Now, instance: &InstanceName, status: &TaskStatus) {
        let settled = self.is_ready();
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        let min_ready = table.group.change.min_ready;
        let wall_ms = now.wall.as_millis();
        let (in_service_in, back) = table.change(instance.number, |slot| {
            let begun = status.state != TaskState::Staging;
            if begun {
                slot.counts.drops = 0;
            }
            let Some(attempt) = slot.attempt_mut(&status.task) else { return (None, false) };
            // An abandoned task that is seen again was perhaps not heard when it was asked to end.
            let back = attempt.leaving == Leaving::Abandoned;
            attempt.state = status.state;
            attempt.run = status.run.or(attempt.run);
            attempt.began |= begun;
            attempt.ready = false;
            if status.state != TaskState::Running {
                attempt.serves_since_ms = None;
                return (None, back);
            }
            // What is heard as it happens began just now by this clock; of what is listed only its agent's clock tells.
            let heard = if settled { wall_ms } else { status.at_ms.min(wall_ms) };
            attempt.since_ms.get_or_insert(heard);
            if status.ready == Some(false) || status.healthy == Some(false) {
                attempt.serves_since_ms = None;
                return (None, back);
            }
            let since = *attempt.serves_since_ms.get_or_insert(heard);
            let ran = Duration::from_millis(wall_ms.saturating_sub(since));
            attempt.ready = ran >= min_ready;
            ((!attempt.ready).then(|| min_ready - ran), back)
        });
        self.due.cancel(&Due::GiveUp(status.task.clone()));
        match in_service_in {
            Some(after) => self.due.set(Due::InService(status.task.clone()), now.monotonic + after),
            None => drop(self.due.cancel(&Due::InService(status.task.clone()))),
        }
        if back {
            self.end_task(now, status.task.clone());
        }
    }

    /// It has run for long enough to count as in service.
    pub(super) fn in_service(&mut self, task: &TaskId) {
        self.change_attempt(task, |attempt| attempt.ready = attempt.state == TaskState::Running);
    }

    fn out_of_sight(&mut self, now: Now, instance: &InstanceName, status: &TaskStatus) {
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        let is_held = table.change(instance.number, |slot| {
            let Some(attempt) = slot.attempt_mut(&status.task) else { return false };
            attempt.state = TaskState::Unreachable;
            attempt.ready = false;
            !attempt.is_abandoned()
        });
        self.due.cancel(&Due::InService(status.task.clone()));
        let due = Due::GiveUp(status.task.clone());
        match table.group.unreachable {
            Unreachable::WaitUpTo(patience) if is_held && self.due.get(&due).is_none() => {
                self.due.set(due, now.monotonic + patience);
            }
            Unreachable::WaitUpTo(_) | Unreachable::Wait => {}
        }
    }

    /// Its agent was out of sight for too long: its instance goes on without it.
    pub(super) fn give_up(&mut self, now: Now, task: &TaskId) {
        let Some(instance) = self.instance_of(task) else { return };
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        let given_up = table.change(instance.number, |slot| {
            let attempt = slot.attempt_mut(task).filter(|a| !a.is_abandoned() && !a.in_sight())?;
            let as_it_was = attempt.clone();
            attempt.leaving = Leaving::Abandoned;
            Some(as_it_was)
        });
        let Some(attempt) = given_up else { return };
        self.touched.insert(instance.group.clone());
        self.due.cancel(&Due::Drained(task.clone()));
        self.end_task(now, task.clone());
        if attempt.stays() {
            self.after_end(now, &instance, &attempt, TaskState::Gone);
        } else if self.groups.get(&instance.group).is_some_and(|table| table.wants(instance.number)) {
            self.waits_for_home(now, &instance);
        }
        self.tell(Event::GivenUp { instance, task: task.clone() });
    }

    /// A task is over.
    fn ended_task(&mut self, now: Now, instance: &InstanceName, status: &TaskStatus) -> Follows {
        let task = &status.task;
        self.tasks.remove(task);
        for due in [
            Due::GiveUp(task.clone()),
            Due::InService(task.clone()),
            Due::Drained(task.clone()),
            Due::KillAgain(task.clone()),
        ] {
            self.due.cancel(&due);
        }
        let Some(table) = self.groups.get_mut(&instance.group) else { return Follows::Nothing };
        let attempt = table.change(instance.number, |slot| {
            let at = slot.attempts.iter().position(|attempt| attempt.task == *task)?;
            Some(slot.attempts.remove(at))
        });
        for part in attempt.iter().flat_map(|attempt| attempt.parts.tasks()) {
            self.tasks.remove(part);
        }
        match attempt {
            Some(attempt) if attempt.stays() => self.after_end(now, instance, &attempt, status.state),
            Some(attempt) => {
                // The next one in its place goes back to what the last one left there.
                let wants =
                    self.groups.get(&instance.group).is_some_and(|table| table.wants(instance.number));
                if wants && !attempt.is_abandoned() {
                    self.waits_for_home(now, instance);
                }
                Follows::Nothing
            }
            None => Follows::Nothing,
        }
    }

    /// What follows the end of a task that nobody here wanted to end.
    pub(super) fn after_end(
        &mut self,
        now: Now,
        instance: &InstanceName,
        attempt: &Attempt,
        state: TaskState,
    ) -> Follows {
        let Some(table) = self.groups.get_mut(&instance.group) else { return Follows::Nothing };
        if !table.wants(instance.number) {
            return Follows::Nothing;
        }
        let (restart, back_off, revision) = (table.group.restart, table.group.back_off, attempt.revision);
        let anybody = table.is_anybody(instance.number);
        // At the deadline of a drain the master ends what still runs: nobody wanted the work to end.
        let moved_on = attempt.draining && state == TaskState::Killed && restart != Restart::Never;
        let was_wrong = moved_on || attempt.is_wrong(table.aim(instance.number));
        let ran = attempt.since_ms.map_or(0, |since| now.wall.as_millis().saturating_sub(since));
        // Only of a task that the master does not know can it be said that it never began.
        let began = attempt.began || !matches!(state, TaskState::Unknown | TaskState::Dropped);
        let end = End { state, began, ran: Duration::from_millis(ran) };

        let (pause, over) = table.change(instance.number, |slot| {
            if matches!(state, TaskState::Gone | TaskState::GoneByOperator) && slot.kept.is_none() {
                // There is no home to go back to.
                slot.home = None;
            }
            if was_wrong {
                // It was about to be replaced.
                slot.counts = Counts::default();
                return (Duration::ZERO, false);
            }
            match restart.after(back_off, slot.counts, end) {
                Next::Again { pause, counts } => {
                    slot.counts = counts;
                    (pause, false)
                }
                // There is work for so many, whoever they are: so it is tried again, slowly.
                Next::Over if anybody => (again_slowly(slot, back_off, state), false),
                Next::Over => {
                    slot.over = Some((revision, state));
                    (Duration::ZERO, true)
                }
            }
        });
        table.count_failure(attempt, state);
        self.touched.insert(instance.group.clone());
        if over {
            self.memory.set_over(instance, Some((revision, state)));
            return Follows::Over;
        }
        if !pause.is_zero() {
            table.change(instance.number, |slot| slot.resting = true);
            self.due.set(Due::Rested(instance.clone()), now.monotonic + pause);
        }
        self.waits_for_home(now, instance);
        Follows::Again(pause)
    }

    /// Its pause is over.
    pub(super) fn rested(&mut self, now: Now, instance: &InstanceName) {
        let Some(table) = self.groups.get_mut(&instance.group).filter(|table| table.wants(instance.number))
        else {
            return;
        };
        table.change(instance.number, |slot| slot.resting = false);
        self.touched.insert(instance.group.clone());
        self.waits_for_home(now, instance);
    }

    /// Where it stays, an instance first waits for the agent that it ran on.
    pub(super) fn waits_for_home(&mut self, now: Now, instance: &InstanceName) {
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        let has_volume = table.group.has_volumes();
        let patience = if has_volume { table.group.anew() } else { table.group.stay };
        if patience.is_none() && !has_volume {
            return;
        }
        let draining = &self.draining;
        let waits = table.slot(instance.number).is_some_and(|slot| {
            slot.home.as_ref().is_some_and(|home| has_volume || !draining.contains(&home.agent))
                && has_volume == slot.kept.is_some()
                && !slot.resting
                && slot.staying().next().is_none()
                && slot.over.is_none()
        });
        let due = Due::Homeless(instance.clone());
        if waits && (has_volume || self.due.get(&due).is_none()) {
            table.change(instance.number, |slot| slot.homing = true);
            self.touched.insert(instance.group.clone());
            if let Some(patience) = patience.filter(|_| self.due.get(&due).is_none()) {
                self.due.set(due, now.monotonic + patience);
            }
        }
    }

    /// It has waited for its home for long enough.
    pub(super) fn homeless(&mut self, instance: &InstanceName) {
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        let keeps = |slot: &Slot| slot.kept.is_some() && slot.attempts.iter().all(Attempt::is_abandoned);
        if table.group.has_volumes() && table.slot(instance.number).is_some_and(keeps) {
            if self.in_session && self.is_ready() {
                self.leave_behind(instance);
            }
            // Otherwise it could not be heard of, and the wait begins anew when it can.
            return;
        }
        if table.slot(instance.number).is_some() {
            table.change(instance.number, |slot| slot.homing = false);
            self.touched.insert(instance.group.clone());
        }
    }

    /// Those that wait for their data wait anew: until now nothing could be heard of it.
    pub(super) fn await_homes(&mut self, now: Now) {
        for (name, table) in &self.groups {
            let Some(patience) = table.group.anew() else { continue };
            for (number, _) in table.slots().filter(|(_, slot)| slot.homing && slot.kept.is_some()) {
                let instance = InstanceName { group: name.clone(), number };
                self.due.set(Due::Homeless(instance), now.monotonic + patience);
            }
        }
    }

    pub(super) fn change_attempt(&mut self, task: &TaskId, act: impl FnOnce(&mut Attempt)) {
        let Some(instance) = self.instance_of(task) else { return };
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        self.touched.insert(instance.group.clone());
        table.change(instance.number, |slot| slot.attempt_mut(task).map(act));
    }

    /// Whose task it is; also of the first of several that is not there any more.
    pub fn instance_of(&self, task: &TaskId) -> Option<InstanceName> {
        self.tasks.get(task).cloned().or_else(|| Birth::parse(task).map(|birth| birth.instance))
    }
}

fn again_slowly(slot: &mut super::slot::Slot, back_off: BackOff, state: TaskState) -> Duration {
    slot.counts.failures = slot.counts.failures.saturating_add(1);
    if state == TaskState::Error { back_off.max } else { back_off.pause(slot.counts.failures) }
}
