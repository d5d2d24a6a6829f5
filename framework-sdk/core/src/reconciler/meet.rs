//! Tasks of earlier lives: whose they are is read from their ids, and they go on as if nothing had happened.

use std::time::Duration;

use proto::id::AgentId;
use proto::refusal::{Code, Refusal};
use proto::task::{TaskState, TaskStatus};
use proto_machine::Now;

use super::event::{Asked, Event, Follows};
use super::slot::{Attempt, Home};
use super::table::Table;
use super::volumes::Kept;
use super::{Due, Reconciler};
use crate::calls::ACCEPT_TASKS_MAX;
use crate::desired::{Birth, Counts, End, Group, GroupName, InstanceName, Next, Numbers, Restart, TaskSpec};

/// What a status of a task that this life has not started is about.
pub(super) enum Met {
    /// A task that goes on as this instance's.
    Lives(InstanceName),
    /// The end of a task of this instance.
    Ended(InstanceName, Follows),
    /// Nothing that concerns a group.
    Nothing,
}

impl Reconciler {
    /// A status of a task that this life has not started.
    pub(super) fn meet(&mut self, now: Now, status: &TaskStatus) -> Met {
        // What another scheduler of this framework started is left alone.
        let Some(birth) = Birth::parse(&status.task) else { return Met::Nothing };
        if !self.groups.contains_key(&birth.instance.group) {
            self.keep_unclaimed(&birth, status);
            return Met::Nothing;
        }
        if status.state == TaskState::Unknown {
            return Met::Nothing;
        }
        if status.state.is_terminal() && birth.part > 0 {
            // How its instance ended is for the first of its tasks to say.
            return Met::Ended(birth.instance, Follows::Nothing);
        }
        let attempt = self.attempt(&birth, status);
        if status.state.is_terminal() {
            self.learn_end(now, birth, attempt, status.state)
        } else {
            self.adopt(birth, attempt, status)
        }
    }

    fn keep_unclaimed(&mut self, birth: &Birth, status: &TaskStatus) {
        let name = &birth.instance.group;
        if status.run.is_some() {
            self.remember_made(&birth.instance, &birth.first_of(&status.task));
        }
        let is_new = !self.unclaimed.contains_key(name);
        let known = self.unclaimed.entry(name.clone()).or_default();
        if status.state.is_terminal() && birth.part == 0 && !self.exactly && !self.by_ticket {
            // Once it is acknowledged nobody else remembers it.
            self.memory.set_end(&birth.instance, (birth.revision, status.state));
        }
        if status.state.is_terminal() || status.state == TaskState::Unknown {
            known.remove(&status.task);
        } else {
            known.insert(status.task.clone(), status.clone());
        }
        if known.is_empty() {
            self.unclaimed.remove(name);
        } else if is_new {
            self.tell(Event::Unclaimed(name.clone()));
        }
    }

    /// The group of a task that has ended, if it is one that nobody has stated.
    pub(super) fn unstated_group(&self, status: &TaskStatus) -> Option<GroupName> {
        let birth = Birth::parse(&status.task).filter(|_| status.state.is_terminal())?;
        let group = birth.instance.group;
        (!self.groups.contains_key(&group)).then_some(group)
    }

    fn attempt(&self, birth: &Birth, status: &TaskStatus) -> Attempt {
        let place = status.agent.as_ref().and_then(|agent| self.home_of(agent, &birth.instance));
        Attempt {
            run: status.run,
            // It may have been anything by the time it was first seen here.
            began: true,
            draining: status.agent.as_ref().is_some_and(|agent| self.draining.contains(agent)),
            ..Attempt::new(birth.first_of(&status.task), birth.revision, place)
        }
    }

