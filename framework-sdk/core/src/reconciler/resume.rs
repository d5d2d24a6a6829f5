//! Going on from what the author itself remembers: then nothing has to be learnt from the master before the first start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, DemandId, TaskId, VolumeId};
use proto::role::Role;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::Now;

use super::parts::Parts;
use super::slot::{Attempt, Leaving, Slot};
use super::volumes::Kept;
use super::{Due, Reconciler};
use crate::desired::{Birth, Counts, Group, GroupName, InstanceName, Revision, VolumeSpec};

/// What an author remembers of one instance.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Its tasks that may be alive, oldest first.
    pub tasks: Vec<PastTask>,
    /// What was counted of it.
    pub counts: Counts,
    /// It rests for so long before it is started again.
    pub rests: Duration,
    /// It is over for good, and ended so.
    pub over: Option<TaskState>,
}

/// A task that may be alive.
#[derive(Clone, Debug)]
pub struct PastTask {
    /// Which.
    pub task: TaskId,
    /// Of an instance that is several tasks: all of them, this one being the first, with how those ended that did. Else
    /// none.
    pub parts: Vec<(TaskId, Option<TaskState>)>,
    /// Where.
    pub agent: Option<AgentId>,
    /// It is of the present spec of its group. Asked only of a task whose id does not say so itself.
    pub is_current: bool,
    /// Its command may have been started.
    pub began: bool,
    /// Its instance went on without it: it is ended when it is seen.
    pub abandoned: bool,
    /// Of several tasks: the end of one of them is the end of all, and what follows was decided. The others are on their way
    /// out, and the instance waits for that.
    pub ending: bool,
}

/// A volume of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVolume {
    /// Whose.
    pub instance: InstanceName,
    /// Which.
    pub id: VolumeId,
    /// What it is called in its group.
    pub name: String,
    /// Where.
    pub agent: AgentId,
    /// How it stands.
    pub is: VolumeIs,
}

/// How a volume stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeIs {
    /// It was asked for.
    AskedFor,
    /// It is there.
    There,
    /// It is destroyed as soon as its agent is seen and nobody has it.
    ToBeDestroyed,
}

impl Reconciler {
    /// The author makes each launch durable when it is told of it, which is before it is asked for, and so remembers
    /// every task that may be alive. It resumes its groups with that ([`super::Order::Resume`]) before the first session,
    /// and names the tasks to the driver ([`crate::Config::believed`]). What it has not named is ended.
    pub fn remembered_by_author(mut self) -> Self {
        (self.knows_all, self.exactly, self.memory.forgets_ends) = (true, true, true);
        self
    }

    /// A status, for a scheduler that contains this one and keeps the update itself. False when it is of a task that no
    /// reconciler started.
    pub fn heard(&mut self, now: Now, status: &TaskStatus) -> bool {
        let is_ours = self.tasks.contains_key(&status.task) || Birth::parse(&status.task).is_some();
        let event = self.take_in(now, status);
        event.into_iter().for_each(|event| self.tell(event));
        is_ours
    }

    /// What the framework says of itself, with each role that a group was ever in.
    pub fn info(&self) -> &FrameworkInfo {
        &self.info
    }

    /// Whether the master knows that the framework is in this role.
    pub fn has_role(&self, role: &Role) -> bool {
        self.granted.contains(role)
    }

    /// What was counted of an instance.
    pub fn counts(&self, instance: &InstanceName) -> Counts {
        let slot = self.groups.get(&instance.group).and_then(|table| table.slot(instance.number));
        slot.map(|slot| slot.counts).unwrap_or_default()
    }

    /// The volumes of a group's instances, also of such as there should be no more; then those that are to be destroyed.
    pub fn volumes_of(&self, group: &GroupName) -> Vec<KeptVolume> {
        let kept = self.memory.all_kept(group).into_iter();
        let kept = kept.map(|(_, kept)| (if kept.made { VolumeIs::There } else { VolumeIs::AskedFor }, kept));
        let purged = self.purges.values().map(|kept| (VolumeIs::ToBeDestroyed, kept.clone()));
        let one = |(is, kept): (VolumeIs, Kept)| {
            let Kept { volumes, agent, .. } = kept;
            volumes.into_iter().filter_map(move |id| {
                let instance = VolumeSpec::owner(&id)?;
                let name = VolumeSpec::name_of(&id)?.to_owned();
                Some(KeptVolume { instance, id, name, agent: agent.clone(), is })
            })
        };
        kept.chain(purged).flat_map(one).filter(|volume| volume.instance.group == *group).collect()
    }

    /// Whether an instance is over for good.
    pub fn is_over(&self, instance: &InstanceName) -> bool {
        let slot = self.groups.get(&instance.group).and_then(|table| table.slot(instance.number));
        slot.is_some_and(|slot| slot.over.is_some())
    }

