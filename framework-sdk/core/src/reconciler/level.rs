//! What is wanted of a group against how it stands: who leaves, who is replaced next, what is told of it.

use proto::id::TaskId;
use proto::task::TaskState;
use proto_machine::Now;

use super::slot::{Attempt, Leaving, Slot};
use super::table::Told;
use super::{Due, Event, KILL_AGAIN, Reconciler};
use crate::desired::{GroupName, InstanceName};

impl Reconciler {
    /// Brings the groups in which something changed nearer to what is wanted of them.
    pub(super) fn level(&mut self, now: Now) {
        if !self.is_ready() {
            return;
        }
        // What is done about a group may change it again; it is done with when nothing changes any more.
        let mut seen = Vec::new();
        while let Some(name) = self.touched.pop_first() {
            self.level_group(now, &name);
            self.demands_changed = true;
            seen.push(name);
        }
        for name in seen {
            self.tell_of(&name);
        }
    }

    fn level_group(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let forgotten = table.choose_members();
        self.forget(name, forgotten);
        self.advance_rollout(now, name);
        let Some(table) = self.groups.get_mut(name) else { return };
        table.choose_extras();
        for number in table.orphaned() {
            self.leave(now, name, number, |attempt| attempt.parts.are_orphans_of(&attempt.task));
        }
        let Some(table) = self.groups.get(name) else { return };
        for number in table.doubled() {
            self.end_doubles(now, name, number);
        }
        let Some(table) = self.groups.get_mut(name) else { return };
        for number in table.surplus() {
            self.leave(now, name, number, |_| true);
        }
        self.roll(now, name);
        self.keep_together(now, name);
    }

    /// All of a gang run, or none.
    fn keep_together(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name).filter(|table| table.group.gang) else { return };
        let fate = table.fate();
        if fate.is_none() && !table.is_broken() {
            return;
        }
        let numbers: Vec<u32> = table.slots().map(|(number, _)| number).collect();
        for number in numbers {
            let Some(table) = self.groups.get_mut(name) else { return };
            let lives_on = table.slot(number).is_some_and(|slot| slot.over.is_none());
            if let Some(over) = fate.filter(|_| lives_on) {
                table.change(number, |slot| slot.over = Some(over));
                self.memory.set_over(&InstanceName { group: name.clone(), number }, Some(over));
            }
            self.leave(now, name, number, |_| true);
        }
    }

    /// An instance has more tasks than it should, as after a life that ended in the middle of something.
    fn end_doubles(&mut self, now: Now, name: &GroupName, number: u32) {
        let Some(table) = self.groups.get(name) else { return };
        let aim = table.aim(number);
        let worth = |attempt: &Attempt| {
            let runs = attempt.state == TaskState::Running;
            let is_right = aim.is_none_or(|aim| aim == attempt.revision);
            (attempt.in_sight(), is_right, runs, attempt.run)
        };
        let Some(slot) = table.slot(number) else { return };
        let Some(best) = slot.staying().max_by_key(|attempt| worth(attempt)) else { return };
        let best = best.task.clone();
        self.leave(now, name, number, |attempt| attempt.task != best);
    }

    /// Brings a group to what its instances should run, as many at a time as it allows.
    fn roll(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get(name) else { return };
        // A task of another revision that serves nobody is replaced at once: nothing is lost with it.
        for number in table.old_idle() {
            let Some(table) = self.groups.get(name) else { return };
            let (aim, moves) = (table.aim(number), table.moves());
            let wrong = |attempt: &Attempt| attempt.is_wrong(aim) || moves && attempt.draining;
            self.leave(now, name, number, |attempt| wrong(attempt) && !attempt.ready);
        }
        let Some(table) = self.groups.get(name) else { return };
        for number in table.old_in_service(table.to_spare()) {
            let Some(table) = self.groups.get(name) else { return };
            let (aim, moves) = (table.aim(number), table.moves());
            self.leave(now, name, number, |attempt| attempt.is_wrong(aim) || moves && attempt.draining);
        }
    }

    /// Tasks of an instance that stayed so far leave: at once, or after their owner has taken their work away.
    fn leave(&mut self, now: Now, name: &GroupName, number: u32, which: impl Fn(&Attempt) -> bool) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let grace = table.group.drain;
        let instance = InstanceName { group: name.clone(), number };
        let leaving: Vec<(TaskId, bool, bool)> = table.change(number, |slot: &mut Slot| {
            let stay = slot.attempts.iter_mut().filter(|attempt| attempt.stays() && which(attempt));
            let leave = stay.map(|attempt| {
                let drains = !grace.is_zero() && attempt.state == TaskState::Running;
                attempt.leaving = if drains { Leaving::Draining } else { Leaving::Ending };
                // What is on its way out serves nobody new.
                attempt.ready = false;
                (attempt.task.clone(), drains, attempt.in_sight())
            });
            leave.collect()
        });
        for (task, drains, in_sight) in leaving {
            // Out of sight it may never be heard to end.
            if in_sight {
                self.due.cancel(&Due::GiveUp(task.clone()));
            }
            if drains {
                self.due.set(Due::Drained(task.clone()), now.monotonic + grace);
                self.tell(Event::Drain { instance: instance.clone(), task, grace });
            } else {
                self.end_task(now, task);
            }
        }
    }

    /// Its work is taken away, or the time for that is over.
    pub(super) fn drained(&mut self, now: Now, task: &TaskId) {
        self.due.cancel(&Due::Drained(task.clone()));
        let mut drains = false;
        self.change_attempt(task, |attempt| {
            drains = attempt.leaving == Leaving::Draining;
            if drains {
                attempt.leaving = Leaving::Ending;
            }
        });
        if drains {
            self.end_task(now, task.clone());
        }
    }

    /// Has a task end, and asks again if it does not.
    pub(super) fn end_task(&mut self, now: Now, task: TaskId) {
        self.due.set(Due::KillAgain(task.clone()), now.monotonic + KILL_AGAIN);
        let instance = self.instance_of(&task);
        let slot = instance.and_then(|name| self.groups.get(&name.group)?.slot(name.number));
        let attempt = slot.and_then(|slot| slot.attempts.iter().find(|attempt| attempt.task == task));
        match attempt.filter(|attempt| !attempt.parts.is_single()) {
            Some(attempt) => self.kills.extend(attempt.parts.live().cloned()),
            None => self.kills.push(task),
        }
    }

    /// Tells how a group stands as a whole, once that has changed.
    fn tell_of(&mut self, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        if table.withdrawn && table.is_empty() {
            self.groups.remove(name);
            self.due.cancel(&Due::Relax(name.clone()));
            self.tell(Event::Withdrawn(name.clone()));
            return;
        }
        let sums = table.sums();
        let told = match table.stands() && !table.withdrawn && table.rollout.is_none() {
            true if sums.wanted > 0 && sums.over == sums.wanted => Told::Over,
            true => Told::AsStated,
            false => Told::Nothing,
        };
        if std::mem::replace(&mut table.told, told) == told {
            return;
        }
        match told {
            Told::Nothing => {}
            Told::AsStated => self.tell(Event::AsStated(name.clone())),
            Told::Over => self.tell(Event::Over(name.clone())),
        }
    }
}