    fn learn_end(&mut self, now: Now, birth: Birth, attempt: Attempt, state: TaskState) -> Met {
        let instance = birth.instance;
        let Some(table) = self.groups.get(&instance.group) else { return Met::Nothing };
        if self.knows_all {
            // It is not among what the author remembers as alive, so the author has taken it in.
            return Met::Nothing;
        }
        let slot = table.slot(instance.number);
        // Tasks beside it may be there still.
        let with_it = |known: &Attempt| known.task == attempt.task;
        let idle = slot.is_some_and(|slot| slot.attempts.iter().all(with_it) && slot.over.is_none());
        if !idle || attempt.is_wrong(table.aim(instance.number)) {
            return Met::Ended(instance, Follows::Nothing);
        }
        let follows = self.after_end(now, &instance, &attempt, state);
        Met::Ended(instance, follows)
    }

    /// Takes a task that lives into its group.
    fn adopt(&mut self, birth: Birth, mut attempt: Attempt, status: &TaskStatus) -> Met {
        let instance = birth.instance;
        let Some(table) = self.groups.get_mut(&instance.group) else { return Met::Nothing };
        self.tasks.insert(status.task.clone(), instance.clone());
        if birth.part > 0 {
            attempt.parts.join(status.task.clone(), status.state);
        }
        table.join(instance.number);
        table.change(instance.number, |slot| {
            if birth.part == 0 {
                // It lives, so whatever is remembered of an end is of an earlier one.
                slot.over = None;
            }
            if let Some(known) = slot.attempt_mut(&attempt.task) {
                // Another task of it was met before.
                let (first, state) = (known.task.clone(), known.state);
                if birth.part > 0 && known.parts.is_single() {
                    known.parts.join(first, state);
                }
                return known.parts.join(status.task.clone(), status.state);
            }
            slot.homing = false;
            slot.home = attempt.place.clone().or(slot.home.take());
            slot.attempts.push(attempt);
        });
        if birth.part == 0 {
            self.memory.set_over(&instance, None);
        }
        self.due.cancel(&Due::Homeless(instance.clone()));
        Met::Lives(instance)
    }

    /// Where a task runs, with the value that its group is spread by: from its agent if that was offered before, else as
    /// it is remembered.
    pub(super) fn home_of(&self, agent: &AgentId, instance: &InstanceName) -> Option<Home> {
        let spread = &self.groups.get(&instance.group)?.group.spread;
        let by = spread.as_ref().map_or("agent", |spread| spread.by.as_str());
        if by == "agent" {
            return Some(Home { agent: agent.clone(), value: agent.to_string() });
        }
        let known = self.agents.get(agent).map(|info| crate::place::value_of(info, by));
        let remembered =
            || self.memory.home(instance).filter(|home| home.agent == *agent).map(|home| home.value);
        Some(Home { agent: agent.clone(), value: known.or_else(remembered).unwrap_or_default() })
    }

    /// A group is stated, for the first time in this life or anew.
    pub(super) fn submit(&mut self, now: Now, group: Group) {
        let name = group.name.clone();
        self.take_role(&group);
        self.touched.insert(name.clone());
        if let Some(table) = self.groups.get_mut(&name) {
            let forgotten = table.restate(group);
            self.forget(&name, forgotten);
            self.remember_volumes(now, &name);
            self.restart_timers(now, &name);
            return self.refuse_if_impossible(&name);
        }
        let mut table = Table::new(group);
        self.remember_rollout(&mut table);
        if let Numbers::Below(count) = table.group.numbers {
            (0..count).for_each(|number| self.remember(&mut table, number));
            self.memory.forget_others(&name, |number| number < count);
        }
        self.groups.insert(name.clone(), table);
        self.claim(now, &name);
        self.restart_timers(now, &name);
        self.refuse_if_impossible(&name);
    }