    /// A machine, if it was ever offered in this life.
    pub fn agent(&self, id: &AgentId) -> Option<&Arc<AgentInfo>> {
        self.agents.get(id)
    }

    /// The demands that stand for a group.
    pub fn demands_of(&self, group: &str) -> Vec<DemandId> {
        let of = self.asks.iter().filter(|(_, ask)| ask.group.as_str() == group);
        of.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn resume(&mut self, now: Now, group: Group, past: BTreeMap<u32, Past>) {
        let name = group.name.clone();
        self.submit(now, group);
        for (number, past) in past {
            let instance = InstanceName { group: name.clone(), number };
            let attempts: Vec<Attempt> =
                past.tasks.iter().map(|task| self.past_attempt(&instance, task)).collect();
            let Some(table) = self.groups.get_mut(&name) else { return };
            let revision = table.stated.revision;
            table.change(number, |slot| {
                slot.counts = past.counts;
                slot.resting = !past.rests.is_zero();
                slot.over = past.over.map(|state| (revision, state));
                slot.homing = false;
                let place = attempts.last().and_then(|attempt| attempt.place.clone());
                slot.home = place.or(slot.home.take());
                slot.attempts = attempts;
            });
            for task in past.tasks {
                if task.ending {
                    // Whoever decided that may have died before it had said so.
                    self.end_task(now, task.task.clone());
                }
                for id in task.parts.into_iter().map(|(id, _)| id).chain([task.task]) {
                    self.tasks.insert(id, instance.clone());
                }
            }
            if !past.rests.is_zero() {
                self.due.set(Due::Rested(instance), now.monotonic + past.rests);
            }
        }
        self.restart_timers(now, &name);
        if !self.has_past {
            self.all_gone(now, &name);
        }
    }

    fn past_attempt(&self, instance: &InstanceName, past: &PastTask) -> Attempt {
        let present = self.groups.get(&instance.group).map(|table| table.stated.revision);
        let in_id = Birth::parse(&past.task).map(|birth| birth.revision);
        let stated = present.filter(|_| past.is_current);
        let draining = past.agent.as_ref().is_some_and(|agent| self.draining.contains(agent));
        let revision = in_id.or(stated).unwrap_or(Revision::of_hash(0));
        let place = past.agent.as_ref().and_then(|agent| self.home_of(agent, instance));
        Attempt {
            began: past.began,
            draining,
            parts: Parts::resumed(past.parts.iter().cloned()),
            leaving: match (past.abandoned, past.ending) {
                (true, _) => Leaving::Abandoned,
                (false, true) => Leaving::Ending,
                (false, false) => Leaving::No,
            },
            ..Attempt::new(past.task.clone(), revision, place)
        }
    }

    /// The framework that ran these tasks was removed, and every one of them with it.
    fn all_gone(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get(name) else { return };
        let attempts = table.slots().flat_map(|(_, slot)| &slot.attempts);
        let all = |attempt: &Attempt| match attempt.parts.is_single() {
            true => vec![attempt.task.clone()],
            false => attempt.parts.live().cloned().collect(),
        };
        let tasks: Vec<TaskId> = attempts.flat_map(all).collect();
        for task in tasks {
            let (none, wall_ms) = (StatusReason::None, now.wall.as_millis());
            let message = "the framework was removed";
            let status = TaskStatus::by_master(task, TaskState::Gone, none, message, wall_ms);
            self.heard(now, &status);
        }
    }

    pub(super) fn give_up_resting(&mut self, instance: &InstanceName, state: TaskState) {
        let Some(table) = self.groups.get_mut(&instance.group) else { return };
        let revision = table.aim(instance.number).unwrap_or(table.stated.revision);
        // Of several tasks some may still be on their way out.
        let rests = |slot: &Slot| slot.resting && slot.staying().next().is_none();
        if !table.slot(instance.number).is_some_and(rests) {
            return;
        }
        table.change(instance.number, |slot| (slot.resting, slot.over) = (false, Some((revision, state))));
        self.due.cancel(&Due::Rested(instance.clone()));
        self.memory.set_over(instance, Some((revision, state)));
        self.touched.insert(instance.group.clone());
    }

    pub(super) fn renew(&mut self, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let idle = table.slots().filter(|(_, slot)| is_idle(slot));
        let idle: Vec<u32> = idle.map(|(number, _)| number).collect();
        for number in idle {
            table.change(number, |slot| {
                (slot.counts, slot.resting, slot.over) = (Counts::default(), false, None);
            });
            let instance = InstanceName { group: name.clone(), number };
            self.due.cancel(&Due::Rested(instance.clone()));
            self.memory.set_over(&instance, None);
        }
        self.touched.insert(name.clone());
    }
}

/// Whether no task is there that its instance counts on: one that it went on without may be, for as long as its agent is out
/// of sight.
fn is_idle(slot: &Slot) -> bool {
    slot.attempts.iter().all(Attempt::is_abandoned)
}