    /// A gang that can never be started is not waited for in silence.
    fn refuse_if_impossible(&mut self, name: &GroupName) {
        let Some(table) = self.groups.get(name) else { return };
        let refusal = if table.is_torn() {
            Refusal::new(
                Code::Invalid,
                format!("the gang {name} has a volume, and so could not start as a whole"),
            )
            .with_help("leave out `volume`, or `gang`")
        } else if table.is_too_large() {
            Refusal::new(Code::TooMuch, format!("the gang {name} has more tasks than one call can start"))
                .with_help(format!("at most {ACCEPT_TASKS_MAX} tasks and 2 MiB start together"))
        } else {
            return;
        };
        self.tell(Event::Refused { what: Asked::Gang, refusal });
    }

    /// What is remembered of an instance comes back to it.
    fn remember(&mut self, table: &mut Table, number: u32) {
        let instance = InstanceName { group: table.group.name.clone(), number };
        let (restart, back_off) = (table.group.restart, table.group.back_off);
        let ends_it = |state| {
            let end = End { state, began: true, ran: Duration::ZERO };
            restart != Restart::Always && restart.after(back_off, Counts::default(), end) == Next::Over
        };
        let end = self.memory.take_end(&instance).filter(|(_, state)| ends_it(*state));
        let over = self
            .memory
            .over(&instance)
            .or(end)
            .filter(|(of, _)| table.aim(number).is_none_or(|aim| aim == *of));
        let kept = self.memory.kept(&instance);
        let at_volume = |kept: &Kept| Home { agent: kept.agent.clone(), value: String::new() };
        let home = self.memory.home(&instance).or(kept.as_ref().map(at_volume));
        if over.is_some() || home.is_some() {
            let homing = kept.is_some() && table.group.has_volumes();
            table.change(number, |slot| {
                (slot.over, slot.home, slot.kept, slot.homing) = (over, home, kept, homing);
            });
        }
        self.memory.set_over(&instance, over);
    }

    /// Pauses and waits as the group has them now.
    pub(super) fn restart_timers(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get(name) else { return };
        let slots: Vec<(u32, bool)> = table.slots().map(|(number, slot)| (number, slot.resting)).collect();
        for (number, rests) in slots {
            let instance = InstanceName { group: name.clone(), number };
            if !rests {
                self.due.cancel(&Due::Rested(instance.clone()));
            }
            self.waits_for_home(now, &instance);
        }
    }

    /// What earlier lives left of the group goes on in it.
    fn claim(&mut self, now: Now, name: &GroupName) {
        for (_, status) in self.unclaimed.remove(name).unwrap_or_default() {
            if let Some(event) = self.take_in(now, &status) {
                self.tell(event);
            }
        }
        for update in self.unheard.remove(name).unwrap_or_default() {
            self.hear(now, update);
        }
    }

    /// Nothing of a group is wanted any more.
    pub(super) fn withdraw(&mut self, now: Now, name: &GroupName) {
        if !self.groups.contains_key(name) {
            if !self.unclaimed.contains_key(name) && !self.unheard.contains_key(name) {
                return;
            }
            // Nobody knows what it was; what is left of it is taken in only to be ended.
            let Ok(unknown) = Group::of(TaskSpec::argv(["true"])).named(name.as_str()) else { return };
            let mut table = Table::new(unknown.count(0));
            let _ = table.withdraw();
            self.groups.insert(name.clone(), table);
            self.claim(now, name);
        }
        if let Some(table) = self.groups.get_mut(name) {
            let forgotten = table.withdraw();
            self.forget(name, forgotten);
            self.memory.forget_others(name, |_| false);
            self.memory.forget_group(name);
            self.due.cancel(&Due::Deadline(name.clone()));
            self.touched.insert(name.clone());
        }
    }

    /// Instances that are no part of their group any more, with nothing left of them.
    pub(super) fn forget(&mut self, group: &GroupName, numbers: Vec<u32>) {
        for number in numbers {
            let instance = InstanceName { group: group.clone(), number };
            self.memory.forget(&instance);
            self.due.cancel(&Due::Rested(instance.clone()));
            self.due.cancel(&Due::Homeless(instance));
        }
    }
}
